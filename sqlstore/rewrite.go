package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// These are the limits of a batch of RewriteItems, as [encsession.Rewriter]
// states them.
const (
	maxEditItems = 1000
	maxEditBytes = 1 << 20
)

// RewriteItems makes one pass over the items of the session, newest first. It
// hands them to edit in batches. The first batch has at most first items. Later
// ones have at most 1,000 items, and end once they reach 1 MiB. A nil new
// leaves the batch as it is. Otherwise new has the length of stored: equal
// bytes leave an item alone, nil removes it, and any other item takes its place
// and keeps the ID and the time of the row. If more is false, the pass ends
// after this batch.
//
// Each batch is one transaction. It changes a row only if the row still holds
// the bytes that edit saw. The result counts the changed rows, even if a later
// batch fails. While edit runs, RewriteItems holds no connection. Rows that are
// not JSON do not go to edit, nor do items that are added after the start.
func (s *Session) RewriteItems(ctx context.Context, first int, edit func(stored []Item) (new []Item, more bool)) (int, error) {
	changed, err := s.rewriteItems(ctx, first, edit)
	if err != nil {
		return changed, fmt.Errorf("sqlstore: RewriteItems: %w", err)
	}
	return changed, nil
}

func (s *Session) rewriteItems(ctx context.Context, first int, edit func(stored []Item) (new []Item, more bool)) (changed int, err error) {
	if edit == nil {
		return 0, errors.New("edit is nil")
	}
	var at place
	size := min(max(first, 1), maxEditItems)
	for window := size; ; window = min(2*window, maxEditItems) {
		if err := s.check(ctx); err != nil {
			return changed, err
		}
		var page []row
		var next place
		err := s.read(ctx, func(t transaction) (err error) {
			page, next, err = t.page(ctx, at, size, window)
			return err
		})
		if err != nil {
			return changed, err
		}
		if len(page) > 0 { // otherwise none of the rows is JSON
			n, more, err := s.edit(ctx, page, edit)
			changed += n
			if err != nil || !more {
				return changed, err
			}
			size = min(2*size, maxEditItems)
		}
		if next.part == len(s.store.found.Load().parts) {
			return changed, nil
		}
		at = next
	}
}

// edit calls the function edit for a page, and changes the rows accordingly.
func (s *Session) edit(ctx context.Context, page []row, edit func([]Item) ([]Item, bool)) (changed int, more bool, err error) {
	stored := make([]Item, len(page))
	for i, r := range page {
		stored[i] = r.data
	}
	new, more := edit(stored)
	if new != nil && len(new) != len(page) {
		return 0, false, fmt.Errorf("edit returned %d items for a batch of %d", len(new), len(page))
	}
	var removed, replaced []change
	for i, item := range new {
		c := change{row: page[i], new: item}
		switch {
		case item == nil:
			removed = append(removed, c)
		case !isJSON(item):
			return 0, false, fmt.Errorf("edit: item %d of a batch: %w", i, errNotJSON)
		case !bytes.Equal(item, c.data):
			if err := s.store.found.Load().data.check(string(item)); err != nil {
				return 0, false, fmt.Errorf("edit: item %d of a batch: the database cannot hold it: %w", i, err)
			}
			replaced = append(replaced, c)
		}
	}
	if err := ctx.Err(); err != nil {
		return 0, false, err
	}
	if len(removed)+len(replaced) == 0 {
		return 0, more, nil
	}
	err = s.write(ctx, func(t transaction) (err error) {
		changed, err = t.swap(ctx, removed, replaced)
		return err
	})
	if err != nil {
		return 0, false, err
	}
	return changed, more, nil
}

// place is the position that a pass over a session has reached: a part of the
// layout and, if inside is true, the row in it that was read last.
type place struct {
	part    int
	inside  bool
	created any // the value of part.created for that row
	id      int64
	last    sql.NullInt64 // the highest ID of the table when the pass began
}

// page returns the newest items behind a place, newest first: at most size
// items from at most window rows. It also returns the place behind them.
func (t transaction) page(ctx context.Context, at place, size, window int) (page []row, next place, err error) {
	part := t.layout.parts[at.part]
	if part.before != "" {
		if _, err := t.ExecContext(ctx, part.before); err != nil {
			return nil, at, err
		}
		defer t.undo(ctx, part.after)
	}
	query, args := t.layout.pageQuery(at)
	args = append([]any{t.sessionID, t.sessionID}, args...)
	rows, err := t.QueryContext(ctx, t.tables.fill(query), append(args, window)...)
	if err != nil {
		return nil, at, err
	}
	defer rows.Close()
	seen, bytes := 0, 0
	for rows.Next() {
		var r row
		var last sql.NullInt64
		if err := rows.Scan(&r.id, (*[]byte)(&r.data), &at.created, &last); err != nil {
			return nil, at, err
		}
		if !at.last.Valid {
			at.last = last
		}
		at.inside, at.id = true, r.id
		seen++
		if !isJSON(r.data) {
			continue
		}
		page = append(page, r)
		if bytes += len(r.data); len(page) == size || bytes >= maxEditBytes {
			return page, at, rows.Close()
		}
	}
	if seen < window {
		at = place{part: at.part + 1, last: at.last}
	}
	return page, at, rows.Err()
}

// undo executes a statement that restores the connection. If that fails, undo
// makes sure that nobody uses the connection again.
func (t transaction) undo(ctx context.Context, statement string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
	defer cancel()
	if _, err := t.ExecContext(ctx, statement); err != nil {
		discard(t.Conn)
	}
}

// pageQuery returns the query for the rows behind a place. Its parameters are
// those of {same ID}, then args, then the number of rows.
func (l layout) pageQuery(at place) (query string, args []any) {
	part := l.parts[at.part]
	query = "SELECT id, message_data, " + part.created + ", (SELECT MAX(id) FROM {messages}) " +
		"FROM {messages}" + part.hint + " WHERE {same ID}" + part.where
	if at.inside {
		condition, more := part.behind(at.created, at.id)
		query, args = query+condition, more
	}
	// New rows have higher IDs, but the rows may be ordered by time. Then new
	// rows can come to lie behind the place.
	if at.last.Valid && !(at.inside && part.byID) {
		query, args = query+" AND id <= ?", append(args, at.last.Int64)
	}
	return query + " ORDER BY " + part.newestFirst + " LIMIT ?", args
}

// change puts a new item in the place of a row's item, or removes the row if
// new is nil.
type change struct {
	row
	new Item
}

func (c change) size() int { return len(c.data) + len(c.new) }

// swap changes the rows that still hold the bytes that were read. It returns
// the number of changed rows.
func (t transaction) swap(ctx context.Context, removed, replaced []change) (changed int, err error) {
	if len(removed)+len(replaced) > 1 { // a single row needs no lock but its own
		if err := t.lock(ctx); err != nil {
			return 0, err
		}
	}
	for batch := range batches(removed, change.size) {
		n, err := t.swapBatch(ctx, "DELETE FROM {messages}", nil, batch)
		if err != nil {
			return 0, err
		}
		changed += n
	}
	for batch := range batches(replaced, change.size) {
		args := make([]any, 0, 2*len(batch))
		for _, c := range batch {
			args = append(args, c.id, string(c.new))
		}
		n, err := t.swapBatch(ctx, "UPDATE {messages} SET "+t.layout.keepTime+"message_data = "+cases(len(batch)), args, batch)
		if err != nil {
			return 0, err
		}
		changed += n
	}
	return changed, nil
}

// swapBatch executes a statement on those rows of a batch that still hold the
// bytes that were read. It compares columns as bytes, so only the index of the
// id serves it.
func (t transaction) swapBatch(ctx context.Context, statement string, args []any, batch []change) (changed int, err error) {
	for _, c := range batch {
		args = append(args, c.id)
	}
	args = append(args, t.sessionID)
	database := t.tables.database
	data, of := database.compared()
	for _, c := range batch {
		args = append(args, c.id, of(c.data))
	}
	n, err := t.exec(ctx, statement+" WHERE id IN ("+list("?", len(batch))+") AND "+database.bytes("session_id")+" = ? AND "+
		data+" = "+cases(len(batch))+"{checked}", args...)
	return int(n), err
}

// cases returns an expression that chooses a text by the id of the row. Its
// parameters are n pairs of an id and a text.
func cases(n int) string { return "CASE id" + strings.Repeat(" WHEN ? THEN ?", n) + " END" }

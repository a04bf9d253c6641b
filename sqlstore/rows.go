package sqlstore

import (
	"context"
	"iter"
	"math"
	"strings"
)

// A statement with many rows is divided, so that it keeps to the limits of every database: 999 parameters in SQLite
// builds of old, of which a row takes up to five, and a packet of 1 MB in MySQL as it used to be configured.
const (
	maxBatchRows  = 150
	maxBatchBytes = 512 << 10 // one longer item is a batch by itself
)

// batches divides rows.
func batches[T any](rows []T, size func(T) int) iter.Seq[[]T] {
	return func(yield func([]T) bool) {
		start, bytes := 0, 0
		for i, row := range rows {
			if i > start && (i-start == maxBatchRows || bytes+size(row) > maxBatchBytes) {
				if !yield(rows[start:i]) {
					return
				}
				start, bytes = i, 0
			}
			bytes += size(row)
		}
		if start < len(rows) {
			yield(rows[start:])
		}
	}
}

// list returns n times s with commas between.
func list(s string, n int) string { return strings.Repeat(", "+s, n)[2:] }

// row is a message that is an item.
type row struct {
	id   int64
	data Item
}

// newest returns the newest limit items, newest first, or all of them where limit is 0 or less.
func (t transaction) newest(ctx context.Context, limit int) ([]row, error) {
	if limit <= 0 {
		limit = math.MaxInt
	}
	var rows []row
	err := t.widen(ctx, limit, func() (visit func(row) (more bool)) {
		rows = nil
		return func(r row) bool {
			rows = append(rows, r)
			return len(rows) < limit
		}
	})
	return rows, err
}

// widen visits the newest items, newest first, until there are no more or visit returns false. It looks at a
// window of so many rows first, and where that was not enough, as rows which are not JSON are not visited, at
// one twice as long. Each window is one query, which sees the session as it is at one moment, and so begins
// anew with a new visit.
func (t transaction) widen(ctx context.Context, window int, begin func() (visit func(row) (more bool))) error {
	for {
		seen, stopped, err := t.visit(ctx, window, begin())
		if err != nil || stopped || seen < window {
			return err
		}
		if window > math.MaxInt/2 {
			window = math.MaxInt
		} else {
			window *= 2
		}
	}
}

// newestQuery returns the query for the newest rows of a session. Its parameters are those of {same ID} and
// their number.
func (l layout) newestQuery() string {
	return "SELECT id, message_data FROM {messages} WHERE {same ID} ORDER BY " + l.newestFirst + " LIMIT ?"
}

// visit visits the items among the newest rows. It returns how many rows it has seen, and whether visit has
// stopped it.
func (t transaction) visit(ctx context.Context, window int, visit func(row) (more bool)) (seen int, stopped bool, err error) {
	rows, err := t.QueryContext(ctx, t.tables.fill(t.layout.newestQuery()), t.sessionID, t.sessionID, window)
	if err != nil {
		return 0, false, err
	}
	defer rows.Close()
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.id, (*[]byte)(&r.data)); err != nil {
			return 0, false, err
		}
		seen++
		if isJSON(r.data) && !visit(r) {
			return seen, true, rows.Close()
		}
	}
	return seen, false, rows.Err()
}

// remove deletes messages by their row IDs.
func (t transaction) remove(ctx context.Context, ids ...int64) error {
	for batch := range batches(ids, func(int64) int { return 0 }) {
		args := make([]any, len(batch))
		for i, id := range batch {
			args[i] = id
		}
		n, err := t.exec(ctx, "DELETE FROM {messages} WHERE id IN ("+list("?", len(batch))+")", args...)
		if err != nil {
			return err
		}
		if n != int64(len(batch)) {
			return errTaken
		}
	}
	return nil
}

// update changes the data of messages, each to something else than it was.
func (t transaction) update(ctx context.Context, rows []row) error {
	for batch := range batches(rows, func(r row) int { return len(r.data) }) {
		var cases, ids []any
		for _, r := range batch {
			cases = append(cases, r.id, string(r.data))
			ids = append(ids, r.id)
		}
		n, err := t.exec(ctx, "UPDATE {messages} SET message_data = CASE id"+strings.Repeat(" WHEN ? THEN ?", len(batch))+
			" END WHERE id IN ("+list("?", len(batch))+")", append(cases, ids...)...)
		if err != nil {
			return err
		}
		if n != int64(len(batch)) {
			return errTaken
		}
	}
	return nil
}

package sqlstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/encsession/encsession"
)

// Session is a handle on one session of a [Store]. It implements
// [encsession.Session] and [encsession.Rewriter]. [Store.Session] makes one;
// the zero Session returns errors. A Session is safe for concurrent use, and
// holds no connection between two calls.
type Session struct {
	store *Store
	id    string
}

// SessionID returns the ID that [Store.Session] was given.
func (s *Session) SessionID() string {
	if s == nil {
		return ""
	}
	return s.id
}

func (s *Session) check(ctx context.Context) error {
	if s == nil {
		return errors.New("this Session was not made by Store.Session")
	}
	return s.store.check(ctx)
}

// GetItems returns the newest limit items, oldest first, or all of them if
// limit is 0 or less. Its cost depends on the limit, not on the length of the
// history. Rows that are not JSON are not items, and do not count.
func (s *Session) GetItems(ctx context.Context, limit int) ([]Item, error) {
	items, err := s.getItems(ctx, limit)
	if err != nil {
		return nil, fmt.Errorf("sqlstore: GetItems: %w", err)
	}
	return items, nil
}

func (s *Session) getItems(ctx context.Context, limit int) ([]Item, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	var items []Item
	err := s.read(ctx, func(t transaction) error {
		rows, err := t.newest(ctx, limit, false)
		if err != nil {
			return err
		}
		items = make([]Item, len(rows))
		for i, row := range rows {
			items[len(rows)-1-i] = row.data
		}
		return nil
	})
	return items, err
}

// AddItems appends items in the order given: all of them or, with an error,
// none. Each must be JSON in valid UTF-8. The database keeps them byte for
// byte.
func (s *Session) AddItems(ctx context.Context, items ...Item) error {
	if err := s.addItems(ctx, items); err != nil {
		return fmt.Errorf("sqlstore: AddItems: %w", err)
	}
	return nil
}

func (s *Session) addItems(ctx context.Context, items []Item) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	texts := make([]string, len(items)) // SQLite would store a []byte as a BLOB
	for i, item := range items {
		if !isJSON(item) {
			return fmt.Errorf("item %d: %w", i, errNotJSON)
		}
		texts[i] = string(item)
	}
	if len(items) == 0 {
		return nil
	}
	return s.write(ctx, func(t transaction) error {
		for i, text := range texts {
			if err := t.layout.data.check(text); err != nil {
				return fmt.Errorf("item %d: the database cannot hold it: %w", i, err)
			}
		}
		// This comes first, because it locks the session: batches of other
		// clients stay apart from this one.
		if _, err := t.exec(ctx, t.tables.database.upsert(), t.sessionID); err != nil {
			return err
		}
		for batch := range batches(texts, func(text string) int { return len(text) }) {
			if err := t.insert(ctx, batch); err != nil {
				return err
			}
		}
		return nil
	})
}

// PopItem removes the newest item and returns it, or nil if there is none. Each
// item is returned to one caller, whatever the number of connections and
// processes. Rows that are not JSON stay where they are.
func (s *Session) PopItem(ctx context.Context) (Item, error) {
	item, err := s.popItem(ctx)
	if err != nil {
		return nil, fmt.Errorf("sqlstore: PopItem: %w", err)
	}
	return item, nil
}

func (s *Session) popItem(ctx context.Context) (Item, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	var item Item
	err := s.write(ctx, func(t transaction) error {
		item = nil
		if err := t.lock(ctx); err != nil {
			return err
		}
		rows, err := t.newest(ctx, 1, true)
		if err != nil || len(rows) == 0 {
			return err
		}
		item = rows[0].data
		// RewriteItems changes a single row without the lock of the session, so
		// another client may have taken this one.
		removed, err := t.swap(ctx, []change{{row: rows[0]}}, nil)
		if err == nil && removed != 1 {
			return errTaken
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return item, nil
}

// ClearSession removes all rows of the session, including those that are not
// JSON.
func (s *Session) ClearSession(ctx context.Context) error {
	if err := s.clearSession(ctx); err != nil {
		return fmt.Errorf("sqlstore: ClearSession: %w", err)
	}
	return nil
}

func (s *Session) clearSession(ctx context.Context) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	return s.write(ctx, func(t transaction) error {
		if err := t.lock(ctx); err != nil {
			return err
		}
		_, err := t.exec(ctx, "DELETE FROM {messages} WHERE {same ID}", t.sessionID, t.sessionID)
		if err != nil {
			return err
		}
		// If the collation of found tables treats two IDs as equal, they share
		// one row in {sessions}. It stays while either ID has messages: the
		// foreign key would remove these too.
		removed, err := t.exec(ctx, "DELETE FROM {sessions} WHERE {same ID} AND NOT EXISTS "+
			"(SELECT 1 FROM {messages} WHERE {sessions}.session_id = {messages}.session_id)", t.sessionID, t.sessionID)
		if err != nil || removed > 0 {
			return err
		}
		var left int
		err = t.QueryRowContext(ctx, t.tables.fill("SELECT COUNT(*) FROM {messages} WHERE {same ID}"), t.sessionID, t.sessionID).Scan(&left)
		if err == nil && left > 0 {
			return errTaken
		}
		return err
	})
}

var errNotJSON = errors.New("it is not JSON in valid UTF-8")

// isJSON tries the fast check for objects first: nearly all items are objects.
func isJSON(data []byte) bool {
	return encsession.ValidItem(data) || json.Valid(data) && utf8.Valid(data)
}

package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"math"
)

// idsPerQuery is how many session IDs are held in memory at a time.
const idsPerQuery = 1000

// SessionIDs goes through the IDs of all sessions, each once, in the order in which the database sorts them:
// those with a row in the sessions table, also where all their items have been popped, and then those that only
// have messages. It holds neither a connection nor a lock while the loop's body runs, which may use the store;
// of sessions that are created or cleared meanwhile it gives some and not others. An error comes with an empty
// ID and ends the loop.
func (s *Store) SessionIDs(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := s.check(ctx); err != nil {
			yield("", fmt.Errorf("sqlstore: SessionIDs: %w", err))
			return
		}
		for _, list := range []func(context.Context, func(string) bool) (bool, error){s.sessionRows, s.otherIDs} {
			more, err := list(ctx, func(id string) bool { return yield(id, nil) })
			if err != nil {
				yield("", fmt.Errorf("sqlstore: SessionIDs: %w", err))
			}
			if err != nil || !more {
				return
			}
		}
	}
}

// sessionRows lists the IDs of the sessions table. They are unique under the collation of their column, so that
// sorting by that, which is what its index does, leaves nothing out between two queries.
func (s *Store) sessionRows(ctx context.Context, yield func(string) bool) (more bool, err error) {
	isText := s.database.isText("session_id")
	first := "SELECT 0, session_id FROM {sessions} WHERE " + isText + " ORDER BY session_id LIMIT ?"
	next := "SELECT 0, session_id FROM {sessions} WHERE " + isText + " AND session_id > ? ORDER BY session_id LIMIT ?"
	page, err := s.ids(ctx, first, idsPerQuery)
	for {
		if err != nil {
			return false, err
		}
		for _, row := range page {
			if !yield(row.sessionID) {
				return false, nil
			}
		}
		if len(page) < idsPerQuery {
			return true, nil
		}
		page, err = s.ids(ctx, next, page[len(page)-1].sessionID, idsPerQuery)
	}
}

// otherIDs lists the IDs of the messages table that have no row in the sessions table: where found tables have no
// foreign key, or a collation that takes two IDs for equal, so that only one of them has a row.
func (s *Store) otherIDs(ctx context.Context, yield func(string) bool) (more bool, err error) {
	same := func(a, b string) string {
		d := s.database
		return fmt.Sprintf("%[1]s.session_id = %[2]s.session_id AND %[3]s = %[4]s",
			a, b, d.bytes(a+".session_id"), d.bytes(b+".session_id"))
	}
	// The oldest message stands for the session, so that no ID comes twice and none has to be remembered. A
	// subquery will not do for the sessions: MariaDB takes the result that it remembers from one ID for
	// another that the collation takes for equal.
	query := "SELECT m.id, m.session_id FROM {messages} AS m LEFT JOIN {sessions} AS s ON " + same("s", "m") +
		" WHERE s.session_id IS NULL AND m.id > ? AND " + s.database.isText("m.session_id") + " AND NOT EXISTS " +
		"(SELECT 1 FROM {messages} AS older WHERE " + same("older", "m") + " AND older.id < m.id) " +
		"ORDER BY m.id LIMIT ?"
	for after := int64(math.MinInt32); ; { // below all IDs, and still an INTEGER to PostgreSQL
		page, err := s.ids(ctx, query, after, idsPerQuery)
		if err != nil {
			return false, err
		}
		for _, row := range page {
			if !yield(row.sessionID) {
				return false, nil
			}
			after = row.id
		}
		if len(page) < idsPerQuery {
			return true, nil
		}
	}
}

type idRow struct {
	id        int64 // of the message
	sessionID string
}

func (s *Store) ids(ctx context.Context, query string, args ...any) ([]idRow, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	var page []idRow
	err := s.onConnection(ctx, func(conn *sql.Conn) error {
		if _, err := s.layout(ctx, conn); err != nil {
			return err
		}
		rows, err := conn.QueryContext(ctx, s.tables.fill(query), args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		page = nil
		for rows.Next() {
			var row idRow
			if err := rows.Scan(&row.id, &row.sessionID); err != nil {
				return err
			}
			page = append(page, row)
		}
		return rows.Err()
	})
	return page, err
}

package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"time"

	"github.com/encsession/encsession"
)

// sessionsPerQuery is the number of sessions that are held in memory at a time.
const sessionsPerQuery = 200

// Sessions goes through all sessions, each once. First come those with a row in
// the sessions table, even if all their items have been popped. They come in
// the order in which the database sorts their IDs. Then come those that only
// have messages, ordered by their oldest one. Those have no times. UpdatedAt is
// the time of the last AddItems.
//
// Sessions holds neither a connection nor a lock while the loop's body runs, so
// the body may use the store. If sessions are created or cleared meanwhile,
// Sessions gives some of them and not others. The memory it needs does not
// depend on the number of sessions. An error comes with the zero
// [encsession.SessionInfo] and ends the loop.
func (s *Store) Sessions(ctx context.Context) iter.Seq2[encsession.SessionInfo, error] {
	return func(yield func(encsession.SessionInfo, error) bool) {
		if err := s.check(ctx); err != nil {
			yield(encsession.SessionInfo{}, fmt.Errorf("sqlstore: Sessions: %w", err))
			return
		}
		for _, pages := range []func(context.Context) iter.Seq2[[]sessionRow, error]{s.sessionRows, s.otherSessions} {
			for page, err := range pages(ctx) {
				if err != nil {
					yield(encsession.SessionInfo{}, fmt.Errorf("sqlstore: Sessions: %w", err))
					return
				}
				for _, row := range page {
					if !yield(row.SessionInfo, nil) {
						return
					}
				}
			}
		}
	}
}

// sessionRows lists the sessions table. The IDs are unique under the collation
// of their column. Its index sorts by that collation too, so nothing is left
// out between two queries.
func (s *Store) sessionRows(ctx context.Context) iter.Seq2[[]sessionRow, error] {
	return s.pages(ctx, func(l *layout, last *sessionRow) (query string, args []any) {
		query = "SELECT 0, session_id, " + l.times + " FROM {sessions} WHERE " + s.database.isText("session_id") + "{checked}"
		if last != nil {
			query, args = query+" AND session_id > ?", []any{last.ID}
		}
		return query + " ORDER BY session_id LIMIT ?", args
	})
}

// otherSessions lists the IDs of the messages table that have no row in the
// sessions table. Such IDs exist if found tables have no foreign key. They also
// exist if a collation treats two IDs as equal, so that only one of them has a
// row.
func (s *Store) otherSessions(ctx context.Context) iter.Seq2[[]sessionRow, error] {
	same := func(a, b string) string {
		d := s.database
		return fmt.Sprintf("%[1]s.session_id = %[2]s.session_id AND %[3]s = %[4]s",
			a, b, d.bytes(a+".session_id"), d.bytes(b+".session_id"))
	}
	return s.pages(ctx, func(_ *layout, last *sessionRow) (query string, args []any) {
		// The oldest message stands for the session, so no ID comes twice and
		// none has to be remembered. A subquery for the sessions does not work:
		// MariaDB remembers its result for one ID, and uses it for another ID
		// that the collation treats as equal.
		query = "SELECT m.id, m.session_id, NULL, NULL FROM {messages} AS m LEFT JOIN {sessions} AS s ON " + same("s", "m") +
			" WHERE s.session_id IS NULL AND " + s.database.isText("m.session_id") + "{checked} AND NOT EXISTS " +
			"(SELECT 1 FROM {messages} AS older WHERE " + same("older", "m") + " AND older.id < m.id)"
		if last != nil {
			query, args = query+" AND m.id > ?", []any{last.message}
		}
		return query + " ORDER BY m.id LIMIT ?", args
	})
}

type sessionRow struct {
	encsession.SessionInfo
	message int64 // the ID of its oldest message, if the session has no row
}

// pages executes queries, each of which begins behind the last row of the one
// before. The last parameter is the number of rows.
func (s *Store) pages(ctx context.Context, query func(*layout, *sessionRow) (string, []any)) iter.Seq2[[]sessionRow, error] {
	return func(yield func([]sessionRow, error) bool) {
		var last *sessionRow
		for {
			page, err := s.sessionsBehind(ctx, last, query)
			if !yield(page, err) || err != nil || len(page) < sessionsPerQuery {
				return
			}
			last = &page[len(page)-1]
		}
	}
}

func (s *Store) sessionsBehind(ctx context.Context, last *sessionRow, query func(*layout, *sessionRow) (string, []any)) ([]sessionRow, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	var page []sessionRow
	err := s.onConnection(ctx, func(conn *sql.Conn) error {
		found, err := s.layout(ctx, conn)
		if err != nil {
			return err
		}
		text, args := query(found, last)
		rows, err := conn.QueryContext(ctx, s.tables.fill(text), append(args, sessionsPerQuery)...)
		if err != nil {
			return err
		}
		defer rows.Close()
		page = nil
		for rows.Next() {
			var row sessionRow
			var created, updated sql.NullInt64
			if err := rows.Scan(&row.message, &row.ID, &created, &updated); err != nil {
				return err
			}
			row.CreatedAt, row.UpdatedAt = timeOf(created), timeOf(updated)
			page = append(page, row)
		}
		return rows.Err()
	})
	return page, err
}

// timeOf turns microseconds since 1970 into a time.
func timeOf(micros sql.NullInt64) time.Time {
	if !micros.Valid {
		return time.Time{}
	}
	return time.UnixMicro(micros.Int64).UTC()
}

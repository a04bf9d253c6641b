package sqlstore

import (
	"context"
	"iter"
	"math"
	"strings"
)

// These constants divide a statement with many rows. Each part keeps to the
// limits of every database: 999 parameters in old builds of SQLite, and a
// packet of 1 MB in MySQL as it used to be configured. A row takes up to five
// parameters. The constants are far below those limits, because SQLite compares
// all constants of a statement with one another.
const (
	maxBatchRows  = 50
	maxBatchBytes = 512 << 10 // one longer item is a batch by itself
)

// batches divides rows into batches that keep to these constants.
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

// list returns n times s, with commas between.
func list(s string, n int) string { return strings.Repeat(", "+s, n)[2:] }

// row is a row of the messages table that holds an item.
type row struct {
	id   int64
	data Item
}

// newest returns the newest limit items, newest first, or all of them if limit
// is 0 or less. It first looks at limit rows. If too few of them are JSON, it
// looks at twice as many, and so on. Each look is one query, which sees the
// session as it is at one moment.
func (t transaction) newest(ctx context.Context, limit int) ([]row, error) {
	if limit <= 0 {
		limit = math.MaxInt
	}
	for window := limit; ; window = min(window, math.MaxInt/2) * 2 {
		found, seen, err := t.newestAmong(ctx, limit, window)
		if err != nil || len(found) == limit || seen < window {
			return found, err
		}
	}
}

// newestQuery returns the query for the newest rows of a session. Its
// parameters are those of {same ID} and the number of rows.
func (l layout) newestQuery() string {
	return "SELECT id, message_data FROM {messages} WHERE {same ID} ORDER BY " + l.newestFirst + " LIMIT ?"
}

// newestAmong returns at most limit items among the newest window rows. It also
// returns how many rows it has seen.
func (t transaction) newestAmong(ctx context.Context, limit, window int) (found []row, seen int, err error) {
	rows, err := t.QueryContext(ctx, t.tables.fill(t.layout.newestQuery()), t.sessionID, t.sessionID, window)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for len(found) < limit && rows.Next() {
		var r row
		if err := rows.Scan(&r.id, (*[]byte)(&r.data)); err != nil {
			return nil, 0, err
		}
		seen++
		if isJSON(r.data) {
			found = append(found, r)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, 0, err
	}
	return found, seen, rows.Close()
}

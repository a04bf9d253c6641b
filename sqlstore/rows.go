package sqlstore

import (
	"context"
	"database/sql"
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
	id   int64 // 0 if nobody asked for it
	data Item
}

// newest returns the newest limit items, newest first, or all of them if limit
// is 0 or less. It first looks at limit rows. If too few of them are JSON, it
// looks at twice as many, and so on. Each look is one query, which sees the
// session as it is at one moment.
func (t transaction) newest(ctx context.Context, limit int, withID bool) ([]row, error) {
	if limit <= 0 {
		limit = math.MaxInt
	}
	for window := limit; ; window = min(window, math.MaxInt/2) * 2 {
		found, seen, err := t.newestAmong(ctx, limit, window, withID)
		if err != nil || len(found) == limit || seen < window {
			return found, err
		}
	}
}

// newestQuery returns the query for columns of the newest rows of a session. Its
// parameters are those of {same ID} and the number of rows.
func (l layout) newestQuery(columns string) string {
	return "SELECT " + columns + " FROM {messages} WHERE {same ID} ORDER BY " + l.newestFirst + " LIMIT ?"
}

// newestAmong returns at most limit items among the newest window rows. It also
// returns how many rows it has seen.
func (t transaction) newestAmong(ctx context.Context, limit, window int, withID bool) (found []row, seen int, err error) {
	var r row
	var data sql.RawBytes // valid until the next row
	columns, dest := "message_data", []any{&data}
	if withID {
		columns, dest = columns+", id", append(dest, &r.id)
	}
	rows, err := t.QueryContext(ctx, t.tables.fill(t.layout.newestQuery(columns)), t.sessionID, t.sessionID, window)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	var memory blocks
	for len(found) < limit && rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return nil, 0, err
		}
		seen++
		if isJSON(data) {
			r.data = memory.copy(data, limit-len(found))
			found = append(found, r)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, 0, err
	}
	return found, seen, rows.Close()
}

// blockSize is the most bytes that items share a block of memory in. A block for
// each item would be slower. One block for all items would keep a whole history
// in memory while the caller keeps one item.
const blockSize = 64 << 10

// blocks copies items into blocks of memory. A new block is as large as all
// items before it, so that at most half of the memory stays unused. It is
// smaller if the items to come will not need it.
type blocks struct {
	block  []byte
	copied int // bytes
}

// copy copies an item. No more than left items are to come, with this one.
func (b *blocks) copy(data []byte, left int) Item {
	if len(data) > cap(b.block)-len(b.block) {
		expected := len(data) * min(left, blockSize/len(data)+1)
		b.block = make([]byte, 0, max(len(data), min(b.copied, blockSize, expected)))
	}
	b.copied += len(data)
	start := len(b.block)
	b.block = append(b.block, data...)
	return Item(b.block[start:len(b.block):len(b.block)])
}

package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
)

// reservedIDs is the number of IDs above the highest ID of a SQLite table that
// must be free, so that new rows come behind the others. If a row has the last
// possible ID, SQLite gives a new row any ID that is free, or none. Servers
// return an error then.
const reservedIDs = maxBatchRows

// maxInserts is the number of times that an add tries to insert a batch, if the
// newest message vanishes each time.
const maxInserts = 5

// insert adds items behind those that the session holds. Their created_at is
// the column's default. The newest message may be ahead of that, because its
// client has another time zone or a clock ahead of this one. Only then does the
// statement copy the time of that message, within the database.
func (t transaction) insert(ctx context.Context, texts []string) error {
	args := make([]any, 0, 2*len(texts))
	for _, text := range texts {
		args = append(args, t.sessionID, text)
	}
	values := "VALUES " + list("(?, ?)", len(texts))

	var inserted int64
	var err error
	// RewriteItems removes a single row without the lock of the session. So the
	// newest message may vanish between the two statements.
	for tries := 0; err == nil && inserted == 0 && tries < maxInserts; tries++ {
		inserted, err = t.insertByDefault(ctx, values, args)
		if err == nil && inserted == 0 {
			inserted, err = t.insertAtNewest(ctx, texts, values, args)
		}
	}
	if err == nil && inserted != int64(len(texts)) {
		return fmt.Errorf("the database stored %d of %d rows and reported no error: a trigger or a rule on the messages table keeps the others out",
			inserted, len(texts))
	}
	return err
}

// insertByDefault adds items with the default time, if they sort behind the
// newest message.
func (t transaction) insertByDefault(ctx context.Context, values string, args []any) (inserted int64, err error) {
	const query = "INSERT INTO {messages} (session_id, message_data) "
	condition, of := t.layout.fits(t.sessionID)
	if !t.layout.values {
		return t.exec(ctx, query+"SELECT * FROM ("+values+") AS item WHERE "+condition, append(args, of...)...)
	}
	var fits bool
	err = t.QueryRowContext(ctx, t.tables.fill("SELECT "+condition), of...).Scan(&fits)
	if err != nil || !fits {
		return 0, err
	}
	return t.exec(ctx, query+values, args...)
}

// fits returns the condition that an item with the default time and the next ID
// sorts behind the newest message, and the parameters of the condition.
func (l layout) fits(sessionID string) (condition string, args []any) {
	var conditions []string
	if l.reserves {
		conditions = append(conditions, fmt.Sprintf("COALESCE((SELECT MAX(id) FROM {messages}), 0) <= %d", int64(math.MaxInt64-reservedIDs)))
	}
	if l.ahead != "" {
		conditions = append(conditions, "NOT EXISTS (SELECT 1 FROM (SELECT "+l.ahead+" AS ahead FROM {messages} WHERE {same ID} ORDER BY "+
			l.newestFirst+" LIMIT 1) AS newest WHERE ahead)")
		args = []any{sessionID, sessionID}
	}
	return strings.Join(conditions, " AND "), args
}

// insertAtNewest adds items with the time of the newest message.
func (t transaction) insertAtNewest(ctx context.Context, texts []string, values string, args []any) (inserted int64, err error) {
	const query = "INSERT INTO {messages} (session_id, message_data, created_at) SELECT "
	newest := "FROM {messages} WHERE {same ID} ORDER BY " + t.layout.newestFirst + " LIMIT 1"
	if t.layout.reserves {
		if err := t.outOfIDs(ctx); err != nil || t.layout.ahead == "" {
			return 0, err
		}
	}
	if !t.layout.values {
		return t.exec(ctx, query+"item.*, newest.created_at FROM ("+values+") AS item, (SELECT created_at "+newest+") AS newest",
			append(args, t.sessionID, t.sessionID)...)
	}
	// They are inserted one by one: a UNION would give them a type, which may
	// have a length.
	for _, text := range texts {
		n, err := t.exec(ctx, query+"?, ?, created_at "+newest, t.sessionID, text, t.sessionID, t.sessionID)
		if err != nil || n == 0 {
			return inserted, err
		}
		inserted += n
	}
	return inserted, nil
}

// outOfIDs returns an error if the table has no IDs left for new rows.
func (t transaction) outOfIDs(ctx context.Context) error {
	var last int64
	err := t.QueryRowContext(ctx, t.tables.fill("SELECT COALESCE(MAX(id), 0) FROM {messages}")).Scan(&last)
	if err == nil && last > math.MaxInt64-reservedIDs {
		return errors.New("the messages table has a row with almost the highest possible ID, so no room is left for new rows: " +
			"give that row a lower ID, and lower the entry of the table in sqlite_sequence, if there is one")
	}
	return err
}

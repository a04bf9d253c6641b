package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	_ "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/go-redis/v9"
	_ "modernc.org/sqlite"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/redisstore"
	"github.com/encsession/encsession/sqlstore"
)

// These are the operations through a store, on a session of 200 items. After
// each operation the session is restored, while no clock runs.
const (
	history = 200
	page    = 50
	batch   = 4
)

var throughStore = []string{
	fmt.Sprintf("read %d", history), fmt.Sprintf("read %d", page), fmt.Sprintf("add %d", batch), "pop 1",
}

// limits are the limits of the operations that read.
var limits = []int{history, page}

// storeItemSize is the size of an item in bytes of JSON.
const storeItemSize = 1000

// place is a part of a database that nobody else uses.
type place struct {
	name   string
	store  func(sessionID string) encsession.Session
	rows   func(ctx context.Context, sessionID string, limit int) (n int, err error) // reads with the bare driver
	bytes  func(ctx context.Context) (int64, error)                                  // all that is stored for items
	python *pythonStore                                                              // nil if the SDK has no class for it
	close  func() error                                                              // deletes all of it
}

// pythonStore tells Python which store to open.
type pythonStore struct {
	Class   string            `json:"class"`
	URL     string            `json:"url"`
	Options map[string]string `json:"options"` // keyword arguments
}

// openers has one entry for each database. A server is used if the environment
// names it.
var openers = []struct {
	name string
	env  string
	open func(ctx context.Context, dsn string) (*place, error)
}{
	{"SQLite", "", openSQLite},
	{"PostgreSQL", "ENCSESSION_POSTGRES_DSN", openPostgres},
	{"MySQL or MariaDB", "ENCSESSION_MYSQL_DSN", openMySQL},
	{"Redis", "ENCSESSION_REDIS_ADDR", openRedis},
}

func openSQLite(ctx context.Context, _ string) (*place, error) {
	folder, err := os.MkdirTemp("", "compare")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(folder, "sessions.db")
	p, err := openSQL(ctx, sqlstore.SQLite, "sqlite", file, "id DESC")
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	dropTables := p.close
	p.close = func() error { return errors.Join(dropTables(), os.RemoveAll(folder)) }
	p.python.Class, p.python.URL = "SQLiteSession", file
	return p, nil
}

func openPostgres(ctx context.Context, dsn string) (*place, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	p, err := openSQL(ctx, sqlstore.PostgreSQL, "pgx", dsn, "created_at DESC, id DESC")
	if err != nil {
		return nil, err
	}
	u := url.URL{
		Scheme: "postgresql+asyncpg",
		User:   url.UserPassword(config.User, config.Password),
		Host:   net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port))),
		Path:   config.Database,
	}
	p.python.Class, p.python.URL = "SQLAlchemySession", u.String()
	return p, nil
}

// openMySQL returns a place without Python: the SDK's dependencies include no
// driver for MySQL.
func openMySQL(ctx context.Context, dsn string) (*place, error) {
	p, err := openSQL(ctx, sqlstore.MySQL, "mysql", dsn, "created_at DESC, id DESC")
	if err == nil {
		p.python = nil
	}
	return p, err
}

// openSQL makes tables with names of their own. The bare driver reads in the
// order of the store.
func openSQL(ctx context.Context, dialect sqlstore.Dialect, driver, dsn, order string) (*place, error) {
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return nil, err
	}
	suffix := strings.ToLower(rand.Text()[:10])
	sessions, messages := "compare_sessions_"+suffix, "compare_messages_"+suffix
	store, err := sqlstore.New(db, dialect, sqlstore.WithTables(sessions, messages))
	if err == nil {
		err = store.CreateTables(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	parameters := "session_id = ? ORDER BY " + order + " LIMIT ?"
	if dialect == sqlstore.PostgreSQL {
		parameters = "session_id = $1 ORDER BY " + order + " LIMIT $2"
	}
	size := map[sqlstore.Dialect]string{
		sqlstore.SQLite:     "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
		sqlstore.PostgreSQL: "SELECT pg_total_relation_size('" + messages + "')",
		sqlstore.MySQL: "SELECT data_length + index_length FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = '" +
			messages + "'",
	}[dialect]
	query := "SELECT message_data FROM " + messages + " WHERE " + parameters
	return &place{
		store: func(sessionID string) encsession.Session { return store.Session(sessionID) },
		rows: func(ctx context.Context, sessionID string, limit int) (n int, err error) {
			rows, err := db.QueryContext(ctx, query, sessionID, limit)
			if err != nil {
				return 0, err
			}
			defer rows.Close()
			for ; rows.Next(); n++ {
				var data []byte
				if err := rows.Scan(&data); err != nil {
					return n, err
				}
			}
			return n, rows.Err()
		},
		bytes: func(ctx context.Context) (n int64, err error) {
			if dialect == sqlstore.MySQL { // brings the sizes up to date
				_, err = db.ExecContext(ctx, "ANALYZE TABLE "+messages)
			}
			if err == nil {
				err = db.QueryRowContext(ctx, size).Scan(&n)
			}
			return n, err
		},
		python: &pythonStore{Options: map[string]string{"sessions_table": sessions, "messages_table": messages}},
		close: func() error {
			_, messagesErr := db.Exec("DROP TABLE " + messages)
			_, sessionsErr := db.Exec("DROP TABLE " + sessions)
			return errors.Join(messagesErr, sessionsErr, db.Close())
		},
	}, nil
}

func openRedis(_ context.Context, addr string) (*place, error) {
	client := redis.NewClient(&redis.Options{Addr: addr})
	prefix := "compare-" + strings.ToLower(rand.Text()[:10])
	store, err := redisstore.New(client, redisstore.WithPrefix(prefix))
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return &place{
		store: func(sessionID string) encsession.Session { return store.Session(sessionID) },
		rows: func(ctx context.Context, sessionID string, limit int) (int, error) {
			rows, err := client.LRange(ctx, prefix+":"+sessionID+":messages", -int64(limit), -1).Result()
			return len(rows), err
		},
		bytes: func(ctx context.Context) (total int64, err error) {
			keys, err := client.Keys(ctx, prefix+":*:messages").Result()
			for _, key := range keys {
				n, usageErr := client.MemoryUsage(ctx, key, 0).Result()
				total, err = total+n, errors.Join(err, usageErr)
			}
			return total, err
		},
		python: &pythonStore{Class: "RedisSession", URL: "redis://" + addr + "/0", Options: map[string]string{"key_prefix": prefix}},
		close: func() error {
			ctx := context.Background()
			keys, err := client.Keys(ctx, prefix+":*").Result()
			for _, key := range keys {
				err = errors.Join(err, client.Del(ctx, key).Err())
			}
			return errors.Join(err, client.Close())
		},
	}, nil
}

// compareStores measures through each store that is available.
func compareStores(ctx context.Context, c config, getenv func(string) string, key string, python *python, stdout, stderr io.Writer) (results, error) {
	r := results{
		title: "Microseconds per call, history of 200 items of 1 kB", unit: "µs per call",
		note: "Each store has a scale of its own. The floor: the bare driver reads the rows, fernet-go opens their tokens.",
		base: -1,
	}
	err := eachStore(ctx, getenv, stdout, stderr, func(p *place) error { return r.addStore(ctx, p, c.rounds, key, python) })
	if err != nil {
		return results{}, err
	}
	r.text = r.stores() + "\n\n" + storeNotes
	return r, nil
}

// eachStore calls f with a place in each store that is available.
func eachStore(ctx context.Context, getenv func(string) string, stdout, stderr io.Writer, f func(*place) error) error {
	for _, o := range openers {
		dsn := ""
		if o.env != "" {
			if dsn = getenv(o.env); dsn == "" {
				fmt.Fprintf(stdout, "%s is left out: %s names no server.\n", o.name, o.env)
				continue
			}
		}
		fmt.Fprintf(stderr, "measuring %s …\n", o.name)
		p, err := o.open(ctx, dsn)
		if err == nil {
			p.name = o.name
			err = errors.Join(f(p), p.close())
		}
		if err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
	}
	return nil
}

// storeNotes explain how to read the tables.
const storeNotes = "Microseconds per call. The floor: the bare driver or client reads the rows, and a loop over fernet-go opens as many tokens\n" +
	"of the same size. Plain: the store alone. Python's items are dicts, so it encodes and parses JSON."

// addStore measures through a store.
func (r *results) addStore(ctx context.Context, p *place, rounds int, key string, python *python) error {
	entries, err := r.enterStore(p, key, python)
	if err != nil {
		return err
	}
	columns, err := measure(ctx, entries, throughStore, 1, makeItems(history, storeItemSize), rounds)
	r.panels = append(r.panels, panel{name: p.name, columns: columns})
	return err
}

// enterStore returns the contenders that take part in a store. It sets the
// names and ratios, which are the same for each store.
func (r *results) enterStore(p *place, key string, python *python) ([]entry, error) {
	parsed, err := encsession.ParseKey(key)
	if err != nil {
		return nil, err
	}
	var entries []entry
	add := func(name string, c contender) (index int) {
		entries = append(entries, entry{name, c})
		return len(entries) - 1
	}
	r.ratios, r.charted = nil, nil
	for _, cores := range slices.Compact([]int{runtime.GOMAXPROCS(0), 1}) {
		session := func(kind string) string { return fmt.Sprintf("%s-%d", kind, cores) }
		bare, err := newFernet()
		if err != nil {
			return nil, err
		}
		encryptedSession, err := encsession.New(p.store(session("encrypted")), parsed, encsession.WithTTL(encsession.NoExpiry))
		if err != nil {
			return nil, err
		}
		envelopes, err := encsession.New(p.store(session("floor")), parsed)
		if err != nil {
			return nil, err
		}
		floor := add("floor, "+coreCount(cores), &floor{bare: bare, cores: cores, session: envelopes, rows: p.rows})
		plain := add("plain, "+coreCount(cores), &overStore{cores: cores, session: p.store(session("plain"))})
		encrypted := add("encrypted, "+coreCount(cores), &overStore{cores: cores, session: encryptedSession})
		r.ratios = append(r.ratios,
			ratio{"encrypted ÷ floor, " + coreCount(cores), encrypted, floor},
			ratio{"encrypted ÷ plain, " + coreCount(cores), encrypted, plain})
		if r.charted == nil {
			r.charted = []int{floor, plain, encrypted}
		}
	}
	if python != nil {
		index := add("Python EncryptedSession", &pythonOverStore{python: python, store: p.python})
		r.ratios = append(r.ratios, ratio{"Python ÷ " + entries[r.charted[2]].name, index, r.charted[2]})
		r.charted = append(r.charted, index)
	}
	r.names = nil
	for _, e := range entries {
		r.names = append(r.names, e.name)
	}
	return entries, nil
}

// overStore is a session in a store, encrypted or not.
type overStore struct {
	cores   int
	session encsession.Session
	items   []encsession.Item
}

func (c *overStore) load(ctx context.Context, items []encsession.Item) error {
	c.items = items
	return fill(ctx, c.session, items)
}

// fill makes items the whole history of a session.
func fill(ctx context.Context, s encsession.Session, items []encsession.Item) error {
	if err := s.ClearSession(ctx); err != nil {
		return err
	}
	if err := s.AddItems(ctx, items...); err != nil {
		return err
	}
	got, err := s.GetItems(ctx, 0)
	if err != nil {
		return err
	}
	return same(items, got)
}

func (c *overStore) do(ctx context.Context, op int) (time.Duration, error) {
	switch op {
	case 0, 1:
		return clocked(c.cores, func() error {
			items, err := c.session.GetItems(ctx, limits[op])
			return checkCount(len(items), limits[op], err)
		})
	case 2:
		took, err := clocked(c.cores, func() error { return c.session.AddItems(ctx, c.items[:batch]...) })
		for range batch {
			if err != nil {
				return 0, err
			}
			_, err = c.session.PopItem(ctx)
		}
		return took, err
	}
	var popped encsession.Item
	took, err := clocked(c.cores, func() (err error) {
		popped, err = c.session.PopItem(ctx)
		return err
	})
	if err != nil {
		return 0, err
	}
	return took, c.session.AddItems(ctx, popped)
}

func checkCount(got, want int, err error) error {
	if err == nil && got != want {
		err = fmt.Errorf("%w: %d items, not %d", errDiffers, got, want)
	}
	return err
}

// floor is faster than any store can be: the bare driver reads the rows, and
// fernet-go opens as many tokens of the same size on one core.
type floor struct {
	*bare
	cores   int
	session encsession.Session // the driver reads its rows
	rows    func(ctx context.Context, sessionID string, limit int) (int, error)
}

func (c *floor) load(ctx context.Context, items []encsession.Item) error {
	if err := fill(ctx, c.session, items); err != nil {
		return err
	}
	return c.bare.load(ctx, items)
}

func (c *floor) do(ctx context.Context, op int) (time.Duration, error) {
	if op >= len(limits) {
		return 0, errNotDone
	}
	return clocked(c.cores, func() error {
		n, err := c.rows(ctx, c.session.SessionID(), limits[op])
		for _, token := range c.tokens[:limits[op]] {
			if err == nil {
				_, err = c.open(token)
			}
		}
		return checkCount(n, limits[op], err)
	})
}

// pythonOverStore is Python with the SDK's class for the store. Without such a
// class it does nothing.
type pythonOverStore struct {
	python *python
	store  *pythonStore
}

func (c *pythonOverStore) load(ctx context.Context, items []encsession.Item) error {
	if c.store == nil {
		return nil
	}
	c.python.store = c.store
	return c.python.load(ctx, items)
}

func (c *pythonOverStore) do(ctx context.Context, op int) (time.Duration, error) {
	switch {
	case c.store == nil:
		return 0, errNotDone
	case op < len(limits):
		return c.python.clock(ctx, map[string]any{"op": "get", "limit": limits[op]})
	case op == 2:
		return c.python.clock(ctx, map[string]any{"op": "add", "count": batch})
	}
	return c.python.clock(ctx, map[string]any{"op": "pop"})
}

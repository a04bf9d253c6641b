package interop

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/redisstore"
	"github.com/encsession/encsession/sqlstore"
)

const (
	postgresEnv = "ENCSESSION_POSTGRES_DSN"
	mysqlEnv    = "ENCSESSION_MYSQL_DSN"
	redisEnv    = "ENCSESSION_REDIS_ADDR"
)

// pair is a session class of the SDK, and the Go store for the same database.
type pair struct {
	name string
	open func(t *testing.T) *database
}

var pairs = []pair{
	{"SQLiteSession", func(t *testing.T) *database { return openSQLite(t, "SQLiteSession", "") }},
	{"SQLAlchemySession on SQLite", func(t *testing.T) *database {
		return openSQLite(t, "SQLAlchemySession", "sqlite+aiosqlite:///")
	}},
	{"SQLAlchemySession on PostgreSQL", openPostgres},
	{"RedisSession", openRedis},
}

// allPairs also has the pairs that differ little from one of the others.
var allPairs = append(slices.Clone(pairs),
	pair{"AsyncSQLiteSession", func(t *testing.T) *database { return openSQLite(t, "AsyncSQLiteSession", "") }},
	pair{"SQLAlchemySession on MariaDB", openMariaDB},
)

// database is a part of a database that a single test uses, on both sides.
type database struct {
	class   string            // of the SDK
	url     string            // as that class takes it
	options map[string]string // keyword arguments of that class
	store   func(sessionID string) encsession.Session
	create  func(t *testing.T) // lets Go make the tables; otherwise Python makes them when it first writes
}

// onEach runs a test for each pair, on a fresh database.
func onEach(t *testing.T, f func(t *testing.T, p *python, d *database)) {
	p := startPython(t)
	for _, pair := range pairs {
		t.Run(pair.name, func(t *testing.T) { f(t, p, fresh(t, p, pair)) })
	}
}

// fresh opens a fresh database. Python closes its sessions when the test ends,
// before the database goes.
func fresh(t *testing.T, p *python, pair pair) *database {
	d := pair.open(t)
	t.Cleanup(func() { require.NoError(t, p.call(request{"do": "close"}, nil)) })
	return d
}

func openSQLite(t *testing.T, class, scheme string) *database {
	path := filepath.Join(t.TempDir(), "sessions.db")
	return openSQL(t, sqlstore.SQLite, "sqlite", path, database{class: class, url: scheme + path})
}

func openPostgres(t *testing.T) *database {
	dsn := named(t, postgresEnv)
	return openSQL(t, sqlstore.PostgreSQL, "pgx", dsn, database{class: "SQLAlchemySession", url: postgresURL(t, dsn)})
}

// openMariaDB has Go make the tables: Python cannot, as it gives session_id no
// length.
func openMariaDB(t *testing.T) *database {
	dsn := named(t, mysqlEnv)
	config, err := mysql.ParseDSN(dsn)
	require.NoError(t, err)
	u := url.URL{Scheme: "mysql+aiomysql", User: url.UserPassword(config.User, config.Passwd), Host: config.Addr, Path: config.DBName}
	d := openSQL(t, sqlstore.MySQL, "mysql", dsn, database{class: "SQLAlchemySession", url: u.String()})
	d.create(t)
	return d
}

// postgresURL turns a pgx DSN with a host and a port into a URL for SQLAlchemy.
func postgresURL(t *testing.T, dsn string) string {
	config, err := pgx.ParseConfig(dsn)
	require.NoError(t, err)
	u := url.URL{
		Scheme: "postgresql+asyncpg",
		User:   url.UserPassword(config.User, config.Password),
		Host:   net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port))),
		Path:   config.Database,
	}
	if config.TLSConfig == nil {
		u.RawQuery = "ssl=disable"
	}
	return u.String()
}

// openSQL gives the test tables of its own, and drops them when the test ends.
func openSQL(t *testing.T, dialect sqlstore.Dialect, driver, dsn string, d database) *database {
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	suffix := strings.ToLower(rand.Text()[:10])
	sessions, messages := "agent_sessions_"+suffix, "agent_messages_"+suffix
	t.Cleanup(func() {
		for _, table := range []string{messages, sessions} {
			_, err := db.Exec("DROP TABLE IF EXISTS " + table)
			require.NoError(t, err)
		}
		require.NoError(t, db.Close())
	})
	store, err := sqlstore.New(db, dialect, sqlstore.WithTables(sessions, messages))
	require.NoError(t, err)
	d.options = map[string]string{"sessions_table": sessions, "messages_table": messages}
	d.store = func(sessionID string) encsession.Session { return store.Session(sessionID) }
	d.create = func(t *testing.T) { require.NoError(t, store.CreateTables(t.Context())) }
	return &d
}

// openRedis gives the test a prefix of its own, and deletes its keys when the
// test ends.
func openRedis(t *testing.T) *database {
	addr := named(t, redisEnv)
	client := redis.NewClient(&redis.Options{Addr: addr})
	prefix := "interop-" + strings.ToLower(rand.Text()[:10])
	t.Cleanup(func() {
		keys, err := client.Keys(context.Background(), prefix+":*").Result()
		require.NoError(t, err)
		for _, key := range keys {
			require.NoError(t, client.Del(context.Background(), key).Err())
		}
		require.NoError(t, client.Close())
	})
	store, err := redisstore.New(client, redisstore.WithPrefix(prefix))
	require.NoError(t, err)
	return &database{
		class:   "RedisSession",
		url:     "redis://" + addr + "/0",
		options: map[string]string{"key_prefix": prefix},
		store:   func(sessionID string) encsession.Session { return store.Session(sessionID) },
		create:  func(*testing.T) {}, // Redis has no tables
	}
}

func named(t *testing.T, env string) string {
	value := os.Getenv(env)
	if value == "" {
		t.Skipf("set %s to a server to run this test, or source .ci/servers.sh and .ci/redis.sh and start theirs", env)
	}
	return value
}

// goSession returns the encrypted session of Go.
func (d *database) goSession(t testing.TB, sessionID, key string) *encsession.EncryptedSession {
	return d.goSessionWith(t, sessionID, key)
}

func (d *database) goSessionWith(t testing.TB, sessionID, key string, opts ...encsession.Option) *encsession.EncryptedSession {
	parsed, err := encsession.ParseKey(key)
	require.NoError(t, err)
	s, err := encsession.New(d.store(sessionID), parsed, opts...)
	require.NoError(t, err)
	return s
}

// pythonSession is a session of the SDK as a Session of Go. It is encrypted; if
// key is empty, it is the store underneath.
type pythonSession struct {
	python *python
	*database
	id  string
	key string
	ttl any     // seconds, or nil: Python then takes any age
	now float64 // the time of the clock in Python; 0 is the right time
}

var _ encsession.Session = (*pythonSession)(nil)

func (d *database) pythonSession(p *python, sessionID, key string) *pythonSession {
	return &pythonSession{python: p, database: d, id: sessionID, key: key, ttl: 600}
}

func (s *pythonSession) request(do string) request {
	r := request{"do": do, "session": map[string]any{
		"class": s.class, "url": s.url, "options": s.options, "id": s.id, "key": s.key, "ttl": s.ttl,
	}}
	if s.now != 0 {
		r["now"] = s.now
	}
	return r
}

func (s *pythonSession) SessionID() string { return s.id }

func (s *pythonSession) GetItems(_ context.Context, limit int) ([]encsession.Item, error) {
	r := s.request("get")
	r["limit"] = nil
	if limit > 0 {
		r["limit"] = limit
	}
	return s.items(r)
}

// items sends a request and returns the items of the answer.
func (s *pythonSession) items(r request) ([]encsession.Item, error) {
	var texts []string
	if err := s.python.call(r, &texts); err != nil {
		return nil, err
	}
	return fromTexts(texts), nil
}

func (s *pythonSession) AddItems(_ context.Context, items ...encsession.Item) error {
	r := s.request("add")
	r["items"] = texts(items)
	return s.python.call(r, nil)
}

func (s *pythonSession) PopItem(context.Context) (encsession.Item, error) {
	var text *string
	if err := s.python.call(s.request("pop"), &text); err != nil || text == nil {
		return nil, err
	}
	return encsession.Item(*text), nil
}

func (s *pythonSession) ClearSession(context.Context) error {
	return s.python.call(s.request("clear"), nil)
}

func texts(items []encsession.Item) []string {
	texts := make([]string, len(items))
	for i, item := range items {
		texts[i] = string(item)
	}
	return texts
}

func fromTexts(texts []string) []encsession.Item {
	items := make([]encsession.Item, len(texts))
	for i, text := range texts {
		items[i] = json.RawMessage(text)
	}
	return items
}

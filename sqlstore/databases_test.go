package sqlstore

import (
	"crypto/rand"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/encsession/encsession"
)

var (
	_ encsession.Session  = (*Session)(nil)
	_ encsession.Rewriter = (*Session)(nil)
)

// backend is a driver and a database for it.
type backend struct {
	name    string
	dialect Dialect
	driver  string
	dsnEnv  string // the environment variable that names a server; empty for SQLite
}

// backends are the databases and drivers that every test of a store runs on.
// The file for cgo adds one.
var backends = []backend{
	{name: "modernc", dialect: SQLite, driver: "sqlite"},
	{name: "postgres", dialect: PostgreSQL, driver: "pgx", dsnEnv: "ENCSESSION_POSTGRES_DSN"},
	{name: "mysql", dialect: MySQL, driver: "mysql", dsnEnv: "ENCSESSION_MYSQL_DSN"},
}

// moreBackends are used by the conformance suite alone. They differ from a
// backend in things that the suite looks at.
var moreBackends = []backend{
	{name: "postgres18", dialect: PostgreSQL, driver: "pgx", dsnEnv: "ENCSESSION_POSTGRES18_DSN"},
	{name: "pgbouncer", dialect: PostgreSQL, driver: "pgx", dsnEnv: "ENCSESSION_PGBOUNCER_DSN"},
}

// onEach runs a test on each backend of these dialects, or on all if none is
// given.
func onEach(t *testing.T, f func(t *testing.T, b backend), dialects ...Dialect) {
	onEachOf(t, backends, f, dialects...)
}

func onEachOf(t *testing.T, backends []backend, f func(t *testing.T, b backend), dialects ...Dialect) {
	for _, b := range backends {
		if len(dialects) > 0 && !contains(dialects, b.dialect) {
			continue
		}
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			f(t, b)
		})
	}
}

func contains(dialects []Dialect, d Dialect) bool {
	for _, dialect := range dialects {
		if dialect == d {
			return true
		}
	}
	return false
}

// dsn returns the DSN of a new SQLite file, or of the server.
func (b backend) dsn(t testing.TB) string {
	if b.dsnEnv == "" {
		return filepath.Join(t.TempDir(), "sessions.db")
	}
	dsn := os.Getenv(b.dsnEnv)
	if dsn == "" {
		t.Skipf("set %s to the DSN of a server to run this test", b.dsnEnv)
	}
	return dsn
}

// withParameter adds a parameter to a DSN.
func withParameter(dsn, parameter string) string {
	if strings.Contains(dsn, "?") {
		return dsn + "&" + parameter
	}
	return dsn + "?" + parameter
}

func (b backend) open(t testing.TB, dsn string) *sql.DB {
	db, err := sql.Open(b.driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// fixture is a store with tables of its own, which are dropped when the test
// ends.
type fixture struct {
	backend
	dsnText  string
	db       *sql.DB
	sessions string // the names of the tables
	messages string
	*Store
}

// tablesOf says who makes the tables of a fixture. If ddl is nil, CreateTables
// does. Otherwise ddl has the statements of Python or of somebody else, with
// the names of tables.fill.
type tablesOf struct {
	name string
	ddl  []string
}

var ours = tablesOf{name: "ours"}

// newFixture makes a store on a database of the backend.
func newFixture(t testing.TB, b backend, by tablesOf) *fixture {
	dsn := b.dsn(t)
	f := newFixtureAt(t, b, dsn, by)
	return f
}

func newFixtureAt(t testing.TB, b backend, dsn string, by tablesOf) *fixture {
	suffix := strings.ToLower(rand.Text()[:10])
	f := &fixture{
		backend: b, dsnText: dsn, db: b.open(t, dsn),
		sessions: "agent_sessions_" + suffix, messages: "agent_messages_" + suffix,
	}
	var err error
	f.Store, err = New(f.db, b.dialect, WithTables(f.sessions, f.messages))
	require.NoError(t, err)
	t.Cleanup(func() {
		f.exec(t, "DROP TABLE IF EXISTS {messages}")
		f.exec(t, "DROP TABLE IF EXISTS {sessions}")
	})
	if by.ddl == nil {
		require.NoError(t, f.CreateTables(t.Context()))
	}
	for _, statement := range by.ddl {
		f.exec(t, statement)
	}
	return f
}

// exec executes a statement on the side, as another client would.
func (f *fixture) exec(t testing.TB, query string, args ...any) {
	t.Helper()
	_, err := f.db.Exec(f.tables.fill(query), args...)
	require.NoError(t, err)
}

// strings returns the first column of a query as text.
func (f *fixture) strings(t testing.TB, query string, args ...any) []string {
	t.Helper()
	rows, err := f.db.Query(f.tables.fill(query), args...)
	require.NoError(t, err)
	defer rows.Close()
	texts := []string{}
	for rows.Next() {
		var text sql.NullString
		require.NoError(t, rows.Scan(&text))
		texts = append(texts, text.String)
	}
	require.NoError(t, rows.Err())
	return texts
}

func (f *fixture) count(t testing.TB, query string, args ...any) int {
	t.Helper()
	var n int
	require.NoError(t, f.db.QueryRow(f.tables.fill(query), args...).Scan(&n))
	return n
}

// insertRow adds a message as another client would, with any text.
func (f *fixture) insertRow(t testing.TB, sessionID, data string) {
	t.Helper()
	f.exec(t, f.database.upsert(), sessionID)
	f.exec(t, "INSERT INTO {messages} (session_id, message_data) VALUES (?, ?)", sessionID, data)
}

// numbered returns items with the numbers from first to last.
func numbered(first, last int) []Item {
	items := []Item{}
	for n := first; n <= last; n++ {
		items = append(items, Item(fmt.Sprintf(`{"n": %d}`, n)))
	}
	return items
}

func add(t testing.TB, s encsession.Session, items ...Item) {
	t.Helper()
	require.NoError(t, s.AddItems(t.Context(), items...))
}

// texts makes items readable in the messages of a failed test.
func texts(items []Item) []string {
	texts := []string{}
	for _, item := range items {
		texts = append(texts, string(item))
	}
	return texts
}

func requireItems(t testing.TB, s encsession.Session, want ...Item) {
	t.Helper()
	items, err := s.GetItems(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, texts(want), texts(items))
}

// number returns the number of an item of numbered.
func number(t testing.TB, item Item) int {
	t.Helper()
	var n int
	_, err := fmt.Sscanf(string(item), `{"n": %d}`, &n)
	require.NoError(t, err)
	return n
}

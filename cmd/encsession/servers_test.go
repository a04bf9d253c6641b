package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/redisstore"
	"github.com/encsession/encsession/sqlstore"
	"github.com/go-sql-driver/mysql"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// serverVariable returns the value of a variable that names a server. If it is
// not set, it skips the test.
func serverVariable(t *testing.T, variable string) string {
	t.Helper()
	value := os.Getenv(variable)
	if value == "" {
		t.Skipf("set %s to name a server to run this test", variable)
	}
	return value
}

// suffix returns a part for the names of the things that a test makes on a
// server.
func suffix() string { return strings.ToLower(rand.Text()[:10]) }

func TestPostgreSQL(t *testing.T) {
	dsn := serverVariable(t, "ENCSESSION_POSTGRES_DSN")
	testSQL(t, "pgx", dsn, dsn, sqlstore.PostgreSQL)
}

func TestMySQL(t *testing.T) {
	dsn := serverVariable(t, "ENCSESSION_MYSQL_DSN")
	config, err := mysql.ParseDSN(dsn)
	require.NoError(t, err)
	u := url.URL{Scheme: "mysql", User: url.UserPassword(config.User, config.Passwd), Host: config.Addr, Path: config.DBName}
	testSQL(t, "mysql", dsn, u.String(), sqlstore.MySQL)
}

func testSQL(t *testing.T, driver, dsn, storeURL string, dialect sqlstore.Dialect) {
	t.Parallel()
	name := suffix()
	sessions, messages := "cmd_sessions_"+name, "cmd_messages_"+name
	tables := []string{"--sessions-table", sessions, "--messages-table", messages}
	u, err := url.Parse(storeURL)
	require.NoError(t, err)
	password, _ := u.User.Password()
	currentText, current := newKey(t)
	oldText, old := newKey(t)
	environment := env{keyVariable: currentText, olderKeysVariable: oldText, storeVariable: storeURL}
	r := call(t, environment, append(tables, "audit")...)
	require.Equal(t, exitError, r.code)
	require.Contains(t, r.stderr, "no table "+sessions, "it makes no tables")

	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() {
		for _, table := range []string{messages, sessions} {
			_, err := db.Exec("DROP TABLE IF EXISTS " + table)
			require.NoError(t, err)
		}
		require.NoError(t, db.Close())
	})
	store, err := sqlstore.New(db, dialect, sqlstore.WithTables(sessions, messages))
	require.NoError(t, err)
	require.NoError(t, store.CreateTables(t.Context()))
	testStore(t, environment, tables, password, func(id string) encsession.Session { return store.Session(id) }, current, old)
}

func TestRedis(t *testing.T) {
	address := serverVariable(t, "ENCSESSION_REDIS_ADDR")
	for _, tagged := range []bool{false, true} {
		client := redis.NewClient(&redis.Options{Addr: address})
		testRedis(t, client, "redis://"+address+"/0", tagged)
	}
}

func TestRedisCluster(t *testing.T) {
	addresses := serverVariable(t, "ENCSESSION_REDIS_CLUSTER_ADDRS")
	client := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: strings.Split(addresses, ",")})
	testRedis(t, client, "redis-cluster://"+addresses, true)
}

func testRedis(t *testing.T, client redis.UniversalClient, storeURL string, tagged bool) {
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	prefix := "cmd-" + suffix()
	args := []string{"--prefix", prefix}
	options := []redisstore.Option{redisstore.WithPrefix(prefix)}
	if tagged {
		options = append(options, redisstore.WithHashTag())
		if !strings.HasPrefix(storeURL, "redis-cluster") { // its keys always have them
			args = append(args, "--hash-tag")
		}
	}
	store, err := redisstore.New(client, options...)
	require.NoError(t, err)
	t.Cleanup(func() {
		for _, sessionID := range []string{"alice", "Alice", "bob", "carol", pastSession} {
			require.NoError(t, store.Session(sessionID).ClearSession(context.Background()))
		}
	})
	currentText, current := newKey(t)
	oldText, old := newKey(t)
	environment := env{keyVariable: currentText, olderKeysVariable: oldText, storeVariable: storeURL}
	testStore(t, environment, args, "", func(id string) encsession.Session { return store.Session(id) }, current, old)

	r := call(t, environment, append(args, "show", "alice:messages")...)
	require.Equal(t, exitError, r.code, "no session can have this ID")
}

// testStore runs everything over an empty store.
func testStore(t *testing.T, environment env, args []string, password string, session func(id string) encsession.Session, current, old encsession.Key) {
	t.Helper()
	with := func(more ...string) []string { return append(more, args...) }
	code, s := summary(t, env{storeVariable: environment[storeVariable]}, with("audit")...)
	require.Equal(t, exitWell, code)
	require.Zero(t, s.Sessions)
	if password != "" {
		require.NotContains(t, s.Store, password)
	}

	_, lost := newKey(t)
	item := encsession.Item(`{"role":"user","content":"Hello"}`)
	addUnder(t, session("carol"), &lost, item)
	item = encsession.Item(`{"role":"user","content":"Hello"}`)
	addUnder(t, session("bob"), nil, item)
	addUnder(t, session(pastSession), nil, fromThePast(t, old)[:1]...)
	addUnder(t, session("alice"), &old, encsession.Item(string(item)), encsession.Item(string(item)))
	addUnder(t, session("Alice"), nil, item, item)

	code, s = summary(t, env{storeVariable: environment[storeVariable]}, with("audit")...)
	require.Equal(t, exitFindings, code)
	require.Equal(t, 4, s.Sealed)
	require.Equal(t, 3, s.Plaintext)
	code, s = summary(t, environment, with("sessions")...)
	require.Equal(t, exitWell, code)
	require.Equal(t, 5, s.Sessions)

	r := call(t, environment, with("rekey", "--yes")...)
	require.Equal(t, exitError, r.code, "the current key opens nothing yet")
	require.Contains(t, r.stderr, "the current key, "+current.Fingerprint()+", opens no item of the store")
	require.Contains(t, r.stderr, "copy it from there and run it again with --first-use FINGERPRINT")
	require.NotContains(t, r.stderr, "--first-use "+current.Fingerprint(), "nobody should paste it from here")
	if password != "" {
		require.NotContains(t, r.stderr, password)
	}
	code, p := lines(t, environment, with("rekey", "--yes", "--all", "--workers", "4", "--first-use", current.Fingerprint())...)
	require.Equal(t, exitFindings, code)
	require.Equal(t, &changed{Items: 3, Sessions: 2}, p.summary.Changed)
	require.Equal(t, &skipped{Sessions: 1, Undecryptable: 1}, p.summary.Skipped)
	require.Len(t, p.sessions, 5)
	_, s = summary(t, environment, with("audit")...)
	require.Equal(t, []int{3, 0}, perKey(s.Counts))

	code, p = lines(t, environment, with("seal", "--yes", "--all")...)
	require.Equal(t, exitPartly, code)
	require.Equal(t, &changed{Items: 3, Sessions: 2}, p.summary.Changed)
	require.Contains(t, p.summary.Errors[0], `session "carol": encsession: SealPlaintext: `)
	_, s = summary(t, environment, with("audit")...)
	require.Equal(t, []int{6, 0}, perKey(s.Counts))

	require.Contains(t, call(t, environment, with("show", "bob")...).stdout, string(item))
	_, p = lines(t, environment, with("show", "Alice")...)
	require.Len(t, p.items, 2)
	require.JSONEq(t, string(item), string(p.items[0].Item))

	_, s = summary(t, environment, with("audit", "--ttl", "1d")...)
	require.Equal(t, 1, s.Expired)
	code, s = summary(t, environment, with("purge", "--yes", "--older-than", "1d")...)
	require.Equal(t, exitWell, code, "carol's item is not that old")
	require.Equal(t, &changed{Items: 1, Sessions: 1}, s.Changed)

	code, s = summary(t, environment, with("delete", "--yes", "--match", write(t, "text", "hello\n"), "--ignore-case")...)
	require.Equal(t, exitFindings, code)
	require.Equal(t, &changed{Items: 5, Sessions: 3}, s.Changed)
	require.Equal(t, &skipped{Sessions: 1, Undecryptable: 1}, s.Skipped)
	code, s = summary(t, environment, with("delete", "carol", "--yes")...)
	require.Equal(t, exitWell, code)
	require.Equal(t, 1, s.Changed.Items)
	code, s = summary(t, environment, with("audit")...)
	require.Equal(t, exitWell, code)
	require.Zero(t, s.Items)
}

// TestPasswords tries passwords in unreadable URLs, in URLs of missing servers,
// and in arguments.
func TestPasswords(t *testing.T) {
	var urls []string
	for _, scheme := range []string{"redis", "rediss", "redis-cluster", "rediss-cluster", "postgres", "postgresql", "mysql"} {
		for _, rest := range []string{
			"://user:73hush@127.0.0.1:1/0", "://:73hush@127.0.0.1:1", "://user:73hush@127.0.0.1:x",
			"://user:73hush@127.0.0.1:1/x", "://user:73hush@127.0.0.1:1/?x=y", "://user:73/hush@127.0.0.1:1",
			"://user:73?hush@127.0.0.1:1", "://user:73#hush@127.0.0.1:1", "://user:73%hush@127.0.0.1:1", "://user:hush/73@127.0.0.1:1",
			"://user:hu@sh73@127.0.0.1:1/x", ":73hush@127.0.0.1:1", "://127.0.0.1:1/x?password=73hush", "://user:73hush@127.0.0.1:1,127.0.0.1:1/x",
			"://user:73 hush@127.0.0.1:1/x", "://" + scheme + "://user:73hush@127.0.0.1:1/x", "://user:73\x01hush@127.0.0.1:1/x",
		} {
			urls = append(urls, scheme+rest)
		}
		if strings.HasPrefix(scheme, "redis") { // elsewhere, it is the name of a user
			urls = append(urls, scheme+"://73hush@127.0.0.1:1/x")
		}
	}
	urls = append(urls, "user:73hush@127.0.0.1:1", "user:73hush@tcp(127.0.0.1:1)/x", "73hush@127.0.0.1:1", "127.0.0.1:hush73",
		"http://user:73hush@127.0.0.1:1", "REDIS://user:73hush@127.0.0.1:1", "host=127.0.0.1 password=73hush")
	for _, storeURL := range urls {
		t.Run("", func(t *testing.T) {
			t.Parallel() // go-redis takes its time for servers that are not there
			for _, run := range []struct {
				environment env
				args        []string
			}{
				{env{storeVariable: storeURL}, []string{"sessions"}},
				{nil, []string{"sessions", "--store", storeURL}},
				{env{storeVariable: storeURL}, []string{"sessions", storeURL}},
				{nil, []string{storeURL}},
				{nil, []string{"sessions", "-" + storeURL}},
				{nil, []string{"sessions", "--" + storeURL}},
				{nil, []string{"help", storeURL}},
				{nil, []string{"audit", "--workers", storeURL}},
				{nil, []string{"audit", "--dry-run=" + storeURL}},
				{env{storeVariable + fileSuffix: storeURL}, []string{"sessions"}},
			} {
				r := call(t, run.environment, run.args...)
				require.Equal(t, exitError, r.code, run)
				require.NotContains(t, r.stdout+r.stderr, "hush", run)
				require.NotContains(t, r.stdout+r.stderr, "73", run)
			}
			r := call(t, nil, "sessions", "--store", storeURL)
			require.Regexp(t, `--store holds a password|want a URL that begins with`, r.stderr, "it is refused before it is used")
		})
	}
}

// TestPasswordsOfServers tries wrong passwords at servers that exist.
func TestPasswordsOfServers(t *testing.T) {
	for variable, storeURL := range map[string]func(string) string{
		"ENCSESSION_POSTGRES_DSN": func(dsn string) string {
			u, err := url.Parse(dsn)
			require.NoError(t, err)
			u.User = url.UserPassword(u.User.Username(), "73hush")
			return u.String()
		},
		"ENCSESSION_MYSQL_DSN": func(dsn string) string {
			config, err := mysql.ParseDSN(dsn)
			require.NoError(t, err)
			return "mysql://" + config.User + ":73hush@" + config.Addr + "/" + config.DBName
		},
		"ENCSESSION_REDIS_ADDR": func(address string) string { return "redis://user:73hush@" + address },
	} {
		t.Run(variable, func(t *testing.T) {
			r := call(t, env{storeVariable: storeURL(serverVariable(t, variable))}, "sessions")
			require.Equal(t, exitError, r.code)
			require.NotContains(t, r.stdout+r.stderr, "hush")
		})
	}
}

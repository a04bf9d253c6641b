package keystore

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/encsession/encsession"
)

// backend is a kind of database and a driver for it.
type backend struct {
	name    string
	dialect Dialect
	driver  string
	dsnEnv  string // the environment variable that names a server; empty for SQLite
}

var (
	onSQLite = backend{name: "sqlite", dialect: SQLite, driver: "sqlite"}
	backends = []backend{
		onSQLite,
		{name: "postgres", dialect: PostgreSQL, driver: "pgx", dsnEnv: "ENCSESSION_POSTGRES_DSN"},
		{name: "mysql", dialect: MySQL, driver: "mysql", dsnEnv: "ENCSESSION_MYSQL_DSN"},
	}
)

// onEach runs a test on each database.
func onEach(t *testing.T, f func(t *testing.T, b backend)) {
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			f(t, b)
		})
	}
}

// table is a pair of tables in a database. They are dropped when the test ends.
type table struct {
	backend
	dsn            string
	keys, settings string
}

// newTable chooses names for two tables. It does not make the tables.
func newTable(t testing.TB, b backend) *table {
	dsn := filepath.Join(t.TempDir(), "keys.db")
	if b.dsnEnv != "" {
		if dsn = os.Getenv(b.dsnEnv); dsn == "" {
			t.Skipf("set %s to the DSN of a server to run this test", b.dsnEnv)
		}
	}
	suffix := strings.ToLower(rand.Text()[:10])
	tb := &table{b, dsn, "keys_" + suffix, "settings_" + suffix}
	if b.dsnEnv != "" {
		t.Cleanup(func() {
			db := tb.open(t)
			defer db.Close()
			for _, name := range []string{tb.keys, tb.settings} {
				_, err := db.Exec("DROP TABLE IF EXISTS " + b.dialect.quote(name))
				require.NoError(t, err)
			}
		})
	}
	return tb
}

func (tb *table) open(t testing.TB) *sql.DB {
	db, err := sql.Open(tb.driver, tb.dsn)
	require.NoError(t, err)
	return db
}

// process is a Store with a connection pool of its own, like the one in another
// process. Its wrapper is a fake.
type process struct {
	*Store
	kms *kms
}

// start opens a Store on the tables, and makes them if they are missing.
func (tb *table) start(t testing.TB, opts ...Option) *process {
	return tb.startWith(t, newKMS("kms-1"), opts...)
}

func (tb *table) startWith(t testing.TB, kms *kms, opts ...Option) *process {
	t.Helper()
	db := tb.open(t)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	s, err := New(db, tb.dialect, NamedWrapper{kms.name, kms}, append([]Option{WithTables(tb.keys, tb.settings)}, opts...)...)
	require.NoError(t, err)
	require.NoError(t, s.CreateTables(t.Context()))
	return &process{s, kms}
}

// newProcess opens a Store on tables of its own.
func newProcess(t testing.TB, b backend, opts ...Option) *process {
	return newTable(t, b).start(t, opts...)
}

// sql executes a statement, as somebody else with a connection can.
func (p *process) sql(t testing.TB, query string, args ...any) {
	t.Helper()
	_, err := p.db.Exec(p.fill(query), args...)
	require.NoError(t, err)
}

// keyring returns the keys of a tenant, which must exist.
func (p *process) keyring(t testing.TB, tenant string) encsession.Keyring {
	t.Helper()
	ring, err := p.Keys(t.Context(), tenant)
	require.NoError(t, err)
	return ring
}

// current returns the fingerprint of the current key.
func (p *process) current(t testing.TB, tenant string) string {
	t.Helper()
	return p.keyring(t, tenant).Current.Fingerprint()
}

// olderKeys returns the fingerprints of the older keys.
func (p *process) olderKeys(t testing.TB, tenant string) []string {
	t.Helper()
	list := []string{}
	for _, key := range p.keyring(t, tenant).Older {
		list = append(list, key.Fingerprint())
	}
	return list
}

func (p *process) mustCreate(t testing.TB, tenant string) KeyInfo {
	t.Helper()
	info, err := p.Create(t.Context(), tenant)
	require.NoError(t, err)
	return info
}

func (p *process) mustRotate(t testing.TB, tenant string, expected int64) KeyInfo {
	t.Helper()
	info, err := p.Rotate(t.Context(), tenant, expected)
	require.NoError(t, err)
	return info
}

// list returns all tenants.
func (p *process) list(t testing.TB) []TenantInfo {
	t.Helper()
	var list []TenantInfo
	for tenant, err := range p.Tenants(t.Context()) {
		require.NoError(t, err)
		list = append(list, tenant)
	}
	return list
}

// kms is a Wrapper with fault hooks: AES-GCM under a key that is made from its
// name. So two processes have the same one.
type kms struct {
	name             string
	aead             cipher.AEAD
	encrypts, opens  atomic.Int64
	decrypt, encrypt func(ctx context.Context) error // called first; may be nil
}

func newKMS(name string) *kms {
	key := sha256.Sum256([]byte(name))
	block, _ := aes.NewCipher(key[:])
	aead, _ := cipher.NewGCMWithRandomNonce(block)
	return &kms{name: name, aead: aead}
}

func (k *kms) Encrypt(ctx context.Context, text []byte) ([]byte, error) {
	k.encrypts.Add(1)
	if k.encrypt != nil {
		if err := k.encrypt(ctx); err != nil {
			return nil, err
		}
	}
	return k.aead.Seal(nil, nil, text, nil), nil
}

func (k *kms) Decrypt(ctx context.Context, wrapped []byte) ([]byte, error) {
	k.opens.Add(1)
	if k.decrypt != nil {
		if err := k.decrypt(ctx); err != nil {
			return nil, err
		}
	}
	return k.aead.Open(nil, nil, wrapped, nil)
}

// down makes every request to the KMS fail until up is called.
func (k *kms) down() {
	k.decrypt = func(context.Context) error { return errDown }
	k.encrypt = k.decrypt
}

func (k *kms) up() { k.decrypt, k.encrypt = nil, nil }

var errDown = errors.New("the KMS is down")

// wrapperFunc is a Wrapper that encrypts and decrypts with one func.
type wrapperFunc func([]byte) ([]byte, error)

func (f wrapperFunc) Encrypt(_ context.Context, b []byte) ([]byte, error) { return f(bytes.Clone(b)) }
func (f wrapperFunc) Decrypt(_ context.Context, b []byte) ([]byte, error) { return f(bytes.Clone(b)) }

// whole is the time until a new key is current everywhere.
const whole = DefaultMaxAge + margin + time.Second

// wrapperFuncs is a Wrapper of two funcs.
type wrapperFuncs struct {
	encrypt, decrypt func([]byte) ([]byte, error)
}

func (f wrapperFuncs) Encrypt(_ context.Context, b []byte) ([]byte, error) { return f.encrypt(b) }
func (f wrapperFuncs) Decrypt(_ context.Context, b []byte) ([]byte, error) { return f.decrypt(b) }

func (w rsaWrapper) Encrypt(_ context.Context, b []byte) ([]byte, error) {
	return rsa.EncryptOAEP(sha256.New(), rand.Reader, &w.private.PublicKey, b, nil)
}

func (w rsaWrapper) Decrypt(_ context.Context, b []byte) ([]byte, error) {
	return rsa.DecryptOAEP(sha256.New(), nil, w.private, b, nil)
}

func containsAny(data []byte, parts ...[]byte) bool {
	for _, part := range parts {
		if bytes.Contains(data, part) {
			return true
		}
	}
	return false
}

// rows returns a backup of the table.
func (p *process) rows(t testing.TB) (all []listedRow) {
	t.Helper()
	for r, err := range p.allRows(t.Context(), "1 = 1") {
		require.NoError(t, err)
		all = append(all, r)
	}
	return all
}

// restore replaces the rows of the table with a backup.
func (p *process) restore(t testing.TB, backup []listedRow) {
	t.Helper()
	p.sql(t, "DELETE FROM {keys}")
	null := func(n int64) sql.NullInt64 { return sql.NullInt64{Int64: n, Valid: n != 0} }
	for _, r := range backup {
		p.sql(t, "INSERT INTO {keys} (tenant, number, wrapped, wrapper, fingerprint, created_at, active_at, retired_at, destroyed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
			r.tenant, r.number, r.wrapped, r.wrapper, r.fingerprint, r.created, null(r.active), null(r.retired), null(r.destroyed))
	}
}

// broken makes every statement on the keys fail, as if the database were down.
// With false, they work again.
func (p *process) broken(yes bool) {
	p.names = p.newNames(map[bool]string{false: p.keysTable, true: "no_such_table"}[yes])
}

// cachedEntry returns the keys in memory.
func (t *tenantKeys) cachedEntry() *entry { return t.cached.Load() }

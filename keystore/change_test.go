package keystore

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

func TestLifeOfATenant(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		tb := newTable(t, b)
		p, other := tb.start(t), tb.start(t)
		_, err := p.Keys(t.Context(), "acme")
		require.ErrorIs(t, err, ErrUnknownTenant)
		first := p.mustCreate(t, "acme")
		require.EqualValues(t, 1, first.Number)
		require.Equal(t, "kms-1", first.Wrapper)
		require.Equal(t, first.CreatedAt.Truncate(time.Second), first.ActiveAt.Truncate(time.Second))
		require.WithinDuration(t, time.Now(), first.CreatedAt, 20*time.Second)
		_, err = other.Create(t.Context(), "acme")
		require.ErrorIs(t, err, ErrExists)
		require.Equal(t, first.Fingerprint, other.current(t, "acme"))
		require.Empty(t, other.olderKeys(t, "acme"))

		second := p.mustRotate(t, "acme", 1)
		require.EqualValues(t, 2, second.Number)
		require.WithinDuration(t, second.CreatedAt.Add(DefaultMaxAge+60*time.Second), second.ActiveAt, 20*time.Second)
		require.GreaterOrEqual(t, second.ActiveAt.Sub(second.CreatedAt), DefaultMaxAge+60*time.Second)
		_, err = other.Rotate(t.Context(), "acme", 1)
		require.ErrorIs(t, err, ErrConflict)
		require.Equal(t, first.Fingerprint, p.current(t, "acme"), "not yet")
		require.Equal(t, []string{second.Fingerprint}, p.olderKeys(t, "acme"), "but known")
		require.ErrorIs(t, p.Retire(t.Context(), "acme", 1), ErrInUse)
		require.ErrorIs(t, p.Retire(t.Context(), "acme", 2), ErrInUse)

		p = tb.start(t)
		p.skew = DefaultMaxAge + margin + time.Second // time passes in the database
		require.Equal(t, second.Fingerprint, p.current(t, "acme"))
		require.Equal(t, []string{first.Fingerprint}, p.olderKeys(t, "acme"))
		require.ErrorIs(t, p.Retire(t.Context(), "acme", 1), ErrInUse, "its successor has just become active")
		p.skew += margin
		require.ErrorContains(t, p.Retire(t.Context(), "acme", 3), "there is no key 3")
		require.ErrorContains(t, p.Retire(t.Context(), "acme", 0), "there is no key 0")
		require.NoError(t, p.Retire(t.Context(), "acme", 1))
		require.ErrorIs(t, p.Retire(t.Context(), "acme", 2), ErrInUse)
		require.Equal(t, second.Fingerprint, p.current(t, "acme"))
		require.Empty(t, p.olderKeys(t, "acme"))
		retired := p.list(t)[0]
		require.EqualValues(t, 2, retired.Current)
		require.False(t, retired.Keys[0].RetiredAt.IsZero())
		require.NoError(t, p.Unretire(t.Context(), "acme", 1))
		require.Equal(t, []string{first.Fingerprint}, p.olderKeys(t, "acme"))

		from, err := p.Destroy(t.Context(), "acme")
		require.NoError(t, err)
		destroyed := p.list(t)[0]
		require.False(t, from.Before(destroyed.DestroyedAt.Add(DefaultMaxAge)))
		require.Zero(t, destroyed.Current)
		require.Len(t, destroyed.Keys, 2)
		for _, p := range []*process{p, tb.start(t)} {
			_, err = p.Keys(t.Context(), "acme")
			require.ErrorIs(t, err, encsession.ErrKeyDestroyed)
			_, err = p.Create(t.Context(), "acme")
			require.ErrorIs(t, err, encsession.ErrKeyDestroyed)
			_, err = p.Rotate(t.Context(), "acme", 2)
			require.ErrorIs(t, err, encsession.ErrKeyDestroyed)
			require.ErrorIs(t, p.Retire(t.Context(), "acme", 1), encsession.ErrKeyDestroyed)
			_, err = p.ExportKey(t.Context(), "acme", 1)
			require.ErrorIs(t, err, encsession.ErrKeyDestroyed)
			again, err := p.Destroy(t.Context(), "acme")
			require.NoError(t, err)
			require.WithinDuration(t, from, again, time.Hour)
		}
		require.Equal(t, destroyed, p.list(t)[0], "the time of the first Destroy stays")
		require.False(t, destroyed.Erased, "a process may have the keys in memory")
		p.skew += DefaultMaxAge + margin
		require.True(t, p.list(t)[0].Erased)
	})
}

func TestDestroyWithoutABoundChangesNothing(t *testing.T) {
	p := newProcess(t, onSQLite)
	p.mustCreate(t, "acme")
	p.sql(t, "CREATE TABLE saved AS SELECT * FROM {settings}")
	p.sql(t, "DELETE FROM {settings}")
	_, err := p.Destroy(t.Context(), "acme")
	require.ErrorIs(t, err, errBound)
	p.sql(t, "INSERT INTO {settings} SELECT * FROM saved")
	p.keyring(t, "acme")
}

func TestDestroyOfAnUnknownTenantLeavesATombstone(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		p := newProcess(t, b, WithAutoCreate())
		_, err := p.Destroy(t.Context(), "acme")
		require.NoError(t, err)
		_, err = p.Create(t.Context(), "acme")
		require.ErrorIs(t, err, encsession.ErrKeyDestroyed)
		_, err = p.Keys(t.Context(), "acme")
		require.ErrorIs(t, err, encsession.ErrKeyDestroyed)
		require.Len(t, p.list(t), 1)
	})
}

// If some of the rows are put back, the tenant remains destroyed.
func TestOneDestroyedRowDestroysTheTenant(t *testing.T) {
	tb := newTable(t, onSQLite)
	p := tb.start(t)
	p.mustCreate(t, "acme")
	p.mustRotate(t, "acme", 1)
	p.sql(t, "CREATE TABLE saved AS SELECT * FROM {keys}")
	_, err := p.Destroy(t.Context(), "acme")
	require.NoError(t, err)
	p.sql(t, "DELETE FROM {keys} WHERE number = 2")
	p.sql(t, "INSERT INTO {keys} SELECT * FROM saved WHERE number = 2")
	_, err = tb.start(t).Keys(t.Context(), "acme")
	require.ErrorIs(t, err, encsession.ErrKeyDestroyed)
}

func TestTenantsAreComparedBytewise(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		p := newProcess(t, b)
		names := []string{"acme", "ACME", "acme ", " acme", "açme", "ac\u0327me", "7", "007", "'; --", "日本", "😀", "a/b", "{now}"}
		seen := make(map[string]bool)
		for _, name := range names {
			seen[p.mustCreate(t, name).Fingerprint] = true
		}
		require.Len(t, seen, len(names))
		for _, name := range names {
			require.True(t, seen[p.current(t, name)])
			delete(seen, p.current(t, name))
		}
		var listed []string
		for _, tenant := range p.list(t) {
			listed = append(listed, tenant.Tenant)
		}
		require.ElementsMatch(t, names, listed)
		require.IsIncreasing(t, listed)
	})
}

func TestWithTenantMapsSessionsToTenants(t *testing.T) {
	p := newProcess(t, onSQLite, WithTenant(func(id string) string { return id[:4] }), WithAutoCreate())
	require.Equal(t, p.current(t, "acme/1"), p.current(t, "acme/2"))
	require.NotEqual(t, p.current(t, "acme/1"), p.current(t, "rich/1"))
	require.Len(t, p.list(t), 2)
}

// A mistyped tenant, a lost table and a wrong schema must not make keys.
func TestNoKeyIsMadeUnlessAskedFor(t *testing.T) {
	tb := newTable(t, onSQLite)
	p := tb.start(t)
	_, err := p.Keys(t.Context(), "acme")
	require.ErrorIs(t, err, ErrUnknownTenant)
	require.ErrorContains(t, err, `tenant "acme"`)
	require.Empty(t, p.list(t))
	require.Empty(t, p.tenants, "a name that somebody makes up is not remembered")

	auto := tb.start(t, WithAutoCreate())
	first := auto.current(t, "acme")
	require.Equal(t, first, p.current(t, "acme"))
	auto.sql(t, "DELETE FROM {keys}")
	auto.forget("acme")
	_, err = auto.Keys(t.Context(), "acme")
	require.ErrorIs(t, err, ErrAltered, "it has seen keys of the tenant, and they are lost")
}

func TestAutoCreateByManyProcessesMakesOneKey(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		tb := newTable(t, b)
		var group sync.WaitGroup
		fingerprints := make([]string, 6)
		for i := range fingerprints {
			p := tb.start(t, WithAutoCreate())
			group.Go(func() {
				ring, err := p.Keys(context.Background(), "acme")
				if err == nil {
					fingerprints[i] = ring.Current.Fingerprint()
				}
			})
		}
		group.Wait()
		for _, fingerprint := range fingerprints {
			require.Equal(t, fingerprints[0], fingerprint)
			require.NotEmpty(t, fingerprint)
		}
	})
}

func TestCreateTables(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		tb := newTable(t, b)
		p := tb.start(t, WithMaxAge(time.Minute))
		p.mustCreate(t, "acme")
		require.NoError(t, p.CreateTables(t.Context()))
		require.Len(t, p.list(t), 1)

		// Another process takes the stored bound or a lower one, and never a
		// higher.
		def := tb.start(t)
		def.current(t, "acme")
		require.Equal(t, time.Minute, def.tenants["acme"].cached.Load().maxAge)
		less := tb.start(t, WithMaxAge(time.Second))
		less.current(t, "acme")
		require.Equal(t, time.Second, less.tenants["acme"].cached.Load().maxAge)
		info := less.mustRotate(t, "acme", 1)
		require.GreaterOrEqual(t, info.ActiveAt.Sub(info.CreatedAt), time.Minute+margin, "Rotate waits for the others")

		db := tb.open(t)
		defer db.Close()
		more, err := New(db, b.dialect, p.Store.current, WithTables(tb.keys, tb.settings), WithMaxAge(61*time.Second))
		require.NoError(t, err)
		const want = "WithMaxAge(1m1s) exceeds the bound of 1m0s"
		require.ErrorContains(t, more.CreateTables(t.Context()), want)
		_, err = more.Keys(t.Context(), "acme")
		require.ErrorContains(t, err, want)
		_, err = more.Rotate(t.Context(), "acme", 2)
		require.ErrorContains(t, err, want)

		for _, stored := range []string{"0", "-1", "9223372036854775807", "86400000001"} {
			p.sql(t, "UPDATE {settings} SET value = "+stored)
			p.forget("acme")
			_, err = p.Keys(t.Context(), "acme")
			require.ErrorContains(t, err, "which is not from 1s to 24h0m0s")
		}
		p.sql(t, "DELETE FROM {settings}")
		_, err = p.Keys(t.Context(), "acme")
		require.ErrorContains(t, err, "holds none")
	})
}

func TestTablesAreMadeByManyAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		tb := newTable(t, b)
		errs := make(chan error)
		for range 4 {
			db := tb.open(t)
			t.Cleanup(func() { db.Close() })
			s, err := New(db, b.dialect, NamedWrapper{"kms-1", newKMS("kms-1")}, WithTables(tb.keys, tb.settings))
			require.NoError(t, err)
			go func() { errs <- s.CreateTables(context.Background()) }()
		}
		for range 4 {
			require.NoError(t, <-errs)
		}
	})
}

// On such a connection, every statement sees the state that the first one has
// seen, for ever.
func TestMySQLWithoutAutocommitIsRefused(t *testing.T) {
	tb := newTable(t, backends[2])
	p := tb.start(t)
	p.mustCreate(t, "acme")
	p.forget("acme")
	p.db.SetMaxOpenConns(1)
	p.sql(t, "SET autocommit = 0")
	_, err := p.Keys(t.Context(), "acme")
	require.ErrorContains(t, err, "autocommit is off")
}

func TestExportedKeyIsWhatPythonExpects(t *testing.T) {
	p := newProcess(t, onSQLite)
	p.mustCreate(t, "acme")
	pending := p.mustRotate(t, "acme", 1)
	for number := range int64(2) {
		text, err := p.ExportKey(t.Context(), "acme", number+1)
		require.NoError(t, err)
		for _, parse := range []func(string) (encsession.Key, error){encsession.ParseKey, encsession.ParsePythonKey} {
			key, err := parse(text)
			require.NoError(t, err)
			require.Equal(t, p.list(t)[0].Keys[number].Fingerprint, key.Fingerprint())
		}
	}
	require.True(t, pending.ActiveAt.After(time.Now()), "Python can have it before Go writes under it")
	_, err := p.ExportKey(t.Context(), "acme", 3)
	require.ErrorContains(t, err, "there is no key 3")
	_, err = p.ExportKey(t.Context(), "nobody", 1)
	require.ErrorIs(t, err, ErrUnknownTenant)
}

func TestRewrapMovesKeysToTheCurrentWrapper(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		tb := newTable(t, b)
		p := tb.start(t)
		for _, tenant := range []string{"acme", "rich", "gone"} {
			p.mustCreate(t, tenant)
		}
		p.mustRotate(t, "acme", 1)
		_, err := p.Destroy(t.Context(), "gone")
		require.NoError(t, err)
		acme := p.current(t, "acme")

		newer := tb.startWith(t, newKMS("kms-2"), WithOlderWrappers(map[string]Wrapper{"kms-1": p.kms}))
		require.Equal(t, acme, newer.current(t, "acme"), "both open while the change is under way")
		n, err := newer.Rewrap(t.Context())
		require.NoError(t, err)
		require.Equal(t, 3, n)
		n, err = newer.Rewrap(t.Context())
		require.NoError(t, err)
		require.Zero(t, n)
		for _, tenant := range newer.list(t) {
			for _, key := range tenant.Keys {
				require.Equal(t, map[string]string{"acme": "kms-2", "rich": "kms-2", "gone": "kms-1"}[tenant.Tenant], key.Wrapper)
			}
		}
		require.Equal(t, acme, tb.startWith(t, newKMS("kms-2")).current(t, "acme"), "the old wrapper may go")
		_, err = tb.start(t).Keys(t.Context(), "acme")
		require.ErrorContains(t, err, `wrapped by "kms-2", which this Store does not have`)
	})
}

// endedContext has ended once somebody says so. Nobody is told.
type endedContext struct {
	context.Context
	ended atomic.Bool
}

func (c *endedContext) Err() error {
	if c.ended.Load() {
		return context.Canceled
	}
	return nil
}

// The count and the error must say that a Rewrap whose context ends has not come
// to its end: the old wrapping key is still needed.
func TestRewrapWhoseContextEndsIsAnError(t *testing.T) {
	tb := newTable(t, onSQLite)
	p := tb.start(t)
	for _, tenant := range []string{"a", "b", "c"} {
		p.mustCreate(t, tenant)
	}
	newer := tb.startWith(t, newKMS("kms-2"), WithOlderWrappers(map[string]Wrapper{"kms-1": newKMS("kms-1")}))
	ctx := &endedContext{Context: t.Context()}
	newer.statement = func(query string) {
		if strings.HasPrefix(query, "UPDATE") {
			ctx.ended.Store(true)
		}
	}
	rewrapped, err := newer.Rewrap(ctx)
	require.ErrorIs(t, err, context.Canceled)
	newer.statement = nil
	left, err := newer.Rewrap(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3, rewrapped+left)
}

func TestRewrapGoesOnPastAKeyThatFails(t *testing.T) {
	tb := newTable(t, onSQLite)
	p := tb.start(t)
	for n := range 30 {
		p.mustCreate(t, fmt.Sprintf("tenant-%02d", n))
	}
	newer := tb.startWith(t, newKMS("kms-2"), WithOlderWrappers(map[string]Wrapper{"kms-1": p.kms}))
	p.sql(t, "UPDATE {keys} SET wrapped = zeroblob(93) WHERE tenant = 'tenant-07'")
	n, err := newer.Rewrap(t.Context())
	require.ErrorContains(t, err, "tenant-07")
	require.Equal(t, 29, n)

	before := p.kms.opens.Load()
	p.kms.down() // in an outage, not every key is tried
	last := tb.startWith(t, newKMS("kms-3"), WithOlderWrappers(map[string]Wrapper{"kms-1": p.kms, "kms-2": p.kms}))
	n, err = last.Rewrap(t.Context())
	require.ErrorIs(t, err, errDown)
	require.Zero(t, n)
	require.EqualValues(t, maxFailures, p.kms.opens.Load()-before)
}

// A backup from before a Destroy brings the tenant back. Reapply with the
// ledger destroys it again.
func TestRestoreAndReapply(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		tb := newTable(t, b)
		p := tb.start(t)
		for _, tenant := range []string{"acme", "rich", "later"} {
			p.mustCreate(t, tenant)
		}
		saved := p.rows(t)
		for _, tenant := range []string{"acme", "later", "never"} {
			_, err := p.Destroy(t.Context(), tenant)
			require.NoError(t, err)
		}
		ledger, err := p.Ledger(t.Context())
		require.NoError(t, err)
		require.Len(t, ledger, 3)
		text, err := json.Marshal(ledger)
		require.NoError(t, err)

		p.restore(t, saved)
		restored := tb.start(t)
		restored.current(t, "acme") // the tenant is back

		var read []Erasure
		require.NoError(t, json.Unmarshal(text, &read))
		require.Equal(t, ledger, read)
		n, err := restored.Reapply(t.Context(), read)
		require.NoError(t, err)
		require.Equal(t, 3, n)
		n, err = restored.Reapply(t.Context(), read)
		require.NoError(t, err)
		require.Zero(t, n)
		for _, tenant := range []string{"acme", "later", "never"} {
			_, err = restored.Keys(t.Context(), tenant)
			require.ErrorIs(t, err, encsession.ErrKeyDestroyed)
		}
		restored.current(t, "rich")
	})
}

// Destroy does not reach a copy of both databases: it opens as long as the
// wrapping key exists.
func TestACopyOpensUntilItsWrappingKeyIsGone(t *testing.T) {
	tb := newTable(t, onSQLite)
	p := tb.start(t)
	sessions := make(map[string]*encsession.MemorySession)
	for _, tenant := range []string{"acme", "rich"} {
		p.mustCreate(t, tenant)
		sessions[tenant] = encsession.NewMemorySession(tenant)
		session, err := encsession.New(sessions[tenant], p)
		require.NoError(t, err)
		require.NoError(t, session.AddItems(t.Context(), encsession.Item(`{"secret":1}`)))
	}
	read := func(p *process, tenant string) (int, error) {
		session, err := encsession.New(sessions[tenant], p, encsession.WithStrictReads())
		require.NoError(t, err)
		items, err := session.GetItems(t.Context(), 0)
		return len(items), err
	}
	saved := newTable(t, onSQLite) // the sessions do not change from here on, so they need no copy
	saved.keys, saved.settings = tb.keys, tb.settings
	p.sql(t, "VACUUM INTO ?", saved.dsn)
	_, err := p.Destroy(t.Context(), "acme")
	require.NoError(t, err)
	_, err = read(p, "acme")
	require.ErrorIs(t, err, encsession.ErrKeyDestroyed)

	thief := saved.start(t)
	n, err := read(thief, "acme")
	require.NoError(t, err)
	require.Equal(t, 1, n, "the copy gives away what was erased")

	live := tb.startWith(t, newKMS("kms-2"), WithOlderWrappers(map[string]Wrapper{"kms-1": p.kms}))
	rewrapped, err := live.Rewrap(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, rewrapped)
	thief.kms.down() // the old wrapping key is destroyed
	thief = saved.startWith(t, thief.kms)
	for _, tenant := range []string{"acme", "rich"} {
		_, err = read(thief, tenant)
		require.ErrorIs(t, err, errDown)
	}
	n, err = read(tb.startWith(t, newKMS("kms-2")), "rich")
	require.NoError(t, err)
	require.Equal(t, 1, n, "who was not erased goes on")
}

// A thief of the disk has the file, and must not find the rows in it.
func TestDestroyOverwritesTheRowsInTheFileOfSQLite(t *testing.T) {
	for _, mode := range []string{"WAL", "DELETE"} {
		t.Run(mode, func(t *testing.T) {
			tb := newTable(t, onSQLite)
			p := tb.start(t)
			p.sql(t, "PRAGMA journal_mode = "+mode)
			p.mustCreate(t, "acme")
			p.mustRotate(t, "acme", 1)
			p.mustCreate(t, "rich")
			v, err := p.read(t.Context(), "acme")
			require.NoError(t, err)
			found := func() bool {
				files, err := filepath.Glob(tb.dsn + "*")
				require.NoError(t, err)
				var all []byte
				for _, file := range files {
					data, err := os.ReadFile(file)
					require.NoError(t, err)
					all = append(all, data...)
				}
				return containsAny(all, v.rows[0].wrapped[:16], v.rows[1].wrapped[:16])
			}
			require.True(t, found())
			_, err = p.Destroy(t.Context(), "acme")
			require.NoError(t, err)
			require.False(t, found())
		})
	}
}

func TestTenantsListsMoreThanAPage(t *testing.T) {
	p := newProcess(t, onSQLite)
	p.sql(t, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)
		INSERT INTO {keys} SELECT 'tenant-' || (i / 3), 1 + i % 3, NULL, '', '', 1, 1, NULL, 1 FROM n`)
	list := p.list(t)
	require.Len(t, list, 501)
	total := 0
	for _, tenant := range list {
		total += len(tenant.Keys)
	}
	require.Equal(t, 1500, total)
	for range p.Tenants(t.Context()) {
		break // the listing can be left
	}
}

package interop

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/keystore"
	"github.com/stretchr/testify/require"
	"gocloud.dev/secrets"
	"gocloud.dev/secrets/localsecrets"
)

var _ keystore.Wrapper = (*secrets.Keeper)(nil)

func TestKeystoreWithLocalsecrets(t *testing.T) {
	testKeystore(t, func(t *testing.T) (*secrets.Keeper, func()) {
		key, err := localsecrets.NewRandomKey()
		require.NoError(t, err)
		keeper := localsecrets.NewKeeper(key)
		return keeper, func() { require.NoError(t, keeper.Close()) }
	})
}

// testKeystore goes through the life of a keystore with a real key service.
func testKeystore(t *testing.T, newKey func(t *testing.T) (keeper *secrets.Keeper, destroy func())) {
	ctx, file := t.Context(), filepath.Join(t.TempDir(), "keys.db")
	oldKeeper, destroyOld := newKey(t)
	newKeeper, destroyNew := newKey(t)
	keys, db := openKeystore(t, file, keystore.NamedWrapper{Name: "old", Wrapper: oldKeeper})
	fingerprints := make(map[string]string)
	for _, tenant := range []string{"acme", "globex", "gone"} {
		info, err := keys.Create(ctx, tenant)
		require.NoError(t, err)
		fingerprints[tenant] = info.Fingerprint
	}
	info, err := keys.Rotate(ctx, "acme", 1)
	require.NoError(t, err)
	ring, err := keys.Keys(ctx, "acme")
	require.NoError(t, err)
	require.Equal(t, fingerprints["acme"], ring.Current.Fingerprint())
	require.Equal(t, info.Fingerprint, ring.Older[0].Fingerprint())
	_, err = keys.Destroy(ctx, "gone")
	require.NoError(t, err)

	// The row of one tenant does not open as the row of another.
	copied := filepath.Join(t.TempDir(), "altered.db")
	_, err = db.Exec("VACUUM INTO ?", copied)
	require.NoError(t, err)
	thief, thiefDB := openKeystore(t, copied, keystore.NamedWrapper{Name: "old", Wrapper: oldKeeper})
	ring, err = thief.Keys(ctx, "globex")
	require.NoError(t, err)
	require.Equal(t, fingerprints["globex"], ring.Current.Fingerprint())
	_, err = thiefDB.Exec("UPDATE encsession_keys SET wrapped = (SELECT wrapped FROM encsession_keys WHERE tenant = 'globex') WHERE tenant = 'acme' AND number = 1")
	require.NoError(t, err)
	_, err = thief.Keys(ctx, "acme")
	require.ErrorIs(t, err, keystore.ErrAltered)

	// The wrapping key changes, and the old one is destroyed. Then the copy of
	// the table does not open any more.
	changed, _ := openKeystore(t, file, keystore.NamedWrapper{Name: "new", Wrapper: newKeeper},
		keystore.WithOlderWrappers(map[string]keystore.Wrapper{"old": oldKeeper}))
	n, err := changed.Rewrap(ctx)
	require.NoError(t, err)
	require.Equal(t, 3, n)
	destroyOld()
	alone, _ := openKeystore(t, file, keystore.NamedWrapper{Name: "new", Wrapper: newKeeper})
	ring, err = alone.Keys(ctx, "acme")
	require.NoError(t, err)
	require.Equal(t, fingerprints["acme"], ring.Current.Fingerprint())
	again, _ := openKeystore(t, copied, keystore.NamedWrapper{Name: "old", Wrapper: oldKeeper})
	_, err = again.Keys(ctx, "globex")
	requireOutage(t, err)

	// If the service has lost the wrapping key, that is an outage, and nobody
	// counts as erased.
	destroyNew()
	cold, _ := openKeystore(t, file, keystore.NamedWrapper{Name: "new", Wrapper: newKeeper}, keystore.WithAutoCreate())
	_, err = cold.Keys(ctx, "acme")
	requireOutage(t, err)
	_, err = cold.Keys(ctx, "nobody")
	requireOutage(t, err)
	_, err = cold.Keys(ctx, "gone")
	require.ErrorIs(t, err, encsession.ErrKeyDestroyed, "a tombstone needs no KMS")
}

func requireOutage(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	for _, reason := range []error{encsession.ErrKeyDestroyed, keystore.ErrUnknownTenant, keystore.ErrAltered} {
		require.NotErrorIs(t, err, reason)
	}
}

func openKeystore(t *testing.T, file string, wrapper keystore.NamedWrapper, opts ...keystore.Option) (*keystore.Store, *sql.DB) {
	db, err := sql.Open("sqlite", file)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	keys, err := keystore.New(db, keystore.SQLite, wrapper, opts...)
	require.NoError(t, err)
	require.NoError(t, keys.CreateTables(t.Context()))
	return keys, db
}

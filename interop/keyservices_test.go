package interop

import (
	"bytes"
	"context"
	"database/sql"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/encsession/encsession"
	"github.com/encsession/encsession/keystore"
	"github.com/stretchr/testify/require"
	"gocloud.dev/secrets"
	"gocloud.dev/secrets/awskms"
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

// Moto's server goes on decrypting with a key that is disabled or about to be
// deleted. AWS does not. So each key has a server of its own, and the test
// resets the server to destroy the key.
func TestKeystoreWithAWSKMS(t *testing.T) {
	testKeystore(t, func(t *testing.T) (*secrets.Keeper, func()) {
		client, reset := startKMS(t)
		made, err := client.CreateKey(t.Context(), &kms.CreateKeyInput{})
		require.NoError(t, err)
		return awskms.OpenKeeper(client, *made.KeyMetadata.KeyId, nil), reset
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

// startKMS starts moto's server, which has a KMS, in the Python that has moto.
func startKMS(t *testing.T) (client *kms.Client, reset func()) {
	python := os.Getenv("ENCSESSION_KMS_PYTHON")
	if python == "" {
		t.Skip("set ENCSESSION_KMS_PYTHON to a Python with what interop/requirements-kms.txt lists to run this test")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	cmd := exec.Command(python, "-m", "moto.server", "-H", "127.0.0.1", "-p", port)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })

	endpoint := "http://" + address
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for answered := false; !answered; {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint+"/moto-api/", nil)
		require.NoError(t, err)
		if response, err := http.DefaultClient.Do(request); err == nil {
			answered = response.StatusCode < 500
			response.Body.Close()
		}
		select {
		case <-ended:
			require.Fail(t, "moto's server has ended", log.String())
		case <-ctx.Done():
			require.Fail(t, "moto's server does not answer")
		case <-time.After(50 * time.Millisecond):
		}
	}
	reset = func() {
		response, err := http.Post(endpoint+"/moto-api/reset", "", nil)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusOK, response.StatusCode)
	}
	return kms.New(kms.Options{
		Region:       "us-east-1",
		BaseEndpoint: aws.String(endpoint),
		Credentials:  credentials.NewStaticCredentialsProvider("testing", "testing", ""),
	}), reset
}

package keystore

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// Every table that exists holds this format, so it must never change.
func TestWhatIsWrappedIsFrozen(t *testing.T) {
	secret := make([]byte, 32)
	for i := range secret {
		secret[i] = byte(i)
	}
	text := bind("acme", 7, secret)
	require.Len(t, text, 65)
	hash := sha256.Sum256([]byte("encsession/keystore/v1\x00\x00\x00\x00\x00\x00\x00\x00\x07acme"))
	require.Equal(t, slices.Concat([]byte{1}, hash[:], secret), text)
	require.Equal(t, "01bc36383c305bb26bd673d9da0236ec7145cb5c2ce0701bd9a6dcf6fd336b1194000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", hex.EncodeToString(text))
}

func TestWrappersThatDoNotProtectAreRefused(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	for name, test := range map[string]struct {
		wrapper Wrapper
		want    string
	}{
		"one that does not encrypt": {wrapperFunc(func(b []byte) ([]byte, error) { return b, nil }), "does not encrypt"},
		"one that returns nothing":  {wrapperFunc(func([]byte) ([]byte, error) { return nil, nil }), "returned 0 bytes"},
		"one that returns too much": {wrapperFunc(func([]byte) ([]byte, error) { return make([]byte, 1<<20), nil }), "returned 1048576 bytes"},
		"one that fails":            {wrapperFunc(func([]byte) ([]byte, error) { return nil, errDown }), "the KMS is down"},
		"one that opens to something else": {wrapperFunc(func(b []byte) ([]byte, error) {
			return bytes.Repeat([]byte{1}, len(b)), nil
		}), "does not decrypt to the bytes"},
		"RSA-OAEP": {rsaWrapper{private}, "seems to encrypt to a public key"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProcess(t, onSQLite)
			p.Store.current.Wrapper = test.wrapper
			_, err := p.Create(t.Context(), "acme")
			require.ErrorContains(t, err, test.want)
			require.Empty(t, p.list(t), "nothing is stored")
			_, err = p.Keys(t.Context(), "acme")
			require.ErrorIs(t, err, ErrUnknownTenant)
		})
	}
}

// rsaWrapper encrypts to a public key.
type rsaWrapper struct{ private *rsa.PrivateKey }

// The output of a symmetric service may happen to be as long as that of RSA.
func TestALengthOfRSAAloneIsNotRefused(t *testing.T) {
	p := newProcess(t, onSQLite)
	inner := newKMS("kms-1")
	p.Store.current.Wrapper = wrapperFuncs{
		func(b []byte) ([]byte, error) {
			wrapped, err := inner.Encrypt(t.Context(), b)
			return append(make([]byte, 256-65-28), wrapped...), err
		},
		func(b []byte) ([]byte, error) { return inner.Decrypt(t.Context(), b[256-65-28:]) },
	}
	p.mustCreate(t, "acme")
	p.keyring(t, "acme")
}

func TestRowsThatWereTamperedWithDoNotOpen(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		tb := newTable(t, b)
		p := tb.start(t)
		p.mustCreate(t, "rich")
		p.mustRotate(t, "rich", 1)
		// Somebody with access to the table alone can do each of these things.
		// {t} is the tenant.
		for name, test := range map[string]struct {
			statements string
			want       string
		}{
			"wrapped altered":            {"UPDATE {keys} SET wrapped = 'another' WHERE tenant = {t} AND number = 1", "Decrypt"},
			"copied from another number": {"UPDATE {keys} SET wrapped = (SELECT wrapped FROM (SELECT wrapped FROM {keys} WHERE tenant = {t} AND number = 2) AS c) WHERE tenant = {t} AND number = 1", ErrAltered.Error()},
			"copied from another tenant": {"UPDATE {keys} SET wrapped = (SELECT wrapped FROM (SELECT wrapped FROM {keys} WHERE tenant = 'rich' AND number = 1) AS c), fingerprint = (SELECT fingerprint FROM (SELECT fingerprint FROM {keys} WHERE tenant = 'rich' AND number = 1) AS c) WHERE tenant = {t} AND number = 1", ErrAltered.Error()},
			"two numbers swapped": {"UPDATE {keys} SET number = 9 WHERE tenant = {t} AND number = 1;" +
				"UPDATE {keys} SET number = 1 WHERE tenant = {t} AND number = 2;" +
				"UPDATE {keys} SET number = 2 WHERE tenant = {t} AND number = 9", ErrAltered.Error()},
			"renumbered":            {"UPDATE {keys} SET number = 3 WHERE tenant = {t} AND number = 2", ErrAltered.Error()},
			"number 0":              {"UPDATE {keys} SET number = 0 WHERE tenant = {t} AND number = 1", ErrAltered.Error()},
			"first deleted":         {"DELETE FROM {keys} WHERE tenant = {t} AND number = 1", ErrAltered.Error()},
			"all deleted":           {"DELETE FROM {keys} WHERE tenant = {t}", ErrUnknownTenant.Error()},
			"fingerprint altered":   {"UPDATE {keys} SET fingerprint = '0123456789abcdef' WHERE tenant = {t} AND number = 1", ErrAltered.Error()},
			"emptied":               {"UPDATE {keys} SET wrapped = NULL WHERE tenant = {t} AND number = 1", ErrAltered.Error()},
			"wrapper altered":       {"UPDATE {keys} SET wrapper = 'kms-0' WHERE tenant = {t}", `wrapped by "kms-0", which this Store does not have`},
			"case of the wrapper":   {"UPDATE {keys} SET wrapper = 'KMS-1' WHERE tenant = {t}", `wrapped by "KMS-1", which this Store does not have`},
			"tenant of other bytes": {"UPDATE {keys} SET tenant = upper('{T}') WHERE tenant = {t}", ErrUnknownTenant.Error()},
		} {
			t.Run(name, func(t *testing.T) {
				p.mustCreate(t, name)
				p.mustRotate(t, name, 1)
				before := p.keyring(t, name)
				statements := strings.NewReplacer("{t}", "'"+name+"'", "upper('{T}')", "'"+strings.ToUpper(name)+"'").Replace(test.statements)
				for statement := range strings.SplitSeq(statements, ";") {
					p.sql(t, statement)
				}
				fresh := tb.start(t)
				_, err := fresh.Keys(t.Context(), name)
				require.ErrorContains(t, err, test.want)
				require.NotErrorIs(t, err, encsession.ErrKeyDestroyed)
				_, err = fresh.Rotate(t.Context(), name, 2)
				if test.want == ErrAltered.Error() && !strings.Contains(name, "copied") && !strings.Contains(name, "swapped") && !strings.Contains(name, "fingerprint") {
					require.ErrorIs(t, err, ErrAltered)
				}

				// A process that had the keys uses them until it sees the
				// change.
				require.Equal(t, before.Current.Fingerprint(), p.current(t, name))
				p.forget(name)
				_, err = p.Keys(t.Context(), name)
				require.Error(t, err)
				require.NotErrorIs(t, err, ErrUnknownTenant, "this process knows better")
			})
		}
	})
}

// A deleted newest row leaves no gap in the table. But a process that has seen
// it notices.
func TestALostNewestRowIsNoticedByWhoHasSeenIt(t *testing.T) {
	p := newProcess(t, onSQLite)
	p.mustCreate(t, "acme")
	p.mustRotate(t, "acme", 1)
	p.keyring(t, "acme")
	p.sql(t, "DELETE FROM {keys} WHERE number = 2")
	p.forget("acme")
	for range 2 {
		_, err := p.Keys(t.Context(), "acme")
		require.ErrorIs(t, err, ErrAltered)
	}
	p.mustRotate(t, "acme", 1)
	_, err := p.Keys(t.Context(), "acme")
	require.ErrorIs(t, err, ErrAltered, "number 2 is another key now")
}

package keystore

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

func TestNewRefusesWhatCannotWork(t *testing.T) {
	db := newTable(t, onSQLite).open(t)
	defer db.Close()
	good := NamedWrapper{"kms-1", newKMS("kms-1")}
	for name, test := range map[string]struct {
		dialect Dialect
		wrapper NamedWrapper
		opts    []Option
		want    string
	}{
		"no dialect":         {0, good, nil, "Dialect(0) is not one of SQLite, PostgreSQL and MySQL"},
		"another dialect":    {4, good, nil, "Dialect(4) is not one of SQLite, PostgreSQL and MySQL"},
		"no wrapper":         {SQLite, NamedWrapper{Name: "kms-1"}, nil, `wrapper "kms-1": its Wrapper is nil`},
		"no name":            {SQLite, NamedWrapper{Wrapper: good}, nil, "name of the wrapper: it is empty"},
		"a long name":        {SQLite, NamedWrapper{strings.Repeat("k", 256), good}, nil, "at most 255"},
		"a nil option":       {SQLite, good, []Option{nil}, "option 0 is nil"},
		"too young":          {SQLite, good, []Option{WithMaxAge(time.Millisecond)}, "WithMaxAge: 1ms is not from 1s to 24h"},
		"too old":            {SQLite, good, []Option{WithMaxAge(25 * time.Hour)}, "WithMaxAge: 25h0m0s is not"},
		"no func":            {SQLite, good, []Option{WithTenant(nil)}, "WithTenant: func is nil"},
		"a nil older one":    {SQLite, good, []Option{WithOlderWrappers(map[string]Wrapper{"kms-0": nil})}, `name "kms-0": its Wrapper is nil`},
		"an older one again": {SQLite, good, []Option{WithOlderWrappers(map[string]Wrapper{"kms-1": good})}, `"kms-1" is also the name of the current wrapper`},
		"one without a name": {SQLite, good, []Option{WithOlderWrappers(map[string]Wrapper{"": good})}, `name "": it is empty`},
		"no identifier":      {SQLite, good, []Option{WithTables("keys; --", "settings")}, "is not an identifier"},
		"one table":          {SQLite, good, []Option{WithTables("keys", "KEYS")}, "both tables"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := New(db, test.dialect, test.wrapper, test.opts...)
			require.ErrorContains(t, err, test.want)
			require.Nil(t, s)
		})
	}
	_, err := New(nil, SQLite, good)
	require.ErrorContains(t, err, "db is nil")
}

func TestZeroStoreReturnsErrors(t *testing.T) {
	for name, s := range map[string]*Store{"nil": nil, "zero": {}} {
		t.Run(name, func(t *testing.T) {
			ctx, errs := t.Context(), []error{}
			_, err := s.Keys(ctx, "a")
			errs = append(errs, err, s.CreateTables(ctx), s.Retire(ctx, "a", 1), s.Unretire(ctx, "a", 1))
			_, err = s.Create(ctx, "a")
			errs = append(errs, err)
			_, err = s.Rotate(ctx, "a", 1)
			errs = append(errs, err)
			_, err = s.Destroy(ctx, "a")
			errs = append(errs, err)
			_, err = s.Rewrap(ctx)
			errs = append(errs, err)
			_, err = s.Ledger(ctx)
			errs = append(errs, err)
			_, err = s.Reapply(ctx, []Erasure{{Tenant: "a"}})
			errs = append(errs, err)
			_, err = s.ExportKey(ctx, "a", 1)
			for _, err := range append(errs, err) {
				require.ErrorContains(t, err, "this Store was not made by New")
			}
		})
	}
}

// badTenants are names that some database could not store as they are.
var badTenants = map[string]string{
	"": "empty", strings.Repeat("é", 128): "256 bytes", "a\xff": "not UTF-8", "a\x00": "U+0000",
}

func TestTenantsThatCannotBeStoredAreRefused(t *testing.T) {
	p := newProcess(t, onSQLite, WithTenant(func(string) string { return "" }))
	_, err := p.Keys(t.Context(), "session")
	require.ErrorContains(t, err, "empty")
	for tenant, want := range badTenants {
		_, err := p.Create(t.Context(), tenant)
		require.ErrorContains(t, err, want)
		_, err = p.Destroy(t.Context(), tenant)
		require.ErrorContains(t, err, want)
		_, err = p.Reapply(t.Context(), []Erasure{{Tenant: "good"}, {Tenant: tenant}})
		require.ErrorContains(t, err, "entry 1")
	}
	require.Empty(t, p.list(t), "wrong input changes nothing")
}

// Printing the keys with any verb does not show a key.
func TestNothingShowsAKey(t *testing.T) {
	p := newProcess(t, onSQLite)
	p.mustCreate(t, "acme")
	exported, err := p.ExportKey(t.Context(), "acme", 1)
	require.NoError(t, err)
	p.keyring(t, "acme")
	key, err := encsession.ParseKey(exported)
	require.NoError(t, err)
	require.Equal(t, p.current(t, "acme"), key.Fingerprint())
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		text := fmt.Sprintf(verb+verb, p.tenants["acme"].cached.Load().phases, p.tenants["acme"].cached.Load().ring(time.Now()))
		require.NotContains(t, text, exported)
		require.NotContains(t, text, strings.TrimRight(exported, "="))
	}
}

// nilKMS is a service that may not have been set up.
type nilKMS struct{}

func (*nilKMS) Encrypt(context.Context, []byte) ([]byte, error) { panic("not set up") }
func (*nilKMS) Decrypt(context.Context, []byte) ([]byte, error) { panic("not set up") }

func TestNilPointersAreNoWrappers(t *testing.T) {
	db := newTable(t, onSQLite).open(t)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	good := NamedWrapper{"kms-1", newKMS("kms-1")}
	for _, bad := range []Wrapper{nil, (*nilKMS)(nil), NamedWrapper{Name: "inner"}} {
		_, err := New(db, SQLite, NamedWrapper{"kms-1", bad})
		require.ErrorIs(t, err, errNoWrapper)
		_, err = New(db, SQLite, good, WithOlderWrappers(map[string]Wrapper{"kms-0": bad}))
		require.ErrorIs(t, err, errNoWrapper)
	}
}

// A service that says of a wrapping key that it was destroyed, in the words of
// encsession, does not erase tenants.
func TestAWrapperCannotEraseATenant(t *testing.T) {
	tb := newTable(t, onSQLite)
	tb.start(t).mustCreate(t, "acme")
	p := tb.start(t)
	for _, reason := range []error{encsession.ErrKeyDestroyed, ErrUnknownTenant, ErrAltered} {
		p.kms.decrypt = func(context.Context) error { return fmt.Errorf("pending deletion: %w", reason) }
		_, err := p.Keys(t.Context(), "acme")
		require.ErrorContains(t, err, "pending deletion")
		require.NotErrorIs(t, err, reason)
	}
	p.kms.decrypt = nil
	p.keyring(t, "acme")
}

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/fleet"
	"github.com/encsession/encsession/keystore"
	"github.com/spf13/cobra"
)

// noWrapper is the wrapper of a keystore that only lists its destroyed tenants.
// So the command needs no key service, whichever one has wrapped the keys.
type noWrapper struct{}

var errNoWrapper = errors.New("this command opens no key")

func (noWrapper) Encrypt(context.Context, []byte) ([]byte, error) { return nil, errNoWrapper }
func (noWrapper) Decrypt(context.Context, []byte) ([]byte, error) { return nil, errNoWrapper }

// keystoreDatabases are the databases that can hold a keystore, by the scheme
// of their URL.
var keystoreDatabases = map[string]struct {
	open    sqlOpener
	dialect keystore.Dialect
}{
	"sqlite":     {openSQLite, keystore.SQLite},
	"postgres":   {openPostgreSQL, keystore.PostgreSQL},
	"postgresql": {openPostgreSQL, keystore.PostgreSQL},
	"mysql":      {openMySQL, keystore.MySQL},
}

// erasedTenants returns the destroyed tenants whose keys no process can have in
// memory any more. recent is the number of the other destroyed tenants.
func (a *app) erasedTenants(ctx context.Context) (erased map[string]bool, recent int, err error) {
	given := place{flag: "--keystore", variable: keystoreVariable, text: a.flags.keystore, set: a.flags.keystoreSet}
	scheme, rest, from, err := a.placeURL(given)
	if err != nil {
		return nil, 0, err
	}
	kind, ok := keystoreDatabases[scheme]
	if !ok {
		return nil, 0, fmt.Errorf("%s: want a URL that begins with sqlite:, postgres:// or mysql://", from)
	}
	db, err := kind.open(rest, false)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", from, err)
	}
	defer db.Close()
	keys, err := keystore.New(db.DB, kind.dialect, keystore.NamedWrapper{Name: "none", Wrapper: noWrapper{}})
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", from, err)
	}
	erased = make(map[string]bool)
	for tenant, err := range keys.Tenants(ctx) {
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %w", from, err)
		}
		switch {
		case tenant.Erased:
			erased[tenant.Tenant] = true
		case !tenant.DestroyedAt.IsZero():
			recent++
		}
	}
	return erased, recent, nil
}

// tenant returns the tenant of a session.
func (a *app) tenant(sessionID string) string {
	if a.flags.tenantEnd == "" {
		return sessionID
	}
	tenant, _, _ := strings.Cut(sessionID, a.flags.tenantEnd)
	return tenant
}

// deleteDestroyed clears the sessions of tenants whose keys were destroyed.
func (a *app) deleteDestroyed(cmd *cobra.Command, c change) error {
	if c.session != "" || a.flags.matchSet || a.flags.ignoreCase || a.flags.plaintext {
		return errors.New("--destroyed goes over all sessions: give neither a session nor --match with it")
	}
	erased, recent, err := a.erasedTenants(cmd.Context())
	if err != nil {
		return err
	}
	c.does = fmt.Sprintf("remove all items of %s whose keys were destroyed", plural(len(erased), "tenant", "tenants"))
	if recent > 0 {
		fmt.Fprintf(a.stderr, "%s destroyed so recently that a process may still have the keys: run it again later for them.\n",
			plural(recent, "tenant was", "tenants were"))
	}
	gone := encsession.KeyFunc(func(context.Context, string) (encsession.Keyring, error) {
		return encsession.Keyring{}, encsession.ErrKeyDestroyed
	})
	c.run = func(ctx context.Context, sessions listing, _ fleet.OpenFunc, s store, opts ...fleet.Option) (fleet.Summary, error) {
		ofErased := func(yield func(encsession.SessionInfo, error) bool) {
			for info, err := range sessions {
				if (err != nil || erased[a.tenant(info.ID)]) && !yield(info, err) {
					return
				}
			}
		}
		open := func(_ context.Context, id string) (*encsession.EncryptedSession, error) {
			session := s.Session(id)
			if a.flags.dryRun {
				session = keeping{session}
			}
			return encsession.New(session, gone)
		}
		return fleet.ClearDestroyed(ctx, ofErased, open, opts...)
	}
	return a.change(cmd, c)
}

// keeping is a session that only pretends to be cleared, for a dry run.
type keeping struct{ encsession.Session }

func (keeping) ClearSession(context.Context) error { return nil }

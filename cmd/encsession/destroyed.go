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

// tenants are those of a keystore.
type tenants struct {
	shown  string          // the URL of the keystore, as it may be shown
	erased map[string]bool // all tenants, and whether no process can have their keys any more
	gone   int             // the number of erased ones
	recent int             // the number of destroyed ones whose keys a process may still have
}

// readTenants reads the tenants of the keystore.
func (a *app) readTenants(ctx context.Context) (t tenants, err error) {
	given := place{flag: "--keystore", variable: keystoreVariable, text: a.flags.keystore, set: a.flags.keystoreSet}
	scheme, rest, from, err := a.placeURL(given)
	if err != nil {
		return t, err
	}
	kind, ok := keystoreDatabases[scheme]
	if !ok {
		return t, fmt.Errorf("%s: want a URL that begins with sqlite:, postgres:// or mysql://", from)
	}
	db, err := kind.open(rest, false)
	if err != nil {
		return t, fmt.Errorf("%s: %w", from, err)
	}
	defer db.Close()
	keys, err := keystore.New(db.DB, kind.dialect, keystore.NamedWrapper{Name: "none", Wrapper: noWrapper{}})
	if err != nil {
		return t, fmt.Errorf("%s: %w", from, err)
	}
	t = tenants{shown: scheme + ":" + db.shown, erased: make(map[string]bool)}
	for tenant, err := range keys.Tenants(ctx) {
		if err != nil {
			return t, fmt.Errorf("%s: is this the database of the keystore? %w", from, err)
		}
		t.erased[tenant.Tenant] = tenant.Erased
		switch {
		case tenant.Erased:
			t.gone++
		case !tenant.DestroyedAt.IsZero():
			t.recent++
		}
	}
	return t, nil
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
	of, err := a.readTenants(cmd.Context())
	if err != nil {
		return err
	}
	named := "the whole session ID"
	if a.flags.tenantEnd != "" {
		named = fmt.Sprintf("the session ID before %q", a.flags.tenantEnd)
	}
	c.does = fmt.Sprintf("remove all items of %s whose keys were destroyed (keystore %s, a tenant is %s)",
		plural(of.gone, "tenant", "tenants"), of.shown, named)
	if of.recent > 0 {
		fmt.Fprintf(a.stderr, "%s destroyed so recently that a process may still have the keys: run it again later for them.\n",
			plural(of.recent, "tenant was", "tenants were"))
	}
	unknown := 0
	gone := encsession.KeyFunc(func(context.Context, string) (encsession.Keyring, error) {
		return encsession.Keyring{}, encsession.ErrKeyDestroyed
	})
	c.run = func(ctx context.Context, sessions listing, _ fleet.OpenFunc, s store, opts ...fleet.Option) (fleet.Summary, error) {
		ofErased := func(yield func(encsession.SessionInfo, error) bool) {
			for info, err := range sessions {
				erased, known := of.erased[a.tenant(info.ID)]
				if err == nil && !known {
					unknown++
				}
				if (err != nil || erased) && !yield(info, err) {
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
	err = a.change(cmd, c)
	if unknown > 0 {
		fmt.Fprintf(a.stderr, "%s to tenants that the keystore does not know: are --keystore and --tenant-end right?\n",
			plural(unknown, "session belongs", "sessions belong"))
		if err == nil && a.code == exitWell {
			a.code = exitFindings
		}
	}
	return err
}

// keeping is a session that only pretends to be cleared, for a dry run.
type keeping struct{ encsession.Session }

func (keeping) ClearSession(context.Context) error { return nil }

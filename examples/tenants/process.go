package main

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/keystore"
	"github.com/encsession/encsession/sqlstore"
	"gocloud.dev/secrets"
	"gocloud.dev/secrets/localsecrets"
	_ "modernc.org/sqlite"
)

// maxAge is how long a process uses a key without asking again. The default is
// 5 minutes. Here it is short, since the example waits for it.
const maxAge = 2 * time.Second

// wrappingKey is a key of a KMS. This one is in memory. With another driver of
// gocloud.dev, it stays in AWS, Google Cloud or Vault.
type wrappingKey struct {
	name string
	*secrets.Keeper
}

func newWrappingKey(name string) (wrappingKey, error) {
	key, err := localsecrets.NewRandomKey()
	if err != nil {
		return wrappingKey{}, err
	}
	return wrappingKey{name, localsecrets.NewKeeper(key)}, nil
}

// process is one of the processes that work on both databases.
type process struct {
	name               string
	sessionsDB, keysDB *sql.DB
	sessions           *sqlstore.Store
	keys               *keystore.Store
}

func openProcess(ctx context.Context, name, folder string, current wrappingKey, older ...wrappingKey) (p *process, err error) {
	p = &process{name: name}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if p.sessionsDB, err = sql.Open("sqlite", filepath.Join(folder, "sessions.db")); err != nil {
		return nil, err
	}
	if p.keysDB, err = sql.Open("sqlite", filepath.Join(folder, "keys.db")); err != nil {
		return nil, err
	}
	if p.sessions, err = sqlstore.New(p.sessionsDB, sqlstore.SQLite); err != nil {
		return nil, err
	}
	olderByName := make(map[string]keystore.Wrapper)
	for _, key := range older {
		olderByName[key.name] = key
	}
	p.keys, err = keystore.New(p.keysDB, keystore.SQLite, keystore.NamedWrapper{Name: current.name, Wrapper: current},
		keystore.WithOlderWrappers(olderByName), keystore.WithTenant(tenantOf), keystore.WithMaxAge(maxAge))
	if err != nil {
		return nil, err
	}
	if err := p.sessions.CreateTables(ctx); err != nil {
		return nil, err
	}
	return p, p.keys.CreateTables(ctx)
}

func (p *process) close() (err error) {
	for _, db := range []*sql.DB{p.sessionsDB, p.keysDB} {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
	}
	return err
}

// open opens a session, with the keys of its tenant.
func (p *process) open(_ context.Context, sessionID string) (*encsession.EncryptedSession, error) {
	return encsession.New(p.sessions.Session(sessionID), p.keys,
		encsession.WithTTL(30*24*time.Hour),
		encsession.WithObserver(encsession.LogDrops(slog.Default())))
}

func (p *process) add(ctx context.Context, sessionID string, item encsession.Item) error {
	session, err := p.open(ctx, sessionID)
	if err != nil {
		return err
	}
	return session.AddItems(ctx, item)
}

func (p *process) count(ctx context.Context, sessionID string) (int, error) {
	session, err := p.open(ctx, sessionID)
	if err != nil {
		return 0, err
	}
	items, err := session.GetItems(ctx, 0)
	return len(items), err
}

// copyTo copies both databases into a folder beside them.
func (p *process) copyTo(ctx context.Context, folder string) (copied string, err error) {
	copied = filepath.Join(folder, "copy")
	if err := os.Mkdir(copied, 0o700); err != nil {
		return "", err
	}
	for name, db := range map[string]*sql.DB{"sessions.db": p.sessionsDB, "keys.db": p.keysDB} {
		if _, err := db.ExecContext(ctx, "VACUUM INTO ?", filepath.Join(copied, name)); err != nil {
			return "", err
		}
	}
	return copied, nil
}

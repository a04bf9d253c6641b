package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/sqlstore"
	_ "modernc.org/sqlite"
)

// key is a master key, with a name for the tables.
type key struct {
	name string
	encsession.Key
}

// newKey makes a key for this run. A service gets its keys from a secret
// manager, and parses them.
func newKey(name string) (key, error) {
	k, err := encsession.ParseKey(encsession.GenerateKey())
	return key{name: name, Key: k}, err
}

// service is a process that works on the database. It has connections of its
// own, a key to write with, and older keys that it only reads with.
type service struct {
	db    *sql.DB
	store *sqlstore.Store
	key   key
	older []key
}

func openService(ctx context.Context, file string, key key, older ...key) (*service, error) {
	db, err := sql.Open("sqlite", file)
	if err != nil {
		return nil, err
	}
	store, err := sqlstore.New(db, sqlstore.SQLite)
	if err == nil {
		err = store.CreateTables(ctx)
	}
	if err != nil {
		db.Close()
		return nil, err
	}
	return &service{db: db, store: store, key: key, older: older}, nil
}

func (s *service) session(sessionID string) (*encsession.EncryptedSession, error) {
	keys := encsession.Keyring{Current: s.key.Key}
	for _, k := range s.older {
		keys.Older = append(keys.Older, k.Key)
	}
	return encsession.New(s.store.Session(sessionID), keys,
		encsession.WithTTL(encsession.NoExpiry),
		encsession.WithObserver(encsession.LogDrops(slog.Default())))
}

func (s *service) add(ctx context.Context, sessionID string, items ...encsession.Item) error {
	session, err := s.session(sessionID)
	if err != nil {
		return err
	}
	return session.AddItems(ctx, items...)
}

// count returns the number of items that the service reads.
func (s *service) count(ctx context.Context, sessionID string) (int, error) {
	session, err := s.session(sessionID)
	if err != nil {
		return 0, err
	}
	items, err := session.GetItems(ctx, 0)
	return len(items), err
}

func (s *service) audit(ctx context.Context, sessionID string) (encsession.Report, error) {
	session, err := s.session(sessionID)
	if err != nil {
		return encsession.Report{}, err
	}
	return session.Audit(ctx)
}

// rekeyAll seals the items of the older keys again, in every session, and
// returns their number. It can be interrupted and run again. If a session holds
// items that no key opens, rekeyAll goes on and reports it in the error.
func (s *service) rekeyAll(ctx context.Context) (int, error) {
	total := 0
	var skipped []error
	for info, err := range s.store.Sessions(ctx) {
		if err != nil {
			return total, err
		}
		session, err := s.session(info.ID)
		if err != nil {
			return total, fmt.Errorf("session %q: %w", info.ID, err)
		}
		changed, err := session.Rekey(ctx)
		total += changed
		if err == nil {
			continue
		}
		err = fmt.Errorf("session %q: %w", info.ID, err)
		if _, ok := errors.AsType[*encsession.SkippedError](err); !ok {
			return total, err
		}
		skipped = append(skipped, err)
	}
	return total, errors.Join(skipped...)
}

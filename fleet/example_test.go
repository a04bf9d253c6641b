package fleet_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/fleet"
)

// memoryStore stands for the store of an application, such as one of the
// modules sqlstore and redisstore.
type memoryStore map[string]*encsession.MemorySession

func (s memoryStore) Session(id string) encsession.Session { return s[id] }

func (s memoryStore) Sessions(context.Context) iter.Seq2[encsession.SessionInfo, error] {
	return func(yield func(encsession.SessionInfo, error) bool) {
		for id := range s {
			if !yield(encsession.SessionInfo{ID: id}, nil) {
				return
			}
		}
	}
}

// exampleLogger returns a logger whose lines are the same in every run.
func exampleLogger() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// exampleStore returns a store with the conversations of two people, sealed
// under a key.
func exampleStore(key encsession.Key) memoryStore {
	store := make(memoryStore)
	for _, id := range []string{"alice", "bob"} {
		store[id] = encsession.NewMemorySession(id)
		session, err := encsession.New(store[id], key, encsession.WithTTL(24*time.Hour))
		if err != nil {
			log.Fatal(err)
		}
		err = session.AddItems(context.Background(),
			encsession.Item(`{"role":"user","content":"I am `+id+`."}`), encsession.Item(`{"role":"assistant","content":"Hello!"}`))
		if err != nil {
			log.Fatal(err)
		}
	}
	return store
}

// The old key is retired once no session needs it any more. The services do not
// write under the new key yet, so its fingerprint is copied from their startup
// log.
func ExampleRekey() {
	ctx := context.Background()
	// Yours come from a secret manager.
	oldKey, _ := encsession.ParseKey("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
	newKey, _ := encsession.ParseKey("_-7dzLuqmYh3ZlVEMyIRAP_u3cy7qpmId2ZVRDMiEQA=")
	store := exampleStore(oldKey)

	keys := encsession.Keyring{Current: newKey, Older: []encsession.Key{oldKey}}
	open := func(_ context.Context, id string) (*encsession.EncryptedSession, error) {
		return encsession.New(store.Session(id), keys, encsession.WithTTL(24*time.Hour),
			encsession.WithObserver(encsession.LogDrops(exampleLogger())))
	}
	_, err := fleet.Rekey(ctx, store.Sessions(ctx), open, fleet.WithWorkers(2))
	var unproven *fleet.UnprovenKeyError
	fmt.Println("refused:", errors.As(err, &unproven), unproven.Fingerprints)

	const fromStartupLog = "6983b01dc57693b5"
	summary, err := fleet.Rekey(ctx, store.Sessions(ctx), open, fleet.WithWorkers(2), fleet.WithFirstUse(fromStartupLog))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("sealed again: %d items in %d sessions\n", summary.Items, summary.Changed)

	summary, err = fleet.Audit(ctx, store.Sessions(ctx), open, fleet.WithWorkers(2))
	if err != nil {
		log.Fatal(err) // a session that was not audited may still need the old key
	}
	for _, key := range summary.Report.Keys {
		fmt.Println(key.Fingerprint, "opens", key.Items)
	}
	fmt.Println("findings:", summary.Findings)
	// Output:
	// refused: true [6983b01dc57693b5]
	// sealed again: 4 items in 2 sessions
	// 6983b01dc57693b5 opens 4
	// ace7e6438602c239 opens 0
	// findings: 0
}

// Check the keys when the program starts, by an audit of a session that holds
// envelopes. A server with a wrong key should not start.
func Example_startup() {
	ctx := context.Background()
	logger := exampleLogger()
	// Yours come from a secret manager.
	key, _ := encsession.ParseKey("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
	newKey, _ := encsession.ParseKey("_-7dzLuqmYh3ZlVEMyIRAP_u3cy7qpmId2ZVRDMiEQA=")
	store := exampleStore(key)
	// The recipe of docs/operations.md begins here.
	check := func(keys encsession.Keyring) error {
		logger.Info("session key", "fingerprint", keys.Current.Fingerprint()) // the same on every server
		unreadable := 0
		for info, err := range store.Sessions(ctx) {
			if err != nil {
				return err
			}
			session, err := encsession.New(store.Session(info.ID), keys, encsession.WithTTL(encsession.NoExpiry),
				encsession.WithObserver(encsession.LogDrops(logger)))
			if err != nil {
				return err
			}
			report, err := session.Audit(ctx)
			if err != nil {
				return err
			}
			for _, key := range report.Keys {
				if key.Items > 0 {
					return nil
				}
			}
			if report.Undecryptable > 0 {
				unreadable++
			}
			if unreadable == 10 {
				break
			}
		}
		if unreadable > 0 {
			return fmt.Errorf("key %s opens no item: is it the right one?", keys.Current.Fingerprint())
		}
		return nil // no session holds an envelope yet
	}
	// The recipe ends here.
	fmt.Println("right key:", check(encsession.Keyring{Current: key}))
	fmt.Println("another key:", check(encsession.Keyring{Current: newKey}))
	fmt.Println("during a change of keys:", check(encsession.Keyring{Current: newKey, Older: []encsession.Key{key}}))
	store = memoryStore{}
	fmt.Println("empty store:", check(encsession.Keyring{Current: newKey}))
	// Output:
	// level=INFO msg="session key" fingerprint=ace7e6438602c239
	// right key: <nil>
	// level=INFO msg="session key" fingerprint=6983b01dc57693b5
	// another key: key 6983b01dc57693b5 opens no item: is it the right one?
	// level=INFO msg="session key" fingerprint=6983b01dc57693b5
	// during a change of keys: <nil>
	// level=INFO msg="session key" fingerprint=6983b01dc57693b5
	// empty store: <nil>
}

// Everything that names a person is removed from all sessions. If there is an
// error, the erasure is not complete. The items are decoded before they are
// compared: in JSON, a name can be written in many ways.
func ExampleDeleteItems() {
	ctx := context.Background()
	key, _ := encsession.ParseKey("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=") // yours comes from a secret manager
	store := exampleStore(key)

	open := func(_ context.Context, id string) (*encsession.EncryptedSession, error) {
		return encsession.New(store.Session(id), key, encsession.WithTTL(24*time.Hour),
			encsession.WithObserver(encsession.LogDrops(exampleLogger())))
	}
	match := func(_ string, item encsession.Item) bool {
		var message struct{ Content string }
		return json.Unmarshal(item, &message) == nil && strings.Contains(message.Content, "alice")
	}
	summary, err := fleet.DeleteItems(ctx, store.Sessions(ctx), open, match,
		fleet.WithResults(func(r fleet.Result) {
			if r.Changed > 0 {
				fmt.Printf("%s: removed %d\n", r.Session.ID, r.Changed)
			}
		}))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("sessions:", summary.Sessions, "items removed:", summary.Items)
	// Output:
	// alice: removed 1
	// sessions: 2 items removed: 1
}

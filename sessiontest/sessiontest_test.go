package sessiontest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// memory is a store in memory: one MemorySession for each session ID.
type memory struct {
	steps sync.Mutex // for broken methods that take several steps, and are not to be broken by that too
	turn  sync.Mutex // see inTurn

	mu       sync.Mutex
	sessions map[string]*encsession.MemorySession
}

func newMemory() *memory { return &memory{sessions: map[string]*encsession.MemorySession{}} }

func (m *memory) session(id string) *encsession.MemorySession {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sessions[id] == nil {
		m.sessions[id] = encsession.NewMemorySession(id)
	}
	return m.sessions[id]
}

// inTurn waits until no other method works in turn, for broken ones that others overtake, but not one another. The
// caller must call what it returns. It waits by sleeping, as to wait for a mutex would stop time; see record.
func (m *memory) inTurn() (done func()) {
	for !m.turn.TryLock() {
		overtaken()
	}
	return m.turn.Unlock
}

// each calls f for every session.
func (m *memory) each(f func(id string, s *encsession.MemorySession) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, s := range m.sessions {
		if err := f(id, s); err != nil {
			return err
		}
	}
	return nil
}

// fourMethods hides what a session can do beyond the interface.
type fourMethods struct{ encsession.Session }

var outerKey, innerKey = encsession.GenerateKey(), encsession.GenerateKey()

func encrypt(t testing.TB, store encsession.Session, key string) *encsession.EncryptedSession {
	t.Helper()
	parsed, err := encsession.ParseKey(key)
	require.NoError(t, err)
	s, err := encsession.New(store, parsed, encsession.WithoutPlaintext())
	require.NoError(t, err)
	return s
}

func TestRun(t *testing.T) {
	store := newMemory()
	for range 2 { // twice over one store: the suite must not stumble over what it left there
		Run(t, func(_ *testing.T, id string) encsession.Session { return store.session(id) })
	}
}

func TestRunWithoutReplacer(t *testing.T) {
	store := newMemory()
	for _, c := range sessionChecks {
		r := record(t, c, func() opener {
			return func(id string) (session, _ encsession.Session) { return fourMethods{store.session(id)}, nil }
		})
		require.False(t, r.Failed(), "%s: %v", c.name, r)
		require.Equal(t, len(c.name) > 8 && c.name[:8] == "replace-", r.skipped, c.name)
	}
}

// encryptedStores are decorators round a store in memory.
var encryptedStores = map[string]func(t testing.TB, store encsession.Session) encsession.Session{
	"EncryptedSession": func(t testing.TB, store encsession.Session) encsession.Session {
		return encrypt(t, store, outerKey)
	},
	"over four methods": func(t testing.TB, store encsession.Session) encsession.Session {
		return encrypt(t, fourMethods{store}, outerKey)
	},
	"in another": func(t testing.TB, store encsession.Session) encsession.Session {
		return encrypt(t, encrypt(t, store, innerKey), outerKey)
	},
}

func TestRunEncryptedSession(t *testing.T) {
	for name, decorate := range encryptedStores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := newMemory()
			Run(t, func(t *testing.T, id string) encsession.Session { return decorate(t, store.session(id)) })
		})
	}
}

func TestRunEncrypted(t *testing.T) {
	for name, decorate := range encryptedStores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := newMemory()
			RunEncrypted(t, func(t *testing.T, id string) (_, _ encsession.Session) {
				return decorate(t, store.session(id)), store.session(id)
			})
		})
	}
}

func TestFailureSaysRuleAndHarm(t *testing.T) {
	c := check{name: "never", rule: "Stores hold.", harm: "Nothing is held.", run: func(t *tester) {
		t.Errorf("it does not hold")
	}}
	r := record(t, c, func() opener { return nil })
	require.Equal(t, []string{
		"it does not hold",
		"The rule: Stores hold.\nWhat breaking it does: Nothing is held.",
	}, r.log)

	c.run = func(t *tester) {}
	r = record(t, c, func() opener { return nil })
	require.Empty(t, r.log, "a check that passes says nothing")
}

func TestChecksSayWhatTheyAreFor(t *testing.T) {
	names := map[string]bool{}
	for _, c := range append(append([]check{}, sessionChecks...), encryptedChecks...) {
		require.Regexp(t, `^[a-z]+(-[a-z]+)*$`, c.name)
		require.Regexp(t, `\.$`, c.rule, c.name)
		require.Regexp(t, `\.$`, c.harm, c.name)
		require.False(t, names[c.name], "two checks are called %s", c.name)
		names[c.name] = true
	}
}

// stuck is a session whose AddItems takes as long as it is allowed to.
type stuck struct{ encsession.Session }

func (stuck) AddItems(ctx context.Context, _ ...encsession.Item) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestStoreThatWaitsInVainFails(t *testing.T) {
	begun := time.Now()
	r := record(t, order, func() opener {
		return func(id string) (session, _ encsession.Session) { return stuck{encsession.NewMemorySession(id)}, nil }
	})
	require.True(t, r.Failed())
	require.Contains(t, r.String(), context.DeadlineExceeded.Error())
	require.Less(t, time.Since(begun), patience, "time passes quickly in a bubble")
}

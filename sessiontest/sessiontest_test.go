package sessiontest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// memory is a store in memory: one MemorySession for each session ID.
type memory struct {
	// steps is held by broken methods that take several steps, so that the
	// steps do not break them further.
	steps sync.Mutex
	turn  sync.Mutex // see inTurn

	// times holds the time of each added item, for handles that are broken by
	// time.
	times sync.Map

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

// inTurn waits until no other method works in turn. It is for broken methods
// that other methods may overtake, but that may not overtake one another. The
// caller must call the function that it returns. It waits by sleeping, because
// waiting for a mutex would stop time; see record.
func (m *memory) inTurn() (done func()) {
	for !m.turn.TryLock() {
		overtaken()
	}
	return m.turn.Unlock
}

// subject returns the store for a check, with all options. It calls change for
// each handle.
func (m *memory) subject(change func(*hooked)) subject {
	return subject{
		open: func(id string) (session, _ encsession.Session) {
			s := m.hooked(id)
			change(s)
			return s, nil
		},
		reopen: func() {},
		expire: func() {
			_ = m.each(func(_ string, s *encsession.MemorySession) error { return s.ClearSession(context.Background()) })
		},
		sessions: func(ctx context.Context) iter.Seq2[encsession.SessionInfo, error] {
			return func(yield func(encsession.SessionInfo, error) bool) {
				if err := ctx.Err(); err != nil {
					yield(encsession.SessionInfo{}, err)
					return
				}
				var ids []string
				_ = m.each(func(id string, s *encsession.MemorySession) error {
					items, err := s.GetItems(ctx, 1)
					if len(items) > 0 {
						ids = append(ids, id)
					}
					return err
				})
				for _, id := range ids {
					if !yield(encsession.SessionInfo{ID: id}, nil) {
						return
					}
				}
			}
		},
	}
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

// fourMethods hides the abilities of a session beyond the interface.
type fourMethods struct{ encsession.Session }

var outerKey = encsession.GenerateKey()

func encrypt(t testing.TB, store encsession.Session, key string) *encsession.EncryptedSession {
	t.Helper()
	parsed, err := encsession.ParseKey(key)
	require.NoError(t, err)
	s, err := encsession.New(store, parsed)
	require.NoError(t, err)
	return s
}

func TestRun(t *testing.T) {
	store := newMemory()
	for range 2 { // the suite must work over a store in which it has left items
		Run(t, func(_ *testing.T, id string) encsession.Session { return store.session(id) })
	}
}

// cannotRewrite is like a decorator over a store that is not a Rewriter.
type cannotRewrite struct{ encsession.Session }

func (cannotRewrite) RewriteItems(context.Context, int, edit) (int, error) {
	return 0, fmt.Errorf("the store is no Rewriter: %w", errors.ErrUnsupported)
}

func TestRunWithoutRewriterSkipsItsChecks(t *testing.T) {
	for name, wrap := range map[string]func(encsession.Session) encsession.Session{
		"four methods":        func(s encsession.Session) encsession.Session { return fourMethods{s} },
		"over an unsupported": func(s encsession.Session) encsession.Session { return cannotRewrite{s} },
	} {
		store := newMemory()
		for _, c := range sessionChecks {
			r := record(t, c, func() subject {
				s := store.subject(func(*hooked) {})
				s.open = func(id string) (session, _ encsession.Session) { return wrap(store.session(id)), nil }
				return s
			})
			require.False(t, r.Failed(), "%s: %s: %v", name, c.name, r)
			needsRewriter := strings.HasPrefix(c.name, "rewrite-") && c.name != rewriteUnsupported.name
			if c.name != rewriteUnsupported.name {
				require.Equal(t, needsRewriter, r.skipped, "%s: %s", name, c.name)
			}
		}
	}
}

func TestRunWithoutOptionsSkipsTheirChecks(t *testing.T) {
	var skipped []string
	for _, c := range sessionChecks {
		r := record(t, c, func() subject { return subject{open: newMemory().subject(func(*hooked) {}).open} })
		require.False(t, r.Failed(), "%s: %v", c.name, r)
		if r.skipped {
			require.Contains(t, r.String(), "Run was not given With")
			skipped = append(skipped, c.name)
		}
	}
	require.Equal(t, []string{"reopened", "listed", "listed-during-use", "listed-cancelled", "expired"}, skipped)
}

// TestRunGivesOptionsToTheirChecks gives Run all options. Each of them must be
// used.
func TestRunGivesOptionsToTheirChecks(t *testing.T) {
	store := newMemory()
	memory := store.subject(func(*hooked) {})
	used := map[string]bool{}
	t.Run("suite", func(t *testing.T) {
		Run(t, func(_ *testing.T, id string) encsession.Session { return store.session(id) },
			WithReopen(func(*testing.T) { used["reopen"] = true }),
			WithExpiry(func(*testing.T) { used["expire"] = true; memory.expire() }),
			WithSessions(func(ctx context.Context) iter.Seq2[encsession.SessionInfo, error] {
				used["sessions"] = true
				return memory.sessions(ctx)
			}))
	})
	require.Equal(t, map[string]bool{"reopen": true, "expire": true, "sessions": true}, used)
}

// TestStoreThatKeepsNoMemberIsTold has stores that keep a text, or decode items
// into a struct.
func TestStoreThatKeepsNoMemberIsTold(t *testing.T) {
	for name, kept := range map[string]string{
		"a text":   `"text"`,
		"a struct": `{"role":"","content":""}`,
		"nothing":  `{}`,
	} {
		r := record(t, order, func() subject {
			return newMemory().subject(func(s *hooked) {
				add := s.add
				s.get = func(ctx context.Context, limit int) ([]encsession.Item, error) {
					return []encsession.Item{encsession.Item(kept)}, nil
				}
				s.add = func(ctx context.Context, items []encsession.Item) error { return add(ctx, items) }
			})
		})
		require.True(t, r.Failed(), name)
		require.Contains(t, r.String(), "must keep the whole JSON object", name)
	}
	r := record(t, order, func() subject { return newMemory().subject(sortsItems) })
	require.True(t, r.Failed())
	require.NotContains(t, r.String(), "must keep the whole JSON object")
}

func TestFailureSaysRuleAndHarm(t *testing.T) {
	c := check{name: "never", rule: "Stores hold.", harm: "Nothing is held.", run: func(t *tester) {
		t.Errorf("it does not hold")
	}}
	r := record(t, c, func() subject { return subject{} })
	require.Equal(t, []string{
		"it does not hold",
		"The rule: Stores hold.\nWhat breaking it does: Nothing is held.",
	}, r.log)

	c.run = func(t *tester) {}
	r = record(t, c, func() subject { return subject{} })
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

// stuck is a session whose AddItems takes as long as its context allows.
type stuck struct{ encsession.Session }

func (stuck) AddItems(ctx context.Context, _ ...encsession.Item) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestStoreThatWaitsInVainFails(t *testing.T) {
	begun := time.Now()
	r := record(t, order, func() subject {
		return subject{open: func(id string) (session, _ encsession.Session) {
			return stuck{encsession.NewMemorySession(id)}, nil
		}}
	})
	require.True(t, r.Failed())
	require.Contains(t, r.String(), context.DeadlineExceeded.Error())
	require.Less(t, time.Since(begun), patience, "time passes quickly in a bubble")
}

package sessiontest

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// brokenPlaces break one rule of an option each.
var brokenPlaces = []struct {
	name   string
	breaks func(m *memory, s *subject)
	caught string
}{
	{"is empty after it is opened again", losesAll, "reopened"},
	{"loses the newest item when it is closed", losesNewest, "reopened"},
	{"has what was cleared when it is opened again", bringsBack, "reopened"},
	{"fills new sessions when it is opened again", fillsNew, "reopened"},
	{"lists an ID twice", listsTwice, "listed"},
	{"trims the IDs that it lists", func(_ *memory, s *subject) { s.listsAs(strings.TrimSpace) }, "listed"},
	{"lists IDs in lower case", func(_ *memory, s *subject) { s.listsAs(strings.ToLower) }, "listed"},
	{"lists one ID too few", leavesOneOut, "listed"},
	{"lists 20 IDs at most", listsTwenty, "listed"},
	{"lists what was cleared", listsCleared, "listed"},
	{"lists what was only opened", listsOpened, "listed"},
	{"lists IDs with a suffix too", listsKeys, "listed"},
	{"holds a lock while it lists", locksListing, "listed-during-use"},
	{"lists only once", listsOnce, "listed-during-use"},
	{"lists with a context that is done", listsCancelled, "listed-cancelled"},
	{"hides that the context is done", hidesCancelled, "listed-cancelled"},
	{"reads what has expired", readsExpired, "expired"},
	{"pops what has expired", popsExpired, "expired"},
	{"adds to what has expired", addsToExpired, "expired"},
	{"cannot clear what has expired", cannotClearExpired, "expired"},
	{"rewrites what has expired", rewritesExpired, "expired"},
	{"brings back what expires during edit", bringsBackExpired, "expired"},
}

func TestBrokenPlaces(t *testing.T) {
	for _, place := range brokenPlaces {
		t.Run(place.name, func(t *testing.T) {
			t.Parallel()
			failed := failing(t, sessionChecks, func() subject {
				m := newMemory()
				s := m.subject(func(*hooked) {})
				place.breaks(m, &s)
				return s
			})
			require.Equal(t, []string{place.caught}, failed)
		})
	}
}

// all returns the items of all sessions.
func (m *memory) all() map[string][]encsession.Item {
	all := map[string][]encsession.Item{}
	_ = m.each(func(id string, s *encsession.MemorySession) (err error) {
		all[id], err = s.GetItems(context.Background(), 0)
		return err
	})
	return all
}

func losesAll(m *memory, s *subject) { s.reopen = s.expire }

func losesNewest(m *memory, s *subject) {
	s.reopen = func() {
		_ = m.each(func(_ string, s *encsession.MemorySession) error {
			_, err := s.PopItem(context.Background())
			return err
		})
	}
}

func bringsBack(m *memory, s *subject) {
	cleared := map[string][]encsession.Item{}
	var mu sync.Mutex
	s.changesHandles(func(h *hooked) {
		clear := h.clear
		h.clear = func(ctx context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			if items := m.all()[h.id]; len(items) > 0 {
				cleared[h.id] = items
			}
			return clear(ctx)
		}
	})
	s.reopen = func() {
		for id, items := range cleared {
			_ = m.session(id).AddItems(context.Background(), items...)
		}
	}
}

func fillsNew(m *memory, s *subject) {
	s.reopen = func() {
		for id, items := range m.all() {
			if len(items) == 0 {
				_ = m.session(id).AddItems(context.Background(), object("version", "1"))
			}
		}
	}
}

// changesHandles changes the handles that the store opens.
func (s *subject) changesHandles(change func(h *hooked)) {
	open := s.open
	s.open = func(id string) (session, store encsession.Session) {
		session, store = open(id)
		change(session.(*hooked))
		return session, store
	}
}

// lists changes the IDs that the store lists.
func (s *subject) lists(change func(ids []string) []string) {
	list := s.sessions
	s.sessions = func(ctx context.Context) iter.Seq2[encsession.SessionInfo, error] {
		return func(yield func(encsession.SessionInfo, error) bool) {
			var ids []string
			for info, err := range list(ctx) {
				if err != nil {
					yield(info, err)
					return
				}
				ids = append(ids, info.ID)
			}
			slices.Sort(ids)
			for _, id := range change(ids) {
				if !yield(encsession.SessionInfo{ID: id}, nil) {
					return
				}
			}
		}
	}
}

func (s *subject) listsAs(change func(id string) string) {
	s.lists(func(ids []string) []string {
		for i := range ids {
			ids[i] = change(ids[i])
		}
		return ids
	})
}

func listsTwice(_ *memory, s *subject) {
	s.lists(func(ids []string) []string { return append(ids, ids[len(ids)-1]) })
}

func leavesOneOut(_ *memory, s *subject) {
	s.lists(func(ids []string) []string {
		if len(ids) > 20 { // the check listed-during-use has fewer
			return ids[1:]
		}
		return ids
	})
}

func listsTwenty(_ *memory, s *subject) {
	s.lists(func(ids []string) []string { return ids[:min(20, len(ids))] })
}

func listsCleared(m *memory, s *subject) {
	var mu sync.Mutex
	var cleared []string
	s.changesHandles(func(h *hooked) {
		clear := h.clear
		h.clear = func(ctx context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			if len(m.all()[h.id]) > 0 {
				cleared = append(cleared, h.id)
			}
			return clear(ctx)
		}
	})
	s.lists(func(ids []string) []string { return append(ids, cleared...) })
}

func listsOpened(m *memory, s *subject) {
	s.lists(func(ids []string) []string {
		for id, items := range m.all() {
			if len(items) == 0 {
				ids = append(ids, id)
			}
		}
		return ids
	})
}

func listsKeys(_ *memory, s *subject) {
	s.lists(func(ids []string) []string { return append(ids, ids[0]+":messages:0") })
}

func locksListing(m *memory, s *subject) {
	s.changesHandles(func(h *hooked) { h.locked(false) })
	list := s.sessions
	s.sessions = func(ctx context.Context) iter.Seq2[encsession.SessionInfo, error] {
		return func(yield func(encsession.SessionInfo, error) bool) {
			defer m.inTurn()()
			list(ctx)(yield)
		}
	}
}

func listsOnce(_ *memory, s *subject) {
	listed := false
	s.lists(func(ids []string) []string {
		if listed {
			return nil
		}
		listed = true
		return ids
	})
}

func listsCancelled(_ *memory, s *subject) {
	list := s.sessions
	s.sessions = func(ctx context.Context) iter.Seq2[encsession.SessionInfo, error] {
		return list(context.WithoutCancel(ctx))
	}
}

func hidesCancelled(_ *memory, s *subject) {
	list := s.sessions
	s.sessions = func(ctx context.Context) iter.Seq2[encsession.SessionInfo, error] {
		if ctx.Err() != nil {
			return func(func(encsession.SessionInfo, error) bool) {}
		}
		return list(ctx)
	}
}

// keepsExpired gives each handle the items that its session held when it
// expired, until something is added.
func keepsExpired(m *memory, s *subject, change func(h *hooked, expired func() []encsession.Item)) {
	var kept map[string][]encsession.Item
	expire := s.expire
	s.expire = func() {
		kept = m.all()
		expire()
	}
	s.changesHandles(func(h *hooked) {
		change(h, func() []encsession.Item {
			if len(m.all()[h.id]) > 0 {
				delete(kept, h.id)
			}
			return kept[h.id]
		})
	})
}

func readsExpired(m *memory, s *subject) {
	keepsExpired(m, s, func(h *hooked, expired func() []encsession.Item) {
		get := h.get
		h.get = func(ctx context.Context, limit int) ([]encsession.Item, error) {
			if items := expired(); len(items) > 0 {
				return items, nil
			}
			return get(ctx, limit)
		}
	})
}

func popsExpired(m *memory, s *subject) {
	keepsExpired(m, s, func(h *hooked, expired func() []encsession.Item) {
		pop := h.pop
		h.pop = func(ctx context.Context) (encsession.Item, error) {
			if items := expired(); len(items) > 0 {
				return items[0], nil
			}
			return pop(ctx)
		}
	})
}

func addsToExpired(m *memory, s *subject) {
	keepsExpired(m, s, func(h *hooked, expired func() []encsession.Item) {
		add := h.add
		h.add = func(ctx context.Context, items []encsession.Item) error {
			return add(ctx, slices.Concat(expired(), items))
		}
	})
}

func cannotClearExpired(m *memory, s *subject) {
	keepsExpired(m, s, func(h *hooked, expired func() []encsession.Item) {
		clear := h.clear
		h.clear = func(ctx context.Context) error {
			if len(expired()) > 0 {
				return errors.New("no such key")
			}
			return clear(ctx)
		}
	})
}

func rewritesExpired(m *memory, s *subject) {
	keepsExpired(m, s, func(h *hooked, expired func() []encsession.Item) {
		rewrite := h.rewrite
		h.rewrite = func(ctx context.Context, first int, edit edit) (int, error) {
			if items := expired(); len(items) > 0 {
				edit(items)
			}
			return rewrite(ctx, first, edit)
		}
	})
}

func bringsBackExpired(m *memory, s *subject) {
	s.changesHandles(func(h *hooked) {
		h.editedBy(func(stored []encsession.Item, edit edit) ([]encsession.Item, bool) {
			before := len(m.all()[h.id])
			new, more := edit(stored)
			if before > 0 && len(m.all()[h.id]) == 0 && strings.Contains(h.id, "-expired-") {
				_ = h.MemorySession.AddItems(context.Background(), new...)
			}
			return new, more
		})
	})
}

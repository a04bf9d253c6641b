package encsession_test

import (
	"sync"
	"testing"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/sessiontest"
)

// stores holds the sessions of one test, by their IDs.
type stores struct {
	mu   sync.Mutex
	byID map[string]*encsession.MemorySession
}

func (s *stores) open(sessionID string) *encsession.MemorySession {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID == nil {
		s.byID = map[string]*encsession.MemorySession{}
	}
	if s.byID[sessionID] == nil {
		s.byID[sessionID] = encsession.NewMemorySession(sessionID)
	}
	return s.byID[sessionID]
}

func TestConformance(t *testing.T) {
	encrypted := func(t *testing.T, store encsession.Session, n byte) *encsession.EncryptedSession {
		return newSession(t, store, testKey(t, n))
	}
	for name, wrap := range map[string]func(*testing.T, encsession.Session) encsession.Session{
		"EncryptedSession": func(t *testing.T, s encsession.Session) encsession.Session { return encrypted(t, s, 0) },
		"EncryptedSession over four methods": func(t *testing.T, s encsession.Session) encsession.Session {
			return encrypted(t, fourMethods{s}, 0)
		},
		"EncryptedSession over a decorator of another": func(t *testing.T, s encsession.Session) encsession.Session {
			return encrypted(t, decorated{encrypted(t, s, 1)}, 0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var all stores
			sessiontest.Run(t, func(t *testing.T, id string) encsession.Session { return wrap(t, all.open(id)) })
			sessiontest.RunEncrypted(t, func(t *testing.T, id string) (decorator, store encsession.Session) {
				return wrap(t, all.open(id)), all.open(id)
			})
		})
	}
	t.Run("MemorySession", func(t *testing.T) {
		var all stores
		sessiontest.Run(t, func(_ *testing.T, id string) encsession.Session { return all.open(id) })
	})
}

package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/fleet"
	"github.com/stretchr/testify/require"
)

func TestClearDestroyedClearsErasedSessionsOnly(t *testing.T) {
	destroyed := fmt.Errorf("customer a has left: %w", encsession.ErrKeyDestroyed)
	outage := errors.New("the key service is down")
	s := newStore(t, encsession.KeyFunc(func(_ context.Context, sessionID string) (encsession.Keyring, error) {
		switch sessionID {
		case "a1", "a2", "empty":
			return encsession.Keyring{}, destroyed
		case "outage":
			return encsession.Keyring{}, outage
		}
		return encsession.Keyring{Current: newKey(t, 2)}, nil
	}))
	s.add("a1", newKey(t, 1), 3)
	require.NoError(t, s.session("a1").AddItems(t.Context(), encsession.Item(`{"role":"user","content":"from before"}`)))
	s.add("a2", newKey(t, 1), 2)
	s.add("b", newKey(t, 2), 1)
	s.add("wrong", newKey(t, 3), 1)
	s.add("outage", newKey(t, 1), 1)
	s.session("empty")

	summary, err := fleet.ClearDestroyed(t.Context(), s.sessions(), s.open, fleet.WithWorkers(2))
	require.ErrorIs(t, err, outage)
	require.Equal(t, fleet.Summary{Sessions: 6, Failed: 1, Changed: 2, Items: 6}, summary)
	for id, left := range map[string]int{"a1": 0, "a2": 0, "b": 1, "wrong": 1, "outage": 1} {
		stored, err := s.session(id).GetItems(t.Context(), 0)
		require.NoError(t, err)
		require.Len(t, stored, left, id)
	}
}

func TestClearDestroyedChangesNothingIfTheSessionCannotBeOpened(t *testing.T) {
	s := newStore(t, newKey(t, 1))
	s.add("a", newKey(t, 1), 2)
	s.opening = func(context.Context, string) error { return encsession.ErrKeyDestroyed }
	summary, err := fleet.ClearDestroyed(t.Context(), s.sessions(), s.open)
	require.NoError(t, err)
	require.Equal(t, fleet.Summary{Sessions: 1, Erased: 1}, summary)
	require.Equal(t, 2, s.count("a", 1))
}

func TestClearDestroyedClearsNoOtherSession(t *testing.T) {
	s := newStore(t, newKey(t, 1))
	s.add("other", newKey(t, 1), 2)
	gone := encsession.KeyFunc(func(context.Context, string) (encsession.Keyring, error) {
		return encsession.Keyring{}, encsession.ErrKeyDestroyed
	})
	open := func(_ context.Context, id string) (*encsession.EncryptedSession, error) {
		return encsession.New(s.session("other"), gone, encsession.WithSessionID(id))
	}
	listing := func(yield func(encsession.SessionInfo, error) bool) { yield(encsession.SessionInfo{ID: "gone"}, nil) }
	_, err := fleet.ClearDestroyed(t.Context(), listing, open)
	require.ErrorContains(t, err, `its store has another session ID, "other"`)
	require.Equal(t, 2, s.count("other", 1))
}

func TestClearDestroyedLeavesLiveSessionsInPeace(t *testing.T) {
	told := 0
	s := newStore(t, newKey(t, 9), encsession.WithStrictReads(), encsession.WithObserver(func(_ context.Context, e encsession.Event) {
		told += len(e.Drops)
	}))
	s.add("a", newKey(t, 1), 2)
	summary, err := fleet.ClearDestroyed(t.Context(), s.sessions(), s.open)
	require.NoError(t, err)
	require.Equal(t, fleet.Summary{Sessions: 1}, summary)
	require.Zero(t, told)
}

package fleet_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/fleet"
	"github.com/stretchr/testify/require"
)

const month = 30 * 24 * time.Hour

func TestClearIdleClearsWhatIsIdle(t *testing.T) {
	for name, c := range map[string]struct {
		before, after func(*store) // run a month and a second before ClearIdle, and right before it
		cleared       int
		skipped       encsession.SkippedError
	}{
		"old items":              {before: func(s *store) { s.add("a", newKey(t, 1), 2); s.add("a", newKey(t, 2), 1) }, cleared: 3},
		"old and new items":      {before: func(s *store) { s.add("a", newKey(t, 1), 2) }, after: func(s *store) { s.add("a", newKey(t, 1), 1) }},
		"new item of older key":  {before: func(s *store) { s.add("a", newKey(t, 1), 2) }, after: func(s *store) { s.add("a", newKey(t, 2), 1) }},
		"new items":              {after: func(s *store) { s.add("a", newKey(t, 1), 2) }},
		"no items":               {before: func(s *store) { s.session("a") }},
		"old, not JSON within":   {before: func(s *store) { s.put("a", notJSON(t, 1)) }, cleared: 1},
		"old, new undecryptable": {before: func(s *store) { s.add("a", newKey(t, 1), 2) }, after: func(s *store) { s.add("a", newKey(t, 7), 3) }, skipped: encsession.SkippedError{Undecryptable: 3}},
		"old, old undecryptable": {before: func(s *store) { s.add("a", newKey(t, 7), 3); s.add("a", newKey(t, 1), 2) }, skipped: encsession.SkippedError{Undecryptable: 3}},
		"old, malformed":         {before: func(s *store) { s.add("a", newKey(t, 1), 2); s.put("a", malformed) }, skipped: encsession.SkippedError{Malformed: 1}},
		"old, plaintext":         {before: func(s *store) { s.add("a", newKey(t, 1), 2); s.put("a", plaintext) }, skipped: encsession.SkippedError{Plaintext: 1}},
		"old, all kinds": {before: func(s *store) {
			s.put("a", plaintext)
			s.put("a", malformed)
			s.put("a", notJSON(t, 1))
			s.add("a", newKey(t, 7), 1)
			s.add("a", newKey(t, 1), 1)
		}, skipped: encsession.SkippedError{Undecryptable: 1, Malformed: 1, Plaintext: 1}},
		"only undecryptable":            {after: func(s *store) { s.add("a", newKey(t, 7), 3) }, skipped: encsession.SkippedError{Undecryptable: 3}},
		"new, undecryptable, malformed": {after: func(s *store) { s.add("a", newKey(t, 7), 3); s.put("a", malformed); s.add("a", newKey(t, 1), 1) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStore(t, ring(t, 1, 2), encsession.WithTTL(time.Hour), encsession.WithPlaintext())
				s.t = t
				if c.before != nil {
					c.before(s)
				}
				time.Sleep(month + time.Second)
				if c.after != nil {
					c.after(s)
				}
				before := s.items("a")
				summary, err := fleet.ClearIdle(t.Context(), s.sessions(), s.open, month)
				require.Equal(t, c.cleared, summary.Items)
				require.Equal(t, c.skipped, summary.Skipped)
				if c.skipped == (encsession.SkippedError{}) {
					require.NoError(t, err)
				} else {
					skipped := new(encsession.SkippedError)
					require.ErrorAs(t, err, &skipped)
					require.Equal(t, c.skipped, *skipped)
				}
				if c.cleared > 0 {
					require.Equal(t, "[]", s.items("a"))
				} else {
					require.Equal(t, before, s.items("a"))
				}
			})
		})
	}
}

func TestSessionThatIsIdleForExactlyAsLongIsNotCleared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, newKey(t, 1))
		s.add("a", newKey(t, 1), 1)
		s.add("b", newKey(t, 7), 1)
		s.add("b", newKey(t, 1), 1)
		time.Sleep(month)
		summary, err := fleet.ClearIdle(t.Context(), s.sessions(), s.open, month)
		require.NoError(t, err)
		require.Equal(t, fleet.Summary{Sessions: 2}, summary)
		time.Sleep(time.Second)
		summary, err = fleet.ClearIdle(t.Context(), s.sessions(), s.open, month)
		require.ErrorIs(t, err, encsession.ErrUndecryptable)
		require.Equal(t, fleet.Summary{Sessions: 2, Changed: 1, Items: 1, Findings: 1, Skipped: encsession.SkippedError{Undecryptable: 1}}, summary)
	})
}

// Without a TTL, the item is malformed rather than expired. Its age is known.
func TestAuthenticItemThatIsNotJSONCanBeJudged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, newKey(t, 1))
		s.put("a", notJSON(t, 1))
		time.Sleep(month + time.Second)
		summary, err := fleet.ClearIdle(t.Context(), s.sessions(), s.open, month)
		require.NoError(t, err)
		require.Equal(t, fleet.Summary{Sessions: 1, Changed: 1, Items: 1}, summary)
	})
}

// Whoever can write to the store can write any time into the listing.
func TestTimesOfTheListingDoNotCount(t *testing.T) {
	s := filled(t, 1)
	sessions := func(yield func(encsession.SessionInfo, error) bool) {
		yield(encsession.SessionInfo{ID: "s0", CreatedAt: time.Unix(1, 0), UpdatedAt: time.Unix(1, 0)}, nil)
	}
	summary, err := fleet.ClearIdle(t.Context(), sessions, s.open, month)
	require.NoError(t, err)
	require.Equal(t, fleet.Summary{Sessions: 1}, summary)
}

// The observer is told at the end of the audit, right before the purge.
func TestItemThatArrivesWhileASessionIsClearedStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s *store
		s = newStore(t, newKey(t, 1), encsession.WithObserver(func(_ context.Context, e encsession.Event) {
			if e.Op == "Audit" {
				s.add("a", newKey(t, 1), 1)
			}
		}))
		s.add("a", newKey(t, 1), 5)
		time.Sleep(month + time.Second)
		summary, err := fleet.ClearIdle(t.Context(), s.sessions(), s.open, month)
		require.NoError(t, err)
		require.Equal(t, fleet.Summary{Sessions: 1, Changed: 1, Items: 5}, summary)
		require.Equal(t, 1, s.count("a", 1))
	})
}

package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/fleet"
	"github.com/stretchr/testify/require"
)

// count returns how many items the n-th key of newKey opens in a session.
func (s *store) count(id string, n byte) int {
	session, err := encsession.New(s.session(id), newKey(s.t, n), encsession.WithTTL(encsession.NoExpiry))
	require.NoError(s.t, err)
	report, err := session.Audit(s.t.Context())
	require.NoError(s.t, err)
	return report.Keys[0].Items
}

// ring returns a keyring of the keys of newKey with these numbers.
func ring(t testing.TB, current byte, older ...byte) encsession.Keyring {
	r := encsession.Keyring{Current: newKey(t, current)}
	for _, n := range older {
		r.Older = append(r.Older, newKey(t, n))
	}
	return r
}

func TestRekeyNeedsAProofOfTheCurrentKey(t *testing.T) {
	mistyped := newKey(t, 9).Fingerprint()
	for name, c := range map[string]struct {
		keys   encsession.Keyring
		opts   []fleet.Option
		refuse bool
	}{
		"the current key opens an item somewhere":      {keys: ring(t, 1, 2)},
		"the current key opens nothing":                {keys: ring(t, 9, 2, 1), refuse: true},
		"the current key opens nothing, alone":         {keys: ring(t, 9), refuse: true},
		"the current key is named":                     {keys: ring(t, 9, 2, 1), opts: []fleet.Option{fleet.WithFirstUse(mistyped)}},
		"the current key is one of those named":        {keys: ring(t, 9, 2, 1), opts: []fleet.Option{fleet.WithFirstUse(mistyped), fleet.WithFirstUse(newKey(t, 3).Fingerprint())}},
		"another key is named":                         {keys: ring(t, 9, 2, 1), opts: []fleet.Option{fleet.WithFirstUse(newKey(t, 2).Fingerprint())}, refuse: true},
		"nobody types the keys":                        {keys: ring(t, 9, 2, 1), opts: []fleet.Option{fleet.WithManagedKeys()}},
		"the current key opens nothing, for 8 workers": {keys: ring(t, 9, 2, 1), opts: []fleet.Option{fleet.WithWorkers(8)}, refuse: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, c.keys)
			for i := range 10 {
				s.add(fmt.Sprintf("s%d", i), newKey(t, 2), 2)
			}
			s.add("s9", newKey(t, 1), 1)
			s.session("empty")
			before := s.all()
			told := 0
			summary, err := fleet.Rekey(t.Context(), s.sessions(), s.open,
				append(c.opts, fleet.WithResults(func(fleet.Result) { told++ }))...)
			if !c.refuse {
				require.NoError(t, err)
				require.Equal(t, 11, told)
				require.Equal(t, 11, summary.Sessions)
				require.Equal(t, 10, summary.Changed)
				require.Equal(t, 0, s.count("s0", 2))
				return
			}
			var unproven *fleet.UnprovenKeyError
			require.ErrorAs(t, err, &unproven)
			require.Equal(t, []string{mistyped}, unproven.Fingerprints)
			require.ErrorContains(t, err, "fleet: Rekey: current key "+mistyped+" opens no item")
			require.ErrorContains(t, err, "WithFirstUse")
			require.Zero(t, summary)
			require.Zero(t, told)
			require.Equal(t, before, s.all())
		})
	}
}

func TestSealPlaintextNeedsAProofOfTheCurrentKey(t *testing.T) {
	s := newStore(t, newKey(t, 1))
	s.put("a", plaintext)
	s.put("b", plaintext)
	before := s.all()
	_, err := fleet.SealPlaintext(t.Context(), s.sessions(), s.open)
	require.ErrorContains(t, err, "fleet: SealPlaintext: current key "+newKey(t, 1).Fingerprint()+" opens no item")
	require.Equal(t, before, s.all())

	summary, err := fleet.SealPlaintext(t.Context(), s.sessions(), s.open, fleet.WithFirstUse(newKey(t, 1).Fingerprint()))
	require.NoError(t, err)
	require.Equal(t, fleet.Summary{Sessions: 2, Changed: 2, Items: 2}, summary)

	s.put("c", plaintext)
	summary, err = fleet.SealPlaintext(t.Context(), s.sessions(), s.open)
	require.NoError(t, err, "the key opens a and b")
	require.Equal(t, fleet.Summary{Sessions: 3, Changed: 1, Items: 1}, summary)
}

// Only the last session is under a mistyped key.
func TestNothingIsChangedBeforeAllKeysAreProved(t *testing.T) {
	s := newStore(t, encsession.KeyFunc(func(_ context.Context, id string) (encsession.Keyring, error) {
		switch id {
		case "s18":
			return ring(t, 8, 2), nil
		case "s19":
			return ring(t, 9, 2), nil
		}
		return ring(t, 1, 2), nil
	}))
	for i := range 20 {
		s.add(fmt.Sprintf("s%d", i), newKey(t, 2), 1)
		if i < 18 {
			s.add(fmt.Sprintf("s%d", i), newKey(t, 1), 1)
		}
	}
	before := s.all()
	_, err := fleet.Rekey(t.Context(), s.sessions(), s.open)
	var unproven *fleet.UnprovenKeyError
	require.ErrorAs(t, err, &unproven)
	require.ElementsMatch(t, []string{newKey(t, 8).Fingerprint(), newKey(t, 9).Fingerprint()}, unproven.Fingerprints)
	require.IsIncreasing(t, unproven.Fingerprints)
	require.Equal(t, before, s.all())
}

// A key is not mistyped if it opens items in another session, even as an older
// key.
func TestAnOlderKeyProvesItselfToo(t *testing.T) {
	s := newStore(t, encsession.KeyFunc(func(_ context.Context, id string) (encsession.Keyring, error) {
		if id == "a" {
			return ring(t, 1, 2), nil
		}
		return ring(t, 2, 3), nil
	}))
	s.add("a", newKey(t, 1), 1)
	s.add("a", newKey(t, 2), 1)
	s.add("b", newKey(t, 3), 1)
	_, err := fleet.Rekey(t.Context(), s.sessions(), s.open)
	require.NoError(t, err)
	require.Equal(t, 1, s.count("b", 2))
}

// One session fails in the first pass, and one is added after it.
func TestKeyThatIsMetLaterIsCheckedTooBeforeItsSessionIsChanged(t *testing.T) {
	for _, name := range []string{"Rekey", "SealPlaintext"} {
		s := newStore(t, encsession.KeyFunc(func(_ context.Context, id string) (encsession.Keyring, error) {
			switch id {
			case "failed", "late":
				return ring(t, 9, 2), nil
			case "late, but proved":
				return ring(t, 5, 2), nil
			}
			return ring(t, 1, 2), nil
		}))
		old := func(id string) {
			s.put(id, plaintext)
			s.add(id, newKey(t, 2), 1)
		}
		old("good")
		s.add("good", newKey(t, 1), 1)
		old("failed")
		s.opening = func(_ context.Context, id string) error {
			if id == "failed" && s.passes == 1 {
				return errFault
			}
			return nil
		}
		s.listing = func(pass, n int) error {
			if pass == 2 && n == 0 {
				old("late")
				old("late, but proved")
				s.add("late, but proved", newKey(t, 5), 1)
			}
			return nil
		}
		outcomes := make(map[string]fleet.Outcome)
		summary, err := operations[name](t.Context(), s.sessions(), s.open, fleet.WithResults(func(r fleet.Result) {
			outcomes[r.Session.ID] = r.Outcome
			if r.Outcome == fleet.Failed {
				unproven := new(fleet.UnprovenKeyError)
				require.ErrorAs(t, r.Err, &unproven)
				require.Equal(t, []string{newKey(t, 9).Fingerprint()}, unproven.Fingerprints)
			}
		}))
		require.ErrorContains(t, err, `2 of 4 sessions failed; session "failed": current key `)
		require.Equal(t, map[string]fleet.Outcome{"good": fleet.Done, "failed": fleet.Failed, "late": fleet.Failed, "late, but proved": fleet.Done}, outcomes)
		require.Equal(t, 2, summary.Changed, name)
		require.Zero(t, s.count("failed", 9))
		require.Zero(t, s.count("late", 9))
	}
}

func TestRefusalSaysWhichSessionsCouldNotBeAsked(t *testing.T) {
	s := newStore(t, ring(t, 9, 2))
	s.add("a", newKey(t, 2), 1)
	s.add("b", newKey(t, 2), 1)
	s.opening = func(_ context.Context, id string) error {
		if id == "b" {
			return errFault
		}
		return nil
	}
	_, err := fleet.Rekey(t.Context(), s.sessions(), s.open)
	unproven := new(fleet.UnprovenKeyError)
	require.ErrorAs(t, err, &unproven)
	require.ErrorIs(t, err, errFault)
	require.ErrorContains(t, err, `; 1 of 2 sessions failed; session "b": open: fault`)
}

func TestRawSecretIsProvedByAnItemAndByNothingElse(t *testing.T) {
	current, older := rawKey(t, "correct horse battery staple"), rawKey(t, "hunter2, but longer")
	s := newStore(t, encsession.Keyring{Current: current, Older: []encsession.Key{older}})
	s.add("a", older, 2)
	before := s.all()
	for _, opts := range [][]fleet.Option{nil, {fleet.WithFirstUse("0123456789abcdef")}} {
		_, err := fleet.Rekey(t.Context(), s.sessions(), s.open, opts...)
		require.ErrorContains(t, err, "current key raw opens no item")
		require.ErrorContains(t, err, "a raw secret cannot be named")
		require.NotContains(t, err.Error(), "horse")
		require.Equal(t, before, s.all())
	}
	s.add("b", current, 1)
	summary, err := fleet.Rekey(t.Context(), s.sessions(), s.open)
	require.NoError(t, err)
	require.Equal(t, 2, summary.Items)
}

func TestUnprovenKeyErrorNamesTenFingerprints(t *testing.T) {
	s := newStore(t, encsession.KeyFunc(func(_ context.Context, id string) (encsession.Keyring, error) {
		return ring(t, id[0], 2), nil
	}))
	for i := range byte(12) {
		s.add(string('a'+i), newKey(t, 2), 1)
	}
	_, err := fleet.Rekey(t.Context(), s.sessions(), s.open)
	unproven := new(fleet.UnprovenKeyError)
	require.ErrorAs(t, err, &unproven)
	require.Len(t, unproven.Fingerprints, 12)
	require.ErrorContains(t, err, strings.Join(unproven.Fingerprints[:10], ", ")+" and 2 more opens no item")
}

func TestListingThatCanBeRangedOverOnceIsAnError(t *testing.T) {
	s := newStore(t, ring(t, 1, 2))
	s.add("a", newKey(t, 2), 1)
	s.add("a", newKey(t, 1), 1)
	next, stop := iter.Pull2(s.sessions())
	defer stop()
	once := func(yield func(encsession.SessionInfo, error) bool) {
		for {
			info, err, ok := next()
			if !ok || !yield(info, err) {
				return
			}
		}
	}
	_, err := fleet.Rekey(t.Context(), once, s.open)
	require.ErrorContains(t, err, "fleet: Rekey: the listing had sessions in the first pass and none in the second")
	require.Equal(t, 1, s.count("a", 2))
}

func TestFirstPassThatDoesNotGetToItsEndChangesNothing(t *testing.T) {
	for _, name := range []string{"Rekey", "SealPlaintext"} {
		s := newStore(t, ring(t, 1, 2))
		s.put("a", plaintext)
		s.add("a", newKey(t, 2), 1)
		s.add("a", newKey(t, 1), 1)
		s.add("b", newKey(t, 1), 1)
		before := s.all()
		s.listing = func(_, n int) error {
			if n == 1 {
				return errFault
			}
			return nil
		}
		summary, err := operations[name](t.Context(), s.sessions(), s.open)
		require.EqualError(t, err, "fleet: "+name+": first pass, which changes nothing: listing of sessions: fault")
		require.ErrorIs(t, err, errFault)
		require.Zero(t, summary)

		ctx, cancel := context.WithCancel(t.Context())
		s.listing = func(_, n int) error { cancel(); return nil }
		summary, err = operations[name](ctx, s.sessions(), s.open)
		require.ErrorIs(t, err, context.Canceled)
		require.Zero(t, summary)
		require.Equal(t, before, s.all())
	}
}

func TestRekeyThatIsBrokenOffCanBeRunAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, ring(t, 1, 2))
		for i := range 10 {
			s.add(fmt.Sprintf("s%d", i), newKey(t, 2), 3)
		}
		s.add("s0", newKey(t, 1), 1)
		s.opening = func(context.Context, string) error { time.Sleep(time.Second); return nil }
		ctx, cancel := context.WithTimeout(t.Context(), 14*time.Second+time.Second/2)
		defer cancel()
		summary, err := fleet.Rekey(ctx, s.sessions(), s.open)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, fleet.Summary{Sessions: 5, Unfinished: 1, Changed: 4, Items: 12}, summary)

		summary, err = fleet.Rekey(t.Context(), s.sessions(), s.open)
		require.NoError(t, err)
		require.Equal(t, fleet.Summary{Sessions: 10, Changed: 6, Items: 18}, summary)
	})
}

func TestItemsThatNobodyCanJudgeAreFindingsAndAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // Purge and ClearIdle count whole seconds
		for name, want := range map[string]encsession.SkippedError{
			"Rekey":         {Undecryptable: 3, Malformed: 2},
			"SealPlaintext": {Malformed: 2, Plaintext: 2},
			"Purge":         {},
			"ClearIdle":     {},
			"DeleteItems":   {Undecryptable: 3, Malformed: 2, Plaintext: 2},
		} {
			s := newStore(t, ring(t, 1, 2), encsession.WithPlaintext())
			for _, id := range []string{"a", "b"} {
				s.put(id, plaintext)
				s.put(id, malformed)
				s.add(id, newKey(t, 2), 1)
				s.add(id, newKey(t, 1), 1)
			}
			s.add("b", newKey(t, 7), 3)
			s.add("c", newKey(t, 2), 1)
			summary, err := operations[name](t.Context(), s.sessions(), s.open)
			require.Equal(t, want, summary.Skipped, name)
			if want == (encsession.SkippedError{}) {
				require.NoError(t, err)
				continue
			}
			skipped := new(encsession.SkippedError)
			require.ErrorAs(t, err, &skipped)
			require.Equal(t, want, *skipped)
			require.ErrorContains(t, err, "fleet: "+name+": finished, but could not judge all items")
			require.Equal(t, 2, summary.Findings)
			require.Zero(t, summary.Failed)
			require.ErrorIs(t, err, encsession.ErrMalformed)
			failed := new(fleet.FailedError)
			require.False(t, errors.As(err, &failed))
		}
	})
}

// Rekey does not work on a session without need, but must do so if there is a
// need.
func TestRekeyGivesTheErrorsThatTheSessionGives(t *testing.T) {
	for name, fill := range map[string]func(*store){
		"undecryptable":          func(s *store) { s.add("a", newKey(t, 7), 1); s.add("a", newKey(t, 1), 1) },
		"malformed":              func(s *store) { s.put("a", malformed); s.add("a", newKey(t, 1), 1) },
		"plaintext below":        func(s *store) { s.put("a", plaintext); s.add("a", newKey(t, 7), 1); s.add("a", newKey(t, 1), 1) },
		"unfit for sealing":      func(s *store) { s.add("a", newKey(t, 7), 1); s.add("b", newKey(t, 1), 1) },
		"nothing wrong":          func(s *store) { s.add("a", newKey(t, 1), 1) },
		"empty":                  func(s *store) { s.session("a") },
		"older":                  func(s *store) { s.add("a", newKey(t, 2), 1); s.add("b", newKey(t, 1), 1) },
		"plaintext and nothing":  func(s *store) { s.put("a", plaintext); s.add("b", newKey(t, 1), 1) },
		"older, not JSON within": func(s *store) { s.put("a", notJSON(t, 2)); s.add("b", newKey(t, 1), 1) },
	} {
		for op, alone := range map[string]func(*encsession.EncryptedSession, context.Context) (int, error){
			"Rekey":         (*encsession.EncryptedSession).Rekey,
			"SealPlaintext": (*encsession.EncryptedSession).SealPlaintext,
		} {
			s, twin := newStore(t, ring(t, 1, 2)), newStore(t, ring(t, 1, 2))
			fill(s)
			fill(twin)
			session, err := twin.open(t.Context(), "a")
			require.NoError(t, err)
			changed, want := alone(session, t.Context())
			_, err = operations[op](t.Context(), s.sessions(), s.open, fleet.WithResults(func(r fleet.Result) {
				if r.Session.ID == "a" {
					require.Equal(t, changed, r.Changed, name)
				}
			}))
			if want == nil {
				require.NoError(t, err, "%s, %s", op, name)
				continue
			}
			skipped := new(encsession.SkippedError)
			if errors.As(want, &skipped) {
				require.ErrorContains(t, err, skipped.Error(), "%s, %s", op, name)
			} else {
				require.ErrorContains(t, err, want.Error(), "%s, %s", op, name)
			}
		}
	}
}

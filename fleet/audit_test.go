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

func TestAuditAddsTheReportsUp(t *testing.T) {
	for _, workers := range []int{1, 8} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now().UTC()
			current, older, unknown := newKey(t, 1), newKey(t, 2), newKey(t, 3)
			s := newStore(t, encsession.Keyring{Current: current, Older: []encsession.Key{older}}, encsession.WithTTL(time.Hour))
			s.add("old", older, 2)
			time.Sleep(2 * time.Hour)
			s.session("empty")
			s.add("mixed", older, 3)
			s.add("mixed", current, 4)
			s.add("lost", unknown, 5)
			s.put("plain", plaintext)
			s.put("broken", malformed)
			s.add("new", current, 1)
			end := time.Now().UTC()
			before := s.all()

			reports := make(map[string]encsession.Report)
			skipped := make(map[string]encsession.SkippedError)
			summary, err := fleet.Audit(t.Context(), s.sessions(), s.open, fleet.WithWorkers(workers), fleet.WithResults(func(r fleet.Result) {
				reports[r.Session.ID], skipped[r.Session.ID] = r.Report, r.Skipped
				require.Equal(t, fleet.Done, r.Outcome)
			}))
			require.NoError(t, err)
			require.Equal(t, fleet.Summary{
				Sessions: 7,
				Findings: 3,
				Skipped:  encsession.SkippedError{Undecryptable: 5, Malformed: 1, Plaintext: 1},
				Report: encsession.Report{
					Items: 17, Readable: 8, Plaintext: 1, Expired: 2, Undecryptable: 5, Malformed: 1,
					Keys:   []encsession.KeyCount{{Fingerprint: current.Fingerprint(), Items: 5}, {Fingerprint: older.Fingerprint(), Items: 5}},
					Oldest: start, Newest: end,
				},
			}, summary)
			require.Equal(t, before, s.all())
			require.Equal(t, encsession.SkippedError{Undecryptable: 5}, skipped["lost"])
			require.Equal(t, encsession.SkippedError{}, skipped["mixed"])
			for id, report := range reports {
				session, err := s.open(t.Context(), id)
				require.NoError(t, err)
				want, err := session.Audit(t.Context())
				require.NoError(t, err)
				require.Equal(t, want, report)
			}
		})
	}
}

// Each tenant has keys of its own. Some keys are current for one tenant and
// older for another.
func TestAuditMergesKeysByFingerprint(t *testing.T) {
	keys := map[string]encsession.Keyring{
		"a": {Current: newKey(t, 5), Older: []encsession.Key{newKey(t, 6), newKey(t, 7)}},
		"b": {Current: newKey(t, 6), Older: []encsession.Key{newKey(t, 8)}},
		"c": {Current: newKey(t, 9), Older: []encsession.Key{newKey(t, 9)}},
	}
	s := newStore(t, encsession.KeyFunc(func(_ context.Context, id string) (encsession.Keyring, error) { return keys[id], nil }))
	s.add("a", newKey(t, 5), 1)
	s.add("a", newKey(t, 6), 2)
	s.add("b", newKey(t, 6), 3)
	s.add("b", newKey(t, 8), 4)
	s.add("c", newKey(t, 9), 5)
	want := map[string]int{newKey(t, 5).Fingerprint(): 1, newKey(t, 6).Fingerprint(): 5, newKey(t, 7).Fingerprint(): 0,
		newKey(t, 8).Fingerprint(): 4, newKey(t, 9).Fingerprint(): 5}
	for _, workers := range []int{1, 3} {
		summary, err := fleet.Audit(t.Context(), s.sessions(), s.open, fleet.WithWorkers(workers))
		require.NoError(t, err)
		got := make(map[string]int)
		var order []string
		for _, key := range summary.Report.Keys {
			got[key.Fingerprint] = key.Items
			order = append(order, key.Fingerprint)
		}
		require.Equal(t, want, got)
		require.Len(t, order, 5)
		require.IsIncreasing(t, order[:3]) // the current ones
		require.ElementsMatch(t, []string{newKey(t, 5).Fingerprint(), newKey(t, 6).Fingerprint(), newKey(t, 9).Fingerprint()}, order[:3])
		require.IsIncreasing(t, order[3:])
	}
}

// Otherwise nobody would know whether a raw secret may be retired.
func TestAuditTellsRawSecretsApartByTheirPlace(t *testing.T) {
	current, older := rawKey(t, "correct horse battery staple"), rawKey(t, "hunter2, but longer")
	s := newStore(t, encsession.Keyring{Current: current, Older: []encsession.Key{older}})
	s.add("a", older, 2)
	s.add("b", older, 1)
	s.add("b", current, 4)
	summary, err := fleet.Audit(t.Context(), s.sessions(), s.open)
	require.NoError(t, err)
	require.Equal(t, []encsession.KeyCount{{Fingerprint: "raw", Items: 4}, {Fingerprint: "raw", Items: 3}}, summary.Report.Keys)
}

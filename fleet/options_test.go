package fleet_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/encsession/encsession/fleet"
	"github.com/stretchr/testify/require"
)

func TestOptionsThatMakeNoSenseAreErrors(t *testing.T) {
	for want, opt := range map[string]fleet.Option{
		"option 0 is nil":                        nil,
		"0 is not a number of workers":           fleet.WithWorkers(0),
		"-1 is not a number of workers":          fleet.WithWorkers(-1),
		"1001 is not a number of workers":        fleet.WithWorkers(1001),
		"-1ns is less than 0":                    fleet.WithPause(-1),
		"was not multiplied by a unit":           fleet.WithPause(50),
		"WithResults: func is nil":               fleet.WithResults(nil),
		"no shard -1 of 8":                       fleet.WithShard(-1, 8),
		"no shard 8 of 8":                        fleet.WithShard(8, 8),
		"no shard 0 of 0":                        fleet.WithShard(0, 0),
		"no shard 0 of -8":                       fleet.WithShard(0, -8),
		`"raw" names no key`:                     fleet.WithFirstUse("raw"),
		"is 16 hexadecimal digits in lower case": fleet.WithFirstUse(""),
		"16 hexadecimal digits in lower case":    fleet.WithFirstUse("0123456789ABCDEF"),
		"a fingerprint is 16 hexadecimal digits": fleet.WithFirstUse("0123456789abcdef0"),
	} {
		for name, operate := range operations {
			s := newStore(t, newKey(t, 1))
			s.add("a", newKey(t, 1), 1)
			before := s.all()
			summary, err := operate(t.Context(), s.sessions(), s.open, opt)
			require.ErrorContains(t, err, "fleet: "+name+": option 0")
			require.ErrorContains(t, err, want)
			require.Zero(t, summary)
			require.Equal(t, before, s.all())
		}
	}
}

func TestArgumentsThatAreNilAreErrors(t *testing.T) {
	s := newStore(t, newKey(t, 1))
	for name, operate := range operations {
		_, err := operate(nil, s.sessions(), s.open)
		require.EqualError(t, err, "fleet: "+name+": context is nil")
		_, err = operate(t.Context(), nil, s.open)
		require.EqualError(t, err, "fleet: "+name+": listing of sessions is nil: give that of the store")
		_, err = operate(t.Context(), s.sessions(), nil)
		require.EqualError(t, err, "fleet: "+name+": func that opens a session is nil")
	}
	_, err := fleet.DeleteItems(t.Context(), s.sessions(), s.open, nil)
	require.EqualError(t, err, "fleet: DeleteItems: match is nil")
	for _, age := range []time.Duration{-time.Second, time.Millisecond} {
		_, err = fleet.Purge(t.Context(), s.sessions(), s.open, age)
		require.ErrorContains(t, err, "is not whole seconds")
	}
	for _, idle := range []time.Duration{-time.Second, 0, time.Second + 1} {
		_, err = fleet.ClearIdle(t.Context(), s.sessions(), s.open, idle)
		require.ErrorContains(t, err, "is not whole seconds")
	}
	require.Zero(t, s.passes)
}

// shard returns the IDs in a shard.
func shard(t *testing.T, s *store, i, n int) (ids []string) {
	summary, err := fleet.Audit(t.Context(), s.sessions(), s.open, fleet.WithShard(i, n),
		fleet.WithResults(func(r fleet.Result) { ids = append(ids, r.Session.ID) }))
	require.NoError(t, err)
	require.Equal(t, len(ids), summary.Sessions)
	return ids
}

// Processes of different versions may share the work, so these shards must not
// change.
func TestShardsAreFrozen(t *testing.T) {
	s := newStore(t, newKey(t, 1))
	for _, id := range []string{"alice", "bob", "carol", "dave", "eve", "user-123", "Zoë", "🦫", "a", "b"} {
		s.session(id)
	}
	require.Equal(t, [][]string{
		{"🦫"},
		{"dave", "a", "b"},
		{"alice", "bob", "carol", "eve", "user-123", "Zoë"},
	}, [][]string{shard(t, s, 0, 3), shard(t, s, 1, 3), shard(t, s, 2, 3)})
	require.Equal(t, s.ids, shard(t, s, 0, 1))
}

func TestShardsTogetherAreAllSessionsOnce(t *testing.T) {
	s := newStore(t, newKey(t, 1))
	for i := range 800 {
		s.session(fmt.Sprintf("user-%d", i))
	}
	var all []string
	for i := range 8 {
		ids := shard(t, s, i, 8)
		require.InDelta(t, 100, len(ids), 40)
		all = append(all, ids...)
	}
	require.ElementsMatch(t, s.ids, all)
}

func TestLaterOptionsCount(t *testing.T) {
	s := newStore(t, newKey(t, 1))
	s.session("a")
	told := 0
	_, err := fleet.Audit(t.Context(), s.sessions(), s.open,
		fleet.WithResults(func(fleet.Result) { told += 100 }), fleet.WithResults(func(fleet.Result) { told++ }))
	require.NoError(t, err)
	require.Equal(t, 1, told)
}

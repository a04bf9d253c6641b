package fleet_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/fleet"
	"github.com/stretchr/testify/require"
)

func TestPurgeRemovesByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, newKey(t, 1))
		s.add("a", newKey(t, 1), 2)
		s.add("b", newKey(t, 1), 3)
		time.Sleep(31 * 24 * time.Hour)
		s.add("b", newKey(t, 1), 1)
		s.add("c", newKey(t, 1), 1)
		summary, err := fleet.Purge(t.Context(), s.sessions(), s.open, 30*24*time.Hour, fleet.WithWorkers(2))
		require.NoError(t, err)
		require.Equal(t, fleet.Summary{Sessions: 3, Changed: 2, Items: 5}, summary)
		require.Equal(t, []int{0, 1, 1}, []int{s.count("a", 1), s.count("b", 1), s.count("c", 1)})
	})
}

func TestDeleteItemsRemovesWhatMatches(t *testing.T) {
	s := newStore(t, newKey(t, 1))
	for i := range 10 {
		s.add(fmt.Sprintf("s%d", i), newKey(t, 1), 3)
	}
	var seen atomic.Int64
	summary, err := fleet.DeleteItems(t.Context(), s.sessions(), s.open, func(id string, item encsession.Item) bool {
		seen.Add(1)
		return id != "s3" && strings.Contains(string(item), `"n":1`)
	}, fleet.WithWorkers(4))
	require.NoError(t, err)
	require.Equal(t, fleet.Summary{Sessions: 10, Changed: 9, Items: 9}, summary)
	require.EqualValues(t, 30, seen.Load())
	require.Equal(t, 3, s.count("s3", 1))
	require.Equal(t, 2, s.count("s4", 1))
}

func TestDeleteItemsUnderAWrongKeyIsAnError(t *testing.T) {
	s := newStore(t, newKey(t, 9))
	s.add("a", newKey(t, 1), 3)
	_, err := fleet.DeleteItems(t.Context(), s.sessions(), s.open, func(string, encsession.Item) bool { return true })
	require.ErrorIs(t, err, encsession.ErrUndecryptable)
	require.Equal(t, 3, s.count("a", 1))
}

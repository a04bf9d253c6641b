package sqlstore

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestKilledWriter kills a process that adds batches, at a random moment, 25
// times. Every batch that the process has reported is there, and no batch is
// there in part.
func TestKilledWriter(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		batches, unacknowledged := 0, 0
		for round := range 25 {
			sessionID := fmt.Sprintf("crash-%d", round)
			acknowledged := writeUntilKilled(t, f, sessionID)
			found := wholeBatches(t, f.Session(sessionID))
			require.GreaterOrEqual(t, found, acknowledged, "an acknowledged batch is lost")
			batches += found
			unacknowledged += found - acknowledged
			if b.dialect == SQLite {
				require.Equal(t, []string{"ok"}, f.strings(t, "PRAGMA integrity_check"))
			}
			// The check of the file stays short without them.
			f.exec(t, "DELETE FROM {messages}")
		}
		t.Logf("%d batches, %d of them committed but not yet acknowledged", batches, unacknowledged)
	})
}

// writeUntilKilled returns how many batches the child has reported.
func writeUntilKilled(t *testing.T, f *fixture, sessionID string) (acknowledged int) {
	child := f.child(t, "write", sessionID, 0)
	stdin, err := child.StdinPipe() // when this process ends, so do stdin and the child
	require.NoError(t, err)
	defer stdin.Close()
	stdout, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		n, err := strconv.Atoi(lines.Text())
		require.NoError(t, err)
		require.Equal(t, acknowledged, n)
		if acknowledged == 0 {
			time.AfterFunc(rand.N(60*time.Millisecond), func() { _ = child.Process.Kill() })
		}
		acknowledged++
	}
	require.Error(t, child.Wait(), "the child was not killed")
	require.Positive(t, acknowledged, "the child has added nothing")
	return acknowledged
}

// killAfterALine kills a child soon after it has printed its first line.
func killAfterALine(t *testing.T, child *exec.Cmd) {
	stdout, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	require.True(t, bufio.NewScanner(stdout).Scan(), "the child has done nothing")
	time.Sleep(rand.N(10 * time.Millisecond))
	_ = child.Process.Kill()
	_ = child.Wait() // killed, or done before
}

// wholeBatches returns how many batches of the child the session holds. It
// fails if one is not whole.
func wholeBatches(t *testing.T, s *Session) int {
	items, err := s.GetItems(t.Context(), 0)
	require.NoError(t, err)
	batches := 0
	for ; len(items) > 0; batches++ {
		want := crashBatch(batches)
		require.GreaterOrEqual(t, len(items), len(want))
		require.Equal(t, texts(want), texts(items[:len(want)]))
		items = items[len(want):]
	}
	return batches
}

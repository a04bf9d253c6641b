//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/encsession/encsession"
	"github.com/stretchr/testify/require"
)

// asCommand is the variable that makes the test binary run the command itself.
const asCommand = "ENCSESSION_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	os.Exit(m.Run())
}

// process returns the command as a process of its own.
func process(t *testing.T, environment env, args ...string) *exec.Cmd {
	t.Helper()
	executable, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(executable, args...)
	cmd.Env = []string{asCommand + "=1", "TERM=xterm"}
	for name, value := range environment {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd
}

// manySessions makes a database with that many sessions under an old key, and
// one more under the current key.
func manySessions(t *testing.T, sessions int) env {
	t.Helper()
	file := filepath.Join(t.TempDir(), "test.db")
	db, store := openTestStore(t, file)
	currentText, current := newKey(t)
	oldText, old := newKey(t)
	for i := range sessions {
		addUnder(t, store.Session("user-"+string(rune('a'+i/26))+string(rune('a'+i%26))), &old, encsession.Item(`{"n":1}`))
	}
	addUnder(t, store.Session("user-0"), &current, encsession.Item(`{"n":1}`))
	require.NoError(t, db.Close())
	return env{keyVariable: currentText, olderKeysVariable: oldText}.on(file)
}

// TestSignals interrupts a real process in the middle of a change.
func TestSignals(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			environment := manySessions(t, 30)
			audit := filepath.Join(t.TempDir(), "audit.log")
			cmd := process(t, environment, "rekey", "--yes", "--all", "--json", "--pause", "20s", "--audit-file", audit)
			stdout, err := cmd.StdoutPipe()
			require.NoError(t, err)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			require.NoError(t, cmd.Start())
			first := make([]byte, 1)
			start := time.Now()
			// The first pass has pauses too, and prints no lines. So the signal
			// comes then or later.
			go func() {
				for range 500 {
					if _, err := os.Stat(audit); err == nil {
						break
					}
					time.Sleep(10 * time.Millisecond)
				}
				time.Sleep(100 * time.Millisecond)
				_ = cmd.Process.Signal(signal)
			}()
			_, _ = stdout.Read(first)
			_, err = io.Copy(io.Discard, stdout)
			require.NoError(t, err)
			exit, ok := cmd.Wait().(*exec.ExitError)
			require.True(t, ok)
			require.Equal(t, exitInterrupted, exit.ExitCode(), stderr.String())
			require.Less(t, time.Since(start), 15*time.Second)
			require.Contains(t, stderr.String(), "interrupted; it can be run again")
			lines := strings.Split(strings.TrimSpace(string(read(t, audit))), "\n")
			var last traceLine
			require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &last))
			require.Equal(t, "interrupted", last.Outcome)

			code, s := summary(t, environment, "rekey", "--yes")
			require.Equal(t, exitWell, code)
			require.Equal(t, 31, s.Sessions)
		})
	}
}

// TestClosedPipe uses a reader that goes away, as head does.
func TestClosedPipe(t *testing.T) {
	environment := manySessions(t, 3)
	cmd := process(t, environment, "audit", "--all", "--json")
	reader, writer, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, reader.Close())
	cmd.Stdout = writer
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	exit, ok := cmd.Run().(*exec.ExitError)
	require.True(t, ok)
	require.Equal(t, exitError, exit.ExitCode(), "an error, and not the end by a signal")
	require.Contains(t, stderr.String(), "broken pipe")
}

// onTerminal runs the command on a terminal and types an answer once it asks.
// It returns everything that the terminal shows.
func onTerminal(t *testing.T, environment env, answer string, args ...string) (shown string, code int) {
	t.Helper()
	cmd := process(t, environment, args...)
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 40, Cols: 120})
	require.NoError(t, err)
	defer terminal.Close()
	var out bytes.Buffer
	buffer := make([]byte, 4096)
	asked := false
	for {
		n, err := terminal.Read(buffer)
		out.Write(buffer[:n])
		if !asked && strings.Contains(out.String(), "[y/N]") {
			asked = true
			_, writeErr := io.WriteString(terminal, answer)
			require.NoError(t, writeErr)
		}
		if err != nil { // the end, which on Linux is an EIO
			break
		}
	}
	err = cmd.Wait()
	if exit, ok := err.(*exec.ExitError); ok {
		return out.String(), exit.ExitCode()
	}
	require.NoError(t, err)
	return out.String(), 0
}

func TestQuestionOnATerminal(t *testing.T) {
	environment := manySessions(t, 20)
	for answer, want := range map[string]string{"n\n": "not confirmed", "\n": "not confirmed", "yep\n": "not confirmed", "\x04": "not confirmed"} {
		shown, code := onTerminal(t, environment, answer, "rekey")
		require.Equal(t, exitError, code, shown)
		require.Contains(t, shown, "rekey: will seal the items of older keys again")
		require.Contains(t, shown, want)
	}
	shown, code := onTerminal(t, environment, "\x03", "rekey")
	require.Equal(t, exitInterrupted, code, shown)
	require.Contains(t, shown, "interrupted; nothing was changed")

	shown, code = onTerminal(t, environment, "y\n", "rekey", "--pause", "20ms")
	require.Equal(t, exitWell, code, shown)
	require.Regexp(t, `rekey +\d+% \|`, shown, "a bar")
	require.Contains(t, shown, "rekey: 20 items sealed again under the current key")
	require.NotContains(t, shown, "looked at", "the lines are for those who have no bar")
	_, s := summary(t, environment, "audit")
	require.Equal(t, []int{21, 0}, perKey(s.Counts))
}

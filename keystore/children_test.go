package keystore

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// childEnv names the environment variable that makes the test binary a child
// process. Its value holds the child's arguments: a child runs no tests.
const childEnv = "ENCSESSION_KEYSTORE_CHILD"

func TestMain(m *testing.M) {
	if args := os.Getenv(childEnv); args != "" {
		if err := child(strings.Split(args, "|")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// command returns the command for a child process on the same tables.
func (tb *table) command(t testing.TB, what, tenant string, step int) *exec.Cmd {
	binary, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(), childEnv+"="+strings.Join([]string{
		what, tb.driver, tb.dsn, strconv.Itoa(int(tb.dialect)), tb.keys, tb.settings, tenant, strconv.Itoa(step)}, "|"))
	cmd.Stderr = os.Stderr
	return cmd
}

func child(args []string) error {
	ctx, tenant := context.Background(), args[6]
	db, err := sql.Open(args[1], args[2])
	if err != nil {
		return err
	}
	dialect, _ := strconv.Atoi(args[3])
	step, _ := strconv.Atoi(args[7])
	kms := newKMS("kms-1")
	opts := []Option{WithTables(args[4], args[5])}
	if args[0] == "rewrap" {
		kms = newKMS("kms-2")
		opts = append(opts, WithOlderWrappers(map[string]Wrapper{"kms-1": newKMS("kms-1")}))
	}
	s, err := New(db, Dialect(dialect), NamedWrapper{kms.name, kms}, opts...)
	if err != nil {
		return err
	}
	if args[0] == "serve" {
		return serve(s, kms, tenant)
	}

	// The child kills itself before statement or request number step.
	die := func(context.Context) error {
		if step--; step == 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return nil
	}
	s.statement = func(string) { _ = die(ctx) }
	kms.encrypt, kms.decrypt = die, die
	switch args[0] {
	case "create":
		_, err = s.Create(ctx, tenant)
	case "rotate":
		_, err = s.Rotate(ctx, tenant, 1)
	case "destroy":
		_, err = s.Destroy(ctx, tenant)
	case "rewrap":
		_, err = s.Rewrap(ctx)
	}
	return err
}

// serve asks for the keys of a tenant once for each line that it reads, and
// prints the result. If the line is "slow", the KMS answers after the next
// line.
func serve(s *Store, kms *kms, tenant string) error {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		kms.decrypt = nil
		if in.Text() == "slow" {
			s.forget(tenant)
			kms.decrypt = func(context.Context) error {
				kms.decrypt = nil
				fmt.Println("asking")
				in.Scan()
				return nil
			}
		}
		ring, err := s.Keys(context.Background(), tenant)
		switch {
		case errors.Is(err, encsession.ErrKeyDestroyed):
			fmt.Println("destroyed")
		case err != nil:
			fmt.Println("error:", err)
		default:
			fmt.Println(ring.Current.Fingerprint())
		}
	}
	return nil
}

// If a process is killed at any step, the same call succeeds afterwards on the
// table that it has left.
func TestKilledAtEachStep(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		if b.dialect != SQLite && testing.Short() {
			t.Skip("on SQLite alone with -short")
		}
		tb := newTable(t, b)
		p := tb.start(t)
		newer := tb.startWith(t, newKMS("kms-2"), WithOlderWrappers(map[string]Wrapper{"kms-1": p.kms}))
		calls := []string{"rotate", "destroy"}
		if b.dialect == SQLite { // single statements: every database completes or undoes them
			calls = append(calls, "create", "rewrap")
		}
		for _, what := range calls {
			for step := 1; ; step++ {
				tenant := fmt.Sprint(what, step)
				fingerprint := ""
				if what != "create" {
					fingerprint = p.mustCreate(t, tenant).Fingerprint
				}
				err := tb.command(t, what, tenant, step).Run()
				if err == nil {
					require.Greater(t, step, 3)
					break // the call was completed
				}
				require.ErrorContains(t, err, "signal: killed")

				check := newer // it opens rows of both wrappers
				v, err := check.read(t.Context(), tenant)
				require.NoError(t, err)
				switch what {
				case "create":
					if len(v.rows) == 0 {
						check.mustCreate(t, tenant)
					}
					check.current(t, tenant)
					require.Len(t, check.olderKeys(t, tenant), 0)
				case "rotate":
					require.Equal(t, fingerprint, check.current(t, tenant), "the old key is current, whatever became of the new one")
					if _, err := check.Rotate(t.Context(), tenant, 1); err != nil {
						require.ErrorIs(t, err, ErrConflict, "it had come to its end")
					}
					require.Len(t, check.olderKeys(t, tenant), 1)
					tenants, err := check.read(t.Context(), tenant)
					require.NoError(t, err)
					require.Greater(t, tenants.rows[1].active, tenants.now)
				case "destroy":
					if !v.erased() { // all rows or none
						require.Equal(t, fingerprint, check.current(t, tenant))
					}
					_, err = check.Destroy(t.Context(), tenant)
					require.NoError(t, err)
					_, err = check.Keys(t.Context(), tenant)
					require.ErrorIs(t, err, encsession.ErrKeyDestroyed)
				case "rewrap":
					require.Equal(t, fingerprint, check.current(t, tenant))
					_, err = check.Rewrap(t.Context())
					require.NoError(t, err)
					require.Equal(t, fingerprint, tb.startWith(t, newKMS("kms-2")).current(t, tenant))
				}
			}
			_, err := newer.Rewrap(t.Context()) // so that a child finds one row to rewrap
			require.NoError(t, err)
		}
	})
}

// A process is stopped while a tenant is destroyed. It goes on after the time
// that Destroy has returned. Then it must not use the key any more: neither the
// one in its memory nor the one that it was about to get.
func TestStoppedAcrossADestroy(t *testing.T) {
	for _, when := range []string{"keys in memory", "asking the KMS"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			tb := newTable(t, onSQLite)
			p := tb.start(t, WithMaxAge(time.Second))
			want := p.mustCreate(t, "acme").Fingerprint
			cmd := tb.command(t, "serve", "acme", 0)
			stdin, err := cmd.StdinPipe()
			require.NoError(t, err)
			stdout, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			defer func() {
				require.NoError(t, stdin.Close())
				require.NoError(t, cmd.Wait())
			}()
			lines := bufio.NewScanner(stdout)
			say := func(text string) {
				_, err := io.WriteString(stdin, text+"\n")
				require.NoError(t, err)
			}
			hear := func() string {
				require.True(t, lines.Scan())
				return lines.Text()
			}
			say("keys")
			require.Equal(t, want, hear())
			if when == "asking the KMS" {
				say("slow")
				require.Equal(t, "asking", hear())
			}
			require.NoError(t, cmd.Process.Signal(syscall.SIGSTOP))
			from, err := p.Destroy(t.Context(), "acme")
			require.NoError(t, err)
			<-time.After(time.Until(from)) // in real time, as the child measures it
			require.NoError(t, cmd.Process.Signal(syscall.SIGCONT))
			say("go on")
			answer := hear()
			if when == "asking the KMS" {
				// The request of the child has exceeded its time, or found the
				// tombstone.
				require.NotEqual(t, want, answer)
				say("keys")
				answer = hear()
			}
			require.Equal(t, "destroyed", answer)
		})
	}
}

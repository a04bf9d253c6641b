package sqlstore

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
	"testing"

	"github.com/stretchr/testify/require"
)

// childEnv makes the test binary a child process. The child does the work that
// the variable names instead of running tests.
const childEnv = "ENCSESSION_SQLSTORE_CHILD"

func TestMain(m *testing.M) {
	var err error
	switch args := strings.Split(os.Getenv(childEnv), "|"); args[0] {
	case "":
		os.Exit(m.Run())
	case "mix":
		err = childMix(args[1:])
	case "write":
		err = childWrite(args[1:])
	case "rewrite":
		err = childRewrite(args[1:])
	case "rekey":
		err = childRekey(args[1:])
	default:
		err = errors.New("unknown child")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// child returns a command that runs the test binary as a child on the same
// database and tables.
func (f *fixture) child(t testing.TB, what, sessionID string, number int) *exec.Cmd {
	binary, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(), childEnv+"="+strings.Join([]string{
		what, f.driver, f.dsnText, strconv.Itoa(int(f.dialect)), f.sessions, f.messages, sessionID, strconv.Itoa(number),
	}, "|"))
	cmd.Stderr = os.Stderr
	return cmd
}

// childSession opens the database in the child as the README shows it.
func childSession(args []string) (*Session, int, error) {
	dialect, _ := strconv.Atoi(args[2])
	number, _ := strconv.Atoi(args[6])
	db, err := sql.Open(args[0], args[1])
	if err != nil {
		return nil, 0, err
	}
	store, err := New(db, Dialect(dialect), WithTables(args[3], args[4]))
	if err != nil {
		return nil, 0, err
	}
	return store.Session(args[5]), number, store.CreateTables(context.Background())
}

// childMix adds 120 times and pops 80 times, in turns. It prints the items that
// it has added and popped.
func childMix(args []string) error {
	s, number, err := childSession(args)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	for n := range 200 {
		if n%5 < 3 {
			item := Item(fmt.Sprintf(`{"child": %d, "n": %d}`, number, n))
			if err := s.AddItems(context.Background(), item); err != nil {
				return err
			}
			fmt.Fprintf(out, "+%s\n", item)
			continue
		}
		item, err := s.PopItem(context.Background())
		if err != nil {
			return err
		}
		if item != nil {
			fmt.Fprintf(out, "-%s\n", item)
		}
	}
	return out.Flush()
}

// childWrite adds batches until it is killed or its standard input ends. It
// prints the number of each batch that it has added.
func childWrite(args []string) error {
	s, _, err := childSession(args)
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for n := 0; ; n++ {
		if err := s.AddItems(context.Background(), crashBatch(n)...); err != nil {
			return err
		}
		fmt.Println(n)
	}
}

// crashBatch returns a batch of 1 to 400 items, each with the number of the
// batch and of the item.
func crashBatch(n int) []Item {
	items := make([]Item, 1+n*151%400)
	for i := range items {
		items[i] = Item(fmt.Sprintf(`{"batch": %d, "n": %d}`, n, i))
	}
	return items
}

// Inspect is an operator's look into a database of conversations: it counts what lies in every session and what the keys
// at hand make of it, and can change keys, seal plaintext and purge what is old.
//
//	go run ./examples/inspect                  # makes a demonstration database, and inspects that
//	go run ./examples/inspect -db FILE         # SQLite
//	go run ./examples/inspect -postgres DSN    # PostgreSQL
//	go run ./examples/inspect -mysql DSN       # MySQL, MariaDB
//	go run ./examples/inspect -redis ADDR      # Redis, Valkey: host:port, or a URL with redis:// or rediss://
//	go run ./examples/inspect -h               # the other flags
//
// The keys come from the environment: the current one from ENCSESSION_KEY, and
// those that are only read with from ENCSESSION_READ_KEYS, one a line. A key is any
// text, as in Python, with commas and spaces too, so lines keep the keys apart: a
// read key that holds a line break cannot be given. Empty lines are passed over.
//
// Without ENCSESSION_KEY it tells what can be seen without a key, and can be forged
// by anybody who can write to the database: how many items are sealed, and when, by
// the clear part of their tokens.
//
// It prints no content unless -show asks for it, and then escapes everything that
// could steer a terminal. It makes no tables and no files, and opens a SQLite file
// for reading only, unless an operation is asked for. It holds one session in
// memory at a time, beside the counts of all. Stored bytes that are not JSON are no
// item, to any reader, and are not counted. sqlstore and Python leave a SQLite file
// in WAL mode. SQLite reads such a file only for users who may write to its folder,
// or while somebody else has it open.
//
// In Redis it looks at every key of the database, once to count the sessions and
// once to go through them. If no key has the prefix of -prefix, there are no
// sessions, and no error. Other users of the machine can see arguments, and so the
// password in a URL or DSN.
//
// An operation finishes, and says how many items it could not judge: undecryptable
// and malformed ones, and plaintext that lies below such an item.
//
// The exit code is 0 if all is well, and 1 if the keys leave something
// undecryptable. It is 2 for an error in the arguments or on the way, and if an
// operation has left malformed items or plaintext. The demonstration exits with 0.
// To have the exit code, build the program: go run makes 1 of both.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
)

const (
	exitFine          = 0
	exitUndecryptable = 1
	exitError         = 2
)

func main() {
	// An interrupted operation stops between two batches, and can be run again. A second interrupt ends the program.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop)
	code := run(ctx, os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// environment looks up a variable, as os.LookupEnv does.
type environment func(name string) (value string, ok bool)

func run(ctx context.Context, args []string, lookup environment, stdout, stderr io.Writer) int {
	var code int
	var err error
	if len(args) == 0 {
		err = demonstrate(ctx, stdout, stderr)
	} else {
		code, err = inspectAs(ctx, args, lookup, stdout, stderr)
	}
	if errors.Is(err, flag.ErrHelp) {
		return exitFine
	}
	if err != nil {
		fmt.Fprintln(stderr, "inspect:", err)
		return exitError
	}
	return code
}

// inspectAs does what the arguments say.
func inspectAs(ctx context.Context, args []string, lookup environment, stdout, stderr io.Writer) (int, error) {
	c, err := parseArgs(args, stdout)
	if err != nil {
		return 0, err
	}
	if c.keys, err = keysFromEnvironment(lookup); err != nil {
		return 0, err
	}
	if err := c.checkKeys(); err != nil {
		return 0, err
	}
	return inspectDatabase(ctx, c, stdout, stderr)
}

func inspectDatabase(ctx context.Context, c config, stdout, stderr io.Writer) (int, error) {
	store, err := c.open(c)
	if err != nil {
		return 0, err
	}
	defer store.Close()
	i := inspector{config: c, store: store, stderr: stderr}
	document, err := i.inspect(ctx)
	if err != nil {
		return 0, err
	}
	if c.json {
		err = writeJSON(stdout, document)
	} else {
		err = writeText(stdout, c, document)
	}
	if err != nil {
		return 0, err
	}
	if n := document.problems(); n > 0 {
		return 0, errors.New(plural(n, "session", "sessions") + " had errors, as said above")
	}
	if document.Totals.Opened != nil && document.Totals.Undecryptable > 0 {
		return exitUndecryptable, nil
	}
	return exitFine, nil
}

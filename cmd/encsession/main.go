// Encsession is the operator's command for stores of encrypted conversations.
// It counts the items of all sessions by the keys that open them. It moves
// items to a new key, seals plaintext, removes old items, and erases the things
// that a person said.
//
//	go install github.com/encsession/encsession/cmd/encsession@latest
//
//	export ENCSESSION_STORE=sqlite:conversations.db   # or postgres://, mysql://, redis://, redis-cluster://
//	export ENCSESSION_KEY_FILE=/run/secrets/encsession-key
//	encsession audit
//	encsession purge --older-than 30d --dry-run
//
// The command "encsession help" has the rest. Keys come only from the
// environment, since other users of a machine can see the arguments of a
// command. Only show prints content. The file docs/operations.md describes the
// tasks of an operator, step by step.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// These are the exit codes.
const (
	exitWell        = 0
	exitFindings    = 1   // there are items that no key opens, malformed items or plaintext
	exitError       = 2   // nothing was changed
	exitPartly      = 3   // some sessions failed, or it stopped halfway
	exitInterrupted = 130 // by SIGINT or SIGTERM
)

func main() {
	// With this, a write to a closed pipe is an error. Otherwise the program
	// would end at once, in the middle of a change.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	code := run(ctx, os.Args[1:], environ(), os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// environment has the values of variables by name.
type environment map[string]string

// environ returns the environment of the process.
func environ() environment {
	all := make(environment)
	for _, variable := range os.Environ() {
		name, value, _ := strings.Cut(variable, "=")
		all[name] = value
	}
	return all
}

// app is one run of the command.
type app struct {
	environment    environment
	stdin          io.Reader
	stdout, stderr io.Writer
	flags          flags
	code           int // the exit code, unless there is an error
}

// exitCode is an error that ends the command with a code of its own.
type exitCode struct {
	code int
	error
}

func (e exitCode) Unwrap() error { return e.error }

func run(ctx context.Context, args []string, variables environment, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{environment: variables, stdin: stdin, stdout: stdout, stderr: stderr}
	root := a.rootCommand()
	root.SetArgs(append([]string{}, args...)) // with nil, cobra would take those of the process
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return a.code
	}
	text := strings.ReplaceAll(err.Error(), "\t", "  ") // pgx puts them at the beginning of lines
	fmt.Fprintln(stderr, "encsession:", escape(text, '\n'))
	if coded, ok := errors.AsType[exitCode](err); ok {
		return coded.code
	}
	if ctx.Err() != nil {
		return exitInterrupted
	}
	return exitError
}

// Agent is an agent that keeps its conversation encrypted in a SQLite file. It
// talks to the Responses API with OpenAI's Go client, and calls a tool. After
// two turns it starts itself again. The new process goes on with the
// conversation from the file.
//
// With no arguments it asks about trains that do not exist. It talks to a
// scripted API that it serves on loopback, or to the real one if OPENAI_API_KEY
// is set. The file is in a temporary folder, which is removed. With arguments,
// each argument is a question to ask:
//
//	ENCSESSION_KEY=… OPENAI_API_KEY=… go run ./examples/agent -db conversation.db "Is there a train to Gdańsk?"
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/examples/internal/show"
	"github.com/encsession/encsession/openaisession"
	"github.com/encsession/encsession/sqlstore"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	_ "modernc.org/sqlite"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, os.Args[1:])
	stop()
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "agent:", printable(err))
		os.Exit(1)
	}
}

// printable returns the text of an error on one line. Much of it may come from
// an API.
func printable(err error) string {
	return show.Printable(strings.Join(strings.Fields(err.Error()), " "))
}

// keyEnv names the variable that holds the master key, as a secret manager
// would set it.
const keyEnv = "ENCSESSION_KEY"

// apiKeyEnv names the variable from which OpenAI's client takes its key.
const apiKeyEnv = "OPENAI_API_KEY"

func run(ctx context.Context, w io.Writer, args []string) error {
	var s settings
	flags := flag.NewFlagSet("agent", flag.ContinueOnError)
	flags.StringVar(&s.file, "db", "", "SQLite `file` with the conversation; its key is in "+keyEnv)
	flags.StringVar(&s.scriptedAPI, "scripted-api", "", "`URL` of a scripted API to talk to instead of OpenAI's")
	flags.StringVar(&s.model, "model", openai.ChatModelGPT5_4Mini, "a `model` that reasons")
	if err := flags.Parse(args); err != nil {
		return err
	}
	questions := flags.Args()
	if s.file == "" && len(questions) > 0 {
		return errors.New("to ask something, say with -db where the conversation is")
	}
	if s.file == "" {
		return demonstrate(ctx, w, s)
	}
	if s.scriptedAPI == "" && os.Getenv(apiKeyEnv) == "" {
		return errors.New(apiKeyEnv + " is not set, and there is no -scripted-api")
	}
	s.key = os.Getenv(keyEnv)
	return s.converse(ctx, w, questions...)
}

// settings are the settings of a process.
type settings struct {
	file        string
	key         string // must not be printed
	scriptedAPI string // empty for the real one
	model       string
}

// converse asks the questions, one turn after another. It goes on from the
// history in the file.
func (s settings) converse(ctx context.Context, w io.Writer, questions ...string) error {
	db, err := sql.Open("sqlite", s.file)
	if err != nil {
		return err
	}
	defer db.Close()
	session, err := s.openSession(ctx, db)
	if err != nil {
		return err
	}
	history, err := session.GetItems(ctx, 0)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "Process %d. The session %q has %d items.\n", os.Getpid(), session.SessionID(ctx), len(history))
	a := agent{client: s.client(), session: session, model: s.model, w: w}
	for _, question := range questions {
		if err := a.turn(ctx, question); err != nil {
			return err
		}
	}
	return nil
}

// openSession opens the session, encrypted in the database, as items of the
// OpenAI Go SDK. Without a good key it touches nothing.
func (s settings) openSession(ctx context.Context, db *sql.DB) (*openaisession.Session, error) {
	key, err := encsession.ParseKey(s.key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", keyEnv, err)
	}
	store, err := sqlstore.New(db, sqlstore.SQLite)
	if err != nil {
		return nil, err
	}
	if err := store.CreateTables(ctx); err != nil {
		return nil, err
	}
	encrypted, err := encsession.New(store.Session("user-123"), key,
		encsession.WithTTL(24*time.Hour),
		encsession.WithStrictReads(), // under a wrong key, rather stop than forget
		encsession.WithObserver(encsession.LogDrops(slog.Default())))
	if err != nil {
		return nil, err
	}
	return openaisession.New(encrypted, openaisession.WithSendableHistory(),
		openaisession.WithOmissionHandler(func(_ context.Context, o openaisession.Omission) {
			fmt.Fprintln(os.Stderr, "agent: not sent:", o)
		}))
}

// client returns OpenAI's client. Without options that client takes its key
// from apiKeyEnv.
func (s settings) client() openai.Client {
	if s.scriptedAPI == "" {
		return openai.NewClient()
	}
	return openai.NewClient(option.WithBaseURL(s.scriptedAPI), option.WithAPIKey("none"), option.WithMaxRetries(0))
}

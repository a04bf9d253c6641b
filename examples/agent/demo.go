package main

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/examples/internal/show"
)

// These are the user's messages in the demonstration, before and after the
// restart.
const (
	secret = "XZ4839201"
	first  = "My passport is " + secret + ". Is there a train to Gdańsk?"
	second = "What does it cost?"
	third  = "Which passport did I tell you about?"
)

// demonstrate talks to the real API if its key is set, and to a scripted one
// otherwise.
func demonstrate(ctx context.Context, w io.Writer, s settings) (err error) {
	folder, err := os.MkdirTemp("", "encsession-agent-")
	if err != nil {
		return err
	}
	defer func() {
		if e := os.RemoveAll(folder); err == nil {
			err = e
		}
	}()
	if os.Getenv(apiKeyEnv) != "" {
		fmt.Fprintf(w, "OPENAI_API_KEY is set: this talks to the real Responses API, with the model %s.\n", s.model)
		return demonstrateIn(ctx, w, s, folder)
	}
	api := newScriptedAPI()
	defer api.Close()
	s.scriptedAPI = api.URL
	fmt.Fprintf(w, "This talks to a scripted Responses API at %s: there is no model.\n", api.URL)
	fmt.Fprintln(w, "Set OPENAI_API_KEY to talk to the real one.")
	return demonstrateIn(ctx, w, s, folder)
}

func demonstrateIn(ctx context.Context, w io.Writer, s settings, folder string) error {
	s.file = filepath.Join(folder, "conversation.db")
	s.key = encsession.GenerateKey() // a service generates its key once and keeps it in a secret manager
	show.Heading(w, "1. Two turns")
	if err := s.converse(ctx, w, first, second); err != nil {
		return err
	}
	if err := s.showFile(ctx, w); err != nil {
		return err
	}
	show.Heading(w, "3. The program again: another process, the same file, the same key")
	if err := s.restart(ctx, w, third); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nThe file is removed.")
	return nil
}

// restart runs this program again, with the question. The key goes into the
// environment. Other users could see it in the arguments.
func (s settings) restart(ctx context.Context, w io.Writer, question string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	child := exec.CommandContext(ctx, program, "-db", s.file, "-scripted-api", s.scriptedAPI, "-model", s.model, question)
	child.Env = append(os.Environ(), keyEnv+"="+s.key)
	child.Stdout, child.Stderr = w, os.Stderr
	if err := child.Run(); err != nil {
		return fmt.Errorf("the second process: %w", err)
	}
	return nil
}

// showFile shows the contents of the file, with plain SQL and as bytes.
func (s settings) showFile(ctx context.Context, w io.Writer) error {
	show.Heading(w, "2. What the file holds")
	db, err := sql.Open("sqlite", s.file)
	if err != nil {
		return err
	}
	defer db.Close()
	rows, err := show.Rows(ctx, db)
	if err != nil {
		return err
	}
	for _, row := range rows {
		fmt.Fprintf(w, "%3d  %s\n", row.ID, show.Envelope(row.MessageData, 60))
	}
	if err := db.Close(); err != nil { // so that all data is in one file
		return err
	}
	file, err := os.ReadFile(s.file)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "\nThe passport %s stands in its %d bytes %d times.\n", secret, len(file), bytes.Count(file, []byte(secret)))
	return nil
}

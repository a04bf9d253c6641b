package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/encsession/encsession"
)

// trace is the audit file. It gets one JSON line before each change and one
// after it, and one for each session that show prints. The nil trace writes
// nothing.
type trace struct {
	file *os.File
	line traceLine
}

// traceLine is a line of the audit file. It holds no content and no secret.
type traceLine struct {
	Version     int         `json:"version"`
	Time        time.Time   `json:"time"`
	Run         string      `json:"run"` // the same in the lines of one run
	User        string      `json:"user"`
	SudoUser    string      `json:"sudo_user,omitempty"`
	Host        string      `json:"host"`
	PID         int         `json:"pid"`
	Command     string      `json:"command"`
	Does        string      `json:"does"` // in words, as the user was told beforehand
	Store       string      `json:"store"`
	Shard       string      `json:"shard,omitempty"`
	Session     string      `json:"session,omitempty"` // if it is about one
	Fingerprint string      `json:"fingerprint,omitempty"`
	Older       []string    `json:"older_fingerprints,omitempty"`
	FirstUse    string      `json:"first_use,omitempty"`
	Outcome     string      `json:"outcome"` // "started", and then as in summaries
	Counts      *traceCount `json:"counts,omitempty"`
	Error       string      `json:"error,omitempty"`
}

// traceCount counts the sessions and items of a change, or of a show.
type traceCount struct {
	Sessions int      `json:"sessions"`
	Failed   int      `json:"failed"`
	Items    int      `json:"items"` // that were changed, removed or shown
	Skipped  *skipped `json:"skipped,omitempty"`
}

// openTrace opens the audit file, if one is named. Its lines name the command
// and the change.
func (a *app) openTrace(command, does, store string, ring *encsession.Keyring) (*trace, error) {
	file := a.flags.auditFile
	if text, ok := a.environment[auditFileVariable]; ok {
		if a.flags.auditFileSet {
			return nil, fmt.Errorf("--audit-file and %s are both given: leave one of them out", auditFileVariable)
		}
		if text == "" {
			return nil, fmt.Errorf("%s is set, but empty: unset it if you do without", auditFileVariable)
		}
		file = text
	}
	if file == "" {
		return nil, nil
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("audit file: %w", err)
	}
	t := &trace{file: f, line: traceLine{
		Version: lineVersion, Run: strings.ToLower(rand.Text()[:12]), PID: os.Getpid(),
		Command: command, Does: does, Store: store, Shard: a.flags.shardText(), FirstUse: a.flags.firstUse,
	}}
	t.line.User = fmt.Sprint(os.Getuid())
	if u, err := user.Current(); err == nil {
		t.line.User = u.Username
	}
	t.line.SudoUser = a.environment["SUDO_USER"]
	t.line.Host, _ = os.Hostname()
	if ring != nil {
		t.line.Fingerprint, t.line.Older = ring.Current.Fingerprint(), fingerprints(ring)
	}
	return t, nil
}

// write appends a line and makes sure that it is on the disk.
func (t *trace) write(outcome string, counts *traceCount, failure error) error {
	if t == nil {
		return nil
	}
	t.line.Time, t.line.Outcome, t.line.Counts = time.Now().UTC(), outcome, counts
	if failure != nil {
		t.line.Error = failure.Error()
	}
	err := writeLine(t.file, t.line)
	if err == nil {
		err = t.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("audit file: %w", err)
	}
	return nil
}

func (t *trace) close() {
	if t != nil {
		_ = t.file.Close() // every line has been synced
	}
}

package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/fleet"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
)

// report prints the results of one run over all sessions.
type report struct {
	*app
	ctx      context.Context // ends with that of the command, or if output fails
	cancel   context.CancelFunc
	store    store
	progress *progress
	pages    *pages
	found    []string // the first sessions with findings
	findings int      // the number of them
	output   error    // the first error of writing
}

// maxNamed is the number of sessions and of errors that a summary names.
const maxNamed = 10

// footer is the last row of a table.
type footer struct {
	title string
	row   table.Row
}

func (a *app) newReport(cmd *cobra.Command, s store, doing []string, header table.Row) *report {
	r := &report{app: a, store: s}
	r.ctx, r.cancel = context.WithCancel(cmd.Context())
	r.progress = newProgress(r.ctx, a.stderr, doing, s.Sessions(r.ctx))
	r.pages = &pages{w: a.stdout, header: header, before: r.progress.clear}
	return r
}

// sessions returns the listing of the store, with progress.
func (r *report) sessions() listing { return r.progress.listing(r.store.Sessions(r.ctx)) }

// options returns the options of fleet.
func (r *report) options(told func(fleet.Result)) []fleet.Option {
	f := &r.flags
	options := []fleet.Option{
		fleet.WithWorkers(f.workers), fleet.WithShard(f.shard, f.shards), fleet.WithPause(f.pause), fleet.WithResults(told),
	}
	if f.firstUse != "" {
		options = append(options, fleet.WithFirstUse(f.firstUse))
	}
	return options
}

// session counts the result of a session, and prints it with --all.
func (r *report) session(result fleet.Result, line sessionLine, row table.Row) {
	if result.Skipped != (encsession.SkippedError{}) {
		if r.findings++; len(r.found) < maxNamed {
			r.found = append(r.found, name(result.Session.ID))
		}
	}
	if !r.flags.all || r.output != nil {
		return
	}
	var err error
	if r.flags.json {
		line.Head, line.ID, line.Outcome = Head{lineVersion, "session"}, result.Session.ID, result.Outcome
		if result.Err != nil {
			line.Error = result.Err.Error()
		}
		r.progress.clear()
		err = writeLine(r.stdout, line)
	} else {
		err = r.pages.add(result.Session.ID, row)
	}
	r.failed(err)
}

// failed keeps the first error of writing, and ends the work, because nobody
// would read further output.
func (r *report) failed(err error) {
	if err != nil && r.output == nil {
		r.output = fmt.Errorf("standard output: %w", err)
		r.cancel()
	}
}

// finish prints the summary.
func (r *report) finish(line summaryLine, last footer, notes func(io.Writer)) error {
	defer r.cancel()
	if r.flags.json {
		return writeLine(r.stdout, line)
	}
	if line.Sessions == 0 && (line.Outcome == "failed" || line.Outcome == "interrupted") {
		return nil // the error says it all
	}
	if last.row != nil {
		if err := r.pages.print(last.title, last.row); err != nil {
			return err
		}
	} else if len(r.pages.rows) > 0 {
		if err := r.pages.print("", nil); err != nil {
			return err
		}
	}
	var out bytes.Buffer
	notes(&out)
	if len(r.found) > 0 && !r.flags.all {
		fmt.Fprintln(&out, "Findings are in these sessions; with --all there is a line for each session:")
		for _, id := range r.found {
			fmt.Fprintln(&out, "  "+cut(id, width-2))
		}
		if n := r.findings - len(r.found); n > 0 {
			fmt.Fprintf(&out, "  and %d more\n", n)
		}
	}
	_, err := r.stdout.Write(out.Bytes())
	return err
}

// summary turns the summary of fleet into the line that the command prints.
func (a *app) summary(command, shown string, s fleet.Summary, outcome string, err error) summaryLine {
	line := summaryLine{
		Head: Head{lineVersion, "summary"}, Command: command, Store: shown, Shard: a.flags.shardText(), Outcome: outcome,
		Sessions: s.Sessions, Erased: s.Erased, Failed: s.Failed, Unfinished: s.Unfinished, Findings: s.Findings,
	}
	if a.flags.ttl != encsession.NoExpiry {
		seconds := int64(a.flags.ttl / time.Second)
		line.TTLSeconds = &seconds
	}
	if failed, ok := errors.AsType[*fleet.FailedError](err); ok {
		for _, err := range failed.First {
			line.Errors = append(line.Errors, err.Error())
		}
	}
	return line
}

// outcomeOf returns the outcome of the work as a word and as an exit code.
func outcomeOf(ctx context.Context, s fleet.Summary, err error) (outcome string, code int) {
	_, onlySkipped := errors.Unwrap(err).(*encsession.SkippedError)
	worked := s.Sessions - s.Failed - s.Unfinished
	switch {
	case ctx.Err() != nil && err != nil:
		return "interrupted", exitInterrupted
	case (err == nil || onlySkipped) && s.Findings > 0:
		return "findings", exitFindings
	case err == nil:
		return "done", exitWell
	case worked > 0 || s.Items > 0:
		return "partly", exitPartly
	}
	return "failed", exitError
}

// end ends the command with a code. It shows the error, unless the error says
// no more than the summary.
func (a *app) end(code int, err error) error {
	a.code = code
	if code == exitWell || code == exitFindings {
		return nil
	}
	err = errors.New(plainly(err, a.flags.firstUse))
	if code == exitInterrupted {
		err = fmt.Errorf("interrupted; it can be run again: %w", err)
	}
	return exitCode{code, err}
}

// plainly returns the text of an error of fleet in the words of the command.
func plainly(err error, firstUse string) string {
	if unproven, ok := errors.AsType[*fleet.UnprovenKeyError](err); ok && !isFailed(err) {
		key := strings.Join(unproven.Fingerprints, ", ")
		advice := "compare the fingerprint with that in the startup log of the service, and if they are equal, copy it from there and run it again with --first-use FINGERPRINT"
		if key == rawFingerprint {
			advice = "a raw secret has no fingerprint to compare, so let the service write an item under it first"
		}
		return fmt.Sprintf("the current key, %s, opens no item of the store, so it may be mistyped; nothing was changed: %s", key, advice)
	}
	text := strings.TrimPrefix(err.Error(), "fleet: ")
	return strings.ReplaceAll(text, `; session "`, "\n"+`  session "`)
}

func isFailed(err error) bool {
	_, ok := errors.AsType[*fleet.FailedError](err)
	return ok
}

// skippedOf returns the counts of a summary, or nil if everything was judged.
func skippedOf(sessions int, s encsession.SkippedError) *skipped {
	if s == (encsession.SkippedError{}) {
		return nil
	}
	return &skipped{cmp.Or(sessions, 1), s.Undecryptable, s.Malformed, s.Plaintext}
}

package main

import (
	"fmt"
	"io"

	"github.com/encsession/encsession/fleet"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
)

func (a *app) sessionsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sessions",
		Short: "Count the sessions, or list them with --all",
		Long: "Count the sessions, or list them with --all. It needs no key. The times are those of the store, which everybody who\n" +
			"can write to it can change.",
		Args: noArguments, ValidArgsFunction: noCompletion,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.listSessions(cmd) },
	}
	a.flags.storeFlags(cmd.Flags())
	cmd.Flags().BoolVar(&a.flags.all, "all", false, "print a line for each session too, not the summary alone")
	return cmd
}

func (a *app) listSessions(cmd *cobra.Command) error {
	s, shown, err := a.openStore(cmd.Flags(), false)
	if err != nil {
		return err
	}
	defer s.Close()
	r := a.newReport(cmd, s, []string{"sessions"}, table.Row{"session", "created", "updated"})
	summary := fleet.Summary{}
	var created, updated Span
	for info, failure := range r.sessions() {
		if err = failure; err != nil {
			break
		}
		summary.Sessions++
		line := sessionLine{}
		if !info.CreatedAt.IsZero() {
			line.CreatedAt = &info.CreatedAt
		}
		if !info.UpdatedAt.IsZero() {
			line.UpdatedAt = &info.UpdatedAt
		}
		created.widen(line.CreatedAt)
		updated.widen(line.UpdatedAt)
		r.session(fleet.Result{Session: info}, line, table.Row{day(line.CreatedAt), day(line.UpdatedAt)})
	}
	outcome, code := outcomeOf(cmd.Context(), summary, err)
	if r.output != nil {
		return r.output
	}
	line := a.summary("sessions", shown, summary, outcome, err)
	line.TTLSeconds, line.Created, line.Updated = nil, &created, &updated
	err2 := r.finish(line, footer{}, func(w io.Writer) {
		fmt.Fprintf(w, "%s. Created: %s to %s. Updated: %s to %s.\n", plural(summary.Sessions, "session", "sessions"),
			day(created.Oldest), day(created.Newest), day(updated.Oldest), day(updated.Newest))
	})
	if err2 != nil {
		return err2
	}
	return a.end(code, err)
}

// checkExists returns an error if the session holds no items and the store does
// not list it, so that a mistyped ID is no success.
func checkExists(cmd *cobra.Command, s store, sessionID string) error {
	items, err := s.Session(sessionID).GetItems(cmd.Context(), 1)
	if err != nil {
		return fmt.Errorf("session %q: %w", sessionID, err)
	}
	if len(items) > 0 {
		return nil
	}
	for info, err := range s.Sessions(cmd.Context()) {
		if err != nil {
			return err
		}
		if info.ID == sessionID {
			return nil
		}
	}
	return fmt.Errorf("the store has no session %q", sessionID)
}

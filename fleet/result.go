package fleet

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/encsession/encsession"
)

// Outcome says how the work on a session has ended.
type Outcome string

// The outcomes of a session.
const (
	Done       Outcome = "done"       // all of it was worked on; see Result.Skipped for items that nobody could judge
	Erased     Outcome = "erased"     // its keys were destroyed on purpose: encsession.ErrKeyDestroyed
	Failed     Outcome = "failed"     // opening it, or the operation, has returned an error
	Unfinished Outcome = "unfinished" // the context has ended meanwhile
)

// Result is the result of one session.
type Result struct {
	Session encsession.SessionInfo // as the listing gave it
	Outcome Outcome

	// Changed counts the items that were changed or removed, whatever the
	// outcome.
	Changed int

	// Skipped counts the items that could not be judged: for [Audit] all that
	// are undecryptable, malformed or not encrypted, and for the other
	// operations those in their SkippedError.
	Skipped encsession.SkippedError

	// Report is the report of the session, from Audit only.
	Report encsession.Report

	// Err is nil if the outcome is Done.
	Err error
}

// Summary adds up the results of an operation.
type Summary struct {
	// Sessions counts the sessions that were seen. Each has one outcome. All
	// sessions other than those counted below are Done.
	Sessions                   int
	Erased, Failed, Unfinished int

	// Changed counts the sessions in which an item was changed or removed.
	// Findings counts the sessions with items that could not be judged. Both
	// count sessions of any outcome.
	Changed, Findings int

	// Items counts the items that were changed or removed.
	Items int

	// Skipped counts the items that could not be judged, as in Result.
	Skipped encsession.SkippedError

	// Report is the sum of all reports, from Audit only. Its Keys have one
	// entry for each fingerprint: first those of current keys, then the others,
	// both sorted by fingerprint. Raw secrets all have the fingerprint "raw",
	// so they have one entry for each place in the keyring instead, in its
	// order.
	Report encsession.Report
}

// maxErrors is how many errors of sessions a FailedError keeps.
const maxErrors = 10

// FailedError is the error of an operation in which sessions have failed. The
// operation has gone on with the others.
type FailedError struct {
	Failed, Sessions int     // how many have failed, and how many were seen
	First            []error // the first errors, ten at most, each with the ID of its session
}

// Error returns a text with the number of sessions and the first errors.
func (e *FailedError) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%d of %d sessions failed", e.Failed, e.Sessions)
	for _, err := range e.First {
		fmt.Fprintf(&text, "; %v", err)
	}
	if more := e.Failed - len(e.First); more > 0 {
		fmt.Fprintf(&text, "; and %d more", more)
	}
	return text.String()
}

// Unwrap returns the first errors.
func (e *FailedError) Unwrap() []error { return e.First }

// tally adds results up.
type tally struct {
	Summary
	first []error // the first errors of sessions
	keys  map[keyID]*keyTally
}

// keyID tells the keys of all sessions apart, as far as possible: by
// fingerprint. It tells raw secrets apart by their place in the keyring.
type keyID struct {
	fingerprint string
	place       int // 0 unless the secret is raw
}

func idOf(place int, fingerprint string) keyID {
	if fingerprint != rawFingerprint {
		place = 0
	}
	return keyID{fingerprint, place}
}

type keyTally struct {
	items int
	place int  // its first place in any keyring; a current key has 0
	met   bool // whether it is the current key of a session that holds items
}

// add adds one result.
func (t *tally) add(r Result) {
	t.Sessions++
	switch r.Outcome {
	case Erased:
		t.Erased++
	case Unfinished:
		t.Unfinished++
	case Failed:
		t.Failed++
		if len(t.first) < maxErrors {
			t.first = append(t.first, fmt.Errorf("session %q: %w", r.Session.ID, r.Err))
		}
	}
	if r.Changed > 0 {
		t.Changed++
		t.Items += r.Changed
	}
	if r.Skipped != (encsession.SkippedError{}) {
		t.Findings++
		t.Skipped.Undecryptable += r.Skipped.Undecryptable
		t.Skipped.Malformed += r.Skipped.Malformed
		t.Skipped.Plaintext += r.Skipped.Plaintext
	}
	t.merge(r.Report)
}

// merge adds the report of one session, which is zero if there is none.
func (t *tally) merge(r encsession.Report) {
	all := &t.Report
	all.Items += r.Items
	all.Readable += r.Readable
	all.Plaintext += r.Plaintext
	all.Expired += r.Expired
	all.Future += r.Future
	all.Undecryptable += r.Undecryptable
	all.Malformed += r.Malformed
	if all.Oldest.IsZero() || !r.Oldest.IsZero() && r.Oldest.Before(all.Oldest) {
		all.Oldest = r.Oldest
	}
	if r.Newest.After(all.Newest) {
		all.Newest = r.Newest
	}
	for place, count := range r.Keys {
		id := idOf(place, count.Fingerprint)
		key := t.keys[id]
		if key == nil {
			key = &keyTally{place: place}
			t.keys[id] = key
		}
		key.items += count.Items
		key.place = min(key.place, place)
		key.met = key.met || place == 0 && r.Items > 0
	}
}

// summary returns the sum, with the keys in order.
func (t *tally) summary() Summary {
	ids := slices.SortedFunc(maps.Keys(t.keys), func(a, b keyID) int {
		older := func(id keyID) int { return min(t.keys[id].place, 1) }
		return cmp.Or(cmp.Compare(older(a), older(b)), strings.Compare(a.fingerprint, b.fingerprint), cmp.Compare(a.place, b.place))
	})
	t.Report.Keys = nil
	for _, id := range ids {
		t.Report.Keys = append(t.Report.Keys, encsession.KeyCount{Fingerprint: id.fingerprint, Items: t.keys[id].items})
	}
	return t.Summary
}

// errors returns the errors of the operation. stop is the error that has ended
// it early, if any.
func (t *tally) errors(stop error) []error {
	var all []error
	if stop != nil {
		all = append(all, stop)
	}
	if t.Failed > 0 {
		all = append(all, &FailedError{t.Failed, t.Sessions, t.first})
	}
	return all
}

// join makes one error of several, in one line.
func join(name string, all []error) error {
	if len(all) == 0 {
		return nil
	}
	err := all[0]
	for _, next := range all[1:] {
		err = fmt.Errorf("%w; %w", err, next)
	}
	return fmt.Errorf("fleet: %s: %w", name, err)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/encsession/encsession"
)

type inspector struct {
	config
	store  store
	stderr io.Writer // for progress, and for what is wrong with single sessions
}

// inspect looks into every session, or into the one of -show.
func (i *inspector) inspect(ctx context.Context) (Document, error) {
	d := Document{Authenticated: i.keys != nil, Sessions: []Session{}, Totals: i.newCounts()}
	if i.ttl != encsession.NoExpiry {
		seconds := int64(i.ttl / time.Second)
		d.TTLSeconds = &seconds
	}
	if i.show != nil {
		session, err := i.showSession(ctx, *i.show)
		if err != nil {
			return Document{}, fmt.Errorf("session %q: %w", *i.show, err)
		}
		i.record(&d, session)
		return d, nil
	}

	doing := "Inspect"
	if i.operation != nil {
		doing = i.operation.doing
		d.Operation = &Operation{Name: i.operation.name}
	}
	if err := i.all(ctx, &d, doing); err != nil {
		if d.Operation != nil {
			err = fmt.Errorf("%w\n%s\nIt stopped there, and can be run again", err, d.Operation.summary(i.operation))
		}
		return Document{}, err
	}
	for _, s := range d.Sessions {
		if s.Error != "" {
			fmt.Fprintf(i.stderr, "inspect: session %q: %s\n", s.ID, s.Error)
		}
	}
	return d, nil
}

// all goes through all sessions, one after the other.
func (i *inspector) all(ctx context.Context, d *Document, doing string) error {
	total, err := i.countSessions(ctx)
	if err != nil {
		return err
	}
	progress := newProgress(i.stderr, doing, total)
	defer progress.finish()
	for info, err := range i.store.Sessions(ctx) {
		if err != nil {
			return err
		}
		session, err := i.session(ctx, info.ID, d.Operation)
		if err != nil {
			return fmt.Errorf("session %q: %w", info.ID, err)
		}
		i.record(d, session)
		progress.step()
	}
	if i.redis { // which has no order
		slices.SortFunc(d.Sessions, func(a, b Session) int { return strings.Compare(a.ID, b.ID) })
	}
	return nil
}

func (i *inspector) countSessions(ctx context.Context) (int, error) {
	n := 0
	for _, err := range i.store.Sessions(ctx) {
		if err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

func (i *inspector) record(d *Document, s Session) {
	d.Sessions = append(d.Sessions, s)
	if s.Counts != nil {
		d.Totals.add(*s.Counts)
	}
}

// newCounts returns counts of the kind that there is with or without a key.
func (i *inspector) newCounts() Counts {
	if i.keys == nil {
		return Counts{Unopened: new(Unopened)}
	}
	opened := Opened{Keys: []KeyCount{{Fingerprint: i.keys.Current.Fingerprint()}}}
	for _, key := range i.keys.Older {
		opened.Keys = append(opened.Keys, KeyCount{Fingerprint: key.Fingerprint()})
	}
	return Counts{Opened: &opened}
}

// session does the operation on a session, if there is one, and counts. A problem
// of this session alone becomes a part of the result; an error is about more than
// that.
func (i *inspector) session(ctx context.Context, sessionID string, did *Operation) (Session, error) {
	result := Session{ID: sessionID}
	if i.keys == nil {
		counts, err := i.countWithoutKey(ctx, sessionID)
		result.Counts = &counts
		return result, err
	}
	options := []encsession.Option{
		encsession.WithTTL(i.ttl),
		encsession.WithObserver(encsession.LogDrops(slog.New(slog.NewTextHandler(i.stderr, nil)))),
	}
	if i.past {
		options = append(options, encsession.WithUnreadableHistory())
	}
	session, err := encsession.New(i.store.Session(sessionID), *i.keys, options...)
	if err != nil {
		result.Error = err.Error() // an ID from which no key can be derived
		return result, nil
	}
	if i.operation != nil {
		n, err := i.operation.run(ctx, session)
		did.count(n)
		if err := did.found(err, &result); err != nil {
			return Session{}, err
		}
	}
	report, err := session.Audit(ctx)
	if err != nil {
		return Session{}, err
	}
	result.Counts = countsOf(report)
	return result, nil
}

func (o *Operation) count(items int) {
	o.Items += items
	if items > 0 {
		o.Sessions++
	}
}

// found records what the operation has found in a session. It returns an error that
// is about more than that session.
func (o *Operation) found(err error, s *Session) error {
	skipped, ok := errors.AsType[*encsession.SkippedError](err)
	switch {
	case ok:
		o.skip(*skipped)
		if skipped.Malformed+skipped.Plaintext > 0 { // the table has the undecryptable ones
			s.Error = err.Error()
		}
	case errors.Is(err, encsession.ErrUndecryptable): // SealPlaintext has refused
		s.Error = err.Error()
	default:
		return err
	}
	return nil
}

func (o *Operation) skip(s encsession.SkippedError) {
	if o.Skipped == nil {
		o.Skipped = new(Skipped)
	}
	o.Skipped.Sessions++
	o.Skipped.Undecryptable += s.Undecryptable
	o.Skipped.Malformed += s.Malformed
	o.Skipped.Plaintext += s.Plaintext
}

func countsOf(r encsession.Report) *Counts {
	c := &Counts{
		Items: r.Items,
		Opened: &Opened{
			Readable: r.Readable, Expired: r.Expired, Future: r.Future, Undecryptable: r.Undecryptable,
		},
		Plaintext: r.Plaintext,
		Malformed: r.Malformed,
	}
	for _, key := range r.Keys {
		c.Keys = append(c.Keys, KeyCount(key))
	}
	if !r.Oldest.IsZero() {
		c.Oldest, c.Newest = &r.Oldest, &r.Newest
	}
	return c
}

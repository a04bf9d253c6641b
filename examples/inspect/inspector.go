package main

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	for sessionID, err := range i.store.SessionIDs(ctx) {
		if err != nil {
			return err
		}
		session, err := i.session(ctx, sessionID, d.Operation)
		if err != nil {
			return fmt.Errorf("session %q: %w", sessionID, err)
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
	for _, err := range i.store.SessionIDs(ctx) {
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
	return Counts{Opened: &Opened{Keys: make([]int, 1+len(i.keys.read))}}
}

// session does the operation on a session, if there is one, and counts. What is wrong with this session alone becomes a
// part of the result; an error is about more than that.
func (i *inspector) session(ctx context.Context, sessionID string, did *Operation) (Session, error) {
	result := Session{ID: sessionID}
	if i.keys == nil {
		counts, err := i.countWithoutKey(ctx, sessionID)
		result.Counts = &counts
		return result, err
	}
	session, err := encsession.New(i.store.Session(sessionID), i.keys.current,
		encsession.WithReadKeys(i.keys.read...),
		encsession.WithTTL(i.ttl))
	if err != nil {
		result.Error = err.Error() // an ID from which no key can be derived
		return result, nil
	}
	if i.operation != nil {
		n, err := i.operation.run(ctx, session)
		did.count(n)
		if err != nil && !errors.Is(err, encsession.ErrMalformed) {
			return Session{}, err
		}
		if err != nil { // of SealPlaintext, which has carried on
			result.Error = err.Error()
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

func countsOf(r encsession.Report) *Counts {
	c := &Counts{
		Items: r.Items,
		Opened: &Opened{
			Readable: r.Readable, Expired: r.Expired, Future: r.Future, Undecryptable: r.Undecryptable, Keys: r.Keys,
		},
		Plaintext: r.Plaintext,
		Malformed: r.Malformed,
	}
	if !r.Oldest.IsZero() {
		c.Oldest, c.Newest = &r.Oldest, &r.Newest
	}
	return c
}

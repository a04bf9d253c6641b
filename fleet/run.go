package fleet

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"sync"
	"time"

	"github.com/encsession/encsession"
)

// OpenFunc opens the session with an ID from the listing. If there are several
// workers, several goroutines call it at the same time. An error that wraps
// [encsession.ErrKeyDestroyed] says that the session is erased.
//
// It must return the session that it was asked for: the ID of the session, or
// that of its store, must be sessionID.
type OpenFunc func(ctx context.Context, sessionID string) (*encsession.EncryptedSession, error)

// operation is one call of a func of this package.
type operation struct {
	config
	name     string
	sessions iter.Seq2[encsession.SessionInfo, error]
	open     OpenFunc
}

func newOperation(ctx context.Context, name string, sessions iter.Seq2[encsession.SessionInfo, error], open OpenFunc, opts []Option) (*operation, error) {
	c, err := newConfig(opts)
	switch {
	case ctx == nil:
		err = errors.New("context is nil")
	case sessions == nil:
		err = errors.New("listing of sessions is nil: give that of the store")
	case open == nil:
		err = errors.New("func that opens a session is nil")
	}
	if err != nil {
		return nil, join(name, []error{err})
	}
	return &operation{config: c, name: name, sessions: sessions, open: open}, nil
}

// work is the work on one session. It writes into the result. If it returns a
// SkippedError, the items in that are findings.
type work func(ctx context.Context, session *encsession.EncryptedSession, r *Result) error

// finished is the message of a worker about a session.
type finished struct {
	Result
	aborted  bool // whether the goroutine of the worker ended before the work was done
	panicked any  // the value of its panic; nil for runtime.Goexit
}

// run does the work for every session of the shard, and adds the results up. It
// also gives them to told, unless that is nil. If run has ended early, stop
// says why.
//
// The goroutine of the caller ranges over the listing, hands the sessions to
// the workers, and takes their results, so that nothing is shared.
func (o *operation) run(ctx context.Context, do work, told func(Result)) (t *tally, stop error) {
	t = &tally{keys: make(map[keyID]*keyTally)}
	working, cancel := context.WithCancel(ctx)
	listed := make(chan struct{}) // closed when there are no more sessions
	sessions := make(chan encsession.SessionInfo)
	results := make(chan finished)
	endListing := sync.OnceFunc(func() { close(listed); close(sessions) })

	var workers sync.WaitGroup
	for range o.workers {
		workers.Go(func() {
			for info := range sessions {
				o.session(working, info, do, results)
				o.rest(working, listed)
			}
		})
	}
	go func() { workers.Wait(); close(results) }()
	defer func() { // after a panic too, the workers must end first
		cancel()
		endListing()
		for range results {
		}
	}()

	take := func(f finished) {
		switch {
		case f.panicked != nil:
			panic(f.panicked)
		case f.aborted:
			runtime.Goexit()
		}
		t.add(f.Result)
		if told != nil {
			told(f.Result)
		}
	}
	stop = o.list(ctx, sessions, results, take)
	endListing()
	for f := range results {
		take(f)
	}
	if stop == nil && t.Unfinished > 0 {
		stop = ctx.Err()
	}
	return t, stop
}

// change does the work in every session. If there were items that it could not
// judge, the error holds a SkippedError.
func (o *operation) change(ctx context.Context, do work) (Summary, error) {
	t, stop := o.run(ctx, do, o.told)
	all := t.errors(stop)
	if t.Findings > 0 {
		skipped := t.Skipped
		all = append(all, &skipped)
	}
	return t.summary(), join(o.name, all)
}

// list hands the sessions of the shard to the workers, and takes their results
// meanwhile.
func (o *operation) list(ctx context.Context, sessions chan<- encsession.SessionInfo, results <-chan finished, take func(finished)) error {
	for info, err := range o.sessions {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("listing of sessions: %w", err)
		}
		if !o.has(info.ID) {
			continue
		}
		for handed := false; !handed; {
			select {
			case sessions <- info:
				handed = true
			case f := <-results:
				take(f)
			case <-ctx.Done():
			}
			if !handed && ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	return ctx.Err()
}

// session works on one session and sends its result, even if the work ends the
// goroutine.
func (o *operation) session(ctx context.Context, info encsession.SessionInfo, do work, results chan<- finished) {
	f := finished{Result: Result{Session: info}, aborted: true}
	defer func() {
		if f.aborted {
			f.panicked = recover()
		}
		results <- f
	}()
	f.Outcome, f.Err = Done, o.try(ctx, &f.Result, do)
	if f.Err != nil {
		switch {
		case errors.Is(f.Err, encsession.ErrKeyDestroyed):
			f.Outcome = Erased
		case ctx.Err() != nil:
			f.Outcome = Unfinished
		default:
			f.Outcome = Failed
		}
	}
	f.aborted = false
}

func (o *operation) try(ctx context.Context, r *Result, do work) error {
	session, err := o.open(ctx, r.Session.ID)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	if session.Unwrap() == nil {
		return errors.New("open has returned no session")
	}
	if id := session.SessionID(); id != r.Session.ID && session.Unwrap().SessionID() != r.Session.ID {
		return fmt.Errorf("open has returned session %q: it must return the session whose ID it is given", id)
	}
	err = do(ctx, session, r)
	if skipped := (*encsession.SkippedError)(nil); errors.As(err, &skipped) {
		r.Skipped, err = *skipped, nil
	}
	return err
}

// rest is the pause of a worker. It ends early if there is no more work.
func (o *operation) rest(ctx context.Context, listed <-chan struct{}) {
	if o.pause == 0 {
		return
	}
	timer := time.NewTimer(o.pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-listed:
	case <-ctx.Done():
	}
}

package sessiontest

import (
	"context"
	"iter"
	"testing"

	"github.com/encsession/encsession"
)

// Option gives [Run] a function that some checks need. A nil function counts as
// none.
type Option func(*options)

type options struct {
	reopen   func(t *testing.T)
	expire   func(t *testing.T)
	sessions func(ctx context.Context) iter.Seq2[encsession.SessionInfo, error]
}

// WithReopen checks that items survive a restart. The function reopen closes
// the store and opens it again, like a program that ends and is started again.
// From then on, the function that [Run] was given opens sessions of the new
// store. Handles that it returned before are not used any more.
func WithReopen(reopen func(t *testing.T)) Option {
	return func(o *options) { o.reopen = reopen }
}

// WithSessions checks how the store lists its sessions. The store may hold
// other sessions too. If all items of a session have been popped, it may be
// listed or not. If it has been cleared, it must not be listed.
func WithSessions(sessions func(ctx context.Context) iter.Seq2[encsession.SessionInfo, error]) Option {
	return func(o *options) { o.sessions = sessions }
}

// WithExpiry checks the store's own expiry. The store that [Run] works with
// must let sessions expire, but only after a time longer than the checks take.
// The function expire moves time on, for the store and its server, until all
// sessions that hold items have expired.
func WithExpiry(expire func(t *testing.T)) Option {
	return func(o *options) { o.expire = expire }
}

// subject returns the functions of the options for the checks of t.
func (o options) subject(t *testing.T) subject {
	s := subject{sessions: o.sessions}
	if o.reopen != nil {
		s.reopen = func() { o.reopen(t) }
	}
	if o.expire != nil {
		s.expire = func() { o.expire(t) }
	}
	return s
}

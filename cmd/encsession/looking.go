package main

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/encsession/encsession"
)

// looking is a session that cannot be changed. A pass over it runs as usual and
// counts the changes that it would make. So a dry run goes the same way as the
// change. Commands that only read use it too.
type looking struct {
	encsession.Session
	saw func(encsession.Item) // is told of each stored item; may be nil
}

var _ encsession.Rewriter = looking{}

var errLooking = errors.New("this session is open for looking only")

func (l looking) AddItems(context.Context, ...encsession.Item) error { return errLooking }
func (l looking) ClearSession(context.Context) error                 { return errLooking }
func (l looking) PopItem(context.Context) (encsession.Item, error)   { return nil, errLooking }

// RewriteItems implements encsession.Rewriter.
func (l looking) RewriteItems(ctx context.Context, first int, edit func([]encsession.Item) ([]encsession.Item, bool)) (changed int, err error) {
	rewriter, ok := l.Session.(encsession.Rewriter)
	if !ok {
		return 0, fmt.Errorf("%w: %T is not a Rewriter", errors.ErrUnsupported, l.Session)
	}
	_, err = rewriter.RewriteItems(ctx, first, func(stored []encsession.Item) ([]encsession.Item, bool) {
		if l.saw != nil {
			for _, item := range stored {
				l.saw(item)
			}
		}
		edited, more := edit(stored)
		for i, item := range edited {
			if item == nil || string(item) != string(stored[i]) {
				changed++
			}
		}
		return nil, more
	})
	return changed, err
}

// claimedTime returns the time in the clear part of an envelope's token: a
// version of one byte, then eight bytes of Unix seconds. It is nil if there is
// none. Only the key can prove that the time is genuine.
func claimedTime(stored encsession.Item) *time.Time {
	var members map[string]json.RawMessage // not a struct, which would take "Payload" too
	var token string
	const version, prefix = 0x80, 9
	if json.Unmarshal(stored, &members) != nil || json.Unmarshal(members["payload"], &token) != nil ||
		len(token) < base64.URLEncoding.EncodedLen(prefix) {
		return nil
	}
	clear, err := base64.URLEncoding.DecodeString(token[:base64.URLEncoding.EncodedLen(prefix)])
	if err != nil || clear[0] != version {
		return nil
	}
	end := time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC) // the last year that JSON can hold
	seconds := min(binary.BigEndian.Uint64(clear[1:]), uint64(end.Unix()))
	t := time.Unix(int64(seconds), 0).UTC()
	return &t
}

// Span reaches from the oldest to the newest of some times.
type Span struct {
	Oldest *time.Time `json:"oldest"` // null if there is none
	Newest *time.Time `json:"newest"`
}

// widen makes the span enclose a time.
func (s *Span) widen(t *time.Time) {
	if t == nil || t.IsZero() {
		return
	}
	if s.Oldest == nil || t.Before(*s.Oldest) {
		s.Oldest = t
	}
	if s.Newest == nil || t.After(*s.Newest) {
		s.Newest = t
	}
}

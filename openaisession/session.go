package openaisession

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/encsession/encsession"
	"github.com/openai/openai-go/v3/responses"
)

// Session is a view of an [encsession.Session] whose items are input items of
// the Responses API. [New] makes one; the zero Session returns errors. It keeps
// nothing but the underlying Session, and is as safe for concurrent use as
// that.
//
// Apart from AddOutput, its methods are those of the interface memory.Session
// in github.com/nlpodyssey/openai-agents-go.
type Session struct {
	session encsession.Session
	config  config
}

// New returns a view of s. It refuses a nil Session, a nil option, and an
// option with an invalid argument.
func New(s encsession.Session, opts ...Option) (*Session, error) {
	if isNil(s) {
		return nil, errors.New("openaisession: New: session is nil")
	}
	var c config
	for i, opt := range opts {
		if opt == nil {
			return nil, fmt.Errorf("openaisession: New: option %d is nil", i)
		}
		opt(&c)
	}
	if c.err != nil {
		return nil, fmt.Errorf("openaisession: New: %w", c.err)
	}
	return &Session{session: s, config: c}, nil
}

// isNil reports whether a session is nil, or an interface around a nil pointer,
// map, func or the like.
func isNil(s any) bool {
	switch v := reflect.ValueOf(s); v.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Map, reflect.Func, reflect.Chan, reflect.Slice:
		return v.IsNil()
	}
	return false
}

var errNotMade = errors.New("this Session was not made by New")

func (s *Session) check() error {
	if s == nil || s.session == nil {
		return errNotMade
	}
	return nil
}

// SessionID returns the ID of the session. If the Session was not made by
// [New], the ID is empty.
func (s *Session) SessionID(context.Context) string {
	if s.check() != nil {
		return ""
	}
	return s.session.SessionID()
}

// GetItems returns the newest limit items, oldest first, or all of them if
// limit is 0 or less. Options make it leave some out, and [WithWholeTurns]
// changes the meaning of a limit. The returned items belong to the caller. No
// item makes a read fail. The package comment says how items that openai-go
// does not know come back.
func (s *Session) GetItems(ctx context.Context, limit int) ([]responses.ResponseInputItemUnionParam, error) {
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("openaisession: GetItems: %w", err)
	}
	h, err := s.read(ctx, limit)
	if err != nil {
		return nil, err
	}
	values := make([]responses.ResponseInputItemUnionParam, 0, len(h))
	for i := range h {
		if e := &h[i]; e.omitted == "" {
			values = append(values, decode(e.item, e.members))
		} else if s.config.onOmission != nil {
			s.config.onOmission(ctx, Omission{SessionID: s.session.SessionID(),
				Reason: e.omitted, Type: e.Type, ID: e.shownID()})
		}
	}
	return values, nil
}

// AddItems adds items in one call of the underlying Session: all of them or,
// with an error, none. It does not keep them.
//
// The error names the first item that cannot be added, by its index, and shows
// no content. If an item is not a JSON object, such as one with no variant set,
// the error wraps [encsession.ErrInvalidItem]. It is also an error if an extra
// field hides a field that was set: see the package comment.
func (s *Session) AddItems(ctx context.Context, items []responses.ResponseInputItemUnionParam) error {
	if err := s.check(); err != nil {
		return fmt.Errorf("openaisession: AddItems: %w", err)
	}
	encoded := make([]encsession.Item, len(items))
	for i, item := range items {
		var err error
		if encoded[i], err = encode(item); err != nil {
			return fmt.Errorf("openaisession: AddItems: item %d: %w", i, err)
		}
	}
	return s.session.AddItems(ctx, encoded...)
}

// AddOutput adds the answer of the model: response.Output, or some of it. Like
// AddItems, it adds all items or none.
//
// It stores the JSON that the API sent, without white space between tokens. So
// a change to a field of an output item is not stored. If an output item was
// made by hand, the error wraps [encsession.ErrInvalidItem], since its type
// does not tell a missing field from an empty one. Make an input item instead,
// and use AddItems.
func (s *Session) AddOutput(ctx context.Context, output []responses.ResponseOutputItemUnion) error {
	if err := s.check(); err != nil {
		return fmt.Errorf("openaisession: AddOutput: %w", err)
	}
	encoded := make([]encsession.Item, len(output))
	for i, item := range output {
		var err error
		if encoded[i], err = encodeOutput(item); err != nil {
			return fmt.Errorf("openaisession: AddOutput: item %d: %w", i, err)
		}
	}
	return s.session.AddItems(ctx, encoded...)
}

// PopItem removes the newest item and returns it, or returns nil if there is
// none. Options do not change that. The returned item belongs to the caller.
func (s *Session) PopItem(ctx context.Context) (*responses.ResponseInputItemUnionParam, error) {
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("openaisession: PopItem: %w", err)
	}
	item, err := s.session.PopItem(ctx)
	if err != nil || item == nil {
		return nil, err
	}
	e := newHistory([]encsession.Item{item}, false)[0]
	value := decode(e.item, e.members)
	return &value, nil
}

// ClearSession removes all items.
func (s *Session) ClearSession(ctx context.Context) error {
	if err := s.check(); err != nil {
		return fmt.Errorf("openaisession: ClearSession: %w", err)
	}
	return s.session.ClearSession(ctx)
}

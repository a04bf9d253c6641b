package openaisession

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/encsession/encsession"
	"github.com/openai/openai-go/v3/responses"
)

// Session is a view of an encsession.Session whose items are input items of the Responses API. New makes one; the
// zero Session returns errors. It keeps nothing but the Session that it was made from, and is as safe for concurrent
// use as that is.
//
// Its methods, but for AddOutput, are those of the interface memory.Session in
// github.com/nlpodyssey/openai-agents-go.
type Session struct {
	session encsession.Session
	config  config
}

type config struct {
	withoutOrphans bool
	onOrphan       func(context.Context, Orphan) // may be nil
}

// Option is an option of New. The nil Option is an error.
type Option func(*config)

// New returns a view of s. It refuses a nil Session and a nil option.
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
	return &Session{session: s, config: c}, nil
}

// isNil reports whether a session is nil, or an interface around a nil pointer, map, func or the like.
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

// SessionID returns the ID of the session, and the empty string where the Session was not made by New.
func (s *Session) SessionID(context.Context) string {
	if s.check() != nil {
		return ""
	}
	return s.session.SessionID()
}

// GetItems returns the newest limit items, oldest first; all of them where limit is 0 or less. With WithoutOrphans it
// returns fewer where some of them are orphans. What is returned belongs to the caller. No item makes a read fail: see
// the package comment for what becomes of one that openai-go does not know.
func (s *Session) GetItems(ctx context.Context, limit int) ([]responses.ResponseInputItemUnionParam, error) {
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("openaisession: GetItems: %w", err)
	}
	items, err := s.session.GetItems(ctx, limit)
	if err != nil {
		return nil, err
	}
	if s.config.withoutOrphans {
		items = s.dropOrphans(ctx, items)
	}
	values := make([]responses.ResponseInputItemUnionParam, len(items))
	for i, item := range items {
		values[i] = decode(item, itemMembers(item))
	}
	return values, nil
}

// AddItems adds items in one call of the underlying Session: all of them or, with an error, none. The error names the
// first item that cannot be added, by its index, and shows no content. It wraps encsession.ErrInvalidItem where an item is
// not a JSON object, such as one with no variant set. An item with a field that was set in vain, since an extra field hides
// it, is an error too: see the package comment. The items are not kept.
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

// AddOutput adds what the model has answered: response.Output, or some of it. It is all or nothing, as AddItems is.
//
// What is stored is the JSON that the API sent, without the white space round its tokens: a change to a field of an
// output item is not stored. An output item that was not decoded from JSON, but made by hand, is an error that wraps
// encsession.ErrInvalidItem, for its type does not tell a field that is missing from one that is empty. Make an input
// item of it and use AddItems.
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

// PopItem removes the newest item and returns it, or nil where there is none. WithoutOrphans changes nothing here. What
// is returned belongs to the caller.
func (s *Session) PopItem(ctx context.Context) (*responses.ResponseInputItemUnionParam, error) {
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("openaisession: PopItem: %w", err)
	}
	item, err := s.session.PopItem(ctx)
	if err != nil || item == nil {
		return nil, err
	}
	value := decode(item, itemMembers(item))
	return &value, nil
}

// ClearSession removes all items.
func (s *Session) ClearSession(ctx context.Context) error {
	if err := s.check(); err != nil {
		return fmt.Errorf("openaisession: ClearSession: %w", err)
	}
	return s.session.ClearSession(ctx)
}

func itemMembers(item encsession.Item) []member {
	if !encsession.ValidItem(item) {
		return nil
	}
	return membersOf(bytes.TrimSpace(item))
}

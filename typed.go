package encsession

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
)

// TypedSession is a view of a Session whose items are decoded into T and encoded from T with encoding/json.
// Its methods are those of the interface memory.Session in github.com/nlpodyssey/openai-agents-go. It holds
// nothing but the Session: copies are the same view, and it is as safe for concurrent use as the Session is.
//
// The items of that framework, which are those of the OpenAI Go SDK, are unions that encoding/json alone loses parts of,
// or cannot decode: for them there is the module github.com/encsession/encsession/openaisession.
//
// What T does not hold is lost when an item is decoded and added again. For items that other programs write, choose a T
// that keeps unknown members, such as Item or map[string]json.RawMessage; map[string]any rounds large integers. One item
// that T cannot take fails the whole read; read the Session itself to see the others.
type TypedSession[T any] struct {
	session Session
}

// Typed returns a view of s whose items are values of T. T must encode to a JSON object.
func Typed[T any](s Session) TypedSession[T] {
	return TypedSession[T]{session: s}
}

// SessionID returns the ID of the session, and the empty string where Typed was given a nil Session.
func (t TypedSession[T]) SessionID(context.Context) string {
	if t.session == nil {
		return ""
	}
	return t.session.SessionID()
}

// GetItems returns the newest limit items, oldest first; all of them where limit is 0 or less. An item that
// cannot be decoded into T is a *DecodeError, and no items are returned.
func (t TypedSession[T]) GetItems(ctx context.Context, limit int) ([]T, error) {
	if t.session == nil {
		return nil, fmt.Errorf("encsession: GetItems: %w", errNoSession)
	}
	items, err := t.session.GetItems(ctx, limit)
	if err != nil {
		return nil, err
	}
	values := make([]T, len(items))
	for i, item := range items {
		if err := decode(item, &values[i], len(items)-1-i); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// AddItems encodes all values and then adds them in one call: all of them or none.
func (t TypedSession[T]) AddItems(ctx context.Context, values []T) error {
	if t.session == nil {
		return fmt.Errorf("encsession: AddItems: %w", errNoSession)
	}
	items := make([]Item, len(values))
	for i, value := range values {
		item, err := json.Marshal(value)
		if err != nil {
			return &encodeError{index: i, typ: reflect.TypeFor[T](), err: err}
		}
		items[i] = item
	}
	return t.session.AddItems(ctx, items...)
}

// PopItem removes the newest item and returns it, or nil where there is none. Where the removed item cannot be
// decoded into T, the error is a *DecodeError that carries it, so that it is not lost.
func (t TypedSession[T]) PopItem(ctx context.Context) (*T, error) {
	if t.session == nil {
		return nil, fmt.Errorf("encsession: PopItem: %w", errNoSession)
	}
	item, err := t.session.PopItem(ctx)
	if err != nil || item == nil {
		return nil, err
	}
	value := new(T)
	if err := decode(item, value, 0); err != nil {
		return nil, err
	}
	return value, nil
}

// ClearSession removes all items.
func (t TypedSession[T]) ClearSession(ctx context.Context) error {
	if t.session == nil {
		return fmt.Errorf("encsession: ClearSession: %w", errNoSession)
	}
	return t.session.ClearSession(ctx)
}

var errNoSession = errors.New("no session")

func decode[T any](item Item, value *T, position int) error {
	if err := json.Unmarshal(item, value); err != nil {
		return &DecodeError{Item: item, Err: err, position: position, typ: reflect.TypeFor[T]()}
	}
	return nil
}

// DecodeError is returned by TypedSession.GetItems and TypedSession.PopItem for an item that cannot be decoded
// into the type of the view. Its text names the position of the item, counted from the newest, which is 0, and
// the type, but no content; Item and Err may show content.
type DecodeError struct {
	Item Item  // the item, which PopItem has removed from the session; it belongs to the caller
	Err  error // what encoding/json said

	position int
	typ      reflect.Type
}

// Error names the position of the item and the type, and shows no content.
func (e *DecodeError) Error() string {
	return fmt.Sprintf("encsession: item %d from the newest cannot be decoded into %v", e.position, e.typ)
}

// Format writes what Error returns, whatever the verb.
func (e DecodeError) Format(f fmt.State, _ rune) { io.WriteString(f, e.Error()) }

// MarshalText returns what Error returns, so that encoding/json and log/slog show no content either.
func (e DecodeError) MarshalText() ([]byte, error) { return []byte(e.Error()), nil }

// Unwrap returns what encoding/json said.
func (e *DecodeError) Unwrap() error { return e.Err }

// encodeError is an error of encoding/json without its text, which may quote the value.
type encodeError struct {
	index int
	typ   reflect.Type
	err   error
}

func (e *encodeError) Error() string {
	return fmt.Sprintf("encsession: AddItems: item %d: %v cannot be encoded as JSON", e.index, e.typ)
}

func (e *encodeError) Unwrap() error { return e.err }

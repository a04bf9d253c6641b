package encsession

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
)

// TypedSession is a view of a [Session] whose items are decoded into T and
// encoded from T with encoding/json. It holds nothing but the Session: copies
// are the same view, and it is as safe for concurrent use as the Session is.
// The zero TypedSession returns errors.
//
// The items of the OpenAI Go SDK are unions. Package encoding/json alone cannot
// decode them, or loses parts of them. For them, use the module
// github.com/encsession/encsession/openaisession.
//
// Members that T does not hold are lost if an item is decoded and added again.
// For items that other programs write, choose a T that keeps unknown members,
// such as [Item] or map[string]json.RawMessage; map[string]any rounds large
// integers. One item that T cannot take fails the whole read; read the Session
// itself to see the others.
type TypedSession[T any] struct {
	session Session
}

// Typed returns a view of s whose items are values of T. T must encode to a
// JSON object.
func Typed[T any](s Session) TypedSession[T] {
	return TypedSession[T]{session: s}
}

// SessionID returns the ID of the session, or the empty string if [Typed] was
// given a nil Session.
func (t TypedSession[T]) SessionID() string {
	return t.store().SessionID()
}

// GetItems returns the newest limit items, oldest first, or all of them if
// limit is 0 or less. If an item cannot be decoded into T, GetItems returns no
// items and a [*DecodeError].
func (t TypedSession[T]) GetItems(ctx context.Context, limit int) ([]T, error) {
	items, err := t.store().GetItems(ctx, limit)
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

// AddItems encodes all values and then adds them in one call: all of them or
// none.
func (t TypedSession[T]) AddItems(ctx context.Context, values ...T) error {
	items := make([]Item, len(values))
	for i, value := range values {
		item, err := json.Marshal(value)
		if err != nil {
			text := fmt.Sprintf("encsession: AddItems: item %d: %v cannot be encoded as JSON", i, reflect.TypeFor[T]())
			return &encodeError{text: text, err: hide(err)}
		}
		items[i] = item
	}
	return t.store().AddItems(ctx, items...)
}

// PopItem removes the newest item and returns it, or nil if there is none. If
// the removed item cannot be decoded into T, the error is a [*DecodeError] that
// carries it, so that it is not lost.
func (t TypedSession[T]) PopItem(ctx context.Context) (*T, error) {
	item, err := t.store().PopItem(ctx)
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
	return t.store().ClearSession(ctx)
}

// store returns the session, or one whose methods return errors.
func (t TypedSession[T]) store() Session {
	if isNil(t.session) {
		return (*EncryptedSession)(nil)
	}
	return t.session
}

func decode[T any](item Item, value *T, position int) error {
	if err := json.Unmarshal(item, value); err != nil {
		return &DecodeError{position: position, typ: reflect.TypeFor[T]().String(), item: hide(item), err: hide(err)}
	}
	return nil
}

// DecodeError is returned by [TypedSession.GetItems] and [TypedSession.PopItem]
// for an item that cannot be decoded into the type of the view. However it is
// printed, it shows the type and the position of the item, counted from the
// newest, which is 0. It shows neither the item nor the cause, which may quote
// the item.
type DecodeError struct {
	position int
	typ      string
	item     hidden[Item]
	err      hidden[error]
}

// Error returns a text with the position of the item and the type.
func (e *DecodeError) Error() string {
	return fmt.Sprintf("encsession: item %d from the newest cannot be decoded into %s", e.position, e.typ)
}

// Item returns the item, which belongs to the caller. If the error is from
// PopItem, the session does not hold the item any more.
func (e *DecodeError) Item() Item { return e.item.value() }

// Unwrap returns the error of encoding/json, which may quote the item.
func (e *DecodeError) Unwrap() error { return e.err.value() }

// encodeError is an error of encoding/json without its text, which may quote
// the value.
type encodeError struct {
	text string
	err  hidden[error]
}

func (e *encodeError) Error() string { return e.text }

func (e *encodeError) Unwrap() error { return e.err() }

package redisstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/encsession/encsession"
)

// Session is a handle on one session of a [Store]. It implements
// [encsession.Session] and [encsession.Rewriter]. [Store.Session] makes one;
// the zero Session returns errors. A Session is safe for concurrent use.
type Session struct {
	store *Store
	id    string
}

// SessionID returns the ID that was given to [Store.Session].
func (s *Session) SessionID() string {
	if s == nil {
		return ""
	}
	return s.id
}

func (s *Session) check(ctx context.Context) error {
	if s == nil {
		return errors.New("this Session was not made by Store.Session")
	}
	if err := s.store.check(ctx); err != nil {
		return err
	}
	return checkID(s.id)
}

func (s *Session) keys() keys { return s.store.config.keys(s.id) }

// AddItems appends items in the given order. It adds all of them or, if it
// returns an error, none. It takes at most 1,000,000 items at a time. Each must
// be JSON in valid UTF-8. Redis keeps them byte for byte. The session's times
// come from this program's clock, in whole seconds.
func (s *Session) AddItems(ctx context.Context, items ...Item) error {
	if err := s.addItems(ctx, items); err != nil {
		return fmt.Errorf("redisstore: AddItems: %w", err)
	}
	return nil
}

// maxItems is the most items that AddItems takes. Redis limits the arguments of
// a command to 1,048,576.
const maxItems = 1_000_000

func (s *Session) addItems(ctx context.Context, items []Item) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	if len(items) > maxItems {
		return fmt.Errorf("%d items at a time are too many: add at most %d", len(items), maxItems)
	}
	args := append(make([]any, 0, 2+len(items)), time.Now().Unix(), s.ttl())
	for i, item := range items {
		if !isJSON(item) {
			return fmt.Errorf("item %d: %w", i, errNotJSON)
		}
		args = append(args, []byte(item))
	}
	if len(items) == 0 {
		return nil
	}
	reply, err := s.call(ctx, addScript, args...)
	if err == nil && reply != any("OK") {
		return errReply
	}
	return err
}

func (s *Session) ttl() string {
	if s.store.config.ttl == 0 {
		return ""
	}
	return strconv.FormatInt(s.store.config.ttl.Milliseconds(), 10)
}

// PopItem removes the newest item and returns it. If there is none, it returns
// nil. Each item is returned to one caller, whatever the number of connections
// and processes. Elements that are not JSON stay where they are.
//
// If the connection breaks before the reply arrives, PopItem returns an error,
// and the item may be gone.
func (s *Session) PopItem(ctx context.Context) (Item, error) {
	item, err := s.popItem(ctx)
	if err != nil {
		return nil, fmt.Errorf("redisstore: PopItem: %w", err)
	}
	return item, nil
}

// maxPops is the most calls that PopItem makes. It makes another call each time
// that another client has changed the end of the list, or that it must look
// further down.
const maxPops = 1000

func (s *Session) popItem(ctx context.Context) (Item, error) {
	window := 1
	var newest []any // the elements from the newest item on, once it has been found
	for range maxPops {
		if err := s.check(ctx); err != nil {
			return nil, err
		}
		reply, err := s.call(ctx, popScript, append([]any{window}, newest...)...)
		if err != nil {
			return nil, err
		}
		if removed, ok := reply.(int64); ok && removed == 1 && newest != nil {
			return Item(newest[0].(string)), nil
		}
		elements, ok := reply.([]any)
		if !ok || len(elements) > window {
			return nil, errReply
		}
		newest = nil
		for i, element := range elements {
			text, ok := element.(string)
			if !ok {
				return nil, errReply
			}
			if isJSON([]byte(text)) {
				newest = elements[i:]
			}
		}
		if newest == nil && len(elements) < window {
			return nil, nil
		}
		if newest == nil {
			window = double(window)
		}
	}
	return nil, errors.New("other clients keep changing the end of the session: try again")
}

// ClearSession deletes the session's keys, and with them the elements that are
// not JSON.
func (s *Session) ClearSession(ctx context.Context) error {
	if err := s.clearSession(ctx); err != nil {
		return fmt.Errorf("redisstore: ClearSession: %w", err)
	}
	return nil
}

func (s *Session) clearSession(ctx context.Context) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	reply, err := s.call(ctx, clearScript)
	if deleted, ok := reply.(int64); err == nil && (!ok || deleted < 0 || deleted > 3) {
		return errReply
	}
	return err
}

var errNotJSON = errors.New("it is not JSON in valid UTF-8")

// isJSON accepts all JSON, since Python may have stored other values than
// objects. It tries the fast check for objects first: nearly all items are
// objects.
func isJSON(data []byte) bool {
	return encsession.ValidItem(data) || json.Valid(data) && utf8.Valid(data)
}

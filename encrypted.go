package encsession

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"
	"time"
)

var (
	_ Session  = (*EncryptedSession)(nil)
	_ Rewriter = (*EncryptedSession)(nil)
)

// EncryptedSession is a [Session] that keeps its items encrypted in another
// Session, the store. [New] makes one; the zero EncryptedSession returns
// errors. It is safe for concurrent use, and never shows a key or an item,
// however it is printed.
//
// Reads leave out every item that is not readable: items that have expired,
// that are from the future, that no key opens, that are malformed, or that are
// not encrypted. An observer, set by [WithObserver], is told about them. Under
// [WithStrictReads], an item that is not readable is an error unless it has
// expired. [WithPlaintext] makes items that are not encrypted readable.
type EncryptedSession struct {
	config
	store  hidden[Session]
	source hidden[KeySource]      // nil if the keys never change
	fixed  keyset                 // the keys, if they never change
	keys   atomic.Pointer[keyset] // the keys of the last call; nil before the first one and after an error of the source

	// popping holds a token while a PopItem of this handle works on a store
	// that is not a Rewriter. It is a channel, not a mutex, so that waiting for
	// it ends with the context.
	popping chan struct{}
}

// New returns an EncryptedSession that keeps its items in store, sealed under a
// key that is derived from a master key and the store's session ID. keys is a
// [Key], a [Keyring], or another [KeySource], which is asked once per call. New
// does not ask it, and does not use the store beyond asking for its ID.
//
// New refuses a store that is nil or an EncryptedSession itself, nil keys, the
// zero Key, a nil or invalid option, and a session ID that is empty, not UTF-8,
// or holds U+0000.
func New(store Session, keys KeySource, opts ...Option) (*EncryptedSession, error) {
	s, err := newEncrypted(store, keys, opts)
	if err != nil {
		s = nil
	}
	return s, wrap("New", err)
}

func newEncrypted(store Session, keys KeySource, opts []Option) (*EncryptedSession, error) {
	if isNil(store) {
		return nil, errors.New("store is nil")
	}
	if _, twice := store.(*EncryptedSession); twice {
		return nil, errors.New("store is an EncryptedSession, so items would be sealed twice: give New the session that it wraps")
	}
	c, err := newConfig(store, opts)
	if err != nil {
		return nil, err
	}
	s := &EncryptedSession{config: c, store: hide(store), popping: make(chan struct{}, 1)}
	switch k := keys.(type) {
	case Key:
		return s, s.derive(&s.fixed, Keyring{Current: k})
	case Keyring:
		return s, s.derive(&s.fixed, k)
	}
	if isNil(keys) {
		return nil, errors.New("keys is nil: give a Key, a Keyring or another KeySource")
	}
	s.source = hide(keys)
	return s, nil
}

// isNil reports whether v is nil, or an interface around a nil pointer, map,
// func or the like.
func isNil(v any) bool {
	value := reflect.ValueOf(v)
	switch value.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Func, reflect.Chan, reflect.Slice:
		return value.IsNil()
	}
	return !value.IsValid()
}

// check returns an error if New did not make the session, or if the context is
// done.
func (s *EncryptedSession) check(ctx context.Context) error {
	if s == nil || s.store == nil {
		return errors.New("no session: the error of New was ignored, or Typed was given nil")
	}
	return ctx.Err()
}

// SessionID returns the ID that the keys are derived for: that of
// [WithSessionID], or else that of the store.
func (s *EncryptedSession) SessionID() string {
	if s == nil {
		return ""
	}
	return s.sessionID
}

// Unwrap returns the store, for methods that only the store has. The items in
// it are envelopes.
func (s *EncryptedSession) Unwrap() Session {
	if s == nil {
		return nil
	}
	return s.store.value()
}

// AddItems implements [Session]. It checks and seals all items before it calls
// AddItems of the store, once. All of them get the same sealing time, and so
// expire together. An item that is not a JSON object in valid UTF-8 is an
// [ErrInvalidItem].
//
// AddItems checks that the keys fit the history, so that a server with a wrong
// key does not split it. If no read of this handle has shown that already, it
// looks at the newest stored item, and at the newest 16 if that one does not
// decide. The keys fit if the current key opens one of these items. If it opens
// none, AddItems stores nothing in two cases. It returns
//
//   - an [ErrUndecryptable] if no key opens the newest envelope among the 16
//     that is within the TTL and not from the future;
//   - an [ErrPlaintext] if some of the 16 are not encrypted, no key opens any
//     of them, and [WithPlaintext] is not set.
//
// [WithUnreadableHistory] turns both off.
func (s *EncryptedSession) AddItems(ctx context.Context, items ...Item) error {
	c := s.begin("AddItems")
	return s.end(ctx, &c, s.addItems(ctx, &c, items))
}

func (s *EncryptedSession) addItems(ctx context.Context, c *call, items []Item) error {
	for i, item := range items {
		if !ValidItem(item) {
			return fmt.Errorf("item %d: %w", i, ErrInvalidItem)
		}
	}
	if len(items) == 0 {
		return s.check(ctx)
	}
	if err := s.prepare(ctx, c); err != nil {
		return err
	}
	if err := s.guard(ctx, c.keys); err != nil {
		return err
	}
	sealed := slices.Clone(items)
	if err := each(ctx, sealed, sealing{&c.keys.sealer, unixTime(time.Now())}); err != nil {
		return err
	}
	if err := s.store().AddItems(ctx, sealed...); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	c.Sealed = len(sealed)
	return nil
}

// sealing seals items under the current key.
type sealing struct {
	sealer *Sealer
	now    uint64
}

func (w sealing) worker() sealing { return w }

func (sealing) size(item *Item) int { return len(*item) }

func (w sealing) do(_ int, item *Item) (err error) {
	*item, err = w.sealer.sealAt(*item, w.now)
	return err
}

// GetItems implements [Session]. The limit counts readable items. If some of
// the newest are not readable, GetItems looks further back, in windows that
// more than double each time, until it has found enough or there are no more.
// So if a session has fewer readable items than limit, all of it is read and
// opened; [EncryptedSession.Purge] keeps a session short.
func (s *EncryptedSession) GetItems(ctx context.Context, limit int) ([]Item, error) {
	c := s.begin("GetItems")
	items, err := s.getItems(ctx, &c, limit)
	return items, s.end(ctx, &c, err)
}

func (s *EncryptedSession) getItems(ctx context.Context, c *call, limit int) ([]Item, error) {
	if err := s.prepare(ctx, c); err != nil {
		return nil, err
	}
	found, err := s.newest(ctx, c.keys, limit, readable)
	if err != nil {
		return nil, err
	}
	items := make([]Item, 0, len(found))
	for _, j := range slices.Backward(found) {
		if readable(j) {
			items = append(items, j.payload)
		}
	}
	c.read(found)
	return items, nil
}

// ClearSession implements [Session]. It removes every stored item, readable or
// not, and needs no keys.
func (s *EncryptedSession) ClearSession(ctx context.Context) error {
	c := s.begin("ClearSession")
	err := s.check(ctx)
	if err == nil {
		if err = s.store().ClearSession(ctx); err != nil {
			err = fmt.Errorf("store: %w", err)
		}
	}
	return s.end(ctx, &c, err)
}

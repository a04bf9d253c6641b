package encsession

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"reflect"
	"slices"
	"time"
)

var (
	_ Session  = (*EncryptedSession)(nil)
	_ Replacer = (*EncryptedSession)(nil)
)

// EncryptedSession is a Session that keeps its items encrypted in another Session, the store. New makes one; the
// zero EncryptedSession returns errors. It is safe for concurrent use, and never shows a key or an item, however it is
// printed.
//
// Reads leave out what is not readable: items that have expired, that are from the future, that no key at hand
// opens, or that are malformed. WithDropHandler tells of each, WithStrictReads makes them errors. Items that are not
// encrypted are readable, unless WithoutPlaintext says otherwise.
type EncryptedSession struct {
	// store returns the store. It is a func for the reason given at Key: printing the session must not print what the
	// store holds, which may be plaintext that is still to be migrated.
	store  func() Session
	sealer *Sealer

	refusePlaintext bool
	strict          bool
	onDrop          func(context.Context, Drop) // may be nil

	// popping holds a token while a PopItem of this handle works with nothing but the four methods of the store.
	// It is a channel, not a mutex, so that waiting for it ends with the context.
	popping chan struct{}
}

// New returns an EncryptedSession that keeps its items in store, sealed under a key that is derived from key and the
// store's session ID.
//
// It refuses a nil store, the zero Key, a nil or invalid option, and a session ID that is empty, not UTF-8, or holds
// U+0000. It does not use the store beyond asking for its ID.
func New(store Session, key Key, opts ...Option) (*EncryptedSession, error) {
	s, err := newEncrypted(store, key, opts)
	if err != nil {
		return nil, fmt.Errorf("encsession: New: %w", err)
	}
	return s, nil
}

func newEncrypted(store Session, key Key, opts []Option) (*EncryptedSession, error) {
	if isNil(store) {
		return nil, errors.New("store is nil")
	}
	c, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	if c.sessionID == "" {
		c.sessionID = store.SessionID()
	}
	sealer, err := newSealer(c.sessionID, c.ttl, key, c.readKeys)
	if err != nil {
		return nil, err
	}
	return &EncryptedSession{
		store:           func() Session { return store },
		sealer:          sealer,
		refusePlaintext: c.refusePlaintext,
		strict:          c.strict,
		onDrop:          c.onDrop,
		popping:         make(chan struct{}, 1),
	}, nil
}

// isNil reports whether a store is nil, or an interface around a nil pointer, map, func or the like.
func isNil(store Session) bool {
	switch v := reflect.ValueOf(store); v.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Map, reflect.Func, reflect.Chan, reflect.Slice:
		return v.IsNil()
	}
	return false
}

// check returns an error for an EncryptedSession that New did not make, or where the context is done.
func (s *EncryptedSession) check(ctx context.Context) error {
	if s == nil || s.store == nil {
		return errors.New("this EncryptedSession was not made by New")
	}
	return ctx.Err()
}

// SessionID returns the ID that the key is derived for: that of WithSessionID, or else that of the store.
func (s *EncryptedSession) SessionID() string {
	if s == nil || s.sealer == nil {
		return ""
	}
	return s.sealer.sessionID
}

// Unwrap returns the store, for what only the store can do. Its items are the envelopes.
func (s *EncryptedSession) Unwrap() Session {
	if s == nil || s.store == nil {
		return nil
	}
	return s.store()
}

// AddItems implements Session. It checks and seals all items before it calls the store, once. An item that is not a
// JSON object in valid UTF-8 is an ErrInvalidItem.
func (s *EncryptedSession) AddItems(ctx context.Context, items ...Item) error {
	if err := s.check(ctx); err != nil {
		return fmt.Errorf("encsession: AddItems: %w", err)
	}
	sealed, err := s.sealAll(ctx, items)
	if err != nil {
		return fmt.Errorf("encsession: AddItems: %w", err)
	}
	if len(sealed) == 0 {
		return nil
	}
	if err := s.store().AddItems(ctx, sealed...); err != nil {
		return fmt.Errorf("encsession: AddItems: store: %w", err)
	}
	return nil
}

func (s *EncryptedSession) sealAll(ctx context.Context, items []Item) ([]Item, error) {
	sealed := make([]Item, len(items))
	for i, item := range items {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var err error
		if sealed[i], err = s.sealer.seal(item); err != nil {
			return nil, fmt.Errorf("item %d: %w", i, err)
		}
	}
	return sealed, nil
}

// GetItems implements Session. The limit counts readable items: where some of the newest are not readable, it looks
// further back, at windows of the history that double, until it has found enough or there is no more. A session with
// fewer readable items than limit is therefore read whole, and opened whole: Purge keeps it short.
func (s *EncryptedSession) GetItems(ctx context.Context, limit int) ([]Item, error) {
	if err := s.check(ctx); err != nil {
		return nil, fmt.Errorf("encsession: GetItems: %w", err)
	}
	found, err := s.newest(ctx, limit, readable)
	if err != nil {
		return nil, fmt.Errorf("encsession: GetItems: %w", err)
	}
	items := make([]Item, 0, len(found))
	for _, j := range slices.Backward(found) {
		if readable(j) {
			items = append(items, j.item)
		}
	}
	s.report(ctx, s.drops(found))
	return items, nil
}

// PopItem implements Session: it removes the newest readable item, and returns it. What it cannot authenticate it never
// removes: a wrong key does not destroy a history.
//
// Over a store that is a Replacer, the item is removed in place, and nothing else is, whatever lies above it. Where no
// item is readable, PopItem returns nil.
//
// Over a store that has only the methods of Session, PopItem can remove nothing but the end:
//
//   - Where only expired items lie above the newest readable one, it removes those too, and does so even if it then
//     fails: this is the one error that may come with a change.
//   - Where anything else that is not readable lies above it, or below it nothing is readable, it removes nothing and
//     returns an error that wraps errors.ErrUnsupported and the reason.
//   - Where there are no items, or only expired ones, it removes nothing and returns nil.
//
// It looks before every pop, and calls on one handle take turns. Between handles and processes a race remains: what
// another client adds between look and pop is popped instead. If that is not readable, PopItem adds it to the end again;
// a process that dies at that moment loses it, and so does a store that fails then, which the error says.
func (s *EncryptedSession) PopItem(ctx context.Context) (Item, error) {
	if err := s.check(ctx); err != nil {
		return nil, fmt.Errorf("encsession: PopItem: %w", err)
	}
	item, drops, err := s.pop(ctx)
	s.report(ctx, drops)
	if err != nil {
		return nil, fmt.Errorf("encsession: PopItem: %w", err)
	}
	return item, nil
}

// ClearSession implements Session. It removes every stored item, whether it is readable or not.
func (s *EncryptedSession) ClearSession(ctx context.Context) error {
	if err := s.check(ctx); err != nil {
		return fmt.Errorf("encsession: ClearSession: %w", err)
	}
	if err := s.store().ClearSession(ctx); err != nil {
		return fmt.Errorf("encsession: ClearSession: store: %w", err)
	}
	return nil
}

// ReplaceItems implements Replacer, for decorators round this one: it matches old items against the readable items, as
// GetItems returns them, and has the store replace their envelopes by new ones, sealed now. It reads the whole session,
// so that a PopItem of a decorator round this one does too. An item whose envelope another client changes at the same
// time is passed over. Over a store that is not a Replacer the error wraps errors.ErrUnsupported.
func (s *EncryptedSession) ReplaceItems(ctx context.Context, old, new []Item) (int, error) {
	if err := s.check(ctx); err != nil {
		return 0, fmt.Errorf("encsession: ReplaceItems: %w", err)
	}
	changed, err := s.replace(ctx, old, new)
	if err != nil {
		return 0, fmt.Errorf("encsession: ReplaceItems: %w", err)
	}
	return changed, nil
}

func (s *EncryptedSession) replace(ctx context.Context, old, new []Item) (int, error) {
	replacer, err := s.replacer()
	if err != nil {
		return 0, err
	}
	if err := checkReplacement(old, new); err != nil {
		return 0, err
	}
	found, err := s.newest(ctx, 0, readable)
	if err != nil {
		return 0, err
	}
	slices.Reverse(found)
	items := make([]Item, len(found)) // nil where not readable, which no old item matches
	for i, j := range found {
		items[i] = j.item
	}
	var oldStored, newStored []Item
	for i, at := range matchItems(items, old) {
		if at < 0 || len(old[i]) == 0 {
			continue
		}
		var sealed Item
		if new[i] != nil {
			if sealed, err = s.sealer.sealAt(new[i], time.Now()); err != nil { // checked above
				return 0, fmt.Errorf("new item %d: %w", i, err)
			}
		}
		oldStored, newStored = append(oldStored, found[at].stored), append(newStored, sealed)
	}
	changed, err := replacer.ReplaceItems(ctx, oldStored, newStored)
	if err != nil {
		return 0, fmt.Errorf("store: %w", err)
	}
	return changed, nil
}

// replacer returns the store as a Replacer, or an error.
func (s *EncryptedSession) replacer() (Replacer, error) {
	store := s.store()
	if replacer, ok := store.(Replacer); ok {
		return replacer, nil
	}
	return nil, fmt.Errorf("store %T is not a Replacer: %w", store, errors.ErrUnsupported)
}

// judged is a stored item and what a read makes of it.
type judged struct {
	stored Item
	item   Item  // what a read returns; nil where it is not readable
	err    error // why it is not readable
}

func readable(j judged) bool { return j.err == nil }

func expired(j judged) bool { return errors.Is(j.err, ErrExpired) }

func (s *EncryptedSession) judge(stored Item, now time.Time) judged {
	item, err := s.sealer.open(stored, now)
	if !s.refusePlaintext && errors.Is(err, ErrPlaintext) {
		return judged{stored: stored, item: stored}
	}
	return judged{stored: stored, item: item, err: err}
}

// newest judges the stored items, the newest first, up to the one where count has been true limit times, or all of
// them where limit is 0 or less. It returns them in that order. It reads the store in windows from the newest on, each
// twice as long as the one before; the result is of the last window alone, but what was judged in the window before is
// not judged again. Under WithStrictReads the first item to be dropped for another reason than its age is the error.
func (s *EncryptedSession) newest(ctx context.Context, limit int, count func(judged) bool) ([]judged, error) {
	now := time.Now()
	var found []judged
	for window := limit; ; window = double(window) {
		stored, err := s.store().GetItems(ctx, window)
		if err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
		before := remember(found)
		found = nil
		counted := 0
		for position := range stored {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			item := stored[len(stored)-1-position]
			j, ok := before.recall(item)
			if !ok {
				j = s.judge(item, now)
			}
			if s.strict && j.err != nil && !expired(j) {
				return nil, atPosition(position, j.err)
			}
			found = append(found, j)
			if count(j) {
				counted++
			}
			if counted == limit && limit > 0 {
				return found, nil
			}
		}
		if window <= 0 || len(stored) < window {
			return found, nil
		}
	}
}

// double returns the next window after n: twice as many items, or 0, which means all, where that is too many to count.
func double(n int) int {
	if n > math.MaxInt/2 {
		return 0
	}
	return 2 * n
}

// memory holds judged items by a hash of their stored bytes. Other clients may have changed the store between two
// windows, so that positions say nothing.
type memory map[uint64]judged

var memorySeed = maphash.MakeSeed()

func remember(found []judged) memory {
	m := make(memory, len(found))
	for _, j := range found {
		m[maphash.Bytes(memorySeed, j.stored)] = j
	}
	return m
}

// recall takes an item out of the memory, so that no two results share their bytes.
func (m memory) recall(stored Item) (judged, bool) {
	if len(m) == 0 {
		return judged{}, false
	}
	hash := maphash.Bytes(memorySeed, stored)
	j, ok := m[hash]
	if !ok || !bytes.Equal(j.stored, stored) {
		return judged{}, false
	}
	delete(m, hash)
	return j, true
}

// drops returns a Drop for every judged item that is not readable.
func (s *EncryptedSession) drops(found []judged) []Drop {
	var drops []Drop
	for position, j := range found {
		if !readable(j) {
			drops = append(drops, s.drop(position, j.err))
		}
	}
	return drops
}

func (s *EncryptedSession) drop(position int, err error) Drop {
	return Drop{SessionID: s.SessionID(), Err: fmt.Errorf("encsession: %w", atPosition(position, err))}
}

func atPosition(position int, err error) error {
	return fmt.Errorf("item %d from the newest: %w", position, err)
}

func (s *EncryptedSession) report(ctx context.Context, drops []Drop) {
	if s.onDrop == nil {
		return
	}
	for _, drop := range drops {
		s.onDrop(ctx, drop)
	}
}

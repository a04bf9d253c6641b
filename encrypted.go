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
	sealer Sealer

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
	if s == nil {
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

// AddItems implements Session. It checks and seals all items before it calls the store, once. They are sealed as of one
// moment, and so expire at one. An item that is not a JSON object in valid UTF-8 is an ErrInvalidItem.
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
	if err := s.addStored(ctx, sealed); err != nil {
		return fmt.Errorf("encsession: AddItems: store: %w", err)
	}
	return nil
}

// getStored returns the newest stored items, whose bytes the caller must not change: those of a MemorySession, which never
// change, are not copied.
func (s *EncryptedSession) getStored(ctx context.Context, limit int) ([]Item, error) {
	store := s.store()
	if m, ok := store.(*MemorySession); ok {
		return m.lend(limit), ctx.Err()
	}
	return store.GetItems(ctx, limit)
}

// addStored adds envelopes to the store. A MemorySession keeps them, and the caller must not change them any more.
func (s *EncryptedSession) addStored(ctx context.Context, sealed []Item) error {
	store := s.store()
	m, ok := store.(*MemorySession)
	if !ok {
		return store.AddItems(ctx, sealed...)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	m.keep(sealed)
	return nil
}

func (s *EncryptedSession) sealAll(ctx context.Context, items []Item) ([]Item, error) {
	now := time.Now()
	sealed := make([]Item, len(items))
	if workers := workersFor(len(items), func(i int) int { return len(items[i]) }); workers > 1 {
		shared := slices.Clone(items) // what goroutines share is on the heap; items need not be
		return sealed, forEach(ctx, len(shared), workers, func(i int) error { return s.sealAt(sealed, shared, i, now) })
	}
	return sealed, inOrder(ctx, len(items), func(i int) error { return s.sealAt(sealed, items, i, now) })
}

// sealAt seals items[i] as sealed[i].
func (s *EncryptedSession) sealAt(sealed, items []Item, i int, now time.Time) (err error) {
	if sealed[i], err = s.sealer.seal(items[i], now); err != nil {
		return fmt.Errorf("item %d: %w", i, err)
	}
	return nil
}

// GetItems implements Session. The limit counts readable items: where some of the newest are not readable, it looks
// further back, at windows of the history that more than double, until it has found enough or there is no more. A session
// with fewer readable items than limit is therefore read whole, and opened whole: Purge keeps it short.
func (s *EncryptedSession) GetItems(ctx context.Context, limit int) ([]Item, error) {
	if err := s.check(ctx); err != nil {
		return nil, fmt.Errorf("encsession: GetItems: %w", err)
	}
	var few [4]judged // on the stack: a short read allocates little
	found, err := s.newest(ctx, few[:0], limit, readable)
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
// item is readable, PopItem returns nil. Where the newest readable item is plaintext, which nothing authenticates, and lies
// below one that no key opens, PopItem removes nothing and returns an ErrUndecryptable: the key may be a wrong one.
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
// time is passed over. To remove plaintext from below an item that no key opens is an error, as in PopItem. Over a store
// that is not a Replacer the error wraps errors.ErrUnsupported.
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
	found, err := s.newest(ctx, nil, 0, readable)
	if err != nil {
		return 0, err
	}
	items := make([]Item, len(found)) // oldest first, and nil where not readable, which no old item matches
	for position, j := range found {
		items[len(items)-1-position] = j.item
	}
	var oldStored, newStored []Item
	for i, at := range matchItems(items, old) {
		if at < 0 || len(old[i]) == 0 {
			continue
		}
		position := len(found) - 1 - at
		var sealed Item
		if new[i] == nil {
			if err := refusePlaintextBelow(found[:position+1]); err != nil {
				return 0, err
			}
		} else {
			if sealed, err = s.sealer.sealAt(new[i], time.Now()); err != nil { // checked above
				return 0, fmt.Errorf("new item %d: %w", i, err)
			}
		}
		oldStored, newStored = append(oldStored, found[position].stored), append(newStored, sealed)
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

// judged is a stored item and what a read makes of it: one of item and err is set, once it has been judged.
type judged struct {
	stored Item
	item   Item  // what a read returns
	err    error // why it is not readable
}

func readable(j judged) bool { return j.err == nil }

func expired(j judged) bool { return errors.Is(j.err, ErrExpired) }

func (s *EncryptedSession) judge(stored Item, now time.Time) judged {
	item, err := s.sealer.open(stored, now)
	if !s.refusePlaintext && errors.Is(err, ErrPlaintext) {
		return judged{stored: stored, item: bytes.Clone(stored)} // the caller's, which stored may not be
	}
	return judged{stored: stored, item: item, err: err}
}

// newest judges the stored items, the newest first, up to the one where count has been true limit times, or all of
// them where limit is 0 or less. It returns them in that order, in found, which is empty, if there is room. It reads the
// store in windows from the newest on, each more than twice as long as the one before; the result is of the last window
// alone, but what was judged in the window before is not judged again. Under WithStrictReads the first item to be dropped
// for another reason than its age is the error.
func (s *EncryptedSession) newest(ctx context.Context, found []judged, limit int, count func(judged) bool) ([]judged, error) {
	now := time.Now()
	for window := limit; ; window = wider(window, limit) {
		before := remember(found)
		stored, err := s.getStored(ctx, window)
		if err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
		found = slices.Grow(found[:0], len(stored))
		counted := 0
		for len(found) < len(stored) {
			// Each item counts for one at most: at least as many as are missing have to be judged.
			start, n := len(found), len(stored)-len(found)
			if limit > 0 {
				n = min(n, limit-counted)
			}
			for position := start; position < start+n; position++ {
				found = append(found, before.recall(stored[len(stored)-1-position]))
			}
			if err := s.judgeFrom(ctx, found, start, now); err != nil {
				return nil, err
			}
			for _, j := range found[start:] {
				if count(j) {
					counted++
				}
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

// judgeFrom judges those of found from start on that have not been judged yet.
func (s *EncryptedSession) judgeFrom(ctx context.Context, found []judged, start int, now time.Time) error {
	todo := found[start:]
	if workers := workersFor(len(todo), func(i int) int { return len(todo[i].stored) }); workers > 1 {
		shared := slices.Clone(todo) // what goroutines share is on the heap; found need not be
		err := forEach(ctx, len(shared), workers, func(i int) error { return s.judgeAt(shared, i, start, now) })
		copy(todo, shared)
		return err
	}
	return inOrder(ctx, len(todo), func(i int) error { return s.judgeAt(todo, i, start, now) })
}

// judgeAt judges todo[i], which has position start+i.
func (s *EncryptedSession) judgeAt(todo []judged, i, start int, now time.Time) error {
	if j := &todo[i]; j.item == nil && j.err == nil {
		*j = s.judge(j.stored, now)
	}
	if err := todo[i].err; s.strict && err != nil && !expired(todo[i]) {
		return atPosition(start+i, err)
	}
	return nil
}

// wider returns the next window after n: as long again, and a limit more, so that log2(k/limit)+2 windows are enough where
// the newest k items do not count; or 0, which means all, where that is too many to count.
func wider(n, limit int) int {
	if n > (math.MaxInt-limit)/2 {
		return 0
	}
	return 2*n + limit
}

// memory holds judged items by a hash of their stored bytes, of which there may be several that are equal. Other clients
// may have changed the store between two windows, so that positions say nothing.
type memory map[uint64][]judged

var memorySeed = maphash.MakeSeed()

func remember(found []judged) memory {
	if len(found) == 0 {
		return nil
	}
	m := make(memory, len(found))
	for _, j := range found {
		hash := maphash.Bytes(memorySeed, j.stored)
		m[hash] = append(m[hash], j)
	}
	return m
}

// recall takes what was judged of a stored item out of the memory, so that no two results share their bytes. Where there
// is nothing it returns an item that is not judged yet.
func (m memory) recall(stored Item) judged {
	if len(m) > 0 {
		hash := maphash.Bytes(memorySeed, stored)
		same := m[hash]
		if last := len(same) - 1; last >= 0 && bytes.Equal(same[last].stored, stored) {
			m[hash] = same[:last]
			return same[last]
		}
	}
	return judged{stored: stored}
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

package keystore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/encsession/encsession"
)

const (
	// margin is added to the bound before a new key becomes current. It must
	// also pass before the predecessor may be retired. It covers a call that
	// has its keys already, and a database whose clock jumps.
	margin = 60 * time.Second

	// loadTimeout is how long one request for the keys of a tenant may take.
	// WithMaxAge is the limit if it is shorter.
	loadTimeout = 10 * time.Second

	// rechecks is how often the rows of a tenant are read again within the age
	// of its keys.
	rechecks = 10
)

// tenantKeys is everything that a Store knows of a tenant.
type tenantKeys struct {
	name   string
	cached atomic.Pointer[entry]

	mu     sync.Mutex
	flight *flight // the one request that is under way, or nil

	// These facts remain true: a key does not vanish, and a destroyed tenant
	// does not come back. Only the flight writes highest and fingerprint.
	highest     int64
	fingerprint string // of the key with that number
	destroyed   atomic.Pointer[error]
}

// entry is a set of keys with its age. It is never changed.
type entry struct {
	loaded  time.Time // taken before the database was read, to be on the safe side
	checked time.Time // taken before the rows were last read
	maxAge  time.Duration
	rows    []row
	phases  []phase // in rising order of from; the first has begun
}

// phase is a keyring and the time from which it holds.
type phase struct {
	from time.Time
	ring encsession.Keyring
}

// age returns the time that has passed since a moment. A process has two
// clocks, and the one that shows more counts. The monotonic clock cannot be
// set, but stands still while a machine sleeps.
func age(now, since time.Time) time.Duration {
	return max(now.Sub(since), now.Round(0).Sub(since.Round(0)))
}

// fresh reports whether the keys may still be used. e may be nil.
func (e *entry) fresh(now time.Time) bool { return e != nil && age(now, e.loaded) < e.maxAge }

// settled reports whether the keys may be used without a recheck of the rows. e
// may be nil.
func (e *entry) settled(now time.Time) bool {
	return e.fresh(now) && age(now, e.checked) < e.maxAge/rechecks
}

// ring returns the keyring that holds now.
func (e *entry) ring(now time.Time) encsession.Keyring {
	i := len(e.phases) - 1
	for i > 0 && now.Before(e.phases[i].from) {
		i--
	}
	return e.phases[i].ring
}

// Keys implements [encsession.KeySource]: it returns the keys of the session's
// tenant. Current is the newest key that is active. Older holds the other keys
// that are not retired, also those that are not active yet.
//
// Keys come from memory until they are too old ([WithMaxAge]). Ten times within
// that age, a call reads the rows again, without asking the KMS. So it soon
// finds out if a key was added or destroyed. If the database cannot be read,
// the keys in memory serve up to that age, and never beyond it.
//
// Calls for one tenant share one request at a time. Keys waits for it for at
// most 10 seconds. The request goes on if the caller that began it gives up.
//
// These errors say something about the keys:
//
//   - [encsession.ErrKeyDestroyed] is for a destroyed tenant, and for nothing
//     else.
//   - [ErrUnknownTenant] is for a tenant without keys.
//   - [ErrAltered] is for rows that were tampered with.
//
// Any other error is an outage of the database or the KMS, or a mistake in the
// configuration.
func (s *Store) Keys(ctx context.Context, sessionID string) (encsession.Keyring, error) {
	if s == nil || s.db == nil {
		return encsession.Keyring{}, wrapError("Keys", "", s.check(ctx, "-"))
	}
	tenant := sessionID
	if s.tenant != nil {
		tenant = s.tenant(sessionID)
	}
	s.mu.RLock()
	t := s.tenants[tenant]
	s.mu.RUnlock()
	if t != nil && t.destroyed.Load() == nil {
		if e, now := t.cached.Load(), time.Now(); e.settled(now) {
			return e.ring(now), nil
		}
	}
	ring, err := s.request(ctx, tenant)
	if errors.Is(err, ErrUnknownTenant) && s.tenant == nil {
		err = fmt.Errorf("%w; without WithTenant, the session ID is the tenant", err)
	}
	return ring, wrapError("Keys", tenant, err)
}

// request returns the keys of a tenant. Keys calls it if those in memory are
// missing, too old or due for a recheck.
func (s *Store) request(ctx context.Context, tenant string) (encsession.Keyring, error) {
	if err := s.check(ctx, tenant); err != nil {
		return encsession.Keyring{}, err
	}
	t := s.tenantKeys(tenant)
	for {
		if destroyed := t.destroyed.Load(); destroyed != nil {
			return encsession.Keyring{}, *destroyed
		}
		if err := s.share(ctx, t); err != nil {
			return encsession.Keyring{}, err
		}
		// This goroutine may have waited, or been stopped, for a long time. So
		// the age is checked again.
		if e, now := t.cached.Load(), time.Now(); e.fresh(now) && t.destroyed.Load() == nil {
			return e.ring(now), nil
		}
	}
}

func (s *Store) tenantKeys(tenant string) *tenantKeys {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tenants[tenant]
	if t == nil {
		t = &tenantKeys{name: tenant}
		s.tenants[tenant] = t
	}
	return t
}

// flight is a request for the keys of a tenant that several calls share.
type flight struct {
	ctx      context.Context
	done     chan struct{}
	err      error
	panicked any // the value of a panic of a Wrapper
}

// share joins the request for the keys of the tenant, or begins one, and waits
// for it. It does not wait for a request that has exceeded its time, and it
// begins no second one beside it. So a Wrapper that hangs costs one goroutine
// per tenant.
func (s *Store) share(ctx context.Context, t *tenantKeys) error {
	t.mu.Lock()
	f := t.flight
	if f == nil {
		if t.cached.Load().settled(time.Now()) { // another flight has just landed
			t.mu.Unlock()
			return nil
		}
		timeout := loadTimeout
		if s.maxAge > 0 {
			timeout = min(timeout, s.maxAge)
		}
		flightCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
		f = &flight{ctx: flightCtx, done: make(chan struct{}), err: errors.New("the wrapper called runtime.Goexit")}
		t.flight = f
		go func() {
			defer cancel()
			defer s.land(t, f)
			f.err = s.refresh(flightCtx, t)
		}()
	}
	t.mu.Unlock()
	select {
	case <-f.done:
	case <-ctx.Done():
		return ctx.Err()
	case <-f.ctx.Done():
		select {
		case <-f.done:
		default:
			return fmt.Errorf("the request for its keys takes too long: %w", f.ctx.Err())
		}
	}
	if f.panicked != nil {
		panic(f.panicked)
	}
	return f.err
}

// land ends a flight. A panic reaches the callers that wait for it.
func (s *Store) land(t *tenantKeys, f *flight) {
	f.panicked = recover()
	s.mu.Lock()
	if t.highest == 0 && t.destroyed.Load() == nil && s.tenants[t.name] == t {
		delete(s.tenants, t.name) // made-up names must not fill the memory
	}
	s.mu.Unlock()
	t.mu.Lock()
	t.flight = nil
	t.mu.Unlock()
	close(f.done)
}

// refresh reads the rows of a tenant. If they have not changed, it notes the
// time of the check. Otherwise it asks the wrappers for all keys.
//
// In an outage, the keys in memory stay in use up to their age. The next
// request comes when the next check is due. If the rows show that the keys in
// memory are no longer right, they are removed at once.
func (s *Store) refresh(ctx context.Context, t *tenantKeys) error {
	before := time.Now()
	held := t.cached.Load()
	next, err := s.load(ctx, t, before, held)
	switch {
	case err != nil:
	case ctx.Err() != nil:
		err = ctx.Err()
	case !next.fresh(time.Now()):
		err = fmt.Errorf("reading its keys took longer than the %v for which they may be used", next.maxAge)
	}
	switch {
	case err == nil:
		t.cached.Store(next)
		s.sweepLater(next.maxAge)
		return nil
	case final(err):
		t.cached.Store(nil)
	case held.fresh(time.Now()):
		later := *held
		later.checked = time.Now()
		t.cached.Store(&later)
		return nil
	}
	return err
}

// load returns the keys of a tenant. If the rows have not changed, it returns
// the held keys with a new time of the check.
func (s *Store) load(ctx context.Context, t *tenantKeys, before time.Time, held *entry) (*entry, error) {
	v, err := s.read(ctx, t.name)
	after := time.Now()
	if err != nil {
		return nil, err
	}
	err = t.judge(v)
	if s.autoCreate && errors.Is(err, ErrUnknownTenant) {
		if _, err := s.create(ctx, t.name); err != nil && !errors.Is(err, ErrExists) {
			return nil, err
		}
		// The new key may have been destroyed since, so only the rows count.
		if v, err = s.read(ctx, t.name); err == nil {
			err = t.judge(v)
		}
		after = time.Now()
	}
	if err != nil {
		return nil, err
	}
	if held.fresh(after) && reflect.DeepEqual(held.rows, v.rows) {
		next := *held
		next.checked = before
		return &next, nil
	}
	keys := make([]encsession.Key, len(v.rows))
	for i, r := range v.rows {
		if r.retired != 0 && i != v.current() {
			continue // no keyring has it
		}
		secret, err := s.unwrap(ctx, t.name, r)
		if err != nil {
			return nil, err
		}
		keys[i], err = encsession.NewKey(secret)
		clear(secret)
		if err != nil {
			return nil, err
		}
	}
	maxAge := s.maxAge
	if maxAge == 0 {
		maxAge = min(DefaultMaxAge, v.bound)
	}
	t.highest, t.fingerprint = v.newest().number, v.newest().fingerprint
	return &entry{loaded: before, checked: before, maxAge: maxAge, rows: v.rows, phases: phases(v, keys, after)}, nil
}

// judge returns an error if the rows give no keys, or contradict the ones that
// this process has seen before. The table alone would not show that its newest
// row is gone.
func (t *tenantKeys) judge(v view) error {
	err := v.judge()
	if errors.Is(err, encsession.ErrKeyDestroyed) {
		t.destroyed.Store(&err)
		return err
	}
	lost := errors.Is(err, ErrUnknownTenant) || err == nil && v.newest().number < t.highest
	switch {
	case t.highest == 0 || err != nil && !lost:
		return err
	case lost:
		return altered(t.highest, "it was there before, and is gone")
	case v.rows[t.highest-1].fingerprint != t.fingerprint:
		return altered(t.highest, "it was another key before")
	}
	return nil
}

// phases returns the keyring of now, and one for each time at which a key
// becomes active. The database's clock decides, so processes agree whatever
// their own clocks say.
//
// The argument after is a moment after the database has read its clock. Times
// are counted from it, so no key becomes current too early. A key may become
// current too late, by the duration of the answer at most. That is harmless,
// since all processes have both keys.
func phases(v view, keys []encsession.Key, after time.Time) []phase {
	current := v.current()
	type start struct {
		in  time.Duration
		key int
	}
	var starts []start
	for i, r := range v.rows {
		in := r.active - v.now
		if i > current && r.active != 0 && r.retired == 0 && in > 0 && in < maxMaxAge.Microseconds() {
			starts = append(starts, start{time.Duration(in) * time.Microsecond, i})
		}
	}
	ring := func(current int) encsession.Keyring {
		ring := encsession.Keyring{Current: keys[current]}
		for i, key := range slices.Backward(keys) {
			if i != current && v.rows[i].retired == 0 {
				ring.Older = append(ring.Older, key)
			}
		}
		ring.Older = slices.Clip(ring.Older)
		return ring
	}
	list := []phase{{after, ring(current)}}
	slices.SortStableFunc(starts, func(a, b start) int { return cmp.Compare(a.in, b.in) })
	for _, next := range starts {
		if next.key > current {
			current = next.key
			list = append(list, phase{after.Add(next.in), ring(current)})
		}
	}
	return list
}

// sweepLater removes keys from memory when they may not be used any more, even
// if nobody asks for them again.
func (s *Store) sweepLater(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sweeper == nil {
		s.sweeper = time.AfterFunc(d, s.sweep)
	}
}

func (s *Store) sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	var again time.Duration // the longest maxAge of the keys that stay
	for _, t := range s.tenants {
		if e := t.cached.Load(); e.fresh(now) {
			again = max(again, e.maxAge)
		} else if e != nil {
			t.cached.CompareAndSwap(e, nil)
		}
	}
	s.sweeper = nil
	if again > 0 {
		s.sweeper = time.AfterFunc(again, s.sweep)
	}
}

// forget removes the keys of a tenant from memory, so that the next call asks
// for them.
func (s *Store) forget(tenant string) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if t := s.tenants[tenant]; t != nil {
		t.cached.Store(nil)
	}
}

package sessiontest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/encsession/encsession"
)

// patience is the time after which the context of a single call is done, so
// that a store which waits in vain fails its check. A store that ignores its
// context hangs until go test itself runs out of time.
const patience = 30 * time.Second

// subject is the store or decorator that a check is for. The function of an
// option is nil if the option is not given.
type subject struct {
	// open returns a handle on a session. In RunEncrypted it also returns one
	// on the session in the store underneath; elsewhere that is nil.
	open func(sessionID string) (session, store encsession.Session)

	reopen   func()
	expire   func()
	sessions func(context.Context) iter.Seq2[encsession.SessionInfo, error]
}

// tester is the testing.TB of a check, which can also open sessions.
type tester struct {
	testing.TB
	subject
	check string // its name
}

// fresh opens a session that nobody has used yet.
func (t *tester) fresh() handle {
	return t.session("sessiontest-" + t.check + "-" + random())
}

// session opens a session.
func (t *tester) session(id string) handle {
	session, store := t.open(id)
	return handle{t: t, id: id, Session: session, store: store}
}

// freshRewriter opens a session that nobody has used yet. It skips the check if
// the session cannot rewrite its items, or is a decorator of a store that
// cannot.
func (t *tester) freshRewriter() handle {
	t.Helper()
	if probe := t.fresh(); !probe.isRewriter() {
		t.Skip("the session cannot rewrite its items")
	}
	return t.fresh()
}

// together calls f n times at once, each time with a number of its own, and
// waits for all calls. The calls return their errors, because only the
// goroutine of a check may end it.
func (t *tester) together(n int, f func(i int) error) {
	t.Helper()
	start := make(chan struct{})
	results := make(chan error)
	for i := range n {
		go func() {
			<-start
			results <- f(i)
		}()
	}
	close(start)
	var errs []error
	for range n {
		errs = append(errs, <-results)
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("among %d goroutines: %v", n, err)
	}
}

// handle is a handle on a session under test. The methods that begin with try
// call the store and return its error. The others end the check if there is an
// error.
type handle struct {
	encsession.Session
	t     *tester
	id    string             // the ID with which it was opened
	store encsession.Session // underneath, in RunEncrypted
}

// again opens another handle on the same session.
func (h handle) again() handle { return h.t.session(h.id) }

// raw returns the handle on the session in the store underneath.
func (h handle) raw() handle { return handle{t: h.t, id: h.id, Session: h.store} }

func (h handle) tryAdd(items ...encsession.Item) error {
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	// Only the check input-copied passes its own slice to the store.
	return h.AddItems(ctx, slices.Clone(items)...)
}

func (h handle) add(items ...encsession.Item) {
	h.t.Helper()
	h.must("AddItems", h.tryAdd(items...))
}

func (h handle) tryItems(limit int) ([]encsession.Item, error) {
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	return h.GetItems(ctx, limit)
}

func (h handle) items(limit int) []encsession.Item {
	h.t.Helper()
	items, err := h.tryItems(limit)
	h.must("GetItems", err)
	return items
}

func (h handle) tryPop() (encsession.Item, error) {
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	return h.PopItem(ctx)
}

func (h handle) pop() encsession.Item {
	h.t.Helper()
	item, err := h.tryPop()
	h.must("PopItem", err)
	return item
}

func (h handle) tryClear() error {
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	return h.ClearSession(ctx)
}

func (h handle) clear() {
	h.t.Helper()
	h.must("ClearSession", h.tryClear())
}

// isRewriter adds an item to the session, and reports whether the session can
// rewrite it.
func (h handle) isRewriter() bool {
	h.t.Helper()
	if _, ok := h.Session.(encsession.Rewriter); !ok {
		return false
	}
	h.add(object("not", "rewritten"))
	_, err := h.tryRewrite(1, leave)
	return !errors.Is(err, errors.ErrUnsupported)
}

// tryRewrite calls RewriteItems. A batch without items fails the check, and
// does not go to edit.
func (h handle) tryRewrite(first int, edit edit) (int, error) {
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	return h.Session.(encsession.Rewriter).RewriteItems(ctx, first,
		func(stored []encsession.Item) ([]encsession.Item, bool) {
			if len(stored) == 0 {
				h.t.Errorf("session %q: RewriteItems calls edit with no items", h.id)
				return nil, false
			}
			return edit(stored)
		})
}

// rewrite rewrites items. It ends the check unless the wanted number of items
// change.
func (h handle) rewrite(want, first int, edit edit) {
	h.t.Helper()
	changed, err := h.tryRewrite(first, edit)
	h.must("RewriteItems", err)
	if changed != want {
		h.t.Fatalf("session %q: RewriteItems says that it changed %d items; want %d", h.id, changed, want)
	}
}

// exchange puts other items in the place of some; see exchanging. It ends the
// check unless the wanted number of items change.
func (h handle) exchange(want int, oldNew ...encsession.Item) {
	h.t.Helper()
	h.rewrite(want, 1, exchanging(oldNew...))
}

func (h handle) must(method string, err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatalf("session %q: %s: %v", h.id, method, err)
	}
}

// want ends the check unless the session holds these items.
func (h handle) want(want ...encsession.Item) {
	h.t.Helper()
	h.wantNewest(0, want...)
}

// wantNewest ends the check unless GetItems with this limit returns these
// items.
func (h handle) wantNewest(limit int, want ...encsession.Item) {
	h.t.Helper()
	h.wantEqual(fmt.Sprintf("GetItems with limit %d", limit), h.items(limit), want)
}

// wantPop ends the check unless PopItem returns this item, or nil.
func (h handle) wantPop(want encsession.Item) {
	h.t.Helper()
	got := h.pop()
	if (got == nil) != (want == nil) || want != nil && !equalJSON(got, want) {
		h.t.Fatalf("session %q: PopItem returns %s; want %s%s", h.id, show(got), show(want), advice(got, want))
	}
}

// wantEqual ends the check unless the items are equal JSON.
func (h handle) wantEqual(what string, got, want []encsession.Item) {
	h.t.Helper()
	for i := range min(len(got), len(want)) {
		if !equalJSON(got[i], want[i]) {
			h.t.Fatalf("session %q: %s: item %d is %s; want %s%s",
				h.id, what, i, show(got[i]), show(want[i]), advice(got[i], want[i]))
		}
	}
	if len(got) != len(want) {
		h.t.Fatalf("session %q: %s: %d items; want %d", h.id, what, len(got), len(want))
	}
}

// numbered returns items with the numbers from first to last. The order of
// their texts is that of their numbers.
func numbered(first, last int) []encsession.Item {
	var items []encsession.Item
	for n := first; n <= last; n++ {
		items = append(items, fmt.Appendf(nil, `{"number":"%04d"}`, n))
	}
	return items
}

// random returns lower-case letters and digits that no other call has returned.
func random() string { return strings.ToLower(rand.Text())[:16] }

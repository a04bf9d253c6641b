package openaisession

import (
	"context"
	"errors"
	"fmt"

	"github.com/encsession/encsession"
)

// config is the sum of the options. Its zero value changes nothing in a read.
type config struct {
	clean, withoutDuplicates, withoutOrphans, withoutStaleIDs, wholeTurns bool

	turns, budget int // 0 means no bound
	size          func(encsession.Item) int

	onOmission func(context.Context, Omission) // may be nil
	err        error                           // of the first invalid option
}

// Option is an option of [New]. The nil Option is an error.
//
// The options change only the result of [Session.GetItems]. The stored items
// stay as they are, and PopItem returns them as they are.
type Option func(*config)

// WithSendableHistory makes GetItems return a history that the Responses API
// accepts, no matter who wrote the items and which of them have expired. Agents
// should use this option. It stands for all of these:
//
//   - [WithCleanItems], for items that the Python SDK has stored;
//   - [WithoutDuplicates], for items that were stored twice;
//   - [WithoutOrphans], for halves of pairs, and reasoning without the item
//     that it led to;
//   - [WithWholeTurns], so that a limit cuts at a user's message.
//
// Besides, calls of functions and custom tools, and messages of the assistant,
// lose their ID if no reasoning stands right before them. By that ID the API
// remembers which reasoning it wants to see, even if the reasoning has expired.
//
// The option is for a history that is about to be sent. Do not use it to look
// for a call that still waits for its output: a read leaves such a call out.
func WithSendableHistory() Option {
	return func(c *config) {
		c.clean, c.withoutDuplicates, c.withoutOrphans, c.wholeTurns = true, true, true, true
		c.withoutStaleIDs = true
	}
}

// WithLastTurns makes GetItems return the newest n turns at most.
// [WithWholeTurns] defines a turn. n must be at least 1.
func WithLastTurns(n int) Option {
	return func(c *config) {
		if n < 1 {
			c.refuse(fmt.Errorf("WithLastTurns: %d turns: at least 1 is needed", n))
		}
		c.turns, c.wholeTurns = n, true
	}
}

// WithBudget makes GetItems return as many of the newest turns as fit: the sum
// of the sizes of their items is at most max. max must be at least 1.
// [WithWholeTurns] defines a turn.
//
// size measures an item by the JSON that a client would send, in tokens for
// example. It must not keep or change the item. Concurrent reads call it
// concurrently. If size is nil, the size is in bytes of JSON. A negative size
// counts as 0.
func WithBudget(max int, size func(encsession.Item) int) Option {
	return func(c *config) {
		if max < 1 {
			c.refuse(fmt.Errorf("WithBudget: a budget of %d: at least 1 is needed", max))
		}
		if size == nil {
			size = func(item encsession.Item) int { return len(item) }
		}
		c.budget, c.size, c.wholeTurns = max, size, true
	}
}

// WithOmissionHandler sets a func that is told of every item that another
// option leaves out: once for each call of GetItems, oldest first. It is not
// told of items beyond a limit, a number of turns or a budget, since the caller
// wanted that.
//
// The goroutine that reads calls handle, with no lock held, before GetItems
// returns. Concurrent reads call it concurrently. A nil handle is an error. If
// there are two handlers, the later one counts.
func WithOmissionHandler(handle func(context.Context, Omission)) Option {
	return func(c *config) {
		if handle == nil {
			c.refuse(errors.New("WithOmissionHandler: the handler is nil"))
		}
		c.onOmission = handle
	}
}

func (c *config) refuse(err error) {
	if c.err == nil {
		c.err = err
	}
}

// Omission is an item that GetItems has left out. Its String is safe for a log.
type Omission struct {
	SessionID string
	Reason    Reason

	// Type and ID are text from the store, of any length, that a model or a
	// program may have chosen: print them with %q. ID is the call_id of the
	// item or, if it has none, the ID that is used instead.
	Type, ID string
}

// String returns one printable line. It shows only the reason, the type and the
// IDs, and no other content.
func (o Omission) String() string {
	return fmt.Sprintf("%s: %q %q of session %q", o.Reason, o.Type, o.ID, o.SessionID)
}

// Reason says why an item was left out.
type Reason string

// The reasons, by the option that left the item out.
const (
	ReasonOrphan    Reason = "orphan"            // WithoutOrphans
	ReasonDuplicate Reason = "duplicate"         // WithoutDuplicates
	ReasonForeign   Reason = "foreign reasoning" // WithCleanItems
	ReasonHalfTurn  Reason = "half a turn"       // WithWholeTurns
)

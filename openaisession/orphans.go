package openaisession

import (
	"context"
	"encoding/json"

	"github.com/encsession/encsession"
)

// WithoutOrphans makes GetItems leave out the items that have lost what the API wants to see beside them, so that it
// accepts the history: of a tool call and its output, one that is there without the other, and reasoning that led to
// nothing that is there. That happens where the one has expired and the other has not, where a limit cuts between them,
// and where a program stopped while a tool was running. The store stays as it is.
//
// It is for a history that is about to be sent. Do not use it to look for a call that still waits for its output, such as
// a request that a person is to approve: without an answer it is an orphan.
//
// These belong together, each by its call_id, the call first:
//
//	function_call         function_call_output
//	custom_tool_call      custom_tool_call_output
//	computer_call         computer_call_output
//	local_shell_call      local_shell_call_output    or by id, which is what openai-go has there
//	shell_call            shell_call_output          the call may wait where a program made it and the API runs it
//	apply_patch_call      apply_patch_call_output
//	tool_search_call      tool_search_output
//	program               program_output             the program may wait while something that it called is there
//	mcp_approval_request  mcp_approval_response      by the id of the request
//
// What a program has called goes with it. A reasoning item goes with the call that follows it, unless more of the same
// answer is left, and where nothing that the model said follows it. All else stays: calls without a call_id, which the API
// answers itself, and types that this version does not know.
//
// Two things it cannot see. The API may refuse a call, or a message, whose reasoning is missing: add the output of a
// response with one AddOutput, so that it expires at one moment, and take care where a limit cuts. And what an
// item_reference or a previous_response_id stands for lies with the API: an output whose call is there is an orphan here.
//
// The handler is told of every item that is left out, once a call of GetItems, oldest first; nil is no handler. It is
// called by the goroutine that reads, with no lock held, before GetItems returns. Concurrent reads call it concurrently.
func WithoutOrphans(handle func(context.Context, Orphan)) Option {
	return func(c *config) { c.withoutOrphans, c.onOrphan = true, handle }
}

// Orphan tells the handler of WithoutOrphans of an item that was left out. It holds no content.
type Orphan struct {
	SessionID string
	Type      string // such as "function_call"
	ID        string // the call_id, or what takes its place
}

func (s *Session) dropOrphans(ctx context.Context, items []encsession.Item) []encsession.Item {
	h := newHistory(items)
	h.dropHalves()
	h.dropReasoning()
	kept := make([]encsession.Item, 0, len(items))
	for i, item := range items {
		if !h[i].orphan {
			kept = append(kept, item)
		} else if s.config.onOrphan != nil {
			s.config.onOrphan(ctx, Orphan{SessionID: s.session.SessionID(), Type: h[i].Type, ID: h[i].shownID()})
		}
	}
	return kept
}

// history is what the filter looks at of the items, oldest first.
type history []entry

type entry struct {
	Type, Role, ID, Status string
	CallID                 string `json:"call_id"`
	ApprovalRequestID      string `json:"approval_request_id"`
	Caller                 struct {
		CallerID string `json:"caller_id"` // the call_id of a program
	}

	orphan bool
}

func newHistory(items []encsession.Item) history {
	h := make(history, len(items))
	for i, item := range items {
		if json.Unmarshal(item, &h[i]) != nil {
			h[i] = entry{} // of no type that this version knows
		}
	}
	return h
}

// callOf has the type of the call for each type of output.
var callOf = map[string]string{
	"function_call_output":    "function_call",
	"custom_tool_call_output": "custom_tool_call",
	"computer_call_output":    "computer_call",
	"local_shell_call_output": "local_shell_call",
	"shell_call_output":       "shell_call",
	"apply_patch_call_output": "apply_patch_call",
	"tool_search_output":      "tool_search_call",
	"program_output":          program,
	"mcp_approval_response":   "mcp_approval_request",
}

const program = "program"

var isCall = func() map[string]bool {
	calls := map[string]bool{}
	for _, call := range callOf {
		calls[call] = true
	}
	return calls
}()

func (e entry) isOutput() bool { return callOf[e.Type] != "" }

// link is what a call and its output have in common.
type link struct{ callType, id string }

// links returns by what an entry is found, or finds, its other half: by any of them. There are none where the entry is
// not half of a pair.
func (e entry) links() []link {
	callType := callOf[e.Type]
	if isCall[e.Type] {
		callType = e.Type
	}
	var ids []string
	switch e.Type {
	case "mcp_approval_request":
		ids = []string{e.ID}
	case "mcp_approval_response":
		ids = []string{e.ApprovalRequestID}
	case "local_shell_call", "local_shell_call_output":
		ids = []string{e.CallID, e.ID}
	default:
		ids = []string{e.CallID}
	}
	var links []link
	for _, id := range ids {
		if callType != "" && id != "" {
			links = append(links, link{callType, id})
		}
	}
	return links
}

func (e entry) shownID() string {
	if links := e.links(); len(links) > 0 {
		return links[0].id
	}
	return e.ID
}

// dropHalves marks what is left of pairs as orphans: first, onwards, what lacks its call or program, and then, backwards,
// calls that lack their output, which by then have nothing left that depends on them.
func (h history) dropHalves() {
	calls := map[link]bool{}
	for i := range h {
		e := &h[i]
		links := e.links()
		switch {
		case e.Caller.CallerID != "" && !calls[link{program, e.Caller.CallerID}]:
			e.orphan = true
		case !e.isOutput():
			add(calls, links)
		default:
			e.orphan = len(links) > 0 && !hasAny(calls, links)
		}
	}

	outputs, working := map[link]bool{}, map[string]bool{} // working has the programs with something that they called
	for i := len(h) - 1; i >= 0; i-- {
		e := &h[i]
		if e.orphan {
			continue
		}
		links := e.links()
		if e.isOutput() {
			add(outputs, links)
		} else {
			e.orphan = len(links) > 0 && !hasAny(outputs, links) && !e.mayWait(working)
		}
		if !e.orphan {
			working[e.Caller.CallerID] = true
		}
	}
}

// mayWait reports whether a call may be sent without its output, because the API has yet to give it.
func (e entry) mayWait(working map[string]bool) bool {
	if e.Type == program {
		return working[e.CallID]
	}
	return e.Type == "shell_call" && e.Caller.CallerID != "" && (e.Status == "" || e.Status == "in_progress")
}

func add(set map[link]bool, links []link) {
	for _, l := range links {
		set[l] = true
	}
}

func hasAny(set map[link]bool, links []link) bool {
	for _, l := range links {
		if set[l] {
			return true
		}
	}
	return false
}

// dropReasoning marks reasoning that nothing follows of what it led to.
func (h history) dropReasoning() {
	const (
		nothing   = iota // of what the model said follows
		reasoning        // follows, and stays
		answer           // follows, and stays
	)
	next := nothing
	for i := len(h) - 1; i >= 0; i-- {
		switch e := &h[i]; {
		case e.isOutput() || e.Role == "user" || e.Role == "system" || e.Role == "developer":
			next = nothing
		case e.Type == "reasoning" && next == nothing:
			e.orphan = true
		case e.Type == "reasoning":
			next = reasoning
		case !e.orphan:
			next = answer
		case next == reasoning: // a call that goes was between the two: the later reasoning is that of another answer
			next = nothing
		}
	}
}

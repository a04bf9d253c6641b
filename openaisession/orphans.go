package openaisession

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/encsession/encsession"
)

// WithoutOrphans makes GetItems leave out what the API is known to refuse, for it has lost what the API wants to see beside
// it: of a tool call and its output, one that is there without the other, and reasoning that led to nothing that is there.
// That happens where the one has expired and the other has not, where a limit cuts between them, and where a program stopped
// while a tool was running. The store stays as it is.
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
//	local_shell_call      function_call_output       which some programs answer with
//	shell_call            shell_call_output          the call may wait where a program made it and the API runs it
//	apply_patch_call      apply_patch_call_output
//	tool_search_call      tool_search_output         but for those that the API has executed, which may stand alone
//	program               program_output             the program may wait while something that it called is there
//	mcp_approval_request  mcp_approval_response      by the id of the request
//
// An output belongs to the newest call of its ID before it that has none yet: a second output to one call is an orphan.
// Halves of pairs that a program has called go with it. All else stays: calls without a call_id, which the API answers
// itself, and all types but these and reasoning, known or not, whoever called them.
//
// A reasoning item goes with the call that follows it, unless more of the same answer is left, and where nothing that the
// model said follows it. What the user, the system, the developer or a tool says ends an answer. So does a message of the
// assistant that has no id, where the reasoning has one: the API gives both an id, so that message was made by a program.
//
// Three things it cannot see. Two answers may follow on one another with nothing between them, after a program stopped: then
// reasoning of the first may stay for what is left of the second. The API may refuse a call, or a message, whose reasoning is
// missing: add the output of a response with one AddOutput, so that it expires at one moment, and take care where a limit
// cuts. And what an item_reference or a previous_response_id stands for lies with the API: an output whose call is there is
// an orphan here.
//
// The handler is told of every item that is left out, once a call of GetItems, oldest first; nil is no handler. It is
// called by the goroutine that reads, with no lock held, before GetItems returns. Concurrent reads call it concurrently.
func WithoutOrphans(handle func(context.Context, Orphan)) Option {
	return func(c *config) { c.withoutOrphans, c.onOrphan = true, handle }
}

// Orphan tells the handler of WithoutOrphans of an item that was left out.
type Orphan struct {
	SessionID string
	Type      string // one of the types that WithoutOrphans names, such as "function_call"

	// ID is the call_id, or what takes its place. It is text from the store, of any length, that a model or a program may
	// have chosen: print it with %q.
	ID string
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
	Type, ID, CallID  string
	approvalRequestID string
	status            string
	execution         string // of a tool search: "server" where the API has executed it
	caller            string // the call_id of the program that called, if one did
	role              string // of a message

	answered, orphan bool
}

func newHistory(items []encsession.Item) history {
	h := make(history, len(items))
	for i, item := range items {
		h[i] = newEntry(item)
	}
	return h
}

// newEntry reads each member for itself: one of an unexpected kind says nothing about the others.
func newEntry(item encsession.Item) entry {
	members := itemMembers(item)
	e := entry{
		Type:              memberText(members, "type"),
		ID:                memberText(members, "id"),
		CallID:            memberText(members, "call_id"),
		approvalRequestID: memberText(members, "approval_request_id"),
		status:            memberText(members, "status"),
		execution:         memberText(members, "execution"),
	}
	if caller := membersOf(find(members, "caller")); memberText(caller, "type") == program {
		e.caller = memberText(caller, "caller_id")
	}
	if e.Type == "" || e.Type == "message" {
		e.role = memberText(members, "role")
	}
	return e
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

func (e entry) isHalf() bool { return e.isOutput() || isCall[e.Type] }

// byAPI reports whether the API has executed a tool search, so that it asks for no other half.
func (e entry) byAPI() bool {
	return e.execution == "server" && strings.HasPrefix(e.Type, "tool_search_")
}

// link is what a call and its output have in common.
type link struct{ callType, id string }

// links returns by what an entry is found, or finds, its other half: by any of them. There are none where the entry is
// not half of a pair, or may stand alone.
func (e entry) links() []link {
	var links []link
	switch e.Type {
	case "mcp_approval_request":
		links = []link{{e.Type, e.ID}}
	case "mcp_approval_response":
		links = []link{{callOf[e.Type], e.approvalRequestID}}
	case "local_shell_call", "local_shell_call_output":
		links = []link{{"local_shell_call", e.CallID}, {"local_shell_call", e.ID}}
	case "function_call_output":
		links = []link{{"function_call", e.CallID}, {"local_shell_call", e.CallID}}
	default:
		if e.isHalf() && !e.byAPI() {
			links = []link{{cmp.Or(callOf[e.Type], e.Type), e.CallID}}
		}
	}
	return slices.DeleteFunc(links, func(l link) bool { return l.id == "" })
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
	calls, programs := map[link][]*entry{}, map[string]bool{} // that are there so far
	for i := range h {
		e := &h[i]
		links := e.links()
		switch {
		case e.isHalf() && e.caller != "" && !programs[e.caller]:
			e.orphan = true
		case e.isOutput() && len(links) > 0:
			e.orphan = !answer(calls, links)
		default:
			for _, l := range links {
				calls[l] = append(calls[l], e)
			}
			programs[e.CallID] = programs[e.CallID] || e.Type == program
		}
	}

	working := map[string]bool{} // the programs with something after them that they called
	for i := len(h) - 1; i >= 0; i-- {
		e := &h[i]
		if !e.orphan && !e.isOutput() && !e.answered && len(e.links()) > 0 {
			e.orphan = !e.mayWait(working)
		}
		if e.Type == program {
			delete(working, e.CallID) // what was called belongs to the newest program of that ID
		}
		if !e.orphan {
			working[e.caller] = true
		}
	}
}

// answer marks the newest call that one of the links finds, and that is not answered yet, as answered. It reports
// whether there was one.
func answer(calls map[link][]*entry, links []link) bool {
	for _, l := range links {
		for n := len(calls[l]); n > 0; n-- {
			call := calls[l][n-1]
			calls[l] = calls[l][:n-1]
			if !call.answered {
				call.answered = true
				return true
			}
		}
	}
	return false
}

// mayWait reports whether a call may be sent without its output, because the API has yet to give it.
func (e entry) mayWait(working map[string]bool) bool {
	if e.Type == program {
		return working[e.CallID]
	}
	return e.Type == "shell_call" && e.caller != "" && (e.status == "" || e.status == "in_progress")
}

// dropReasoning marks reasoning that nothing follows of what it led to.
func (h history) dropReasoning() {
	const (
		nothing   = iota // of what the model said follows
		reasoning        // follows, and stays
		unnamed          // follows: a message without an id, which is only that of reasoning without one
		said             // follows, and stays
	)
	next := nothing
	for i := len(h) - 1; i >= 0; i-- {
		switch e := &h[i]; {
		case e.isOutput() && !e.byAPI() || e.role == "user" || e.role == "system" || e.role == "developer":
			next = nothing
		case e.isSetting():
			// may stand anywhere
		case e.Type == "reasoning" && (next == nothing || next == unnamed && e.ID != ""):
			e.orphan = true
		case e.Type == "reasoning":
			next = reasoning
		case e.role == "assistant" && e.ID == "":
			next = unnamed
		case !e.orphan:
			next = said
		case next == reasoning: // a call that goes was between the two: the later reasoning is that of another answer
			next = nothing
		}
	}
}

// isSetting reports whether a program has set something for what follows. The model did not say it.
func (e entry) isSetting() bool {
	return e.Type == "additional_tools" || e.Type == "configuration_update" || e.Type == "compaction_trigger"
}

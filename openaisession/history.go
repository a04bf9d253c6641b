package openaisession

import (
	"bytes"
	"context"
	"strings"

	"github.com/encsession/encsession"
)

// history holds the items of a read, oldest first.
type history []entry

// entry is an item, with the members that the options look at.
type entry struct {
	item    encsession.Item
	members []member // nil if item is not a JSON object

	Type, ID, CallID  string
	approvalRequestID string
	status            string
	execution         string // of a tool search: "server" if the API has executed it
	caller            string // the call_id of the program that called, if one did
	role              string // of a message

	answered bool   // whether a call has an output
	omitted  Reason // empty if the item stays
}

// read returns the entries of the newest limit items, or of all items if limit
// is 0 or less. If the options leave an entry out, its omitted is set.
func (s *Session) read(ctx context.Context, limit int) (history, error) {
	c := s.config
	limit = max(limit, 0)
	window := c.firstWindow(limit)
	for {
		items, err := s.session.GetItems(ctx, window)
		if err != nil {
			return nil, err
		}
		h := newHistory(items, c.clean)
		complete := window == 0 || len(items) < window
		if h, enough := h.apply(c, limit, complete); enough {
			return h, nil
		}
		if window *= 2; window > mostWindow {
			window = 0
		}
	}
}

// mostWindow is the largest window. After it, a read asks for all items.
const mostWindow = 1 << 20

// firstWindow returns how many items a read asks for first; 0 means all. To cut
// whole turns, or to judge the cut of a limit, a read needs older items too.
func (c config) firstWindow(limit int) int {
	const more = 16
	window := limit
	switch {
	case !c.wholeTurns && !c.withoutOrphans:
		return limit
	case limit > 0:
		window = limit + more
	case c.turns > 0:
		window = more * (min(c.turns, mostWindow) + 1)
	case c.budget > 0:
		window = 4 * more
	}
	if window > mostWindow || window < limit {
		return 0
	}
	return window
}

// apply applies the options, and returns the part of h that is within the
// bounds. If it needs older items to know that part, it reports false. complete
// says that there are no older items.
func (h history) apply(c config, limit int, complete bool) (history, bool) {
	enough := true
	if !c.wholeTurns && limit > 0 && limit < len(h) {
		cut := len(h) - limit
		if c.withoutOrphans {
			enough = h[cut:].dropUnreasoned(h[:cut], complete)
		}
		h = h[cut:]
	}
	if c.withoutDuplicates {
		h.dropDuplicates()
	}
	if c.withoutOrphans {
		h.dropHalves()
		h.dropReasoning()
	}
	if c.withoutStaleIDs {
		h.dropStaleIDs()
	}
	if c.wholeTurns {
		return h.wholeTurns(c, limit, complete)
	}
	return h, enough
}

func newHistory(items []encsession.Item, clean bool) history {
	h := make(history, len(items))
	for i, item := range items {
		h[i].item = item
		if !encsession.ValidItem(item) {
			continue // the store does not keep to the rules
		}
		h[i].members = membersOf(bytes.TrimSpace(item))
		if clean {
			h[i].clean()
		}
		h[i].look()
	}
	return h
}

// look sets the fields of an entry from its members. It reads each member by
// itself, so one of an unexpected kind does not affect the others.
func (e *entry) look() {
	for _, m := range e.members {
		switch m.name {
		case "type":
			e.Type, _ = textOf(m.raw)
		case "id":
			e.ID, _ = textOf(m.raw)
		case "call_id":
			e.CallID, _ = textOf(m.raw)
		case "approval_request_id":
			e.approvalRequestID, _ = textOf(m.raw)
		case "status":
			e.status, _ = textOf(m.raw)
		case "execution":
			e.execution, _ = textOf(m.raw)
		case "role":
			e.role, _ = textOf(m.raw)
		case "caller":
			e.caller = ""
			if caller := membersOf(m.raw); memberText(caller, "type") == program {
				e.caller = memberText(caller, "caller_id")
			}
		}
	}
	if e.Type != "" && e.Type != "message" {
		e.role = ""
	}
}

// callOf maps each type of output to the type of its call.
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

func (e *entry) isOutput() bool { return callOf[e.Type] != "" }

func (e *entry) isHalf() bool { return e.isOutput() || isCall[e.Type] }

// byAPI reports whether the API itself has executed a tool search. Then the API
// does not ask for the other half.
func (e *entry) byAPI() bool {
	return e.execution == "server" && strings.HasPrefix(e.Type, "tool_search_")
}

// isInput reports whether an entry is a message to the model.
func (e *entry) isInput() bool {
	return e.role == "user" || e.role == "system" || e.role == "developer"
}

// isSetting reports whether an entry is a program's setting for later items.
// The model did not say it.
func (e *entry) isSetting() bool {
	return e.Type == "additional_tools" || e.Type == "configuration_update" ||
		e.Type == "compaction_trigger"
}

// isMadeMessage reports whether a program has made a message of the assistant.
// The API gives an ID to each of its own.
func (e *entry) isMadeMessage() bool { return e.role == "assistant" && e.ID == "" }

// endsAnswer reports whether an entry ends the answer of the model before it.
func (e *entry) endsAnswer() bool { return e.isInput() || e.isOutput() && !e.byAPI() }

// link is the value that a call and its output share.
type link struct{ callType, id string }

// links returns the links by which an entry finds its other half: either of
// them is enough. Both are empty if the entry is not half of a pair, or may
// stand alone. If only one is set, it is the first.
func (e *entry) links() (links [2]link) {
	add := func(callType, id string) {
		switch {
		case id == "":
		case links[0].id == "":
			links[0] = link{callType, id}
		default:
			links[1] = link{callType, id}
		}
	}
	switch e.Type {
	case "mcp_approval_request":
		add(e.Type, e.ID)
	case "mcp_approval_response":
		add(callOf[e.Type], e.approvalRequestID)
	case "local_shell_call", "local_shell_call_output":
		add("local_shell_call", e.CallID)
		add("local_shell_call", e.ID)
	case "function_call_output":
		add("function_call", e.CallID)
		add("local_shell_call", e.CallID)
	default:
		if isCall[e.Type] && !e.byAPI() {
			add(e.Type, e.CallID)
		} else if e.isOutput() && !e.byAPI() {
			add(callOf[e.Type], e.CallID)
		}
	}
	return links
}

func (e *entry) hasLinks() bool { return e.links()[0].id != "" }

// shownID returns the ID by which an omission shows an entry.
func (e *entry) shownID() string {
	if links := e.links(); links[0].id != "" {
		return links[0].id
	}
	return e.ID
}

package openaisession

// WithoutOrphans makes GetItems leave out orphans: a tool call without its
// output, an output without its call, and reasoning without the item that it
// led to. The API refuses these. One half of a pair may have expired, a limit
// may have cut between the halves, or a program may have stopped while a tool
// was running.
//
// These belong together, each by its call_id, the call first:
//
//	function_call         function_call_output
//	custom_tool_call      custom_tool_call_output
//	computer_call         computer_call_output
//	local_shell_call      local_shell_call_output    or by id, as openai-go has it
//	local_shell_call      function_call_output       with which some programs answer
//	shell_call            shell_call_output          may wait if a program called it
//	apply_patch_call      apply_patch_call_output
//	tool_search_call      tool_search_output         alone if the API executed it
//	program               program_output             may wait for a call of its own
//	mcp_approval_request  mcp_approval_response      by the id of the request
//
// An output belongs to the newest call before it that has the same ID and no
// output yet. So a second output of one call is an orphan. If a program has
// called a tool, and the program goes, the halves of that pair go too.
// Everything else stays: calls without a call_id, which the API answers itself,
// and all other types, known or not.
//
// If the call after a reasoning item goes, the reasoning goes too, unless more
// of the same answer is left. It also goes if no item of the model follows it
// in its answer. A message from the user, the system or the developer ends an
// answer, and so does the output of a tool. A message of the assistant without
// an ID ends it too, if the reasoning has an ID. The API gives an ID to both,
// so a program has made that message.
//
// If a limit cuts between reasoning and the item after it, the rest of that
// answer is left out.
//
// The option cannot see three things:
//
// First, after a program has stopped, one answer may follow another with
// nothing between them. Then reasoning of the first may stay with the rest of
// the second.
//
// Second, the API may refuse a call or a message whose reasoning has expired.
// Add the output of a response with one AddOutput, so that all of it expires
// together, or use [WithSendableHistory].
//
// Third, the items behind an item_reference or a previous_response_id are
// stored by the API. If the call of an output is among them, the output is an
// orphan here.
func WithoutOrphans() Option {
	return func(c *config) { c.withoutOrphans = true }
}

// dropHalves marks halves of pairs as orphans. First it goes forward and marks
// entries without their call or program. Then it goes backward and marks calls
// without their output: by then, nothing that is left depends on these calls.
func (h history) dropHalves() {
	calls, programs := map[link][]*entry{}, map[string]bool{} // so far
	for i := range h {
		e := &h[i]
		links := e.links()
		switch {
		case e.omitted != "":
		case e.isHalf() && e.caller != "" && !programs[e.caller]:
			e.omitted = ReasonOrphan
		case e.isOutput() && links[0].id != "":
			if answer(calls, links) == nil {
				e.omitted = ReasonOrphan
			}
		default:
			addCall(calls, links, e)
			programs[e.CallID] = programs[e.CallID] || e.Type == program
		}
	}

	working := map[string]bool{} // the programs to which a later entry belongs
	for i := len(h) - 1; i >= 0; i-- {
		e := &h[i]
		if e.omitted == "" && !e.isOutput() && !e.answered && e.hasLinks() &&
			!e.mayWait(working) {
			e.omitted = ReasonOrphan
		}
		if e.Type == program && e.omitted != ReasonDuplicate {
			delete(working, e.CallID) // a call belongs to the newest program with its ID
		}
		if e.omitted == "" {
			working[e.caller] = true
		}
	}
}

func addCall[T any](calls map[link][]T, links [2]link, call T) {
	for _, l := range links {
		if l.id != "" {
			calls[l] = append(calls[l], call)
		}
	}
}

// answer finds, by the links, the newest call that is not answered yet. It
// marks that call as answered and returns it, or returns nil if there is none.
func answer(calls map[link][]*entry, links [2]link) *entry {
	for _, l := range links {
		for n := len(calls[l]); n > 0; n-- {
			call := calls[l][n-1]
			calls[l] = calls[l][:n-1]
			if !call.answered {
				call.answered = true
				return call
			}
		}
	}
	return nil
}

// mayWait reports whether a call may be sent without its output, since the API
// is still to give it.
func (e *entry) mayWait(working map[string]bool) bool {
	if e.Type == program {
		return working[e.CallID]
	}
	return e.Type == "shell_call" && e.caller != "" &&
		(e.status == "" || e.status == "in_progress")
}

// dropReasoning marks reasoning as an orphan if the item that it led to does
// not follow.
func (h history) dropReasoning() {
	const (
		nothing   = iota // no item of the model follows
		reasoning        // reasoning follows, and stays
		unnamed          // a message of the assistant without an ID follows
		said             // another item of the model follows, and stays
	)
	next := nothing
	for i := len(h) - 1; i >= 0; i-- {
		switch e := &h[i]; {
		case e.endsAnswer():
			next = nothing
		case e.isSetting():
			// may stand anywhere
		case e.omitted == ReasonDuplicate || e.omitted == ReasonForeign:
			// skipped, as if it were not there
		case e.Type == "reasoning" && (next == nothing || next == unnamed && e.ID != ""):
			e.omitted = ReasonOrphan
		case e.Type == "reasoning":
			next = reasoning
		case e.isMadeMessage():
			next = unnamed // such a message belongs only to reasoning without an ID
		case e.omitted == "":
			next = said
		case next == reasoning:
			// This item goes, and it stood between two reasoning items. So the
			// later reasoning belongs to another answer.
			next = nothing
		}
	}
}

// dropUnreasoned marks the first entries of h as orphans, if they are the rest
// of an answer whose reasoning is among the entries before. If it needs older
// entries to know that, it reports false. complete says that there are none
// older than before.
func (h history) dropUnreasoned(before history, complete bool) bool {
	if !h.startsInAnswer() {
		return true
	}
	for i := len(before) - 1; i >= 0; i-- {
		switch e := &before[i]; {
		case e.endsAnswer() || e.isMadeMessage():
			return true
		case e.Type == "reasoning":
			h.dropAnswer()
			return true
		}
	}
	return complete
}

func (h history) startsInAnswer() bool {
	e := &h[0]
	return !e.endsAnswer() && e.Type != "reasoning" && !e.isMadeMessage()
}

func (h history) dropAnswer() {
	for i := range h {
		if e := &h[i]; e.endsAnswer() || e.Type == "reasoning" {
			return
		} else if !e.isSetting() && !e.isMadeMessage() && e.omitted == "" {
			e.omitted = ReasonOrphan
		}
	}
}

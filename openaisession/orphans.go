package openaisession

// WithoutOrphans makes GetItems leave out items whose companions are missing,
// which the API wants to see beside them. Such are a tool call without its
// output, an output without its call, and reasoning without anything that it
// led to. One half may have expired, a limit may have cut between them, or a
// program stopped while a tool was running.
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
// An output belongs to the newest call of its ID before it that has none yet: a
// second output to one call is an orphan. Halves of pairs that a program has
// called go with it. All else stays: calls without a call_id, which the API
// answers itself, and all other types, known or not.
//
// A reasoning item goes with the call that follows it, unless more of the same
// answer is left. It goes too if nothing that the model said follows it. A
// message from the user, the system or the developer ends an answer, and so
// does the output of a tool. A message of the assistant that has no ID ends it
// if the reasoning has one: the API gives both an ID, so a program made that
// message.
//
// If a limit cuts between reasoning and the item after it, the rest of that
// answer is left out.
//
// Three things the option cannot see. Two answers may follow one another with
// nothing between them, after a program stopped. Then reasoning of the first
// may stay for the rest of the second. The API may refuse a call, or a message,
// whose reasoning has expired: add the output of a response with one AddOutput,
// so that all of it expires at one moment, or use [WithSendableHistory]. And
// the items behind an item_reference or a previous_response_id lie with the
// API: an output whose call is there is an orphan here.
func WithoutOrphans() Option {
	return func(c *config) { c.withoutOrphans = true }
}

// dropHalves marks halves of pairs as orphans. First, onwards, it marks
// entries that lack their call or program. Then, backwards, it marks calls that
// lack their output: by then they have nothing left that depends on them.
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

	working := map[string]bool{} // the programs that something after them belongs to
	for i := len(h) - 1; i >= 0; i-- {
		e := &h[i]
		if e.omitted == "" && !e.isOutput() && !e.answered && e.hasLinks() &&
			!e.mayWait(working) {
			e.omitted = ReasonOrphan
		}
		if e.Type == program && e.omitted != ReasonDuplicate {
			delete(working, e.CallID) // a call belongs to the newest program of an ID
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

// answer takes the newest call that one of the links finds, and that is not
// answered yet. It marks that call as answered and returns it, or nil.
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

// mayWait reports whether a call may be sent without its output, because the
// API has yet to give it.
func (e *entry) mayWait(working map[string]bool) bool {
	if e.Type == program {
		return working[e.CallID]
	}
	return e.Type == "shell_call" && e.caller != "" &&
		(e.status == "" || e.status == "in_progress")
}

// dropReasoning marks reasoning if nothing follows that it led to.
func (h history) dropReasoning() {
	const (
		nothing   = iota // that the model said follows
		reasoning        // follows, and stays
		unnamed          // follows: a message without an ID
		said             // follows, and stays
	)
	next := nothing
	for i := len(h) - 1; i >= 0; i-- {
		switch e := &h[i]; {
		case e.endsAnswer():
			next = nothing
		case e.isSetting():
			// may stand anywhere
		case e.omitted == ReasonDuplicate || e.omitted == ReasonForeign:
			// as if it were not there
		case e.Type == "reasoning" && (next == nothing || next == unnamed && e.ID != ""):
			e.omitted = ReasonOrphan
		case e.Type == "reasoning":
			next = reasoning
		case e.isMadeMessage():
			next = unnamed // which is only that of reasoning without an ID
		case e.omitted == "":
			next = said
		case next == reasoning:
			// Between the two stood a call that goes: the later reasoning is
			// that of another answer.
			next = nothing
		}
	}
}

// dropUnreasoned marks the start of h as orphans if it is the rest of an answer
// whose reasoning is among the entries before it. It reports false if it takes
// older entries to know that. The entries before are complete if there are
// none.
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

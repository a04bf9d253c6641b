package openaisession

// WithWholeTurns makes GetItems cut between turns, and never inside one. So it
// never cuts reasoning from its call, or a call from its output. A turn begins
// with a message from the user, or with the messages from the system or the
// developer right before that. It ends before the next turn. A user's message
// between a call and its output does not begin a turn.
//
// With a limit, GetItems then returns only whole turns: as many of the newest
// ones as fit into that number of items. [WithLastTurns] and [WithBudget] are
// bounds of the same kind. If there are several bounds, all of them hold. The
// newest turn is always returned, however long it is: without it there is
// nothing to answer. If a history has no message from the user, all of it is
// one turn.
//
// If the beginning of the oldest turn has expired, the rest is left out as half
// a turn. Messages without IDs before the first turn stay, such as a greeting
// that a program has put there.
func WithWholeTurns() Option {
	return func(c *config) { c.wholeTurns = true }
}

// wholeTurns returns the part of h that is within the bounds. If it needs older
// entries to know that part, it reports false. complete says that there are
// none.
func (h history) wholeTurns(c config, limit int, complete bool) (history, bool) {
	calls := h.callsOfOutputs()
	starts := h.starts(calls)
	if !complete && len(starts) > 0 && starts[0] == 0 {
		starts = starts[1:] // older items may belong to it
	}
	if complete && (len(starts) == 0 || h[:starts[0]].isPreface()) {
		starts = append([]int{0}, starts[min(len(starts), 1):]...)
	}

	first, end := -1, len(h)
	turns, items, size := 0, 0, 0
	for n := len(starts) - 1; n >= 0; n-- {
		turns++
		for _, e := range h[starts[n]:end] {
			if e.omitted != "" {
				continue
			}
			items++
			if c.size != nil {
				size += max(c.size(e.item), 0)
			}
		}
		if first >= 0 && (c.turns > 0 && turns > c.turns || limit > 0 && items > limit ||
			c.budget > 0 && size > c.budget) {
			return h[first:], complete || h.hasCalls(calls, first)
		}
		first, end = starts[n], starts[n]
	}
	if !complete {
		return nil, false
	}
	for i := range h[:first] {
		if e := &h[i]; e.omitted == "" {
			e.omitted = ReasonHalfTurn
		}
	}
	return h, true
}

// starts returns the indices at which turns begin.
func (h history) starts(calls map[int]int) []int {
	inside := make([]int, len(h)+1) // the change of the number of open pairs at each index
	for output, call := range calls {
		if call >= 0 {
			inside[call+1]++
			inside[output+1]--
		}
	}
	var starts []int
	run, byUser, open := -1, false, 0 // run is the start of a run of inputs
	for i := range h {
		open += inside[i]
		switch e := &h[i]; {
		case e.omitted != "":
		case !e.isInput() && !e.isSetting():
			run, byUser = -1, false
		default:
			if run < 0 && open == 0 {
				run = i
			}
			if e.role == "user" && run >= 0 && !byUser {
				starts, byUser = append(starts, run), true
			}
		}
	}
	return starts
}

// callsOfOutputs maps the index of each output to the index of its call, or to
// -1 if h does not have the call. For half of a pair that a program has called,
// it gives the index of the program.
func (h history) callsOfOutputs() map[int]int {
	calls, found, programs := map[link][]int{}, map[int]int{}, map[string]int{}
	for i := range h {
		e := &h[i]
		if e.Type == program {
			programs[e.CallID] = i
		}
		links := e.links()
		switch {
		case links[0].id == "" || e.omitted != "" && e.omitted != ReasonOrphan:
		case !e.isOutput():
			addCall(calls, links, i)
		default:
			found[i] = -1
			for _, l := range links {
				if n := len(calls[l]); n > 0 && found[i] < 0 {
					found[i] = calls[l][n-1]
				}
			}
		}
		if at, ok := programs[e.caller]; e.caller != "" && e.isHalf() {
			found[i] = -1
			if ok {
				found[i] = at
			}
		}
	}
	return found
}

// hasCalls reports whether h has the call of every output from index first on.
func (h history) hasCalls(calls map[int]int, first int) bool {
	for output, call := range calls {
		if output >= first && call < 0 {
			return false
		}
	}
	return true
}

// isPreface reports whether the entries before the first turn belong to it.
// They do if a program has made all of them.
func (h history) isPreface() bool {
	for i := range h {
		e := &h[i]
		if e.omitted == "" && !e.isInput() && !e.isSetting() && !e.isMadeMessage() {
			return false
		}
	}
	return true
}

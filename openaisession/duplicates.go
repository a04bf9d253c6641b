package openaisession

// WithoutDuplicates makes GetItems leave out items that are stored twice, for
// example because the reply to an AddItems was lost. The API refuses them. Two
// items are the same if they have the same type and the same call_id, or the
// same type and the same ID. The newest of them counts, and stands in the place
// of the oldest.
//
// Some models use a call_id again in a later turn. The API refuses that too. In
// this case the newest call that has an output counts, with that output, in its
// own place. Items without IDs, such as most messages of a user, never count as
// duplicates.
func WithoutDuplicates() Option {
	return func(c *config) { c.withoutDuplicates = true }
}

// Python's SDK (openai-agents 0.24.0, run_internal/items.py,
// deduplicate_input_items_preferring_latest) keeps calls and reasoning in their
// oldest place, and everything else in its newest. It never takes messages for
// duplicates, though the API refuses two with one ID. If a call_id is used
// again, it moves the newest call before the answer of the older turn. Here the
// newest call stays with its output.

// use is one use of a call_id: calls and the outputs that follow them, by their
// indices, oldest first.
type use struct{ calls, outputs []int }

func (h history) dropDuplicates() {
	uses := map[link][]*use{}
	byID := map[link][]int{}
	for i := range h {
		e := &h[i]
		l := e.links()[0]
		switch {
		case e.omitted != "":
		case l.id != "":
			n := len(uses[l])
			if n == 0 || !e.isOutput() && len(uses[l][n-1].outputs) > 0 {
				uses[l] = append(uses[l], &use{})
				n++
			}
			if u := uses[l][n-1]; e.isOutput() {
				u.outputs = append(u.outputs, i)
			} else {
				u.calls = append(u.calls, i)
			}
		case e.ID != "" || e.CallID != "":
			l := e.idLink()
			byID[l] = append(byID[l], i)
		}
	}
	for _, uses := range uses {
		h.keepNewestUse(uses)
	}
	for _, same := range byID {
		h.keepNewest(same)
	}
	h.dropOlderIDs()
}

// idLink returns the link of an entry that is not half of a pair.
func (e *entry) idLink() link {
	switch {
	case e.role != "":
		return link{"message", e.ID}
	case e.ID != "":
		return link{e.Type, e.ID}
	}
	return link{"call_id of " + e.Type, e.CallID}
}

// keepNewestUse keeps the newest use that has a call and an output. If no use
// has both, it keeps the newest use. If that use has no calls, the calls of the
// other uses stay too. The same goes for outputs.
func (h history) keepNewestUse(uses []*use) {
	kept := uses[len(uses)-1]
	for _, u := range uses {
		if len(u.calls) > 0 && len(u.outputs) > 0 {
			kept = u
		}
	}
	for _, u := range uses {
		if u != kept && len(kept.calls) > 0 {
			h.omitAll(u.calls, ReasonDuplicate)
		}
		if u != kept && len(kept.outputs) > 0 {
			h.omitAll(u.outputs, ReasonDuplicate)
		}
	}
	h.keepNewest(kept.calls)
	h.keepNewest(kept.outputs)
}

// keepNewest puts the newest of these entries in the place of the oldest, and
// leaves out the others.
func (h history) keepNewest(same []int) {
	if len(same) > 1 {
		h[same[0]] = h[same[len(same)-1]]
		h.omitAll(same[1:], ReasonDuplicate)
	}
}

// dropOlderIDs leaves out the older of two entries that have the same type and
// ID but different call_ids.
func (h history) dropOlderIDs() {
	seen := map[link]bool{}
	for i := len(h) - 1; i >= 0; i-- {
		e := &h[i]
		if e.omitted != "" || e.ID == "" || e.CallID == "" {
			continue
		}
		if l := (link{e.Type, e.ID}); seen[l] {
			e.omitted = ReasonDuplicate
		} else {
			seen[l] = true
		}
	}
}

func (h history) omitAll(indices []int, reason Reason) {
	for _, i := range indices {
		h[i].omitted = reason
	}
}

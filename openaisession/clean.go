package openaisession

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/encsession/encsession"
)

// WithCleanItems makes GetItems return items without the members that SDKs
// store and the API refuses:
//
//   - the ID "__fake_id__", which Python's SDK gives to items of models that
//     have no IDs, and other IDs with a prefix that the API refuses;
//   - provider_data, which is for a model of another provider;
//   - members whose names begin with _agents_, which Python's SDK adds for
//     itself;
//   - created_by, also in the output of a shell call, and shell_output there;
//   - a status that is null, and any status of reasoning.
//
// Reasoning that has provider_data is left out: no other model can read it.
// Python's SDK does the same when it sends a history. Apart from "__fake_id__",
// WithCleanItems removes only IDs that the API does not need: those of
// messages, reasoning, and calls of functions and custom tools.
func WithCleanItems() Option {
	return func(c *config) { c.clean = true }
}

// The facts about Python's SDK are those of openai-agents 0.24.0.
// models/openai_responses.py (_clean_item_for_openai) drops foreign reasoning,
// fake IDs and provider_data. run_internal/items.py drops
// _agents_tool_description, _agents_tool_title and created_by
// (strip_internal_input_item_metadata), and a status of None
// (run_item_to_input_item). items.py (ToolCallOutputItem,
// _output_item_to_input_item) drops shell_output, and created_by of each part
// of the output of a shell call.
const fakeID = "__fake_id__" // models/fake_id.py

// idPrefix has the prefix that the API wants in an ID, for the types that need
// no ID. apitest names the sources.
var idPrefix = map[string]string{
	"message":          "msg",
	"reasoning":        "rs",
	"function_call":    "fc",
	"custom_tool_call": "ctc",
}

// clean removes the members that the API refuses, and marks the reasoning of
// other providers.
func (e *entry) clean() {
	typ, changed := memberText(e.members, "type"), false
	if typ == "" && find(e.members, "role") != nil {
		typ = "message"
	}
	kept := make([]member, 0, len(e.members))
	for _, m := range e.members {
		if isForeign(typ, m) {
			changed = true
			if typ == "reasoning" && m.name == "provider_data" && isTrue(m.raw) {
				e.omitted = ReasonForeign
			}
			continue
		}
		if typ == "shell_call_output" && m.name == "output" {
			if output, ok := withoutCreatedBy(m.raw); ok {
				m.raw, changed = output, true
			}
		}
		kept = append(kept, m)
	}
	if changed {
		e.members, e.item = kept, objectOf(kept)
	}
}

// isForeign reports whether a member of an item must not be sent.
func isForeign(typ string, m member) bool {
	switch m.name {
	case "id":
		id, _ := textOf(m.raw)
		prefix, optional := idPrefix[typ]
		return id == fakeID || optional && !strings.HasPrefix(id, prefix)
	case "provider_data", "created_by":
		return true
	case "status":
		return typ == "reasoning" || string(m.raw) == "null"
	case "shell_output":
		return typ == "shell_call_output"
	}
	return strings.HasPrefix(m.name, "_agents_")
}

// dropStaleIDs removes the IDs of calls and messages that have no reasoning
// right before them. The API remembers, by the ID of an item, which reasoning
// the item needs. It takes an item without an ID as it is.
// github.com/laravel/ai pull request 1052 and github.com/continuedev/continue
// pull request 11785 do this for calls. openai-agents 0.24.0 does it for
// messages from the Conversations API
// (_sanitize_openai_conversation_history_item_for_model_input).
func (h history) dropStaleIDs() {
	reasoned := false
	for i := range h {
		e := &h[i]
		if e.omitted == ReasonOrphan {
			reasoned = false // the reasoning belonged to this item, which goes
		}
		if e.omitted != "" || e.isSetting() {
			continue
		}
		named := e.Type == "function_call" || e.Type == "custom_tool_call" || e.role == "assistant"
		if named && !reasoned && e.ID != "" {
			e.members = without(e.members, "id")
			e.item = objectOf(e.members)
		}
		reasoned = e.Type == "reasoning"
	}
}

// isTrue reports whether Python treats a value as true.
func isTrue(raw json.RawMessage) bool {
	var compact bytes.Buffer
	_ = json.Compact(&compact, raw)
	falses := []string{"null", "false", "0", `""`, "[]", "{}"}
	return !slices.Contains(falses, compact.String())
}

// withoutCreatedBy removes created_by from the parts of a shell call's output.
// If there is nothing to remove, it reports false.
func withoutCreatedBy(output json.RawMessage) (json.RawMessage, bool) {
	if output[0] != '[' {
		return nil, false
	}
	changed := false
	parts := elementsOf(output)
	for i, part := range parts {
		members := membersOf(part)
		kept := without(members, "created_by")
		if len(kept) < len(members) {
			parts[i], changed = json.RawMessage(objectOf(kept)), true
		}
	}
	joined := append([]byte("["), bytes.Join(asBytes(parts), []byte(","))...)
	return append(joined, ']'), changed
}

// without returns the members whose names differ from name.
func without(members []member, name string) []member {
	return slices.DeleteFunc(slices.Clone(members), func(m member) bool { return m.name == name })
}

func asBytes(parts []json.RawMessage) [][]byte {
	b := make([][]byte, len(parts))
	for i, part := range parts {
		b[i] = part
	}
	return b
}

// objectOf returns an object with these members, as they are stored.
func objectOf(members []member) encsession.Item {
	object := []byte{'{'}
	for i, m := range members {
		if i > 0 {
			object = append(object, ',')
		}
		object = append(append(append(object, m.key...), ':'), m.raw...)
	}
	return append(object, '}')
}

// Package apitest is a part of the Responses API for tests, on loopback and
// without a model. It refuses the histories that the real API is known to
// refuse. The test provides the answers to the others.
//
// Each rule names a public source in [Rules]: a report with the API's own
// words, or a client's fix. Rules that nobody has written about are missing
// here. So the real API may still refuse a history that passes.
package apitest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Rule names a rule of the API.
type Rule string

// The rules that [Check] enforces.
const (
	RuleInput     Rule = "input"     // the input is a list of objects, and not empty
	RuleRole      Rule = "role"      // the role of a message is one of four
	RulePrefix    Rule = "prefix"    // an ID has the prefix of its type
	RuleMember    Rule = "member"    // an item has only members that its type has
	RuleRequired  Rule = "required"  // an item has the members that its type requires
	RuleStatus    Rule = "status"    // a status is one of three, and never null
	RuleDuplicate Rule = "duplicate" // no ID and no call_id is used twice
	RulePair      Rule = "pair"      // each call has an output, and each output a call before it
	RuleFollowing Rule = "following" // reasoning is followed by the item that it led to
	RuleReasoning Rule = "reasoning" // an item has the reasoning that it needs before it
)

// Rules has the public sources of each rule.
var Rules = map[Rule][]string{
	RuleInput: {"https://platform.openai.com/docs/api-reference/responses/create"},
	RuleRole:  {"https://github.com/Chevey339/kelivo/pull/281"},
	RulePrefix: {"https://github.com/openai/openai-agents-python/issues/2293",
		"https://github.com/openai/codex/issues/33176",
		"https://github.com/nodetool-ai/nodetool/pull/4252",
		"https://github.com/Alishahryar1/free-claude-code/issues/1826",
		"https://github.com/jlcodes99/cockpit-tools/issues/2090",
		"https://github.com/langchain-ai/langchainjs/issues/11044"},
	RuleMember: {"https://github.com/1jehuang/jcode/issues/1028",
		"https://github.com/BerriAI/litellm/issues/13420",
		"https://platform.openai.com/docs/api-reference/responses/create"},
	RuleRequired: {"https://github.com/AAswordman/Operit/issues/797"},
	RuleStatus: {"https://github.com/davidmigloz/ai_clients_dart/issues/208",
		"https://github.com/microsoft/agent-framework/pull/4626"},
	RuleDuplicate: {"https://github.com/openai/openai-agents-python/issues/1789",
		"https://github.com/earendil-works/pi/issues/5149",
		"https://github.com/NousResearch/hermes-agent/issues/102629"},
	RulePair: {"https://github.com/continuedev/continue/issues/10092",
		"https://github.com/tjardoo/openai-client/pull/124"},
	RuleFollowing: {"https://github.com/continuedev/continue/issues/8933",
		"https://github.com/vercel/ai/issues/7099"},
	RuleReasoning: {"https://github.com/mastra-ai/mastra/issues/10713",
		"https://github.com/continuedev/continue/issues/12620"},
}

// Refusal is the error of [Check]. Message is in the words of the API.
type Refusal struct {
	Rule    Rule
	Message string
}

func (r *Refusal) Error() string { return r.Message }

func refuse(rule Rule, format string, args ...any) error {
	return &Refusal{Rule: rule, Message: fmt.Sprintf(format, args...)}
}

// item holds the members of an item that the rules look at.
type item struct {
	Type, Role, ID string
	CallID         string `json:"call_id"`
	members        map[string]json.RawMessage
}

// Check returns a *[Refusal] if the API is known to refuse the input of a
// request, and otherwise nil. reasoned maps the ID of an item to the ID of the
// reasoning behind it, as the real API remembers it. It may be nil.
func Check(input []byte, reasoned map[string]string) error {
	var raw []json.RawMessage
	if json.Unmarshal(input, &raw) != nil || len(raw) == 0 {
		return refuse(RuleInput, "Invalid 'input': expected a list of items that is not empty.")
	}
	items := make([]item, len(raw))
	for i := range raw {
		if json.Unmarshal(raw[i], &items[i].members) != nil || items[i].members == nil {
			return refuse(RuleInput, "Invalid type for 'input[%d]': expected an object.", i)
		}
		_ = json.Unmarshal(raw[i], &items[i]) // a member of another kind stays empty
		if items[i].Type == "" && items[i].members["role"] != nil {
			items[i].Type = "message"
		}
		if err := checkItem(i, items[i]); err != nil {
			return err
		}
	}
	for _, check := range []func([]item) error{checkDuplicates, checkPairs, checkFollowing} {
		if err := check(items); err != nil {
			return err
		}
	}
	return checkReasoning(items, reasoned)
}

var prefixes = map[string]string{"message": "msg", "function_call": "fc",
	"custom_tool_call": "ctc", "reasoning": "rs"}

// known lists the members of each type, as the API reference has them for
// input.
var known = map[string]string{
	"message":                 "type role content id status phase",
	"function_call":           "type arguments call_id name id status namespace caller async",
	"function_call_output":    "type call_id output id status caller name namespace",
	"custom_tool_call":        "type call_id input name id namespace caller async",
	"custom_tool_call_output": "type call_id output id caller name namespace",
	"reasoning":               "type id summary content encrypted_content",
	"shell_call":              "type action call_id id caller environment status",
	"shell_call_output":       "type call_id output id caller max_output_length status",
}

var required = map[string]string{
	"message":                 "role content",
	"function_call":           "arguments call_id name",
	"function_call_output":    "call_id output",
	"custom_tool_call":        "call_id input name",
	"custom_tool_call_output": "call_id output",
	"reasoning":               "summary",
}

var idCharacters = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func checkItem(i int, it item) error {
	if it.Type == "message" && !slices.Contains([]string{"assistant", "system", "developer", "user"}, it.Role) {
		return refuse(RuleRole, "Invalid value: '%s'. Supported values are: 'assistant', "+
			"'system', 'developer', and 'user'.", it.Role)
	}
	if it.members["id"] != nil && string(it.members["id"]) != "null" {
		if !idCharacters.MatchString(it.ID) {
			return refuse(RulePrefix, "Invalid 'input[%d].id': '%s'. Expected an ID that contains "+
				"letters, numbers, underscores, or dashes.", i, it.ID)
		}
		if prefix := prefixes[it.Type]; !strings.HasPrefix(it.ID, prefix) {
			return refuse(RulePrefix, "Invalid 'input[%d].id': '%s'. Expected an ID that begins "+
				"with '%s'.", i, it.ID, prefix)
		}
	}
	if all, ok := known[it.Type]; ok {
		for name := range it.members {
			if !slices.Contains(strings.Fields(all), name) {
				return refuse(RuleMember, "Unknown parameter: 'input[%d].%s'.", i, name)
			}
		}
	}
	if it.Type == "shell_call_output" {
		var parts []map[string]json.RawMessage
		_ = json.Unmarshal(it.members["output"], &parts)
		for n, part := range parts {
			if part["created_by"] != nil {
				return refuse(RuleMember, "Unknown parameter: 'input[%d].output[%d].created_by'.", i, n)
			}
		}
	}
	for _, name := range strings.Fields(required[it.Type]) {
		if it.members[name] == nil {
			return refuse(RuleRequired, "Missing required parameter: 'input[%d].%s'.", i, name)
		}
	}
	switch status := string(it.members["status"]); status {
	case "", `"in_progress"`, `"completed"`, `"incomplete"`:
		return nil
	default:
		return refuse(RuleStatus, "Invalid value: '%s'. Supported values are: 'in_progress', "+
			"'completed', and 'incomplete'.", strings.Trim(status, `"`))
	}
}

func checkDuplicates(items []item) error {
	seen := map[string]bool{}
	for _, it := range items {
		if it.ID != "" && seen["id "+it.ID] {
			return refuse(RuleDuplicate, "Duplicate item found with id %s. Remove duplicate items "+
				"from your input and try again.", it.ID)
		}
		if it.CallID != "" && seen[it.Type+" "+it.CallID] {
			return refuse(RuleDuplicate, "Duplicate %s for call_id '%s'.", it.Type, it.CallID)
		}
		seen["id "+it.ID], seen[it.Type+" "+it.CallID] = true, true
	}
	return nil
}

// calls maps each type of output to the type of its call.
var calls = map[string]string{
	"function_call_output":    "function_call",
	"custom_tool_call_output": "custom_tool_call",
	"shell_call_output":       "shell_call",
	"apply_patch_call_output": "apply_patch_call",
	"computer_call_output":    "computer_call",
}

func checkPairs(items []item) error {
	open := map[string]string{} // calls without an output, with their names
	for _, it := range items {
		key := it.Type + " " + it.CallID
		switch call, isOutput := calls[it.Type]; {
		case isOutput && open[call+" "+it.CallID] == "":
			return refuse(RulePair, "No tool call found for %s with call_id %s.",
				strings.ReplaceAll(it.Type, "_", " "), it.CallID)
		case isOutput:
			delete(open, call+" "+it.CallID)
		case wantsOutput(it.Type):
			open[key] = fmt.Sprintf("%s %s", strings.ReplaceAll(it.Type, "_", " "), it.CallID)
		}
	}
	for _, it := range items {
		if name := open[it.Type+" "+it.CallID]; name != "" {
			return refuse(RulePair, "No tool output found for %s.", name)
		}
	}
	return nil
}

// wantsOutput reports whether a type is the type of a call that needs an
// output.
func wantsOutput(typ string) bool {
	for _, call := range calls {
		if call == typ {
			return true
		}
	}
	return false
}

// said reports whether the model has said an item.
func (it item) said() bool {
	return calls[it.Type] == "" && (it.Type != "message" || it.Role == "assistant")
}

func checkFollowing(items []item) error {
	for i, it := range items {
		if it.Type != "reasoning" {
			continue
		}
		next := i + 1
		for next < len(items) && items[next].Type == "reasoning" {
			next++
		}
		if next == len(items) || !items[next].said() {
			return refuse(RuleFollowing, "Item '%s' of type 'reasoning' was provided without its "+
				"required following item.", it.ID)
		}
	}
	return nil
}

func checkReasoning(items []item, reasoned map[string]string) error {
	seen := map[string]bool{}
	for _, it := range items {
		seen[it.ID] = true
		if reasoning := reasoned[it.ID]; reasoning != "" && !seen[reasoning] {
			return refuse(RuleReasoning, "Item '%s' of type '%s' was provided without its required "+
				"'reasoning' item: '%s'.", it.ID, it.Type, reasoning)
		}
	}
	return nil
}

// Server is the API on loopback. Its methods are safe for concurrent use.
type Server struct {
	*httptest.Server

	answer   func(input []json.RawMessage) []any
	mu       sync.Mutex
	inputs   []json.RawMessage
	reasoned map[string]string
}

// NewServer starts a server. The caller must close it. answer returns the
// output items for an input that no rule refuses; concurrent requests call it
// concurrently. The server remembers the reasoning behind the items that it has
// answered.
func NewServer(answer func(input []json.RawMessage) []any) *Server {
	s := &Server{answer: answer, reasoned: map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /responses", s.respond)
	s.Server = httptest.NewServer(mux)
	return s
}

// Inputs returns the input of every request so far, including the refused ones.
func (s *Server) Inputs() []json.RawMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.inputs)
}

func (s *Server) respond(w http.ResponseWriter, r *http.Request) {
	var request struct{ Input json.RawMessage }
	err := json.NewDecoder(r.Body).Decode(&request)
	s.mu.Lock()
	s.inputs = append(s.inputs, request.Input)
	if err == nil {
		err = Check(request.Input, s.reasoned)
	}
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ") // as the real API does
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		encoder.Encode(map[string]any{"error": map[string]any{"message": err.Error(),
			"type": "invalid_request_error", "param": "input"}})
		return
	}
	var input []json.RawMessage
	_ = json.Unmarshal(request.Input, &input) // Check has done this without an error
	output := s.answer(input)
	s.remember(output)
	encoder.Encode(map[string]any{"id": fmt.Sprintf("resp_%d", len(input)), "object": "response",
		"status": "completed", "output": output})
}

// remember notes, for each item of an answer, the reasoning right before it.
func (s *Server) remember(output []any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := ""
	for _, answered := range output {
		b, _ := json.Marshal(answered)
		var it item
		_ = json.Unmarshal(b, &it)
		if it.Type != "reasoning" && before != "" && it.ID != "" {
			s.reasoned[it.ID] = before
		}
		before = ""
		if it.Type == "reasoning" {
			before = it.ID
		}
	}
}

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
)

// scriptedAPI is a Responses API without a model, on loopback. It answers by a script, from nothing but the history
// that it is sent, and refuses some of the histories that the real API refuses. It is here so that the example runs without
// a key and without a network; nothing of it belongs into an agent.
type scriptedAPI struct {
	*httptest.Server

	mu   sync.Mutex
	sent []json.RawMessage // the input of every request
}

func newScriptedAPI() *scriptedAPI {
	api := &scriptedAPI{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /responses", api.respond)
	api.Server = httptest.NewServer(mux)
	return api
}

// inputs returns the input of every request so far.
func (api *scriptedAPI) inputs() []json.RawMessage {
	api.mu.Lock()
	defer api.mu.Unlock()
	return append([]json.RawMessage(nil), api.sent...)
}

func (api *scriptedAPI) respond(w http.ResponseWriter, r *http.Request) {
	var request struct{ Input json.RawMessage }
	var history []scriptedItem
	refused := "The input is no list of items."
	if json.NewDecoder(r.Body).Decode(&request) == nil && json.Unmarshal(request.Input, &history) == nil {
		api.mu.Lock()
		api.sent = append(api.sent, request.Input)
		api.mu.Unlock()
		refused = refusal(history)
	}
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ") // as the real one does
	if refused != "" {
		w.WriteHeader(http.StatusBadRequest)
		encoder.Encode(object{"error": object{"message": refused, "type": "invalid_request_error", "param": "input"}})
		return
	}
	encoder.Encode(object{"id": fmt.Sprintf("resp_%d", len(history)), "object": "response", "status": "completed",
		"output": answer(history)})
}

type object map[string]any

// scriptedItem is what the script looks at of an item.
type scriptedItem struct {
	Type, Role, ID, Name, Output string
	Content                      any
	CallID                       string `json:"call_id"`
}

// refusal says why the real API refuses a history, in its words. It is empty where the script finds nothing; the real API
// looks at more.
func refusal(history []scriptedItem) string {
	if len(history) == 0 {
		return "The input is empty."
	}
	calls, outputs := map[string]bool{}, map[string]bool{}
	for i, item := range history {
		switch item.Type {
		case "function_call":
			calls[item.CallID] = true
		case "function_call_output":
			if !calls[item.CallID] {
				return fmt.Sprintf("No tool call found for function call output with call_id %s.", item.CallID)
			}
			outputs[item.CallID] = true
		case "reasoning":
			if i+1 == len(history) || history[i+1].Role == "user" || history[i+1].Type == "function_call_output" {
				return fmt.Sprintf("Item '%s' of type 'reasoning' was provided without its required following item.", item.ID)
			}
		}
	}
	for id := range calls {
		if !outputs[id] {
			return fmt.Sprintf("No tool output found for function call %s.", id)
		}
	}
	return ""
}

var (
	destination = regexp.MustCompile(`train to (\pL+)`)
	passport    = regexp.MustCompile(`passport is (\w+)`)
	price       = regexp.MustCompile(`"price":"([^"]+)"`)
	departure   = regexp.MustCompile(`"departs":"([^"]+)"`)
)

// answer returns the output that follows a history.
func answer(history []scriptedItem) []object {
	n := len(history) // makes IDs that are not used twice
	said := history[n-1].text()
	if to := destination.FindStringSubmatch(said); to != nil && history[n-1].Role == "user" {
		return []object{
			{"type": "reasoning", "id": fmt.Sprintf("rs_%d", n), "summary": []any{}, "content": nil,
				"encrypted_content": "gAAAAABqX1a7" + strings.Repeat("9", n)},
			{"type": "function_call", "id": fmt.Sprintf("fc_%d", n), "call_id": fmt.Sprintf("call_%d", n),
				"name": "find_train", "arguments": `{"to":"` + to[1] + `"}`, "status": "completed"},
		}
	}
	text := "I only know about trains."
	switch {
	case history[n-1].Type == "function_call_output":
		text = "There is a train at " + newest(history, departure) + "."
	case strings.Contains(said, "cost"):
		text = "It costs " + newest(history, price) + "."
	case strings.Contains(said, "passport"):
		text = "You have told me that it is " + newest(history, passport) + "."
	}
	return []object{{"type": "message", "id": fmt.Sprintf("msg_%d", n), "role": "assistant", "status": "completed",
		"content": []object{{"type": "output_text", "text": text, "annotations": []any{}, "logprobs": []any{}}}}}
}

// newest returns what the pattern finds in the newest item of a history in which it finds anything.
func newest(history []scriptedItem, pattern *regexp.Regexp) string {
	for i := len(history) - 1; i >= 0; i-- {
		if found := pattern.FindStringSubmatch(history[i].text()); found != nil {
			return found[1]
		}
	}
	return "unknown to me"
}

// text returns what an item says, where it says it in one text.
func (i scriptedItem) text() string {
	if said, ok := i.Content.(string); ok {
		return said
	}
	return i.Output
}

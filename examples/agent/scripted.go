package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/encsession/encsession/openaisession/apitest"
)

// newScriptedAPI starts a Responses API without a model, on loopback. It
// answers by a script, using only the history in the request. It refuses the
// histories that the real API is known to refuse. With it the example runs
// without a key and without a network. An agent needs nothing of it.
func newScriptedAPI() *apitest.Server {
	return apitest.NewServer(func(input []json.RawMessage) []any {
		history := make([]scriptedItem, len(input))
		for i, item := range input {
			_ = json.Unmarshal(item, &history[i]) // an item of another kind stays empty
		}
		return answer(history)
	})
}

type object map[string]any

// scriptedItem is the part of an item that the script looks at.
type scriptedItem struct {
	Type, Role, ID, Name, Output string
	Content                      any
	CallID                       string `json:"call_id"`
}

var (
	destination = regexp.MustCompile(`train to (\pL+)`)
	passport    = regexp.MustCompile(`passport is (\w+)`)
	price       = regexp.MustCompile(`"price":"([^"]+)"`)
	departure   = regexp.MustCompile(`"departs":"([^"]+)"`)
)

// answer returns the output that follows a history.
func answer(history []scriptedItem) []any {
	n := len(history) // makes IDs that are not used twice
	said := history[n-1].text()
	if to := destination.FindStringSubmatch(said); to != nil && history[n-1].Role == "user" {
		return []any{
			object{"type": "reasoning", "id": fmt.Sprintf("rs_%d", n), "summary": []any{}, "content": nil,
				"encrypted_content": "gAAAAABqX1a7" + strings.Repeat("9", n)},
			object{"type": "function_call", "id": fmt.Sprintf("fc_%d", n), "call_id": fmt.Sprintf("call_%d", n),
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
	return []any{object{"type": "message", "id": fmt.Sprintf("msg_%d", n), "role": "assistant", "status": "completed",
		"content": []object{{"type": "output_text", "text": text, "annotations": []any{}, "logprobs": []any{}}}}}
}

// newest returns the first group of the pattern in the newest item that
// matches.
func newest(history []scriptedItem, pattern *regexp.Regexp) string {
	for i := len(history) - 1; i >= 0; i-- {
		if found := pattern.FindStringSubmatch(history[i].text()); found != nil {
			return found[1]
		}
	}
	return "unknown to me"
}

// text returns the text of an item, if the item holds it as one string.
func (i scriptedItem) text() string {
	if said, ok := i.Content.(string); ok {
		return said
	}
	return i.Output
}

package interop

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/openaisession"
	"github.com/encsession/encsession/openaisession/apitest"
)

// chatAPI is the chat completions API of another provider, on loopback. Its
// model reasons, calls the tool, and answers.
func chatAPI(t *testing.T) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var request struct{ Messages []struct{ Role string } }
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil || len(request.Messages) == 0 {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		n := len(request.Messages) // makes IDs that are not used twice
		message := map[string]any{"role": "assistant", "content": nil, "reasoning_content": "I look it up.",
			"tool_calls": []any{map[string]any{"id": fmt.Sprint("call_", n), "type": "function",
				"function": map[string]any{"name": "weather", "arguments": `{"city":"Lisbon"}`}}}}
		if request.Messages[n-1].Role == "tool" {
			message = map[string]any{"role": "assistant", "content": "Sunny.", "reasoning_content": "It is sunny."}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"id": fmt.Sprint("chatcmpl-", n), "object": "chat.completion",
			"created": 1, "model": "m", "choices": []any{map[string]any{"index": 0, "finish_reason": "stop",
				"message": message}}})
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// TestGoSendsAHistoryOfAnotherProvider lets the SDK's Runner talk to a model of
// the chat completions API. The Responses API refuses the items that it stores.
// With the option Go sends the same as the SDK's own model for that API.
func TestGoSendsAHistoryOfAnotherProvider(t *testing.T) {
	p := startPython(t)
	d := fresh(t, p, pairs[0])
	d.create(t)
	key := encsession.GenerateKey()
	runner, s := d.pythonSession(p, sessionID, key), d.goSession(t, sessionID, key)
	run := func(api, url, question string) {
		request := runner.request("run")
		request["input"], request["api"], request["url"] = question, api, url
		require.NoError(t, p.call(request, nil))
	}
	chat := chatAPI(t)
	run("chat", chat, "And the weather?")
	run("chat", chat, "And now?")
	stored, err := s.GetItems(t.Context(), 0)
	require.NoError(t, err)
	text := fmt.Sprintf("%s", stored)
	for _, mark := range []string{`__fake_id__`, `provider_data`, `"reasoning"`} {
		require.Contains(t, text, mark)
	}

	plain, err := openaisession.New(s)
	require.NoError(t, err)
	items, err := plain.GetItems(t.Context(), 0)
	require.NoError(t, err)
	input, err := json.Marshal(items)
	require.NoError(t, err)
	require.ErrorContains(t, apitest.Check(input, nil), "__fake_id__")

	// The session of Go, by itself, and then that of Python.
	view, err := openaisession.New(s, openaisession.WithSendableHistory())
	require.NoError(t, err)
	items, err = view.GetItems(t.Context(), 0)
	require.NoError(t, err)
	input, err = json.Marshal(items)
	require.NoError(t, err)
	require.NoError(t, apitest.Check(input, nil), "%s", input)

	responses := apitest.NewServer(func([]json.RawMessage) []any {
		return []any{map[string]any{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
			"content": []any{map[string]any{"type": "output_text", "text": "Sunny.", "annotations": []any{}}}}}
	})
	defer responses.Close()
	run("responses", responses.URL, "Still?")
	require.Len(t, responses.Inputs(), 1)
	withQuestion := strings.TrimSuffix(string(input), "]") + `,{"role":"user","content":"Still?"}]`
	require.JSONEq(t, string(responses.Inputs()[0]), withQuestion)
}

package openaisession_test

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/openaisession"
	"github.com/stretchr/testify/require"
)

// histories are written in words: a type, an ID, and in brackets the program that called. A minus stands before what is
// left out.
var histories = map[string]string{
	"whole":                         "user reasoning:r call:1 output:1 assistant user",
	"call without output":           "user -call:1 user",
	"pending call at the end":       "user -reasoning:r -call:1",
	"output without call":           "-output:1 assistant user",
	"output before its call":        "-output:1 -call:1",
	"output of another kind":        "-call:1 -custom_tool_call_output:1",
	"output of another call":        "-call:1 -output:2",
	"one of two parallel calls":     "user reasoning:r -call:1 call:2 output:2 assistant",
	"the other":                     "user reasoning:r call:1 -call:2 output:1 assistant",
	"both":                          "user -reasoning:r -call:1 -call:2 user",
	"outputs in another order":      "call:1 call:2 output:2 output:1",
	"an ID used again":              "call:1 output:1 user call:1 output:1",
	"an ID used again, cut":         "-output:1 user call:1 output:1",
	"calls without a call_id":       "web_search_call tool_search_call tool_search_output output call",
	"unknown types":                 "dream_call:1 dream_call_output:2 item_reference:3",
	"reasoning at the end":          "user -reasoning:r",
	"reasoning before a user":       "assistant -reasoning:r user",
	"reasoning before an output":    "call:1 -reasoning:r output:1",
	"reasoning twice":               "reasoning:r reasoning:s assistant",
	"reasoning twice at the end":    "-reasoning:r -reasoning:s",
	"reasoning of another answer":   "-reasoning:r -call:1 reasoning:s assistant",
	"reasoning with a hosted call":  "reasoning:r web_search_call reasoning:s assistant",
	"approval":                      "reasoning:r mcp_approval_request:1 mcp_approval_response:1 mcp_call",
	"approval without answer":       "-mcp_approval_request:1 user",
	"answer without request":        "-mcp_approval_response:1 user",
	"local shell by id":             "local_shell_call:1 local_shell_call_output:1",
	"program":                       "program:p call:1(p) output:1(p) program_output:p assistant",
	"program at work":               "program:p call:1(p) output:1(p)",
	"program that has called":       "program:p call:1(p) output:1",
	"program with nothing":          "user -reasoning:r -program:p user",
	"program with a call alone":     "-program:p -call:1(p)",
	"program waits for a shell":     "program:p shell_call:1(p)",
	"shell waits without a program": "-shell_call:1",
	"program gone":                  "-call:1(p) -output:1 -program_output:p assistant",
	"programs in one another":       "user -program:p -program:q(p) -call:1(q) user",
	"program later":                 "-call:1(p) -output:1(p) -program:p",
}

func TestWithoutOrphans(t *testing.T) {
	for name, history := range histories {
		t.Run(name, func(t *testing.T) {
			var items, want []string
			var orphans []openaisession.Orphan
			for _, word := range strings.Fields(history) {
				word, orphan := strings.CutPrefix(word, "-")
				item := itemFrom(word)
				items = append(items, item)
				if orphan {
					kind, id, _ := strings.Cut(word, ":")
					id, _, _ = strings.Cut(id, "(")
					orphans = append(orphans, openaisession.Orphan{SessionID: "user-123", Type: types(kind), ID: id})
				} else {
					want = append(want, item)
				}
			}
			var told []openaisession.Orphan
			option := openaisession.WithoutOrphans(func(_ context.Context, o openaisession.Orphan) { told = append(told, o) })
			session, under := newSession(t, []openaisession.Option{option}, items...)
			require.Equal(t, want, read(t, session, 0))
			require.Equal(t, orphans, told)
			require.Equal(t, items, contents(t, under), "the session stays as it is")

			unfiltered, err := openaisession.New(under)
			require.NoError(t, err)
			require.Len(t, read(t, unfiltered, 0), len(items), "the filter is off unless it is asked for")
		})
	}
}

// pairs are the halves that belong together.
var pairs = map[string]string{
	"call": "output", "custom_tool_call": "custom_tool_call_output", "computer_call": "computer_call_output",
	"local_shell_call": "local_shell_call_output", "shell_call": "shell_call_output",
	"apply_patch_call": "apply_patch_call_output", "tool_search_call": "tool_search_output",
	"program": "program_output", "mcp_approval_request": "mcp_approval_response",
}

func TestEveryPair(t *testing.T) {
	for call, output := range pairs {
		session, _ := newSession(t, []openaisession.Option{openaisession.WithoutOrphans(nil)},
			itemFrom(call+":1"), itemFrom(output+":2"), itemFrom(call+":3"), itemFrom(output+":3"))
		require.Equal(t, []string{itemFrom(call + ":3"), itemFrom(output + ":3")}, read(t, session, 0))
	}
}

// TestNoPairIsMissing fails when openai-go has a variant with a call ID, or an answer to a request, that is in no pair.
func TestNoPairIsMissing(t *testing.T) {
	var halves []string
	for call, output := range pairs {
		halves = append(halves, types(call), types(output))
	}
	union := reflect.TypeFor[inputItem]()
	for _, name := range variantNames[inputItem]() {
		variant, _ := union.FieldByName(name)
		_, hasCallID := variant.Type.Elem().FieldByName("CallID")
		_, isAnswer := variant.Type.Elem().FieldByName("Approve")
		if hasCallID || isAnswer || strings.HasSuffix(name, "Output") {
			require.Contains(t, halves, typeOf(name))
		}
	}
}

// A limit cuts where it cuts: here between a call and its output.
func TestWithoutOrphansUnderALimit(t *testing.T) {
	call, output, answer := itemFrom("call:1"), itemFrom("output:1"), itemFrom("assistant")
	session, _ := newSession(t, []openaisession.Option{openaisession.WithoutOrphans(nil)}, call, output, answer)
	require.Equal(t, []string{answer}, read(t, session, 2))
	require.Equal(t, []string{call, output, answer}, read(t, session, 3))
}

// In the middle of a turn the call expires, and its output has not yet.
func TestWithoutOrphansAfterExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, err := encsession.ParseKey(encsession.GenerateKey())
		require.NoError(t, err)
		under, err := encsession.New(encsession.NewMemorySession("user-123"), key,
			encsession.WithoutPlaintext(), encsession.WithTTL(time.Minute))
		require.NoError(t, err)
		plain, err := openaisession.New(under)
		require.NoError(t, err)
		filtered, err := openaisession.New(under, openaisession.WithoutOrphans(nil))
		require.NoError(t, err)

		for _, word := range []string{"user", "call:1", "output:1", "assistant"} {
			require.NoError(t, under.AddItems(t.Context(), encsession.Item(itemFrom(word))))
			time.Sleep(10 * time.Second)
		}
		require.Len(t, read(t, filtered, 0), 4)
		time.Sleep(31 * time.Second) // the call is 61 seconds old, the output 51
		require.Equal(t, []string{itemFrom("output:1"), itemFrom("assistant")}, read(t, plain, 0))
		require.Equal(t, []string{itemFrom("assistant")}, read(t, filtered, 0))
		popped, err := filtered.PopItem(t.Context())
		require.NoError(t, err)
		require.NotNil(t, popped)
		popped, err = filtered.PopItem(t.Context())
		require.NoError(t, err)
		requireSameJSON(t, itemFrom("output:1"), marshal(t, popped))
	})
}

// read returns the items of a session as itemFrom makes them.
func read(t *testing.T, session *openaisession.Session, limit int) []string {
	t.Helper()
	items, err := session.GetItems(t.Context(), limit)
	require.NoError(t, err)
	var texts []string
	for _, item := range items {
		texts = append(texts, marshal(t, exact(t, marshal(t, item)))) // members in alphabetical order
	}
	return texts
}

// types returns a type by its short name.
func types(kind string) string {
	if long, ok := map[string]string{"call": "function_call", "output": "function_call_output"}[kind]; ok {
		return long
	}
	return kind
}

// itemFrom makes an item of a word of a history.
func itemFrom(word string) string {
	kind, id, _ := strings.Cut(word, ":")
	id, caller, called := strings.Cut(strings.TrimSuffix(id, ")"), "(")
	item := map[string]any{"type": types(kind)}
	switch kind {
	case "user", "assistant":
		item = map[string]any{"role": kind, "content": "Hi"}
	case "reasoning", "mcp_approval_request", "local_shell_call_output", "item_reference":
		item["id"] = id
	case "mcp_approval_response":
		item["approval_request_id"] = id
	default:
		if id != "" {
			item["id"], item["call_id"] = "item", id
		}
	}
	if called {
		item["caller"] = map[string]string{"type": "program", "caller_id": caller}
	}
	text, _ := json.Marshal(item) // maps of strings always encode
	return string(text)
}

package openaisession_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3/packages/param"
	"github.com/stretchr/testify/require"
)

const anyVariant = "depends on the version of openai-go"

// storedItems are items as Python, other versions and other programs write
// them, with the variant in which each comes back.
var storedItems = []struct{ name, item, variant string }{
	{"message without a type", `{"role":"user","content":"Hi"}`, "OfMessage"},
	{"message with white space", `{ "content": "Hi", "role": "user" }`, "OfMessage"},
	{"message with a type", `{"type":"message","role":"developer","content":"Hi"}`, "OfMessage"},
	{"message whose type is null", `{"type":null,"role":"user","content":"Hi"}`, "OfMessage"},
	{"message with parts", `{"role":"user","content":[{"type":"input_text","text":"Hi"},
		{"type":"input_image","image_url":"data:image/png;base64,AAAA","detail":"auto","file_id":null},
		{"type":"input_file","file_data":"AAAA","filename":"f.pdf"}]}`, "OfMessage"},
	{"message with an id", `{"type":"message","id":"msg_1","status":"completed","role":"user","content":[
		{"type":"input_text","text":"Hi"}]}`, "OfInputMessage"},
	{"assistant's text", `{"role":"assistant","content":"Hi"}`, "OfMessage"},
	{"assistant's parts", `{"role":"assistant","content":[{"type":"output_text","text":"Hi"}]}`, "OfOutputMessage"},
	{"assistant's message", `{"id":"msg_1","content":[{"annotations":[],"text":"Hi","type":"output_text",
		"logprobs":[]}],"role":"assistant","status":"completed","type":"message"}`, "OfOutputMessage"},
	{"assistant's message from Python", `{"id":"__fake_id__","content":[{"annotations":[],"text":"Za\u017c\u00f3\u0142\u0107 \ud83d\ude00",
		"type":"output_text","logprobs":null}],"role":"assistant","status":"completed","type":"message",
		"provider_data":{"model":"m"}}`, "OfOutputMessage"},
	{"assistant's message with input parts", `{"role":"assistant","content":[{"type":"input_text","text":"Hi"}]}`, anyVariant},
	{"reasoning", `{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAAAA=="}`, "OfReasoning"},
	{"reasoning with nulls", `{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":""}],
		"encrypted_content":null,"content":null,"status":null}`, "OfReasoning"},
	{"function call", `{"type":"function_call","call_id":"c","name":"f","arguments":"","id":null,
		"_agents_tool_title":"F"}`, "OfFunctionCall"},
	{"function call output", `{"type":"function_call_output","call_id":"c","output":"a <b> & \"c\""}`, "OfFunctionCallOutput"},
	{"function call output with parts", `{"type":"function_call_output","call_id":"c","output":[
		{"type":"input_text","text":"T","from_the_future":[1.10]}]}`, "OfFunctionCallOutput"},
	{"empty output", `{"type":"function_call_output","call_id":"c","output":[]}`, "OfFunctionCallOutput"},
	{"local shell output from Python", `{"type":"local_shell_call_output","call_id":"c","output":"o"}`, "OfLocalShellCallOutput"},
	{"item reference", `{"type":"item_reference","id":"msg_1"}`, "OfItemReference"},
	{"item reference without a type", `{"id":"msg_1"}`, ""},
	{"number that openai-go would round", `{"type":"file_search_call","id":"f","queries":[],"status":"completed",
		"results":[{"attributes":{"n":9007199254740993}}]}`, ""},
	{"number that openai-go writes otherwise", `{"type":"file_search_call","id":"f","queries":[],"status":"completed",
		"results":[{"score":1.0,"attributes":{"n":-2.50e+2,"zero":-0.0}}]}`, "OfFileSearchCall"},
	{"number beyond float64", `{"type":"file_search_call","id":"f","queries":[],"status":"completed",
		"results":[{"score":1e99999999999999999999}]}`, ""},
	{"part of the future", `{"id":"msg_1","role":"assistant","status":"completed","type":"message","content":[
		{"type":"output_text","text":"T","annotations":[]},{"type":"hologram","data":"D"}]}`, anyVariant},
	{"number that openai-go takes for 0", `{"type":"file_search_call","id":"f","queries":[],"status":"completed",
		"results":[{"score":1e-99999999999999999999}]}`, ""},
	{"half a surrogate pair", `{"role":"user","content":"\ud83d"}`, ""},
	{"half a surrogate pair in capitals", `{"role":"user","content":"\uD83D"}`, ""},
	{"the other half", `{"role":"user","content":"a\uDC00b \uFFFD"}`, ""},
	{"half a surrogate pair in an unknown member", `{"role":"user","content":"Hi","x":"\uD83D"}`, "OfMessage"},
	{"replacement character", `{"role":"user","content":"` + "\uFFFD" + `"}`, "OfMessage"},
	{"member twice", `{"role":"user","content":"one","content":"two"}`, ""},
	{"content of another kind", `{"role":"user","content":{"a":1}}`, ""},
	{"empty text that openai-go leaves out", `{"type":"function_call","call_id":"c","name":"f","arguments":"","status":""}`,
		"OfFunctionCall"},
	{"null object", `{"type":"local_shell_call","id":"l","call_id":"c","status":"completed","action":null}`, "OfLocalShellCall"},
	{"names in another case", `{"type":"function_call","call_id":"c","Name":"f","ARGUMENTS":"{}"}`, "OfFunctionCall"},
	{"content empty, of another kind", `{"role":"user","content":{}}`, ""},
	{"assistant's null", `{"role":"assistant","content":null}`, "OfMessage"},
	{"content null", `{"role":"user","content":null}`, "OfMessage"},
	{"elements of another kind", `{"type":"function_call_output","call_id":"c","output":[1,null]}`, ""},
	{"members that openai-go takes for paths", `{"role":"user","content":"Hi","a.b":1,"a|#@*?\\":{"0":[]},"5":1}`, "OfMessage"},
	{"member without a name", `{"role":"user","content":"Hi","":0}`, ""},
	{"type of the future", `{"type":"dream","id":"d_1","content":[{"n":1.0}]}`, ""},
	{"type of another kind", `{"type":5,"role":"user","content":"Hi"}`, ""},
	{"nothing", `{}`, ""},
	{"something else", `{"__enc__":1}`, ""},
}

// TestStoredItems reads stored items, and then adds them again.
func TestStoredItems(t *testing.T) {
	for _, test := range storedItems {
		t.Run(test.name, func(t *testing.T) {
			session, under := newSession(t, nil, test.item)
			items, err := session.GetItems(t.Context(), 0)
			require.NoError(t, err)
			require.Len(t, items, 1)
			requireSameJSON(t, test.item, marshal(t, items[0]))
			if test.variant != anyVariant {
				require.Equal(t, test.variant, variantOf(items[0]))
			}

			require.NoError(t, session.AddItems(t.Context(), items))
			requireSameJSON(t, test.item, contents(t, under)[1])

			popped, err := session.PopItem(t.Context())
			require.NoError(t, err)
			requireSameJSON(t, test.item, marshal(t, popped))
		})
	}
}

// TestSampleConversation reads a conversation such as agents really store. All
// of its items can be read and changed as values of openai-go.
func TestSampleConversation(t *testing.T) {
	file, err := os.ReadFile("../examples/internal/sample/conversation.jsonl")
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(file)), "\n")
	require.Len(t, lines, 56)
	for _, line := range lines {
		item := roundTrip(t, line)
		requireSameJSON(t, line, marshal(t, item))
		require.NotEmpty(t, variantOf(item), line)
	}
}

// If openai-go cannot hold an item whole, the value carries its JSON as it is
// stored, including white space.
func TestCarriedJSON(t *testing.T) {
	const stored = `{"type": "dream",  "text": "a <b> & \ud83d"}`
	item := roundTrip(t, stored)
	carried, ok := item.Overrides()
	require.True(t, ok)
	require.Equal(t, json.RawMessage(stored), carried)

	session, under := newSession(t, nil)
	require.NoError(t, session.AddItems(t.Context(), []inputItem{item}))
	require.Equal(t, []string{`{"type":"dream","text":"a <b> & \ud83d"}`}, contents(t, under))
}

// TestHalfASurrogatePair compares bytes, since encoding/json reads half a pair
// as U+FFFD.
func TestHalfASurrogatePair(t *testing.T) {
	for _, item := range []string{`{"role":"user","content":"\ud83d"}`, `{"role":"user","content":"\uD83D"}`,
		`{"role":"user","content":"Hi","x":"\uD83D"}`} {
		require.Contains(t, strings.ToLower(marshal(t, roundTrip(t, item))), `\ud83d`)
	}
}

// Fields can be read, and a change to a field takes effect, even if the item
// holds members that openai-go does not know.
func TestFieldsCanBeChanged(t *testing.T) {
	item := roundTrip(t, `{"type":"function_call_output","call_id":"c","output":"secret","new":{"n":1.0},"status":null}`)
	require.Equal(t, "secret", item.OfFunctionCallOutput.Output.OfString.Value)
	item.OfFunctionCallOutput.Output.OfString = param.NewOpt("[redacted]")
	requireSameJSON(t, `{"type":"function_call_output","call_id":"c","output":"[redacted]","new":{"n":1.0},"status":null}`,
		marshal(t, item))

	copied := *item.OfFunctionCallOutput // as a careful programmer would do
	copied.Output.OfString = param.NewOpt("[copied]")
	requireSameJSON(t, `{"type":"function_call_output","call_id":"c","output":"[copied]","new":{"n":1.0},"status":null}`,
		marshal(t, inputItem{OfFunctionCallOutput: &copied}))

	item = roundTrip(t, `{"id":"msg_1","role":"assistant","status":"completed","type":"message","content":[
		{"type":"output_text","text":"secret","annotations":[],"new":1}]}`)
	item.OfOutputMessage.Content[0].OfOutputText.Text = "[redacted]"
	requireSameJSON(t, `{"id":"msg_1","role":"assistant","status":"completed","type":"message","content":[
		{"type":"output_text","text":"[redacted]","annotations":[],"new":1}]}`, marshal(t, item))
}

// A caller can read or remove members that openai-go does not know or would not
// write.
func TestExtraFields(t *testing.T) {
	item := roundTrip(t, `{"type":"function_call","call_id":"c","name":"f","arguments":"{}","_agents_tool_title":"F"}`)
	require.Equal(t, map[string]any{"_agents_tool_title": json.RawMessage(`"F"`)}, item.OfFunctionCall.ExtraFields())
	item.OfFunctionCall.SetExtraFields(nil)
	requireSameJSON(t, `{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}`, marshal(t, item))

	item = roundTrip(t, `{"role":"assistant","content":[{"type":"output_text","text":"Hi"}]}`)
	require.Equal(t, param.Omit, item.OfOutputMessage.ExtraFields()["type"], "which openai-go would add")
}

// A caller may change returned items. That changes neither the session nor the
// items that others get.
func TestReturnedItemsBelongToTheCaller(t *testing.T) {
	for _, stored := range []string{`{"role":"user","content":"Hi","x":"aaa"}`, `{"type":"dream","x":"aaa"}`} {
		session, _ := newSession(t, nil, stored)
		items, err := session.GetItems(t.Context(), 0)
		require.NoError(t, err)
		if carried, ok := items[0].Overrides(); ok {
			clear(carried.(json.RawMessage))
		} else {
			clear(items[0].OfMessage.ExtraFields()["x"].(json.RawMessage))
		}
		again, err := session.GetItems(t.Context(), 0)
		require.NoError(t, err)
		requireSameJSON(t, stored, marshal(t, again[0]))
	}
}

// FuzzStored stores any JSON object and reads it, twice. Each time the value
// that comes back marshals to equal JSON.
func FuzzStored(f *testing.F) {
	for _, test := range storedItems {
		f.Add(test.item)
	}
	for typ, fields := range outputItems {
		f.Add(fields + `,"type":"` + typ + `"}`)
	}
	f.Fuzz(func(t *testing.T, item string) {
		var members map[string]json.RawMessage
		if json.Unmarshal([]byte(item), &members) != nil || members == nil || strings.ToValidUTF8(item, "") != item {
			t.Skip("not an item")
		}
		once := marshal(t, roundTrip(t, item))
		requireSameJSON(t, item, once)
		requireSameJSON(t, item, marshal(t, roundTrip(t, once)))
	})
}

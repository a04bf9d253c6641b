package openaisession_test

import (
	"testing"

	"github.com/encsession/encsession/openaisession"
	"github.com/stretchr/testify/require"
)

// The items are as Python's SDK or other SDKs store them.
func TestWithCleanItems(t *testing.T) {
	for name, test := range map[string]struct{ stored, sent string }{
		"a message of a chat-completions model": {`{"id":"__fake_id__","content":[],"role":"assistant","status":"completed",
			"type":"message","provider_data":{"model":"m","response_id":"r"}}`,
			`{"content":[],"role":"assistant","status":"completed","type":"message"}`},
		"a call": {`{"type":"function_call","id":"__fake_id__","call_id":"c","name":"f","arguments":"{}","provider_data":{},
			"_agents_tool_title":"F","_agents_tool_description":"d","_agents_later":1,"created_by":"u"}`,
			`{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}`},
		"a hosted call keeps its ID": {`{"type":"web_search_call","id":"x","status":"completed","created_by":null}`,
			`{"type":"web_search_call","id":"x","status":"completed"}`},
		"a hosted call's fake ID": {`{"type":"web_search_call","id":"__fake_id__"}`, `{"type":"web_search_call"}`},
		"an ID of another provider": {`{"role":"assistant","id":"chatcmpl-1","content":"Hi"}`,
			`{"role":"assistant","content":"Hi"}`},
		"an ID that is null":      {`{"type":"function_call","id":null,"call_id":"c"}`, `{"type":"function_call","call_id":"c"}`},
		"an ID of another type":   {`{"type":"custom_tool_call","id":"fc_1"}`, `{"type":"custom_tool_call"}`},
		"an ID of its type":       {`{"type":"custom_tool_call","id":"ctc_1"}`, `{"type":"custom_tool_call","id":"ctc_1"}`},
		"a status that is null":   {`{"type":"function_call","call_id":"c","status":null}`, `{"type":"function_call","call_id":"c"}`},
		"reasoning with a status": {`{"type":"reasoning","id":"rs_1","summary":[],"status":"completed"}`, `{"type":"reasoning","id":"rs_1","summary":[]}`},
		"reasoning, nothing of a provider": {`{"type":"reasoning","id":"__fake_id__","summary":[],"provider_data":{ }}`,
			`{"type":"reasoning","summary":[]}`},
		"reasoning of a provider": {`{"type":"reasoning","id":"__fake_id__","summary":[],"provider_data":{"model":"m"}}`, ``},
		"output of a shell": {`{"type":"shell_call_output","call_id":"c","shell_output":[1],"output":[
			{"stdout":"a  b","created_by":"u"},{"stdout":"c"},5]}`,
			`{"type":"shell_call_output","call_id":"c","output":[{"stdout":"a  b"},{"stdout":"c"},5]}`},
		"what looks like it in a text": {`{"role":"user","content":"\"id\":\"__fake_id__\", provider_data"}`,
			`{"role":"user","content":"\"id\":\"__fake_id__\", provider_data"}`},
		"members with escapes": {`{"\u0069d":"__fake_id__","role":"user","content":"\u0048i","\u00fc":1.10}`,
			`{"role":"user","content":"Hi","ü":1.1}`},
		"white space": {" {\n\t\"role\" : \"user\" ,\r\n\"content\" : \"Hi\" , \"provider_data\" : null } ", `{"role":"user","content":"Hi"}`},
	} {
		t.Run(name, func(t *testing.T) {
			session, under := newSession(t, []openaisession.Option{openaisession.WithCleanItems()}, test.stored)
			items, err := session.GetItems(t.Context(), 0)
			require.NoError(t, err)
			if test.sent == "" {
				require.Empty(t, items)
			} else {
				require.Len(t, items, 1)
				requireSameJSON(t, test.sent, marshal(t, items[0]))
			}
			requireSameJSON(t, test.stored, contents(t, under)[0])
			popped, err := session.PopItem(t.Context())
			require.NoError(t, err)
			requireSameJSON(t, test.stored, marshal(t, popped))
		})
	}
}

// If no reasoning stands before an item, its ID is not sent: the API might look
// for reasoning that has expired.
func TestStaleIDs(t *testing.T) {
	session, _ := newSession(t, []openaisession.Option{openaisession.WithSendableHistory()},
		`{"role":"user","content":"Hi"}`,
		`{"type":"reasoning","id":"rs_1","summary":[]}`,
		`{"type":"function_call","id":"fc_1","call_id":"c","name":"f","arguments":"{}"}`,
		`{"type":"function_call_output","id":"fco_1","call_id":"c","output":"o"}`,
		`{"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[]}`)
	require.Equal(t, []string{
		`{"content":"Hi","role":"user"}`,
		`{"id":"rs_1","summary":[],"type":"reasoning"}`,
		`{"arguments":"{}","call_id":"c","id":"fc_1","name":"f","type":"function_call"}`,
		`{"call_id":"c","id":"fco_1","output":"o","type":"function_call_output"}`,
		`{"content":[],"role":"assistant","status":"completed","type":"message"}`,
	}, read(t, session, 0))
}

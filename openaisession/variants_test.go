package openaisession_test

import (
	"encoding/json"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3/responses"
	"github.com/stretchr/testify/require"
)

// inputVariants are the variants of the input item that are known to come back
// whole: 26 in v3.24.0 of openai-go, 33 in v3.98.0. If a later version brings a
// variant, read its documentation before you add it: it may be half of a pair,
// see callOf.
var inputVariants = map[string]string{ // the version of openai-go that brought the variant, if later than v3.24.0
	"OfMessage": "", "OfInputMessage": "", "OfOutputMessage": "", "OfFileSearchCall": "", "OfComputerCall": "",
	"OfComputerCallOutput": "", "OfWebSearchCall": "", "OfFunctionCall": "", "OfFunctionCallOutput": "",
	"OfReasoning": "", "OfCompaction": "", "OfImageGenerationCall": "", "OfCodeInterpreterCall": "",
	"OfLocalShellCall": "", "OfLocalShellCallOutput": "", "OfShellCall": "", "OfShellCallOutput": "",
	"OfApplyPatchCall": "", "OfApplyPatchCallOutput": "", "OfMcpListTools": "", "OfMcpApprovalRequest": "",
	"OfMcpApprovalResponse": "", "OfMcpCall": "", "OfCustomToolCallOutput": "", "OfCustomToolCall": "",
	"OfItemReference": "",

	"OfToolSearchCall": "v3.96.0", "OfToolSearchOutput": "v3.96.0", "OfAdditionalTools": "v3.96.0",
	"OfConfigurationUpdate": "v3.96.0", "OfCompactionTrigger": "v3.96.0", "OfProgram": "v3.96.0",
	"OfProgramOutput": "v3.96.0",
}

// TestEveryInputVariant fails if openai-go has a variant that is not in the
// list.
func TestEveryInputVariant(t *testing.T) {
	names := variantNames[inputItem]()
	for name, later := range inputVariants {
		require.True(t, later != "" || slices.Contains(names, name), "%s is gone", name)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, inputVariants, name, "a new variant")
			for _, value := range filledVariants(t, name) {
				session, _ := newSession(t, nil)
				require.NoError(t, session.AddItems(t.Context(), []inputItem{value}))
				items, err := session.GetItems(t.Context(), 0)
				require.NoError(t, err)
				require.Len(t, items, 1)
				requireSameJSON(t, marshal(t, value), marshal(t, items[0]))
				require.Equal(t, name, variantOf(items[0]), "its fields can be read")
			}
		})
	}
}

// outputItems has an output item of every type, as the API sends it: with null,
// and with a member that openai-go does not know. It also has the halves of
// pairs that only a client writes, since the API returns them.
var outputItems = map[string]string{
	"message": `{"id":"msg_1","status":"completed","role":"assistant","phase":null,"content":[
		{"type":"output_text","text":"Hi <there>","annotations":[
			{"type":"url_citation","start_index":0,"end_index":2,"url":"https://example.com/?a=1&b=2","title":"T"}],
		"logprobs":[{"token":"Hi","bytes":[72,105],"logprob":-0.10,"top_logprobs":[]}],"parsed":{"n":1}},
		{"type":"refusal","refusal":"No."}]`,
	"file_search_call": `{"id":"fs_1","status":"completed","queries":["q"],
		"results":[{"file_id":"f","score":1.0,"attributes":{"big":12345678901234567890}}]`,
	"function_call": `{"id":"fc_1","status":"completed","call_id":"call_1","name":"f","namespace":null,
		"arguments":"{\"a\": 1}"`,
	"function_call_output": `{"id":"fco_1","status":"completed","call_id":"call_1","created_by":"u","output":[
		{"type":"input_text","text":"T"}]`,
	"web_search_call": `{"id":"ws_1","status":"completed","action":{"type":"search","query":"q","sources":[
		{"type":"url","url":"https://example.com"},{"type":"api","name":"oai-weather"}]}`,
	"computer_call": `{"id":"cu_1","status":"completed","call_id":"call_1","pending_safety_checks":[
		{"id":"sc_1","code":null,"message":"m"}],"action":{"type":"click","button":"left","x":1,"y":2,"keys":null}`,
	"computer_call_output": `{"id":"cuo_1","status":"completed","call_id":"call_1","created_by":"u",
		"output":{"type":"computer_screenshot","image_url":"data:image/png;base64,AAAA"}`,
	"reasoning": `{"id":"rs_1","summary":[],"encrypted_content":"gAAAAA==","content":null,"status":null`,
	"program":   `{"id":"pr_1","call_id":"call_1","code":"f()","fingerprint":"fp"`,
	"program_output": `{"id":"pro_1","call_id":"call_1","status":"completed",
		"result":"1"`,
	"tool_search_call": `{"id":"ts_1","status":"completed","call_id":null,"execution":"server",
		"arguments":{"paths":["a"],"n":1.50}`,
	"tool_search_output": `{"id":"tso_1","status":"completed","call_id":null,"execution":"server","tools":[
		{"type":"function","name":"f","parameters":{"type":"object","maximum":1e3},"strict":null}]`,
	"additional_tools": `{"id":"at_1","role":"developer","tools":[{"type":"function","name":"f"}]`,
	"compaction":       `{"id":"cmp_1","encrypted_content":"gAAAAA==","created_by":null`,
	"image_generation_call": `{"id":"ig_1","status":"completed","result":"AAAA","size":"1024x1024",
		"revised_prompt":"p"`,
	"code_interpreter_call": `{"id":"ci_1","status":"completed","container_id":"c","code":"1 < 2","outputs":[
		{"type":"logs","logs":"l"},{"type":"image","url":"https://example.com"}]`,
	"local_shell_call": `{"id":"lsh_1","status":"completed","call_id":"call_1","action":{"type":"exec",
		"command":["ls"],"env":{"A":"b"},"timeout_ms":null,"user":null,"working_directory":null}`,
	"local_shell_call_output": `{"id":"call_1","status":"completed","output":"o"`,
	"shell_call": `{"id":"sh_1","status":"completed","call_id":"call_1","action":{"commands":["ls"],
		"max_output_length":null,"timeout_ms":null},"environment":null`,
	"shell_call_output": `{"id":"sho_1","status":"completed","call_id":"call_1","max_output_length":4096,"output":[
		{"stdout":"o","stderr":"","outcome":{"type":"exit","exit_code":0}}]`,
	"apply_patch_call": `{"id":"apc_1","status":"completed","call_id":"call_1","operation":
		{"type":"update_file","path":"p","diff":"@@\n-a\n+b"}`,
	"apply_patch_call_output": `{"id":"apco_1","status":"completed","call_id":"call_1","output":null`,
	"mcp_call": `{"id":"mcp_1","status":"completed","server_label":"s","name":"n","arguments":"{}","output":"o",
		"error":null,"approval_request_id":null`,
	"mcp_list_tools": `{"id":"mcpl_1","server_label":"s","tools":[{"name":"n","description":null,"annotations":null,
		"input_schema":{"type":"object","additionalProperties":false}}]`,
	"mcp_approval_request":  `{"id":"mcpr_1","server_label":"s","name":"n","arguments":"{}"`,
	"mcp_approval_response": `{"id":"mcpa_1","approval_request_id":"mcpr_1","approve":true,"reason":null`,
	"custom_tool_call":      `{"id":"ctc_1","call_id":"call_1","name":"n","input":"i","status":"completed"`,
	"custom_tool_call_output": `{"id":"ctco_1","call_id":"call_1","output":"o","status":"completed",
		"created_by":"u"`,
}

// TestEveryOutputType adds the items of a response and reads them back. It
// fails if openai-go knows a type of output item that is not in the list.
func TestEveryOutputType(t *testing.T) {
	union := reflect.TypeFor[responses.ResponseOutputItemUnion]()
	for i := range union.NumMethod() {
		if name, ok := strings.CutPrefix(union.Method(i).Name, "As"); ok && name != "Any" {
			require.Contains(t, outputItems, typeOf("Of"+name), "a new type")
		}
	}
	want := map[string]string{} // the variant in which each comes back
	for _, name := range variantNames[inputItem]() {
		want[typeOf(name)] = name
	}
	want["message"] = "OfOutputMessage"
	want["file_search_call"] = "" // openai-go would round its number

	for typ, fields := range outputItems {
		t.Run(typ, func(t *testing.T) {
			sent := fields + `,"type":"` + typ + `","from_the_future":{"n":0.10}}`
			var response responses.Response
			require.NoError(t, json.Unmarshal([]byte(`{"output":[`+sent+`]}`), &response))
			session, under := newSession(t, nil)
			require.NoError(t, session.AddOutput(t.Context(), response.Output))
			requireSameJSON(t, sent, contents(t, under)[0])

			items, err := session.GetItems(t.Context(), 0)
			require.NoError(t, err)
			require.Len(t, items, 1)
			requireSameJSON(t, sent, marshal(t, items[0]))
			require.Equal(t, want[typ], variantOf(items[0]))
			require.NoError(t, session.AddItems(t.Context(), items))
			requireSameJSON(t, sent, contents(t, under)[1])
		})
	}
}

func requireSameJSON(t testing.TB, want, got string) {
	t.Helper()
	require.Equal(t, exact(t, want), exact(t, got))
}

// exact decodes JSON without rounding numbers.
func exact(t testing.TB, text string) any {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var value any
	require.NoError(t, decoder.Decode(&value), text)
	return fractions(value)
}

// fractions replaces every number by its exact fraction, unless that would be
// huge.
func fractions(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for name, member := range value {
			value[name] = fractions(member)
		}
	case []any:
		for i, element := range value {
			value[i] = fractions(element)
		}
	case json.Number:
		if _, exponent, _ := strings.Cut(strings.ToLower(value.String()), "e"); len(exponent) > 4 {
			return value
		}
		if fraction, ok := new(big.Rat).SetString(value.String()); ok {
			return fraction.String()
		}
	}
	return value
}

package apitest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/encsession/encsession/openaisession/apitest"
	"github.com/stretchr/testify/require"
)

const (
	user   = `{"role":"user","content":"Hi"}`
	think  = `{"type":"reasoning","id":"rs_1","summary":[],"content":null,"encrypted_content":"g"}`
	call   = `{"type":"function_call","id":"fc_1","call_id":"c","name":"f","arguments":"{}","status":"completed"}`
	output = `{"type":"function_call_output","call_id":"c","output":"o"}`
	answer = `{"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[]}`
)

// Each rule refuses some history, in the words of the API, and has a source.
func TestRules(t *testing.T) {
	require.NoError(t, apitest.Check(list(user, think, call, output, answer), nil))
	tried := map[apitest.Rule]bool{}
	for _, test := range []struct {
		rule    apitest.Rule
		input   []byte
		message string
	}{
		{apitest.RuleInput, list(), "Invalid 'input': expected a list"},
		{apitest.RuleInput, list(`5`), "Invalid type for 'input[0]'"},
		{apitest.RuleRole, list(`{"role":"tool","content":"Hi"}`), "Invalid value: 'tool'."},
		{apitest.RulePrefix, list(user, strings.Replace(answer, "msg_1", "__fake_id__", 1)),
			"Invalid 'input[1].id': '__fake_id__'. Expected an ID that begins with 'msg'."},
		{apitest.RulePrefix, list(strings.Replace(answer, "msg_1", "", 1)), "Invalid 'input[0].id': ''."},
		{apitest.RuleMember, list(strings.Replace(think, `"content":null`, `"status":"completed"`, 1)),
			"Unknown parameter: 'input[0].status'."},
		{apitest.RuleMember, list(`{"role":"user","content":"Hi","provider_data":{}}`),
			"Unknown parameter: 'input[0].provider_data'."},
		{apitest.RuleMember, list(`{"type":"shell_call_output","call_id":"c","output":[{"created_by":"u"}]}`),
			"Unknown parameter: 'input[0].output[0].created_by'."},
		{apitest.RuleRequired, list(`{"type":"reasoning","id":"rs_1"}`),
			"Missing required parameter: 'input[0].summary'."},
		{apitest.RuleStatus, list(strings.Replace(call, `"completed"`, `"failed"`, 1)), "Invalid value: 'failed'."},
		{apitest.RuleStatus, list(strings.Replace(call, `"completed"`, `null`, 1)), "Invalid value: 'null'."},
		{apitest.RuleDuplicate, list(answer, answer), "Duplicate item found with id msg_1."},
		{apitest.RuleDuplicate, list(call, output, output), "Duplicate function_call_output for call_id 'c'."},
		{apitest.RulePair, list(user, call), "No tool output found for function call c."},
		{apitest.RulePair, list(output, user), "No tool call found for function call output with call_id c."},
		{apitest.RulePair, list(output, call), "No tool call found for function call output with call_id c."},
		{apitest.RuleFollowing, list(user, think),
			"Item 'rs_1' of type 'reasoning' was provided without its required following item."},
		{apitest.RuleFollowing, list(think, user), "Item 'rs_1' of type 'reasoning'"},
		{apitest.RuleReasoning, list(call, output),
			"Item 'fc_1' of type 'function_call' was provided without its required 'reasoning' item: 'rs_1'."},
	} {
		err := apitest.Check(test.input, map[string]string{"fc_1": "rs_1"})
		var refusal *apitest.Refusal
		if test.rule != apitest.RuleReasoning {
			err = apitest.Check(test.input, nil)
		}
		require.ErrorAs(t, err, &refusal, "%s", test.input)
		require.Equal(t, test.rule, refusal.Rule, "%s", refusal)
		require.ErrorContains(t, err, test.message)
		require.NotEmpty(t, apitest.Rules[test.rule])
		tried[test.rule] = true
	}
	for rule := range apitest.Rules {
		require.True(t, tried[rule], rule)
	}
}

func list(items ...string) []byte { return []byte("[" + strings.Join(items, ",") + "]") }

// The server remembers which reasoning belongs to its answers.
func TestServer(t *testing.T) {
	server := apitest.NewServer(func([]json.RawMessage) []any {
		return []any{json.RawMessage(think), json.RawMessage(call)}
	})
	defer server.Close()
	post := func(input []byte) (int, string) {
		response, err := http.Post(server.URL+"/responses", "application/json",
			strings.NewReader(`{"input":`+string(input)+`}`))
		require.NoError(t, err)
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return response.StatusCode, string(body)
	}
	status, body := post(list(call, output))
	require.Equal(t, http.StatusOK, status, "it has answered nothing yet: %s", body)
	require.Contains(t, body, `"status": "completed"`)
	status, body = post(list(user, call, output))
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, body, "without its required 'reasoning' item: 'rs_1'.")
	status, body = post(list(user, think, call, output))
	require.Equal(t, http.StatusOK, status, body)
	status, _ = post([]byte(`{`))
	require.Equal(t, http.StatusBadRequest, status)
	require.Len(t, server.Inputs(), 4)
}

package openaisession_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/encsession/encsession/openaisession"
	"github.com/encsession/encsession/openaisession/apitest"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
	"github.com/stretchr/testify/require"
)

// TestREADME requires the README's agent to be that of the examples, which is
// compiled.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	sample := regexp.MustCompile("(?s)```go\n(// session is from.*?)```").FindSubmatch(readme)
	require.NotNil(t, sample)
	require.LessOrEqual(t, strings.Count(string(sample[1]), "\n"), 18)

	source, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	body := regexp.MustCompile(`(?s)\t// session is from.*?\n\}\n`).Find(source)
	require.NotNil(t, body)
	unindented := regexp.MustCompile(`(?m)^\t`).ReplaceAllString(strings.TrimSuffix(string(body), "}\n"), "")
	require.Equal(t, unindented, string(sample[1]))
}

// TestREADMEsAgent runs the agent against an API that lets it call a tool and
// then answers.
func TestREADMEsAgent(t *testing.T) {
	var inputs []string
	transport := roundTripper(func(r *http.Request) string {
		var request struct{ Input []json.RawMessage }
		require.NoError(t, json.NewDecoder(r.Body).Decode(&request))
		inputs = append(inputs, marshal(t, request.Input))
		if len(inputs) == 1 {
			return `{"type":"function_call","call_id":"call_1","name":"weather","arguments":"{}","new":null}`
		}
		return `{"type":"message","role":"assistant","content":[{"type":"output_text","text":"It is sunny."}]}`
	})
	client := openai.NewClient(option.WithAPIKey("none"), option.WithHTTPClient(&http.Client{Transport: transport}))
	session, under := newSession(t, []openaisession.Option{openaisession.WithoutOrphans()})
	response, err := runTurn(t.Context(), client, session, responses.ResponseNewParams{}, []inputItem{message("Hi")})
	require.NoError(t, err)
	require.Equal(t, "It is sunny.", response.OutputText())

	history := contents(t, under)
	require.Len(t, history, 4)
	require.Len(t, inputs, 2)
	requireSameJSON(t, "["+history[0]+"]", inputs[0])
	requireSameJSON(t, "["+strings.Join(history[:3], ",")+"]", inputs[1])
}

// TestREADMEsAgentAgainstTheAPI takes several turns. In between, the program
// stops once, and once a reply is lost. The API accepts each history.
func TestREADMEsAgentAgainstTheAPI(t *testing.T) {
	n := 0
	server := apitest.NewServer(func(input []json.RawMessage) []any {
		n++
		reasoning := map[string]any{"type": "reasoning", "id": fmt.Sprint("rs_", n), "summary": []any{}, "content": nil}
		if strings.Contains(string(input[len(input)-1]), "function_call_output") {
			return []any{reasoning, map[string]any{"type": "message", "id": fmt.Sprint("msg_", n), "role": "assistant",
				"status": "completed", "content": []any{map[string]any{"type": "output_text", "text": "It is sunny."}}}}
		}
		return []any{reasoning, map[string]any{"type": "function_call", "id": fmt.Sprint("fc_", n),
			"call_id": fmt.Sprint("call_", n), "name": "weather", "arguments": "{}", "status": "completed"}}
	})
	defer server.Close()
	client := openai.NewClient(option.WithAPIKey("none"), option.WithBaseURL(server.URL), option.WithMaxRetries(0))
	session, under := newSession(t, []openaisession.Option{openaisession.WithSendableHistory()})
	ask := func() {
		_, err := runTurn(t.Context(), client, session, responses.ResponseNewParams{}, []inputItem{message("Hi")})
		require.NoError(t, err)
	}
	ask()
	stored, err := under.GetItems(t.Context(), 0)
	require.NoError(t, err)
	require.NoError(t, under.AddItems(t.Context(), stored[len(stored)-2:]...), "the reply was lost")
	ask()
	require.NoError(t, under.AddItems(t.Context(), stored[1:3]...), "and once more")
	_, err = session.PopItem(t.Context())
	require.NoError(t, err)
	ask()
	require.Len(t, server.Inputs(), 6)

	plain, err := openaisession.New(under)
	require.NoError(t, err)
	_, err = runTurn(t.Context(), client, plain, responses.ResponseNewParams{}, []inputItem{message("Hi")})
	var refused *openai.Error
	require.ErrorAs(t, err, &refused)
	require.Contains(t, refused.Message, "Duplicate item found with id")
}

// If an answer is cut off or has failed, the agent runs none of its calls and
// stores nothing of it.
func TestREADMEsAgentTakesNoHalfAnswers(t *testing.T) {
	for _, status := range []string{"incomplete", "failed", "cancelled", ""} {
		requests := 0
		client := openai.NewClient(option.WithAPIKey("none"), option.WithHTTPClient(&http.Client{
			Transport: answer(func(*http.Request) string {
				requests++
				return `{"status":"` + status + `","output":[{"type":"function_call","call_id":"c","name":"f","arguments":"{\"to"}]}`
			})}))
		session, under := newSession(t, nil)
		_, err := runTurn(t.Context(), client, session, responses.ResponseNewParams{}, []inputItem{message("Hi")})
		require.ErrorIs(t, err, errNotCompleted)
		require.Equal(t, 1, requests)
		require.Len(t, contents(t, under), 1, "what the user says")
	}
}

// Without input, for example after a stop, the model answers to the history as
// it is.
func TestREADMEsAgentWithoutInput(t *testing.T) {
	transport := roundTripper(func(r *http.Request) string {
		return `{"type":"message","role":"assistant","content":[{"type":"output_text","text":"Still here."}]}`
	})
	client := openai.NewClient(option.WithAPIKey("none"), option.WithHTTPClient(&http.Client{Transport: transport}))
	session, under := newSession(t, nil, `{"role":"user","content":"Are you there?"}`)
	response, err := runTurn(t.Context(), client, session, responses.ResponseNewParams{}, nil)
	require.NoError(t, err)
	require.Equal(t, "Still here.", response.OutputText())
	require.Len(t, contents(t, under), 2)
}

// An error of the session or of the API ends the turn.
func TestREADMEsAgentFails(t *testing.T) {
	cause := errors.New("broken")
	session, err := openaisession.New(broken{cause})
	require.NoError(t, err)
	_, err = runTurn(t.Context(), openai.NewClient(option.WithAPIKey("none")), session, responses.ResponseNewParams{}, nil)
	require.ErrorIs(t, err, cause)

	client := openai.NewClient(option.WithAPIKey("none"), option.WithMaxRetries(0), option.WithHTTPClient(&http.Client{
		Transport: answer(func(*http.Request) string { return "no JSON" })}))
	session, _ = newSession(t, nil)
	response, err := runTurn(t.Context(), client, session, responses.ResponseNewParams{}, []inputItem{message("Hi")})
	require.Error(t, err)
	require.NotErrorIs(t, err, errNotCompleted)
	require.Nil(t, response)
}

// roundTripper is an HTTP transport that answers each request with the output
// item that the func returns.
type roundTripper func(*http.Request) string

func (output roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	return answer(func(r *http.Request) string { return `{"status":"completed","output":[` + output(r) + `]}` }).RoundTrip(r)
}

// answer is an HTTP transport that answers each request with the JSON that the
// func returns.
type answer func(*http.Request) string

func (body answer) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Request: r, Body: io.NopCloser(strings.NewReader(body(r))),
		Header: http.Header{"Content-Type": {"application/json"}}}, nil
}

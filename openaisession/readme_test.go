package openaisession_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/encsession/encsession/openaisession"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
	"github.com/stretchr/testify/require"
)

// TestREADME keeps the README's agent that of the examples, which is compiled.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	sample := regexp.MustCompile("(?s)```go\n(// session comes from.*?)```").FindSubmatch(readme)
	require.NotNil(t, sample)
	require.LessOrEqual(t, strings.Count(string(sample[1]), "\n"), 14)

	source, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	body := regexp.MustCompile(`(?s)\t// session comes from.*?\n\}\n`).Find(source)
	require.NotNil(t, body)
	unindented := regexp.MustCompile(`(?m)^\t`).ReplaceAllString(strings.TrimSuffix(string(body), "}\n"), "")
	require.Equal(t, unindented, string(sample[1]))
}

// TestREADMEsAgent runs it against an API that lets it call a tool and then answers.
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
	session, under := newSession(t, []openaisession.Option{openaisession.WithoutOrphans(nil)})
	response, err := runTurn(t.Context(), client, session, responses.ResponseNewParams{}, []inputItem{message("Hi")})
	require.NoError(t, err)
	require.Equal(t, "It is sunny.", response.OutputText())

	history := contents(t, under)
	require.Len(t, history, 4)
	require.Len(t, inputs, 2)
	requireSameJSON(t, "["+history[0]+"]", inputs[0])
	requireSameJSON(t, "["+strings.Join(history[:3], ",")+"]", inputs[1])
}

// roundTripper answers a request with the output item that it returns.
type roundTripper func(*http.Request) string

func (output roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	body := `{"status":"completed","output":[` + output(r) + `]}`
	return &http.Response{StatusCode: http.StatusOK, Request: r, Body: io.NopCloser(strings.NewReader(body)),
		Header: http.Header{"Content-Type": {"application/json"}}}, nil
}

package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/openaisession/apitest"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
	"github.com/stretchr/testify/require"
)

// beTheProgram names a variable. It is set if a test starts the program without
// arguments.
const beTheProgram = "ENCSESSION_TEST_BE_THE_PROGRAM"

// TestMain makes the test binary run the program if the program has started
// itself.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-db" || os.Getenv(beTheProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// The scripted API is sent these items. A user's message is as openai-go writes
// it, and the model's answers are as the API sent them, including null. Only
// the IDs of messages without reasoning are missing.
const (
	user1 = `{"role":"user","content":"My passport is XZ4839201. Is there a train to Gdańsk?"}`
	think = `{"type":"reasoning","id":"rs_1","summary":[],"content":null,"encrypted_content":"gAAAAABqX1a79"}`
	call  = `{"type":"function_call","id":"fc_1","call_id":"call_1","name":"find_train","arguments":"{\"to\":\"Gdańsk\"}",
		"status":"completed"}`
	result = `{"type":"function_call_output","call_id":"call_1",
		"output":"{\"departs\":\"08:12\",\"price\":\"49 zł\",\"to\":\"Gdańsk\"}"}`
	model1 = `{"type":"message","role":"assistant","status":"completed","content":[
		{"type":"output_text","text":"There is a train at 08:12.","annotations":[],"logprobs":[]}]}`
	user2  = `{"role":"user","content":"What does it cost?"}`
	model2 = `{"type":"message","role":"assistant","status":"completed","content":[
		{"type":"output_text","text":"It costs 49 zł.","annotations":[],"logprobs":[]}]}`
	user3 = `{"role":"user","content":"Which passport did I tell you about?"}`
)

func TestDemonstration(t *testing.T) {
	api := newScriptedAPI()
	defer api.Close()
	folder := t.TempDir()
	var out bytes.Buffer
	require.NoError(t, demonstrateIn(t.Context(), &out, settings{scriptedAPI: api.URL, model: "scripted"}, folder))

	inputs := api.Inputs()
	require.Len(t, inputs, 4)
	for i, want := range [][]string{
		{user1},
		{user1, think, call, result},
		{user1, think, call, result, model1, user2},                // the second turn
		{user1, think, call, result, model1, user2, model2, user3}, // after the restart
	} {
		require.JSONEq(t, "["+strings.Join(want, ",")+"]", string(inputs[i]), "request %d", i)
	}

	require.Contains(t, out.String(), "The session \"user-123\" has 0 items.")
	require.Contains(t, out.String(), "\nuser   What does it cost?\nmodel  It costs 49 zł.\n")
	require.Contains(t, out.String(), "  7  {\"__enc__\":1,…\"payload\":\"…")
	require.Regexp(t, `The passport XZ4839201 stands in its \d+ bytes 0 times\.`, out.String())
	require.Contains(t, out.String(), "The session \"user-123\" has 7 items.\n\nuser   Which passport did I tell you about?\n"+
		"model  You have told me that it is XZ4839201.\n", "the second process goes on")
	require.NotRegexp(t, `[0-9A-Za-z_-]{43}=`, out.String(), "no key")
	require.Equal(t, 2, strings.Count(out.String(), "Process "))
	require.NotContains(t, strings.Replace(out.String(), fmt.Sprintf("Process %d.", os.Getpid()), "", 1),
		fmt.Sprintf("Process %d.", os.Getpid()), "the second process is another one")

	file, err := os.ReadFile(filepath.Join(folder, "conversation.db"))
	require.NoError(t, err)
	for _, word := range []string{"passport", "XZ4839201", "find_train", "Gda", "08:12", "function_call"} {
		require.NotContains(t, string(file), word)
	}
}

// TestRunWithoutArguments: without arguments and without a key, the program
// needs nothing and leaves nothing behind.
func TestRunWithoutArguments(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "")
	t.Setenv("OPENAI_BASE_URL", "http://127.0.0.1:1") // nobody answers there
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out, nil))
	require.Contains(t, out.String(), "This talks to a scripted Responses API at http://127.0.0.1:")
	require.Contains(t, out.String(), "model  You have told me that it is XZ4839201.\n")
	left, err := os.ReadDir(temp)
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestRunWithAnAPIKey: with a key, the client talks to the address that it
// would use by itself. Here that is the script. The key goes there and nowhere
// else.
func TestRunWithAnAPIKey(t *testing.T) {
	api := newScriptedAPI()
	defer api.Close()
	const apiKey = "sk-for-this-test"
	var mu sync.Mutex
	var keys []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		keys = append(keys, r.Header.Get("Authorization"))
		mu.Unlock()
		api.Config.Handler.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	t.Setenv("OPENAI_API_KEY", apiKey)
	t.Setenv("OPENAI_BASE_URL", proxy.URL)
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out, []string{"-model", "gpt-of-this-test"}))
	require.Contains(t, out.String(), "the real Responses API, with the model gpt-of-this-test.")
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, []string{"Bearer " + apiKey, "Bearer " + apiKey, "Bearer " + apiKey, "Bearer " + apiKey}, keys)
	require.NotContains(t, out.String(), apiKey)
}

// TestSignals: if somebody stops the demonstration while the API thinks, no
// file is left behind.
func TestSignals(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no signals")
	}
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		asked, stop := make(chan bool, 1), make(chan bool)
		api := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			asked <- true
			<-stop
		}))
		temp := t.TempDir()
		program := exec.Command(os.Args[0])
		program.Env = append(os.Environ(), beTheProgram+"=1", "TMPDIR="+temp, "OPENAI_API_KEY=none", "OPENAI_BASE_URL="+api.URL)
		var said bytes.Buffer
		program.Stderr = &said
		require.NoError(t, program.Start())
		select {
		case <-asked:
		case <-time.After(time.Minute):
			require.NoError(t, program.Process.Kill())
			require.Fail(t, "it asks nothing")
		}
		left, err := os.ReadDir(temp)
		require.NoError(t, err)
		require.Len(t, left, 1)
		require.NoError(t, program.Process.Signal(sig))
		require.Error(t, program.Wait())
		require.Contains(t, said.String(), "context canceled")
		left, err = os.ReadDir(temp)
		require.NoError(t, err)
		require.Empty(t, left, sig)
		close(stop)
		api.Close()
	}
}

// TestPrintable: text from an API or a store does not steer the terminal.
func TestPrintable(t *testing.T) {
	require.Equal(t, "a: \uFFFD[2J b", printable(errors.New("a:\n\t\x1b[2J\r\nb")))

	program := exec.Command(os.Args[0], "-db", filepath.Join(t.TempDir(), "conversation.db"), "-scripted-api", "http://127.0.0.1:1",
		"Hi.")
	file := program.Args[2]
	s := settings{file: file, key: encsession.GenerateKey()}
	db, err := sql.Open("sqlite", file)
	require.NoError(t, err)
	defer db.Close()
	session, err := s.openSession(t.Context(), db)
	require.NoError(t, err)
	require.NoError(t, session.AddItems(t.Context(), []responses.ResponseInputItemUnionParam{
		responses.ResponseInputItemParamOfFunctionCall("{}", "call\x1b[2J", "find_train")}))
	program.Env = append(os.Environ(), keyEnv+"="+s.key)
	said, err := program.CombinedOutput()
	require.Error(t, err, "nobody answers")
	require.Contains(t, string(said), `orphan: "function_call" "call\x1b[2J"`)
	require.NotContains(t, string(said), "\x1b")
}

func TestRunRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "conversation.db")
	key := encsession.GenerateKey()
	api := newScriptedAPI()
	defer api.Close()
	args := []string{"-db", file, "-scripted-api", api.URL}
	t.Setenv(keyEnv, key)
	require.NoError(t, run(t.Context(), io.Discard, append(args, "Hi.")))

	require.ErrorIs(t, run(t.Context(), io.Discard, []string{"-help"}), flag.ErrHelp)
	require.EqualError(t, run(t.Context(), io.Discard, []string{"Hi."}),
		"to ask something, say with -db where the conversation is")
	t.Setenv("OPENAI_API_KEY", "")
	other := filepath.Join(t.TempDir(), "other.db")
	require.EqualError(t, run(t.Context(), io.Discard, []string{"-db", other, "Hi."}),
		"OPENAI_API_KEY is not set, and there is no -scripted-api")
	require.NoFileExists(t, other)
	t.Setenv(keyEnv, "")
	require.ErrorContains(t, run(t.Context(), io.Discard, args), keyEnv)
	require.ErrorContains(t, run(t.Context(), io.Discard, []string{"-db", other, "-scripted-api", api.URL, "Hi."}), keyEnv)
	require.NoFileExists(t, other, "without a key nothing is made")
	t.Setenv(keyEnv, encsession.GenerateKey())
	require.ErrorIs(t, run(t.Context(), io.Discard, args), encsession.ErrUndecryptable, "under a wrong key")
	t.Setenv(keyEnv, key)
	require.NoError(t, run(t.Context(), io.Discard, args), "which lost nothing")
}

// TestAfterAStopInTheMiddleOfATurn: the process stopped after the model had
// called a tool. The API would refuse the history as it is.
func TestAfterAStopInTheMiddleOfATurn(t *testing.T) {
	s, items := stoppedConversation(t)
	require.EqualError(t, apitest.Check(items, nil), "No tool output found for function call call_1.")

	api := newScriptedAPI()
	defer api.Close()
	s.scriptedAPI = api.URL
	var out bytes.Buffer
	require.NoError(t, s.converse(t.Context(), &out, "Which passport did I tell you about?"))
	require.Contains(t, out.String(), "model  You have told me that it is XZ4839201.\n")
	require.JSONEq(t, "["+user1+","+user3+"]", string(api.Inputs()[0]))
}

// stoppedConversation returns the settings for a file, and the items in it: a
// user's message, reasoning and a call.
func stoppedConversation(t *testing.T) (settings, json.RawMessage) {
	s := settings{file: filepath.Join(t.TempDir(), "conversation.db"), key: encsession.GenerateKey()}
	db, err := sql.Open("sqlite", s.file)
	require.NoError(t, err)
	defer db.Close()
	session, err := s.openSession(t.Context(), db)
	require.NoError(t, err)
	input := []responses.ResponseInputItemUnionParam{responses.ResponseInputItemParamOfMessage(first, "user")}
	require.NoError(t, session.AddItems(t.Context(), input))
	var response responses.Response
	require.NoError(t, json.Unmarshal([]byte(`{"output":[`+think+`,`+call+`]}`), &response))
	require.NoError(t, session.AddOutput(t.Context(), response.Output))
	return s, json.RawMessage("[" + user1 + "," + think + "," + call + "]")
}

// TestErrorsOfTheAPI: an API that fails ends the turn. The user's message is
// not lost.
func TestErrorsOfTheAPI(t *testing.T) {
	always := func(status int, body string) string {
		var requests atomic.Int64 // instead of each # in the body
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			io.WriteString(w, strings.ReplaceAll(body, "#", strconv.FormatInt(requests.Add(1), 10)))
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
	s := settings{file: filepath.Join(t.TempDir(), "conversation.db"), key: encsession.GenerateKey()}

	s.scriptedAPI = always(http.StatusBadRequest, `{"error":{"message":"No."}}`)
	var apiError *openai.Error
	require.ErrorAs(t, s.converse(t.Context(), io.Discard, "one"), &apiError)
	require.Equal(t, http.StatusBadRequest, apiError.StatusCode)

	s.scriptedAPI = always(http.StatusOK, `{"status":"incomplete","output":[]}`)
	require.EqualError(t, s.converse(t.Context(), io.Discard, "two"), `the response is "incomplete", not completed`)

	s.scriptedAPI = always(http.StatusOK, `{"status":"completed","output":[
		{"type":"function_call","call_id":"call_#","name":"find_train","arguments":"{}"}]}`)
	require.EqualError(t, s.converse(t.Context(), io.Discard, "three"), "the model still calls tools after 8 rounds")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.converse(ctx, io.Discard, "four"), context.Canceled)

	api := newScriptedAPI()
	defer api.Close()
	s.scriptedAPI = api.URL
	require.NoError(t, s.converse(t.Context(), io.Discard, "five"))
	for _, said := range []string{"one", "two", "three", "five"} {
		require.Contains(t, string(api.Inputs()[0]), `"`+said+`"`)
	}
	require.Equal(t, mostRounds, strings.Count(string(api.Inputs()[0]), `"function_call_output"`), "of the last round too")
}

func TestTools(t *testing.T) {
	for _, test := range []struct{ name, arguments, want string }{
		{"find_train", `{"to":"Łódź"}`, `{"departs":"08:12","price":"49 zł","to":"Łódź"}`},
		{"find_train", `{"to":""}`, `{"error":"say where to"}`},
		{"find_train", `to Łódź`, `{"error":"say where to"}`},
		{"find_plane", `{"to":"Łódź"}`, `{"error":"there is no such tool"}`},
	} {
		call := responses.ResponseFunctionToolCall{Name: test.name, Arguments: test.arguments}
		require.Equal(t, test.want, callTool(call))
	}
}

func TestScriptKnowsOnlyWhatItIsSent(t *testing.T) {
	said := func(text string) string {
		var history []scriptedItem
		require.NoError(t, json.Unmarshal([]byte(text), &history))
		output, err := json.Marshal(answer(history))
		require.NoError(t, err)
		return string(output)
	}
	require.Contains(t, said(`[`+user3+`]`), "unknown to me")
	require.Contains(t, said(`[{"role":"user","content":"Hi."}]`), "I only know about trains.")
}

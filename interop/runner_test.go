package interop

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// turn is the items that one run of the SDK's Runner puts into a session: the
// user asks, the model calls a tool, the tool answers, the model answers. Each
// turn has its own call IDs, because Runner takes items with the same ID for
// one.
type turn struct{ question, call, output, answer encsession.Item }

func newTurn(number int) turn {
	item := func(format string) encsession.Item {
		return encsession.Item(strings.ReplaceAll(format, "#", strconv.Itoa(number)))
	}
	return turn{
		question: item(`{"role":"user","content":"Question #: and the weather in Lisbon, dokąd lecę?"}`),
		call: item(`{"type":"function_call","id":"fc_#","call_id":"call_#","name":"weather",` +
			`"arguments":"{\"city\": \"Lisbôa\"}","status":"completed"}`),
		output: item(`{"type":"function_call_output","call_id":"call_#","output":"Lisbôa: 21 °C, sunny"}`),
		answer: item(`{"type":"message","id":"msg_#","role":"assistant","status":"completed",` +
			`"content":[{"type":"output_text","text":"Answer #: sunny ☀.","annotations":[],"logprobs":[]}]}`),
	}
}

// requireRun runs a turn over a session of Python. It checks that the model
// received the history, and that s, the session of Go, reads the history with
// the whole turn behind it. It returns the new history.
func requireRun(t *testing.T, p *pythonSession, s encsession.Session, history []encsession.Item, turn turn) []encsession.Item {
	t.Helper()
	var said struct{ Content string }
	require.NoError(t, json.Unmarshal(turn.question, &said))
	request := p.request("run")
	request["input"] = said.Content
	request["outputs"] = [][]string{{string(turn.call)}, {string(turn.answer)}}
	var inputs [][]string // of the model, call by call
	require.NoError(t, p.python.call(request, &inputs))
	require.Len(t, inputs, 2, "the model calls the tool, and answers")

	history = append(history[:len(history):len(history)], turn.question)
	requireEqualItems(t, history, fromTexts(inputs[0]))
	history = append(history, turn.call, turn.output)
	requireEqualItems(t, history, fromTexts(inputs[1]))
	history = append(history, turn.answer)
	requireItems(t, s, history...)
	return history
}

// TestRunnerContinuesWhatGoBegan takes turns: Go begins, Runner follows, then
// Go and Runner again.
func TestRunnerContinuesWhatGoBegan(t *testing.T) {
	onEach(t, func(t *testing.T, p *python, d *database) {
		d.create(t)
		key := encsession.GenerateKey()
		runner, s := d.pythonSession(p, sessionID, key), d.goSession(t, sessionID, key)
		history := conversation(t)
		add(t, s, history...)
		history = requireRun(t, runner, s, history, newTurn(1))
		add(t, s, numbered(1, 2)...)
		requireRun(t, runner, s, append(history, numbered(1, 2)...), newTurn(2))
	})
}

// TestGoContinuesWhatRunnerBegan lets Runner begin on an empty database. Go
// continues, pops an answer of the model and adds another. Runner goes on from
// there.
func TestGoContinuesWhatRunnerBegan(t *testing.T) {
	onEach(t, func(t *testing.T, p *python, d *database) {
		key := encsession.GenerateKey()
		runner, s := d.pythonSession(p, sessionID, key), d.goSession(t, sessionID, key)
		history := requireRun(t, runner, s, nil, newTurn(1))
		history = requireRun(t, runner, s, history, newTurn(2))
		last := len(history) - 1
		requirePop(t, s, history[last])
		add(t, s, numbered(1, 3)...)
		requireRun(t, runner, s, append(history[:last], numbered(1, 3)...), newTurn(3))
	})
}

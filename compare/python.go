package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/encsession/encsession"
)

//go:embed session.py
var pythonScript string

const howToGetPython = "To have it: make a venv, pip install 'openai-agents[encrypt]' there " +
	"(or -r interop/requirements.txt), and name its interpreter with -python."

// findPython starts the interpreter, or python3 if interpreter is empty. If
// that python3 does not exist or lacks the SDK, findPython returns the reason
// as missing, not as err, since nobody has asked for Python.
func findPython(ctx context.Context, interpreter, key string) (p *python, missing, err error) {
	if interpreter == "" {
		p, missing = startPython(ctx, "python3", key)
		return p, missing, ctx.Err()
	}
	if p, err = startPython(ctx, interpreter, key); err != nil {
		return nil, nil, fmt.Errorf("-python %s: %w. %s", interpreter, err, howToGetPython)
	}
	return p, nil, nil
}

// python is the contender in Python. It runs in a process of its own and waits
// for requests.
type python struct {
	versions string       // of Python, openai-agents and cryptography
	key      string       // of the session
	store    *pythonStore // nil for a list in memory

	command  *exec.Cmd
	requests *json.Encoder
	answers  *json.Decoder
	stderr   bytes.Buffer
	stop     func()
}

// startPython starts the script. The process ends with the context, or when
// close is called.
func startPython(ctx context.Context, interpreter, key string) (*python, error) {
	p := &python{key: key}
	alive, cancel := context.WithCancel(ctx)
	p.command = exec.CommandContext(alive, interpreter, "-c", pythonScript)
	p.command.Stderr = &p.stderr
	p.command.WaitDelay = time.Second
	stdin, stdout, err := start(p.command)
	if err != nil {
		cancel()
		return nil, err
	}
	p.requests, p.answers = json.NewEncoder(stdin), json.NewDecoder(stdout)
	// If the interpreter is a wrapper, the process that it has started may live
	// on and keep the pipes open. Then only closing the pipes ends our waiting.
	closed := context.AfterFunc(alive, func() { stdin.Close(); stdout.Close() })
	p.stop = func() {
		cancel()
		closed()
		p.command.Wait() // its error only says that it was killed
	}

	var hello struct{ Versions string }
	if err := p.answers.Decode(&hello); err != nil {
		return nil, p.fail(ctx, err)
	}
	p.versions = hello.Versions
	return p, nil
}

func start(command *exec.Cmd) (stdin io.WriteCloser, stdout io.ReadCloser, err error) {
	if stdin, err = command.StdinPipe(); err != nil {
		return nil, nil, err
	}
	if stdout, err = command.StdoutPipe(); err != nil {
		return nil, nil, err
	}
	return stdin, stdout, command.Start()
}

func (p *python) close() { p.stop() }

// ask sends a request and decodes the answer.
func (p *python) ask(ctx context.Context, request, answer any) error {
	if err := p.requests.Encode(request); err != nil {
		return p.fail(ctx, err)
	}
	if err := p.answers.Decode(answer); err != nil {
		return p.fail(ctx, err)
	}
	return nil
}

// fail ends the process and says why it failed. The last line on its standard
// error tells more than a broken pipe does.
func (p *python) fail(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil {
		return cause
	}
	p.stop()
	lines := strings.Split(strings.TrimSpace(p.stderr.String()), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return errors.New(last)
	}
	return fmt.Errorf("it does not answer as the script does: %w", err)
}

func (p *python) load(ctx context.Context, items []encsession.Item) error {
	const day = 24 * time.Hour // Python has no NoExpiry
	key, err := encsession.ParseKey(p.key)
	if err != nil {
		return err
	}
	sealer, err := encsession.NewSealer(sessionID, encsession.Keyring{Current: key}, day)
	if err != nil {
		return err
	}
	sealed := make([]encsession.Item, len(items))
	for i, item := range items {
		if sealed[i], err = sealer.Seal(item); err != nil {
			return err
		}
	}
	err = p.ask(ctx, map[string]any{
		"op": "load", "session_id": sessionID, "key": p.key, "ttl": int(day.Seconds()),
		"items": texts(items), "sealed": texts(sealed), "store": p.store,
	}, &struct{}{})
	if err != nil {
		return err
	}
	if _, err := p.write(ctx); err != nil {
		return err
	}
	return p.checkStored(ctx, sealer, items)
}

// checkStored checks that Go reads the items that Python has sealed.
func (p *python) checkStored(ctx context.Context, sealer *encsession.Sealer, items []encsession.Item) error {
	var answer struct{ Stored []string }
	if err := p.ask(ctx, map[string]any{"op": "stored"}, &answer); err != nil {
		return err
	}
	opened := make([]encsession.Item, len(answer.Stored))
	for i, stored := range answer.Stored {
		item, err := sealer.Open(encsession.Item(stored))
		if err != nil {
			return fmt.Errorf("item %d that Python has sealed: %w", i, err)
		}
		opened[i] = item
	}
	return same(items, opened)
}

// texts returns items as strings of JSON. Python parses them before its clock
// runs.
func texts(items []encsession.Item) []string {
	s := make([]string, len(items))
	for i, item := range items {
		s[i] = string(item)
	}
	return s
}

func (p *python) do(ctx context.Context, op int) (time.Duration, error) {
	return writeOrRead(ctx, p, op)
}

func (p *python) write(ctx context.Context) (time.Duration, error) {
	return p.clock(ctx, map[string]any{"op": "write"})
}

func (p *python) read(ctx context.Context) (time.Duration, error) {
	return p.clock(ctx, map[string]any{"op": "get", "limit": nil})
}

// clock sends a request and returns the time that it took, by Python's clock.
func (p *python) clock(ctx context.Context, request map[string]any) (time.Duration, error) {
	var answer struct{ Seconds float64 }
	err := p.ask(ctx, request, &answer)
	return time.Duration(answer.Seconds * float64(time.Second)), err
}

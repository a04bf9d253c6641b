package interop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const pythonEnv = "ENCSESSION_PYTHON" // a Python interpreter with the packages of requirements.txt

// process is a Python that runs child.py. It answers one request at a time.
type process struct {
	requests  *json.Encoder
	responses *bufio.Reader
	kill      func()
	stop      func() error
}

// python is a process that a test uses.
type python struct {
	*process
	t testing.TB
}

// sdk is the process that the tests share. It has the SDK, whose import takes
// seconds. It is nil until a test needs it.
var sdk *process

func TestMain(m *testing.M) {
	status := m.Run()
	if sdk != nil {
		if err := sdk.stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = 1
		}
	}
	os.Exit(status)
}

// startPython returns the Python that has the SDK. If there is none, it skips
// the test.
func startPython(t testing.TB) *python {
	if os.Getenv(pythonEnv) == "" {
		t.Skip(`to run this test: python3 -m venv venv && venv/bin/pip install -r interop/requirements.txt, and set ` +
			pythonEnv + ` to the whole path of venv/bin/python; or source .ci/python.sh and call start_python`)
	}
	if sdk == nil {
		var err error
		sdk, err = start(os.Getenv(pythonEnv))
		require.NoError(t, err)
	}
	return &python{process: sdk, t: t}
}

// start starts a Python, which looks for packages in the folders of path first.
// It ends when its standard input ends, and so does not outlive this process. A
// Python that does not end when it should is killed.
func start(interpreter string, path ...string) (*process, error) {
	ctx, kill := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, interpreter, "child.py")
	cmd.Env = append(os.Environ(), "PYTHONUTF8=1", "PYTHONPATH="+strings.Join(path, string(os.PathListSeparator)))
	cmd.WaitDelay = time.Second // another process may still have our pipes open
	stderr := new(bytes.Buffer)
	cmd.Stderr = stderr
	stdin, errIn := cmd.StdinPipe()
	stdout, errOut := cmd.StdoutPipe()
	if err := errors.Join(errIn, errOut); err != nil {
		kill()
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		kill()
		return nil, err
	}
	requests := json.NewEncoder(stdin)
	requests.SetEscapeHTML(false)
	p := &process{requests: requests, responses: bufio.NewReaderSize(stdout, 1<<16), kill: kill}
	p.stop = func() error {
		defer kill()
		defer time.AfterFunc(20*time.Second, kill).Stop()
		stdin.Close()
		io.Copy(io.Discard, stdout) // until the process ends: Wait would close the pipe before
		err := cmd.Wait()
		if stderr.Len() > 0 { // a good Python writes nothing to it
			err = errors.Join(err, errors.New(stderr.String()))
		}
		return err
	}
	return p, nil
}

// request is a request to child.py: the name of a function in "do", and the
// arguments of that function.
type request map[string]any

// exchange sends a request and returns the answer: the result, or an error of
// type exception. It kills a Python that takes too long.
func (p *process) exchange(r request) (json.RawMessage, error) {
	defer time.AfterFunc(2*time.Minute, p.kill).Stop()
	if err := p.requests.Encode(r); err != nil {
		return nil, err
	}
	line, err := p.responses.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("Python has ended: %w", err)
	}
	var response struct {
		Result json.RawMessage
		Error  string
	}
	if err := json.Unmarshal(line, &response); err != nil {
		return nil, fmt.Errorf("%w in %.200q", err, line)
	}
	if response.Error != "" {
		return nil, exception(response.Error)
	}
	return response.Result, nil
}

// exception is an exception of Python: its class and its text.
type exception string

func (e exception) Error() string { return string(e) }

// call sends a request and decodes the result. The error is an exception. Any
// other failure fails the test.
func (p *python) call(r request, result any) error {
	p.t.Helper()
	answer, err := p.exchange(r)
	if e, ok := err.(exception); ok {
		return e
	}
	require.NoError(p.t, err)
	if result != nil {
		require.NoError(p.t, json.Unmarshal(answer, result))
	}
	return nil
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/encsession/encsession"
	"github.com/stretchr/testify/require"
)

func TestMakeItems(t *testing.T) {
	for _, size := range sizes {
		items := makeItems(3, size)
		require.Len(t, items, 3)
		for i, item := range items {
			require.Len(t, item, size)
			var fields struct{ ID, Type string }
			require.NoError(t, json.Unmarshal(item, &fields))
			require.Equal(t, "message", fields.Type)
			require.Equal(t, "msg_0000000"+string(rune('0'+i)), fields.ID)
			require.Contains(t, string(item), "flight")
		}
	}
}

// fixedResults returns the results of two contenders and Python, in three
// rounds.
func fixedResults() results {
	took := func(micros ...int) []time.Duration {
		var each []time.Duration
		for _, m := range micros {
			each = append(each, time.Duration(m)*time.Microsecond)
		}
		return each
	}
	at := func(title string, took ...[]time.Duration) column { return column{title: title, parts: 10, took: took} }
	return results{
		hardware: "a <fast> machine", software: "Go & Python",
		title: "Microseconds per item", unit: "µs per item (÷ fernet-go)", note: "Scales differ.",
		names: []string{"encsession, 2 cores", "fernet-go alone, 1 core", "Python"},
		base:  1, ratios: []ratio{{"Python ÷ encsession, 2 cores", 2, 0}},
		panels: []panel{
			{"200 B", []column{
				at("write", took(10, 20, 900), took(20, 20, 20), took(200, 300, 400)),
				at("read", took(10, 30), took(10, 10), took(50, 50)),
			}},
			{"16 kB", []column{
				at("write", took(500), took(1000), took(9876)),
				at("read", took(123), took(246), took(1230)),
			}},
		},
	}
}

func TestMarkdown(t *testing.T) {
	require.Equal(t, strings.TrimSpace(`
| µs per item (÷ fernet-go)    |  write 200 B |   read 200 B |  write 16 kB |   read 16 kB |
| ---------------------------- | ------------:| ------------:| ------------:| ------------:|
| encsession, 2 cores          | 2.00 (1.00×) | 2.00 (2.00×) | 50.0 (0.50×) | 12.3 (0.50×) |
| fernet-go alone, 1 core      | 2.00 (1.00×) | 1.00 (1.00×) |  100 (1.00×) | 24.6 (1.00×) |
| Python                       | 30.0 (15.0×) | 5.00 (5.00×) |  988 (9.88×) |  123 (5.00×) |
| Python ÷ encsession, 2 cores |        15.0× |        3.33× |        19.8× |        10.0× |
`), fixedResults().sizes())
}

func TestMarkdownByStore(t *testing.T) {
	r := fixedResults()
	r.unit, r.base = "µs per call", -1
	r.panels[0].columns[0].took[1] = nil // as if fernet-go did not write
	require.Equal(t, strings.TrimSpace(`
200 B:

| µs per call                  | write |  read |
| ---------------------------- | -----:| -----:|
| encsession, 2 cores          |  2.00 |  2.00 |
| fernet-go alone, 1 core      |       |  1.00 |
| Python                       |  30.0 |  5.00 |
| Python ÷ encsession, 2 cores | 15.0× | 3.33× |

16 kB:

| µs per call                  | write |  read |
| ---------------------------- | -----:| -----:|
| encsession, 2 cores          |  50.0 |  12.3 |
| fernet-go alone, 1 core      |   100 |  24.6 |
| Python                       |   988 |   123 |
| Python ÷ encsession, 2 cores | 19.8× | 10.0× |
`), r.stores())
	r.panels[0].columns[0].took[2] = nil
	require.Contains(t, r.stores(), "| Python ÷ encsession, 2 cores |       | 3.33× |")
}

func TestSVG(t *testing.T) {
	first, err := fixedResults().svg()
	require.NoError(t, err)
	second, err := fixedResults().svg()
	require.NoError(t, err)
	require.Equal(t, string(first), string(second))

	texts := svgTexts(t, first)
	require.Subset(t, texts, []string{
		"Microseconds per item: less is better", "a <fast> machine", "Go & Python", "200 B", "16 kB", "write", "read",
		"encsession, 2 cores", "fernet-go alone, 1 core", "Python", "30.0", "988", "5.00", "123",
	})
}

// svgTexts returns the texts of a drawing, which must be XML.
func svgTexts(t *testing.T, svg []byte) []string {
	t.Helper()
	var texts []string
	decoder := xml.NewDecoder(bytes.NewReader(svg))
	root := ""
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			require.Equal(t, "svg", root)
			return texts
		}
		require.NoError(t, err)
		switch token := token.(type) {
		case xml.StartElement:
			if root == "" {
				root = token.Name.Local
			}
		case xml.CharData:
			texts = append(texts, string(token))
		}
	}
}

func noEnvironment(string) string { return "" }

// runWith runs the command on few items.
func runWith(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, problems bytes.Buffer
	code = run(ctx, append([]string{"-items", "3", "-rounds", "2"}, args...), noEnvironment, &out, &problems)
	return code, out.String(), problems.String()
}

func TestRunWithoutPython(t *testing.T) {
	t.Setenv("PATH", "")
	file := filepath.Join(t.TempDir(), "speed.svg")
	code, out, stderr := runWith(t.Context(), "-svg", file)
	require.Zero(t, code, stderr)
	for _, want := range []string{
		"3 items of each size, medians of 2 rounds", "GOMAXPROCS", "Python is left out", "pip install 'openai-agents[encrypt]'",
		"| encsession, 1 core ", "| fernet-go alone, 1 core ", "| AES-256-GCM alone, 1 core ", "write 1 kB", "read 16 kB", "keeps no result",
	} {
		require.Contains(t, out, want)
	}
	require.NotContains(t, out, "Python ÷")
	svg, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Contains(t, svgTexts(t, svg), "AES-256-GCM alone, 1 core")
}

// runStores runs the command through SQLite, and through the servers that
// getenv names.
func runStores(t *testing.T, getenv func(string) string, args ...string) (stdout string, texts []string) {
	file := filepath.Join(t.TempDir(), "stores.svg")
	var out, problems bytes.Buffer
	code := run(t.Context(), append([]string{"-stores", "-rounds", "2", "-svg", file}, args...), getenv, &out, &problems)
	require.Zero(t, code, problems.String())
	svg, err := os.ReadFile(file)
	require.NoError(t, err)
	return out.String(), svgTexts(t, svg)
}

func TestRunThroughSQLiteAlone(t *testing.T) {
	t.Setenv("PATH", "")
	out, texts := runStores(t, noEnvironment)
	for _, want := range []string{
		"200 items of 1 kB, medians of 2 rounds", "Python is left out",
		"PostgreSQL is left out: ENCSESSION_POSTGRES_DSN names no server.", "Redis is left out: ENCSESSION_REDIS_ADDR",
		"SQLite:", "| floor, 1 core ", "| plain, 1 core ", "| encrypted, 1 core ", "| encrypted ÷ floor, 1 core ", "read 50", "add 4", "pop 1",
	} {
		require.Contains(t, out, want)
	}
	require.NotContains(t, out, "Python ÷")
	require.Contains(t, texts, "SQLite")
	require.NotContains(t, texts, "Redis")
}

func TestRunThroughStoresWithPython(t *testing.T) {
	if os.Getenv("ENCSESSION_PYTHON") == "" {
		t.Skip("ENCSESSION_PYTHON does not name an interpreter that has openai-agents[encrypt]")
	}
	out, texts := runStores(t, os.Getenv, "-rounds", "1")
	require.Contains(t, out, "| Python ÷ encrypted, ")
	require.Contains(t, texts, "Python EncryptedSession")
	for _, o := range openers {
		if o.env == "" || os.Getenv(o.env) != "" {
			require.Contains(t, out, o.name+":\n")
			require.Contains(t, texts, o.name)
		}
	}
}

func TestRunShowsCosts(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("processor times come from the /proc of Linux")
	}
	var out, problems bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"-cost", "-rounds", "1"}, noEnvironment, &out, &problems), problems.String())
	require.Contains(t, out.String(), "A turn opens a session, reads the newest 50 items and adds 4. 100 turns.")
	require.Contains(t, out.String(), "Redis is left out: ENCSESSION_REDIS_ADDR")
	row := regexp.MustCompile(`\| SQLite \| +([0-9.]+) \| +-?([0-9.]+) \| +([0-9]+) \|`).FindStringSubmatch(out.String())
	require.NotNil(t, row, out.String())
	stored, err := strconv.Atoi(row[3])
	require.NoError(t, err)
	require.InDelta(t, 2050, stored, 200, "two envelopes of some 1,400 bytes fill a page of SQLite")
}

func TestRunSaysWhichStoreFails(t *testing.T) {
	t.Setenv("PATH", "")
	getenv := func(name string) string {
		return map[string]string{"ENCSESSION_POSTGRES_DSN": "postgres://nobody:secret@127.0.0.1:1/none"}[name]
	}
	var out, problems bytes.Buffer
	require.Equal(t, 1, run(t.Context(), []string{"-stores", "-rounds", "1"}, getenv, &out, &problems))
	require.Contains(t, problems.String(), "compare: PostgreSQL: ")
	require.NotContains(t, problems.String(), "secret")
}

func TestRunOnOneCore(t *testing.T) {
	t.Setenv("PATH", "")
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	code, out, stderr := runWith(t.Context())
	require.Zero(t, code, stderr)
	require.Equal(t, 1, strings.Count(out, "| encsession, "), "the same measured twice")
}

func TestRunWithPython(t *testing.T) {
	interpreter := os.Getenv("ENCSESSION_PYTHON")
	if interpreter == "" {
		t.Skip("ENCSESSION_PYTHON does not name an interpreter that has openai-agents[encrypt]")
	}
	code, out, stderr := runWith(t.Context(), "-python", interpreter)
	require.Zero(t, code, stderr)
	for _, want := range []string{"openai-agents ", "cryptography ", "| Python EncryptedSession ", "| Python ÷ encsession, 1 core "} {
		require.Contains(t, out, want)
	}
}

func TestRunRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"unknown flag":  {[]string{"-fast"}, "flag provided but not defined: -fast"},
		"no number":     {[]string{"-rounds", "many"}, `invalid value "many" for flag -rounds`},
		"no rounds":     {[]string{"-rounds", "0"}, "-rounds 0: at least one is needed"},
		"no items":      {[]string{"-items", "-1"}, "-items -1: at least one is needed"},
		"both":          {[]string{"-stores"}, "-items and -stores: "},
		"-cost and":     {[]string{"-cost"}, "-items and -cost: "},
		"argument":      {[]string{"speed.svg"}, `unexpected argument "speed.svg": compare takes only flags`},
		"no such place": {[]string{"-svg", filepath.Join(t.TempDir(), "missing", "speed.svg")}, "there is no such folder"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := runWith(t.Context(), test.args...)
			require.Equal(t, 2, code)
			require.Empty(t, stdout)
			require.Contains(t, stderr, "compare: ")
			require.Contains(t, stderr, test.want)
		})
	}
}

func TestRunHelps(t *testing.T) {
	code, stdout, stderr := runWith(t.Context(), "-h")
	require.Zero(t, code)
	require.Empty(t, stderr)
	for _, want := range []string{"usage: go run ./compare", "-svg file", "-python interpreter", "-rounds", "-items"} {
		require.Contains(t, stdout, want)
	}
}

// fakePython returns an interpreter that is a shell script.
func fakePython(t *testing.T, script string) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the fake interpreter is a shell script")
	}
	file := filepath.Join(t.TempDir(), "python")
	require.NoError(t, os.WriteFile(file, []byte("#!/bin/sh\n"+script), 0o777))
	return file
}

func TestRunSaysWhyPythonFails(t *testing.T) {
	for name, test := range map[string]struct{ script, want string }{
		"no SDK":         {`echo Traceback >&2; echo "ModuleNotFoundError: No module named 'agents'" >&2; exit 1`, "ModuleNotFoundError: No module named 'agents'"},
		"silence":        {`exit 1`, "it does not answer as the script does: EOF"},
		"no JSON":        {`echo hello; sleep 60`, "it does not answer as the script does: invalid character"},
		"fails later on": {`echo '{"versions":"4"}'; read request; echo "MemoryError" >&2`, "Python EncryptedSession: MemoryError"},
	} {
		t.Run(name, func(t *testing.T) {
			interpreter := fakePython(t, test.script)
			code, _, stderr := runWith(t.Context(), "-python", interpreter)
			require.Equal(t, 1, code)
			require.Contains(t, stderr, test.want)
		})
	}
	t.Run("missing", func(t *testing.T) {
		code, _, stderr := runWith(t.Context(), "-python", filepath.Join(t.TempDir(), "python"))
		require.Equal(t, 1, code)
		require.Contains(t, stderr, "no such file")
		require.Contains(t, stderr, "pip install 'openai-agents[encrypt]'")
	})
}

func TestRunChecksWhatPythonSeals(t *testing.T) {
	key := encsession.GenerateKey()
	for name, test := range map[string]struct{ stored, want string }{
		"nothing":           {`[]`, "0 items, not 3"},
		"not sealed":        {`["{}"]`, "item 0 that Python has sealed: "},
		"under another key": {`["` + sealedByAnother(t) + `"]`, encsession.ErrUndecryptable.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := startPython(t.Context(), fakePython(t, `echo '{"versions":"4"}'
read request; echo '{}'
read request; echo '{"seconds":1}'
read request; cat <<'END'
{"stored":`+test.stored+`}
END
read request`), key)
			require.NoError(t, err)
			defer p.close()
			require.ErrorContains(t, p.load(t.Context(), makeItems(3, 200)), test.want)
		})
	}
}

func sealedByAnother(t *testing.T) string {
	t.Helper()
	key, err := encsession.ParseKey(encsession.GenerateKey())
	require.NoError(t, err)
	sealer, err := encsession.NewSealer(sessionID, encsession.Keyring{Current: key}, time.Hour)
	require.NoError(t, err)
	sealed, err := sealer.Seal(makeItems(1, 200)[0])
	require.NoError(t, err)
	return strings.ReplaceAll(string(sealed), `"`, `\"`)
}

func TestRunEndsWhenInterrupted(t *testing.T) {
	t.Run("while Python hangs", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		// The shell starts a sleep, which outlives it and keeps the pipes open.
		code, _, stderr := runWith(ctx, "-python", fakePython(t, "sleep 60\nexit 1"))
		require.Equal(t, 1, code)
		require.Contains(t, stderr, context.DeadlineExceeded.Error())
	})
	t.Run("while measuring", func(t *testing.T) {
		t.Setenv("PATH", "")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		code, _, stderr := runWith(ctx)
		require.Equal(t, 1, code)
		require.Contains(t, stderr, context.Canceled.Error())
	})
}

func TestSame(t *testing.T) {
	items := makeItems(2, 200)
	require.NoError(t, same(items, makeItems(2, 200)))
	require.ErrorIs(t, same(items, items[:1]), errDiffers)
	require.ErrorIs(t, same(items, []encsession.Item{items[0], items[0]}), errDiffers)
}

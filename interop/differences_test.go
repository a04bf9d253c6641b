package interop

import (
	"bytes"
	"context"
	"encoding/base64"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// difference is a behaviour in which Python and encsession differ, on an empty
// database.
type difference struct {
	behaviour string // as docs/compatibility.md lists it
	show      func(t *testing.T, s stage)
}

// stage is one session from all sides. Its Go session passes plaintext through,
// and has a TTL of ten minutes.
type stage struct {
	*database
	python *python
	key    string
	Go     *encsession.EncryptedSession
	Python *pythonSession
	store  encsession.Session // underneath, as Go sees it
	drops  *[]error           // the reasons of the items that Go has left out
}

// observe collects the reasons of drops.
func (s stage) observe(_ context.Context, e encsession.Event) {
	for _, drop := range e.Drops {
		*s.drops = append(*s.drops, drop.Err)
	}
}

// put empties the session and stores a good item, sealed under the key. It
// stores the given items behind it, as they are.
func (s stage) put(t *testing.T, stored ...string) {
	t.Helper()
	require.NoError(t, s.store.ClearSession(t.Context()))
	add(t, s.Go, good)
	add(t, s.store, fromTexts(stored)...)
	*s.drops = nil
}

var good = encsession.Item(`{"role":"user","content":"good"}`)

// sealed returns an envelope of any payload.
func (s stage) sealed(payload string) string {
	secret, err := base64.URLEncoding.DecodeString(s.key)
	if err != nil {
		panic(err)
	}
	return string(sealUnder(secret, payload))
}

func (s stage) onPostgres() bool { return strings.HasPrefix(s.url, "postgresql") }

// requireDrop checks that Go reads only the good item. It also checks the
// reason why Go leaves out the item behind it.
func (s stage) requireDrop(t *testing.T, reason error) {
	t.Helper()
	*s.drops = nil
	requireItems(t, s.Go, good)
	require.Len(t, *s.drops, 1)
	require.ErrorIs(t, (*s.drops)[0], reason)
}

// requireUnreadable checks that Python reads nothing of the session, because of
// an exception.
func (s stage) requireUnreadable(t *testing.T, exception string) {
	t.Helper()
	_, err := s.Python.GetItems(t.Context(), 0)
	require.ErrorContains(t, err, exception)
}

func (s stage) requireStored(t *testing.T, count int) {
	t.Helper()
	stored, err := s.store.GetItems(t.Context(), 0)
	require.NoError(t, err)
	require.Len(t, stored, count)
}

var differences = []difference{
	{"a pop under another key", func(t *testing.T, s stage) {
		s.put(t)
		other := s.goSession(t, sessionID, encsession.GenerateKey())
		requireNothingToPop(t, other)
		s.requireStored(t, 1)
		item, err := s.pythonSession(s.python, sessionID, encsession.GenerateKey()).PopItem(t.Context())
		require.Nil(t, item)
		if s.class == "SQLiteSession" {
			require.ErrorContains(t, err, "InvalidToken")
			s.requireStored(t, 1)
			return
		}
		require.NoError(t, err)
		s.requireStored(t, 0)
	}},
	{"a stored item that is not an envelope", func(t *testing.T, s stage) {
		const plaintext = `{"role":"user","content":"plain"}`
		s.put(t, plaintext)
		requireItems(t, s.Go, good, encsession.Item(plaintext))
		requireItems(t, s.goSession(t, sessionID, s.key), good) // without WithPlaintext
		requireItems(t, s.Python, good)
		requirePop(t, s.Python, good)
		s.requireStored(t, 0)
	}},
	{"a limit of 0 or less", func(t *testing.T, s stage) {
		s.put(t)
		for _, limit := range []int{0, -1} {
			requireLast(t, s.Go, limit, good)
			r := s.Python.request("get")
			r["limit"] = limit
			items, err := s.Python.items(r)
			switch {
			case limit == 0 || s.class == "RedisSession":
				require.NoError(t, err)
				require.Empty(t, items)
			case s.onPostgres():
				require.ErrorContains(t, err, "LIMIT must not be negative")
			default:
				require.NoError(t, err)
				requireEqualItems(t, []encsession.Item{good}, items)
			}
		}
	}},
	{"`__enc__` of `true`, or `kid` or `v` of another version", func(t *testing.T, s stage) {
		for from, to := range map[string]string{`"__enc__":1`: `"__enc__":true`, `"v":1`: `"v":2`, "hkdf-v1": "hkdf-v2"} {
			s.put(t, strings.Replace(s.sealed(`{"a":1}`), from, to, 1))
			requireItems(t, s.Python, good, encsession.Item(`{"a":1}`))
			s.requireDrop(t, encsession.ErrMalformed)
		}
	}},
	{"`__enc__` of `2`, or no `kid` or `v`", func(t *testing.T, s stage) {
		for from, to := range map[string]string{`"__enc__":1`: `"__enc__":2`, `"v":1,`: "", `"kid":"hkdf-v1",`: ""} {
			s.put(t, strings.Replace(s.sealed(`{"a":1}`), from, to, 1))
			s.requireDrop(t, encsession.ErrMalformed)
			requireItems(t, s.Python, good)
			requirePop(t, s.Python, good)
			s.requireStored(t, 0)
		}
	}},
	{"a token with line breaks, or in the other alphabet", func(t *testing.T, s stage) {
		payload := strings.Repeat("x", 1000) // so long that its token has every digit
		item := `{"a":"` + payload + `"}`
		envelope := s.sealed(item)
		middle := len(envelope) / 2
		for _, stored := range []string{
			envelope[:middle] + `\n` + envelope[middle:],
			envelope[:100] + strings.NewReplacer("-", "+", "_", "/").Replace(envelope[100:]),
		} {
			s.put(t, stored)
			requireItems(t, s.Python, good, encsession.Item(item))
			s.requireDrop(t, encsession.ErrMalformed)
		}
	}},
	{"an authentic payload that is JSON, but no object", func(t *testing.T, s stage) {
		s.put(t, s.sealed(`[1]`))
		requireItems(t, s.Python, good, encsession.Item(`[1]`))
		s.requireDrop(t, encsession.ErrMalformed)
	}},
	{"an authentic payload that is not JSON, or a `payload` that is no string", func(t *testing.T, s stage) {
		for stored, exception := range map[string]string{
			s.sealed(`{`): "JSONDecodeError",
			`{"__enc__":1,"v":1,"kid":"hkdf-v1","payload":1}`: "AttributeError",
		} {
			s.put(t, stored)
			s.requireUnreadable(t, exception)
			s.requireDrop(t, encsession.ErrMalformed)
		}
	}},
	{"`NaN` and `Infinity`", func(t *testing.T, s stage) {
		require.ErrorIs(t, s.Go.AddItems(t.Context(), encsession.Item(`{"a":NaN}`)), encsession.ErrInvalidItem)
		s.put(t)
		add(t, s.Python, encsession.Item(`{"a":NaN}`))
		s.requireDrop(t, encsession.ErrMalformed)
		read, err := s.Python.GetItems(t.Context(), 0)
		require.NoError(t, err)
		require.Equal(t, `{"a": NaN}`, string(read[1]))

		s.put(t)
		add(t, s.Go, encsession.Item(`{"a":1e400}`))
		read, err = s.Python.GetItems(t.Context(), 0)
		require.NoError(t, err)
		require.Equal(t, `{"a": Infinity}`, string(read[1]))
		read, err = s.Go.GetItems(t.Context(), 0)
		require.NoError(t, err)
		require.Equal(t, `{"a":1e400}`, string(read[1]))
	}},
	{"half of a surrogate pair, `\\ud800`", func(t *testing.T, s stage) {
		item := encsession.Item(`{"a":"\ud800"}`)
		require.ErrorContains(t, s.Python.AddItems(t.Context(), item), "UnicodeEncodeError")
		s.put(t)
		add(t, s.Go, item)
		for _, side := range []encsession.Session{s.Go, s.Python} {
			read, err := side.GetItems(t.Context(), 0)
			require.NoError(t, err)
			require.Equal(t, string(item), strings.ReplaceAll(string(read[1]), " ", ""))
		}
	}},
	{"integers of more than 4,300 digits, and deep nesting", func(t *testing.T, s stage) {
		for _, test := range []struct{ item, exception string }{
			{`{"a":` + strings.Repeat("7", 4301) + `}`, "ValueError: Exceeds the limit (4300"},
			{string(nested(10_000)), "RecursionError"},
		} {
			s.put(t)
			add(t, s.Go, encsession.Item(test.item))
			requireItems(t, s.Go, good, encsession.Item(test.item))
			if _, err := s.Python.GetItems(t.Context(), 0); err == nil && test.exception == "RecursionError" {
				t.Log("this Python takes all levels that Go does")
				continue
			}
			s.requireUnreadable(t, test.exception)
			_, err := s.Python.PopItem(t.Context())
			require.ErrorContains(t, err, test.exception)
			s.requireStored(t, 1) // the pop has lost the item
		}
	}},
	{"a key that versions of Python read differently", func(t *testing.T, s stage) {
		key := strings.TrimRight(encsession.GenerateKey(), "=")
		_, err := encsession.ParsePythonKey(key)
		require.ErrorIs(t, err, encsession.ErrAmbiguousKey)
		add(t, s.pythonSession(s.python, sessionID, key), good)
	}},
	{"a session ID that is empty, or ends in U+0000", func(t *testing.T, s stage) {
		for _, id := range []string{"", "user-1\x00"} {
			key, err := encsession.ParseKey(s.key)
			require.NoError(t, err)
			_, err = encsession.New(s.database.store(id), key)
			require.Error(t, err)
		}
		add(t, s.pythonSession(s.python, "", s.key), good)
		if s.onPostgres() {
			return // PostgreSQL has no such texts
		}
		add(t, s.pythonSession(s.python, "user-1\x00", s.key), good)
		stored, err := s.pythonSession(s.python, "user-1\x00", "").GetItems(t.Context(), 0)
		require.NoError(t, err)
		add(t, s.pythonSession(s.python, "user-1", ""), stored...)
		requireItems(t, s.pythonSession(s.python, "user-1", s.key), good) // under the same key
	}},
	{"a TTL of 0 or less", func(t *testing.T, s stage) {
		key, err := encsession.ParseKey(s.key)
		require.NoError(t, err)
		_, err = encsession.New(s.store, key, encsession.WithTTL(0))
		require.Error(t, err)
		s.Python.ttl, s.Python.now = 0, seconds(0)
		add(t, s.Python, good)
		requireItems(t, s.Python, good)
		s.Python.now++
		requireItems(t, s.Python)
	}},
}

// TestDifferences shows each difference that docs/compatibility.md lists, for
// each pair.
func TestDifferences(t *testing.T) {
	p := startPython(t)
	for _, pair := range pairs {
		t.Run(pair.name, func(t *testing.T) {
			for _, difference := range differences {
				t.Run(difference.behaviour, func(t *testing.T) {
					d := fresh(t, p, pair)
					d.create(t)
					s := stage{
						database: d, python: p, key: encsession.GenerateKey(), store: d.store(sessionID), drops: new([]error),
					}
					s.Python = d.pythonSession(p, sessionID, s.key)
					s.Go = d.goSessionWith(t, sessionID, s.key, encsession.WithPlaintext(), encsession.WithObserver(s.observe))
					difference.show(t, s)
				})
			}
		})
	}
}

// TestDocumentListsDifferences compares docs/compatibility.md with the tests.
func TestDocumentListsDifferences(t *testing.T) {
	document, err := os.ReadFile("../docs/compatibility.md")
	require.NoError(t, err)
	_, table, found := bytes.Cut(document, []byte("| behaviour | Python | encsession | why |\n|---|---|---|---|\n"))
	require.True(t, found)
	table, _, _ = bytes.Cut(table, []byte("\n\n"))
	var listed, shown []string
	for row := range strings.Lines(string(table)) {
		behaviour, _, _ := strings.Cut(strings.TrimPrefix(row, "| "), " |")
		listed = append(listed, behaviour)
	}
	for _, difference := range differences {
		shown = append(shown, difference.behaviour)
	}
	require.Equal(t, shown, listed)
}

// TestDocumentNamesVersions compares docs/compatibility.md with
// requirements.txt, and docs/stores.md with older.txt. The last line for a
// package is for later Pythons.
func TestDocumentNamesVersions(t *testing.T) {
	document, err := os.ReadFile("../docs/compatibility.md")
	require.NoError(t, err)
	requirements, err := os.ReadFile("requirements.txt")
	require.NoError(t, err)
	versions := map[string]string{}
	for line := range strings.Lines(string(requirements)) {
		if name, rest, found := strings.Cut(line, "=="); found && !strings.HasPrefix(line, "#") {
			versions[name], _, _ = strings.Cut(rest, " ")
		}
	}
	for name, text := range map[string]string{
		"openai-agents": "`openai-agents` ", "cryptography": "cryptography ", "sqlalchemy": "SQLAlchemy ", "redis": "redis-py ",
	} {
		require.NotEmpty(t, versions[name])
		require.Contains(t, string(document), text+versions[name])
	}

	stores, err := os.ReadFile("../docs/stores.md")
	require.NoError(t, err)
	older, err := os.ReadFile("older.txt")
	require.NoError(t, err)
	for _, sdk := range regexp.MustCompile(`(?m)^openai-agents==(\S+)`).FindAllSubmatch(older, -1) {
		require.Contains(t, string(stores), string(sdk[1]))
	}
}

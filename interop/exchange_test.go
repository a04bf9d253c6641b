package interop

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// sessionID takes part in the derivation of keys, in SQL and in the names of
// Redis keys.
const sessionID = `user-Zoë 😀 'quoted" 100% _:*`

// sides are both ends of one session.
type sides struct {
	Go     encsession.Session
	Python encsession.Session
}

func newSides(t *testing.T, p *python, d *database) sides {
	key := encsession.GenerateKey()
	return sides{Go: d.goSession(t, sessionID, key), Python: d.pythonSession(p, sessionID, key)}
}

// eachWay runs a test twice, each time on a fresh database: with Go as the
// first side and Python as the second, and the other way round. The first side
// makes the tables that the database needs.
func eachWay(t *testing.T, f func(t *testing.T, first, second encsession.Session)) {
	p := startPython(t)
	for _, pair := range pairs {
		t.Run(pair.name, func(t *testing.T) {
			t.Run("Go first", func(t *testing.T) {
				d := fresh(t, p, pair)
				d.create(t)
				s := newSides(t, p, d)
				f(t, s.Go, s.Python)
			})
			t.Run("Python first", func(t *testing.T) {
				d := fresh(t, p, pair)
				s := newSides(t, p, d)
				requireItems(t, s.Python) // makes the tables
				d.create(t)               // leaves them as they are
				f(t, s.Python, s.Go)
			})
		})
	}
}

func requireItems(t testing.TB, s encsession.Session, want ...encsession.Item) {
	t.Helper()
	items, err := s.GetItems(t.Context(), 0)
	require.NoError(t, err)
	requireEqualItems(t, want, items)
}

func requireLast(t testing.TB, s encsession.Session, limit int, want ...encsession.Item) {
	t.Helper()
	items, err := s.GetItems(t.Context(), limit)
	require.NoError(t, err)
	requireEqualItems(t, want, items)
}

func requirePop(t testing.TB, s encsession.Session, want encsession.Item) {
	t.Helper()
	item, err := s.PopItem(t.Context())
	require.NoError(t, err)
	require.NotNil(t, item)
	requireEqualItem(t, want, item)
}

func requireNothingToPop(t testing.TB, s encsession.Session) {
	t.Helper()
	item, err := s.PopItem(t.Context())
	require.NoError(t, err)
	require.Nil(t, item)
}

func add(t testing.TB, s encsession.Session, items ...encsession.Item) {
	t.Helper()
	require.NoError(t, s.AddItems(t.Context(), items...))
}

// conversation returns the sample that the examples also keep in their
// databases.
func conversation(t testing.TB) []encsession.Item {
	file, err := os.ReadFile("../examples/internal/sample/conversation.jsonl")
	require.NoError(t, err)
	var items []encsession.Item
	for line := range bytes.Lines(file) {
		items = append(items, bytes.TrimSpace(line))
	}
	require.NotEmpty(t, items)
	return items
}

func numbered(first, last int) []encsession.Item {
	var items []encsession.Item
	for n := first; n <= last; n++ {
		items = append(items, encsession.Item(fmt.Sprintf(`{"role":"user","content":"number %d"}`, n)))
	}
	return items
}

func TestOneWritesTheOtherReads(t *testing.T) {
	eachWay(t, func(t *testing.T, writer, reader encsession.Session) {
		items := conversation(t)
		add(t, writer, items...)
		requireItems(t, reader, items...)
		requireItems(t, writer, items...)
	})
}

// TestStoredIsCiphertext makes sure that the other tests use encrypted
// sessions. The store that both sides share holds only version 1 envelopes,
// whichever side wrote them.
func TestStoredIsCiphertext(t *testing.T) {
	onEach(t, func(t *testing.T, p *python, d *database) {
		d.create(t)
		s := newSides(t, p, d)
		add(t, s.Go, numbered(1, 1)...)
		add(t, s.Python, numbered(2, 2)...)
		for _, raw := range []encsession.Session{d.store(sessionID), d.pythonSession(p, sessionID, "")} {
			stored, err := raw.GetItems(t.Context(), 0)
			require.NoError(t, err)
			require.Len(t, stored, 2)
			for _, item := range stored {
				envelope := decode(t, item).(map[string]any)
				require.Len(t, envelope, 4)
				require.EqualValues(t, "1", envelope["__enc__"])
				require.EqualValues(t, "1", envelope["v"])
				require.Equal(t, "hkdf-v1", envelope["kid"])
				require.Regexp(t, `^gAAAAA[A-Za-z0-9_-]+=*$`, envelope["payload"])
			}
		}
	})
}

func TestBothAppendInTurns(t *testing.T) {
	eachWay(t, func(t *testing.T, first, second encsession.Session) {
		var all []encsession.Item
		for turn := range 6 {
			items := numbered(10*turn, 10*turn+turn%3)
			writer, reader := first, second
			if turn%2 == 1 {
				writer, reader = second, first
			}
			add(t, writer, items...)
			all = append(all, items...)
			requireItems(t, reader, all...)
		}
		requireItems(t, first, all...)
		requireItems(t, second, all...)
	})
}

func TestBothPopInTurns(t *testing.T) {
	eachWay(t, func(t *testing.T, first, second encsession.Session) {
		requireNothingToPop(t, second)
		items := numbered(1, 9)
		add(t, first, items[:5]...)
		add(t, second, items[5:]...)
		for left := len(items); left > 0; left-- {
			popper, reader := second, first
			if left%2 == 0 {
				popper, reader = first, second
			}
			requirePop(t, popper, items[left-1])
			requireItems(t, reader, items[:left-1]...)
		}
		requireNothingToPop(t, first)
		requireNothingToPop(t, second)
		add(t, second, items[0])
		requirePop(t, first, items[0])
	})
}

func TestLimits(t *testing.T) {
	eachWay(t, func(t *testing.T, first, second encsession.Session) {
		items := numbered(1, 12)
		add(t, first, items[:7]...)
		add(t, second, items[7:]...)
		for limit := 1; limit <= len(items)+1; limit++ {
			want := items[max(0, len(items)-limit):]
			requireLast(t, first, limit, want...)
			requireLast(t, second, limit, want...)
		}
	})
}

// TestLimitsCountReadableItems makes both sides look past items sealed under
// another key.
func TestLimitsCountReadableItems(t *testing.T) {
	onEach(t, func(t *testing.T, p *python, d *database) {
		d.create(t)
		s, other := newSides(t, p, d), newSides(t, p, d)
		items := numbered(1, 6)
		for i, item := range items {
			add(t, s.Go, item)
			add(t, other.Python, numbered(100, 100+i)...)
		}
		for limit := 1; limit <= len(items)+1; limit++ {
			want := items[max(0, len(items)-limit):]
			requireLast(t, s.Go, limit, want...)
			requireLast(t, s.Python, limit, want...)
		}
	})
}

func TestEitherClears(t *testing.T) {
	eachWay(t, func(t *testing.T, first, second encsession.Session) {
		for _, clears := range []encsession.Session{first, second} {
			add(t, first, numbered(1, 2)...)
			add(t, second, numbered(3, 4)...)
			require.NoError(t, clears.ClearSession(t.Context()))
			requireItems(t, first)
			requireItems(t, second)
		}
		add(t, second, numbered(5, 5)...)
		requireItems(t, first, numbered(5, 5)...)
	})
}

// TestAnotherKey checks that neither side reads items that were sealed under
// another key, or for another session.
func TestAnotherKey(t *testing.T) {
	onEach(t, func(t *testing.T, p *python, d *database) {
		d.create(t)
		s := newSides(t, p, d)
		add(t, s.Go, numbered(1, 2)...)
		add(t, s.Python, numbered(3, 4)...)
		requireItems(t, newSides(t, p, d).Go)
		requireItems(t, newSides(t, p, d).Python)
		requireItems(t, s.Go, numbered(1, 4)...)
	})
}

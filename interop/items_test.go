package interop

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// generated returns items that together contain every character of Unicode.
func generated(count int) []encsession.Item {
	g := &generator{Rand: rand.New(rand.NewPCG(5, 1))}
	slice := (scalars + count - 1) / count
	items := make([]encsession.Item, count)
	for i := range items {
		var text strings.Builder
		for n := i * slice; n < min((i+1)*slice, scalars); n++ {
			text.WriteRune(scalar(n))
		}
		items[i] = g.object(text.String())
	}
	return items
}

// TestGeneratedItemsGoBothWays compares the items that one side reads with
// those that the test gave to the other side.
func TestGeneratedItemsGoBothWays(t *testing.T) {
	p := startPython(t)
	items := generated(1000)
	d := fresh(t, p, pairs[0])
	d.create(t)
	for _, way := range []string{"Go to Python", "Python to Go"} {
		t.Run(way, func(t *testing.T) {
			key := encsession.GenerateKey()
			var writer, reader encsession.Session = d.goSession(t, way, key), d.pythonSession(p, way, key)
			if way == "Python to Go" {
				writer, reader = reader, writer
			}
			for batch := range slices.Chunk(items, 500) {
				add(t, writer, batch...)
			}
			requireItems(t, reader, items...)
		})
	}
}

// TestDeepItemsGoBothWays looks for the deepest item that Python takes, and
// sends it both ways. The depth depends on the version of Python. Python cannot
// read a session with a deeper item at all, as docs/compatibility.md says.
func TestDeepItemsGoBothWays(t *testing.T) {
	p := startPython(t)
	d := fresh(t, p, pairs[0])
	d.create(t)
	key := encsession.GenerateKey()
	python := d.pythonSession(p, sessionID, key)
	takes := func(depth int) bool {
		require.NoError(t, python.ClearSession(t.Context()))
		if err := python.AddItems(t.Context(), nested(depth)); err != nil {
			require.ErrorContains(t, err, "RecursionError")
			return false
		}
		_, err := python.GetItems(t.Context(), 0)
		if err != nil {
			require.ErrorContains(t, err, "RecursionError")
		}
		return err == nil
	}
	const most = 10_000 // the most levels that Go takes
	deepest := 1
	for beyond := most + 1; beyond-deepest > 1; {
		if depth := (deepest + beyond) / 2; takes(depth) {
			deepest = depth
		} else {
			beyond = depth
		}
	}
	t.Logf("the deepest item that this Python takes has %d levels", deepest)
	require.Greater(t, deepest, 300)
	s := d.goSession(t, sessionID, key)
	require.NoError(t, s.ClearSession(t.Context()))
	add(t, s, nested(deepest))
	requireItems(t, python, nested(deepest))
	require.NoError(t, s.ClearSession(t.Context()))
	add(t, python, nested(deepest))
	requireItems(t, s, nested(deepest))
}

// nested returns an object of depth levels: objects and arrays in turns.
func nested(depth int) encsession.Item {
	innermost := strings.Repeat(`{}`, depth%2)
	return encsession.Item(strings.Repeat(`{"a":[`, depth/2) + innermost + strings.Repeat(`]}`, depth/2))
}

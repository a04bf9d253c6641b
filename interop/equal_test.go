package interop

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// requireEqualItems compares items as JSON.
func requireEqualItems(t testing.TB, want, got []encsession.Item) {
	t.Helper()
	require.Equal(t, len(want), len(got), "number of items") // not Len, which would print the items
	for i := range want {
		requireEqualItem(t, want[i], got[i])
	}
}

func requireEqualItem(t testing.TB, want, got encsession.Item) {
	t.Helper()
	if !equal(decode(t, want), decode(t, got)) {
		require.Equal(t, string(want), string(got), "items are not equal as JSON")
	}
}

func decode(t testing.TB, item encsession.Item) any {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(item))
	decoder.UseNumber()
	var value any
	require.NoError(t, decoder.Decode(&value), "%.200s", item)
	_, err := decoder.Token()
	require.ErrorIs(t, err, io.EOF)
	return value
}

// equal compares values of JSON. It compares integers to the last digit, and
// other numbers as float64, as Python holds them. 1 and 1.0 differ.
func equal(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, b, equal)
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, equal)
	case json.Number:
		b, ok := b.(json.Number)
		return ok && equalNumbers(a.String(), b.String())
	}
	return a == b
}

func equalNumbers(a, b string) bool {
	if isInteger(a) || isInteger(b) {
		return isInteger(a) && isInteger(b) && integer(a).Cmp(integer(b)) == 0
	}
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	return errX == nil && errY == nil && x == y
}

func isInteger(number string) bool { return !strings.ContainsAny(number, ".eE") }

func integer(number string) *big.Int {
	n, _ := new(big.Int).SetString(number, 10)
	return n
}

// TestEqual tests the comparison on which the other tests rely.
func TestEqual(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{`{"a":1,"b":[true,null]}`, `{ "b": [true, null], "a": 1 }`, true},
		{`"\u00e9\/"`, `"é/"`, true},
		{`1E5`, `100000.0`, true},
		{`0.1`, `0.1000000000000000055511151231257827`, true},
		{`100000000000000000000000000000001`, `100000000000000000000000000000001`, true},
		{`100000000000000000000000000000001`, `100000000000000000000000000000002`, false},
		{`9007199254740993`, `9007199254740992`, false},
		{`-0`, `0`, true},
		{`0.1`, `0.10000000000000002`, false},
		{`1`, `1.0`, false},
		{`1`, `"1"`, false},
		{`null`, `false`, false},
		{`[1,2]`, `[2,1]`, false},
		{`[1]`, `[1,1]`, false},
		{`{"a":null}`, `{"b":null}`, false},
		{`{"a":1}`, `{"a":1,"b":1}`, false},
		{`{}`, `[]`, false},
	} {
		require.Equal(t, test.want, equal(decode(t, encsession.Item(test.a)), decode(t, encsession.Item(test.b))),
			"%s and %s", test.a, test.b)
		require.Equal(t, test.want, equal(decode(t, encsession.Item(test.b)), decode(t, encsession.Item(test.a))),
			"%s and %s", test.b, test.a)
	}
}

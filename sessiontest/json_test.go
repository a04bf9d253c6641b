package sessiontest

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestEqualJSON(t *testing.T) {
	for _, c := range []struct {
		a, b  string
		equal bool
	}{
		{`{"a":1,"b":[true,null]}`, ` { "b" : [ true , null ] , "a" : 1 } `, true},
		{`{"a":"\u00e9\u0000\/"}`, `{"a":"é\u0000/"}`, true},
		{`[1.0,1e2,-0,1E-7]`, `[1,100,0.0,0.0000001]`, true},
		{`9007199254740993`, `9007199254740992`, false},
		{`123456789012345678901234567890`, `1.2345678901234568e29`, false},
		{`1`, `"1"`, false},
		{`"1"`, `1`, false},
		{`[]`, `{}`, false},
		{`{}`, `[]`, false},
		{`null`, `{}`, false},
		{`{}`, `null`, false},
		{`true`, `false`, false},
		{`[1,2]`, `[2,1]`, false},
		{`[1]`, `[1,1]`, false},
		{`{"a":1}`, `{"a":1,"b":1}`, false},
		{`{"a":null}`, `{"b":null}`, false},
		{`{"a":1}`, `{"A":1}`, false},
		{`"é"`, "\"e\u0301\"", false},
		{`{}`, `{} {}`, false},
		{`{}`, ``, false},
		{`{`, `{}`, false},
	} {
		require.Equal(t, c.equal, equalJSON([]byte(c.a), []byte(c.b)), "%s and %s", c.a, c.b)
	}
}

func TestTrickyItemsAreItems(t *testing.T) {
	for _, item := range trickyItems() {
		require.True(t, json.Valid(item), show(item))
		require.True(t, utf8.Valid(item), show(item))
	}
	for _, item := range notJSON() {
		require.False(t, json.Valid(item), show(item))
		require.NotNil(t, item)
	}
}

func TestMergeableIDsDiffer(t *testing.T) {
	seen := map[string]bool{}
	for _, id := range mergeableIDs() {
		require.False(t, seen[id], "%q comes twice", id)
		require.True(t, utf8.ValidString(id), "%q", id)
		require.NotContains(t, id, "\x00")
		require.NotEmpty(t, id)
		seen[id] = true
	}
}

func TestShow(t *testing.T) {
	require.Equal(t, "nil", show(nil))
	require.Equal(t, `"{}"`, show([]byte("{}")))
	require.Contains(t, show(make([]byte, 1_000)), "and 800 bytes more")
}

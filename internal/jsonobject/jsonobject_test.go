package jsonobject

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// plainValid is Valid as encoding/json has it.
func plainValid(b []byte) bool {
	var object map[string]json.RawMessage
	return utf8.Valid(b) && json.Unmarshal(b, &object) == nil && object != nil
}

// objectSeeds are JSON and nearly JSON; each is tried as it is and in several places of an object.
var objectSeeds = []string{
	``, ` `, `{}`, `[]`, `null`, `true`, `false`, `nul`, `truee`, `TRUE`, `NaN`, `Infinity`, `0`, `-`, `-0`, `00`, `01`, `-01`, `1.`, `.5`, `1.5`,
	`1e5`, `1E+5`, `1e-`, `1e`, `1e+`, `+1`, `1 2`, `0x1`, `1_0`, `123456789012345678901234567890.5e-400`, `""`, `"`, `"a`, `"\`, `"\"`, `"\\"`, `"\/\b\f\n\r\t"`,
	`"\a"`, `"\'"`, `"\u"`, `"\u12"`, `"\u12g4"`, `"\u12AF"`, `"\ud800"`, `"\ud83d\ude00"`, "\"\t\"", "\"\x00\"", "\"\x1f\"", "\"\x7f\"", `"é"`, "\"\xff\"", "\"\xc3\"",
	"\"\xed\xa0\x80\"", "\"\u2028\"", "'a'", `"1234567"`, `"12345678"`, `"123456789"`, `"1234567\n"`, "\"1234567\x01\"", "\"\x8012345678\"",
	`{`, `}`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{"a":1 "b":2}`, `{"a":1,"b":2}`, `{"a":1,"a":2}`, `{a:1}`, `{1:1}`, `{"a":1}}`, `{"a":1};`, `{"a" : [ 1 , { } ] }`,
	`[1,]`, `[,]`, `[1 2]`, `[1,2]`, `[[]]`, `[`, `]`, `[1`, `[1,`, `{"a":1`, `{"a":1,`, `{"a":`, `{"a"`, "\t\r\n{\t\r\n}\t\r\n", "\v{}", "\ufeff{}", "{}\x00", "{}\u00a0",
}

func checkObject(t *testing.T, b []byte) {
	t.Helper()
	require.Equal(t, plainValid(b), Valid(b), "%q", b)
}

func TestValid(t *testing.T) {
	for _, seed := range objectSeeds {
		for _, form := range []string{"%", `{"a":%}`, `{"a":[%]}`, `{%:1}`, `{"a":[1,%,2],"b":%}`, ` {"long enough for eight bytes at a time" : % } `} {
			checkObject(t, []byte(strings.ReplaceAll(form, "%", seed)))
		}
	}
	// Every byte value at every distance from the beginning and the end of a word of eight.
	for c := range 256 {
		for n := range 17 {
			for _, tail := range []int{0, 3, 9} {
				checkObject(t, []byte(`{"a":"`+strings.Repeat("x", n)+string([]byte{byte(c)})+strings.Repeat("y", tail)+`"}`))
			}
		}
	}
	for _, depth := range []int{1, 2, maxDepth - 1, maxDepth, maxDepth + 1, 20000} {
		checkObject(t, []byte(strings.Repeat(`{"a":`, depth)+"1"+strings.Repeat("}", depth)))
		checkObject(t, []byte(`{"a":`+strings.Repeat("[", depth-1)+strings.Repeat("]", depth-1)+"}"))
		checkObject(t, []byte(strings.Repeat(`{"a":[`, depth)))
	}
	require.True(t, Valid([]byte(`{"a":[1]}`)))
	require.False(t, Valid([]byte(`[{"a":1}]`)))
}

// TestValidOfCutAndChangedItems takes real items apart.
func TestValidOfCutAndChangedItems(t *testing.T) {
	data, err := os.ReadFile("../../testdata/python-v1.json")
	require.NoError(t, err)
	var v struct {
		Envelopes []struct{ Item, Stored string }
	}
	require.NoError(t, json.Unmarshal(data, &v))
	require.NotEmpty(t, v.Envelopes)
	for _, e := range v.Envelopes {
		for i := range min(len(e.Item), 200) {
			checkObject(t, []byte(e.Item[:i]))
			checkObject(t, []byte(e.Item[i:]))
			for _, c := range "\x00 \"\\{}[],:0-.eté" {
				checkObject(t, []byte(e.Item[:i]+string(c)+e.Item[i+1:]))
				checkObject(t, []byte(e.Item[:i]+string(c)+e.Item[i:]))
			}
		}
	}
}

func FuzzValid(f *testing.F) {
	for _, seed := range objectSeeds {
		f.Add([]byte(seed))
		f.Add([]byte(`{"a":[` + seed + `]}`))
	}
	f.Fuzz(func(t *testing.T, b []byte) { checkObject(t, b) })
}

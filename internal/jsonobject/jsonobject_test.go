package jsonobject

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// plainValid is Valid in terms of encoding/json.
func plainValid(b []byte) bool {
	var object map[string]json.RawMessage
	return utf8.Valid(b) && json.Unmarshal(b, &object) == nil && object != nil
}

// objectSeeds are valid and nearly valid JSON. The tests try each as it is, and
// in several places of an object.
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
	// Every byte value, at every distance from the beginning and the end of a
	// word of eight bytes.
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

// TestValidOfCutText cuts texts whose characters have one to four bytes, alone
// and one behind another. After the cut it puts nothing, any byte, or the end
// of the object. If a check of an index is missing, Valid looks past the end.
func TestValidOfCutText(t *testing.T) {
	characters := []string{"a", " ", "é", "ह", "中", "\ud7ff", "\uffff", "😀"}
	texts := []string{"é ह 中 😀 aह é😀中"}
	for _, first := range characters {
		for _, second := range characters {
			texts = append(texts, first+second)
		}
	}
	tails := []string{"", `"`, `"}`, "\x80", "\xbf", "\x80\x80", `é"}`}
	for c := range 256 {
		tails = append(tails, string([]byte{byte(c)}))
	}
	for _, text := range texts {
		for _, document := range []string{`{"` + text + `":1}`, `{"a":"1234567` + text + `"}`} {
			for cut := 2; cut < len(document); cut++ {
				for _, tail := range tails {
					// The slice has no room behind its end, so a look past the
					// end panics.
					b := append(make([]byte, 0, cut+len(tail)), document[:cut]+tail...)
					if plainValid(b) != Valid(b) {
						require.Fail(t, "not as encoding/json has it", "%q", b)
					}
				}
			}
		}
	}
}

// TestValidOfCutAndChangedItems cuts real items and changes their bytes. It has
// one goroutine, and under the race detector it would take long and find
// nothing. CI also runs it without it.
func TestValidOfCutAndChangedItems(t *testing.T) {
	if raced {
		t.Skip("not under the race detector")
	}
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

// checkMembers compares Members and Text with encoding/json.
func checkMembers(t *testing.T, object []byte, names ...string) {
	t.Helper()
	var want map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(object, &want))
	before := bytes.Clone(object)
	found := Members(object, names...)
	require.Equal(t, before, object)
	require.Len(t, found, len(names))
	for i, name := range names {
		value, ok := want[name]
		require.Equal(t, ok, found[i] != nil, "%q in %q", name, object)
		require.Equal(t, string(value), string(found[i]), "%q in %q", name, object)
		if !ok {
			continue
		}
		var wantText string
		isText := value[0] == '"'
		if isText {
			require.NoError(t, json.Unmarshal(value, &wantText))
		}
		text, ok := Text(found[i])
		require.Equal(t, isText, ok)
		require.Equal(t, wantText, text)
	}
}

func TestMembers(t *testing.T) {
	for _, object := range []string{
		`{}`, ` { } `, `{"a":1}`, `{"a":1,"b":2}`, "\n{ \"a\" :\t1 , \"b\": [ 1 , 2 ] }\n", `{"a":1,"a":2}`, `{"a":{"a":3},"b":[{"a":4}]}`,
		`{"A":1,"a ":2," a":3,"":4}`, `{"\u0061":1}`, `{"a":1,"\u0061":2}`, `{"\u0061":1,"a":2}`, `{"a":null,"b":"null"}`, `{"a":"","b":""}`,
		`{"a":"\"}","b":"\\"}`, `{"a":"\u00e9\n","b":"é"}`, `{"a":"\ud800","b":"\ud83d\ude00"}`, `{"\ud800":1,"\ufffd":2}`,
		`{"a":true,"b":false}`, `{"a":-0.5e+10,"b":{}}`, `{"aa":1,"b":"a"}`, "{\"a\":\"\x7f\"}",
	} {
		require.True(t, Valid([]byte(object)), object)
		checkMembers(t, []byte(object), "a", "b", "", "\ufffd")
	}
	require.Empty(t, Members([]byte(`{"a":1}`)))
	object := []byte(`{"a":[1]}`)
	require.Same(t, &object[5], &Members(object, "a")[0][0], "a value is a part of the object")
	text, ok := Text(nil)
	require.False(t, ok)
	require.Empty(t, text)
}

func FuzzMembers(f *testing.F) {
	for _, seed := range objectSeeds {
		f.Add([]byte(`{"a":`+seed+`}`), "a", "b")
		f.Add([]byte(`{`+seed+`:1,"a":`+seed+`}`), "a", seed)
	}
	f.Fuzz(func(t *testing.T, b []byte, first, second string) {
		if Valid(b) && utf8.ValidString(first+second) && first != second {
			checkMembers(t, b, first, second)
		}
	})
}

package openaisession_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/openaisession"
	"github.com/stretchr/testify/require"
)

// histories are written in words: a type, an ID, and in brackets the program
// that called. A minus marks an item that is left out.
var histories = map[string]string{
	"whole":                         "user reasoning:r call:1 output:1 assistant user",
	"call without output":           "user -call:1 user",
	"pending call at the end":       "user -reasoning:r -call:1",
	"output without call":           "-output:1 assistant user",
	"output before its call":        "-output:1 -call:1",
	"second output":                 "call:1 output:1 -output:1",
	"output of another kind":        "-call:1 -custom_tool_call_output:1",
	"output of another call":        "-call:1 -output:2",
	"one of two parallel calls":     "user reasoning:r -call:1 call:2 output:2 assistant",
	"the other":                     "user reasoning:r call:1 -call:2 output:1 assistant",
	"both":                          "user -reasoning:r -call:1 -call:2 user",
	"outputs in another order":      "call:1 call:2 output:2 output:1",
	"an ID used again":              "call:1 output:1 user call:1 output:1",
	"an ID used again, cut":         "-output:1 user call:1 output:1",
	"an ID used again, stopped":     "-call:1 user call:1 output:1",
	"an ID used again, call gone":   "call:1 output:1 user -output:1",
	"an ID used again, call waits":  "call:1 output:1 user -call:1",
	"an ID used twice at once":      "call:1 call:1 output:1 output:1",
	"calls without a call_id":       "web_search_call tool_search_call tool_search_output output call",
	"unknown types":                 "dream_call:1 dream_call_output:2 item_reference:3",
	"reasoning at the end":          "user -reasoning:r",
	"reasoning before a user":       "assistant -reasoning:r user",
	"reasoning before an output":    "call:1 -reasoning:r output:1",
	"reasoning twice":               "reasoning:r reasoning:s assistant",
	"reasoning twice at the end":    "-reasoning:r -reasoning:s",
	"reasoning of another answer":   "-reasoning:r -call:1 reasoning:s assistant",
	"reasoning before a developer":  "-reasoning:r developer assistant",
	"reasoning before a system":     "-reasoning:r system assistant",
	"reasoning, a stop, a program":  "user -reasoning:r -call:1 text",
	"reasoning before a program":    "-reasoning:r text assistant",
	"reasoning without an ID":       "user reasoning text",
	"reasoning before a setting":    "reasoning:r additional_tools call:1 output:1",
	"reasoning, setting, user":      "-reasoning:r additional_tools configuration_update user",
	"reasoning, setting, end":       "-reasoning:r compaction_trigger",
	"reasoning with a hosted call":  "reasoning:r web_search_call reasoning:s assistant",
	"approval":                      "reasoning:r mcp_approval_request:1 mcp_approval_response:1 mcp_call",
	"approval without answer":       "-mcp_approval_request:1 user",
	"answer without request":        "-mcp_approval_response:1 user",
	"local shell by id":             "local_shell_call:1 local_shell_call_output:1",
	"local shell by a function":     "local_shell_call:1 output:1",
	"local shell, not by another":   "-local_shell_call:1 -custom_tool_call_output:1",
	"program":                       "program:p call:1(p) output:1(p) program_output:p assistant",
	"program at work":               "program:p call:1(p) output:1(p)",
	"program that has called":       "program:p call:1(p) output:1",
	"program with nothing":          "user -reasoning:r -program:p user",
	"program with a call alone":     "-program:p -call:1(p)",
	"program waits for a shell":     "program:p shell_call:1(p)",
	"shell waits without a program": "-shell_call:1",
	"program gone":                  "-call:1(p) -output:1 -program_output:p assistant",
	"program used again":            "program:p call:1(p) output:1(p) program_output:p user -program:p",
	"program used again, stopped":   "-program:p user program:p call:1(p) output:1(p)",
	"unknown types of a program":    "mcp_call:1(p) dream_call:2(p)",
	"program with an unknown type":  "program:p dream_call:1(p)",
	"a call is no program":          "call:p output:p -call:1(p) -output:1(p)",
	"a call with a program's ID":    "program:p call:p(p) output:p(p) call:1(p) output:1(p)",
	"programs in one another":       "user -program:p -program:q(p) -call:1(q) user",
	"program later":                 "-call:1(p) -output:1(p) -program:p",
}

// withoutOrphans returns the options of a view that leaves out orphans and
// tells of them.
func withoutOrphans(told func(openaisession.Omission)) []openaisession.Option {
	return []openaisession.Option{openaisession.WithoutOrphans(), openaisession.WithOmissionHandler(
		func(_ context.Context, o openaisession.Omission) { told(o) })}
}

func TestWithoutOrphans(t *testing.T) {
	for name, history := range histories {
		t.Run(name, func(t *testing.T) {
			var items, want []string
			var orphans []openaisession.Omission
			for _, word := range strings.Fields(history) {
				word, orphan := strings.CutPrefix(word, "-")
				item := itemFrom(word)
				items = append(items, item)
				if orphan {
					kind, id, _ := strings.Cut(word, ":")
					id, _, _ = strings.Cut(id, "(")
					orphans = append(orphans, openaisession.Omission{
						SessionID: "user-123", Reason: openaisession.ReasonOrphan, Type: typeNamed(kind), ID: id})
				} else {
					want = append(want, item)
				}
			}
			var told []openaisession.Omission
			opts := withoutOrphans(func(o openaisession.Omission) { told = append(told, o) })
			session, under := newSession(t, opts, items...)
			require.Equal(t, want, read(t, session, 0))
			require.Equal(t, orphans, told)
			require.Equal(t, items, contents(t, under), "the session stays as it is")

			unfiltered, err := openaisession.New(under)
			require.NoError(t, err)
			require.Len(t, read(t, unfiltered, 0), len(items), "the filter is off unless it is asked for")
		})
	}
}

// The items of these histories are written out. A minus marks an item that is
// left out.
func TestWithoutOrphansLooksAtEachMember(t *testing.T) {
	const (
		user   = `{"role":"user","content":"Hi"}`
		call   = `{"type":"function_call","call_id":"c"}`
		output = `{"type":"function_call_output","call_id":"c"}`
		answer = `{"id":"msg","role":"assistant","content":"Hi"}`
	)
	for name, history := range map[string][]string{
		"id of another kind":          {`{"type":"function_call","call_id":"c","id":7}`, output},
		"id of another kind, alone":   {`-{"type":"function_call","call_id":"c","id":7}`},
		"status of another kind":      {`{"type":"function_call","call_id":"c","status":{"a":1}}`, output},
		"caller of another kind":      {`{"type":"function_call","call_id":"c","caller":"direct"}`, output},
		"caller that is no program":   {`{"type":"function_call","call_id":"c","caller":{"type":"direct","caller_id":"p"}}`, output},
		"names in another case":       {`{"type":"function_call","call_id":"c","Call_ID":"d","Status":5,"TYPE":1}`, output},
		"members twice":               {`{"type":"function_call","call_id":"d","call_id":"c"}`, output},
		"call_id of another kind":     {`{"type":"function_call","call_id":1}`, `{"type":"function_call_output","call_id":2}`},
		"empty call_id":               {`{"type":"function_call","call_id":""}`, `{"type":"function_call_output","call_id":""}`},
		"type of another kind":        {`{"type":["function_call"],"call_id":"c"}`, `-` + output},
		"role of what is no message":  {`{"type":"reasoning","id":"r","role":"user"}`, answer},
		"role of another kind":        {`{"type":"reasoning","id":"r"}`, `{"role":["user"],"content":"Hi"}`},
		"message with a type":         {`-{"type":"reasoning","id":"r"}`, `{"type":"message","role":"user","content":"Hi"}`},
		"tool search by the API":      {`{"type":"tool_search_call","call_id":"c","execution":"server"}`, user},
		"what the API's search found": {user, `{"type":"tool_search_output","call_id":"c","execution":"server"}`},
		"tool search by a program":    {`-{"type":"tool_search_call","call_id":"c","execution":"client"}`, user},
		"reasoning before what it finds": {`{"type":"reasoning","id":"r"}`, `{"type":"tool_search_output","execution":"server"}`,
			call, output},
		"another type that the API ran": {`-{"type":"function_call","call_id":"c","execution":"server"}`},
		"local shell, IDs alike": {`{"type":"local_shell_call","id":"l","call_id":"c"}`,
			`{"type":"local_shell_call_output","id":"l"}`},
		"local shell, an ID is a call_id": {`{"type":"local_shell_call","id":"c"}`,
			`{"type":"local_shell_call_output","call_id":"c","id":"o"}`},
		"local shell, a call_id is an ID": {`{"type":"local_shell_call","id":"l","call_id":"c"}`,
			`{"type":"local_shell_call_output","call_id":"x","id":"c"}`},
		"local shell, answered twice": {`{"type":"local_shell_call","id":"l","call_id":"c"}`, output,
			`-{"type":"local_shell_call_output","id":"l"}`},
		"local shell, alone": {`-{"type":"local_shell_call","id":"l","call_id":"c"}`},
		"shell that waits":   {waitingShell("in_progress")[0], waitingShell("in_progress")[1]},
		"shell that does not": {"-" + waitingShell("completed")[0],
			"-" + waitingShell("completed")[1]},
	} {
		t.Run(name, func(t *testing.T) {
			var items, want []string
			orphans := 0
			for _, item := range history {
				item, orphan := strings.CutPrefix(item, "-")
				items = append(items, item)
				if orphan {
					orphans++
				} else {
					want = append(want, marshal(t, roundTrip(t, item)))
				}
			}
			opts := withoutOrphans(func(o openaisession.Omission) {
				orphans--
				require.Contains(t, []string{"c", "p", "r", "l"}, o.ID)
			})
			session, _ := newSession(t, opts, items...)
			got, err := session.GetItems(t.Context(), 0)
			require.NoError(t, err)
			require.Len(t, got, len(want))
			for i := range got {
				requireSameJSON(t, want[i], marshal(t, got[i]))
			}
			require.Zero(t, orphans)
		})
	}
}

// waitingShell returns a program and a call of it that has no output yet.
func waitingShell(status string) [2]string {
	return [2]string{`{"type":"program","call_id":"p"}`,
		`{"type":"shell_call","call_id":"c","status":"` + status + `","caller":{"type":"program","caller_id":"p"}}`}
}

// An omission shows the call_id of an orphan, if it has one.
func TestOrphanID(t *testing.T) {
	for item, id := range map[string]string{
		`{"type":"local_shell_call","id":"l","call_id":"c"}`:        "c",
		`{"type":"local_shell_call_output","id":"l","call_id":"c"}`: "c",
		`{"type":"local_shell_call","id":"l"}`:                      "l",
		`{"type":"reasoning","id":"r","call_id":"c"}`:               "r",
		`{"type":"reasoning"}`:                                      "",
		`{"type":"function_call","id":"f","call_id":"\u001b[2J"}`:   "\x1b[2J",
	} {
		var told []openaisession.Omission
		opts := withoutOrphans(func(o openaisession.Omission) { told = append(told, o) })
		session, _ := newSession(t, opts, item)
		_, err := session.GetItems(t.Context(), 0)
		require.NoError(t, err)
		require.Len(t, told, 1)
		require.Equal(t, id, told[0].ID, item)
	}
}

// Only halves of pairs, and reasoning, can be orphans. So no other text from
// the store is shown as a type.
func TestTypesOfOrphans(t *testing.T) {
	types := []string{"reasoning"}
	for call, output := range pairs {
		types = append(types, typeNamed(call), typeNamed(output))
	}
	opts := withoutOrphans(func(o openaisession.Omission) {
		require.Contains(t, types, o.Type)
	})
	for _, typ := range append(types, "Function_Call", "function_call ", "secret", "message", "") {
		session, _ := newSession(t, opts, `{"type":"`+typ+`","role":"user","id":"i","call_id":"c",
			"approval_request_id":"a","status":"completed","caller":{"type":"program","caller_id":"p"}}`)
		items, err := session.GetItems(t.Context(), 0)
		require.NoError(t, err)
		if slices.Contains(types, typ) {
			require.Empty(t, items, typ)
		} else {
			require.Len(t, items, 1, typ)
		}
	}
}

// A read keeps as many calls and outputs of functions and custom tools as the
// API accepts. They come in any order, and their IDs differ. The test tries all
// ways to leave items out.
func TestWithoutOrphansKeepsTheMost(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	words := []string{"user", "assistant", "call:1", "output:1", "call:2", "output:2", "custom_tool_call:1",
		"custom_tool_call_output:1", "custom_tool_call:3", "custom_tool_call_output:3"}
	for range 300 {
		random.Shuffle(len(words), func(i, j int) { words[i], words[j] = words[j], words[i] })
		history := words[:1+random.IntN(len(words))]
		var items []string
		for _, word := range history {
			items = append(items, itemFrom(word))
		}
		var want []string // the union of all sets that can be kept; it can be kept too
		for i, word := range history {
			for set := range 1 << len(history) {
				if set>>i&1 == 1 && isWhole(history, set) {
					want = append(want, itemFrom(word))
					break
				}
			}
		}
		session, _ := newSession(t, []openaisession.Option{openaisession.WithoutOrphans()}, items...)
		require.Equal(t, want, read(t, session, 0), "%v", history)
	}
}

// isWhole reports whether a set of items of a history, given as bits, holds the
// other half of each half of a pair.
func isWhole(history []string, set int) bool {
	for i, word := range history {
		kind, id, isHalf := strings.Cut(word, ":")
		if set>>i&1 == 0 || !isHalf {
			continue
		}
		whole := false
		for j, other := range history {
			callBefore := j < i && pairs[strings.TrimSuffix(other, ":"+id)] == kind
			outputAfter := j > i && other == pairs[kind]+":"+id
			whole = whole || set>>j&1 == 1 && (callBefore || outputAfter)
		}
		if !whole {
			return false
		}
	}
	return true
}

// pairs are the types of the halves that belong together.
var pairs = map[string]string{
	"call": "output", "custom_tool_call": "custom_tool_call_output", "computer_call": "computer_call_output",
	"local_shell_call": "local_shell_call_output", "shell_call": "shell_call_output",
	"apply_patch_call": "apply_patch_call_output", "tool_search_call": "tool_search_output",
	"program": "program_output", "mcp_approval_request": "mcp_approval_response",
}

func TestEveryPair(t *testing.T) {
	for call, output := range pairs {
		session, _ := newSession(t, []openaisession.Option{openaisession.WithoutOrphans()},
			itemFrom(call+":1"), itemFrom(output+":2"), itemFrom(call+":3"), itemFrom(output+":3"))
		require.Equal(t, []string{itemFrom(call + ":3"), itemFrom(output + ":3")}, read(t, session, 0))
	}
}

// TestNoPairIsMissing fails if openai-go has a variant with a call ID, or an
// answer to a request, that is in no pair.
func TestNoPairIsMissing(t *testing.T) {
	var halves []string
	for call, output := range pairs {
		halves = append(halves, typeNamed(call), typeNamed(output))
	}
	union := reflect.TypeFor[inputItem]()
	for _, name := range variantNames[inputItem]() {
		variant, _ := union.FieldByName(name)
		_, hasCallID := variant.Type.Elem().FieldByName("CallID")
		_, isAnswer := variant.Type.Elem().FieldByName("Approve")
		if hasCallID || isAnswer || strings.HasSuffix(name, "Output") {
			require.Contains(t, halves, typeOf(name))
		}
	}
}

// A limit cuts anywhere: here between a call and its output.
func TestWithoutOrphansUnderALimit(t *testing.T) {
	call, output, answer := itemFrom("call:1"), itemFrom("output:1"), itemFrom("assistant")
	session, _ := newSession(t, []openaisession.Option{openaisession.WithoutOrphans()}, call, output, answer)
	require.Equal(t, []string{answer}, read(t, session, 2))
	require.Equal(t, []string{call, output, answer}, read(t, session, 3))
}

// In the middle of a turn, the call has expired and its output has not.
func TestWithoutOrphansAfterExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, err := encsession.ParseKey(encsession.GenerateKey())
		require.NoError(t, err)
		under, err := encsession.New(encsession.NewMemorySession("user-123"), key,
			encsession.WithTTL(time.Minute))
		require.NoError(t, err)
		plain, err := openaisession.New(under)
		require.NoError(t, err)
		filtered, err := openaisession.New(under, openaisession.WithoutOrphans())
		require.NoError(t, err)

		for _, word := range []string{"user", "call:1", "output:1", "assistant"} {
			require.NoError(t, under.AddItems(t.Context(), encsession.Item(itemFrom(word))))
			time.Sleep(10 * time.Second)
		}
		require.Len(t, read(t, filtered, 0), 4)
		time.Sleep(31 * time.Second) // the call is 61 seconds old, the output 51
		require.Equal(t, []string{itemFrom("output:1"), itemFrom("assistant")}, read(t, plain, 0))
		require.Equal(t, []string{itemFrom("assistant")}, read(t, filtered, 0))
		popped, err := filtered.PopItem(t.Context())
		require.NoError(t, err)
		require.NotNil(t, popped)
		popped, err = filtered.PopItem(t.Context())
		require.NoError(t, err)
		requireSameJSON(t, itemFrom("output:1"), marshal(t, popped))
	})
}

// read returns the items of a session as itemFrom makes them.
func read(t *testing.T, session *openaisession.Session, limit int) []string {
	t.Helper()
	items, err := session.GetItems(t.Context(), limit)
	require.NoError(t, err)
	var texts []string
	for _, item := range items {
		texts = append(texts, marshal(t, exact(t, marshal(t, item)))) // members in alphabetical order
	}
	return texts
}

// typeNamed returns the type with this short name.
func typeNamed(kind string) string {
	if long, ok := map[string]string{"call": "function_call", "output": "function_call_output"}[kind]; ok {
		return long
	}
	return kind
}

// itemFrom returns the item for a word of a history.
func itemFrom(word string) string {
	kind, id, _ := strings.Cut(word, ":")
	id, caller, called := strings.Cut(strings.TrimSuffix(id, ")"), "(")
	item := map[string]any{"type": typeNamed(kind)}
	switch kind {
	case "user", "system", "developer":
		item = map[string]any{"role": kind, "content": "Hi"}
	case "assistant":
		item = map[string]any{"role": kind, "content": "Hi", "id": "msg"}
	case "text": // which a program has put into the assistant's mouth
		item = map[string]any{"role": "assistant", "content": "Hi"}
	case "additional_tools":
		item["role"] = "developer"
	case "reasoning", "mcp_approval_request", "local_shell_call_output", "item_reference":
		if id != "" {
			item["id"] = id
		}
	case "mcp_approval_response":
		item["approval_request_id"] = id
	default:
		if id != "" {
			item["id"], item["call_id"] = "item", id
		}
	}
	if called {
		item["caller"] = map[string]string{"type": "program", "caller_id": caller}
	}
	text, _ := json.Marshal(item) // maps of strings always encode
	return string(text)
}

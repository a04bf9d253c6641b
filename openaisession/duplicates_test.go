package openaisession_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/encsession/encsession/openaisession"
	"github.com/stretchr/testify/require"
)

// The histories are written in words: a type, and after a colon the IDs of the
// item. A version follows a slash. After the arrow stand the items that a read
// returns.
func TestWithoutDuplicates(t *testing.T) {
	for name, history := range map[string]string{
		"nothing twice":             "user call:1 output:1 message:1 → user call:1 output:1 message:1",
		"a user's message":          "user user → user user",
		"a batch":                   "reasoning:1/a call:1/a reasoning:1/b call:1/b output:1 → reasoning:1/b call:1/b output:1",
		"a batch with a message":    "reasoning:1/a message:1/a reasoning:1/b message:1/b → reasoning:1/b message:1/b",
		"later, after a user":       "reasoning:1/a message:1/a user message:1/b → reasoning:1/a message:1/b user",
		"an output":                 "call:1 output:1/a message:1 output:1/b → call:1 output:1/b message:1",
		"a call after its output":   "call:1/a output:1 call:1/b → call:1/a output:1",
		"a call three times":        "call:1/a call:1/b call:1/c → call:1/c",
		"an ID used again":          "call:1/a output:1/a message:1 user call:1/b output:1/b → message:1 user call:1/b output:1/b",
		"an ID used again, waiting": "call:1/a output:1/a user call:1/b → call:1/a output:1/a user",
		"an output before its call": "output:1 call:1 → output:1 call:1",
		"hosted calls":              "search:1/a search:1/b search:2 → search:1/b search:2",
		"unknown types":             "dream:1/a dream:1/b dream → dream:1/b dream",
		"another type":              "dream:1 search:1 → dream:1 search:1",
		"fake IDs":                  "message:__fake_id__ message:__fake_id__ → message: message:",
	} {
		t.Run(name, func(t *testing.T) {
			stored, want, _ := strings.Cut(history, "→")
			var items, wanted []string
			for _, word := range strings.Fields(stored) {
				items = append(items, duplicateFrom(word))
			}
			for _, word := range strings.Fields(want) {
				wanted = append(wanted, duplicateFrom(word))
			}
			told := 0
			session, under := newSession(t, []openaisession.Option{openaisession.WithoutDuplicates(), openaisession.WithCleanItems(),
				openaisession.WithOmissionHandler(func(_ context.Context, o openaisession.Omission) {
					require.Equal(t, openaisession.ReasonDuplicate, o.Reason)
					told++
				})}, items...)
			require.Equal(t, wanted, read(t, session, 0))
			require.Equal(t, len(items)-len(wanted), told)
			require.Equal(t, items, contents(t, under))
		})
	}
}

func duplicateFrom(word string) string {
	word, version, _ := strings.Cut(word, "/")
	kind, id, _ := strings.Cut(word, ":")
	prefixes := map[string]string{"message": "msg_", "reasoning": "rs_", "search": "ws_", "dream": "d_"}
	name := ""
	if id != "" {
		name = fmt.Sprintf(`"id":"%s",`, prefixes[kind]+id)
	}
	if id == "__fake_id__" {
		name = `"id":"__fake_id__",`
	}
	switch kind {
	case "user":
		return `{"content":"Hi","role":"user"}`
	case "call":
		return fmt.Sprintf(`{"arguments":"%s","call_id":"%s","type":"function_call"}`, version, id)
	case "output":
		return fmt.Sprintf(`{"call_id":"%s","output":"%s","type":"function_call_output"}`, id, version)
	case "message":
		return fmt.Sprintf(`{"content":"%s",%s"role":"assistant"}`, version, name)
	case "search":
		return fmt.Sprintf(`{%s"status":"%s","type":"web_search_call"}`, name, version)
	}
	return fmt.Sprintf(`{%s"summary":"%s","type":"%s"}`, name, version, kind)
}

// Two items with one ID count as one, even if their call_ids differ.
func TestWithoutDuplicatesOfOneID(t *testing.T) {
	a, b := `{"call_id":"a","id":"fc_1","type":"function_call"}`, `{"call_id":"b","id":"fc_1","type":"function_call"}`
	session, _ := newSession(t, []openaisession.Option{openaisession.WithoutDuplicates()}, a, b)
	require.Equal(t, []string{b}, read(t, session, 0))
}

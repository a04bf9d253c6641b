package openaisession_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/openaisession"
	"github.com/stretchr/testify/require"
)

// BenchmarkGetItems reads 1,000 items of about 1 kB, with openaisession and beside it with encoding/json, which loses much:
// go test -run '^$' -bench . -cpu 1
func BenchmarkGetItems(b *testing.B) {
	session := encsession.NewMemorySession("user-123")
	text := strings.Repeat("a <b> & \\\"c\\\" ", 60)
	for range 250 {
		require.NoError(b, session.AddItems(b.Context(),
			encsession.Item(`{"type":"message","role":"user","content":"`+text+`"}`),
			encsession.Item(`{"type":"function_call","call_id":"c","name":"f","arguments":"`+text+`"}`),
			encsession.Item(`{"type":"function_call_output","call_id":"c","output":"`+text+`"}`),
			encsession.Item(`{"type":"message","id":"m","role":"assistant","status":"completed","content":[
				{"type":"output_text","text":"`+text+`","annotations":[],"logprobs":[]}]}`)))
	}
	b.Run("openaisession", func(b *testing.B) {
		view, err := openaisession.New(session, openaisession.WithoutOrphans())
		require.NoError(b, err)
		for b.Loop() {
			items, err := view.GetItems(b.Context(), 0)
			require.NoError(b, err)
			require.Len(b, items, 1000)
		}
	})
	b.Run("json", func(b *testing.B) {
		for b.Loop() {
			stored, err := session.GetItems(b.Context(), 0)
			require.NoError(b, err)
			for _, item := range stored {
				var value inputItem
				require.NoError(b, json.Unmarshal(item, &value))
			}
		}
	})
}

// BenchmarkExtraMembers reads one item of 1 MB with more and more members that openai-go does not know: until 100, they
// are extra fields, each of which v3.24.0 pays for with a copy of the item.
func BenchmarkExtraMembers(b *testing.B) {
	for _, n := range []int{0, 1, 100, 101, 16_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			session, _ := newSession(b, nil, `{"role":"user","content":"`+strings.Repeat("a", 1<<20)+`"`+unknownMembers(n)+`}`)
			for b.Loop() {
				_, err := session.GetItems(b.Context(), 0)
				require.NoError(b, err)
			}
		})
	}
}

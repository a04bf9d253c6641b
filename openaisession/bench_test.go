package openaisession_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/openaisession"
	"github.com/stretchr/testify/require"
)

// BenchmarkGetItems reads 1,000 items of about 1 kB. After each read it decodes
// them with encoding/json, which loses much. It reports the time of a read
// divided by that of encoding/json, which must not be more than 1.5:
//
//	go test -run '^$' -bench GetItems -cpu 1 .
func BenchmarkGetItems(b *testing.B) {
	under := encsession.NewMemorySession("user-123")
	text := strings.Repeat("a <b> & \\\"c\\\" ", 60)
	for i := range 250 {
		for _, item := range []string{
			`{"type":"message","role":"user","content":"` + text + `"}`,
			`{"type":"function_call","call_id":"#","name":"f","arguments":"` + text + `"}`,
			`{"type":"function_call_output","call_id":"#","output":"` + text + `"}`,
			`{"type":"message","id":"msg_#","role":"assistant","status":"completed","content":[
				{"type":"output_text","text":"` + text + `","annotations":[],"logprobs":[]}]}`,
		} {
			item = strings.ReplaceAll(item, "#", strconv.Itoa(i))
			require.NoError(b, under.AddItems(b.Context(), encsession.Item(item)))
		}
	}
	view, err := openaisession.New(under, openaisession.WithSendableHistory())
	require.NoError(b, err)
	var ours, alone time.Duration
	for b.Loop() {
		start := time.Now()
		items, err := view.GetItems(b.Context(), 0)
		ours += time.Since(start)
		require.NoError(b, err)
		require.Len(b, items, 1000)

		start = time.Now()
		stored, err := under.GetItems(b.Context(), 0)
		require.NoError(b, err)
		for _, item := range stored {
			var value inputItem
			require.NoError(b, json.Unmarshal(item, &value))
		}
		alone += time.Since(start)
	}
	b.ReportMetric(float64(ours)/float64(alone), "×json")
}

// BenchmarkExtraMembers reads one item of 1 MB that has more and more members
// that openai-go does not know. Up to 100 members become extra fields. With
// v3.24.0 each of these costs a copy of the item.
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

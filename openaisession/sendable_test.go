package openaisession_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/openaisession"
	"github.com/encsession/encsession/openaisession/apitest"
	"github.com/stretchr/testify/require"
)

// generator makes histories as agents write them, and breaks them.
type generator struct {
	*rand.Rand
	n        int               // the number of IDs so far, each of which is used once
	reasoned map[string]string // the reasoning behind an item, as the API remembers it
	python   bool              // whether to write items as Python's SDK does for a chat-completions model
	batches  [][]string        // the items of each AddItems
}

func (g *generator) id(prefix string) string {
	g.n++
	return fmt.Sprintf("%s_%d", prefix, g.n)
}

func (g *generator) add(items ...string) { g.batches = append(g.batches, items) }

// turn adds a user's message, some rounds of calls, and an answer.
func (g *generator) turn() {
	g.add(`{"role":"user","content":"` + g.id("Question") + `"}`)
	for range g.IntN(3) {
		var calls, outputs []string
		custom := g.IntN(4) == 0
		for range 1 + g.IntN(2) {
			id := g.id("call")
			kind, input := "function_call", `"arguments":"{}"`
			if custom {
				kind, input = "custom_tool_call", `"input":"x"`
			}
			calls = append(calls, `{"type":"`+kind+`",`+g.named(kind)+`"call_id":"`+id+`","name":"f",`+input+`}`)
			outputs = append(outputs, `{"type":"`+kind+`_output","call_id":"`+id+`","output":"`+g.id("o")+`"}`)
		}
		g.add(g.reason(calls)...)
		g.add(outputs...)
	}
	g.add(g.reason([]string{`{"type":"message",` + g.named("message") + `"role":"assistant","status":"completed",` +
		`"content":[{"type":"output_text","text":"` + g.id("Answer") + `","annotations":[]}]}`})...)
}

// named returns the members that only items of the model have: an ID, and more
// if Python's SDK writes them.
func (g *generator) named(kind string) string {
	if g.python {
		return `"id":"__fake_id__","provider_data":{"model":"m","response_id":"r"},`
	}
	prefixes := map[string]string{"message": "msg", "function_call": "fc", "custom_tool_call": "ctc"}
	return `"id":"` + g.id(prefixes[kind]) + `",`
}

// reason puts reasoning before the items of an answer, or returns them as they
// are.
func (g *generator) reason(items []string) []string {
	if g.IntN(2) == 0 {
		return items
	}
	if g.python {
		return append([]string{`{"type":"reasoning","id":"__fake_id__","summary":[],"provider_data":{"model":"m"}}`}, items...)
	}
	var first struct{ ID string }
	_ = json.Unmarshal([]byte(items[0]), &first)
	id := g.id("rs")
	g.reasoned[first.ID] = id
	return append([]string{`{"type":"reasoning","id":"` + id + `","summary":[],"encrypted_content":"g"}`}, items...)
}

// generate returns a history that the API refuses.
func generate(seed uint64) (items []string, reasoned map[string]string) {
	for try := range uint64(1000) {
		g := &generator{Rand: rand.New(rand.NewPCG(seed, try)), reasoned: map[string]string{}}
		for range 1 + g.IntN(5) {
			g.python = g.IntN(3) == 0
			g.turn()
		}
		var broken []string
		for _, batch := range g.batches {
			broken = append(broken, batch...)
			if g.IntN(8) == 0 { // the reply was lost, so the batch is stored twice
				broken = append(broken, batch...)
			}
		}
		for range g.IntN(4) { // some items are missing
			if at := g.IntN(len(broken)); len(broken) > 1 {
				broken = slices.Delete(broken, at, at+1)
			}
		}
		broken = broken[min(g.IntN(4), len(broken)-1):] // the oldest have expired
		if g.IntN(3) == 0 {                             // the program stopped
			broken = broken[:1+g.IntN(len(broken))]
		}
		broken = append(broken, `{"role":"user","content":"And now?"}`)
		if apitest.Check(list(broken), g.reasoned) != nil {
			return broken, g.reasoned
		}
	}
	panic("nothing is refused")
}

func list(items []string) []byte { return []byte("[" + strings.Join(items, ",") + "]") }

// sent returns the history of a session as the client sends it.
func sent(t testing.TB, session *openaisession.Session, limit int) []byte {
	t.Helper()
	items, err := session.GetItems(t.Context(), limit)
	require.NoError(t, err)
	return []byte(marshal(t, items))
}

// TestGeneratedHistories breaks 1,000 histories. The API refuses all of them as
// they are. With the option it accepts each of them, at any limit.
func TestGeneratedHistories(t *testing.T) {
	needsNoRaceDetector(t)
	t.Parallel() // this test and TestNoChangeIsInVain take longest
	byRule := map[apitest.Rule]int{}
	for seed := range uint64(1000) {
		items, reasoned := generate(seed)
		under := encsession.NewMemorySession("user-123")
		for _, item := range items {
			require.NoError(t, under.AddItems(t.Context(), encsession.Item(item)))
		}
		view := func(opts ...openaisession.Option) *openaisession.Session {
			session, err := openaisession.New(under, opts...)
			require.NoError(t, err)
			return session
		}
		plain := list(items)
		if seed%10 == 0 {
			plain = sent(t, view(), 0)
		}
		var refusal *apitest.Refusal
		require.ErrorAs(t, apitest.Check(plain, reasoned), &refusal)
		byRule[refusal.Rule]++

		left := 0
		sendable := openaisession.WithSendableHistory()
		told := openaisession.WithOmissionHandler(func(context.Context, openaisession.Omission) { left++ })
		all := sent(t, view(sendable, told), 0)
		require.NoError(t, apitest.Check(all, reasoned), "seed %d:\n%s\n%s", seed, strings.Join(items, "\n"), all)
		require.Contains(t, string(all), "And now?")
		var kept []json.RawMessage
		require.NoError(t, json.Unmarshal(all, &kept))
		require.Equal(t, len(items), left+len(kept), "each item is sent or told")
		sets := [][]openaisession.Option{
			{sendable}, {sendable, openaisession.WithLastTurns(1)}, {sendable, openaisession.WithLastTurns(3)},
			{sendable, openaisession.WithBudget(500, nil)},
			{openaisession.WithLastTurns(2), openaisession.WithBudget(2000, nil), sendable},
		}
		opts := sets[seed%uint64(len(sets))] // one set for each seed, to keep the test short
		limit := int(seed % 11)
		input := sent(t, view(opts...), limit)
		require.NoError(t, apitest.Check(input, reasoned), "seed %d, limit %d:\n%s\n%s",
			seed, limit, strings.Join(items, "\n"), input)
		require.True(t, strings.HasSuffix(string(all), strings.TrimPrefix(string(input), "[")),
			"the newest part of the whole: %s", input)
		requireCombination(t, int(seed), view, reasoned)
	}
	for _, rule := range []apitest.Rule{apitest.RulePrefix, apitest.RuleDuplicate,
		apitest.RulePair, apitest.RuleFollowing, apitest.RuleReasoning} {
		require.Greater(t, byRule[rule], 10, rule)
	}
}

// requireCombination reads with one combination of the single options. Each
// option keeps its promise, together with any others.
func requireCombination(t *testing.T, number int, view func(...openaisession.Option) *openaisession.Session,
	reasoned map[string]string) {
	single := []struct {
		option openaisession.Option
		rules  []apitest.Rule // that are kept with this option
	}{
		{openaisession.WithCleanItems(), []apitest.Rule{apitest.RulePrefix, apitest.RuleMember, apitest.RuleStatus}},
		{openaisession.WithoutDuplicates(), []apitest.Rule{apitest.RuleDuplicate}},
		{openaisession.WithoutOrphans(), []apitest.Rule{apitest.RulePair, apitest.RuleFollowing}},
		{openaisession.WithWholeTurns(), nil},
	}
	var opts []openaisession.Option
	var kept []apitest.Rule
	for i, s := range single {
		if number>>i&1 == 1 {
			opts, kept = append(opts, s.option), append(kept, s.rules...)
		}
	}
	limit := number / 16 % 5
	var refusal *apitest.Refusal
	if err := apitest.Check(sent(t, view(opts...), limit), reasoned); errors.As(err, &refusal) {
		require.NotContains(t, kept, refusal.Rule, "options %b, limit %d: %s", number%16, limit, refusal)
	}
}

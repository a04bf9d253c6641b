package openaisession_test

import (
	"context"
	"strings"
	"testing"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/openaisession"
	"github.com/stretchr/testify/require"
)

// The histories are in words, like those in orphans_test.go. The items behind
// the bar are read.
func TestWholeTurns(t *testing.T) {
	turns := openaisession.WithLastTurns
	for name, test := range map[string]struct {
		history string
		limit   int
		option  openaisession.Option
	}{
		"no bound":                       {"| user call:1 output:1 assistant user", 0, openaisession.WithWholeTurns()},
		"one turn":                       {"user assistant | user call:1 output:1 assistant", 0, turns(1)},
		"two turns":                      {"user assistant | user assistant user assistant", 0, turns(2)},
		"more turns than there are":      {"| user assistant user assistant", 0, turns(3)},
		"a question alone":               {"user assistant | user", 0, turns(1)},
		"two questions are one turn":     {"user assistant | user user assistant", 0, turns(1)},
		"a developer before the user":    {"user assistant | developer user assistant", 0, turns(1)},
		"a setting before the user":      {"user assistant | additional_tools user assistant", 0, turns(1)},
		"a developer inside a turn":      {"user assistant | user call:1 output:1 developer assistant", 0, turns(1)},
		"a user before the output":       {"user assistant | user call:1 user output:1 assistant", 0, turns(1)},
		"a user inside a program":        {"user assistant | user program:p user call:1(p) output:1(p)", 0, turns(1)},
		"a limit inside a turn":          {"user call:1 output:1 assistant | user assistant", 4, openaisession.WithWholeTurns()},
		"a limit at a turn":              {"user assistant | user assistant", 2, openaisession.WithWholeTurns()},
		"a limit inside the newest turn": {"user assistant | user call:1 output:1 assistant", 2, openaisession.WithWholeTurns()},
		"a limit and turns":              {"user assistant user assistant | user assistant", 3, turns(2)},
		"no user":                        {"| call:1 output:1 assistant", 1, turns(1)},
		"a greeting":                     {"| text user assistant", 0, openaisession.WithWholeTurns()},
		"instructions":                   {"| system user assistant user assistant", 0, turns(2)},
		"a greeting beyond the bound":    {"text user assistant | user assistant", 0, turns(1)},
		"long": {strings.Repeat("user call:1 output:1 assistant ", 40) + "| " +
			strings.Repeat("user call:1 output:1 assistant ", 5), 0, turns(5)},
		"a turn longer than the first look": {"user assistant | user " + strings.Repeat("call:1 output:1 ", 90) + "assistant", 0, turns(1)},
		"a limit, and such a turn":          {"user assistant | user " + strings.Repeat("call:1 output:1 ", 90) + "assistant", 3, openaisession.WithWholeTurns()},
		"an output far behind its call": {"user assistant | user call:9 " + strings.Repeat("user assistant ", 40) +
			"user output:9", 0, turns(1)},
		"nothing": {"|", 0, turns(1)},
		"each item is 1, bound 3": {"user assistant | user call:1 output:1", 0,
			openaisession.WithBudget(3, func(encsession.Item) int { return 1 })},
		"each item is 1, bound 5": {"| user assistant user call:1 output:1", 0,
			openaisession.WithBudget(5, func(encsession.Item) int { return 1 })},
		"the newest is over the budget": {"user assistant | user call:1 output:1", 0,
			openaisession.WithBudget(1, func(encsession.Item) int { return 1 })},
		"sizes below 0": {"| user assistant user assistant", 0,
			openaisession.WithBudget(1, func(encsession.Item) int { return -1 })},
		"bytes": {"user assistant | user", 0, openaisession.WithBudget(len(itemFrom("user"))+len(itemFrom("assistant")), nil)},
	} {
		t.Run(name, func(t *testing.T) {
			cut, items := -1, []string(nil)
			for _, word := range strings.Fields(test.history) {
				if word == "|" {
					cut = len(items)
				} else {
					items = append(items, itemFrom(word))
				}
			}
			for _, opts := range [][]openaisession.Option{{test.option}, {test.option, openaisession.WithoutOrphans()}} {
				session, _ := newSession(t, append(opts, untold(t)), items...)
				require.Equal(t, append([]string(nil), items[cut:]...), read(t, session, test.limit))
			}
		})
	}
}

// untold is an option that makes a test fail if an omission is told.
func untold(t *testing.T) openaisession.Option {
	return openaisession.WithOmissionHandler(func(_ context.Context, o openaisession.Omission) {
		t.Error("what a bound cuts is not told:", o)
	})
}

// The oldest turn has lost its beginning.
func TestHalfATurn(t *testing.T) {
	var told []string
	handler := openaisession.WithOmissionHandler(func(_ context.Context, o openaisession.Omission) {
		told = append(told, o.String())
	})
	session, _ := newSession(t, []openaisession.Option{openaisession.WithWholeTurns(), openaisession.WithoutOrphans(), handler},
		itemFrom("output:1"), itemFrom("assistant"), itemFrom("user"), itemFrom("assistant"))
	require.Equal(t, []string{itemFrom("user"), itemFrom("assistant")}, read(t, session, 0))
	require.Equal(t, []string{`orphan: "function_call_output" "1" of session "user-123"`,
		`half a turn: "" "msg" of session "user-123"`}, told)
}

// If a limit cuts between reasoning and the item after it, a read leaves out
// that item too.
func TestALimitCutsReasoningFromItsAnswer(t *testing.T) {
	for history, limit := range map[string]int{
		"user reasoning:r -call:1 -output:1 assistant":           3,
		"user reasoning:r call:0 -call:1 -output:1 assistant":    3,
		"reasoning:r -assistant user":                            2,
		"user reasoning:r | reasoning:s call:1 output:1":         3,
		"user call:0 | call:1 output:1":                          2,
		"reasoning:r call:0 output:0 | call:1 output:1":          2,
		"reasoning:r text | call:1 output:1":                     2,
		"reasoning:r search search search | text user":           2,
		"reasoning:r " + strings.Repeat("dream ", 40) + "-dream": 1,
	} {
		var items, want []string
		for _, word := range strings.Fields(history) {
			if word, orphan := strings.CutPrefix(word, "-"); word != "|" {
				items = append(items, itemFrom(word))
				if !orphan {
					want = append(want, itemFrom(word))
				}
			}
		}
		orphans := strings.Count(history, "-")
		session, _ := newSession(t, []openaisession.Option{openaisession.WithoutOrphans()}, items...)
		require.Equal(t, append([]string(nil), want[len(items)-limit:]...), append([]string(nil), read(t, session, limit)...),
			"%s (%d orphans)", history, orphans)
	}
}

// The options refuse bounds that are too small, and a nil handler.
func TestOptionsRefuse(t *testing.T) {
	for message, option := range map[string]openaisession.Option{
		"openaisession: New: WithLastTurns: 0 turns: at least 1 is needed":     openaisession.WithLastTurns(0),
		"openaisession: New: WithBudget: a budget of -1: at least 1 is needed": openaisession.WithBudget(-1, nil),
		"openaisession: New: WithOmissionHandler: the handler is nil":          openaisession.WithOmissionHandler(nil),
	} {
		_, err := openaisession.New(encsession.NewMemorySession("s"), option)
		require.EqualError(t, err, message)
	}
}

// No limit and no number of turns is too large.
func TestLargeBounds(t *testing.T) {
	const most = int(^uint(0) >> 1)
	session, _ := newSession(t, []openaisession.Option{openaisession.WithLastTurns(most), openaisession.WithoutOrphans()}, itemFrom("user"))
	for _, limit := range []int{most, most - 1, -most - 1} {
		require.Len(t, read(t, session, limit), 1)
	}
}

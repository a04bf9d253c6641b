package openaisession_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/openaisession"
	"github.com/openai/openai-go/v3/responses"
	"github.com/stretchr/testify/require"
)

type inputItem = responses.ResponseInputItemUnionParam

// newSession returns a view of an encrypted session that holds items, and that
// session.
func newSession(t testing.TB, opts []openaisession.Option, items ...string) (*openaisession.Session, encsession.Session) {
	t.Helper()
	key, err := encsession.ParseKey(encsession.GenerateKey())
	require.NoError(t, err)
	under, err := encsession.New(encsession.NewMemorySession("user-123"), key)
	require.NoError(t, err)
	for _, item := range items {
		require.NoError(t, under.AddItems(t.Context(), encsession.Item(item)))
	}
	session, err := openaisession.New(under, opts...)
	require.NoError(t, err)
	return session, under
}

// roundTrip stores JSON and returns the item that comes back.
func roundTrip(t testing.TB, item string) inputItem {
	t.Helper()
	session, _ := newSession(t, nil, item)
	items, err := session.GetItems(t.Context(), 0)
	require.NoError(t, err)
	require.Len(t, items, 1)
	return items[0]
}

func marshal(t testing.TB, value any) string {
	t.Helper()
	b, err := json.Marshal(value)
	require.NoError(t, err)
	return string(b)
}

// contents returns the stored items of a session.
func contents(t testing.TB, session encsession.Session) []string {
	t.Helper()
	items, err := session.GetItems(t.Context(), 0)
	require.NoError(t, err)
	texts := make([]string, len(items))
	for i, item := range items {
		texts[i] = string(item)
	}
	return texts
}

// broken is a session whose methods all fail.
type broken struct{ err error }

func (b broken) SessionID() string { return "broken" }

func (b broken) GetItems(context.Context, int) ([]encsession.Item, error) { return nil, b.err }

func (b broken) AddItems(context.Context, ...encsession.Item) error { return b.err }

func (b broken) PopItem(context.Context) (encsession.Item, error) { return nil, b.err }

func (b broken) ClearSession(context.Context) error { return b.err }

// needsNoRaceDetector skips, under the race detector, a test that tries
// thousands of cases in one goroutine. The detector would find nothing in it,
// and make it take minutes. CI also runs these tests without it.
func needsNoRaceDetector(t *testing.T) {
	t.Helper()
	if raced {
		t.Skip("not under the race detector")
	}
}

package openaisession_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"sync"
	"testing"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/openaisession"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"
	"github.com/stretchr/testify/require"
)

// memorySession is memory.Session of github.com/nlpodyssey/openai-agents-go and
// of github.com/denggeng/openai-agents-go-plus. In both, TResponseInputItem is
// an alias of responses.ResponseInputItemUnionParam. Both were read in November
// 2026, at commits 868dc03 and 2b6b8e6.
type memorySession interface {
	SessionID(context.Context) string
	GetItems(ctx context.Context, limit int) ([]responses.ResponseInputItemUnionParam, error)
	AddItems(ctx context.Context, items []responses.ResponseInputItemUnionParam) error
	PopItem(context.Context) (*responses.ResponseInputItemUnionParam, error)
	ClearSession(context.Context) error
}

var _ memorySession = (*openaisession.Session)(nil)

func message(text string) inputItem {
	return responses.ResponseInputItemParamOfMessage(text, responses.EasyInputMessageRoleUser)
}

func TestMethods(t *testing.T) {
	ctx := t.Context()
	session, under := newSession(t, nil)
	require.Equal(t, "user-123", session.SessionID(ctx))

	items, err := session.GetItems(ctx, 0)
	require.NoError(t, err)
	require.NotNil(t, items)
	require.Empty(t, items)
	popped, err := session.PopItem(ctx)
	require.NoError(t, err)
	require.Nil(t, popped)
	require.NoError(t, session.AddItems(ctx, nil))
	require.NoError(t, session.AddOutput(ctx, nil))

	require.NoError(t, session.AddItems(ctx, []inputItem{message("one"), message("two <&>")}))
	require.NoError(t, session.AddItems(ctx, []inputItem{message("three")}))
	require.Equal(t, []string{`{"content":"one","role":"user"}`, `{"content":"two <&>","role":"user"}`,
		`{"content":"three","role":"user"}`}, contents(t, under), "in the order of openai-go, and not escaped for HTML")
	items, err = session.GetItems(ctx, 2)
	require.NoError(t, err)
	require.Len(t, items, 2)
	require.Equal(t, "two <&>", items[0].OfMessage.Content.OfString.Value)
	require.Equal(t, "three", items[1].OfMessage.Content.OfString.Value)

	popped, err = session.PopItem(ctx)
	require.NoError(t, err)
	require.Equal(t, "three", popped.OfMessage.Content.OfString.Value)
	require.Len(t, contents(t, under), 2)
	require.NoError(t, session.ClearSession(ctx))
	require.Empty(t, contents(t, under))
}

// The JSON that the API sends is indented. The stored JSON is not.
func TestAddOutputStoresCompactJSON(t *testing.T) {
	var response responses.Response
	require.NoError(t, json.Unmarshal([]byte(`{"output": [
		{
			"type": "function_call",
			"arguments": "{\"a\": \"<b>\"}"
		}, {"type": "dream"}]}`), &response))
	session, under := newSession(t, nil)
	require.NoError(t, session.AddOutput(t.Context(), response.Output))
	require.Equal(t, []string{`{"type":"function_call","arguments":"{\"a\": \"<b>\"}"}`, `{"type":"dream"}`},
		contents(t, under))
}

func TestItemsThatCannotBeAdded(t *testing.T) {
	two := message("secret")
	two.OfItemReference = &responses.ResponseInputItemItemReferenceParam{ID: "secret"}
	for name, test := range map[string]struct {
		item    inputItem
		message string
		invalid bool // wraps encsession.ErrInvalidItem
	}{
		"no variant":  {inputItem{}, "no variant is set: item is not a JSON object in valid UTF-8", true},
		"null":        {param.NullStruct[inputItem](), "no variant is set: item is not a JSON object in valid UTF-8", true},
		"an array":    {param.Override[inputItem](json.RawMessage(`["secret"]`)), "item is not a JSON object in valid UTF-8", true},
		"a string":    {param.Override[inputItem]("secret"), "item is not a JSON object in valid UTF-8", true},
		"no JSON":     {param.Override[inputItem](json.RawMessage(`{"secret`)), "cannot be encoded as JSON", false},
		"no value":    {param.Override[inputItem](map[string]any{"secret": math.NaN()}), "cannot be encoded as JSON", false},
		"two of them": {two, "cannot be encoded as JSON", false},
	} {
		t.Run(name, func(t *testing.T) {
			session, under := newSession(t, nil, `{"role":"user","content":"before"}`)
			err := session.AddItems(t.Context(), []inputItem{message("fine"), test.item})
			require.EqualError(t, err, "openaisession: AddItems: item 1: "+test.message)
			require.Equal(t, test.invalid, errors.Is(err, encsession.ErrInvalidItem))
			require.Len(t, contents(t, under), 1, "nothing was added")
		})
	}
}

// errors.As finds the cause of an error, although its text is not shown.
func TestEncodingErrorIsWrapped(t *testing.T) {
	session, _ := newSession(t, nil)
	err := session.AddItems(t.Context(), []inputItem{param.Override[inputItem](map[string]any{"secret": math.NaN()})})
	var cause *json.MarshalerError
	require.ErrorAs(t, err, &cause)
}

func TestOutputThatCannotBeAdded(t *testing.T) {
	// A direct call of UnmarshalJSON accepts text that is not JSON.
	decoded := func(text string) (item responses.ResponseOutputItemUnion) {
		_ = item.UnmarshalJSON([]byte(text))
		return item
	}
	for name, item := range map[string]responses.ResponseOutputItemUnion{
		"made by hand": {Type: "function_call", CallID: "secret"},
		"a string":     decoded(`"secret"`),
		"an array":     decoded(`["secret"]`),
		"no JSON":      decoded(`{"type":"message","secret`),
	} {
		t.Run(name, func(t *testing.T) {
			session, under := newSession(t, nil, `{"role":"user","content":"before"}`)
			err := session.AddOutput(t.Context(), []responses.ResponseOutputItemUnion{decoded(`{"type":"dream"}`), item})
			require.ErrorContains(t, err, "openaisession: AddOutput: item 1: ")
			require.NotContains(t, err.Error(), "secret")
			require.Len(t, contents(t, under), 1, "nothing was added")
		})
	}

	session, _ := newSession(t, nil)
	err := session.AddOutput(t.Context(), []responses.ResponseOutputItemUnion{{Type: "function_call"}})
	require.ErrorIs(t, err, encsession.ErrInvalidItem)
	require.EqualError(t, err,
		"openaisession: AddOutput: item 0: not decoded from JSON: item is not a JSON object in valid UTF-8")
}

func TestNewRefuses(t *testing.T) {
	_, err := openaisession.New(nil)
	require.EqualError(t, err, "openaisession: New: session is nil")
	_, err = openaisession.New((*encsession.MemorySession)(nil))
	require.EqualError(t, err, "openaisession: New: session is nil")
	_, err = openaisession.New(encsession.NewMemorySession("s"), openaisession.WithoutOrphans(), nil)
	require.EqualError(t, err, "openaisession: New: option 1 is nil")
}

func TestNotMadeByNew(t *testing.T) {
	for name, session := range map[string]*openaisession.Session{"zero": {}, "nil": nil} {
		t.Run(name, func(t *testing.T) {
			require.Empty(t, session.SessionID(t.Context()))
			requireErrors(t, session, func(method string, err error) {
				require.EqualError(t, err, "openaisession: "+method+": this Session was not made by New")
			})
		})
	}
}

func TestErrorsOfTheSession(t *testing.T) {
	cause := errors.New("broken")
	session, err := openaisession.New(broken{cause}, openaisession.WithoutOrphans())
	require.NoError(t, err)
	require.Equal(t, "broken", session.SessionID(t.Context()))
	requireErrors(t, session, func(_ string, err error) { require.ErrorIs(t, err, cause) })
}

// requireErrors calls every method and gives its error to check. It requires
// that the method returns nothing else.
func requireErrors(t *testing.T, session *openaisession.Session, check func(method string, err error)) {
	ctx := t.Context()
	items, err := session.GetItems(ctx, 0)
	require.Nil(t, items)
	check("GetItems", err)
	check("AddItems", session.AddItems(ctx, []inputItem{message("Hi")}))
	check("AddOutput", session.AddOutput(ctx, nil))
	item, err := session.PopItem(ctx)
	require.Nil(t, item)
	check("PopItem", err)
	check("ClearSession", session.ClearSession(ctx))
}

// A store that does not keep to the rules may return bytes that are not an
// item. A read of these bytes does not fail, and a pop does not lose them.
func TestNoItemMakesAReadFail(t *testing.T) {
	for _, stored := range []string{`["a"]`, `"a"`, `null`, `{`, ``} {
		session, err := openaisession.New(lax(stored), openaisession.WithoutOrphans())
		require.NoError(t, err)
		items, err := session.GetItems(t.Context(), 0)
		require.NoError(t, err)
		require.Len(t, items, 1)
		item, err := session.PopItem(t.Context())
		require.NoError(t, err)
		carried, _ := item.Overrides()
		require.Equal(t, json.RawMessage(stored), carried)
		require.Error(t, session.AddItems(t.Context(), items))
	}
}

// lax is a session that holds one item, which may be any text.
type lax string

func (l lax) SessionID() string { return "lax" }

func (l lax) GetItems(context.Context, int) ([]encsession.Item, error) {
	return []encsession.Item{encsession.Item(l)}, nil
}

func (l lax) AddItems(context.Context, ...encsession.Item) error { return nil }

func (l lax) PopItem(context.Context) (encsession.Item, error) { return encsession.Item(l), nil }

func (l lax) ClearSession(context.Context) error { return nil }

func TestConcurrentUse(t *testing.T) {
	session, _ := newSession(t, []openaisession.Option{openaisession.WithoutOrphans()})
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if err := session.AddItems(t.Context(), []inputItem{message("one"), message("two")}); err != nil {
				t.Error(err)
			}
			if _, err := session.GetItems(t.Context(), 0); err != nil {
				t.Error(err)
			}
			if item, err := session.PopItem(t.Context()); err != nil || item == nil {
				t.Error(item, err)
			}
		})
	}
	group.Wait()
	items, err := session.GetItems(t.Context(), 0)
	require.NoError(t, err)
	require.Len(t, items, 8)
}

package openaisession_test

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/openaisession"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"
	"github.com/stretchr/testify/require"
)

// TestNoChangeIsInVain changes every field of every item that comes back with
// fields, one after another. Each time the JSON changes too, or AddItems says
// that it does not. AddItems has no other complaint.
func TestNoChangeIsInVain(t *testing.T) {
	needsNoRaceDetector(t)
	t.Parallel()
	session, err := openaisession.New(encsession.NewMemorySession("user-123"))
	require.NoError(t, err)
	followed, refused := 0, 0
	for _, stored := range itemsToChange(t) {
		item := roundTrip(t, stored)
		if variantOf(item) == "" {
			continue
		}
		require.NoError(t, session.AddItems(t.Context(), []inputItem{item}), "as it came: %s", stored)
		before := exact(t, marshal(t, item))
		changeEach(t, reflect.ValueOf(&item).Elem(), variantOf(item), func(what string) {
			switch err := session.AddItems(t.Context(), []inputItem{item}); {
			case err == nil:
				followed++
				require.NotEqual(t, before, exact(t, marshal(t, item)), "%s of %s", what, stored)
			case strings.Contains(err.Error(), "ExtraFields") || strings.Contains(err.Error(), "param.NewOpt"):
				refused++
			default:
				require.EqualError(t, err, "openaisession: AddItems: item 0: cannot be encoded as JSON", "%s of %s", what, stored)
				require.Contains(t, what, "second variant")
			}
		})
		require.Equal(t, before, exact(t, marshal(t, item)), "every change was taken back")
	}
	require.Greater(t, followed, 4000)
	require.Greater(t, refused, 350)
}

// itemsToChange returns the items of the other tests. It adds items of every
// type in which one member is null, empty or missing.
func itemsToChange(t *testing.T) []string {
	var items []string
	for _, test := range storedItems {
		items = append(items, test.item)
	}
	file, err := os.ReadFile("../examples/internal/sample/conversation.jsonl")
	require.NoError(t, err)
	items = append(items, strings.Split(strings.TrimSpace(string(file)), "\n")...)
	for typ, fields := range outputItems {
		whole := fields + `,"type":"` + typ + `"}`
		items = append(items, whole)
		var members map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(whole), &members))
		for name, member := range members {
			for _, other := range []string{"null", `""`, "[]", "{}", "false", "0"} {
				members[name] = json.RawMessage(other)
				items = append(items, marshal(t, members))
			}
			delete(members, name)
			items = append(items, marshal(t, members))
			members[name] = member
		}
	}
	return items
}

// changeEach sets each value that can be reached from v to something else,
// calls check, and undoes the change.
func changeEach(t *testing.T, v reflect.Value, path string, check func(what string)) {
	change := func(how string, to any) {
		old := reflect.New(v.Type()).Elem()
		old.Set(v)
		v.Set(reflect.ValueOf(to).Convert(v.Type()))
		check(path + ": " + how)
		v.Set(old)
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			changeEach(t, v.Elem(), path, check)
		}
	case reflect.Slice:
		for i := range v.Len() {
			changeEach(t, v.Index(i), fmt.Sprintf("%s[%d]", path, i), check)
		}
		change("append", reflect.Append(v, reflect.Zero(v.Type().Elem())).Interface())
		if v.Len() > 0 {
			change("clear", reflect.Zero(v.Type()).Interface())
		}
	case reflect.Map:
		if v.Len() > 0 {
			change("clear", reflect.Zero(v.Type()).Interface())
		}
	case reflect.Interface:
		change("set", "other")
	case reflect.String:
		change("set", v.String()+"other")
		if v.Len() > 0 && !isConstant(v.Type()) {
			change("clear", "")
		}
	case reflect.Bool:
		change("turn", !v.Bool())
	case reflect.Int64:
		change("set", v.Int()+7)
	case reflect.Float64:
		change("set", v.Float()+7)
	case reflect.Struct:
		switch opt := v.Interface().(type) {
		case param.Opt[string]:
			change("set", param.NewOpt(opt.Value+"other"))
		case param.Opt[int64]:
			change("set", param.NewOpt(opt.Value+7))
		case param.Opt[float64]:
			change("set", param.NewOpt(opt.Value+7))
		case param.Opt[bool]:
			change("set", param.NewOpt(!opt.Value))
		}
		if opt, ok := v.Interface().(param.Optional); ok {
			changeEach(t, v.FieldByName("Value"), path+".Value", check)
			if !param.IsOmitted(opt) {
				change("omit", reflect.Zero(v.Type()).Interface())
			}
			return
		}
		changeFields(t, v, path, check)
	default:
		t.Fatalf("cannot change a %v: teach changeEach how", v.Type())
	}
}

func changeFields(t *testing.T, v reflect.Value, path string, check func(what string)) {
	last := v.Type().Field(v.NumField() - 1)
	isUnion, set := last.Type == reflect.TypeFor[param.APIUnion](), false
	for i := range v.NumField() - 1 {
		set = set || isUnion && !v.Field(i).IsZero()
	}
	for i := range v.NumField() {
		field, name := v.Field(i), path+"."+v.Type().Field(i).Name
		switch {
		case !v.Type().Field(i).IsExported():
		case isUnion && field.IsZero() && field.Kind() == reflect.Pointer:
			what := ": set"
			if set {
				what = ": second variant"
			}
			field.Set(reflect.New(field.Type().Elem()))
			check(name + what)
			field.SetZero()
		case isUnion && field.IsZero() && set:
		default:
			changeEach(t, field, name, check)
		}
	}
}

// The error says how to set a field that was null or missing.
func TestFieldsThatAnExtraFieldHides(t *testing.T) {
	session, under := newSession(t, nil)
	add := func(item inputItem) error {
		return session.AddItems(t.Context(), []inputItem{message("fine"), item})
	}
	const hidden = `openaisession: AddItems: item 1: "%s" is set, but hidden by an extra field: delete it from ExtraFields`

	item := roundTrip(t, `{"type":"function_call_output","call_id":"c","output":"o","status":null,"new":1}`)
	item.OfFunctionCallOutput.Status = "completed"
	require.EqualError(t, add(item), fmt.Sprintf(hidden, "status"))
	delete(item.OfFunctionCallOutput.ExtraFields(), "status")
	require.NoError(t, add(item))
	requireSameJSON(t, `{"type":"function_call_output","call_id":"c","output":"o","status":"completed","new":1}`,
		contents(t, under)[1])

	item = roundTrip(t, `{"type":"reasoning","summary":[{"type":"summary_text"}]}`)
	item.OfReasoning.Summary[0].Text = "secret"
	require.EqualError(t, add(item), fmt.Sprintf(hidden, "text"), "at any depth")
	delete(item.OfReasoning.Summary[0].ExtraFields(), "text")
	item.OfReasoning.ID = "secret"
	require.EqualError(t, add(item), fmt.Sprintf(hidden, "id"))

	item = roundTrip(t, `{"type":"function_call","call_id":"c","name":"f","arguments":"{}","id":null}`)
	item.OfFunctionCall.ID.Value = "secret"
	require.EqualError(t, add(item), `openaisession: AddItems: item 1: "id" has a Value, but is null: set it with param.NewOpt`)
	item.OfFunctionCall.ID = param.NewOpt("id")
	require.NoError(t, add(item))
	require.Len(t, contents(t, under), 4, "nothing was added with an error")
}

// If openai-go itself can hold null, a field that is set later is written.
func TestNullThatOpenAIGoHolds(t *testing.T) {
	item := roundTrip(t, `{"role":"user","content":null}`)
	require.True(t, param.IsNull(item.OfMessage.Content))
	require.Empty(t, item.OfMessage.ExtraFields())
	item.OfMessage.Content.OfString = param.NewOpt("[redacted]")
	requireSameJSON(t, `{"role":"user","content":"[redacted]"}`, marshal(t, item))
}

// An extra field with a value of its own was not set by decode: the caller
// wants it.
func TestFieldsThatAreOverridden(t *testing.T) {
	item := message("Hi")
	item.OfMessage.SetExtraFields(map[string]any{"role": json.RawMessage(`"critic"`), "content": 5})
	session, under := newSession(t, nil)
	require.NoError(t, session.AddItems(t.Context(), []inputItem{item}))
	requireSameJSON(t, `{"role":"critic","content":5}`, contents(t, under)[0])
}

// A field shows the stored value, or nothing if that is empty. Otherwise the
// item has no fields.
func TestFieldsDoNotLie(t *testing.T) {
	for _, stored := range []string{
		`{"role":"user","content":"secret","content":""}`,
		`{"type":"function_call","call_id":"c","name":"f","arguments":"{}","status":"completed","status":null}`,
		`{"type":"function_call","call_id":"c","name":[],"arguments":"{}"}`,
		`{"type":"function_call","call_id":"c","name":"f","arguments":{}}`,
		`{"type":"function_call","call_id":0,"name":"f","arguments":"{}"}`,
		`{"type":"function_call","call_id":"c","name":false,"arguments":"{}"}`,
		`{"type":"mcp_approval_response","approval_request_id":"a","approve":0}`,
	} {
		item := roundTrip(t, stored)
		require.Empty(t, variantOf(item), stored)
		requireSameJSON(t, stored, marshal(t, item))
	}
	item := roundTrip(t, `{"type":"function_call","call_id":"c","name":"","arguments":null}`)
	require.Equal(t, responses.ResponseFunctionToolCallParam{CallID: "c"}.Arguments, item.OfFunctionCall.Arguments)
	require.Empty(t, item.OfFunctionCall.Name)
}

// If an object has very many members that openai-go does not know, the value
// carries the item as JSON. With v3.24.0 each extra field takes time in
// proportion to the object.
func TestManyExtraFields(t *testing.T) {
	for n, variant := range map[int]string{100: "OfMessage", 101: "", 20_000: ""} {
		for _, stored := range []string{
			`{"role":"user","content":"Hi"` + unknownMembers(n) + `}`,
			`{"role":"user","content":[{"type":"input_text","text":"Hi"` + unknownMembers(n) + `}]}`,
		} {
			item := roundTrip(t, stored)
			require.Equal(t, variant, variantOf(item))
			requireSameJSON(t, stored, marshal(t, item))
		}
	}
}

func unknownMembers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"x%d":%d`, i, i)
	}
	return b.String()
}

// TestAFieldUnderAnOverride sets a field of a struct that carries JSON of its
// own. The JSON would be stored, and not the field.
func TestAFieldUnderAnOverride(t *testing.T) {
	message := param.Override[responses.EasyInputMessageParam](json.RawMessage(`{"role":"user","content":"old"}`))
	item := responses.ResponseInputItemUnionParam{OfMessage: &message}
	session, err := openaisession.New(encsession.NewMemorySession("user-123"))
	require.NoError(t, err)
	require.NoError(t, session.AddItems(t.Context(), []responses.ResponseInputItemUnionParam{item}))
	message.Role = responses.EasyInputMessageRoleAssistant
	err = session.AddItems(t.Context(), []responses.ResponseInputItemUnionParam{item})
	require.ErrorContains(t, err, `item 0: "role" is set, but hidden by an override`)
}

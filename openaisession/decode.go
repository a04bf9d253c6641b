package openaisession

import (
	"bytes"
	"encoding/json"
	"iter"
	"reflect"
	"strings"

	"github.com/encsession/encsession"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"
)

// decode returns an input item that marshals to JSON equal to the stored item. It has a variant set wherever openai-go
// has one that can hold the item whole; otherwise it carries the stored JSON. Whether a variant can is not a matter of
// trust in a version of openai-go: it is marshalled again and compared.
func decode(item encsession.Item) responses.ResponseInputItemUnionParam {
	for value := range candidates(item) {
		if marshalsTo(value, item) {
			return value
		}
		keepUnknown(reflect.ValueOf(&value).Elem(), item)
		if marshalsTo(value, item) {
			return value
		}
	}
	return param.Override[responses.ResponseInputItemUnionParam](item)
}

// candidates yields what an item may be, the most telling first. Messages are told apart here: openai-go decodes every
// message into the first of its three variants, and none that has no type.
func candidates(item encsession.Item) iter.Seq[responses.ResponseInputItemUnionParam] {
	return func(yield func(responses.ResponseInputItemUnionParam) bool) {
		var head struct {
			Type, Role          string
			ID, Status, Content json.RawMessage
		}
		if json.Unmarshal(item, &head) != nil {
			return
		}
		isMessage := head.Type == "message" || head.Type == "" && head.Role != ""
		hasParts := bytes.HasPrefix(head.Content, []byte("["))

		var other responses.ResponseInputItemUnionParam
		var output responses.ResponseOutputMessageParam
		var input responses.ResponseInputItemMessageParam
		var easy responses.EasyInputMessageParam
		for _, c := range []struct {
			fits  bool
			into  json.Unmarshaler
			union *responses.ResponseInputItemUnionParam
		}{
			{!isMessage, &other, &other},
			{isMessage && hasParts && head.Role == "assistant", &output,
				&responses.ResponseInputItemUnionParam{OfOutputMessage: &output}},
			{isMessage && hasParts && (head.ID != nil || head.Status != nil), &input,
				&responses.ResponseInputItemUnionParam{OfInputMessage: &input}},
			{isMessage, &easy, &responses.ResponseInputItemUnionParam{OfMessage: &easy}},
		} {
			if c.fits && c.into.UnmarshalJSON(item) == nil && !yield(*c.union) {
				return
			}
		}
	}
}

// marshalsTo reports whether value marshals to JSON equal to raw.
func marshalsTo(value responses.ResponseInputItemUnionParam, raw []byte) bool {
	written, err := marshal(value)
	return err == nil && (bytes.Equal(written, raw) || equalJSON(written, raw) && !losesSurrogates(written, raw))
}

// losesSurrogates reports whether half a surrogate pair may have become U+FFFD, which to encoding/json is the same.
// Python writes such halves.
func losesSurrogates(written, raw []byte) bool {
	return (bytes.ContainsRune(written, '\uFFFD') || bytes.Contains(written, []byte(`\ufffd`))) &&
		bytes.Contains(bytes.ToLower(raw), []byte(`\ud`))
}

// keepUnknown gives every struct in v, which openai-go has decoded from raw, the members that openai-go does not know or
// would not write, as extra fields.
func keepUnknown(v reflect.Value, raw json.RawMessage) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			keepUnknown(v.Elem(), raw)
		}
	case reflect.Slice:
		var elements []json.RawMessage
		if json.Unmarshal(raw, &elements) == nil && len(elements) == v.Len() {
			for i, element := range elements {
				keepUnknown(v.Index(i), element)
			}
		}
	case reflect.Struct:
		if isUnion(v.Type()) {
			for i := range v.NumField() {
				keepUnknown(v.Field(i), raw) // at most one is set
			}
		} else if object, ok := addressOf(v).(extensible); ok {
			keepMembers(v, object, raw)
		}
	}
}

// extensible is implemented by pointers to the structs of openai-go that stand for JSON objects, and to its unions.
type extensible interface {
	SetExtraFields(map[string]any)
}

// addressOf returns a pointer to v, or nil where v is not exported.
func addressOf(v reflect.Value) any {
	if !v.CanAddr() || !v.Addr().CanInterface() {
		return nil
	}
	return v.Addr().Interface()
}

// isUnion reports whether t is one of the structs of openai-go of which one field holds the value.
func isUnion(t reflect.Type) bool {
	for i := range t.NumField() {
		if f := t.Field(i); f.Anonymous && f.Type == reflect.TypeFor[param.APIUnion]() {
			return true
		}
	}
	return false
}

func keepMembers(v reflect.Value, object extensible, raw json.RawMessage) {
	members := membersOf(raw)
	known := map[string]bool{}
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if member, ok := members[name]; ok {
			known[name] = true
			keepUnknown(v.Field(i), member)
		}
	}
	encoded, _ := json.Marshal(v.Interface()) // where it cannot be marshalled, decode will see that too
	written := membersOf(encoded)
	extra := map[string]any{}
	for name, member := range members {
		if known[name] && !isEmpty(member) {
			continue // a field that does not show what there is would be a lie: decode then sees that it was not written
		}
		if !equalJSON(written[name], member) {
			extra[name] = member
		}
	}
	for name := range written {
		if _, ok := members[name]; !ok {
			extra[name] = param.Omit
		}
	}
	if len(extra) > 0 {
		object.SetExtraFields(extra)
	}
}

// isEmpty reports whether a member is what openai-go may leave out: null, or an empty value.
func isEmpty(member json.RawMessage) bool {
	switch string(member) {
	case "null", `""`, "[]", "{}", "false", "0":
		return true
	}
	return false
}

// membersOf returns the members of an object, and none where raw is something else: decode sees that too.
func membersOf(raw json.RawMessage) map[string]json.RawMessage {
	var members map[string]json.RawMessage
	_ = json.Unmarshal(raw, &members)
	return members
}

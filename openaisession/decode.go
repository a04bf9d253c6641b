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
		members := membersOf(item)
		typ, role := textOf(members["type"]), textOf(members["role"])
		isMessage := typ == "message" || typ == "" && role != ""
		hasParts := bytes.HasPrefix(members["content"], []byte("["))

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
			{isMessage && hasParts && role == "assistant", &output,
				&responses.ResponseInputItemUnionParam{OfOutputMessage: &output}},
			{isMessage && hasParts && (members["id"] != nil || members["status"] != nil), &input,
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
		switch object, ok := addressOf(v).(extensible); {
		case isUnion(v.Type()) && string(raw) == "null":
			setNull(v)
		case isUnion(v.Type()):
			for i := range v.NumField() {
				keepUnknown(v.Field(i), raw) // at most one is set
			}
		case ok:
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

// setNull makes a union null, as param.NullStruct does, to which reflection cannot give a type. A variant that is set later
// goes before it.
func setNull(union reflect.Value) {
	reflect.ValueOf(param.SetJSON).Call([]reflect.Value{reflect.ValueOf([]byte("null")), union.Addr()})
}

// mostExtra is how many extra fields an object may have. No program writes that many, and openai-go v3.24.0 copies the whole
// object for each of them.
const mostExtra = 100

// keepMembers gives an object extra fields where openai-go would write something else than raw. None of them hides a field
// that holds something: that field would be a lie, and changes to it in vain. Where it would take one, decode sees that
// raw is not what is written.
func keepMembers(v reflect.Value, object extensible, raw json.RawMessage) {
	members := membersOf(raw)
	if members == nil { // such as null: v stays zero, and the object round it says null
		return
	}
	known, holds := map[string]bool{}, map[string]bool{}
	for i := range v.NumField() {
		name := memberName(v.Type().Field(i))
		if member, ok := members[name]; ok {
			keepUnknown(v.Field(i), member)
		}
		known[name], holds[name] = true, !v.Field(i).IsZero()
	}
	encoded, _ := json.Marshal(v.Interface()) // where it cannot be marshalled, decode will see that too
	written := membersOf(encoded)
	extra := map[string]any{}
	for name, member := range members {
		if !equalJSON(written[name], member) && (!known[name] || isEmpty(member) && !holds[name]) {
			extra[name] = member
		}
	}
	for name := range written {
		if _, ok := members[name]; !ok {
			extra[name] = param.Omit
		}
	}
	if len(extra) > 0 && len(extra) <= mostExtra {
		object.SetExtraFields(extra)
	}
}

// memberName returns the name of the member that a field stands for; "" or "-" is none.
func memberName(field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	return name
}

// isEmpty reports whether a member is what openai-go may leave out: null, or an empty text or list.
func isEmpty(member json.RawMessage) bool {
	switch string(member) {
	case "null", `""`, "[]":
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

// textOf returns the text that a member is, and the empty string where it is something else.
func textOf(member json.RawMessage) string {
	var text string
	_ = json.Unmarshal(member, &text)
	return text
}

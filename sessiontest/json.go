package sessiontest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"

	"github.com/encsession/encsession"
)

// equalJSON reports whether a and b are the same JSON value. White space,
// escapes and the order of members do not matter. Numbers are compared by their
// exact value, however they are written.
func equalJSON(a, b []byte) bool {
	if bytes.Equal(a, b) { // saves much time: most stores keep items as they are
		return true
	}
	x, errX := decode(a)
	y, errY := decode(b)
	return errX == nil && errY == nil && equalValues(x, y)
}

func decode(b []byte) (value any, err error) {
	if !json.Valid(b) { // a Decoder would stop behind the first value
		return nil, fmt.Errorf("not JSON: %s", show(b))
	}
	decoder := json.NewDecoder(bytes.NewReader(b))
	decoder.UseNumber()
	err = decoder.Decode(&value)
	return value, err
}

func equalValues(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, b, equalValues)
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, equalValues)
	case json.Number:
		b, ok := b.(json.Number)
		return ok && equalNumbers(a.String(), b.String())
	default: // string, bool or nil
		return a == b
	}
}

func equalNumbers(a, b string) bool {
	if a == b {
		return true
	}
	x, okX := new(big.Rat).SetString(a)
	y, okY := new(big.Rat).SetString(b)
	return okX && okY && x.Cmp(y) == 0
}

// object returns a JSON object with one member.
func object(name, value string) encsession.Item {
	quotedName, _ := json.Marshal(name) // strings always encode
	quotedValue, _ := json.Marshal(value)
	return slices.Concat([]byte("{"), quotedName, []byte(":"), quotedValue, []byte("}"))
}

// advice returns a text to add to the message that a store has returned got
// instead of want. It is empty if got has any member of want.
func advice(got, want []byte) string {
	var found, members map[string]json.RawMessage
	if got == nil || json.Unmarshal(want, &members) != nil || len(members) == 0 {
		return ""
	}
	_ = json.Unmarshal(got, &found) // if got is not an object, it has no members
	for name := range members {
		if _, ok := found[name]; ok {
			return ""
		}
	}
	return "\nNo member of the item has come back. A store must keep the whole JSON object: not only a text of it, " +
		"and not only the fields of a struct."
}

// show returns an item for a message, cut short.
func show(item []byte) string {
	const most = 200
	switch {
	case item == nil:
		return "nil"
	case len(item) > most:
		return fmt.Sprintf("%q and %d bytes more", item[:most], len(item)-most)
	}
	return fmt.Sprintf("%q", item)
}

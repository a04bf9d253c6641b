package openaisession

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/encsession/encsession"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"
)

// encode returns the JSON of an input item, as openai-go would send it.
func encode(item responses.ResponseInputItemUnionParam) (encsession.Item, error) {
	encoded, err := marshal(item)
	if err != nil {
		return nil, &encodeError{err: err}
	}
	if string(encoded) == "null" {
		return nil, fmt.Errorf("no variant is set: %w", encsession.ErrInvalidItem)
	}
	if err := checkShown(reflect.ValueOf(item)); err != nil {
		return nil, err
	}
	return encoded, checkObject(encoded)
}

// checkShown returns an error if a field holds something that would not be
// written. This happens if a caller sets a field that was null or missing,
// since decode has set an extra field that hides it. An extra field with a
// value of its own is no mistake: it is openai-go's way to override a field.
func checkShown(v reflect.Value) error {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			return checkShown(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			if err := checkShown(v.Index(i)); err != nil {
				return err
			}
		}
	case reflect.Struct:
		var extra map[string]any
		if object, ok := v.Interface().(interface{ ExtraFields() map[string]any }); ok {
			extra = object.ExtraFields()
		}
		overridden := isOverridden(v)
		for i := range v.NumField() {
			field := v.Type().Field(i)
			if !field.IsExported() {
				continue
			}
			name := memberName(field)
			if overridden && !v.Field(i).IsZero() {
				return fmt.Errorf("%q is set, but hidden by an override: remove the override, or clear the field", name)
			}
			if hides(extra[name]) && !v.Field(i).IsZero() {
				return fmt.Errorf("%q is set, but hidden by an extra field: delete it from ExtraFields", name)
			}
			if isNullWithValue(v.Field(i)) {
				return fmt.Errorf("%q has a Value, but is null: set it with param.NewOpt", name)
			}
			if err := checkShown(v.Field(i)); err != nil {
				return err
			}
		}
	}
	return nil
}

// isOverridden reports whether a struct carries JSON of its own, which is
// written instead of its fields. In a union, a set field is written all the
// same.
func isOverridden(v reflect.Value) bool {
	object, ok := v.Interface().(interface{ Overrides() (any, bool) })
	if !ok || isUnion(v.Type()) {
		return false
	}
	_, overridden := object.Overrides()
	return overridden
}

// hides reports whether an extra field, with no value of its own, hides the
// field of the same name. decode sets such extra fields.
func hides(extra any) bool {
	raw, ok := extra.(json.RawMessage)
	return ok && isEmpty(raw) || extra == param.Omit
}

// isNullWithValue reports whether v is a param.Opt that is null although its
// Value was set.
func isNullWithValue(v reflect.Value) bool {
	opt, ok := v.Interface().(param.Optional)
	return ok && !opt.Valid() && !v.FieldByName("Value").IsZero()
}

// marshal encodes as openai-go does: <, > and & stay as they are.
func marshal(item responses.ResponseInputItemUnionParam) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(item)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// encodeOutput returns the JSON from which an output item was decoded.
func encodeOutput(item responses.ResponseOutputItemUnion) (encsession.Item, error) {
	raw := item.RawJSON()
	if raw == "" {
		return nil, fmt.Errorf("not decoded from JSON: %w", encsession.ErrInvalidItem)
	}
	var b bytes.Buffer // the API indents what it sends
	if err := json.Compact(&b, []byte(raw)); err != nil {
		return nil, &encodeError{err: err}
	}
	return b.Bytes(), checkObject(b.Bytes())
}

// checkObject returns an error if compact JSON is not an object.
func checkObject(encoded []byte) error {
	if encoded[0] != '{' {
		return encsession.ErrInvalidItem
	}
	return nil
}

// encodeError is an error of encoding/json without its text, which may quote
// content.
type encodeError struct{ err error }

func (e *encodeError) Error() string { return "cannot be encoded as JSON" }

func (e *encodeError) Unwrap() error { return e.err }

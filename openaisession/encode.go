package openaisession

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/encsession/encsession"
	"github.com/openai/openai-go/v3/responses"
)

// encode returns the JSON of an input item: what openai-go would send.
func encode(item responses.ResponseInputItemUnionParam) (encsession.Item, error) {
	encoded, err := marshal(item)
	if err != nil {
		return nil, &encodeError{err: err}
	}
	if string(encoded) == "null" {
		return nil, fmt.Errorf("no variant is set: %w", encsession.ErrInvalidItem)
	}
	return encoded, checkObject(encoded)
}

// marshal encodes as openai-go does, which leaves <, > and & as they are.
func marshal(item responses.ResponseInputItemUnionParam) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(item)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// encodeOutput returns the JSON that an output item was decoded from.
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

// checkObject wants compact JSON to be an object.
func checkObject(encoded []byte) error {
	if encoded[0] != '{' {
		return encsession.ErrInvalidItem
	}
	return nil
}

// encodeError is an error of encoding/json without its text, which may quote content.
type encodeError struct{ err error }

func (e *encodeError) Error() string { return "cannot be encoded as JSON" }

func (e *encodeError) Unwrap() error { return e.err }

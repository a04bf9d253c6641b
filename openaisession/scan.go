package openaisession

import (
	"bytes"
	"encoding/json"
)

// The functions of this file read JSON that [encsession.ValidItem] has
// accepted. So they only look for the ends of values, and check nothing.

// member is one member of a JSON object, as it is stored.
type member struct {
	name string
	key  []byte // the name as JSON
	raw  json.RawMessage
}

// membersOf returns the members of an object in their order, or nil if raw is
// not an object. They share the memory of raw.
func membersOf(raw json.RawMessage) []member {
	if len(raw) == 0 || raw[0] != '{' {
		return nil
	}
	members := make([]member, 0, 8)
	for i := skipSpace(raw, 1); raw[i] != '}'; {
		end := textEnd(raw, i)
		m := member{key: raw[i:end:end]}
		m.name, _ = textOf(m.key)
		i = skipSpace(raw, skipSpace(raw, end)+1)
		end = valueEnd(raw, i)
		m.raw = json.RawMessage(raw[i:end:end])
		members = append(members, m)
		if i = skipSpace(raw, end); raw[i] == ',' {
			i = skipSpace(raw, i+1)
		}
	}
	return members
}

// elementsOf returns the elements of an array, which raw must be.
func elementsOf(raw json.RawMessage) []json.RawMessage {
	var elements []json.RawMessage
	for i := skipSpace(raw, 1); raw[i] != ']'; {
		end := valueEnd(raw, i)
		elements = append(elements, raw[i:end:end])
		if i = skipSpace(raw, end); raw[i] == ',' {
			i = skipSpace(raw, i+1)
		}
	}
	return elements
}

// textOf returns the text of a JSON string. It reports false if raw is not a
// string, or if encoding/json may have replaced half a surrogate pair by
// U+FFFD. Python writes such halves.
func textOf(raw json.RawMessage) (string, bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1]), true
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return "", false
	}
	return text, !losesSurrogates([]byte(text), raw)
}

// losesSurrogates reports whether half a surrogate pair in raw may have become
// U+FFFD in decoded. encoding/json does not tell the two apart.
func losesSurrogates(decoded, raw []byte) bool {
	return (bytes.ContainsRune(decoded, '\uFFFD') ||
		bytes.Contains(decoded, []byte(`\ufffd`))) &&
		bytes.Contains(bytes.ToLower(raw), []byte(`\ud`))
}

// valueEnd returns the index after the value that begins at i.
func valueEnd(b []byte, i int) int {
	switch b[i] {
	case '"':
		return textEnd(b, i)
	case '{', '[':
	default: // a number, true, false or null
		for i < len(b) && b[i] > ' ' && b[i] != ',' && b[i] != ']' && b[i] != '}' {
			i++
		}
		return i
	}
	for depth := 0; ; {
		switch b[i] {
		case '"':
			i = textEnd(b, i)
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		if i++; depth == 0 {
			return i
		}
	}
}

// textEnd returns the index after the text whose first quote is at i.
func textEnd(b []byte, i int) int {
	for i++; ; {
		i += bytes.IndexByte(b[i:], '"')
		backslashes := 0
		for b[i-1-backslashes] == '\\' {
			backslashes++
		}
		if i++; backslashes%2 == 0 {
			return i
		}
	}
}

func skipSpace(b []byte, i int) int {
	for b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r' {
		i++
	}
	return i
}

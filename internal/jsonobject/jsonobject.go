// Package jsonobject checks JSON objects (RFC 8259) and takes them apart. It
// decodes only the parts that the caller asks for.
package jsonobject

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math/bits"
	"slices"
	"unicode/utf8"
)

// Valid reports whether b is a JSON object in valid UTF-8, nested no deeper
// than encoding/json reads. For an object it gives the same answer as
// [utf8.Valid] and [json.Valid] together, in a fraction of the time. The tests
// check that by fuzzing. Every read checks every item, so the time matters.
func Valid(b []byte) bool {
	b = skipSpace(b)
	if !startsWith(b, '{') {
		return false
	}
	rest, ok := skipValue(b, maxDepth)
	return ok && len(skipSpace(rest)) == 0
}

// Members returns the values of the members with these names, and nil for a
// member that the object does not have. Names are compared exactly, and the
// last duplicate counts, as in Python. The values are parts of object, which
// must be [Valid]. Other members cost no memory, even if a hostile object has
// millions of them.
func Members(object []byte, names ...string) [][]byte {
	found := make([][]byte, len(names))
	skipMembers(skipSpace(object), maxDepth, func(name, value []byte) {
		if i := slices.Index(names, unquote(name)); i >= 0 {
			found[i] = value
		}
	})
	return found
}

// Text returns the text of a value that [Members] has returned, and false if
// the value is not a JSON string.
func Text(value []byte) (text string, ok bool) {
	if !startsWith(value, '"') {
		return "", false
	}
	return unquote(value), true
}

func unquote(quoted []byte) string {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1])
	}
	var text string
	_ = json.Unmarshal(quoted, &text) // it is a string
	return text
}

// maxDepth is how deep objects and arrays may be nested, as in encoding/json.
const maxDepth = 10000

// The functions below return the bytes that follow a JSON value at the
// beginning of b, and whether there is such a value.

func skipValue(b []byte, depth int) (rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, false
	}
	switch c := b[0]; {
	case c == '"':
		return skipString(b)
	case c == '{':
		return skipMembers(b, depth, nil)
	case c == '[':
		return skipElements(b, depth)
	case c == '-' || isDigit(c):
		return skipNumber(b)
	}
	for _, literal := range []string{"true", "false", "null"} {
		if rest, ok := bytes.CutPrefix(b, []byte(literal)); ok {
			return rest, true
		}
	}
	return nil, false
}

// skipMembers calls visit, which may be nil, with the quoted name and the value
// of each member of an object.
func skipMembers(b []byte, depth int, visit func(name, value []byte)) (rest []byte, ok bool) {
	if depth == 0 {
		return nil, false
	}
	b = skipSpace(b[1:])
	if startsWith(b, '}') {
		return b[1:], true
	}
	for {
		name := b
		if b, ok = skipString(b); !ok {
			return nil, false
		}
		name = name[:len(name)-len(b)]
		if b = skipSpace(b); !startsWith(b, ':') {
			return nil, false
		}
		value := skipSpace(b[1:])
		if b, ok = skipValue(value, depth-1); !ok {
			return nil, false
		}
		if visit != nil {
			visit(name, value[:len(value)-len(b)])
		}
		switch b = skipSpace(b); {
		case startsWith(b, '}'):
			return b[1:], true
		case !startsWith(b, ','):
			return nil, false
		}
		b = skipSpace(b[1:])
	}
}

func skipElements(b []byte, depth int) (rest []byte, ok bool) {
	if depth == 0 {
		return nil, false
	}
	b = skipSpace(b[1:])
	if startsWith(b, ']') {
		return b[1:], true
	}
	for {
		if b, ok = skipValue(b, depth-1); !ok {
			return nil, false
		}
		switch b = skipSpace(b); {
		case startsWith(b, ']'):
			return b[1:], true
		case !startsWith(b, ','):
			return nil, false
		}
		b = skipSpace(b[1:])
	}
}

func skipString(b []byte) (rest []byte, ok bool) {
	if !startsWith(b, '"') {
		return nil, false
	}
	for i := 1; i < len(b); {
		if len(b)-i >= 8 {
			special := specialBytes(binary.LittleEndian.Uint64(b[i:]))
			if special == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(special) / 8
		}
		n := 1
		switch c := b[i]; {
		case c == '"':
			return b[i+1:], true
		case c == '\\':
			n = escapeLen(b[i:])
		case c >= utf8.RuneSelf:
			n = runesLen(b[i:])
		case c < ' ':
			return nil, false
		}
		if n == 0 {
			return nil, false
		}
		i += n
	}
	return nil, false
}

// specialBytes looks at eight bytes of a string. It returns 0 if all of them
// stand for themselves and are ASCII. Otherwise the lowest bit that it returns
// is the high bit of the first byte that does not: a quote, a backslash, a
// control character, or a byte beyond ASCII. The bytes above that one may be
// wrong, for a subtraction borrows from the byte above.
func specialBytes(x uint64) uint64 {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	quotes := (x ^ ones*'"') - ones
	backslashes := (x ^ ones*'\\') - ones
	controls := x - ones*' '
	return (quotes | backslashes | controls | x) & highs
}

// escapeLen returns the length of the escape sequence at the beginning of b, or
// 0 if the sequence is not valid. b begins with a backslash.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) >= 6 && isHex(b[2]) && isHex(b[3]) && isHex(b[4]) && isHex(b[5]) {
			return 6
		}
	}
	return 0
}

// runesLen returns the length of the non-ASCII text at the beginning of b, with
// single spaces between its words, or 0 if it is not valid UTF-8.
func runesLen(b []byte) int {
	n := 0
	for n < len(b) {
		c := b[n]
		switch {
		case c < utf8.RuneSelf:
			if c == ' ' && n+1 < len(b) && b[n+1] >= utf8.RuneSelf {
				n++
				continue
			}
			return n
		case 0xC2 <= c && c < 0xE0 && len(b)-n >= 2 && b[n+1]&0xC0 == 0x80:
			n += 2
		case 0xE1 <= c && c < 0xED && len(b)-n >= 3 && b[n+1]&0xC0 == 0x80 && b[n+2]&0xC0 == 0x80:
			n += 3
		default:
			_, size := utf8.DecodeRune(b[n:])
			if size == 1 {
				return 0
			}
			n += size
		}
	}
	return n
}

func skipNumber(b []byte) (rest []byte, ok bool) {
	if b[0] == '-' {
		b = b[1:]
	}
	if startsWith(b, '0') {
		b = b[1:]
	} else if b, ok = skipDigits(b); !ok {
		return nil, false
	}
	if startsWith(b, '.') {
		if b, ok = skipDigits(b[1:]); !ok {
			return nil, false
		}
	}
	if startsWith(b, 'e') || startsWith(b, 'E') {
		b = b[1:]
		if startsWith(b, '+') || startsWith(b, '-') {
			b = b[1:]
		}
		if b, ok = skipDigits(b); !ok {
			return nil, false
		}
	}
	return b, true
}

// skipDigits requires at least one digit.
func skipDigits(b []byte) (rest []byte, ok bool) {
	n := 0
	for n < len(b) && isDigit(b[n]) {
		n++
	}
	return b[n:], n > 0
}

func skipSpace(b []byte) []byte {
	for len(b) > 0 && b[0] <= ' ' && (b[0] == ' ' || b[0] == '\t' || b[0] == '\n' || b[0] == '\r') {
		b = b[1:]
	}
	return b
}

func startsWith(b []byte, c byte) bool { return len(b) > 0 && b[0] == c }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isHex(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

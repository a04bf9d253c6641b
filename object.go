package encsession

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// isObject reports whether b is a JSON object (RFC 8259) in valid UTF-8, nested no deeper than encoding/json reads. It
// says what utf8.Valid and json.Valid together say of an object, which the tests prove by fuzzing, in a fraction of the
// time: every read checks every item.
func isObject(b []byte) bool {
	b = skipSpace(b)
	if !startsWith(b, '{') || !utf8.Valid(b) {
		return false
	}
	rest, ok := skipValue(b, maxDepth)
	return ok && len(skipSpace(rest)) == 0
}

// maxDepth is how deep objects and arrays may be nested, as in encoding/json.
const maxDepth = 10000

// The functions below return what follows a JSON value at the beginning of b, and whether there is one. They leave the
// check for UTF-8 to their caller.

func skipValue(b []byte, depth int) (rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, false
	}
	switch c := b[0]; {
	case c == '"':
		return skipString(b)
	case c == '{':
		return skipMembers(b, depth)
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

func skipMembers(b []byte, depth int) (rest []byte, ok bool) {
	if depth == 0 {
		return nil, false
	}
	b = skipSpace(b[1:])
	if startsWith(b, '}') {
		return b[1:], true
	}
	for {
		if b, ok = skipString(b); !ok {
			return nil, false
		}
		if b = skipSpace(b); !startsWith(b, ':') {
			return nil, false
		}
		if b, ok = skipValue(skipSpace(b[1:]), depth-1); !ok {
			return nil, false
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
	for i := 1; ; i++ {
		i += plainPrefix(b[i:])
		if i == len(b) {
			return nil, false
		}
		switch b[i] {
		case '"':
			return b[i+1:], true
		case '\\':
			n := escapeLen(b[i:])
			if n == 0 {
				return nil, false
			}
			i += n - 1
		default: // a control character
			return nil, false
		}
	}
}

// plainPrefix returns how many bytes at the beginning of b stand for themselves in a string: no quote, no backslash, no
// control character. It looks at eight bytes at a time: a byte of (x - 0x01…) &^ x has its high bit set where it is the
// lowest zero byte of x, and perhaps in bytes above that one, which does not matter here.
func plainPrefix(b []byte) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	n := 0
	for ; len(b)-n >= 8; n += 8 {
		x := binary.LittleEndian.Uint64(b[n:])
		quotes, backslashes := x^ones*'"', x^ones*'\\'
		if ((quotes-ones)&^quotes|(backslashes-ones)&^backslashes|(x-ones*' ')&^x)&highs != 0 {
			break
		}
	}
	for n < len(b) && b[n] >= ' ' && b[n] != '"' && b[n] != '\\' {
		n++
	}
	return n
}

// escapeLen returns the length of the escape sequence at the beginning of b, which begins with a backslash, or 0.
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

// skipDigits wants at least one digit.
func skipDigits(b []byte) (rest []byte, ok bool) {
	n := 0
	for n < len(b) && isDigit(b[n]) {
		n++
	}
	return b[n:], n > 0
}

func skipSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t' || b[0] == '\n' || b[0] == '\r') {
		b = b[1:]
	}
	return b
}

func startsWith(b []byte, c byte) bool { return len(b) > 0 && b[0] == c }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isHex(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

package openaisession

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
)

// equalJSON reports whether a and b are the same JSON value. White space,
// escapes, the order of members and the spelling of numbers do not matter. The
// values of numbers matter, to the last digit.
func equalJSON(a, b []byte) bool {
	x, errX := exactValue(a)
	y, errY := exactValue(b)
	return errX == nil && errY == nil && reflect.DeepEqual(x, y)
}

// exactValue decodes JSON as encoding/json does, except that numbers become
// values of type number.
func exactValue(b []byte) (value any, err error) {
	decoder := json.NewDecoder(bytes.NewReader(b))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	return exactNumbers(value), nil
}

func exactNumbers(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for name, member := range value {
			value[name] = exactNumbers(member)
		}
	case []any:
		for i, element := range value {
			value[i] = exactNumbers(element)
		}
	case json.Number:
		return exactNumber(value.String())
	}
	return value
}

// number is the exact value of a JSON number.
type number struct {
	negative bool
	digits   string // without zeros at either end, so 0 has none
	exponent int    // of the last digit
	text     string // the whole number, if its exponent is too large for any program; otherwise empty
}

func exactNumber(text string) number {
	mantissa, exponent, hasExponent := strings.Cut(strings.ToLower(text), "e")
	n := number{}
	if hasExponent {
		var err error
		if n.exponent, err = strconv.Atoi(exponent); err != nil || max(n.exponent, -n.exponent) > 1e9 {
			return number{text: text}
		}
	}
	mantissa, n.negative = strings.CutPrefix(mantissa, "-")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	all := whole + fraction
	n.digits = strings.TrimRight(all, "0")
	n.exponent += len(all) - len(n.digits) - len(fraction)
	n.digits = strings.TrimLeft(n.digits, "0")
	if n.digits == "" {
		return number{}
	}
	return n
}

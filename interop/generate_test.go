package interop

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/encsession/encsession"
)

// generator writes JSON objects with every kind of value that both sides can
// hold.
type generator struct {
	*rand.Rand
	out strings.Builder
}

// object returns an object that has text among its values.
func (g *generator) object(text string) encsession.Item {
	g.out.Reset()
	g.out.WriteString(`{"text":`)
	g.string(text)
	if g.IntN(100) == 0 { // a wide one
		for i := range 2000 {
			fmt.Fprintf(&g.out, `,"member %d":%d`, i, g.Int64())
		}
	}
	if g.IntN(10) > 0 {
		g.out.WriteByte(',')
		g.space()
		g.string("value")
		g.out.WriteByte(':')
		g.value(6)
	}
	g.out.WriteByte('}')
	return encsession.Item(g.out.String())
}

// value writes any value, of at most that many levels.
func (g *generator) value(levels int) {
	kinds := 7
	if levels == 0 {
		kinds = 5
	}
	g.space()
	switch g.IntN(kinds) {
	case 0:
		g.out.WriteString([]string{"null", "true", "false"}[g.IntN(3)])
	case 1:
		g.integer()
	case 2:
		g.float()
	case 3, 4:
		g.string(g.text(g.IntN(20)))
	case 5:
		g.array(levels)
	case 6:
		g.members(levels)
	}
	g.space()
}

func (g *generator) array(levels int) {
	g.out.WriteByte('[')
	for i := range g.IntN(5) {
		if i > 0 {
			g.out.WriteByte(',')
		}
		g.value(levels - 1)
	}
	g.out.WriteByte(']')
}

// members writes an object whose names all differ. Of equal names, Python would
// keep only the last.
func (g *generator) members(levels int) {
	names := []string{"", " ", "__enc__", "payload", "\x00", "\u2028", "constructor", g.text(3), g.text(5), g.text(30)}
	g.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	names = names[:g.IntN(len(names))]
	slices.Sort(names)
	g.out.WriteByte('{')
	for i, name := range slices.Compact(names) {
		if i > 0 {
			g.out.WriteByte(',')
		}
		g.space()
		g.string(name)
		g.space()
		g.out.WriteByte(':')
		g.value(levels - 1)
	}
	g.out.WriteByte('}')
}

func (g *generator) space() {
	if g.IntN(8) == 0 {
		g.out.WriteString([]string{" ", "\n", "\t", "\r\n", "  \t "}[g.IntN(5)])
	}
}

// integer writes an integer of any size that Python takes, up to 4300 digits.
func (g *generator) integer() {
	switch g.IntN(6) {
	case 0:
		g.out.WriteString([]string{
			"0", "-0", "9007199254740993", "-9007199254740993", "9223372036854775807", "9223372036854775808",
			"-9223372036854775809", "18446744073709551616",
		}[g.IntN(8)])
	case 1:
		size := 20 + g.IntN(100)
		if g.IntN(20) == 0 {
			size = 4300
		}
		g.out.WriteByte('1' + byte(g.IntN(9)))
		for range size - 1 {
			g.out.WriteByte('0' + byte(g.IntN(10)))
		}
	default:
		g.out.WriteString(strconv.FormatInt(int64(g.Uint64())>>g.IntN(64), 10))
	}
}

// float writes a number that is finite as a float64. From other numbers Python
// makes text that is not JSON.
func (g *generator) float() {
	if g.IntN(3) == 0 {
		g.out.WriteString([]string{
			"1E5", "1e+5", "1E-5", "0e0", "-0.0", "0.10", "1.0", "100000000000000000000.0", "5e-324", "2.5e-324", "1e-400",
			"1.7976931348623157e308", "-1.7976931348623157E+308", "0.1000000000000000055511151231257827", "123456789012345678901234567890e0",
			"2.2250738585072011e-308", "9007199254740993.0",
		}[g.IntN(17)])
		return
	}
	f := g.NormFloat64()
	if g.IntN(2) == 0 {
		f *= float64(g.Uint64())
	}
	number := strconv.FormatFloat(f, "efgEG"[g.IntN(5)], -1, 64)
	if isInteger(number) {
		number += ".0"
	}
	g.out.WriteString(number)
}

// text returns characters from all of Unicode, and from the parts that make the
// most trouble.
func (g *generator) text(size int) string {
	text := make([]rune, size)
	for i := range text {
		switch g.IntN(4) {
		case 0:
			text[i] = rune(g.IntN(0x80))
		case 1:
			text[i] = []rune("\"\\/\b\f\n\r\t\x00\x1f\x7f\u0080\u0085\u00a0é\u0301\u200d\u202e\u2028\u2029\ud7ff\ue000\ufeff\ufffd\ufffe\uffff\U00010000😀\U0010ffff<>&'")[g.IntN(31)]
		default:
			text[i] = scalar(g.IntN(scalars))
		}
	}
	return string(text)
}

// scalars is the number of characters that Unicode has room for: all code
// points but the surrogates.
const scalars = 0x110000 - 0x800

func scalar(n int) rune {
	if n >= 0xd800 {
		n += 0x800
	}
	return rune(n)
}

// string writes a string. It escapes each character that needs it, and now and
// then another one.
func (g *generator) string(text string) {
	g.out.WriteByte('"')
	for _, c := range text {
		short := strings.IndexRune("\"\\/\b\f\n\r\t", c)
		switch {
		case short >= 0 && (c < ' ' || c == '"' || c == '\\' || g.IntN(2) == 0) && g.IntN(4) > 0:
			g.out.WriteByte('\\')
			g.out.WriteByte(`"\/bfnrt`[short])
		case c < ' ' || c == '"' || c == '\\' || g.IntN(6) == 0:
			for _, unit := range utf16.Encode([]rune{c}) {
				fmt.Fprintf(&g.out, []string{`\u%04x`, `\u%04X`}[g.IntN(2)], unit)
			}
		default:
			g.out.WriteRune(c)
		}
	}
	g.out.WriteByte('"')
}

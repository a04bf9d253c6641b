package show

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPrintable(t *testing.T) {
	for name, test := range map[string]struct{ in, want string }{
		"text":            {"Kraków 400 € 手荷物 🐈", "Kraków 400 € 手荷物 🐈"},
		"escape sequence": {"a\x1b[2Jb", "a\uFFFD[2Jb"},
		"C1 and delete":   {"a\u009b\x7fb", "a\uFFFD\uFFFDb"},
		"bidi override":   {"a\u202eb\u202c\u2066\u2069\u200f", "a\uFFFDb\uFFFD\uFFFD\uFFFD\uFFFD"},
		"line separator":  {"a\n\u2028b", "a\uFFFD\uFFFDb"},
		"not UTF-8":       {"a\xffb", "a\uFFFDb"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.want, Printable(test.in))
		})
	}
}

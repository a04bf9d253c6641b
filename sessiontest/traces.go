package sessiontest

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// secret is a text that is found again in many disguises.
type secret struct {
	text string
	// traces are the texts to look for, in lower case, by the name of the
	// disguise.
	traces map[string]string
}

func newSecret() secret {
	// The two alphabets of base64 differ for this punctuation.
	text := random() + "?~" + strings.ToUpper(random())
	b := []byte(text)
	var escaped strings.Builder
	for _, c := range b {
		fmt.Fprintf(&escaped, `\u%04x`, c)
	}
	backwards := slices.Clone(b)
	slices.Reverse(backwards)
	traces := map[string]string{
		"as it is":        text,
		"backwards":       string(backwards),
		"in hex":          hex.EncodeToString(b),
		"in JSON escapes": escaped.String(),
		"as numbers":      strings.Trim(fmt.Sprint(b), "[]"),
		"as hex numbers":  strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", b), "[]byte{"), "}"),
		"in spaced hex":   fmt.Sprintf("% x", b),
	}
	for before := range 3 {
		traces[fmt.Sprintf("in base64 behind %d bytes", before)] = inBase64(base64.RawStdEncoding, b, before)
		traces[fmt.Sprintf("in URL-safe base64 behind %d bytes", before)] = inBase64(base64.RawURLEncoding, b, before)
	}
	for disguise, trace := range traces {
		traces[disguise] = strings.ToLower(trace)
	}
	return secret{text: text, traces: traces}
}

// inBase64 returns the base64 digits that depend on b alone. The parameter
// before is the number of bytes in front of b; other bytes follow it.
func inBase64(encoding *base64.Encoding, b []byte, before int) string {
	digits := encoding.EncodeToString(append(make([]byte, before), b...))
	return digits[(before*8+5)/6 : (before+len(b))*8/6]
}

// findIn returns the name of the disguise in which the text holds the secret.
// Case does not matter.
func (s secret) findIn(text string) (disguise string, found bool) {
	text = strings.ToLower(text)
	for disguise, trace := range s.traces {
		if strings.Contains(text, trace) {
			return disguise, true
		}
	}
	return "", false
}

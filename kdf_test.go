package encsession_test

import (
	"bytes"
	"context"
	"crypto/fips140"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/fernet/fernet-go"
	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// requireIKM requires a Key to have this secret. The test derives a session's
// key from the secret by itself, and seals an item under it. The Key must open
// that item.
func requireIKM(t *testing.T, ikm []byte, key encsession.Key) {
	t.Helper()
	sealer, err := encsession.NewSealer(sessionID, ringOf(key), encsession.NoExpiry)
	require.NoError(t, err)
	opened, err := sealer.Open(newForger(ikm, sessionID).envelope(0, `{"a":1}`))
	require.NoError(t, err)
	require.Equal(t, `{"a":1}`, string(opened))
}

// goodKey is the Fernet key of the Fernet project's vectors. plainKey is the
// same key in the standard alphabet of base64.
const (
	goodKey  = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="
	plainKey = "cw/0x689RpI+jtRR7oE8h/eQsKImvJapLeSbXpwF4e4="
)

func TestParseKeyTakesAFernetKey(t *testing.T) {
	secret, err := base64.URLEncoding.DecodeString(goodKey)
	require.NoError(t, err)
	for name, s := range map[string]string{
		"as generated":                  goodKey,
		"as openssl rand -base64 32":    plainKey + "\n",
		"a line of Windows":             goodKey + "\r\n",
		"white space on both sides":     " \t\n\v\f\r" + goodKey + "\r\f\v\n\t ",
		"a long line of spaces before":  strings.Repeat(" ", 5000) + plainKey,
		"a long line of spaces, behind": goodKey + strings.Repeat(" ", 5000),
	} {
		t.Run(name, func(t *testing.T) {
			key, err := encsession.ParseKey(s)
			require.NoError(t, err)
			requireIKM(t, secret, key)
		})
	}

	// A key may have the special characters of one alphabet, of the other, or
	// of neither.
	for _, s := range []string{"+///", "-___", "0000"} {
		_, err := encsession.ParseKey(s + goodKey[4:8] + strings.Repeat("A", 35) + "=")
		require.NoError(t, err)
	}
}

// badKeys are strings that people might take for keys. The error for each has
// this part of the reason and this part of the advice.
var badKeys = map[string]struct{ key, reason, advice string }{
	"empty":       {"", "is empty", "GenerateKey"},
	"white space": {" \t\r\n", "is empty", "GenerateKey"},

	"first character lost":     {goodKey[1:], "has 43 characters", "copy all of it"},
	"last character lost":      {goodKey[:43], "has 43 characters", "copy all of it"},
	"last two lost":            {goodKey[:42], "has 42 characters", "copy all of it"},
	"first half":               {goodKey[:22], "has 22 characters", "copy all of it"},
	"one character":            {"c", "has 1 characters", "copy all of it"},
	"a character twice":        {goodKey[:8] + goodKey[7:], "has 45 characters", "copy all of it"},
	"more padding":             {goodKey + "=", "has 45 characters", "copy all of it"},
	"a comment behind":         {goodKey + " # production", "has 57 characters", "copy all of it"},
	"a full stop behind":       {goodKey + ".", "has 45 characters", "copy all of it"},
	"name of the variable":     {"ENCSESSION_KEY=" + goodKey, "has 59 characters", "copy all of it"},
	"no-break space":           {goodKey + "\u00a0", "has 45 characters", "copy all of it"}, // in Python, a raw secret
	"white space inside":       {goodKey[:20] + " " + goodKey[20:], "has 45 characters", "copy all of it"},
	"line break inside":        {goodKey[:20] + "\n" + goodKey[20:], "has 45 characters", "copy all of it"},
	"Windows line break":       {goodKey[:20] + "\r\n" + goodKey[20:], "has 46 characters", "copy all of it"},
	"backslash n":              {goodKey + `\n`, "has 46 characters", "copy all of it"},
	"byte order mark":          {"\ufeff" + goodKey, "has 45 characters", "copy all of it"},
	"zero-width space":         {goodKey + "\u200b", "has 45 characters", "copy all of it"},
	"NUL behind":               {goodKey + "\x00", "has 45 characters", "copy all of it"},
	"not UTF-8, too long":      {goodKey + "\xff", "has 45 characters", "copy all of it"},
	"16 bytes":                 {"AAECAwQFBgcICQoLDA0ODw==", "has 24 characters", "GenerateKey"},
	"64 bytes":                 {strings.Repeat("AAEC", 21) + "AA==", "has 88 characters", "GenerateKey"},
	"two keys":                 {goodKey + goodKey, "has 88 characters", "several keys one by one"},
	"two keys, comma":          {goodKey + "," + plainKey, "has 89 characters", "several keys one by one"},
	"two keys, newline":        {goodKey + "\n" + plainKey + "\n", "has 89 characters", "several keys one by one"},
	"two keys, space":          {goodKey + " " + plainKey, "has 89 characters", "several keys one by one"},
	"null":                     {"null", "has 4 characters", "GenerateKey"},
	"undefined":                {"undefined", "has 9 characters", "GenerateKey"},
	"None":                     {"None", "has 4 characters", "GenerateKey"},
	"changeme":                 {"changeme", "has 8 characters", "GenerateKey"},
	"a password":               {"correct horse battery staple", "has 28 characters", "ParsePythonKey"},
	"a variable, no braces":    {"$ENCSESSION_KEY", "has 15 characters", "GenerateKey"},
	"a template":               {"{{ .Values.key }}", "has 17 characters", "GenerateKey"},
	"63 hexadecimal digits":    {strings.Repeat("0a", 31) + "0", "has 63 characters", "GenerateKey"},
	"64 digits, not all hex":   {strings.Repeat("0g", 32), "has 64 characters", "GenerateKey"},
	"hexadecimal with 0x":      {"0x" + strings.Repeat("0a", 32), "has 66 characters", "GenerateKey"},
	"half a placeholder":       {"${ENCSESSION_KEY", "has 16 characters", "GenerateKey"},
	"placeholder and key":      {"${KEY}" + goodKey, "has 50 characters", "GenerateKey"},
	"placeholder with default": {"${KEY:-" + goodKey + "}", "has 52 characters", "GenerateKey"},

	"64 hexadecimal digits":    {strings.Repeat("0a", 32), "64 hexadecimal digits", "NewKey"},
	"openssl rand -hex 32":     {strings.Repeat("5e", 32) + "\n", "64 hexadecimal digits", "ParsePythonKey"},
	"digits in capitals":       {strings.Repeat("0A", 32), "64 hexadecimal digits", "NewKey"},
	"double quotes":            {`"` + goodKey + `"`, "has quotes", "remove them"},
	"single quotes":            {"'" + goodKey + "'", "has quotes", "remove them"},
	"quotes and white space":   {` "` + goodKey + "\n\"\n", "has quotes", "remove them"},
	"one quote":                {goodKey + `"`, "has quotes", "remove them"},
	"a quote for a character":  {goodKey[:43] + "'", "has quotes", "remove them"},
	"JSON":                     {`{"key":"` + goodKey + `"}`, "has quotes", "remove them"},
	"quoted hexadecimal":       {`"` + strings.Repeat("0a", 32) + `"`, "has quotes", "remove them"},
	"placeholder":              {"${ENCSESSION_KEY}", "placeholder ${ENCSESSION_KEY}", "filled in"},
	"placeholder and newline":  {"${KEY_2}\n", "placeholder ${KEY_2}", "filled in"},
	"44-character placeholder": {"${" + strings.Repeat("K", 41) + "}", "placeholder ${KKK", "filled in"},
	"both alphabets, a key":    {strings.Replace(goodKey, "_", "/", 1), "mixes the two alphabets", "copy it again"},
	"spare bits":               {goodKey[:42] + "5=", "not a Fernet key", "copy it again"},
	"no padding":               {strings.Repeat("AB", 22), "not a Fernet key", "ParsePythonKey"},
	"33 bytes":                 {strings.Repeat("AB_-", 11), "not a Fernet key", "ParsePythonKey"},
	"31 bytes":                 {strings.Repeat("AB", 21) + "==", "not a Fernet key", "ParsePythonKey"},
	"padding in front":         {"=" + goodKey[:43], "not a Fernet key", "copy it again"},
	"padding inside":           {goodKey[:20] + "=" + goodKey[20:43], "not a Fernet key", "copy it again"},
	"a space for a character":  {goodKey[:20] + " " + goodKey[21:], "not a Fernet key", "copy it again"},
	"a line break for one":     {goodKey[:20] + "\n" + goodKey[21:], "not a Fernet key", "copy it again"},
	"line breaks for four":     {goodKey[:20] + "\n\r\n\n" + goodKey[24:], "not a Fernet key", "copy it again"},
	"NUL for a character":      {goodKey[:20] + "\x00" + goodKey[21:], "not a Fernet key", "copy it again"},
	"NUL in front":             {"\x00" + goodKey[1:], "not a Fernet key", "copy it again"},
	"byte order mark for one":  {"\ufeff" + goodKey[1:], "not a Fernet key", "copy it again"},
	"not ASCII":                {goodKey[:20] + "é" + goodKey[21:], "not a Fernet key", "copy it again"},
	"full-width digits":        {strings.Repeat("１", 43) + "=", "not a Fernet key", "copy it again"},
	"not UTF-8":                {goodKey[:20] + "\xff" + goodKey[21:], "not a Fernet key", "copy it again"},
	"other base64 characters":  {goodKey[:20] + "." + goodKey[21:], "not a Fernet key", "copy it again"},
	"zeros":                    {strings.Repeat("A", 43) + "=", "all 32 bytes of the secret are equal", "GenerateKey"},
	"ones":                     {strings.Repeat("_", 42) + "8=", "all 32 bytes of the secret are equal", "GenerateKey"},
	"ones, other alphabet":     {strings.Repeat("/", 42) + "8=", "all 32 bytes of the secret are equal", "GenerateKey"},
}

func TestParseKeyRefusesEverythingElse(t *testing.T) {
	for name, tt := range badKeys {
		t.Run(name, func(t *testing.T) {
			key, err := encsession.ParseKey(tt.key)
			require.Empty(t, key.Fingerprint())
			require.ErrorContains(t, err, "encsession: ParseKey: ")
			require.ErrorContains(t, err, tt.reason)
			require.ErrorContains(t, err, tt.advice)
			require.NotErrorIs(t, err, encsession.ErrAmbiguousKey)
			requireParts(t, tt.key, err)
		})
	}
}

// placeholder matches the only keys that an error may show.
var placeholder = regexp.MustCompile(`^\$\{[A-Z][A-Z0-9_]*\}$`)

// requireParts requires that an error shows no part of a key.
func requireParts(t *testing.T, s string, err error) {
	t.Helper()
	s = strings.Trim(s, asciiSpace)
	if placeholder.MatchString(s) {
		return
	}
	const size = 6
	text := err.Error()
	for at := range max(len(s)-size, 0) + 1 {
		if part := s[at:min(at+size, len(s))]; len(part) > 1 && strings.Contains(text, part) {
			require.Fail(t, "part of a key in an error", "%q in %q", part, text)
		}
	}
}

func TestParseKeyNoticesALostOrAddedCharacter(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 5 {
		secret := make([]byte, 32)
		for i := range secret {
			secret[i] = byte(random.Uint32())
		}
		encoding := []*base64.Encoding{base64.URLEncoding, base64.StdEncoding}[random.IntN(2)]
		good := encoding.EncodeToString(secret)
		key, err := encsession.ParseKey(good)
		require.NoError(t, err)
		requireIKM(t, secret, key)
		for at := range len(good) {
			_, err := encsession.ParseKey(good[:at] + good[at+1:])
			require.Error(t, err)
			requireParts(t, good, err)
		}
		for at := range len(good) + 1 {
			for c := range 256 {
				_, err := encsession.ParseKey(good[:at] + string([]byte{byte(c)}) + good[at:])
				if outside := at == 0 || at == len(good); outside && strings.IndexByte("\t\n\v\f\r ", byte(c)) >= 0 {
					require.NoError(t, err)
					continue
				}
				if err == nil {
					require.Fail(t, "a key with one more character was taken", "%q at %d", c, at)
				}
				requireParts(t, good, err)
			}
		}
	}
}

// asciiSpace is the white space that ParseKey ignores, and Python too.
const asciiSpace = " \t\n\v\f\r"

// plainFernetKey is a plain form of ParseKey.
func plainFernetKey(s string) ([]byte, bool) {
	s = strings.Trim(s, asciiSpace)
	for _, encoding := range []*base64.Encoding{base64.URLEncoding, base64.StdEncoding} {
		secret, err := encoding.DecodeString(s)
		if err == nil && len(secret) == 32 && encoding.EncodeToString(secret) == s && !bytes.Equal(secret[1:], secret[:31]) {
			return secret, true
		}
	}
	return nil, false
}

func FuzzParseKey(f *testing.F) {
	// Apart from their numbers, the table above has all errors that there are.
	number := regexp.MustCompile(`\d+`)
	texts := map[string]bool{}
	for _, tt := range badKeys {
		f.Add(tt.key)
		_, err := encsession.ParseKey(tt.key)
		require.Error(f, err)
		texts[number.ReplaceAllString(err.Error(), "N")] = true
	}
	f.Add(goodKey)
	f.Add("\n" + plainKey + "\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		key, err := encsession.ParseKey(s)
		secret, ok := plainFernetKey(s)
		if !ok {
			require.Error(t, err, "%q", s)
			require.Empty(t, key.Fingerprint())
			if trimmed := strings.Trim(s, asciiSpace); placeholder.MatchString(trimmed) {
				require.ErrorContains(t, err, trimmed)
				return
			}
			require.True(t, texts[number.ReplaceAllString(err.Error(), "N")], "%v", err)
			return
		}
		require.NoError(t, err, "%q", s)
		requireIKM(t, secret, key)
		python, err := encsession.ParsePythonKey(s)
		require.NoError(t, err, "every Fernet key is the same key in Python")
		require.Equal(t, python.Fingerprint(), key.Fingerprint())
	})
}

func TestParsePythonKey(t *testing.T) {
	secret := []byte("0123456789abcdefghijklmnopqrstuv")
	fernetKey := base64.URLEncoding.EncodeToString(secret)
	require.Len(t, fernetKey, 44)
	for name, tt := range map[string]struct {
		key string
		ikm []byte
	}{
		"Fernet key":                       {fernetKey, secret},
		"Fernet key with newline":          {fernetKey + "\n", secret},
		"Fernet key in quotes":             {`"` + fernetKey + `"`, secret},
		"Fernet key, padding twice":        {fernetKey + "=", secret},
		"Fernet key and é":                 {fernetKey + "é", []byte(fernetKey + "é")},
		"raw secret keeps its newline":     {"secret\n", []byte("secret\n")},
		"64 hexadecimal digits":            {strings.Repeat("0a", 32), []byte(strings.Repeat("0a", 32))},
		"44 characters without padding":    {strings.Repeat("A", 44), []byte(strings.Repeat("A", 44))},
		"31 bytes":                         {strings.Repeat("A", 42) + "==", []byte(strings.Repeat("A", 42) + "==")},
		"Fernet key, two = inside":         {fernetKey[:2] + "=" + fernetKey[2:6] + "=" + fernetKey[6:], secret},
		"padding completed before the end": {"AAAA" + fernetKey, []byte("AAAA" + fernetKey)},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := encsession.ParsePythonKey(tt.key)
			require.NoError(t, err)
			requireIKM(t, tt.ikm, key)
		})
	}
}

func TestParsePythonKeyRefuses(t *testing.T) {
	for _, key := range []string{"", "\xff", "a secret and \xc3"} {
		_, err := encsession.ParsePythonKey(key)
		require.Error(t, err)
		require.NotErrorIs(t, err, encsession.ErrAmbiguousKey)
		require.NotContains(t, err.Error(), "a secret")
	}
}

func TestParsePythonKeyAmbiguous(t *testing.T) {
	for _, v := range readVectors(t).AmbiguousKeys {
		t.Run(v.Desc, func(t *testing.T) {
			_, err := encsession.ParsePythonKey(v.Key)
			require.ErrorIs(t, err, encsession.ErrAmbiguousKey)
			require.NotContains(t, err.Error(), v.Key[:8])
			advice := "nothing behind or inside"
			if !strings.Contains(v.Key, "=") {
				advice = `restore the "="`
			}
			require.ErrorContains(t, err, advice)
		})
	}
}

// pythonDecode is base64.urlsafe_b64decode in its three generations: a loop
// over the characters, with the position in a group of four and the padding so
// far. It returns nil if Python raises an error.
func pythonDecode(s string, generation byte) []byte {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	if strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return nil
	}
	s = strings.NewReplacer("+", "-", "/", "_").Replace(s)
	var bits, group, pads int
	out := []byte{}
	for _, c := range []byte(s) {
		if c == '=' {
			if generation == 'C' {
				continue
			}
			pads++
			if generation == 'A' && group >= 2 && group+pads >= 4 {
				return out
			}
			continue
		}
		value := strings.IndexByte(digits, c)
		if value < 0 {
			continue
		}
		pads = 0
		bits = bits<<6 | value
		if group > 0 {
			out = append(out, byte(bits>>(6-2*group)))
		}
		group = (group + 1) % 4
		bits &= 1<<12 - 1
	}
	complete := group == 0
	switch generation {
	case 'B':
		complete = complete || group >= 2 && group+pads >= 4
	case 'C':
		complete = complete || group >= 2
	}
	if !complete {
		return nil
	}
	return out
}

// pythonKey returns the secret that Python takes from a string. It reports
// false if the generations disagree.
func pythonKey(s string) ([]byte, bool) {
	read := func(generation byte) string {
		if decoded := pythonDecode(s, generation); len(decoded) == 32 {
			return string(decoded)
		}
		return s
	}
	a := read('A')
	return []byte(a), a == read('B') && a == read('C')
}

func checkParsePythonKey(t *testing.T, s string) {
	t.Helper()
	key, err := encsession.ParsePythonKey(s)
	if s == "" || !utf8.ValidString(s) {
		require.Error(t, err)
		return
	}
	ikm, agreed := pythonKey(s)
	if !agreed {
		require.ErrorIs(t, err, encsession.ErrAmbiguousKey, "%q", s)
		return
	}
	require.NoError(t, err, "%q", s)
	requireIKM(t, ikm, key)
}

func TestParsePythonKeyAgreesWithPython(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pieces := []string{"=", "==", "\n", " ", `"`, "é", "+", "/", "-_", "AA==", "A", "AB"}
	for range 5000 {
		key := []byte(encsession.GenerateKey())
		if random.IntN(3) == 0 {
			key = key[:40+random.IntN(5)]
		}
		for range random.IntN(4) {
			at := random.IntN(len(key) + 1)
			if random.IntN(2) == 0 {
				at = len(key)
			}
			key = []byte(string(key[:at]) + pieces[random.IntN(len(pieces))] + string(key[at:]))
		}
		checkParsePythonKey(t, string(key))
	}
}

func FuzzParsePythonKey(f *testing.F) {
	v := readVectors(f)
	for _, e := range v.Envelopes {
		f.Add(e.Key)
	}
	for _, k := range v.AmbiguousKeys {
		f.Add(k.Key)
	}
	f.Add("")
	f.Add("\xff")
	f.Fuzz(func(t *testing.T, s string) { checkParsePythonKey(t, s) })
}

func TestNewKey(t *testing.T) {
	secret := []byte("0123456789abcdefghijklmnopqrstuv")
	key, err := encsession.NewKey(secret)
	require.NoError(t, err)
	ikm := string(secret)
	clear(secret) // the key has a copy
	requireIKM(t, []byte(ikm), key)

	for size := range 100 {
		if size == 32 {
			continue
		}
		_, err := encsession.NewKey(bytes.Repeat([]byte("secret"), 20)[:size])
		require.EqualError(t, err, fmt.Sprintf("encsession: NewKey: secret has %d bytes, not 32; ParseKey reads a key that is text", size))
	}
	_, err = encsession.NewKey(nil)
	require.ErrorContains(t, err, "not 32")
}

func TestNewKeyRefusesEqualBytes(t *testing.T) {
	for c := range 256 {
		secret := bytes.Repeat([]byte{byte(c)}, 32)
		_, err := encsession.NewKey(secret)
		require.ErrorContains(t, err, "encsession: NewKey: all 32 bytes of the secret are equal")
		_, err = encsession.ParseKey(base64.StdEncoding.EncodeToString(secret))
		require.ErrorContains(t, err, "encsession: ParseKey: all 32 bytes of the secret are equal")
		for at := range secret {
			secret[at] ^= 1
			_, err := encsession.NewKey(secret)
			require.NoError(t, err)
			secret[at] ^= 1
		}
	}
}

// TestFingerprint has vectors of Python's hmac and hashlib, by RFC 5869:
//
//	prk = hmac.digest(bytes(32), secret, "sha256")
//	hmac.digest(prk, b"encsession.key-fingerprint.v1\x01", "sha256")[:8].hex()
func TestFingerprint(t *testing.T) {
	text := "0123456789abcdefghijklmnopqrstuv"
	counted := make([]byte, 32)
	for i := range counted {
		counted[i] = byte(i)
	}
	for secret, want := range map[string]string{text: "be8450643deafa5d", string(counted): "ace7e6438602c239"} {
		encoded := base64.URLEncoding.EncodeToString([]byte(secret))
		key, err := encsession.NewKey([]byte(secret))
		require.NoError(t, err)
		parsed, err := encsession.ParseKey(encoded)
		require.NoError(t, err)
		python, err := encsession.ParsePythonKey(encoded + "\n")
		require.NoError(t, err)
		for _, key := range []encsession.Key{key, parsed, python} {
			require.Equal(t, want, key.Fingerprint())
			require.Equal(t, "encsession.Key(hidden)", key.String())
			require.Equal(t, "encsession.Key(hidden)", key.GoString())
		}
	}
	for _, secret := range []string{text, "changeme", "a", strings.Repeat("0a", 32)} {
		raw, err := encsession.ParsePythonKey(secret)
		require.NoError(t, err)
		require.Equal(t, "raw", raw.Fingerprint(), "a fingerprint would help to guess a weak secret")
	}
	require.Empty(t, encsession.Key{}.Fingerprint())
	require.Equal(t, "encsession.Key(hidden)", encsession.Key{}.String())
}

func TestKeySources(t *testing.T) {
	key, older := testKey(t, 0), testKey(t, 1)
	for name, source := range map[string]encsession.KeySource{
		"Key":     key,
		"Keyring": encsession.Keyring{Current: key, Older: []encsession.Key{older}},
		"KeyFunc": encsession.KeyFunc(func(_ context.Context, id string) (encsession.Keyring, error) {
			require.Equal(t, sessionID, id)
			return ringOf(key, older), nil
		}),
	} {
		t.Run(name, func(t *testing.T) {
			ring, err := source.Keys(t.Context(), sessionID)
			require.NoError(t, err)
			require.Equal(t, key.Fingerprint(), ring.Current.Fingerprint())
			if name != "Key" {
				require.Len(t, ring.Older, 1)
				require.Equal(t, older.Fingerprint(), ring.Older[0].Fingerprint())
			}
			session := newSession(t, encsession.NewMemorySession(sessionID), source)
			require.NoError(t, session.AddItems(t.Context(), message("a")))
			stored := getItems(t, session.Unwrap(), 0)
			payload, err := newForger(testIKM(0), sessionID).open([]byte(stored[0]))
			require.NoError(t, err)
			require.Equal(t, string(message("a")), string(payload))
		})
	}
}

func TestANilKeySourceIsAnError(t *testing.T) {
	var none encsession.KeyFunc
	_, err := none.Keys(t.Context(), sessionID)
	require.ErrorContains(t, err, "KeyFunc is nil")
	var noKey *encsession.Key
	for _, source := range []encsession.KeySource{nil, none, noKey} {
		_, err := encsession.New(encsession.NewMemorySession(sessionID), source)
		require.ErrorContains(t, err, "keys is nil")
	}
}

// TestFIPS runs itself again in another process. In that process, everything
// that FIPS 140-3 does not allow panics or returns an error.
func TestFIPS(t *testing.T) {
	if !fips140.Enforced() {
		program, err := os.Executable()
		require.NoError(t, err)
		test := exec.CommandContext(t.Context(), program, "-test.run=^TestFIPS$", "-test.v")
		test.Env = append(os.Environ(), "GODEBUG=fips140=only")
		output, err := test.CombinedOutput()
		if strings.Contains(string(output), "FIPS 140-3 mode is incompatible") {
			t.Skip(string(output))
		}
		require.NoError(t, err, string(output))
		require.Contains(t, string(output), "--- PASS: TestFIPS")
		return
	}

	good, err := encsession.ParseKey(encsession.GenerateKey())
	require.NoError(t, err)
	require.Len(t, good.Fingerprint(), 16)
	raw, err := encsession.ParsePythonKey("fourteen bytes")
	require.NoError(t, err)
	require.Equal(t, "raw", raw.Fingerprint())
	for _, id := range []string{"1", "thirteen byte", sessionID, strings.Repeat("long", 100)} {
		store := encsession.NewMemorySession(id)
		old := newSession(t, store, raw, encsession.WithTTL(time.Hour))
		require.NoError(t, old.AddItems(t.Context(), message("a"), message("b")))
		session := newSession(t, store, ringOf(good, raw), encsession.WithTTL(time.Hour))
		require.Len(t, getItems(t, session, 0), 2)
		item, err := session.PopItem(t.Context())
		require.NoError(t, err)
		require.Equal(t, string(message("b")), string(item))
		changed, err := session.Rekey(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, changed)
		require.NoError(t, session.AddItems(t.Context(), message("c")))
		report, err := session.Audit(t.Context())
		require.NoError(t, err)
		require.Equal(t, []encsession.KeyCount{{Fingerprint: good.Fingerprint(), Items: 2}, {Fingerprint: "raw"}}, report.Keys)
		for _, tt := range hostileEnvelopes() {
			_, err := newSealer(t, good, raw).Open(tt.stored)
			require.Error(t, err)
		}
	}

	for _, secret := range []string{"a", "thirteen byte"} {
		short, err := encsession.ParsePythonKey(secret)
		require.NoError(t, err)
		require.Equal(t, "raw", short.Fingerprint())
		reason := fmt.Sprintf("key has %d bytes, and FIPS 140-3 wants at least 14", len(secret))
		store := encsession.NewMemorySession(sessionID)
		for i, ring := range []encsession.Keyring{ringOf(short), ringOf(good, short)} {
			_, err = encsession.New(store, ring)
			require.EqualError(t, err, fmt.Sprintf("encsession: New: %s: %s", []string{"current key", "older key 0"}[i], reason))
			_, err = encsession.NewSealer(sessionID, ring, time.Hour)
			require.ErrorContains(t, err, reason)

			session := newSession(t, store, encsession.KeyFunc(func(context.Context, string) (encsession.Keyring, error) { return ring, nil }))
			require.ErrorContains(t, session.AddItems(t.Context(), message("a")), reason)
			_, err = session.GetItems(t.Context(), 0)
			require.ErrorContains(t, err, reason)
			_, err = session.PopItem(t.Context())
			require.ErrorContains(t, err, reason)
			_, err = session.Rekey(t.Context())
			require.ErrorContains(t, err, reason)
			_, err = session.Audit(t.Context())
			require.ErrorContains(t, err, reason)
		}
	}
}

func TestGenerateKey(t *testing.T) {
	generated := encsession.GenerateKey()
	require.NotEqual(t, generated, encsession.GenerateKey())
	decoded, err := fernet.DecodeKey(generated)
	require.NoError(t, err)
	key, err := encsession.ParsePythonKey(generated)
	require.NoError(t, err)
	requireIKM(t, decoded[:], key)
}

func TestSessionIDIsChecked(t *testing.T) {
	for id, reason := range map[string]string{"": "empty", "a\xff": "not UTF-8", "user-1\x00": "U+0000"} {
		_, err := encsession.NewSealer(id, ringOf(testKey(t, 0)), encsession.NoExpiry)
		require.ErrorContains(t, err, reason)
		_, err = encsession.New(encsession.NewMemorySession(id), testKey(t, 0))
		require.ErrorContains(t, err, reason)
		_, err = encsession.New(encsession.NewMemorySession("good"), testKey(t, 0), encsession.WithSessionID(id))
		require.ErrorContains(t, err, reason)
	}
}

func TestZeroKeyIsRefused(t *testing.T) {
	_, err := encsession.NewSealer(sessionID, encsession.Keyring{}, encsession.NoExpiry)
	require.ErrorContains(t, err, "zero Key")
	_, err = encsession.NewSealer(sessionID, ringOf(testKey(t, 0), testKey(t, 1), encsession.Key{}), encsession.NoExpiry)
	require.ErrorContains(t, err, "older key 1: key is the zero Key")
	_, err = encsession.New(encsession.NewMemorySession(sessionID), encsession.Key{})
	require.ErrorContains(t, err, "zero Key")
}

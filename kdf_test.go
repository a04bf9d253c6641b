package encsession_test

import (
	"encoding/base64"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/fernet/fernet-go"
	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// requireIKM proves which secret a Key stands for: the test derives from it by itself and opens what the Key seals.
func requireIKM(t *testing.T, ikm []byte, key encsession.Key) {
	t.Helper()
	sealer, err := encsession.NewSealer(sessionID, encsession.NoExpiry, key)
	require.NoError(t, err)
	opened, err := sealer.Open(newForger(ikm, sessionID).envelope(0, `{"a":1}`))
	require.NoError(t, err)
	require.Equal(t, `{"a":1}`, string(opened))
}

func TestParseKey(t *testing.T) {
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
			key, err := encsession.ParseKey(tt.key)
			require.NoError(t, err)
			requireIKM(t, tt.ikm, key)
		})
	}
}

func TestParseKeyRefuses(t *testing.T) {
	for _, key := range []string{"", "\xff", "a secret and \xc3"} {
		_, err := encsession.ParseKey(key)
		require.Error(t, err)
		require.NotErrorIs(t, err, encsession.ErrAmbiguousKey)
		require.NotContains(t, err.Error(), "a secret")
	}
}

func TestParseKeyAmbiguous(t *testing.T) {
	for _, v := range readVectors(t).AmbiguousKeys {
		t.Run(v.Desc, func(t *testing.T) {
			_, err := encsession.ParseKey(v.Key)
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

// pythonDecode is base64.urlsafe_b64decode as its three generations do it: a loop over the characters with the position
// in a group of four and the padding so far. It returns nil where Python raises an error.
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

// pythonKey is what Python takes from a string, and false where its generations disagree.
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

func checkParseKey(t *testing.T, s string) {
	t.Helper()
	key, err := encsession.ParseKey(s)
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

func TestParseKeyAgreesWithPython(t *testing.T) {
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
		checkParseKey(t, string(key))
	}
}

func FuzzParseKey(f *testing.F) {
	v := readVectors(f)
	for _, e := range v.Envelopes {
		f.Add(e.Key)
	}
	for _, k := range v.AmbiguousKeys {
		f.Add(k.Key)
	}
	f.Add("")
	f.Add("\xff")
	f.Fuzz(func(t *testing.T, s string) { checkParseKey(t, s) })
}

func TestNewKey(t *testing.T) {
	secret := []byte("0123456789abcdefghijklmnopqrstuv")
	key, err := encsession.NewKey(secret)
	require.NoError(t, err)
	ikm := string(secret)
	clear(secret) // the key has a copy
	requireIKM(t, []byte(ikm), key)

	for _, size := range []int{0, 31, 33, 64} {
		_, err := encsession.NewKey(make([]byte, size))
		require.ErrorContains(t, err, "not 32")
	}
}

func TestGenerateKey(t *testing.T) {
	generated := encsession.GenerateKey()
	require.NotEqual(t, generated, encsession.GenerateKey())
	decoded, err := fernet.DecodeKey(generated)
	require.NoError(t, err)
	key, err := encsession.ParseKey(generated)
	require.NoError(t, err)
	requireIKM(t, decoded[:], key)
}

func TestSessionIDIsChecked(t *testing.T) {
	for id, reason := range map[string]string{"": "empty", "a\xff": "not UTF-8", "user-1\x00": "U+0000"} {
		_, err := encsession.NewSealer(id, encsession.NoExpiry, testKey(t, 0))
		require.ErrorContains(t, err, reason)
		_, err = encsession.New(encsession.NewMemorySession(id), testKey(t, 0))
		require.ErrorContains(t, err, reason)
		_, err = encsession.New(encsession.NewMemorySession("good"), testKey(t, 0), encsession.WithSessionID(id))
		require.ErrorContains(t, err, reason)
	}
}

func TestZeroKeyIsRefused(t *testing.T) {
	_, err := encsession.NewSealer(sessionID, encsession.NoExpiry, encsession.Key{})
	require.ErrorContains(t, err, "zero Key")
	_, err = encsession.NewSealer(sessionID, encsession.NoExpiry, testKey(t, 0), testKey(t, 1), encsession.Key{})
	require.ErrorContains(t, err, "read key 1: key is the zero Key")
	_, err = encsession.New(encsession.NewMemorySession(sessionID), encsession.Key{})
	require.ErrorContains(t, err, "zero Key")
}

package interop

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/fernet/fernet-go"
	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// morePythonsEnv lists further interpreters outside the usual places, with
// colons between them.
const morePythonsEnv = "ENCSESSION_PYTHONS"

// TestParsePythonKeyAgreesWithEveryPython gives the same strings to
// ParsePythonKey and to the real function of the SDK, in every Python that it
// can find. Python decodes base64 in one of three ways, and ParsePythonKey
// returns the key on which they agree. This file states the rules of the three
// ways once more. The test checks each Python against the rules of its
// generation. So if ParsePythonKey calls a key ambiguous, the rules decide
// whether it is.
func TestParsePythonKeyAgreesWithEveryPython(t *testing.T) {
	p := startPython(t)
	var source string
	require.NoError(t, p.call(request{"do": "key_function"}, &source))
	keys := masterKeys(20_000)
	decoded := map[generation][]*string{}
	for _, g := range generations {
		for _, key := range keys {
			decoded[g] = append(decoded[g], g.decode(key))
		}
	}

	tried := map[generation][]string{}
	var mu sync.Mutex // of tried
	t.Run("in", func(t *testing.T) {
		for version, p := range everyPython(t) {
			t.Run("Python "+version, func(t *testing.T) {
				t.Parallel()
				g := generationOf(t, version)
				requireDecoded(t, &python{process: p, t: t}, source, keys, decoded[g])
				mu.Lock()
				defer mu.Unlock()
				tried[g] = append(tried[g], version)
			})
		}
		t.Run("Go", func(t *testing.T) {
			t.Parallel()
			requireParsed(t, keys, decoded)
		})
	})
	for _, g := range generations {
		t.Logf("generation %s: tried in Python %v", g, tried[g])
	}
}

// requireParsed checks ParsePythonKey against the generations. It must return
// the key on which they agree, and an error if they do not. The generations
// must agree on every key that ParseKey takes.
func requireParsed(t *testing.T, keys []string, decoded map[generation][]*string) {
	ambiguous, strict := 0, 0
	for i, key := range keys {
		a, b, c := decoded["A"][i], decoded["B"][i], decoded["C"][i]
		if parsed, err := encsession.ParseKey(key); err == nil {
			strict++
			require.True(t, a != nil && same(a, b) && same(b, c), "%q", key)
			require.NoError(t, checkSecret(parsed, key, a), "%q", key)
		}
		parsed, err := encsession.ParsePythonKey(key)
		if !same(a, b) || !same(b, c) {
			ambiguous++
			if !errors.Is(err, encsession.ErrAmbiguousKey) {
				require.ErrorIs(t, err, encsession.ErrAmbiguousKey, "%q", key)
			}
			continue
		}
		if err == nil {
			err = checkSecret(parsed, key, a)
		}
		if err != nil {
			require.NoError(t, err, "%q", key)
		}
	}
	t.Logf("of %d strings, %d are ambiguous, and %d are Fernet keys", len(keys), ambiguous, strict)
	require.Greater(t, strict, len(keys)/100, "the strings are not near the edges")
	require.Greater(t, ambiguous, len(keys)/100, "the strings are not near the edges")
	require.Less(t, ambiguous, len(keys)/2, "the strings are not near the edges")
}

// requireDecoded checks that a Python decodes keys as want says.
func requireDecoded(t *testing.T, p *python, source string, keys []string, want []*string) {
	const batch = 10_000
	for keys := range slices.Chunk(keys, batch) {
		var got []*string
		require.NoError(t, p.call(request{"do": "keys", "source": source, "keys": keys}, &got))
		require.Equal(t, len(keys), len(got))
		for i, key := range keys {
			if !same(want[i], got[i]) {
				require.Equal(t, want[i], got[i], "%q", key)
			}
		}
		want = want[len(keys):]
	}
}

func same(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }

// checkSecret checks that a key parsed from s has the secret in decoded, or is s
// as a raw secret. A Key does not show its secret, but it has a fingerprint, and
// it opens items that are sealed under it. The latter takes longest, so that is
// tried with one secret in eight, chosen by its last bits.
func checkSecret(key encsession.Key, s string, decoded *string) error {
	secret, fingerprint := []byte(s), "raw"
	if decoded != nil {
		secret, _ = hex.DecodeString(*decoded)
		same, err := encsession.NewKey(secret)
		if err != nil {
			return err
		}
		fingerprint = same.Fingerprint()
	}
	if key.Fingerprint() != fingerprint {
		return fmt.Errorf("the fingerprint is %s, not %s", key.Fingerprint(), fingerprint)
	}
	if secret[len(secret)-1]%8 != 0 {
		return nil
	}
	sealer, err := encsession.NewSealer(sessionID, encsession.Keyring{Current: key}, encsession.NoExpiry)
	if err != nil {
		return err
	}
	_, err = sealer.Open(sealUnder(secret, "{}"))
	return err
}

// sealUnder returns an envelope round any payload. It makes the envelope as the
// SDK does, without encsession.
func sealUnder(secret []byte, payload string) encsession.Item {
	derived, err := hkdf.Key(sha256.New, secret, []byte(sessionID), "agents.session-store.hkdf.v1", 32)
	if err != nil {
		panic(err) // only for a key of absurd length
	}
	token, err := fernet.EncryptAndSign([]byte(payload), (*fernet.Key)(derived))
	if err != nil {
		panic(err) // only without random numbers
	}
	return encsession.Item(`{"__enc__":1,"v":1,"kid":"hkdf-v1","payload":"` + string(token) + `"}`)
}

// generation is a family of Python versions that decode base64 alike. All of
// them require ASCII, and skip characters that are neither in the alphabet nor
// "=".
type generation string

var generations = []generation{"A", "B", "C"}

// generationOf returns the generation of a version of Python.
func generationOf(t testing.TB, version string) generation {
	var major, minor, micro int
	_, err := fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &micro)
	require.NoError(t, err)
	switch {
	case minor >= 15:
		return "C"
	case minor == 14 && micro >= 4, minor == 13 && micro >= 13:
		return "B"
	}
	return "A"
}

// digits are the digits of base64, the URL-safe ones first. Python takes both
// kinds at once.
const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/"

var urlSafe = func() (table [utf8.RuneSelf]byte) {
	for i, c := range []byte(digits) {
		table[c] = digits[i]
		if i >= 64 {
			table[c] = digits[i-2]
		}
	}
	return table
}()

// decode returns the 32 bytes that s stands for, in hexadecimal. It returns nil
// if s is a raw secret.
func (g generation) decode(s string) *string {
	var found []byte
	padding := 0 // since the last digit
	stopped := false
	for _, c := range []byte(s) {
		if c >= utf8.RuneSelf {
			return nil
		}
		if stopped {
			continue
		}
		if c == '=' {
			padding++
			// The first generation stops as soon as padding completes a group
			// of four.
			over := len(found) % 4
			stopped = g == "A" && over >= 2 && over+padding >= 4
		} else if digit := urlSafe[c]; digit != 0 {
			found = append(found, digit)
			padding = 0
		}
	}
	complete := g == "A" && stopped ||
		g == "B" && padding > 0 || // the second wants padding behind everything
		g == "C" // the third does not care
	if !complete || len(found) != 43 {
		return nil
	}
	decoded, err := base64.RawURLEncoding.DecodeString(string(found))
	if err != nil {
		return nil
	}
	text := hex.EncodeToString(decoded)
	return &text
}

// masterKeys makes strings that are nearly Fernet keys, and others that people
// might take for a key.
func masterKeys(count int) []string {
	random := rand.New(rand.NewPCG(6, 1))
	pieces := []string{
		"=", "==", "===", "====", "A", "Ab", "Abc", "Abcd", "A=", "AB==", "ABC=", "+", "/", "-", "_", "+/", "-_",
		" ", "  ", "\n", "\r\n", "\t", "\x00", "\x7f", "\v", `"`, "'", "`", `""`, "\\", "\\n", ".", ",", ":", ";", "!", "%3D", "&", "*", "~",
		"é", "ß", "\u00a0", "\u2028", "\ufeff", "А", "＝", "😀", "\U0010ffff", "key=", "b'", "0x",
	}
	piece := func() string { return pieces[random.IntN(len(pieces))] }
	keys := make([]string, 0, count)
	for len(keys) < count {
		size := 32
		if random.IntN(4) == 0 {
			size = 28 + random.IntN(9)
		}
		secret := make([]byte, size)
		for i := range secret {
			secret[i] = byte(random.Uint32())
		}
		encoding := base64.URLEncoding
		if random.IntN(3) == 0 {
			encoding = base64.StdEncoding
		}
		key := encoding.EncodeToString(secret)
		switch random.IntN(12) {
		case 0:
			key = hex.EncodeToString(secret)
		case 1:
			key = string(secret) // rarely UTF-8
		case 2:
			key = key[:random.IntN(len(key)+1)]
		case 3:
			key = strings.TrimRight(key, "=")
		case 4: // with other spare bits in the last digit
			if last := strings.LastIndexByte(key, '='); last > 1 {
				key = key[:last-1] + string(digits[random.IntN(64)]) + key[last:]
			}
		}
		for range random.IntN(4) { // garbage: before, behind, or anywhere
			at := []int{0, len(key), len(key), random.IntN(len(key) + 1)}[random.IntN(4)]
			key = key[:at] + piece() + key[at:]
		}
		if random.IntN(10) == 0 && key != "" { // a byte lost
			at := random.IntN(len(key))
			key = key[:at] + key[at+1:]
		}
		if key != "" && utf8.ValidString(key) { // ParsePythonKey refuses others, and Go's JSON cannot carry them
			keys = append(keys, key)
		}
	}
	return keys
}

// everyPython starts one Python of each version from 3.10 on. It takes the one
// of the tests, those on PATH, those of pyenv, and those that the environment
// lists. The Pythons that the environment names must work.
func everyPython(t *testing.T) map[string]*process {
	named := append(filepath.SplitList(os.Getenv(morePythonsEnv)), os.Getenv(pythonEnv))
	found := map[string]*process{}
	for i, interpreter := range append(named, guessPythons(t)...) {
		p, version, err := startVersion(interpreter)
		if i < len(named) {
			require.NoError(t, err, "%s", interpreter)
		}
		if err != nil { // a shim of pyenv for a version that is not chosen, or an old Python
			continue
		}
		var major, minor int
		_, err = fmt.Sscanf(version, "%d.%d", &major, &minor)
		require.NoError(t, err)
		if found[version] != nil || minor < 10 {
			require.NoError(t, p.stop())
			continue
		}
		found[version] = p
		t.Cleanup(func() { require.NoError(t, p.stop()) })
	}
	return found
}

func guessPythons(t *testing.T) []string {
	var paths []string
	for _, name := range []string{"python3", "python3.10", "python3.11", "python3.12", "python3.13", "python3.14", "python3.15"} {
		for _, folder := range filepath.SplitList(os.Getenv("PATH")) {
			if path, err := exec.LookPath(filepath.Join(folder, name)); err == nil {
				paths = append(paths, path)
			}
		}
	}
	root := os.Getenv("PYENV_ROOT")
	if home, err := os.UserHomeDir(); err == nil && root == "" {
		root = filepath.Join(home, ".pyenv")
	}
	ofPyenv, err := filepath.Glob(filepath.Join(root, "versions", "*", "bin", "python"))
	require.NoError(t, err)
	return append(paths, ofPyenv...)
}

// startVersion starts a Python and asks for its version, such as 3.12.1.
func startVersion(interpreter string) (*process, string, error) {
	p, err := start(interpreter)
	if err != nil {
		return nil, "", err
	}
	answer, err := p.exchange(request{"do": "version"})
	if err != nil {
		return nil, "", errors.Join(err, p.stop())
	}
	var version string
	err = json.Unmarshal(answer, &version)
	return p, version, err
}

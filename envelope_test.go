package encsession_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/fernet/fernet-go"
	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// invalidItems are not JSON objects in valid UTF-8.
var invalidItems = map[string]encsession.Item{
	"nil":           nil,
	"empty":         {},
	"white space":   encsession.Item(" "),
	"null":          encsession.Item("null"),
	"array":         encsession.Item(`[{"secret":1}]`),
	"string":        encsession.Item(`"secret"`),
	"number":        encsession.Item("12"),
	"truncated":     encsession.Item(`{"secret":`),
	"NaN":           encsession.Item(`{"secret":NaN}`),
	"two objects":   encsession.Item(`{"secret":1}{}`),
	"bad UTF-8":     encsession.Item("{\"secret\":\"\xff\"}"),
	"byte order":    encsession.Item("\ufeff{}"),
	"too deep":      encsession.Item(strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000)),
	"single quotes": encsession.Item(`{'secret':1}`),
}

// hostileEnvelopes returns stored items that a reader with the key of sessionID
// under testIKM(0) must leave out, each with the reason.
func hostileEnvelopes() map[string]struct {
	stored encsession.Item
	cause  error
} {
	f := newForger(testIKM(0), sessionID)
	good := encode(f.token(0, []byte(`{"secret":1}`)))
	cases := map[string]struct {
		stored encsession.Item
		cause  error
	}{}
	add := func(cause error, name, stored string) {
		if _, twice := cases[name]; twice {
			panic("two cases of the name " + name)
		}
		cases[name] = struct {
			stored encsession.Item
			cause  error
		}{encsession.Item(stored), cause}
	}
	malformed, undecryptable := encsession.ErrMalformed, encsession.ErrUndecryptable

	// Members.
	members := []string{`"__enc__":1`, `"v":1`, `"kid":"hkdf-v1"`, `"payload":"` + good + `"`}
	join := func(members ...string) string { return "{" + strings.Join(members, ",") + "}" }
	for i, member := range members[1:] {
		add(malformed, "without "+member[:5], join(slices.Delete(slices.Clone(members), i+1, i+2)...))
	}
	values := []string{`null`, `true`, `false`, `2`, `0`, `-1`, `1.0`, `1e0`, `"1"`, `1.5`, `[]`, `[1]`, `{}`, `""`, `"hkdf-v2"`, `"HKDF-V1"`, `"hkdf-v1 "`}
	for i, name := range []string{"__enc__", "v", "kid", "payload"} {
		for _, value := range values {
			changed := slices.Clone(members)
			changed[i] = fmt.Sprintf("%q:%s", name, value)
			add(malformed, name+" is "+value, join(changed...))
			// Of duplicate members the last one counts, wherever it stands.
			add(malformed, name+" again as "+value, join(append(slices.Clone(members), changed[i])...))
		}
	}
	add(malformed, "v in another case", join(members[0], `"V":1`, members[2], members[3]))
	add(malformed, "kid in another case", join(members[0], members[1], `"Kid":"hkdf-v1"`, members[3]))
	add(malformed, "payload in another case", join(members[0], members[1], members[2], `"PAYLOAD":"`+good+`"`))
	add(malformed, "nothing but the marker", `{"__enc__":1}`)
	add(malformed, "the marker escaped", `{"\u005f_enc__":1}`)

	// Tokens that are not canonical base64, or too short, or of another
	// version.
	raw := f.token(0, []byte(`{"secret":1}`))
	for len(encode(raw))-len(strings.TrimRight(encode(raw), "=")) != 2 { // a token that ends in "==", so in spare bits
		raw = f.token(0, bytes.Repeat([]byte{' '}, len(raw))) // so the sizes modulo 3 vary
	}
	token := encode(raw)
	spare := strings.TrimRight(token, "=")
	spare = spare[:len(spare)-1] + string(spare[len(spare)-1]+1) + "=="
	for name, changed := range map[string]string{
		"line break":            token[:76] + `\n` + token[76:],
		"line break at the end": token + `\n`,
		"CR LF inside":          token[:76] + `\r\n` + token[76:],
		"CR LF in the padding":  token[:len(token)-1] + `\r\n=`,
		"space":                 token[:20] + " " + token[20:],
		"space in front":        " " + token,
		"other alphabet +":      token[:20] + "++++" + token[24:],
		"other alphabet /":      token[:20] + "////" + token[24:],
		"no padding":            strings.TrimRight(token, "="),
		"half the padding":      strings.TrimSuffix(token, "="),
		"more padding":          token + "==",
		"padding inside":        token[:20] + "====" + token[24:],
		"something behind":      token + "AAAA",
		"one character behind":  token + "A",
		"a token behind":        token + token,
		"spare bits set":        spare,
		"not ASCII":             token[:20] + "é" + token[22:],
		"one character":         "A",
		"padding only":          "====",
		"eight characters":      "gAAAAAAA",
		"NUL":                   token[:20] + `\u0000` + token[21:],
	} {
		add(malformed, "token: "+name, string(envelope(changed)))
	}
	add(malformed, "token: quote inside", string(envelope(token[:20]+`"`+token[21:])))
	add(malformed, "token: raw line break", string(envelope(token[:20]+"\n"+token[20:])))
	add(malformed, "token: member inside", string(envelope(token+`","v":2,"w":"`)))

	iv := make([]byte, 16)
	block := make([]byte, 16)
	for _, version := range []byte{0, 0x7f, 0x81, 0xff} {
		add(malformed, fmt.Sprintf("token: version %#x", version), string(envelope(encode(f.signed(version, 0, iv, block)))))
	}
	add(malformed, "token: authentic, empty body", string(envelope(encode(f.signed(0x80, 0, iv, nil)))))
	add(malformed, "token: authentic, no IV", string(envelope(encode(f.signed(0x80, 0, nil, nil)))))
	add(malformed, "token: authentic, half an IV", string(envelope(encode(f.signed(0x80, 0, iv[:8], nil)))))
	for _, n := range []int{1, 8, 15, 17, 31} {
		add(malformed, fmt.Sprintf("token: authentic, body of %d bytes", n), string(envelope(encode(f.signed(0x80, 0, iv, make([]byte, n))))))
	}

	// Tokens that are well formed but not authentic.
	for name, at := range map[string]int{"time": 8, "IV": 9, "ciphertext": 25, "signature": len(raw) - 1} {
		altered := slices.Clone(raw)
		altered[at] ^= 1
		add(undecryptable, "token: altered "+name, string(envelope(encode(altered))))
	}
	add(undecryptable, "token: another session", string(newForger(testIKM(0), "user-124").envelope(0, `{"secret":1}`)))
	add(undecryptable, "token: another key", string(newForger(testIKM(1), sessionID).envelope(0, `{"secret":1}`)))
	add(undecryptable, "token: zeros", string(envelope(encode(append([]byte{0x80}, make([]byte, 72)...)))))
	// Padding that pyca/cryptography refuses. fernet-go takes some of it.
	for name, padded := range map[string][]byte{
		"0":                []byte("{\"secret\":1}   \x00"),
		"17":               bytes.Repeat([]byte{17}, 32),
		"32, two blocks":   append([]byte(`{"secret": 1   }`), bytes.Repeat([]byte{32}, 32)...),
		"255":              bytes.Repeat([]byte{255}, 272),
		"not equal":        []byte("{\"secret\":1}\x04\x03\x04\x04"),
		"longer than body": bytes.Repeat([]byte{200}, 16),
	} {
		add(undecryptable, "token: authentic, padding "+name, string(envelope(encode(f.padded(0, padded)))))
	}

	// Authentic payloads that cannot be an item.
	for name, item := range invalidItems {
		add(malformed, "payload: "+name, string(f.envelope(0, string(item))))
	}

	// Stored bytes that are not a JSON object.
	for name, item := range invalidItems {
		add(malformed, "stored: "+name, string(item))
	}
	add(malformed, "stored: envelope, then something", string(envelope(good))+"x")
	add(malformed, "stored: envelope and bad UTF-8", strings.Replace(string(envelope(good)), `{`, "{\"\xff\":1,", 1))
	add(malformed, "stored: envelope in an array", "["+string(envelope(good))+"]")
	add(malformed, "stored: half an envelope", string(envelope(good))[:100])
	return cases
}

func TestHostileEnvelopes(t *testing.T) {
	f := newForger(testIKM(0), sessionID)
	for name, tt := range hostileEnvelopes() {
		t.Run(name, func(t *testing.T) {
			sealer := newSealer(t, testKey(t, 0), testKey(t, 2))
			item, err := sealer.Open(tt.stored)
			require.Nil(t, item)
			require.ErrorIs(t, err, tt.cause)
			require.NotContains(t, err.Error(), "secret")
			for _, other := range []error{encsession.ErrExpired, encsession.ErrFuture, encsession.ErrUndecryptable, encsession.ErrMalformed, encsession.ErrPlaintext} {
				require.Equal(t, other == tt.cause, errors.Is(err, other))
			}

			// The item does no harm to its neighbours, and a read drops it for
			// the same reason.
			store := &rawStore{items: []encsession.Item{f.envelope(0, `{"n":1}`), tt.stored, f.envelope(0, `{"n":2}`)}}
			store.MemorySession = encsession.NewMemorySession(sessionID)
			var log dropLog
			session := newSession(t, store, testKey(t, 0), encsession.WithTTL(encsession.NoExpiry), log.option())
			require.Equal(t, []string{`{"n":1}`, `{"n":2}`}, getItems(t, session, 0))
			log.requireDrops(t, tt.cause)
			require.Equal(t, []string{`{"n":1}`, `{"n":2}`}, getItems(t, session, 2))
			log.requireDrops(t, tt.cause)
			require.Equal(t, []string{`{"n":2}`}, getItems(t, session, 1))
			log.requireDrops(t)
		})
	}
}

// TestEnvelopesOfAnyLayout writes one token in every way that JSON allows.
func TestEnvelopesOfAnyLayout(t *testing.T) {
	token := encode(newForger(testIKM(0), sessionID).token(0, []byte(`{"n":1}`)))
	escaped := ""
	for _, c := range token {
		escaped += fmt.Sprintf(`\u%04x`, c)
	}
	for name, stored := range map[string]string{
		"compact":         `{"__enc__":1,"v":1,"kid":"hkdf-v1","payload":"` + token + `"}`,
		"spaced":          `{"__enc__": 1, "v": 1, "kid": "hkdf-v1", "payload": "` + token + `"}`,
		"other order":     `{"payload":"` + token + `","kid":"hkdf-v1","v":1,"__enc__":1}`,
		"white space":     "\t\r\n { \"__enc__\" :\n1 , \"v\":1,\"kid\":\"hkdf-v1\",\"payload\":\"" + token + "\" } \n",
		"more members":    `{"__enc__":1,"v":1,"kid":"hkdf-v1","x":{"__enc__":2},"payload":"` + token + `","y":[1]}`,
		"names escaped":   `{"\u005f_enc__":1,"\u0076":1,"ki\u0064":"hkdf-v1","p\u0061yload":"` + token + `"}`,
		"values escaped":  `{"__enc__":1,"v":1,"kid":"\u0068kdf-v1","payload":"` + escaped + `"}`,
		"last duplicates": `{"__enc__":2,"__enc__":1,"v":"x","v":1,"kid":1,"kid":"hkdf-v1","payload":"x","payload":"` + token + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			item, err := newSealer(t, testKey(t, 0)).Open(encsession.Item(stored))
			require.NoError(t, err)
			require.Equal(t, `{"n":1}`, string(item))
		})
	}
}

// plaintextItems look like envelopes but are not.
var plaintextItems = []string{
	`{}`,
	`{"role":"user","content":"__enc__"}`,
	`{"content":"{\"__enc__\":1}"}`,
	`{"nested":{"__enc__":1,"v":1,"kid":"hkdf-v1","payload":"x"}}`,
	`{"list":[{"__enc__":1}]}`,
	`{"__ENC__":1,"v":1,"kid":"hkdf-v1","payload":"x"}`,
	`{"__Enc__":1}`,
	`{"__enc":1,"enc__":1,"__enc__ ":1,"":"__enc__"}`,
	"  {\"a\":1}\n",
}

func TestPlaintext(t *testing.T) {
	for _, stored := range plaintextItems {
		sealer := newSealer(t, testKey(t, 0))
		item, err := sealer.Open(encsession.Item(stored))
		require.Nil(t, item)
		require.ErrorIs(t, err, encsession.ErrPlaintext, stored)
		sealed, changed, err := sealer.Reseal(encsession.Item(stored))
		require.Nil(t, sealed)
		require.False(t, changed)
		require.ErrorIs(t, err, encsession.ErrPlaintext, stored)
	}
}

// requireOneCause requires either an item, or exactly one of the errors of Open
// and no item.
func requireOneCause(t *testing.T, item encsession.Item, err error) {
	t.Helper()
	if err == nil {
		require.True(t, json.Valid(item) && bytes.HasPrefix(bytes.TrimLeft(item, " \t\r\n"), []byte("{")), "%q", item)
		return
	}
	require.Nil(t, item)
	causes := 0
	for _, cause := range []error{encsession.ErrExpired, encsession.ErrFuture, encsession.ErrUndecryptable, encsession.ErrMalformed, encsession.ErrPlaintext} {
		if errors.Is(err, cause) {
			causes++
		}
	}
	require.Equal(t, 1, causes, "%v", err)
}

// requireOpen requires Open and Reseal to judge stored as the forger does,
// whose code is as plain as can be.
func requireOpen(t *testing.T, sealer *encsession.Sealer, forge forger, stored encsession.Item) {
	t.Helper()
	payload, cause := forge.open(stored)
	_, _, err := sealer.Reseal(stored)
	require.Equal(t, payload != nil, err == nil, "%q: %v", stored, err)
	item, err := sealer.Open(stored)
	requireOneCause(t, item, err)
	if cause != nil {
		require.ErrorIs(t, err, cause, "%q", stored)
		return
	}
	require.NoError(t, err, "%q", stored)
	require.Equal(t, string(payload), string(item))
}

// TestAlteredBase64 inserts, removes and replaces characters of all kinds, in
// many places of authentic tokens. A decoder may stop at such a character or
// skip it, so the decoded bytes have every size.
func TestAlteredBase64(t *testing.T) {
	needsNoRaceDetector(t)
	forge := newForger(testIKM(0), sessionID)
	sealer := newSealer(t, testKey(t, 0))
	for _, padded := range []string{
		`{"n":"a"}` + strings.Repeat("\x07", 7),
		`{"n":"12345678"}` + strings.Repeat("\x10", 16),
		`{"n":123}      ` + "\x00", // no padding, which fernet-go takes: a missing block would look like one of padding
		`{"n":"1234567890123456789"}    ` + "\x00",
		`{"n":"1234567890123456789012345678901234567890"}`[:47] + "\x00",
		`{"n":"` + strings.Repeat("1", 87) + `"}` + "\x00",
		`{"n":"` + strings.Repeat("1", 103) + `"}` + "\x00",
		`{"n":123}      ` + "\x00" + strings.Repeat("\x10", 16), // authentic, but not JSON
	} {
		token := encode(forge.padded(0, []byte(padded)))
		requireOpen(t, sealer, forge, envelope(token))
		if last := strings.TrimRight(token, "="); last != token { // spare bits
			requireOpen(t, sealer, forge, envelope(last[:len(last)-1]+string(last[len(last)-1]+1)+token[len(last):]))
		}
		end := len(token)
		for _, at := range []int{0, 1, 4, 50, 96, 98, 99, 100, 101, end - 33, end - 32, end - 25, end - 24, end - 20, end - 4, end - 3, end - 2, end - 1, end} {
			if at < 0 || at > end {
				continue
			}
			for n := 1; n <= 26; n++ { // a block is 20 to 24 characters
				for _, junk := range []string{"!", "\n", "\r", `\n`, `\r`, "=", "A", "\\", `\u0041`, `"`, " ", "é"} {
					requireOpen(t, sealer, forge, envelope(token[:at]+strings.Repeat(junk, n)+token[at:]))
				}
				for _, tail := range []string{"AAAA", "AAA=", "AA=="} {
					requireOpen(t, sealer, forge, envelope(token[:at]+strings.Repeat("!", n)+tail))
				}
				if at+n <= end {
					requireOpen(t, sealer, forge, envelope(token[:at]+token[at+n:]))
					requireOpen(t, sealer, forge, envelope(token[:at]+strings.Repeat("!", n)+token[at+n:]))
				}
			}
		}
	}
}

// TestShortTokensInDisguise takes authentic tokens that are too short, and
// lengthens them to the size of whole tokens. fernet-go can panic on these.
func TestShortTokensInDisguise(t *testing.T) {
	needsNoRaceDetector(t)
	forge := newForger(testIKM(0), sessionID)
	sealer := newSealer(t, testKey(t, 0))
	for n := range 48 {
		token := encode(forge.signed(0x80, 0, make([]byte, n), nil))
		for _, junk := range []string{"\n", "\r", "!", "="} {
			for _, length := range []int{len(token), 72, 76, 80, 92, 96, 100, 104, 112, 116, 120, 121, 124, 140, 144, 164} {
				if length < len(token) {
					continue
				}
				for _, tail := range []string{"", "AAAA", "AAA=", "AA=="} {
					requireOpen(t, sealer, forge, envelope(token+strings.Repeat(junk, length-len(token))+tail))
					if length > 100 {
						requireOpen(t, sealer, forge, envelope(token+strings.Repeat(junk, max(0, 100-len(token)))+strings.Repeat("!", length-100)+tail))
					}
				}
			}
		}
	}
}

// requireMalformed requires Open and Reseal to return ErrMalformed for stored.
func requireMalformed(t *testing.T, sealer *encsession.Sealer, stored encsession.Item) {
	t.Helper()
	item, err := sealer.Open(stored)
	if item != nil || !errors.Is(err, encsession.ErrMalformed) {
		require.Fail(t, "not malformed", "%q: %v", stored, err)
	}
	if _, _, err := sealer.Reseal(stored); !errors.Is(err, encsession.ErrMalformed) {
		require.Fail(t, "resealed", "%q: %v", stored, err)
	}
}

// TestATokenNeedsItsEnvelope damages the head and the tail of both layouts. The
// token in them is always good.
func TestATokenNeedsItsEnvelope(t *testing.T) {
	const compact = `{"__enc__":1,"v":1,"kid":"hkdf-v1","payload":"`
	const spaced = `{"__enc__": 1, "v": 1, "kid": "hkdf-v1", "payload": "`
	const tail = `"}`
	forge := newForger(testIKM(0), sessionID)
	sealer := newSealer(t, testKey(t, 0))
	token := encode(forge.token(0, []byte(`{"n":1}`)))
	check := func(stored string) { requireOpen(t, sealer, forge, encsession.Item(stored)) }
	bytes := strings.Split("\x00\t\n \"'\\/:;,.{}[]012-_AaEevV\x7f\x80\xff", "")
	for _, head := range []string{compact, spaced} {
		for i := range len(head) + 1 {
			if i > 0 {
				requireMalformed(t, sealer, encsession.Item(head[i:]+token+tail))
			}
			if i < len(head) {
				requireMalformed(t, sealer, encsession.Item(head[:i]+token+tail))
				check(head[:i] + head[i+1:] + token + tail)
				for _, c := range bytes {
					check(head[:i] + c + head[i+1:] + token + tail)
				}
			}
			for _, c := range bytes {
				check(head[:i] + c + head[i:] + token + tail)
			}
		}
		for _, end := range []string{"", `"`, "}", `"]`, `"}}`, `"}"}`, `" }`, `",}`, `"}` + "\n", `"}` + "\x00", `'}`, `","v":1}`, `","v":2}`, `","payload":1}`} {
			check(head + token + end)
		}
	}
	for _, stored := range []string{token, token + tail, `"` + token + `"`, `"` + token + tail, compact + token, "[" + compact + token + tail + "]"} {
		requireMalformed(t, sealer, encsession.Item(stored))
	}
	check(`{"payload":"` + token + tail)
	check(`{"kid":"hkdf-v1","payload":"` + token + tail)
	check(`{"__enc__":1,"v":1,"kid":"hkdf-v2","payload":"` + token + tail)
}

func TestTokensOfEveryLength(t *testing.T) {
	forge := newForger(testIKM(0), sessionID)
	sealer := newSealer(t, testKey(t, 0))
	long := encode(forge.token(0, bytes.Repeat([]byte("{"), 200)))
	for n := range 301 {
		// Text of this length, with padding and without.
		for _, text := range []string{strings.Repeat("A", n), strings.Repeat("gAAA", 76)[:n], long[:n], strings.Repeat("=", n), strings.Repeat("\u0000", n)} {
			requireOpen(t, sealer, forge, envelope(text))
			requireOpen(t, sealer, forge, envelope(text+"="))
			requireOpen(t, sealer, forge, envelope(text+"=="))
		}
		// Authentic tokens of n bytes, and with n bytes after the IV.
		signed := forge.signed(0x80, 0, nil, make([]byte, max(n-41, 0)))
		requireOpen(t, sealer, forge, envelope(encode(signed)))
		requireOpen(t, sealer, forge, envelope(encode(signed[:min(n, len(signed))])))
		requireOpen(t, sealer, forge, envelope(encode(forge.signed(0x80, 0, make([]byte, 16), make([]byte, n)))))

		// Payloads of n bytes.
		payload := bytes.Repeat([]byte{'x'}, n)
		opened, sealed, key, err := sealer.Authenticate(envelope(encode(forge.token(7, payload))))
		require.NoError(t, err)
		require.Equal(t, string(payload), string(opened))
		require.NotNil(t, opened, "authenticity is told by the error, and an empty payload is one")
		require.Equal(t, uint64(7), sealed)
		require.Equal(t, 0, key)
	}
}

// tokensOfEachPadding returns authentic tokens that end in no "=", in one and
// in two.
func tokensOfEachPadding(t *testing.T, forge forger) (tokens []string) {
	for n := range 3 {
		token := encode(forge.token(0, []byte(`{"n":"`+strings.Repeat("1", 16*n)+`"}`)))
		requireOpen(t, newSealer(t, testKey(t, 0)), forge, envelope(token))
		tokens = append(tokens, token)
	}
	for i, suffix := range []string{"==", "=", ""} {
		found := 0
		for _, token := range tokens {
			if strings.HasSuffix(token, suffix) && strings.Count(token, "=") == 2-i {
				found++
			}
		}
		require.Equal(t, 1, found)
	}
	return tokens
}

func TestNoByteOutsideTheAlphabetIsTaken(t *testing.T) {
	needsNoRaceDetector(t)
	forge := newForger(testIKM(0), sessionID)
	sealer := newSealer(t, testKey(t, 0))
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for i, token := range tokensOfEachPadding(t, forge) {
		start := 0
		if i > 0 { // the tokens differ only at the end
			start = len(token) - 4
		}
		for at := start; at < len(token); at++ {
			for c := range 256 {
				if strings.IndexByte(alphabet, byte(c)) >= 0 || token[at] == byte(c) {
					continue
				}
				requireMalformed(t, sealer, envelope(token[:at]+string([]byte{byte(c)})+token[at+1:]))
				if c < 0x80 { // past the JSON parser
					requireMalformed(t, sealer, envelope(token[:at]+fmt.Sprintf(`\u%04x`, c)+token[at+1:]))
				}
			}
		}
	}
}

func TestNoLineBreakIsTaken(t *testing.T) {
	needsNoRaceDetector(t)
	forge := newForger(testIKM(0), sessionID)
	sealer := newSealer(t, testKey(t, 0))
	for _, token := range tokensOfEachPadding(t, forge) {
		for at := range len(token) + 1 {
			for n := 1; n <= 8; n++ { // four make a whole group
				for _, line := range []string{"\n", "\r", `\n`, `\r`} {
					lines := strings.Repeat(line, n)
					requireMalformed(t, sealer, envelope(token[:at]+lines+token[at:]))
					if at+n <= len(token) {
						requireMalformed(t, sealer, envelope(token[:at]+lines+token[at+n:]))
					}
				}
			}
			for _, lines := range []string{"\r\n", `\r\n`, `\r\n\r\n`} {
				requireMalformed(t, sealer, envelope(token[:at]+lines+token[at:]))
			}
		}
	}
}

func TestPaddingIsOneToSixteenEqualBytes(t *testing.T) {
	needsNoRaceDetector(t)
	forge := newForger(testIKM(0), sessionID)
	sealer := newSealer(t, testKey(t, 0))
	open := func(padded []byte) ([]byte, error) {
		stored := envelope(encode(forge.padded(0, padded)))
		requireOpen(t, sealer, forge, stored)
		payload, _, _, err := sealer.Authenticate(stored)
		return payload, err
	}
	for n := range 256 {
		for _, size := range []int{16, 32, 272} {
			// All bytes are equal to the padding byte.
			payload, err := open(bytes.Repeat([]byte{byte(n)}, size))
			if n < 1 || n > 16 {
				require.ErrorIs(t, err, encsession.ErrUndecryptable, "padding of %d", n)
				require.Nil(t, payload)
				continue
			}
			require.NoError(t, err, "padding of %d", n)
			require.Len(t, payload, size-n)
			// One of the bytes is different.
			for at := max(size-20, 0); at < size; at++ {
				for _, c := range []byte{0, 1, 16, 17, byte(n - 1), byte(n + 1), byte(n ^ 0x80)} {
					padded := bytes.Repeat([]byte{byte(n)}, size)
					if padded[at] = c; int(c) == n || at == size-1 {
						continue
					}
					payload, err := open(padded)
					if at >= size-n {
						require.ErrorIs(t, err, encsession.ErrUndecryptable)
						continue
					}
					require.NoError(t, err)
					require.Equal(t, padded[:size-n], payload)
				}
			}
		}
		// Only the last byte is a padding byte.
		_, err := open(append(bytes.Repeat([]byte{'x'}, 31), byte(n)))
		require.Equal(t, n == 1, err == nil, "last byte %d", n)
	}
}

// TestTheFirstKeyThatHasSignedIsFinal uses two keys that sign alike and encrypt
// differently. Master keys never give such keys by chance.
func TestTheFirstKeyThatHasSignedIsFinal(t *testing.T) {
	var good, other fernet.Key
	copy(good[:], "the signing half"+"one of the ciphers")
	copy(other[:], "the signing half"+"another of ciphers")
	forge := forger{sign: good[:16], encrypt: good[16:]}
	for range 50 {
		stored := envelope(encode(forge.token(0, []byte(`{"n":1}`))))
		if _, cause := (forger{sign: other[:16], encrypt: other[16:]}).open(stored); !errors.Is(cause, encsession.ErrUndecryptable) {
			continue // by chance, one in 256 has good padding under the other key
		}
		payload, _, key, err := encsession.SealerOf(encsession.NoExpiry, good, other).Authenticate(stored)
		require.NoError(t, err)
		require.Equal(t, `{"n":1}`, string(payload))
		require.Equal(t, 0, key)
		payload, _, _, err = encsession.SealerOf(encsession.NoExpiry, other, good).Authenticate(stored)
		require.ErrorIs(t, err, encsession.ErrUndecryptable)
		require.Nil(t, payload)
	}
}

func TestBadPaddingUnderTheCurrentKey(t *testing.T) {
	current, older := newForger(testIKM(0), sessionID), newForger(testIKM(1), sessionID)
	for name, sealer := range map[string]*encsession.Sealer{
		"beside a good older key": newSealer(t, testKey(t, 0), testKey(t, 1)),
		"behind a good older key": newSealer(t, testKey(t, 1), testKey(t, 0)),
		"the same key twice":      newSealer(t, testKey(t, 0), testKey(t, 0), testKey(t, 1)),
	} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{16, 32, 64} {
				padded := bytes.Repeat([]byte{0}, size)
				stored := envelope(encode(current.padded(0, padded)))
				before := slices.Clone(stored)
				item, err := sealer.Open(stored)
				require.Nil(t, item)
				require.ErrorIs(t, err, encsession.ErrUndecryptable)
				sealed, changed, err := sealer.Reseal(stored)
				require.Nil(t, sealed)
				require.False(t, changed)
				require.ErrorIs(t, err, encsession.ErrUndecryptable)
				require.Equal(t, before, stored)
			}
			for _, forge := range []forger{current, older} {
				item, err := sealer.Open(forge.envelope(0, `{"n":1}`))
				require.NoError(t, err)
				require.Equal(t, `{"n":1}`, string(item))
			}
		})
	}
	_, _, key, err := newSealer(t, testKey(t, 0), testKey(t, 0)).Authenticate(current.envelope(0, `{}`))
	require.NoError(t, err)
	require.Equal(t, 0, key, "of two equal keys the current one counts")
}

// FuzzOpenLikeFernet compares with fernet-go, as far as fernet-go is right: for
// canonical base64 of whole blocks whose padding is 1 to 16 bytes. For other
// input, fernet-go decodes leniently, takes longer padding, and can panic.
func FuzzOpenLikeFernet(f *testing.F) {
	forge := newForger(testIKM(0), sessionID)
	key := fernet.Key(slices.Concat(forge.sign, forge.encrypt))
	for n := range 50 {
		f.Add(byte(0x80), uint64(n), bytes.Repeat([]byte{'1'}, n), byte(0), "", uint16(0), uint16(0))
	}
	f.Add(byte(0x80), uint64(0), bytes.Repeat([]byte{16}, 32), byte(1), "", uint16(0), uint16(0))
	f.Add(byte(0x80), uint64(0), bytes.Repeat([]byte{17}, 32), byte(1), "", uint16(0), uint16(0))
	f.Add(byte(0x80), uint64(0), bytes.Repeat([]byte{0}, 32), byte(1), "", uint16(0), uint16(0))
	f.Add(byte(0x80), uint64(0), []byte("any ciphertext"), byte(2), "", uint16(0), uint16(0))
	f.Add(byte(0x80), uint64(1), []byte("{}"), byte(0), "\n\n\n\n", uint16(50), uint16(0))
	f.Add(byte(0x80), uint64(1), []byte("{}"), byte(0), "AAAA", uint16(97), uint16(4))
	f.Add(byte(0x81), uint64(1), []byte("{}"), byte(0), "", uint16(0), uint16(0))
	sealer := encsession.SealerOf(encsession.NoExpiry, key)
	f.Fuzz(func(t *testing.T, version byte, sealed uint64, body []byte, kind byte, junk string, at, cut uint16) {
		var token []byte
		switch whole := body[:len(body)/16*16]; kind % 3 {
		case 0: // good padding
			token = forge.token(sealed, body)
			token = forge.signed(version, sealed, token[9:25], token[25:len(token)-32])
		case 1: // padding by chance
			token = forge.padded(sealed, whole)
		case 2: // any ciphertext
			token = forge.signed(version, sealed, make([]byte, 16), body)
		}
		text := encode(token)
		from := min(int(at), len(text))
		text = text[:from] + junk + text[min(from+int(cut), len(text)):]

		quoted, err := json.Marshal(text)
		require.NoError(t, err)
		stored := encsession.Item(`{"__enc__":1,"v":1,"kid":"hkdf-v1","payload":` + string(quoted) + "}")
		payload, _, _, err := sealer.Authenticate(stored)

		raw, decodeErr := base64.URLEncoding.DecodeString(text)
		if decodeErr != nil || encode(raw) != text || len(raw) < 73 || (len(raw)-57)%16 != 0 || raw[0] != 0x80 {
			require.ErrorIs(t, err, encsession.ErrMalformed, "%q", text)
			return
		}
		want := fernet.VerifyAndDecrypt([]byte(text), 0, []*fernet.Key{&key})
		if padding := len(raw) - 57 - len(want); want == nil || padding < 1 || padding > 16 {
			require.ErrorIs(t, err, encsession.ErrUndecryptable, "%q", text)
			return
		}
		require.NoError(t, err, "%q", text)
		require.Equal(t, string(want), string(payload))
	})
}

func FuzzOpen(f *testing.F) {
	v := readVectors(f)
	for _, e := range v.Envelopes {
		f.Add([]byte(e.Stored))
	}
	for _, tt := range hostileEnvelopes() {
		f.Add([]byte(tt.stored))
	}
	for _, item := range plaintextItems {
		f.Add([]byte(item))
	}
	f.Add([]byte(newForger(testIKM(0), sessionID).envelope(0, `{"n":1}`)))
	forge := newForger(testIKM(0), sessionID)
	sealer := newSealer(f, testKey(f, 0))
	f.Fuzz(func(t *testing.T, stored []byte) {
		before := slices.Clone(stored)
		requireOpen(t, sealer, forge, stored)
		item, err := sealer.Open(stored)
		_, _, resealErr := sealer.Reseal(stored)
		require.False(t, err == nil && resealErr != nil)
		require.Equal(t, before, stored)

		// In another layout the same JSON goes to the general parser, and the
		// result is the same.
		spaced := append([]byte(" "), stored...)
		again, errAgain := sealer.Open(spaced)
		require.Equal(t, err == nil, errAgain == nil, "%v / %v", err, errAgain)
		require.Equal(t, item, again)
		for _, cause := range []error{encsession.ErrUndecryptable, encsession.ErrMalformed, encsession.ErrPlaintext} {
			require.Equal(t, errors.Is(err, cause), errors.Is(errAgain, cause))
		}
	})
}

// FuzzOpenAuthentic signs any version, time, ciphertext and padding with the
// right key.
func FuzzOpenAuthentic(f *testing.F) {
	f.Add(byte(0x80), uint64(946684800), []byte(`{"n":1}`), []byte{9, 9, 9, 9, 9, 9, 9, 9, 9}, false, "", uint16(0))
	f.Add(byte(0x80), uint64(0), []byte(`NaN`), bytes.Repeat([]byte{13}, 13), false, "", uint16(0))
	f.Add(byte(0x80), uint64(math.MaxUint64), []byte{}, bytes.Repeat([]byte{16}, 16), false, "", uint16(0))
	f.Add(byte(0x80), uint64(0), []byte{}, []byte{}, true, "", uint16(0))
	f.Add(byte(0x80), uint64(0), []byte("short"), []byte{}, true, "", uint16(0))
	f.Add(byte(0x81), uint64(0), []byte("0123456789abcdef"), []byte{}, true, "", uint16(0))
	f.Add(byte(0x80), uint64(0), []byte("{}             \x00"), []byte{}, false, "", uint16(0))
	f.Add(byte(0x80), uint64(0), []byte{}, bytes.Repeat([]byte{32}, 32), false, "", uint16(0))
	f.Add(byte(0x80), uint64(0), []byte("{}             \x00"), []byte{}, false, "!!!!!!!!!!!!!!!!!!!!", uint16(110))
	f.Add(byte(0x80), uint64(0), []byte("{}             \x00"), []byte{}, false, `\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n`, uint16(60))
	forge := newForger(testIKM(0), sessionID)
	sealer := newSealer(f, testKey(f, 1), testKey(f, 0))
	f.Fuzz(func(t *testing.T, version byte, sealed uint64, payload, padding []byte, raw bool, junk string, at uint16) {
		body := slices.Concat(payload, padding)
		var token []byte
		if raw || len(body)%16 != 0 {
			token = forge.signed(version, sealed, make([]byte, 16), body)
		} else {
			token = forge.padded(sealed, body)
		}
		text := encode(token)
		cut := min(int(at), len(text))
		requireOpen(t, sealer, forge, envelope(text[:cut]+junk+text[cut:]))
		item, err := sealer.Open(envelope(text))
		if n := len(padding); !raw && len(body)%16 == 0 && n >= 1 && n <= 16 && bytes.Count(padding, []byte{byte(n)}) == n {
			if err == nil {
				require.Equal(t, string(payload), string(item))
			} else {
				require.ErrorIs(t, err, encsession.ErrMalformed)
			}
			_, changed, err := sealer.Reseal(envelope(encode(token)))
			require.NoError(t, err)
			require.True(t, changed)
		}
	})
}

package encsession_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fernet/fernet-go"
	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

func TestPythonEnvelopesOpen(t *testing.T) {
	for _, v := range readVectors(t).Envelopes {
		t.Run(v.Desc, func(t *testing.T) {
			key, err := encsession.ParseKey(v.Key)
			require.NoError(t, err)
			sealer, err := encsession.NewSealer(v.SessionID, encsession.NoExpiry, key)
			require.NoError(t, err)
			item, err := sealer.Open(encsession.Item(v.Stored))
			require.NoError(t, err)
			require.Equal(t, v.Item, string(item))
		})
	}
}

func TestSealWritesTheLayout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(999 * time.Millisecond)
		f := newForger(testIKM(0), sessionID)
		sealer := newSealer(t, testKey(t, 0))
		for _, item := range []string{`{}`, " {\"a\" :\n1}\n", `{"a":"` + strings.Repeat("é", 5000) + `"}`, `{"__enc__":1,"v":1,"kid":"hkdf-v1","payload":"x"}`} {
			sealed, err := sealer.Seal(encsession.Item(item))
			require.NoError(t, err)
			token, ok := bytes.CutPrefix(sealed, []byte(`{"__enc__":1,"v":1,"kid":"hkdf-v1","payload":"`))
			require.True(t, ok)
			token, ok = bytes.CutSuffix(token, []byte(`"}`))
			require.True(t, ok)

			raw, err := base64.URLEncoding.Strict().DecodeString(string(token))
			require.NoError(t, err)
			require.Equal(t, byte(0x80), raw[0])
			require.Equal(t, uint64(946684800), binary.BigEndian.Uint64(raw[1:])) // the second, not rounded up
			key := fernet.Key(append(slices.Clone(f.sign), f.encrypt...))
			require.Equal(t, item, string(fernet.VerifyAndDecrypt(token, 0, []*fernet.Key{&key})))

			again, err := sealer.Seal(encsession.Item(item))
			require.NoError(t, err)
			require.NotEqual(t, sealed, again, "the IV must be new each time")
			opened, err := sealer.Open(sealed)
			require.NoError(t, err)
			require.Equal(t, item, string(opened))
		}
	})
}

// invalidItems is what is not a JSON object in valid UTF-8.
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

func TestSealRefusesWhatIsNotAnItem(t *testing.T) {
	for name, item := range invalidItems {
		t.Run(name, func(t *testing.T) {
			sealed, err := newSealer(t, testKey(t, 0)).Seal(item)
			require.Nil(t, sealed)
			require.ErrorIs(t, err, encsession.ErrInvalidItem)
			require.NotContains(t, err.Error(), "secret")
		})
	}
}

func TestSealWithoutRandomness(t *testing.T) {
	sealer := newSealer(t, testKey(t, 0))
	defer func(reader any) { rand.Reader = reader.(interface{ Read([]byte) (int, error) }) }(rand.Reader)
	rand.Reader = bytes.NewReader(nil)
	sealed, err := sealer.Seal(encsession.Item(`{}`))
	require.Nil(t, sealed)
	require.ErrorContains(t, err, "no randomness")
}

// hostileEnvelopes are stored items that a reader with the key for sessionID under testIKM(0) must leave out, by the
// error that says why.
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
			// The last of duplicates counts, wherever it is.
			add(malformed, name+" again as "+value, join(append(slices.Clone(members), changed[i])...))
		}
	}
	add(malformed, "v in another case", join(members[0], `"V":1`, members[2], members[3]))
	add(malformed, "kid in another case", join(members[0], members[1], `"Kid":"hkdf-v1"`, members[3]))
	add(malformed, "payload in another case", join(members[0], members[1], members[2], `"PAYLOAD":"`+good+`"`))
	add(malformed, "nothing but the marker", `{"__enc__":1}`)
	add(malformed, "the marker escaped", `{"\u005f_enc__":1}`)

	// Tokens that are not canonical base64, or too short, or of another version.
	raw := f.token(0, []byte(`{"secret":1}`))
	for len(encode(raw))-len(strings.TrimRight(encode(raw), "=")) != 2 { // a token that ends in "==", so in spare bits
		raw = f.token(0, bytes.Repeat([]byte{' '}, len(raw))) // sizes modulo 3 go round
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
	// Padding that pyca/cryptography refuses, some of which fernet-go takes.
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

			// It does no harm to its neighbours, and a read finds it out by the same cause.
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

// TestEnvelopesOfAnyLayout has the same token in every way that JSON allows.
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

// plaintextItems look like envelopes but are none.
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

func TestOpenGivesTheItemToTheCaller(t *testing.T) {
	sealer := newSealer(t, testKey(t, 0))
	sealed, err := sealer.Seal(encsession.Item(`{"n":1}`))
	require.NoError(t, err)
	stored := slices.Clone(sealed)
	item, err := sealer.Open(sealed)
	require.NoError(t, err)
	copy(append(item, "more than there was"...), "changed")
	require.Equal(t, stored, sealed)
}

func TestAgeAsPythonCountsIt(t *testing.T) {
	for _, v := range readVectors(t).TTL {
		t.Run(v.Desc, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(time.Unix(v.Now, 0)))
				key, err := encsession.ParseKey(v.Key)
				require.NoError(t, err)
				sealer, err := encsession.NewSealer(v.SessionID, time.Duration(v.TTLSeconds)*time.Second, key)
				require.NoError(t, err)
				item, err := sealer.Open(encsession.Item(v.Stored))
				if v.Readable {
					require.NoError(t, err)
					require.Equal(t, v.Item, string(item))
				} else {
					require.Nil(t, item)
					require.True(t, errors.Is(err, encsession.ErrExpired) || errors.Is(err, encsession.ErrFuture))
				}
			})
		})
	}
}

func TestAge(t *testing.T) {
	const now = 946684800 // when a synctest bubble starts
	f := newForger(testIKM(0), sessionID)
	for _, tt := range []struct {
		name   string
		ttl    time.Duration
		sealed uint64
		want   error
	}{
		{"now", time.Second, now, nil},
		{"one second, at its end", time.Second, now - 1, nil},
		{"one second, after it", time.Second, now - 2, encsession.ErrExpired},
		{"ten minutes, at their end", 10 * time.Minute, now - 600, nil},
		{"ten minutes, after them", 10 * time.Minute, now - 601, encsession.ErrExpired},
		{"as far ahead as clocks may differ", time.Second, now + 60, nil},
		{"further ahead", time.Second, now + 61, encsession.ErrFuture},
		{"the epoch", time.Hour, 0, encsession.ErrExpired},
		{"the longest TTL", math.MaxInt64 / time.Second * time.Second, 0, nil},
		{"2^63-1", time.Hour, math.MaxInt64, encsession.ErrFuture},
		{"2^63", time.Hour, math.MaxInt64 + 1, encsession.ErrFuture},
		{"2^64-1", math.MaxInt64 / time.Second * time.Second, math.MaxUint64, encsession.ErrFuture},
		{"NoExpiry, the epoch", encsession.NoExpiry, 0, nil},
		{"NoExpiry, far ahead", encsession.NoExpiry, now + 61, nil},
		{"NoExpiry, 2^64-1", encsession.NoExpiry, math.MaxUint64, nil},
	} {
		for _, fraction := range []time.Duration{0, 999 * time.Millisecond, 999999999} {
			t.Run(fmt.Sprintf("%s, clock at %v", tt.name, fraction), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					time.Sleep(fraction)
					sealer, err := encsession.NewSealer(sessionID, tt.ttl, testKey(t, 0))
					require.NoError(t, err)
					item, err := sealer.Open(f.envelope(tt.sealed, `{"n":1}`))
					require.ErrorIs(t, err, tt.want)
					require.Equal(t, tt.want != nil, item == nil)
				})
			})
		}
	}
}

// TestAgeIsJudgedAfterAuthenticityAndBeforeThePayload fixes which error counts where several would fit.
func TestAgeIsJudgedAfterAuthenticityAndBeforeThePayload(t *testing.T) {
	sealer, err := encsession.NewSealer(sessionID, time.Minute, testKey(t, 0))
	require.NoError(t, err)
	_, err = sealer.Open(newForger(testIKM(1), sessionID).envelope(0, `{}`))
	require.ErrorIs(t, err, encsession.ErrUndecryptable)
	_, err = sealer.Open(newForger(testIKM(0), sessionID).envelope(0, `NaN`))
	require.ErrorIs(t, err, encsession.ErrExpired)
	_, err = sealer.Open(newForger(testIKM(0), sessionID).envelope(math.MaxUint64, `NaN`))
	require.ErrorIs(t, err, encsession.ErrFuture)
}

func TestSealedItemsAgeBySecondsOfTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(999 * time.Millisecond)
		sealer, err := encsession.NewSealer(sessionID, time.Second, testKey(t, 0))
		require.NoError(t, err)
		sealed, err := sealer.Seal(encsession.Item(`{}`))
		require.NoError(t, err)
		time.Sleep(time.Second) // 1.999 s by the clock, and so one second old
		_, err = sealer.Open(sealed)
		require.NoError(t, err)
		time.Sleep(time.Millisecond)
		_, err = sealer.Open(sealed)
		require.ErrorIs(t, err, encsession.ErrExpired)
	})
}

func TestTTLIsChecked(t *testing.T) {
	for _, ttl := range []time.Duration{0, 1, -2, -time.Second, time.Millisecond, 999 * time.Millisecond, 1500 * time.Millisecond, time.Hour + 1, math.MinInt64, math.MaxInt64} {
		_, err := encsession.NewSealer(sessionID, ttl, testKey(t, 0))
		require.ErrorContains(t, err, "TTL of "+ttl.String())
		_, err = encsession.New(encsession.NewMemorySession(sessionID), testKey(t, 0), encsession.WithTTL(ttl))
		require.ErrorContains(t, err, "TTL of "+ttl.String())
	}
}

func TestReseal(t *testing.T) {
	old := newForger(testIKM(1), sessionID)
	sealer, err := encsession.NewSealer(sessionID, time.Second, testKey(t, 0), testKey(t, 2), testKey(t, 1))
	require.NoError(t, err)
	current := newForger(testIKM(0), sessionID)
	for _, sealedAt := range []uint64{0, 946684800, math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64} {
		for _, payload := range []string{`{"n":1}`, ` {"n" : 1}`, `NaN`, "", "\xff\x00", strings.Repeat("x", 4096)} {
			stored := old.envelope(sealedAt, payload)
			sealed, changed, err := sealer.Reseal(stored)
			require.NoError(t, err)
			require.True(t, changed)

			var members struct{ Payload string }
			require.NoError(t, json.Unmarshal(sealed, &members))
			require.Equal(t, envelope(members.Payload), sealed)
			raw, err := base64.URLEncoding.DecodeString(members.Payload)
			require.NoError(t, err)
			require.Equal(t, sealedAt, binary.BigEndian.Uint64(raw[1:]))
			key := fernet.Key(append(slices.Clone(current.sign), current.encrypt...))
			plaintext := fernet.VerifyAndDecrypt([]byte(members.Payload), 0, []*fernet.Key{&key})
			require.NotNil(t, plaintext)
			require.Equal(t, payload, string(plaintext))

			again, changed, err := sealer.Reseal(sealed)
			require.NoError(t, err)
			require.False(t, changed)
			require.Equal(t, sealed, again)
			again[0] = 'x' // a copy
			require.Equal(t, byte('{'), sealed[0])
		}
	}
	for name, tt := range hostileEnvelopes() {
		if strings.HasPrefix(name, "payload: ") {
			continue // authentic, and so to be carried over: above
		}
		sealed, changed, err := sealer.Reseal(tt.stored)
		if name == "token: another key" {
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, tt.cause, name)
		require.Nil(t, sealed)
		require.False(t, changed)
	}
}

func TestReadKeysOpen(t *testing.T) {
	sealer := newSealer(t, testKey(t, 0), testKey(t, 1), testKey(t, 2))
	for n := range byte(3) {
		item, err := sealer.Open(newForger(testIKM(n), sessionID).envelope(0, `{"n":1}`))
		require.NoError(t, err)
		require.Equal(t, `{"n":1}`, string(item))
	}
	sealed, err := sealer.Seal(encsession.Item(`{}`))
	require.NoError(t, err)
	_, err = newSealer(t, testKey(t, 1), testKey(t, 2)).Open(sealed)
	require.ErrorIs(t, err, encsession.ErrUndecryptable, "a read key must never seal")
}

func TestZeroSealer(t *testing.T) {
	var absent *encsession.Sealer
	for _, sealer := range []*encsession.Sealer{{}, absent} {
		item, err := sealer.Seal(encsession.Item(`{}`))
		require.Nil(t, item)
		require.ErrorContains(t, err, "not made by NewSealer")
		item, err = sealer.Open(envelope("x"))
		require.Nil(t, item)
		require.ErrorContains(t, err, "not made by NewSealer")
		item, changed, err := sealer.Reseal(envelope("x"))
		require.Nil(t, item)
		require.False(t, changed)
		require.ErrorContains(t, err, "not made by NewSealer")
	}
}

// requireOneCause wants an item, or exactly one of the errors of Open and no item.
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

// requireOpen wants Open to say of stored what the forger says, which is as plain as can be.
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

// TestAlteredBase64 puts all kinds of characters into all places of authentic tokens, more and fewer of them, so that what
// base64 decodes before it stops, and what it skips, adds up to every size.
func TestAlteredBase64(t *testing.T) {
	forge := newForger(testIKM(0), sessionID)
	sealer := newSealer(t, testKey(t, 0))
	for _, padded := range []string{
		`{"n":"a"}` + strings.Repeat("\x07", 7),
		`{"n":"12345678"}` + strings.Repeat("\x10", 16),
		`{"n":123}      ` + "\x00", // no padding, which fernet-go takes: a block that is missing would look like one of padding
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
			for n := 1; n <= 26; n++ { // 20 to 24 characters stand for a block, more or less
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

// TestShortTokensInDisguise gives authentic tokens that are too short for fernet-go the length of others.
func TestShortTokensInDisguise(t *testing.T) {
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

		// The same JSON in another layout takes the general parser and comes to the same end.
		spaced := append([]byte(" "), stored...)
		again, errAgain := sealer.Open(spaced)
		require.Equal(t, err == nil, errAgain == nil, "%v / %v", err, errAgain)
		require.Equal(t, item, again)
		for _, cause := range []error{encsession.ErrUndecryptable, encsession.ErrMalformed, encsession.ErrPlaintext} {
			require.Equal(t, errors.Is(err, cause), errors.Is(errAgain, cause))
		}
	})
}

// FuzzOpenAuthentic signs what the fuzzer makes up with the right key: any version, time, ciphertext and padding.
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

func FuzzSeal(f *testing.F) {
	for _, v := range readVectors(f).Envelopes {
		f.Add([]byte(v.Item))
	}
	for _, item := range invalidItems {
		f.Add([]byte(item))
	}
	sealer := newSealer(f, testKey(f, 0))
	f.Fuzz(func(t *testing.T, item []byte) {
		sealed, err := sealer.Seal(item)
		if err != nil {
			require.ErrorIs(t, err, encsession.ErrInvalidItem)
			require.Nil(t, sealed)
			return
		}
		opened, err := sealer.Open(sealed)
		require.NoError(t, err)
		require.Equal(t, string(item), string(opened))
	})
}

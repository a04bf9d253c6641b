package encsession_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
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
			key, err := encsession.ParsePythonKey(v.Key)
			require.NoError(t, err)
			sealer, err := encsession.NewSealer(v.SessionID, ringOf(key), encsession.NoExpiry)
			require.NoError(t, err)
			item, err := sealer.Open(encsession.Item(v.Stored))
			require.NoError(t, err)
			require.Equal(t, v.Item, string(item))

			store := encsession.NewMemorySession(v.SessionID)
			require.NoError(t, store.AddItems(t.Context(), encsession.Item(v.Stored)))
			session := newSession(t, store, key, encsession.WithTTL(encsession.NoExpiry), encsession.WithStrictReads())
			require.Equal(t, []string{v.Item}, getItems(t, session, 0))
			popped, err := session.PopItem(t.Context())
			require.NoError(t, err)
			require.Equal(t, v.Item, string(popped))
			require.Empty(t, getItems(t, store, 0))
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

// TestAppendingToAnItemSparesItsNeighbour shows that an item's capacity ends
// with the item. Behind the item lie its padding and its signature, and another
// item may follow.
func TestAppendingToAnItemSparesItsNeighbour(t *testing.T) {
	sealer := newSealer(t, testKey(t, 0), testKey(t, 1))
	for n := range 64 {
		payload := `{"n":"` + strings.Repeat("x", n) + `"}`
		for key := range byte(2) {
			item, err := sealer.Open(newForger(testIKM(key), sessionID).envelope(0, payload))
			require.NoError(t, err)
			require.Equal(t, payload, string(item))
			require.Equal(t, len(item), cap(item))
		}
	}
	session := newSession(t, encsession.NewMemorySession(sessionID), testKey(t, 0))
	require.NoError(t, session.AddItems(t.Context(), messages(20)...))
	items, err := session.GetItems(t.Context(), 0)
	require.NoError(t, err)
	for i := range items {
		items[i] = append(items[i], strings.Repeat("!", 200)...)
	}
	for i, item := range items {
		require.Equal(t, string(messages(20)[i])+strings.Repeat("!", 200), string(item))
	}
}

// TestStoredBytesStayAsTheyWere shows that Open and Reseal work in memory of
// their own. Decryption works in place, and the stored bytes belong to the
// store.
func TestStoredBytesStayAsTheyWere(t *testing.T) {
	stored := map[string]encsession.Item{
		"current key": newForger(testIKM(0), sessionID).envelope(0, `{"n":1}`),
		"older key":   newForger(testIKM(1), sessionID).envelope(0, `{"n":1}`),
		"spaced":      encsession.Item(" " + string(newForger(testIKM(0), sessionID).envelope(0, `{"n":1}`))),
		"plaintext":   encsession.Item(`{"n":1}`),
	}
	for name, tt := range hostileEnvelopes() {
		stored[name] = tt.stored
	}
	sealer := newSealer(t, testKey(t, 0), testKey(t, 1))
	for name, item := range stored {
		before := slices.Clone(item)
		_, _ = sealer.Open(item)
		require.Equal(t, before, item, name)
		_, _, _ = sealer.Reseal(item)
		require.Equal(t, before, item, name)
	}
}

func TestAgeAsPythonCountsIt(t *testing.T) {
	for _, v := range readVectors(t).TTL {
		t.Run(v.Desc, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(time.Unix(v.Now, 0)))
				key, err := encsession.ParsePythonKey(v.Key)
				require.NoError(t, err)
				sealer, err := encsession.NewSealer(v.SessionID, ringOf(key), time.Duration(v.TTLSeconds)*time.Second)
				require.NoError(t, err)
				store := encsession.NewMemorySession(v.SessionID)
				require.NoError(t, store.AddItems(t.Context(), encsession.Item(v.Stored)))
				session := newSession(t, store, key, encsession.WithTTL(time.Duration(v.TTLSeconds)*time.Second))
				want := []string{}
				if v.Readable {
					want = append(want, v.Item)
				}
				require.Equal(t, want, getItems(t, session, 0))

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
					sealer, err := encsession.NewSealer(sessionID, ringOf(testKey(t, 0)), tt.ttl)
					require.NoError(t, err)
					item, err := sealer.Open(f.envelope(tt.sealed, `{"n":1}`))
					require.ErrorIs(t, err, tt.want)
					require.Equal(t, tt.want != nil, item == nil)
				})
			})
		}
	}
}

// If an item has several faults, this test says which error counts.
func TestAgeIsJudgedAfterAuthenticityAndBeforeThePayload(t *testing.T) {
	sealer, err := encsession.NewSealer(sessionID, ringOf(testKey(t, 0)), time.Minute)
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
		sealer, err := encsession.NewSealer(sessionID, ringOf(testKey(t, 0)), time.Second)
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
		_, err := encsession.NewSealer(sessionID, ringOf(testKey(t, 0)), ttl)
		require.ErrorContains(t, err, "TTL of "+ttl.String())
		_, err = encsession.New(encsession.NewMemorySession(sessionID), testKey(t, 0), encsession.WithTTL(ttl))
		require.ErrorContains(t, err, "TTL of "+ttl.String())
	}
}

func TestReseal(t *testing.T) {
	old := newForger(testIKM(1), sessionID)
	sealer, err := encsession.NewSealer(sessionID, ringOf(testKey(t, 0), testKey(t, 2), testKey(t, 1)), time.Second)
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
			continue // authentic, so Reseal carries it over, as tested above
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

func TestOlderKeysOpen(t *testing.T) {
	sealer := newSealer(t, testKey(t, 0), testKey(t, 1), testKey(t, 2))
	for n := range byte(3) {
		item, err := sealer.Open(newForger(testIKM(n), sessionID).envelope(0, `{"n":1}`))
		require.NoError(t, err)
		require.Equal(t, `{"n":1}`, string(item))
	}
	sealed, err := sealer.Seal(encsession.Item(`{}`))
	require.NoError(t, err)
	_, err = newSealer(t, testKey(t, 1), testKey(t, 2)).Open(sealed)
	require.ErrorIs(t, err, encsession.ErrUndecryptable, "an older key must never seal")
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

// fernetVector is a test vector of the Fernet project. A TTL of 0 or less means
// that it has none.
type fernetVector struct {
	Desc, Token, Src, Secret string
	Now                      time.Time
	IV                       []int
	TTL                      int64 `json:"ttl_sec"`
}

func readFernetVectors(t *testing.T, name string) (vectors []fernetVector) {
	t.Helper()
	data, err := os.ReadFile("testdata/fernet/" + name)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &vectors))
	require.NotEmpty(t, vectors)
	return vectors
}

func (v fernetVector) sealer(t *testing.T) *encsession.Sealer {
	t.Helper()
	key, err := fernet.DecodeKey(v.Secret)
	require.NoError(t, err)
	ttl := encsession.NoExpiry
	if v.TTL > 0 {
		ttl = time.Duration(v.TTL) * time.Second
	}
	return encsession.SealerOf(ttl, *key)
}

func TestFernetVectorsAreWritten(t *testing.T) {
	defer func(reader io.Reader) { rand.Reader = reader }(rand.Reader)
	for _, v := range readFernetVectors(t, "generate.json") {
		iv := make([]byte, len(v.IV))
		for i, b := range v.IV {
			iv[i] = byte(b)
		}
		rand.Reader = bytes.NewReader(iv)
		sealed, err := v.sealer(t).SealAt([]byte(v.Src), v.Now)
		require.NoError(t, err)
		require.Equal(t, envelope(v.Token), sealed)
	}
}

func TestFernetVectorsOpen(t *testing.T) {
	for _, v := range readFernetVectors(t, "verify.json") {
		payload, sealed, key, err := v.sealer(t).Authenticate(envelope(v.Token))
		require.NoError(t, err)
		require.Equal(t, v.Src, string(payload))
		require.Equal(t, 0, key)
		require.Equal(t, uint64(499162800), sealed)
		// The age is good. The payload, which is judged after it, is not an
		// item.
		_, err = v.sealer(t).OpenAt(envelope(v.Token), v.Now)
		require.ErrorIs(t, err, encsession.ErrMalformed)
		require.ErrorContains(t, err, "authentic")
	}
}

func TestInvalidFernetVectorsDoNot(t *testing.T) {
	causes := map[string]error{
		"incorrect mac":  encsession.ErrUndecryptable,
		"too short":      encsession.ErrMalformed,
		"invalid base64": encsession.ErrMalformed,
		"payload size not multiple of block size": encsession.ErrMalformed,
		"payload padding error":                   encsession.ErrUndecryptable,
		"far-future TS (unacceptable clock skew)": encsession.ErrFuture,
		"expired TTL":                         encsession.ErrExpired,
		"incorrect IV (causes padding error)": encsession.ErrUndecryptable,
		"very short payload size":             encsession.ErrMalformed,
		"super short payload size":            encsession.ErrMalformed,
	}
	vectors := readFernetVectors(t, "invalid.json")
	require.Len(t, vectors, len(causes))
	for _, v := range vectors {
		t.Run(v.Desc, func(t *testing.T) {
			require.Contains(t, causes, v.Desc)
			_, err := v.sealer(t).OpenAt(envelope(v.Token), v.Now)
			require.ErrorIs(t, err, causes[v.Desc])
			if v.Desc == "payload padding error" || v.Desc == "incorrect IV (causes padding error)" {
				// The signature is good, so the padding alone is the reason.
				key, err := fernet.DecodeKey(v.Secret)
				require.NoError(t, err)
				raw, err := base64.URLEncoding.DecodeString(v.Token)
				require.NoError(t, err)
				mac := hmac.New(sha256.New, key[:16])
				mac.Write(raw[:len(raw)-32])
				require.Equal(t, mac.Sum(nil), raw[len(raw)-32:])
			}
		})
	}
}

// ringOf returns a Keyring.
func ringOf(key encsession.Key, older ...encsession.Key) encsession.Keyring {
	return encsession.Keyring{Current: key, Older: older}
}

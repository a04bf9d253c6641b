package interop

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// bubbleStart is the time at which a bubble of testing/synctest starts.
var bubbleStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// TestAge makes both sides judge items of both sides, at chosen times. Calls to
// Python and to the database are outside of the bubbles. Inside, only Go's own
// clock is at work.
func TestAge(t *testing.T) {
	const (
		ttl    = 600 * time.Second
		sealed = 1000 * time.Second // after the bubbles' start
	)
	p := startPython(t)
	d := fresh(t, p, pairs[0])
	d.create(t)
	key := encsession.GenerateKey()
	parsed, err := encsession.ParseKey(key)
	require.NoError(t, err)
	items := numbered(1, 2)

	ofPython := d.pythonSession(p, sessionID, key)
	ofPython.now = seconds(sealed + 700*time.Millisecond) // whole seconds count
	add(t, ofPython, items[0])
	var sealedByGo encsession.Item
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(sealed + 700*time.Millisecond)
		sealer, err := encsession.NewSealer(sessionID, encsession.Keyring{Current: parsed}, ttl)
		require.NoError(t, err)
		sealedByGo, err = sealer.Seal(items[1])
		require.NoError(t, err)
	})
	add(t, d.store(sessionID), sealedByGo)
	stored, err := d.store(sessionID).GetItems(t.Context(), 0)
	require.NoError(t, err)
	require.Len(t, stored, 2)

	for _, test := range []struct {
		name     string
		age      time.Duration
		ttl      time.Duration
		readable bool
	}{
		{"the second of sealing", 0, ttl, true},
		{"TTL", ttl, ttl, true},
		{"the last millisecond of TTL", ttl + 999*time.Millisecond, ttl, true},
		{"TTL+1", ttl + time.Second, ttl, false},
		{"skew of 60", -60 * time.Second, ttl, true},
		{"skew of more than 60", -60*time.Second - time.Millisecond, ttl, false},
		{"skew of 61", -61 * time.Second, ttl, false},
		{"TTL of a second", 1999 * time.Millisecond, time.Second, true},
		{"TTL of a second, and one more", 2 * time.Second, time.Second, false},
		{"no expiry", 100 * 365 * 24 * time.Hour, encsession.NoExpiry, true},
		{"no expiry, and no skew", -sealed, encsession.NoExpiry, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var want []encsession.Item
			if test.readable {
				want = items
			}
			ofPython := d.pythonSession(p, sessionID, key)
			ofPython.now = seconds(sealed + test.age)
			if ofPython.ttl = test.ttl.Seconds(); test.ttl == encsession.NoExpiry {
				ofPython.ttl = nil
			}
			requireItems(t, ofPython, want...)

			synctest.Test(t, func(t *testing.T) {
				time.Sleep(sealed + test.age)
				memory := encsession.NewMemorySession(sessionID)
				add(t, memory, stored...)
				s, err := encsession.New(memory, parsed, encsession.WithTTL(test.ttl))
				require.NoError(t, err)
				requireItems(t, s, want...)
			})
		})
	}
}

// seconds returns the time that Python's clock shows, given a time after the
// start of the bubbles.
func seconds(after time.Duration) float64 {
	return float64(bubbleStart.Add(after).UnixMilli()) / 1000
}

package interop

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// mixed tells what one service has done to the session.
type mixed struct {
	Added, Popped []string // items
	Errors        []string
}

// TestTwoServicesAtOnce lets a Python process and a Go process work on one
// session for some seconds. Each adds and pops in two tasks. No item may be
// lost, and none may come back twice.
func TestTwoServicesAtOnce(t *testing.T) {
	const seconds, workers = 3, 2
	onEach(t, func(t *testing.T, p *python, d *database) {
		d.create(t)
		key := encsession.GenerateKey()
		s := d.pythonSession(p, sessionID, key)
		requireItems(t, s) // opens it, before the clock runs

		var ofPython mixed
		ofGo := make([]mixed, workers)
		deadline := time.Now().Add(seconds * time.Second)
		var work sync.WaitGroup
		for worker := range workers {
			handle := d.goSession(t, sessionID, key) // each has one of its own
			work.Go(func() { ofGo[worker] = mix(t, handle, worker, deadline) })
		}
		r := s.request("mix")
		r["seconds"], r["workers"] = seconds, workers
		err := p.call(r, &ofPython)
		work.Wait()
		require.NoError(t, err)

		left, err := d.goSession(t, sessionID, key).GetItems(t.Context(), 0)
		require.NoError(t, err)
		stored, err := d.store(sessionID).GetItems(t.Context(), 0)
		require.NoError(t, err)
		require.Len(t, stored, len(left), "every stored item is readable")
		account := map[string]int{} // for each item, how often it was added, less how often it came back
		for _, m := range append(ofGo, ofPython) {
			require.Empty(t, m.Errors)
			for _, item := range m.Added {
				account[canonical(t, item)]++
			}
		}
		total := len(account)
		for _, m := range append(ofGo, ofPython, mixed{Popped: texts(left)}) {
			for _, item := range m.Popped {
				account[canonical(t, item)]--
			}
		}
		for item, count := range account {
			require.Zero(t, count, "added, less popped: %s", item)
		}
		ofOther := map[string]int{"Python": foreign(t, "Go", ofPython)}
		for _, m := range ofGo {
			ofOther["Go"] += foreign(t, "Python", m)
		}
		t.Logf("%d items, of which %d by Python; %d left; Python popped %d of Go, Go popped %d of Python",
			total, len(ofPython.Added), len(left), ofOther["Python"], ofOther["Go"])
		require.NotZero(t, ofOther["Python"], "the two were not at work at once")
		require.NotZero(t, ofOther["Go"], "the two were not at work at once")
	})
}

// foreign counts the items that one service popped and the other had added.
func foreign(t *testing.T, other string, m mixed) int {
	count := 0
	for _, item := range m.Popped {
		if strings.HasPrefix(canonical(t, item), `{"from":"`+other) {
			count++
		}
	}
	return count
}

// mix does the same in Go as the function mix in child.py. It pauses before
// adds and before pops, so that Python has its turns at both. On Redis, Python
// begins an add again if another client was faster. On one busy list, Go always
// is.
func mix(t *testing.T, s encsession.Session, worker int, deadline time.Time) mixed {
	const pause = 10 * time.Millisecond
	var m mixed
	number := 0
	for time.Now().Before(deadline) {
		time.Sleep(pause)
		for size := range 2 {
			var items []encsession.Item
			for range size + 1 {
				items = append(items, encsession.Item(fmt.Sprintf(`{"from":"Go %d","n":%d}`, worker, number)))
				number++
			}
			if err := s.AddItems(t.Context(), items...); err != nil {
				m.Errors = append(m.Errors, err.Error())
				continue
			}
			m.Added = append(m.Added, texts(items)...)
		}
		time.Sleep(pause)
		for range 2 {
			item, err := s.PopItem(t.Context())
			if err != nil {
				m.Errors = append(m.Errors, err.Error())
			}
			if item != nil {
				m.Popped = append(m.Popped, string(item))
			}
		}
	}
	return m
}

// canonical writes an item in one form, whichever side wrote it.
func canonical(t *testing.T, item string) string {
	text, err := json.Marshal(decode(t, encsession.Item(item)))
	require.NoError(t, err)
	return string(text)
}

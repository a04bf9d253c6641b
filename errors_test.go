package encsession_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

func TestSkippedErrorWrapsWhatItCounts(t *testing.T) {
	for undecryptable := range 2 {
		for malformed := range 2 {
			for plaintext := range 2 {
				skipped := &encsession.SkippedError{Undecryptable: 3 * undecryptable, Malformed: 4 * malformed, Plaintext: 5 * plaintext}
				err := fmt.Errorf("encsession: Rekey: %w", skipped)
				require.Equal(t, undecryptable > 0, errors.Is(err, encsession.ErrUndecryptable))
				require.Equal(t, malformed > 0, errors.Is(err, encsession.ErrMalformed))
				require.Equal(t, plaintext > 0, errors.Is(err, encsession.ErrPlaintext))
				require.Len(t, skipped.Unwrap(), undecryptable+malformed+plaintext)
				for _, other := range []error{encsession.ErrExpired, encsession.ErrFuture, encsession.ErrInvalidItem} {
					require.NotErrorIs(t, err, other)
				}
				require.ErrorContains(t, err, fmt.Sprintf("could not judge all items: %d undecryptable, %d malformed, %d not encrypted;",
					skipped.Undecryptable, skipped.Malformed, skipped.Plaintext))
				var found *encsession.SkippedError
				require.ErrorAs(t, err, &found)
				require.Same(t, skipped, found)
			}
		}
	}
}

func TestAnOperationReturnsItsSkippedError(t *testing.T) {
	store := &rawStore{MemorySession: encsession.NewMemorySession(sessionID), items: []encsession.Item{
		message("plain"),
		seal(t, testKey(t, 1), message("older")),
		seal(t, testKey(t, 2), message("another key")),
		encsession.Item("junk"),
	}}
	session := newSession(t, store, ringOf(testKey(t, 0), testKey(t, 1)))
	changed, err := session.Rekey(t.Context())
	require.Equal(t, 1, changed, "it finishes its work")
	var skipped *encsession.SkippedError
	require.ErrorAs(t, err, &skipped)
	require.Equal(t, encsession.SkippedError{Undecryptable: 1, Malformed: 1}, *skipped)

	store.items = store.items[1:2]
	changed, err = session.Rekey(t.Context())
	require.NoError(t, err, "an error that counts nothing is none")
	require.Zero(t, changed)
}

// TestErrorsSayWhichFunctionTheyComeFrom also requires each name to appear only
// once.
func TestErrorsSayWhichFunctionTheyComeFrom(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	memory := encsession.NewMemorySession(sessionID)
	session := newSession(t, memory, testKey(t, 0))
	sealer := &encsession.Sealer{}
	edit := func([]encsession.Item) ([]encsession.Item, bool) { return nil, false }
	for name, call := range map[string]func() error{
		"ParseKey":       func() error { _, err := encsession.ParseKey(""); return err },
		"ParsePythonKey": func() error { _, err := encsession.ParsePythonKey(""); return err },
		"NewKey":         func() error { _, err := encsession.NewKey(nil); return err },
		"NewSealer": func() error {
			_, err := encsession.NewSealer("", encsession.Keyring{}, 0)
			return err
		},
		"New":           func() error { _, err := encsession.New(nil, nil); return err },
		"Seal":          func() error { _, err := sealer.Seal(nil); return err },
		"Open":          func() error { _, err := sealer.Open(nil); return err },
		"Reseal":        func() error { _, _, err := sealer.Reseal(nil); return err },
		"GetItems":      func() error { _, err := session.GetItems(cancelled, 0); return err },
		"AddItems":      func() error { return session.AddItems(cancelled, message("a")) },
		"PopItem":       func() error { _, err := session.PopItem(cancelled); return err },
		"ClearSession":  func() error { return session.ClearSession(cancelled) },
		"Rekey":         func() error { _, err := session.Rekey(cancelled); return err },
		"SealPlaintext": func() error { _, err := session.SealPlaintext(cancelled); return err },
		"Purge":         func() error { _, err := session.Purge(cancelled, time.Hour); return err },
		"DeleteItems": func() error {
			_, err := session.DeleteItems(cancelled, func(encsession.Item) bool { return true })
			return err
		},
		"RewriteItems":               func() error { _, err := session.RewriteItems(cancelled, 1, edit); return err },
		"Audit":                      func() error { _, err := session.Audit(cancelled); return err },
		"MemorySession.GetItems":     func() error { _, err := memory.GetItems(cancelled, 0); return err },
		"MemorySession.AddItems":     func() error { return memory.AddItems(cancelled, message("a")) },
		"MemorySession.PopItem":      func() error { _, err := memory.PopItem(cancelled); return err },
		"MemorySession.ClearSession": func() error { return memory.ClearSession(cancelled) },
		"MemorySession.RewriteItems": func() error { _, err := memory.RewriteItems(cancelled, 1, edit); return err },
	} {
		err := call()
		require.ErrorContains(t, err, "encsession: "+name+": ")
		require.True(t, strings.HasPrefix(err.Error(), "encsession: "+name+": "), "%v", err)
		require.Equal(t, 1, strings.Count(err.Error(), "encsession: "), "%v", err)
	}
}

package main

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"time"

	"github.com/encsession/encsession"
)

// countWithoutKey counts what can be told from outside. Nothing of it is authenticated.
func (i *inspector) countWithoutKey(ctx context.Context, sessionID string) (Counts, error) {
	stored, err := i.store.Session(sessionID).GetItems(ctx, 0)
	if err != nil {
		return Counts{}, err
	}
	sealer, err := i.sealer(sessionID)
	if err != nil {
		return Counts{}, err
	}
	counts := i.newCounts()
	counts.Items = len(stored)
	for _, item := range stored {
		switch _, err := sealer.Open(item); {
		case errors.Is(err, encsession.ErrPlaintext):
			counts.Plaintext++
		case errors.Is(err, encsession.ErrMalformed):
			counts.Malformed++
		default:
			counts.Sealed++
			if t := claimedTime(item); t != nil {
				counts.widen(*t)
			}
		}
	}
	return counts, nil
}

// sealer returns what opens the items of a session. Without a key it has one that nobody else has had, which opens
// nothing but tells what is an envelope; that does not depend on the session ID.
func (i *inspector) sealer(sessionID string) (*encsession.Sealer, error) {
	if i.keys != nil {
		return encsession.NewSealer(sessionID, *i.keys, i.ttl)
	}
	key, err := encsession.ParseKey(encsession.GenerateKey())
	if err != nil {
		return nil, err
	}
	return encsession.NewSealer("any", encsession.Keyring{Current: key}, encsession.NoExpiry)
}

// claimedTime returns the time in the clear part of an envelope's token: a version of one byte, then eight bytes of Unix
// seconds. It is nil where there is none. Only who has the key can tell whether it is genuine.
func claimedTime(stored encsession.Item) *time.Time {
	var members map[string]json.RawMessage // not a struct, which would take "Payload" too
	var token string
	const version, prefix = 0x80, 9
	if json.Unmarshal(stored, &members) != nil || json.Unmarshal(members["payload"], &token) != nil ||
		len(token) < base64.URLEncoding.EncodedLen(prefix) {
		return nil
	}
	clear, err := base64.URLEncoding.DecodeString(token[:base64.URLEncoding.EncodedLen(prefix)])
	if err != nil || clear[0] != version {
		return nil
	}
	end := time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC) // the last year that JSON can hold
	seconds := min(binary.BigEndian.Uint64(clear[1:]), uint64(end.Unix()))
	t := time.Unix(int64(seconds), 0).UTC()
	return &t
}

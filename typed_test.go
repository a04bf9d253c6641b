package encsession_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// sessionOf has the methods of Session, with T in place of Item.
type sessionOf[T any] interface {
	SessionID() string
	GetItems(ctx context.Context, limit int) ([]T, error)
	AddItems(ctx context.Context, items ...T) error
	PopItem(ctx context.Context) (*T, error)
	ClearSession(ctx context.Context) error
}

var _ sessionOf[struct{}] = encsession.TypedSession[struct{}]{}

type chatMessage struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

func TestTyped(t *testing.T) {
	session := newSession(t, encsession.NewMemorySession(sessionID), testKey(t, 0))
	typed := encsession.Typed[chatMessage](session)
	require.Equal(t, sessionID, typed.SessionID())
	popped, err := typed.PopItem(t.Context())
	require.NoError(t, err)
	require.Nil(t, popped)

	all := []chatMessage{{"user", "a <b> & \u2028"}, {"assistant", "ж"}, {"user", "c"}}
	require.NoError(t, typed.AddItems(t.Context(), all...))
	got, err := typed.GetItems(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, all, got)
	got, err = typed.GetItems(t.Context(), 2)
	require.NoError(t, err)
	require.Equal(t, all[1:], got)
	popped, err = typed.PopItem(t.Context())
	require.NoError(t, err)
	require.Equal(t, &all[2], popped)
	require.NoError(t, typed.ClearSession(t.Context()))
	got, err = typed.GetItems(t.Context(), 0)
	require.NoError(t, err)
	require.NotNil(t, got)
	require.Empty(t, got)
}

func TestTypedPassesErrorsOn(t *testing.T) {
	store := newFaultyStore()
	store.get = func(int) error { return errBroken }
	store.pop = func() error { return errBroken }
	typed := encsession.Typed[chatMessage](store)
	_, err := typed.GetItems(t.Context(), 0)
	require.ErrorIs(t, err, errBroken)
	_, err = typed.PopItem(t.Context())
	require.ErrorIs(t, err, errBroken)
}

func TestTypedOfNil(t *testing.T) {
	for _, typed := range []encsession.TypedSession[chatMessage]{
		{}, encsession.Typed[chatMessage](nil), encsession.Typed[chatMessage]((*encsession.MemorySession)(nil)),
		encsession.Typed[chatMessage]((*encsession.EncryptedSession)(nil)), encsession.Typed[chatMessage](&encsession.EncryptedSession{}),
	} {
		require.Empty(t, typed.SessionID())
		_, err := typed.GetItems(t.Context(), 0)
		require.ErrorContains(t, err, "no session")
		_, err = typed.PopItem(t.Context())
		require.ErrorContains(t, err, "no session")
		require.ErrorContains(t, typed.AddItems(t.Context()), "no session")
		require.ErrorContains(t, typed.AddItems(t.Context(), chatMessage{}), "no session")
		require.ErrorContains(t, typed.ClearSession(t.Context()), "no session")
	}
}

// quoting is a type whose errors quote the value, both when it is read and when
// it is written.
type quoting struct{ V string }

func (q *quoting) UnmarshalJSON(b []byte) error { return fmt.Errorf("cannot read %s", b) }

func (q quoting) MarshalJSON() ([]byte, error) { return nil, fmt.Errorf("cannot write %s", q.V) }

func TestDecodeError(t *testing.T) {
	store := encsession.NewMemorySession(sessionID)
	bad := encsession.Item(`{"role":"user","content":8765432100123}`)
	require.NoError(t, store.AddItems(t.Context(), bad, message("b"), bad, message("d")))

	typed := encsession.Typed[chatMessage](store)
	got, err := typed.GetItems(t.Context(), 0)
	require.Nil(t, got)
	var decodeErr *encsession.DecodeError
	require.ErrorAs(t, err, &decodeErr)
	require.Equal(t, string(bad), string(decodeErr.Item()))
	require.EqualError(t, err, "encsession: item 3 from the newest cannot be decoded into encsession_test.chatMessage")
	var typeErr *json.UnmarshalTypeError
	require.ErrorAs(t, err, &typeErr)
	requireHidden(t, err, "8765432100123", string(bad))

	got, err = typed.GetItems(t.Context(), 2)
	require.Nil(t, got)
	require.ErrorContains(t, err, "item 1 from the newest")

	_, err = typed.PopItem(t.Context())
	require.NoError(t, err)
	popped, err := typed.PopItem(t.Context())
	require.Nil(t, popped)
	require.ErrorAs(t, err, &decodeErr)
	require.ErrorContains(t, err, "item 0 from the newest")
	require.Equal(t, string(bad), string(decodeErr.Item()), "the removed item is in the error")
	require.Len(t, getItems(t, store, 0), 2)
	requireHidden(t, err, "8765432100123", string(bad))

	_, err = encsession.Typed[quoting](store).GetItems(t.Context(), 1)
	require.ErrorAs(t, err, &decodeErr)
	require.NotContains(t, err.Error(), "content")
	require.ErrorContains(t, errors.Unwrap(err), "content")
	_, err = encsession.Typed[map[string]time.Time](store).GetItems(t.Context(), 1)
	require.ErrorAs(t, err, &decodeErr)
	require.NotContains(t, err.Error(), "user")
}

func TestTypedAddItemsIsAllOrNothing(t *testing.T) {
	store := encsession.NewMemorySession(sessionID)
	err := encsession.Typed[any](store).AddItems(t.Context(), chatMessage{"user", "a"}, quoting{"a secret"})
	require.EqualError(t, err, "encsession: AddItems: item 1: interface {} cannot be encoded as JSON")
	require.ErrorContains(t, errors.Unwrap(err), "a secret")
	err = encsession.Typed[any](store).AddItems(t.Context(), chatMessage{"user", "a"}, "not an object")
	require.ErrorIs(t, err, encsession.ErrInvalidItem)
	require.Empty(t, getItems(t, store, 0))
}

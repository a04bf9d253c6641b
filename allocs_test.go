//go:build !race

package encsession

import (
	"testing"

	"github.com/fernet/fernet-go"
	"github.com/stretchr/testify/require"
)

// TestSmallCallsAllocateLittle holds a call of one item to two allocations beyond those of fernet-go.
func TestSmallCallsAllocateLittle(t *testing.T) {
	store := NewMemorySession("user-123")
	session := longSession(t, store)
	item := longItems(1)[0]
	key := &session.sealer.keys()[0]
	token, err := fernet.EncryptAndSign(item, key)
	require.NoError(t, err)
	keys := []*fernet.Key{key}

	seal := testing.AllocsPerRun(1000, func() { fernet.EncryptAndSign(item, key) })
	add := testing.AllocsPerRun(1000, func() { require.NoError(t, session.AddItems(t.Context(), item)) })
	require.LessOrEqual(t, add, seal+2)

	open := testing.AllocsPerRun(1000, func() { fernet.VerifyAndDecrypt(token, 0, keys) })
	get := testing.AllocsPerRun(1000, func() {
		_, err := session.GetItems(t.Context(), 1)
		require.NoError(t, err)
	})
	require.LessOrEqual(t, get, open+2)
}

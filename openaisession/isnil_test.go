package openaisession

import (
	"testing"

	"github.com/encsession/encsession"
	"github.com/stretchr/testify/require"
)

// A session may be of any kind that can have methods.
func TestIsNil(t *testing.T) {
	for _, session := range []any{nil, (*encsession.MemorySession)(nil), map[int]int(nil), (func())(nil), (chan int)(nil), []int(nil)} {
		require.True(t, isNil(session), "%T", session)
	}
	for _, session := range []any{&encsession.MemorySession{}, map[int]int{}, func() {}, make(chan int), []int{}, "", 0, struct{}{}} {
		require.False(t, isNil(session), "%T", session)
	}
}

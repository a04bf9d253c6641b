//go:build !race

package encsession_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// heapAt is a context that measures the heap when it is asked for the last item of a read: then all others are open.
type heapAt struct {
	context.Context
	left int
	heap uint64
}

func (c *heapAt) Err() error {
	if c.left--; c.left == 0 {
		c.heap = heap()
	}
	return nil
}

// TestGetItemsHoldsLittle holds a read to one and a half times the plaintext that it returns, beyond the store's own slice.
// For items below some 400 bytes what is fixed in size, 57 bytes of a token and 88 of slices, weighs more than that.
func TestGetItemsHoldsLittle(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for _, size := range []int{400, 500, 1000, 1024, 2000, 4000, 16000, 64000} {
		t.Run(fmt.Sprint(size, " B"), func(t *testing.T) {
			n := 4_000_000 / size
			store := encsession.NewMemorySession(sessionID)
			session := newSession(t, store, testKey(t, 0))
			for i := range n {
				head := fmt.Sprintf(`{"i":"%08d","content":"`, i)
				require.NoError(t, session.AddItems(t.Context(), encsession.Item(head+strings.Repeat("x", size-len(head)-2)+`"}`)))
			}
			ctx := &heapAt{Context: t.Context(), left: n + 2} // GetItems asks once, its read of the store once
			before := heap()
			items, err := session.GetItems(ctx, 0)
			require.NoError(t, err)
			require.Len(t, items, n)
			require.NotZero(t, ctx.heap)
			held := float64(ctx.heap - before) // the store's slice is of the size of the one to be returned
			t.Logf("%.2f of the plaintext", held/float64(n*size))
			require.LessOrEqual(t, held, 1.5*float64(n*size)+float64(size))
			runtime.KeepAlive(store)
		})
	}
}

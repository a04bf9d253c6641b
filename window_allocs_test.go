//go:build !race

package encsession_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/fernet/fernet-go"
	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// TestSmallCallsAllocateLittle allows a call with one item two allocations more
// than fernet-go makes. The store allocates nothing.
func TestSmallCallsAllocateLittle(t *testing.T) {
	store := &sharingStore{items: make([]encsession.Item, 0, 3000)}
	session := newSession(t, store, testKey(t, 0))
	item := benchmarkItems(1, 1000)[0]
	keys := bareKey(testIKM(0))
	token, err := fernet.EncryptAndSign(item, keys[0])
	require.NoError(t, err)

	seal := testing.AllocsPerRun(1000, func() { fernet.EncryptAndSign(item, keys[0]) })
	add := testing.AllocsPerRun(1000, func() { require.NoError(t, session.AddItems(t.Context(), item)) })
	t.Logf("AddItems: %v, fernet-go: %v", add, seal)
	require.LessOrEqual(t, add, seal+2)

	open := testing.AllocsPerRun(1000, func() { fernet.VerifyAndDecrypt(token, 0, keys) })
	get := testing.AllocsPerRun(1000, func() {
		_, err := session.GetItems(t.Context(), 1)
		require.NoError(t, err)
	})
	t.Logf("GetItems: %v, fernet-go: %v", get, open)
	require.LessOrEqual(t, get, open+2)
}

// heapAt is a context that measures the heap when it is checked before the last
// item of a read. All other items are open then.
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

// TestGetItemsHoldsLittle allows a read to hold one and a half times the
// plaintext that it returns, not counting the store's own items and slice.
// Items below about 400 bytes would need more, since each has a fixed cost: 57
// bytes of a token and 80 of a judgement.
func TestGetItemsHoldsLittle(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for _, size := range []int{400, 500, 1000, 1024, 2000, 4000, 16000, 64000} {
		t.Run(fmt.Sprint(size, " B"), func(t *testing.T) {
			n := 4_000_000 / size
			store := new(sharingStore)
			session := newSession(t, store, testKey(t, 0))
			for i := range n {
				head := fmt.Sprintf(`{"i":"%08d","content":"`, i)
				require.NoError(t, session.AddItems(t.Context(), encsession.Item(head+strings.Repeat("x", size-len(head)-2)+`"}`)))
			}
			ctx := &heapAt{Context: t.Context(), left: n + 1} // GetItems checks it once before it reads
			before := heap()
			items, err := session.GetItems(ctx, 0)
			require.NoError(t, err)
			require.Len(t, items, n)
			require.NotZero(t, ctx.heap)
			require.Zero(t, ctx.left)
			held := float64(ctx.heap - before)
			t.Logf("%.2f of the plaintext", held/float64(n*size))
			require.LessOrEqual(t, held, 1.5*float64(n*size)+float64(size))
			runtime.KeepAlive(store)
		})
	}
}

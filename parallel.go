package encsession

import (
	"cmp"
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// parallelBytes is how many bytes of items are worth a second goroutine. Fewer
// are sealed or opened in less time than it takes to wake another core for
// them: the two broke even between 45 and 90 kB of envelopes
// (BenchmarkParallel, on two cores of a virtual machine).
const parallelBytes = 64 << 10

// work is the task that the func each does for one item. It may change the
// item. It is a type and not a func so that it need not be on the heap.
type work[T any] interface {
	size(item *T) int // in bytes
	do(i int, item *T) error
}

// each does the work for every item, on several goroutines if the items are
// large enough together. It stops at the first error, and if the context is
// done.
func each[T any, W work[T]](ctx context.Context, items []T, w W) error {
	total := 0
	for i := range items {
		total += w.size(&items[i])
	}
	if total >= parallelBytes {
		workers := min(runtime.GOMAXPROCS(0), len(items), 2*total/parallelBytes)
		return forEach(ctx, len(items), workers, func(i int) error { return w.do(i, &items[i]) })
	}
	for i := range items {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.do(i, &items[i]); err != nil {
			return err
		}
	}
	return nil
}

// forEach calls do for every number below n, on several goroutines, and returns
// when all calls have returned. It takes numbers in order, and none after an
// error. It returns the error of the lowest number that has one, or that of the
// context. Only the caller's goroutine checks the context, since a context is
// code of the caller and may panic. If it panics, the other goroutines end too.
func forEach(ctx context.Context, n, workers int, do func(int) error) error {
	var next atomic.Int64
	errs := make([]error, n)
	work := func(stop func() error) {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			if errs[i] = stop(); errs[i] == nil {
				errs[i] = do(i)
			}
			if errs[i] != nil {
				next.Store(int64(n))
			}
		}
	}
	var others sync.WaitGroup
	defer others.Wait()
	defer next.Store(int64(n)) // before the wait, in case the context panics
	for range workers - 1 {
		others.Go(func() { work(func() error { return nil }) })
	}
	work(ctx.Err)
	others.Wait()
	return cmp.Or(errs...)
}

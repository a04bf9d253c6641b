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
type work[T, W any] interface {
	worker() W        // the same task, for one goroutine
	size(item *T) int // in bytes
	do(i int, item *T) error
}

// each does the work for every item, on several goroutines if the items are
// large enough together. It stops at the first error, and if the context is
// done.
func each[T any, W work[T, W]](ctx context.Context, items []T, w W) error {
	total := 0
	for i := range items {
		total += w.size(&items[i])
	}
	if total >= parallelBytes {
		workers := min(runtime.GOMAXPROCS(0), len(items), 2*total/parallelBytes)
		return forEach(ctx, len(items), workers, func() func(int) error {
			mine := w.worker()
			return func(i int) error { return mine.do(i, &items[i]) }
		})
	}
	mine := w.worker()
	for i := range items {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := mine.do(i, &items[i]); err != nil {
			return err
		}
	}
	return nil
}

// forEach calls a func for every number below n, on several goroutines, and
// returns when all calls have returned. Each goroutine gets its func from
// worker. forEach hands out numbers in order, and stops soon after an error. It
// returns the error of the lowest number that has one. Only the caller's
// goroutine checks the context, since a context is code of the caller and may
// panic; its error counts for the number that is next there. If it panics, the
// other goroutines end too.
func forEach(ctx context.Context, n, workers int, worker func() func(int) error) error {
	var next atomic.Int64
	errs := make([]error, n)
	run := func(stop func() error) {
		do := worker()
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
		others.Go(func() { run(func() error { return nil }) })
	}
	run(ctx.Err)
	others.Wait()
	return cmp.Or(errs...)
}

package encsession

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
)

// parallelBytes is how many bytes of items are worth a second goroutine. Fewer are sealed or opened in less time than it
// takes to wake another core for them: the two broke even between 45 and 90 kB of envelopes (BenchmarkParallel, on two
// cores of a virtual machine).
const parallelBytes = 64 << 10

// workersFor returns how many goroutines, the caller's included, are worth it for n items of these sizes in bytes.
func workersFor(n int, size func(int) int) int {
	if n < 2 {
		return 1
	}
	total := 0
	for i := range n {
		total += size(i)
	}
	if total < parallelBytes {
		return 1
	}
	return min(runtime.GOMAXPROCS(0), n, 2*total/parallelBytes)
}

// inOrder calls do for every number below n, up to the first error or that of the context. It is forEach on one goroutine,
// and allocates nothing: do need not be on the heap, as what goroutines share is.
func inOrder(ctx context.Context, n int, do func(int) error) error {
	for i := range n {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := do(i); err != nil {
			return err
		}
	}
	return nil
}

var errEnded = errors.New("a goroutine was ended by runtime.Goexit")

// forEach calls do for every number below n, on several goroutines, and returns when all calls have. Numbers are taken in
// order, and none after an error: the error that forEach returns is that of the lowest number that has one, whatever the
// number of goroutines, or that of the context when it is done. A panic, which a context or a source of randomness
// may be made to raise, is raised in the goroutine of the caller; a goroutine that they end is an error.
func forEach(ctx context.Context, n, workers int, do func(int) error) error {
	type failure struct {
		at    int
		err   error
		panic any
	}
	var next atomic.Int64
	failures := make(chan failure, workers)
	work := func() {
		at, done := 0, false
		defer func() {
			if p := recover(); !done {
				next.Store(int64(n))
				failures <- failure{at: at, err: errEnded, panic: p}
			}
		}()
		for {
			at = int(next.Add(1)) - 1
			if at >= n {
				done = true
				return
			}
			err := ctx.Err()
			if err == nil {
				err = do(at)
			}
			if err != nil {
				next.Store(int64(n))
				failures <- failure{at: at, err: err}
				done = true
				return
			}
		}
	}
	var others sync.WaitGroup
	for range workers - 1 {
		others.Go(work)
	}
	work()
	others.Wait()
	close(failures)
	first := failure{at: n}
	for f := range failures {
		if f.at < first.at {
			first = f
		}
	}
	if first.panic != nil {
		panic(first.panic)
	}
	return first.err
}

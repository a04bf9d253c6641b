package sessiontest

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// recorder is a testing.TB that records the messages of a check instead of
// failing.
type recorder struct {
	testing.TB // for the methods that are not overridden, such as Context

	mu              sync.Mutex
	failed, skipped bool
	log             []string
}

// record runs a check and returns a recorder with its messages. It runs the
// check in a bubble of testing/synctest. There, sleeping takes no time, and
// ends only when all other goroutines wait. So a method that sleeps between
// reading and writing is overtaken for sure.
func record(t *testing.T, c check, open func() subject) *recorder {
	t.Helper()
	r := &recorder{}
	synctest.Test(t, func(t *testing.T) {
		r.TB = t
		done := make(chan struct{})
		go func() {
			defer close(done) // also after a Goexit
			c.start(r, open())
		}()
		<-done
	})
	return r
}

func (r *recorder) Helper() {}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

func (r *recorder) Logf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, fmt.Sprintf(format, args...))
}

func (r *recorder) Errorf(format string, args ...any) {
	r.Logf(format, args...)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = true
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Error(args ...any) { r.Errorf("%s", fmt.Sprint(args...)) }

func (r *recorder) Fatal(args ...any) { r.Fatalf("%s", fmt.Sprint(args...)) }

func (r *recorder) Skip(args ...any) {
	r.Logf("%s", fmt.Sprint(args...))
	r.mu.Lock()
	r.skipped = true
	r.mu.Unlock()
	runtime.Goexit()
}

func (r *recorder) String() string { return strings.Join(r.log, "\n") }

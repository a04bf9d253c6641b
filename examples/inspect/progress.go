package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress tells how far the work is: with a bar on a terminal, which it clears in the end, and otherwise with a line
// every few seconds and at the end.
type progress struct {
	w           io.Writer
	doing       string
	done, total int
	bar         *progressbar.ProgressBar // nil where w is no terminal
	last        time.Time                // of the last line
}

const timeBetweenLines = 5 * time.Second

func newProgress(w io.Writer, doing string, total int) *progress {
	p := &progress{w: w, doing: doing, total: total, last: time.Now()}
	if isTerminal(w) {
		p.bar = progressbar.NewOptions(total,
			progressbar.OptionSetWriter(w),
			progressbar.OptionSetDescription(doing),
			progressbar.OptionSetItsString("sessions"),
			progressbar.OptionShowCount(),
			progressbar.OptionShowIts(),
			progressbar.OptionSetWidth(30),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish())
	}
	return p
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// step tells that another session is done.
func (p *progress) step() {
	p.done++
	p.total = max(p.total, p.done) // others may add sessions meanwhile
	switch {
	case p.bar != nil && p.done <= p.bar.GetMax():
		_ = p.bar.Set(p.done) // a bar that cannot be drawn is no reason to stop
	case p.bar != nil:
	case time.Since(p.last) >= timeBetweenLines:
		p.line()
	}
}

// finish takes the bar away, or prints the last line.
func (p *progress) finish() {
	if p.bar != nil {
		_ = p.bar.Clear()
		return
	}
	p.line()
}

func (p *progress) line() {
	p.last = time.Now()
	fmt.Fprintf(p.w, "%s: %d of %s\n", p.doing, p.done, plural(p.total, "session", "sessions"))
}

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/encsession/encsession"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows how far the work is. On a terminal it draws a bar and clears
// it in the end. Otherwise it prints a line every few seconds, and one at the
// end of each pass over the listing.
type progress struct {
	w     io.Writer
	doing []string // the name of each pass; further passes have the last name
	total int      // 0 if nobody has counted
	bar   *progressbar.ProgressBar
	pass  int // counts from 0
	count int
	last  time.Time // of the last line
}

const timeBetweenLines = 5 * time.Second

// newProgress first counts the sessions if there is a terminal that can show a
// bar.
func newProgress(ctx context.Context, w io.Writer, doing []string, sessions listing) *progress {
	p := &progress{w: w, doing: doing, pass: -1}
	if isTerminal(w) {
		for _, err := range sessions {
			if err != nil || ctx.Err() != nil {
				break
			}
			p.total++
		}
	}
	return p
}

// listing returns the same listing, and counts its sessions in each pass.
func (p *progress) listing(sessions listing) listing {
	return func(yield func(encsession.SessionInfo, error) bool) {
		p.begin()
		defer p.finish()
		for info, err := range sessions {
			if err == nil {
				p.step()
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

func (p *progress) begin() {
	p.pass, p.count, p.last = min(p.pass+1, len(p.doing)-1), 0, time.Now()
	if p.total > 0 {
		p.bar = progressbar.NewOptions(p.total,
			progressbar.OptionSetWriter(p.w),
			progressbar.OptionSetDescription(p.doing[p.pass]),
			progressbar.OptionSetItsString("sessions"),
			progressbar.OptionShowCount(),
			progressbar.OptionShowIts(),
			progressbar.OptionSetWidth(30),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish())
	}
}

func (p *progress) step() {
	p.count++
	switch {
	case p.bar != nil && p.count <= p.total: // others may add sessions meanwhile
		_ = p.bar.Set(p.count) // a bar that cannot be drawn is no reason to stop
	case p.bar == nil && time.Since(p.last) >= timeBetweenLines:
		p.last = time.Now()
		fmt.Fprintf(p.w, "%s: %s so far\n", p.doing[p.pass], plural(p.count, "session", "sessions"))
	}
}

// clear removes the bar until it is drawn again.
func (p *progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

func (p *progress) finish() {
	p.clear()
	if p.bar == nil && !isTerminal(p.w) {
		fmt.Fprintf(p.w, "%s: %s looked at\n", p.doing[p.pass], plural(p.count, "session", "sessions"))
	}
	p.bar = nil
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

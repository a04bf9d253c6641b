package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/encsession/encsession"
)

// turnsPerRound is the number of turns between two looks at the processor time,
// which Linux counts in hundredths of a second.
const turnsPerRound = 100

// cost is the cost of a turn, and of an item that is stored.
type cost struct {
	here, elsewhere float64 // milliseconds of processor time, of this process and of the rest of the machine
	bytes           float64
}

// printCosts measures the costs in each store that is available, and prints a
// table.
func printCosts(ctx context.Context, rounds int, getenv func(string) string, key string, stdout, stderr io.Writer) error {
	parsed, err := encsession.ParseKey(key)
	if err != nil {
		return err
	}
	t := table.NewWriter()
	t.AppendHeader(table.Row{"", "ms of processor time of a turn here", "elsewhere on the machine", "bytes stored for an item of 1 kB"})
	t.SetColumnConfigs([]table.ColumnConfig{{Number: 2, Align: text.AlignRight}, {Number: 3, Align: text.AlignRight}, {Number: 4, Align: text.AlignRight}})
	err = eachStore(ctx, getenv, stdout, stderr, func(p *place) error {
		c, err := costOf(ctx, p, parsed, rounds)
		t.AppendRow(table.Row{p.name, fmt.Sprintf("%.2f", c.here), fmt.Sprintf("%.2f", c.elsewhere), fmt.Sprintf("%.0f", c.bytes)})
		return err
	})
	if err == nil {
		fmt.Fprintf(stdout, "A turn opens a session, reads the newest %d items and adds %d. %d turns.\n\n%s\n",
			page, batch, rounds*turnsPerRound, t.RenderMarkdown())
	}
	return err
}

// costOf measures turns in sessions that have a history of 200 items, each in a
// session of its own as far as there are as many.
func costOf(ctx context.Context, p *place, key encsession.Key, rounds int) (cost, error) {
	items := makeItems(history, storeItemSize)
	open := func(n int) (*encsession.EncryptedSession, error) {
		return encsession.New(p.store(fmt.Sprint("turns-", n)), key)
	}
	const sessions = 50
	empty, err := p.bytes(ctx)
	if err != nil {
		return cost{}, err
	}
	for n := range sessions {
		s, err := open(n)
		if err == nil {
			err = s.AddItems(ctx, items...)
		}
		if err != nil {
			return cost{}, err
		}
	}
	full, err := p.bytes(ctx)
	if err != nil {
		return cost{}, err
	}
	var here, elsewhere float64
	for range rounds {
		before, err := processorTime()
		if err != nil {
			return cost{}, err
		}
		for n := range turnsPerRound {
			s, err := open(n % sessions)
			if err == nil {
				_, err = s.GetItems(ctx, page)
			}
			if err == nil {
				err = s.AddItems(ctx, items[:batch]...)
			}
			if err != nil {
				return cost{}, err
			}
		}
		after, err := processorTime()
		if err != nil {
			return cost{}, err
		}
		here += after.process - before.process
		elsewhere += after.machine - before.machine - (after.process - before.process)
	}
	turns := float64(rounds * turnsPerRound)
	// The two files are not read at the same moment.
	return cost{here / turns, max(0, elsewhere/turns), float64(full-empty) / (sessions * history)}, nil
}

// processorTimes are milliseconds since the start.
type processorTimes struct{ process, machine float64 }

// processorTime reads the times of Linux, in proc(5). They are in hundredths of
// a second, whatever the machine.
func processorTime() (t processorTimes, err error) {
	own, ownErr := os.ReadFile("/proc/self/stat")
	all, allErr := os.ReadFile("/proc/stat")
	if err := cmp.Or(ownErr, allErr); err != nil {
		return t, fmt.Errorf("-cost needs the /proc of Linux: %w", err)
	}
	// The name of the process comes in brackets, and may hold spaces. utime and
	// stime are the 14th and 15th field, and the 12th and 13th behind the name.
	process := strings.Fields(string(own[slices.Index(own, ')')+1:]))
	// user, nice, system, idle, iowait, irq, softirq
	machine := strings.Fields(string(all))
	if len(process) < 13 || len(machine) < 8 {
		return t, errors.New("-cost needs the /proc of Linux: its files have another format here")
	}
	t.process, err = sum(process[11:13])
	if err == nil {
		t.machine, err = sum(append(machine[1:4:4], machine[6:8]...))
	}
	return t, err
}

// sum adds numbers of hundredths of a second, and returns milliseconds.
func sum(hundredths []string) (ms float64, err error) {
	for _, text := range hundredths {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return 0, err
		}
		ms += 10 * float64(n)
	}
	return ms, nil
}

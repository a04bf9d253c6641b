package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"github.com/encsession/encsession"
)

// entry is a contender under the name that the table gives it.
type entry struct {
	name string
	contender
}

// enter returns everyone who takes part, and results that are empty yet.
func enter(key string, python *python) ([]entry, results, error) {
	parsed, err := encsession.ParseKey(key)
	if err != nil {
		return nil, results{}, err
	}
	var entries []entry
	r := results{python: -1}
	add := func(name string, c contender) (index int) {
		entries, r.names = append(entries, entry{name, c}), append(r.names, name)
		return len(entries) - 1
	}
	for _, cores := range slices.Compact([]int{runtime.GOMAXPROCS(0), 1}) {
		session, err := newEncrypted(cores, parsed)
		if err != nil {
			return nil, results{}, err
		}
		r.ours = append(r.ours, add("encsession, "+coreCount(cores), session))
	}
	fernet, err := newFernet()
	if err != nil {
		return nil, results{}, err
	}
	r.fernet = add("fernet-go alone, 1 core", fernet)
	gcm, err := newAESGCM()
	if err != nil {
		return nil, results{}, err
	}
	add("AES-256-GCM alone, 1 core", gcm)
	if python != nil {
		r.python = add("Python EncryptedSession", python)
	}
	return entries, r, nil
}

func coreCount(cores int) string {
	if cores == 1 {
		return "1 core"
	}
	return fmt.Sprintf("%d cores", cores)
}

// column is what the contenders took for one direction and size.
type column struct {
	direction string
	size      int
	items     int
	took      [][]time.Duration // by contender and round
}

// measure lets every contender write and read the items once per round, in an order of chance: who always runs behind
// Python would always find the processors asleep.
func measure(ctx context.Context, entries []entry, items []encsession.Item, rounds int) (write, read column, err error) {
	for _, e := range entries {
		if err := e.load(ctx, items); err != nil {
			return column{}, column{}, fmt.Errorf("%s: %w", e.name, err)
		}
	}
	write = column{direction: "write", size: len(items[0]), items: len(items), took: make([][]time.Duration, len(entries))}
	read = column{direction: "read", size: len(items[0]), items: len(items), took: make([][]time.Duration, len(entries))}
	for range rounds {
		for _, i := range rand.Perm(len(entries)) {
			if err := takeTurn(ctx, entries[i], &write.took[i], &read.took[i]); err != nil {
				return column{}, column{}, fmt.Errorf("%s: %w", entries[i].name, err)
			}
		}
	}
	return write, read, nil
}

// takeTurn lets a contender write and read.
func takeTurn(ctx context.Context, c contender, write, read *[]time.Duration) error {
	took, err := warm(ctx, c.write)
	if err != nil {
		return err
	}
	*write = append(*write, took)
	if took, err = warm(ctx, c.read); err != nil {
		return err
	}
	*read = append(*read, took)
	return nil
}

// warm does the work twice, and returns how long it took the second time. Who has slept while others had their turn wakes
// up first: in a virtual machine it may take milliseconds until a second processor works, as long as the work itself.
func warm(ctx context.Context, work func(context.Context) (time.Duration, error)) (time.Duration, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if _, err := work(ctx); err != nil {
		return 0, err
	}
	return work(ctx)
}

// perItem returns how many microseconds a contender took for an item: the median over the rounds.
func (c column) perItem(contender int) float64 {
	each := make([]float64, len(c.took[contender]))
	for round, took := range c.took[contender] {
		each[round] = float64(took) / float64(time.Microsecond) / float64(c.items)
	}
	return median(each)
}

// ratio returns how many times as long as another one a contender took: the median of the ratios of the rounds, which
// is steadier than the ratio of the medians where the machine gets slower and faster.
func (c column) ratio(contender, other int) float64 {
	each := make([]float64, len(c.took[contender]))
	for round, took := range c.took[contender] {
		each[round] = float64(took) / float64(c.took[other][round])
	}
	return median(each)
}

func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

package main

import (
	"context"
	"errors"
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

// enter returns all contenders that take part, and results that are still
// empty.
func enter(key string, python *python) ([]entry, results, error) {
	parsed, err := encsession.ParseKey(key)
	if err != nil {
		return nil, results{}, err
	}
	var entries []entry
	r := results{title: "Microseconds per item", unit: "µs per item (÷ fernet-go)", note: "Each size has a scale of its own."}
	add := func(name string, c contender) (index int) {
		entries, r.names = append(entries, entry{name, c}), append(r.names, name)
		return len(entries) - 1
	}
	var ours []int
	for _, cores := range slices.Compact([]int{runtime.GOMAXPROCS(0), 1}) {
		session, err := newEncrypted(cores, parsed)
		if err != nil {
			return nil, results{}, err
		}
		ours = append(ours, add("encsession, "+coreCount(cores), session))
	}
	fernet, err := newFernet()
	if err != nil {
		return nil, results{}, err
	}
	r.base = add("fernet-go alone, 1 core", fernet)
	gcm, err := newAESGCM()
	if err != nil {
		return nil, results{}, err
	}
	add("AES-256-GCM alone, 1 core", gcm)
	if python != nil {
		index := add("Python EncryptedSession", python)
		for _, i := range ours {
			r.ratios = append(r.ratios, ratio{"Python ÷ " + r.names[i], index, i})
		}
	}
	return entries, r, nil
}

func coreCount(cores int) string {
	if cores == 1 {
		return "1 core"
	}
	return fmt.Sprintf("%d cores", cores)
}

// column holds the times that the contenders took for one operation.
type column struct {
	title string
	parts int               // a time is divided by this: the items of a call, or 1
	took  [][]time.Duration // by contender and round; none for a contender that does not do it
}

// errNotDone is the error of a contender that has no such operation.
var errNotDone = errors.New("not done by this contender")

// measure lets every contender do every operation once per round, in random
// order. With a fixed order, the contender behind Python would always find the
// processors asleep.
func measure(ctx context.Context, entries []entry, titles []string, parts int, items []encsession.Item, rounds int) ([]column, error) {
	for _, e := range entries {
		if err := e.load(ctx, items); err != nil {
			return nil, fmt.Errorf("%s: %w", e.name, err)
		}
	}
	columns := make([]column, len(titles))
	for i, title := range titles {
		columns[i] = column{title: title, parts: parts, took: make([][]time.Duration, len(entries))}
	}
	for range rounds {
		for _, i := range rand.Perm(len(entries)) {
			for op, c := range columns {
				took, err := warm(ctx, op, entries[i].do)
				if errors.Is(err, errNotDone) {
					continue
				}
				if err != nil {
					return nil, fmt.Errorf("%s: %w", entries[i].name, err)
				}
				c.took[i] = append(c.took[i], took)
			}
		}
	}
	return columns, nil
}

// warm does the work twice, and returns the time of the second run. A contender
// that has slept during the turns of others wakes up first. In a virtual
// machine, a second processor may start only after some milliseconds. The work
// itself takes about as long.
func warm(ctx context.Context, op int, do func(context.Context, int) (time.Duration, error)) (time.Duration, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if _, err := do(ctx, op); err != nil {
		return 0, err
	}
	return do(ctx, op)
}

// done reports whether a contender has done the operation.
func (c column) done(contender int) bool { return len(c.took[contender]) > 0 }

// micros returns the microseconds that a contender took for a part: the median
// over the rounds.
func (c column) micros(contender int) float64 {
	each := make([]float64, len(c.took[contender]))
	for round, took := range c.took[contender] {
		each[round] = float64(took) / float64(time.Microsecond) / float64(c.parts)
	}
	return median(each)
}

// ratio says how many times longer a contender took than another one: the
// median of the ratios of the rounds. That is steadier than the ratio of the
// medians if the machine gets slower and faster.
func (c column) ratio(contender, other int) float64 {
	each := make([]float64, len(c.took[contender]))
	for round, took := range c.took[contender] {
		each[round] = float64(took) / float64(c.took[other][round])
	}
	return median(each)
}

// median returns the median of values, or 0 if there are none.
func median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return 0
	}
	slices.Sort(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

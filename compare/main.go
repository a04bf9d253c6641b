// Compare measures encsession beside its alternatives, on this machine. It
// prints the result as a table in Markdown.
//
//	go run ./compare                  # about a minute
//	go run ./compare -svg speed.svg   # and draws it
//	go run ./compare -stores          # through SQLite, and the servers that are named
//	go run ./compare -cost            # what a turn and an item cost there (Linux)
//	go run ./compare -h               # the other flags
//
// All contenders seal and open the same items:
//
//   - encsession over a session in memory, on all cores and on one;
//   - a bare loop over fernet-go, which does the same cryptography and nothing
//     else;
//   - a bare loop over AES-256-GCM of the standard library, which shows about
//     how fast the hardware could be;
//   - EncryptedSession of the OpenAI Agents SDK for Python over a list in
//     memory, if an interpreter that has the SDK is found.
//
// With -stores, the contenders read, add and pop through SQLite. They also do
// so through PostgreSQL, MySQL and Redis, if ENCSESSION_POSTGRES_DSN,
// ENCSESSION_MYSQL_DSN and ENCSESSION_REDIS_ADDR name servers. The scripts
// .ci/servers.sh and .ci/redis.sh start such servers. Compare uses tables and
// keys of its own there, and deletes them at the end. Python goes through its
// own classes, SQLiteSession, SQLAlchemySession and RedisSession.
//
// With -cost, encsession takes turns through the same stores. A turn opens a
// session, reads the newest 50 items and adds 4. Compare shows the processor
// time of this process and of the rest of the machine, so nothing else should
// run on it, and the bytes that the store keeps for an item.
//
// Before the clock runs, every contender shows that it reads back its own
// items. Python and Go show that they read each other's. An interrupt ends the
// run. The exit status is 0, 1 for an error, or 2 for wrong arguments. With go
// run, it is 1 in both of these cases.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/encsession/encsession"
	"github.com/klauspost/cpuid/v2"
)

// sizes are the sizes of the items, in bytes of JSON.
var sizes = []int{200, 1000, 16000}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	c, err := parseArgs(args, getenv, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "compare:", err)
		return 2
	}
	if err := compare(ctx, c, getenv, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "compare:", err)
		return 1
	}
	return 0
}

type config struct {
	stores bool
	cost   bool
	svg    string
	python string // empty: python3, if that has the SDK
	rounds int
	items  int
}

func parseArgs(args []string, getenv func(string) string, help io.Writer) (config, error) {
	var c config
	flags := flag.NewFlagSet("compare", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // run prints the error
	flags.BoolVar(&c.stores, "stores", false, "measure through stores, a session of 200 items of 1 kB")
	flags.BoolVar(&c.cost, "cost", false, "measure the processor time of a turn and the bytes of an item through stores, without Python")
	flags.StringVar(&c.svg, "svg", "", "draw the result, as SVG, into this `file` too")
	flags.StringVar(&c.python, "python", getenv("ENCSESSION_PYTHON"),
		"the Python `interpreter` that has openai-agents[encrypt]; ENCSESSION_PYTHON names it too\n"+
			"(default: python3; without the SDK, the table has no Python)")
	flags.IntVar(&c.rounds, "rounds", 15, "every contender writes and reads once per round")
	flags.IntVar(&c.items, "items", 1000, "how many items of each size")
	flags.Usage = func() {} // usage is printed only to those who ask for help
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(help, "Compare measures encsession beside fernet-go, AES-GCM and Python, on this machine.\n\n"+
			"usage: go run ./compare [flags]\n\n")
		flags.SetOutput(help)
		flags.PrintDefaults()
	}
	if err != nil {
		return config{}, err
	}
	flags.Visit(func(f *flag.Flag) {
		switch {
		case f.Name == "items" && c.stores:
			err = errors.New("-items and -stores: through stores it is always a session of 200 items")
		case f.Name != "cost" && f.Name != "rounds" && c.cost:
			err = fmt.Errorf("-%s and -cost: the only flag beside -cost is -rounds", f.Name)
		}
	})
	if err != nil {
		return config{}, err
	}
	return c, c.check(flags.Args())
}

func (c config) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q: compare takes only flags, see -h", rest[0])
	case c.rounds < 1:
		return fmt.Errorf("-rounds %d: at least one is needed", c.rounds)
	case c.items < 1:
		return fmt.Errorf("-items %d: at least one is needed", c.items)
	case c.svg == "":
		return nil
	}
	// This is checked now, before everything is measured.
	if folder, err := os.Stat(filepath.Dir(c.svg)); err != nil || !folder.IsDir() {
		return fmt.Errorf("-svg %s: there is no such folder", c.svg)
	}
	return nil
}

// ballast is about as large as the heap of a small server. With an empty heap,
// Go's garbage collector would run several times in a call, and use the time of
// the second core.
const ballast = 64 << 20

func compare(ctx context.Context, c config, getenv func(string) string, stdout, stderr io.Writer) error {
	heap := make([]byte, ballast)
	defer runtime.KeepAlive(heap)
	key := encsession.GenerateKey()
	if c.cost {
		fmt.Fprintf(stdout, "%s\n%s%s\n\n", hardware(), software(nil), load())
		return printCosts(ctx, c.rounds, getenv, key, stdout, stderr)
	}
	python, missing, err := findPython(ctx, c.python, key)
	if err != nil {
		return err
	}
	if python != nil {
		defer python.close()
	}
	measured, items := inMemory, fmt.Sprintf("%d items of each size", c.items)
	if c.stores {
		measured, items = compareStores, fmt.Sprintf("%d items of %s", history, sizeName(storeItemSize))
	}
	hardware, software := hardware(), software(python)
	fmt.Fprintf(stdout, "%s\n%s\n%s, medians of %d rounds, %d MB on Go's heap besides%s\n\n",
		hardware, software, items, c.rounds, ballast>>20, load())
	if python == nil {
		fmt.Fprintf(stdout, "Python is left out (%v). %s\n\n", missing, howToGetPython)
	}
	r, err := measured(ctx, c, getenv, key, python, stdout, stderr)
	if err != nil {
		return err
	}
	r.hardware, r.software = hardware, software
	fmt.Fprintln(stdout, r.text)
	if c.svg == "" {
		return nil
	}
	svg, err := r.svg()
	if err != nil {
		return err
	}
	return os.WriteFile(c.svg, svg, 0o666)
}

// inMemory measures without a store.
func inMemory(ctx context.Context, c config, _ func(string) string, key string, python *python, _, stderr io.Writer) (results, error) {
	entries, r, err := enter(key, python)
	if err != nil {
		return results{}, err
	}
	for _, size := range sizes {
		fmt.Fprintf(stderr, "measuring %s …\n", sizeName(size))
		columns, err := measure(ctx, entries, writeAndRead, c.items, makeItems(c.items, size), c.rounds)
		if err != nil {
			return results{}, err
		}
		r.panels = append(r.panels, panel{name: sizeName(size), columns: columns})
	}
	r.text = r.sizes() + "\n\n" + notes
	return r, nil
}

// notes explain how to read the table.
const notes = "Microseconds per item, and in brackets how many times as long as fernet-go. On 1 core: with GOMAXPROCS=1. Alone: a loop\n" +
	"that keeps no result. Python's items are dicts, so it encodes and parses JSON, where Go is given JSON and checks it."

// hardware names the machine of the measurement, and the date.
func hardware() string {
	cpu := cpuid.CPU.BrandName
	if cpu == "" {
		cpu = "unknown processor"
	}
	return fmt.Sprintf("%s, %d cores, GOMAXPROCS %d, %s/%s; %s",
		cpu, runtime.NumCPU(), runtime.GOMAXPROCS(0), runtime.GOOS, runtime.GOARCH, time.Now().Format(time.DateOnly))
}

func software(python *python) string {
	s := "Go " + strings.TrimPrefix(runtime.Version(), "go")
	if python != nil {
		s += "; Python " + python.versions
	}
	return s
}

// load says how busy the machine is. It returns the empty string if it cannot
// tell, as on systems other than Linux.
func load() string {
	average, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	lastMinute, _, _ := strings.Cut(string(average), " ")
	return "; load before " + lastMinute
}

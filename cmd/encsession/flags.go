package main

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/encsession/encsession"
	"github.com/spf13/pflag"
)

// flags holds the values of the flags of all commands.
type flags struct {
	store                  string
	storeSet               bool
	sessions, messages     string // the names of the tables
	prefix                 string // of the keys in Redis
	hashTag                bool   // whether these have one
	json, all              bool
	workers                int
	shard, shards          int // shard counts from 0 here
	pause                  time.Duration
	ttl                    time.Duration
	dryRun, yes            bool
	auditFile              string
	firstUse               string
	unreadableHistory      bool
	plaintext, ignoreCase  bool
	olderThan, idle        time.Duration
	olderThanSet, idleSet  bool
	match, out             string
	matchSet, auditFileSet bool
	destroyed              bool
	keystore, tenantEnd    string
	keystoreSet            bool
}

// value is a flag whose errors never quote the given text. The text may be a
// secret in the wrong place.
type value struct {
	kind string // as help names it
	text string // the default, as help shows it
	set  func(string) error
}

func (v *value) String() string { return v.text }
func (v *value) Type() string   { return v.kind }
func (v *value) Set(s string) error {
	if err := v.set(s); err != nil {
		return err
	}
	v.text = s
	return nil
}

// storeFlags adds the flags of every command that uses a store.
func (f *flags) storeFlags(set *pflag.FlagSet) {
	set.Var(&value{kind: "URL", set: func(s string) error { f.store, f.storeSet = s, true; return nil }}, "store",
		"the store: sqlite:FILE, postgres://, mysql://, redis://, rediss:// or redis-cluster://user@host:port/name;\n"+
			"one with a password goes into "+storeVariable+" or "+storeVariable+fileSuffix)
	set.StringVar(&f.sessions, "sessions-table", "agent_sessions", "`name` of the table of sessions, in SQL")
	set.StringVar(&f.messages, "messages-table", "agent_messages", "`name` of the table of messages, in SQL")
	set.StringVar(&f.prefix, "prefix", "agents:session", "`prefix` of the keys, in Redis")
	set.BoolVar(&f.hashTag, "hash-tag", false, "the keys have the hash tags of redisstore's WithHashTag, in Redis; a cluster's always do")
	set.BoolVar(&f.json, "json", false, "print JSON lines on standard output, and nothing else")
}

// fleetFlags adds the flags of commands that go over all sessions.
func (f *flags) fleetFlags(set *pflag.FlagSet) {
	set.BoolVar(&f.all, "all", false, "print a line for each session too, not the summary alone")
	f.workers = 1
	set.Var(&value{kind: "N", text: "1", set: func(s string) (err error) {
		f.workers, err = number(s, 1, 1000)
		return err
	}}, "workers", "work on `N` sessions at the same time, each with a connection of its own: 1 to 1000")
	f.shards = 1
	set.Var(&value{kind: "I/N", set: func(s string) (err error) {
		f.shard, f.shards, err = parseShard(s)
		return err
	}}, "shard", "work on part I of N of the sessions, as in 3/8 for the third of eight; the parts count from 1")
	set.Var(&value{kind: "DURATION", set: func(s string) (err error) {
		f.pause, err = time.ParseDuration(s)
		if err != nil || f.pause < 0 {
			return errors.New("want a duration such as 50ms or 1s")
		}
		return nil
	}}, "pause", "let each worker wait that long after each session, so that the database has room for others")
}

// ttlFlag adds the flag of commands that judge the age of items.
func (f *flags) ttlFlag(set *pflag.FlagSet) {
	f.ttl = encsession.NoExpiry
	set.Var(&value{kind: "AGE", set: func(s string) (err error) {
		f.ttl, err = parseAge(s, time.Second)
		return err
	}}, "ttl", "items older than this count as expired, as in 36h or 30d; without it, no item counts as expired\n"+
		"or future, because the store does not know the TTL of its readers")
}

// auditFileFlag adds the flag of commands that leave a trace.
func (f *flags) auditFileFlag(set *pflag.FlagSet) {
	set.Var(&value{kind: "FILE", set: func(s string) error { f.auditFile, f.auditFileSet = s, true; return nil }}, "audit-file",
		"append a JSON line to this file: who, when, store, fingerprints, counts, outcome (or by "+auditFileVariable+")")
}

// changeFlags adds the flags of commands that change data.
func (f *flags) changeFlags(set *pflag.FlagSet) {
	f.auditFileFlag(set)
	set.BoolVar(&f.dryRun, "dry-run", false, "change nothing, and say what would be done")
	set.BoolVar(&f.yes, "yes", false, "do not ask; needed if there is no terminal to ask on")
}

// firstUseFlag adds the flag of commands that seal under the current key.
func (f *flags) firstUseFlag(set *pflag.FlagSet) {
	set.Var(&value{kind: "FINGERPRINT", set: func(s string) error {
		if !isFingerprint.MatchString(s) {
			return errors.New("a fingerprint is 16 hexadecimal digits in lower case: copy it from the startup log of the service; " +
				"a raw secret has none, so let the service write an item under it first")
		}
		f.firstUse = s
		return nil
	}}, "first-use", "the fingerprint of a current key that opens no item yet. Copy it from the startup log of the\n"+
		"service that uses it: a mistyped key will not match")
}

var isFingerprint = regexp.MustCompile(`^[0-9a-f]{16}$`)

// number reads a number between least and most.
func number(s string, least, most int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("want a number from %d to %d", least, most)
	}
	return n, nil
}

// parseShard reads "3/8", the third of eight. The parts count from 1, as people
// count. The result counts from 0, as fleet does.
func parseShard(s string) (shard, shards int, err error) {
	i, n, ok := strings.Cut(s, "/")
	if ok {
		if shards, err = number(n, 1, 1_000_000); err == nil {
			shard, err = number(i, 1, shards)
		}
	}
	if !ok || err != nil {
		return 0, 0, errors.New("want I/N, such as 3/8 for the third of eight: the parts count from 1, so 8/8 is the last and 0/8 is none")
	}
	return shard - 1, shards, nil
}

// parseAge reads a duration in whole seconds. It takes the form of package
// time, and also days.
func parseAge(s string, least time.Duration) (age time.Duration, err error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		age = time.Duration(n) * 24 * time.Hour
	} else {
		age, err = time.ParseDuration(s)
	}
	if err != nil || age < least || age%time.Second != 0 {
		return 0, fmt.Errorf("want whole seconds, at least %v, such as 90s, 36h or 30d", least)
	}
	return age, nil
}

// ageText returns a duration in days if it is whole days.
func ageText(d time.Duration) string {
	const day = 24 * time.Hour
	if d > 0 && d%day == 0 {
		return plural(int(d/day), "day", "days")
	}
	return d.String()
}

// plural returns a count with its noun.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprint(n) + " " + many
}

// shardText returns the shard as it was given, or nothing.
func (f *flags) shardText() string {
	if f.shards <= 1 {
		return ""
	}
	return fmt.Sprintf("%d/%d", f.shard+1, f.shards)
}

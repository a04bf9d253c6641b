package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/encsession/encsession"
)

// config is what is to be done, and with which keys.
type config struct {
	source string // a file, a DSN, an address or a URL
	open   func(config) (store, error)
	redis  bool

	sessions, messages string // the names of the tables
	prefix             string // of the keys in Redis
	hashTag            bool   // whether these have one

	ttl       time.Duration
	operation *operation // nil to look only
	past      bool       // whether plaintext is also sealed below items that cannot be read
	show      *string    // the session to show; nil to show none
	json      bool
	keys      *encsession.Keyring // nil if there are none
}

// operation is what is done to every session before it is counted.
type operation struct {
	name  string // as in the document
	doing string
	done  string // what has happened to items
	run   func(context.Context, *encsession.EncryptedSession) (int, error)
}

const usageHead = `Inspect counts what lies in a database of conversations, and what the keys at hand make of it.

  inspect -db FILE | -postgres DSN | -mysql DSN [flags]
  inspect -redis ADDR | -redis-cluster ADDR,ADDR [flags]
  inspect              makes a demonstration database, and inspects that

Keys come from the environment. Without them, only what the clear part of the tokens tells is shown.

  ENCSESSION_KEY        the current key, any text, as Python takes it
  ENCSESSION_READ_KEYS  keys to read with only, one a line; empty lines are passed over

Flags:
`

const usageTail = `
AGE is a duration such as 90s, 36h or 30d. One operation (-rekey, -seal-plaintext, -purge) can be given at a time.
Exit code: 0 all is well, 1 something is undecryptable, 2 an error, or an operation had to leave something else.
`

// parseArgs reads the arguments. Where they ask for help, it writes that and returns flag.ErrHelp.
func parseArgs(args []string, help io.Writer) (config, error) {
	c := config{ttl: encsession.NoExpiry}
	var operations []*operation
	flags := flag.NewFlagSet("inspect", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}

	databases := c.databaseFlags(flags)
	flags.BoolVar(&c.json, "json", false, "print JSON, with every session ID in full, and nothing else on standard output")
	flags.Func("show", "print the content of this `SESSION`, escaped", func(sessionID string) error {
		c.show = &sessionID
		return nil
	})
	flags.Func("ttl", "what is older than this `AGE` counts as expired; without it, nothing counts as expired or\n"+
		"future, as the TTL is a policy of each reader, which the database does not know", func(s string) (err error) {
		c.ttl, err = parseAge(s, time.Second)
		return err
	})
	flags.BoolFunc("rekey", "seal again under the current key what a read key opens", boolean(func() {
		operations = append(operations, &rekey)
	}))
	flags.BoolFunc("seal-plaintext", "seal what is not encrypted, and so declare it genuine: once, while writers are\n"+
		"trusted", boolean(func() { operations = append(operations, &sealPlaintext) }))
	flags.BoolVar(&c.past, "unreadable-history", false, "with -seal-plaintext: seal plaintext below unreadable items too, and in sessions\n"+
		"of which no key opens anything; make sure first that the key is right")
	flags.Func("purge", "remove what was sealed longer ago than this `AGE`", func(s string) error {
		age, err := parseAge(s, 0)
		operations = append(operations, purge(s, age))
		return err
	})

	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		var defaults strings.Builder
		flags.SetOutput(&defaults)
		flags.PrintDefaults()
		fmt.Fprint(help, usageHead, strings.ReplaceAll(defaults.String(), "\t", "    "), usageTail)
		return config{}, err
	case err != nil:
	case flags.NArg() > 0:
		err = fmt.Errorf("argument %d belongs to no flag", len(args)-flags.NArg()+1) // it may hold a password
	case *databases != 1:
		err = errors.New("give one database: -db, -postgres, -mysql, -redis or -redis-cluster")
	case len(operations) > 1:
		err = errors.New("give one operation at a time: -rekey, -seal-plaintext or -purge")
	case c.past && (len(operations) == 0 || operations[0] != &sealPlaintext):
		err = errors.New("-unreadable-history goes with -seal-plaintext")
	case len(operations) == 1 && c.show != nil:
		err = errors.New("-show goes with no operation")
	case len(operations) == 1:
		c.operation = operations[0]
	}
	if err == nil {
		err = c.checkDatabaseFlags(flags)
	}
	if err != nil {
		return config{}, fmt.Errorf("%w\n-h shows the flags", err)
	}
	return c, nil
}

// boolean makes of f what a flag without a value calls.
func boolean(f func()) func(string) error {
	return func(value string) error {
		on, err := strconv.ParseBool(value)
		if on {
			f()
		}
		return err
	}
}

// parseAge reads a duration in whole seconds, as package time does or in days.
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

var rekey = operation{
	name:  "rekey",
	doing: "Rekey",
	done:  "sealed again under the current key",
	run: func(ctx context.Context, s *encsession.EncryptedSession) (int, error) {
		return s.Rekey(ctx)
	},
}

var sealPlaintext = operation{
	name:  "seal-plaintext",
	doing: "Seal plaintext",
	done:  "sealed under the current key",
	run: func(ctx context.Context, s *encsession.EncryptedSession) (int, error) {
		return s.SealPlaintext(ctx)
	},
}

func purge(given string, age time.Duration) *operation {
	return &operation{
		name:  "purge",
		doing: "Purge",
		done:  "removed, sealed more than " + given + " ago",
		run: func(ctx context.Context, s *encsession.EncryptedSession) (int, error) {
			return s.Purge(ctx, age)
		},
	}
}

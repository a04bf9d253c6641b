package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/encsession/encsession"
	"github.com/stretchr/testify/require"
)

func TestUsageErrors(t *testing.T) {
	file := newDatabase(t)
	key := map[string]string{keyVariable: "a key of a test"}
	for name, test := range map[string]struct {
		environment map[string]string
		args        []string
		want        string
	}{
		"unknown flag":            {key, []string{"-db", file, "-mongo", "x"}, "not defined: -mongo"},
		"no database":             {key, []string{"-json"}, "give one database"},
		"two databases":           {key, []string{"-db", file, "-mysql", "x"}, "give one database"},
		"SQLite and Redis":        {key, []string{"-db", file, "-redis", "localhost:1"}, "give one database"},
		"Redis and a cluster":     {key, []string{"-redis", "localhost:1", "-redis-cluster", "localhost:1"}, "give one database"},
		"tables of Redis":         {key, []string{"-redis", "localhost:1", "-sessions", "x"}, "-sessions names a table"},
		"prefix of tables":        {key, []string{"-db", file, "-prefix", "x"}, "-prefix goes with -redis"},
		"hash tag of tables":      {key, []string{"-db", file, "-hash-tag"}, "-hash-tag goes with -redis"},
		"empty prefix":            {key, []string{"-redis", "localhost:1", "-prefix", ""}, "the prefix is empty"},
		"Redis without port":      {key, []string{"-redis", "localhost"}, "want host:port"},
		"Redis of another kind":   {key, []string{"-redis", "unix:///tmp/redis.sock"}, "want host:port"},
		"cluster without port":    {key, []string{"-redis-cluster", "localhost:1,localhost"}, "want host:port"},
		"no server there":         {key, []string{"-redis", "127.0.0.1:1"}, "connection refused"},
		"argument":                {key, []string{"-db", file, "rekey"}, "argument 3 belongs to no flag"},
		"two operations":          {key, []string{"-db", file, "-rekey", "-purge", "1d"}, "one operation at a time"},
		"history of no plaintext": {key, []string{"-db", file, "-rekey", "-unreadable-history"}, "goes with -seal-plaintext"},
		"history and nothing":     {key, []string{"-db", file, "-unreadable-history"}, "goes with -seal-plaintext"},
		"show and operation":      {key, []string{"-db", file, "-rekey", "-show", "x"}, "-show goes with no operation"},
		"TTL of nothing":          {key, []string{"-db", file, "-ttl", "0s"}, "whole seconds, at least 1s"},
		"TTL of half seconds":     {key, []string{"-db", file, "-ttl", "1.5s"}, "whole seconds"},
		"negative age":            {key, []string{"-db", file, "-purge", "-1h"}, "whole seconds, at least 0s"},
		"negative days":           {key, []string{"-db", file, "-purge", "-1d"}, "whole seconds"},
		"too many days":           {key, []string{"-db", file, "-purge", "99999999999d"}, "whole seconds"},
		"age without unit":        {key, []string{"-db", file, "-purge", "30"}, "whole seconds"},
		"not a boolean":           {key, []string{"-db", file, "-rekey=perhaps"}, "-rekey"},
		"table name":              {key, []string{"-db", file, "-sessions", "a; drop"}, "not an identifier"},
		"bad DSN":                 {key, []string{"-mysql", "no DSN"}, "invalid DSN"},
		"rekey without key":       {nil, []string{"-db", file, "-rekey"}, "-rekey needs ENCSESSION_KEY"},
		"purge without key":       {nil, []string{"-db", file, "-purge", "1d"}, "-purge needs ENCSESSION_KEY"},
		"rekey from no key":       {key, []string{"-db", file, "-rekey"}, "-rekey needs ENCSESSION_READ_KEYS"},
		"empty key":               {map[string]string{keyVariable: ""}, []string{"-db", file}, "is set, but empty"},
		"ambiguous key":           {ambiguous(keyVariable), []string{"-db", file}, encsession.ErrAmbiguousKey.Error()},
		"ambiguous read key":      {ambiguous(readKeysVariable), []string{"-db", file}, "ENCSESSION_READ_KEYS: key 1: "},
		"read keys without key":   {map[string]string{readKeysVariable: "old"}, []string{"-db", file}, "ENCSESSION_KEY is not"},
		"file that is not there":  {key, []string{"-db", file + "x"}, "no such file"},
		"folder":                  {key, []string{"-db", filepath.Dir(file)}, "is not a file"},
	} {
		t.Run(name, func(t *testing.T) {
			r := inspect(t, test.environment, test.args...)
			require.Equal(t, exitError, r.code)
			require.Contains(t, strings.ReplaceAll(r.stderr, "\n", " "), test.want)
			require.Empty(t, r.stdout)
		})
	}
	require.Equal(t, []string{"test.db"}, filesBeside(t, file), "no files are made")
}

// ambiguous returns an environment in which a variable is a Fernet key without its "=".
func ambiguous(variable string) map[string]string {
	environment := map[string]string{keyVariable: "a key of a test"}
	environment[variable] = strings.TrimSuffix(encsession.GenerateKey(), "=")
	return environment
}

func TestHelp(t *testing.T) {
	r := inspect(t, nil, "-h")
	require.Equal(t, exitFine, r.code)
	require.Contains(t, r.stdout, "ENCSESSION_READ_KEYS")
	require.Contains(t, r.stdout, "-seal-plaintext")
	require.Contains(t, r.stdout, "-redis-cluster ADDR,ADDR")
	require.Empty(t, r.stderr)
}

func TestParseAge(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"30d": 30 * 24 * time.Hour, "0d": 0, "0s": 0, "90s": 90 * time.Second, "1h30m": 90 * time.Minute,
	} {
		age, err := parseAge(in, 0)
		require.NoError(t, err, in)
		require.Equal(t, want, age, in)
	}
}

func TestReadKeysAreLines(t *testing.T) {
	lookup := func(name string) (string, bool) {
		return map[string]string{
			keyVariable:      "current\n",
			readKeysVariable: "\nold, with a comma\n" + encsession.GenerateKey() + "\n\n",
		}[name], true
	}
	k, err := keysFromEnvironment(lookup)
	require.NoError(t, err)
	require.Len(t, k.Older, 2)

	for name, key := range map[string]encsession.Key{"current\n": k.Current, "old, with a comma": k.Older[0]} {
		same, err := encsession.ParsePythonKey(name)
		require.NoError(t, err)
		sealer, err := encsession.NewSealer("id", encsession.Keyring{Current: key}, encsession.NoExpiry)
		require.NoError(t, err)
		sealed, err := sealer.Seal(encsession.Item(`{}`))
		require.NoError(t, err)
		opener, err := encsession.NewSealer("id", encsession.Keyring{Current: same}, encsession.NoExpiry)
		require.NoError(t, err)
		_, err = opener.Open(sealed)
		require.NoError(t, err, "%q is taken as it is", name)
	}
}

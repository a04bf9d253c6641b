package main

import (
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDemonstration(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	r := inspect(t, nil)
	require.Equal(t, exitFine, r.code)
	require.Regexp(t, `\n user-123 +24 +24 +· +· +· +· +· +· +\S`, r.stdout)
	require.Regexp(t, `\n user-321 +5 +2 +· +2 +1 +· +· +· +2026-01-15 +2100-01-01\n`, r.stdout)
	require.Regexp(t, `\n user-456 +16 +16 +12 +· +· +· +· +· +\S`, r.stdout)
	require.Regexp(t, `\n user-654 +5 +4 +4 +· +· +1 +· +· +\S`, r.stdout)
	require.Regexp(t, `\n user-789 +10 +· +· +· +· +· +9 +1 +· +·\n`, r.stdout)
	require.Regexp(t, `\n all 5 sessions +60 +46 +16 +2 +1 +1 +9 +1 +2026-01-15 +2100-01-01\n`, r.stdout)

	// What it says is there to go on with.
	pattern := regexp.MustCompile(`\n  \. (\S+)\n  go run \./examples/inspect -db (\S+) -show (\S+)\n`)
	commands := pattern.FindStringSubmatch(r.stdout)
	require.Len(t, commands, 4)
	environment := map[string]string{}
	script := string(read(t, commands[1]))
	for _, export := range regexp.MustCompile(`export (\w+)='(\S+)'\n`).FindAllStringSubmatch(script, -1) {
		environment[export[1]] = export[2]
		require.NotContains(t, r.stdout, export[2], "it prints no key")
	}
	require.Len(t, environment, 2)
	info, err := os.Stat(commands[1])
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())

	require.Equal(t, exitFine, inspect(t, environment, "-db", commands[2], "-show", commands[3]).code)
	_, d := document(t, environment, "-db", commands[2], "-rekey")
	require.Equal(t, []int{49, 0}, perKey(d))
	require.Equal(t, 16, d.Operation.Items)
	require.Equal(t, &Skipped{Sessions: 2, Undecryptable: 1, Malformed: 1}, d.Operation.Skipped)
	for _, key := range d.Totals.Keys {
		require.Regexp(t, `^[0-9a-f]{16}$`, key.Fingerprint)
	}
	_, d = document(t, environment, "-db", commands[2], "-purge", "30d")
	require.Equal(t, 2, d.Operation.Items)
}

package main

import (
	"bytes"
	"regexp"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// The output is the same each time, except for the fingerprints and the folder.
func TestStory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		folder := t.TempDir()
		require.NoError(t, run(&out, folder))
		story := regexp.MustCompile(`[0-9a-f]{16}`).ReplaceAllString(out.String(), "FINGERPRINT")
		for _, line := range []string{
			"acme    key 1, fingerprint FINGERPRINT, wrapped by kms-2026",
			"process B  acme/ben    3 items",
			"key 2, fingerprint FINGERPRINT, becomes current in 1m2s",
			"sealed again: 5 items in 2 sessions",
			"audited: 3 sessions, the first key of acme opens no item",
			"process A  acme/ann    erased: key was destroyed",
			"process A  globex/gil  4 items",
			"process B  acme/ann    2 items\nprocess B  acme/ben    3 items\nprocess B  globex/gil  4 items\n... 2s later",
			"process B  acme/ann    erased: key was destroyed",
			"the ledger, to be kept elsewhere: 1 tenant, acme",
			"the copy  acme/ann    2 items",
			"keys wrapped again: 1",
			"process B  globex/gil  4 items",
		} {
			require.Contains(t, story, "\n"+line+"\n")
		}
		for _, id := range sessionIDs {
			require.Regexp(t, "\nthe copy  "+id+" +cannot be read: .*Decrypt: .*closed", story)
		}
		keys := regexp.MustCompile(`(?m)^(now|later) +current (\w+), older (\w+)$`).FindAllStringSubmatch(out.String(), -1)
		require.Len(t, keys, 2)
		require.Equal(t, keys[0][2], keys[1][3], "the new key takes the place of the old one")
		require.Equal(t, keys[0][3], keys[1][2])
		require.NotEqual(t, keys[0][2], keys[0][3])
	})
}

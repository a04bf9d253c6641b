package encsession_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// TestItemIsAnAlias does not compile if a store needs this package for its
// items.
func TestItemIsAnAlias(t *testing.T) {
	var item json.RawMessage = encsession.Item(`{}`)
	require.True(t, encsession.ValidItem(item))
}

func TestValidItem(t *testing.T) {
	for _, item := range []string{`{}`, " \t\r\n{}\n", `{"a":[1,"é",{"b":null}],"a":-0.5e+10}`, `{"\ud800":"\u0000"}`} {
		require.True(t, encsession.ValidItem([]byte(item)), item)
	}
	for name, item := range invalidItems {
		require.False(t, encsession.ValidItem(item), name)
	}
	for _, e := range readVectors(t).Envelopes {
		require.True(t, encsession.ValidItem([]byte(e.Item)))
		require.True(t, encsession.ValidItem([]byte(e.Stored)))
	}
	for depth, valid := range map[int]bool{9999: true, 10000: true, 10001: false} {
		item := strings.Repeat(`{"a":`, depth-1) + "{}" + strings.Repeat("}", depth-1)
		require.Equal(t, valid, encsession.ValidItem([]byte(item)), depth)
	}
}

func TestValidItemChangesNothing(t *testing.T) {
	item := []byte(" {\"a\" : \"\\u00e9 é\"} ")
	before := bytes.Clone(item)
	require.True(t, encsession.ValidItem(item))
	require.Equal(t, before, item)
}

package sample

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestConversation(t *testing.T) {
	items := Conversation()
	require.Len(t, items, 56)
	for i, item := range items {
		var object map[string]any
		require.NoError(t, json.Unmarshal(item, &object), "item %d", i)
		require.NotEmpty(t, object, "item %d", i)
	}
}

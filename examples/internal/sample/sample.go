// Package sample holds the conversation that the examples keep in their
// databases.
package sample

import (
	"bytes"
	_ "embed"

	"github.com/encsession/encsession"
)

// conversationFile is an invented conversation of the shape that agents really
// store, one item a line.
//
//go:embed conversation.jsonl
var conversationFile []byte

// Conversation returns the items of the conversation.
func Conversation() []encsession.Item {
	var items []encsession.Item
	for line := range bytes.Lines(conversationFile) {
		items = append(items, bytes.TrimSpace(line))
	}
	return items
}

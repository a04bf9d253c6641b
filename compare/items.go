package main

import (
	"fmt"
	"strings"

	"github.com/encsession/encsession"
)

// makeItems returns n messages of exactly size bytes, as an agent stores them.
// They are mostly ASCII, with an occasional escape and an occasional other
// character. The benchmarks of the root module use the same items, but cannot
// be imported. The JSON is compact, as Python writes it. So the items that
// Python has sealed can be compared byte for byte.
func makeItems(n, size int) []encsession.Item {
	const prose = `Your flight leaves at 14:05 from gate B12, and the allowance for hand luggage is 8 kg. There is a café on the left, ` +
		`behind the security check. Shall I book the seat by the window for you?\n`
	items := make([]encsession.Item, n)
	for i := range items {
		head := fmt.Sprintf(`{"type":"message","id":"msg_%08d","role":"assistant","status":"completed","content":[{"type":"output_text","text":"`, i)
		const tail = `","annotations":[]}]}`
		text := strings.Repeat(prose, size/len(prose)+1)
		text = text[:strings.LastIndexByte(text[:size-len(head)-len(tail)], ' ')]
		items[i] = encsession.Item(head + text + strings.Repeat(".", size-len(head)-len(text)-len(tail)) + tail)
	}
	return items
}

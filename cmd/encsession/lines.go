package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/fleet"
)

// lineVersion is the version of the JSON lines, of --json and of the audit
// file. It rises if a member changes its meaning or goes away, but not if one
// is added.
const lineVersion = 1

// Head begins every JSON line.
type Head struct {
	Version int    `json:"version"`
	Type    string `json:"type"` // "session", "item", "summary", "key" or "version"
}

// Counts counts the items of one session or of all. Items is the sum of the
// other counts, without Keys.
type Counts struct {
	Items     int `json:"items"`
	Plaintext int `json:"plaintext"` // not encrypted
	Malformed int `json:"malformed"` // no item under any key, or authentic but not a JSON object
	*Opened       // with a key
	*Unopened     // without a key
	Span          // times of sealing: of authentic items or, without a key, as tokens claim them
}

// Opened counts sealed items by the result of opening them.
type Opened struct {
	Readable      int        `json:"readable"`
	Expired       int        `json:"expired"`
	Future        int        `json:"future"`        // sealed more than a minute ahead of this machine's clock
	Undecryptable int        `json:"undecryptable"` // another key, another session, or altered
	Keys          []keyCount `json:"keys"`          // the current one, and then the older ones in order
}

// keyCount is the number of items that a key opens.
type keyCount struct {
	Fingerprint string `json:"fingerprint"` // of the master key; "raw" if that is not a Fernet key
	Role        string `json:"role"`        // "current" or "older"
	Items       int    `json:"items"`
	Sessions    int    `json:"sessions"` // in how many sessions
}

// Unopened counts sealed items without looking into them.
type Unopened struct {
	Sealed int `json:"sealed"`
}

// newCounts returns counts of 0. They have Unopened if ring is nil, and
// otherwise Opened, with the keys of ring.
func newCounts(ring *encsession.Keyring) Counts {
	if ring == nil {
		return Counts{Unopened: new(Unopened)}
	}
	o := &Opened{Keys: []keyCount{{Fingerprint: ring.Current.Fingerprint(), Role: "current"}}}
	for _, key := range ring.Older {
		o.Keys = append(o.Keys, keyCount{Fingerprint: key.Fingerprint(), Role: "older"})
	}
	return Counts{Opened: o}
}

// add adds a report of a session.
func (c *Counts) add(r encsession.Report) {
	c.Items += r.Items
	c.Plaintext += r.Plaintext
	c.Malformed += r.Malformed
	if c.Unopened != nil {
		c.Sealed += r.Undecryptable
		return
	}
	c.Readable += r.Readable
	c.Expired += r.Expired
	c.Future += r.Future
	c.Undecryptable += r.Undecryptable
	for place, key := range r.Keys {
		c.Keys[place].Items += key.Items
		if key.Items > 0 {
			c.Keys[place].Sessions++
		}
	}
	c.widen(&r.Oldest)
	c.widen(&r.Newest)
}

// byOlderKeys returns the number of items that an older key opened.
func (o Opened) byOlderKeys() (n int) {
	for _, key := range o.Keys[1:] {
		n += key.Items
	}
	return n
}

// skipped counts the items that a change left alone because it could not judge
// them.
type skipped struct {
	Sessions      int `json:"sessions"` // in how many sessions
	Undecryptable int `json:"undecryptable"`
	Malformed     int `json:"malformed"`
	Plaintext     int `json:"plaintext"`
}

// changed counts the items that were changed or removed. In a dry run it counts
// those that would be.
type changed struct {
	Items    int `json:"items"`
	Sessions int `json:"sessions"` // in how many sessions
}

// sessionLine is the line that --all prints for each session.
type sessionLine struct {
	Head
	ID        string        `json:"id"`
	CreatedAt *time.Time    `json:"created_at,omitempty"` // as the store claims, of sessions
	UpdatedAt *time.Time    `json:"updated_at,omitempty"`
	Outcome   fleet.Outcome `json:"outcome,omitempty"`
	Error     string        `json:"error,omitempty"`
	*Counts                 // of audit, unless there is an error
	Changed   *int          `json:"changed,omitempty"` // items, of a change
	Skipped   *skipped      `json:"skipped,omitempty"` // of a change, unless it could judge everything
}

// summaryLine is the last line.
type summaryLine struct {
	Head
	Command       string   `json:"command"`
	Store         string   `json:"store"`
	Shard         string   `json:"shard,omitempty"`         // as in 3/8, counted from 1
	DryRun        bool     `json:"dry_run,omitempty"`       // nothing was changed
	Authenticated *bool    `json:"authenticated,omitempty"` // of audit and show: whether there was a key
	TTLSeconds    *int64   `json:"ttl_seconds,omitempty"`   // of --ttl
	Outcome       string   `json:"outcome"`                 // "done", "findings", "failed", "partly" or "interrupted"
	Sessions      int      `json:"sessions"`                // that were seen
	Erased        int      `json:"erased"`
	Failed        int      `json:"failed"`
	Unfinished    int      `json:"unfinished"`
	Findings      int      `json:"findings"`          // sessions with items that nobody could judge
	Changed       *changed `json:"changed,omitempty"` // of a change
	Skipped       *skipped `json:"skipped,omitempty"` // of a change, unless it could judge everything
	*Counts                // of audit and show
	Created       *Span    `json:"created,omitempty"` // of sessions, as the store claims
	Updated       *Span    `json:"updated,omitempty"`
	Errors        []string `json:"errors,omitempty"` // the first ten
}

// itemLine is an item, as show prints it.
type itemLine struct {
	Head
	Session string `json:"session"`

	// State is "readable", "expired", "future", "undecryptable", "plaintext" or
	// "malformed", and without a key "sealed" for all of the first four.
	State  string          `json:"state"`
	Sealed *time.Time      `json:"sealed"`         // as the token claims; null if there is none
	Item   json.RawMessage `json:"item,omitempty"` // if it is readable or plaintext
}

// writeLine writes a JSON line with one call, in characters that are safe on a
// terminal.
func writeLine(w io.Writer, line any) error {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(line); err != nil {
		return fmt.Errorf("encode a line: %w", err)
	}
	_, err := io.WriteString(w, escape(out.String(), '\n'))
	return err
}

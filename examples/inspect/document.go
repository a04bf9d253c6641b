package main

import (
	"bytes"
	"encoding/json"
	"io"
	"time"
)

// Document is what -json prints.
type Document struct {
	// Authenticated says whether there was a key. Without one, the counts tell what the database claims.
	Authenticated bool `json:"authenticated"`

	// TTLSeconds is the age of -ttl. It is null without -ttl, and then nothing counts as expired or future.
	TTLSeconds *int64 `json:"ttl_seconds"`

	Operation *Operation `json:"operation,omitempty"` // what was done before the counting
	Sessions  []Session  `json:"sessions"`            // in the order of the database, or of the IDs for Redis
	Totals    Counts     `json:"totals"`
}

// Operation is what -rekey, -seal-plaintext or -purge did.
type Operation struct {
	Name     string   `json:"name"`              // "rekey", "seal-plaintext" or "purge"
	Items    int      `json:"items"`             // how many items it changed or removed
	Sessions int      `json:"sessions"`          // in how many sessions
	Skipped  *Skipped `json:"skipped,omitempty"` // absent if it could judge everything
}

// Skipped counts the items that an operation passed over, since it could not judge
// them.
type Skipped struct {
	Sessions      int `json:"sessions"` // in how many sessions
	Undecryptable int `json:"undecryptable"`
	Malformed     int `json:"malformed"`
	Plaintext     int `json:"plaintext"`
}

// Session is what lies in a session.
type Session struct {
	ID      string        `json:"id"`
	*Counts               // absent where there is an error that prevented the counting
	Error   string        `json:"error,omitempty"`
	Content *[]StoredItem `json:"content,omitempty"` // with -show, oldest first
}

// Counts counts the items of a session, or of all. Items is the sum of the other counts, Keys apart.
type Counts struct {
	Items     int        `json:"items"`
	*Opened              // with a key
	*Unopened            // without a key
	Plaintext int        `json:"plaintext"` // not encrypted
	Malformed int        `json:"malformed"` // no item under any key, or authentic but not a JSON object
	Oldest    *time.Time `json:"oldest"`    // sealing time of the oldest item: authentic with a key, and without one as
	Newest    *time.Time `json:"newest"`    // its token claims; null where there is none
}

// Opened counts what the keys make of sealed items.
type Opened struct {
	Readable      int `json:"readable"`
	Expired       int `json:"expired"`
	Future        int `json:"future"`        // sealed more than a minute ahead of this machine's clock
	Undecryptable int `json:"undecryptable"` // another key, another session, or altered

	// Keys counts authentic items by the key that opens them: the current one, and
	// then the read keys in order.
	Keys []KeyCount `json:"keys"`
}

// KeyCount is how many items a key opens.
type KeyCount struct {
	Fingerprint string `json:"fingerprint"` // of the master key; "raw" if that is not a Fernet key
	Items       int    `json:"items"`
}

// Unopened counts sealed items without looking into them.
type Unopened struct {
	Sealed int `json:"sealed"`
}

// StoredItem is an item as -show prints it.
type StoredItem struct {
	// State is "readable", "expired", "future", "undecryptable", "plaintext" or "malformed", and without a key
	// "sealed" for all of the first four.
	State  string          `json:"state"`
	Sealed *time.Time      `json:"sealed"`         // as the token claims; null where there is none
	Item   json.RawMessage `json:"item,omitempty"` // where it is readable or plaintext
}

// add adds the counts of a session to those of all.
func (c *Counts) add(s Counts) {
	c.Items += s.Items
	c.Plaintext += s.Plaintext
	c.Malformed += s.Malformed
	if s.Opened != nil {
		c.Readable += s.Readable
		c.Expired += s.Expired
		c.Future += s.Future
		c.Undecryptable += s.Undecryptable
		for i, key := range s.Keys {
			c.Keys[i].Items += key.Items
		}
	}
	if s.Unopened != nil {
		c.Sealed += s.Sealed
	}
	for _, t := range []*time.Time{s.Oldest, s.Newest} {
		if t != nil {
			c.widen(*t)
		}
	}
}

// widen makes Oldest and Newest enclose a time.
func (c *Counts) widen(t time.Time) {
	if c.Oldest == nil || t.Before(*c.Oldest) {
		c.Oldest = &t
	}
	if c.Newest == nil || t.After(*c.Newest) {
		c.Newest = &t
	}
}

// byReadKeys returns how many items a key opened that is not the current one.
func (o Opened) byReadKeys() int {
	n := 0
	for _, key := range o.Keys[1:] {
		n += key.Items
	}
	return n
}

// byAnyKey returns how many items a key opened.
func (o Opened) byAnyKey() int { return o.Keys[0].Items + o.byReadKeys() }

// problems returns how many sessions have an error.
func (d Document) problems() int {
	n := 0
	for _, s := range d.Sessions {
		if s.Error != "" {
			n++
		}
	}
	return n
}

func writeJSON(w io.Writer, d Document) error {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(d); err != nil {
		return err
	}
	_, err := io.WriteString(w, escape(out.String(), '\n'))
	return err
}

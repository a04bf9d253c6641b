package redisstore

import (
	"fmt"
	"strings"
)

const (
	messagesSuffix = ":messages"
	counterSuffix  = ":counter"

	sessionIDField = "session_id" // these are fields of the hash
	createdAtField = "created_at" // in Unix seconds
	updatedAtField = "updated_at" // likewise
)

// naming makes keys of session IDs, and IDs of keys.
type naming struct {
	prefix string
	tagged bool // the prefix and the ID stand in braces, as a hash tag of Redis Cluster
}

// keys are those of one session. No key of one ID is a key of another ID, nor has one ID the same key twice: check
// refuses the IDs with which it would.
type keys struct{ hash, messages, counter string }

// unused returns a key that holds nothing: the counter of an ID that check
// refuses. Python does not write counters either.
func (k keys) unused() string { return k.messages + counterSuffix }

func (n naming) keys(id string) keys {
	hash := n.prefix + ":" + id
	if n.tagged {
		// The tag ends at the first closing brace, be it in the ID: what stands before it is the same in all three.
		hash = "{" + hash + "}"
	}
	return keys{hash: hash, messages: hash + messagesSuffix, counter: hash + counterSuffix}
}

// id returns the ID of the session that has this key for its hash, and false where no session has.
func (n naming) id(key string) (id string, ok bool) {
	before, after := n.prefix+":", ""
	if n.tagged {
		before, after = "{"+before, "}"
	}
	id, ok = strings.CutPrefix(key, before)
	if !ok {
		return "", false
	}
	id, ok = strings.CutSuffix(id, after)
	return id, ok && checkID(id) == nil
}

// pattern matches the keys of id, and others.
func (n naming) pattern() string {
	escaped := globEscaper.Replace(n.prefix) + ":*"
	if n.tagged {
		return "{" + escaped + "}"
	}
	return escaped
}

var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)

// checkID refuses an ID with which a session's hash would have the key of another session's list or counter. It does so
// with hash tags too, where they differ: an ID is good for every store or for none.
func checkID(id string) error {
	for _, suffix := range []string{messagesSuffix, counterSuffix} {
		if strings.HasSuffix(id, suffix) {
			return fmt.Errorf("a session ID that ends in %q names a key of another session", suffix)
		}
	}
	return nil
}

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

// naming makes keys from session IDs, and IDs from keys.
type naming struct {
	prefix string
	tagged bool // the prefix and the ID stand in braces, a hash tag of Redis Cluster
}

// keys are the three Redis keys of one session. They differ, and different IDs
// never share a key. checkID rejects the IDs that would break this.
type keys struct{ hash, messages, counter string }

// unused returns a key that holds nothing. It would be the counter of an ID
// that checkID rejects. Python takes such an ID, but writes no counters.
func (k keys) unused() string { return k.messages + counterSuffix }

func (n naming) keys(id string) keys {
	hash := n.prefix + ":" + id
	if n.tagged {
		// The tag ends at the first closing brace, even if that brace is part
		// of the ID. The text before it is the same in all three keys.
		hash = "{" + hash + "}"
	}
	return keys{hash: hash, messages: hash + messagesSuffix, counter: hash + counterSuffix}
}

// id returns the ID of the session whose hash has this key. ok is false if no
// session has it.
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

// pattern returns a glob pattern that matches the hash key of every session,
// and other keys.
func (n naming) pattern() string {
	escaped := globEscaper.Replace(n.prefix) + ":*"
	if n.tagged {
		return "{" + escaped + "}"
	}
	return escaped
}

var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)

// checkID refuses an ID if the key of its hash would be the key of another
// session's list or counter. With hash tags those keys would differ, but
// checkID refuses the ID all the same. So an ID is valid for every store or for
// none.
func checkID(id string) error {
	for _, suffix := range []string{messagesSuffix, counterSuffix} {
		if strings.HasSuffix(id, suffix) {
			return fmt.Errorf("a session ID that ends in %q names a key of another session", suffix)
		}
	}
	return nil
}

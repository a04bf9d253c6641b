package redisstore

import (
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/encsession/encsession"
)

// keysPerScan is the number of keys that the server looks at for one page. It
// decides how long a page keeps other clients waiting.
const keysPerScan = 1000

// Sessions goes through all sessions, each once, in no particular order. It
// also gives those whose items have all been popped. CreatedAt and UpdatedAt
// are in whole seconds. A time is zero if the session's hash does not have it.
// Only AddItems sets UpdatedAt.
//
// It asks the server for one page at a time, and on a cluster each master in
// turn. Between two pages it holds nothing on the server, so the loop's body
// may use the store. It looks at every key of the database. Redis may find a
// key twice, so Sessions remembers the sessions that it has given, in at most
// 64 bytes each. A session that is created or cleared during the loop may be
// given or not. An error comes with the zero SessionInfo and ends the loop.
//
// A session is a hash under the prefix whose session_id is the ID in its key.
// Sessions leaves out all other keys under the prefix, and Python's sessions
// whose IDs the Session methods refuse. It also leaves out a list whose hash
// was evicted or deleted by hand, although Session still reads it. Before you
// retire a key for good, look for such lists, or they are lost with the key.
func (s *Store) Sessions(ctx context.Context) iter.Seq2[encsession.SessionInfo, error] {
	return func(yield func(encsession.SessionInfo, error) bool) {
		seen := make(map[digest]struct{})
		for info, err := range s.sessions(ctx) {
			if err != nil {
				yield(encsession.SessionInfo{}, fmt.Errorf("redisstore: Sessions: %w", err))
				return
			}
			d := digestOf(info.ID)
			if _, ok := seen[d]; ok {
				continue
			}
			seen[d] = struct{}{}
			if !yield(info, nil) {
				return
			}
		}
	}
}

// digest stands for an ID, which may be long. In practice, no two IDs have the
// same digest.
type digest [16]byte

func digestOf(id string) (d digest) {
	sum := sha256.Sum256([]byte(id))
	copy(d[:], sum[:])
	return d
}

// sessions gives sessions, some of them more than once.
func (s *Store) sessions(ctx context.Context) iter.Seq2[encsession.SessionInfo, error] {
	return func(yield func(encsession.SessionInfo, error) bool) {
		if err := s.check(ctx); err != nil {
			yield(encsession.SessionInfo{}, err)
			return
		}
		nodes, err := s.nodes(ctx)
		if err != nil {
			yield(encsession.SessionInfo{}, readError(ctx, err))
			return
		}
		for _, node := range nodes {
			var at scan
			for more := true; more; {
				var page []encsession.SessionInfo
				page, more, err = s.page(ctx, node, &at)
				if err != nil {
					yield(encsession.SessionInfo{}, err)
					return
				}
				for _, info := range page {
					if !yield(info, nil) {
						return
					}
				}
			}
		}
	}
}

// scan is the progress of a SCAN on one server.
type scan struct {
	cursor uint64
	pages  int
	mark   uint64 // the cursor when pages was last a power of two
}

// maxPages is enough for 16 billion keys.
const maxPages = 1 << 24

// next notes the cursor of the next page. A server whose cursors go round in a
// circle would be asked for ever. The mark moves more and more rarely, so in a
// circle the cursor comes back to it.
func (s *scan) next(cursor uint64) (more bool, err error) {
	if cursor == 0 {
		return false, nil
	}
	s.pages++
	if cursor == s.mark || s.pages > maxPages {
		return false, fmt.Errorf("%w: SCAN does not end", errReply)
	}
	if s.pages&(s.pages-1) == 0 {
		s.mark = cursor
	}
	s.cursor = cursor
	return true, nil
}

// page returns sessions that a node has, and moves on to its next page.
func (s *Store) page(ctx context.Context, node redis.Cmdable, at *scan) (page []encsession.SessionInfo, more bool, err error) {
	if err := s.check(ctx); err != nil {
		return nil, false, err
	}
	found, cursor, err := node.ScanType(ctx, at.cursor, s.config.pattern(), keysPerScan, "hash").Result()
	if err != nil {
		return nil, false, readError(ctx, err)
	}
	if more, err = at.next(cursor); err != nil {
		return nil, false, err
	}
	var ids []string
	var hashes []*redis.SliceCmd
	pipeline := s.client.Pipeline()
	for _, key := range found {
		if id, ok := s.config.id(key); ok {
			ids = append(ids, id)
			hashes = append(hashes, pipeline.HMGet(ctx, key, sessionIDField, createdAtField, updatedAtField))
		}
	}
	_, _ = pipeline.Exec(ctx) // every command has its own error
	for i, hash := range hashes {
		if err := hash.Err(); err != nil && !redis.HasErrorPrefix(err, "WRONGTYPE") {
			return nil, false, readError(ctx, err)
		} else if err != nil {
			continue // it was a hash when SCAN found it
		}
		fields, err := textFields(hash.Val(), 3)
		if err != nil {
			return nil, false, err
		}
		if id := fields[0]; id != nil && *id == ids[i] {
			page = append(page, encsession.SessionInfo{ID: *id, CreatedAt: seconds(fields[1]), UpdatedAt: seconds(fields[2])})
		}
	}
	return page, more, nil
}

// textFields checks that an HMGET reply has n fields. A field that the hash
// does not have is nil.
func textFields(reply []any, n int) ([]*string, error) {
	if len(reply) != n {
		return nil, errReply
	}
	fields := make([]*string, n)
	for i, value := range reply {
		switch value := value.(type) {
		case nil:
		case string:
			fields[i] = &value
		default:
			return nil, errReply
		}
	}
	return fields, nil
}

// lastSecond is the last second of the year 9999. Times after it have no usual
// text form.
const lastSecond = 253402300799

// seconds reads a time of the hash, in the form that Python also writes. It
// returns the zero time if it cannot.
func seconds(text *string) time.Time {
	if text == nil {
		return time.Time{}
	}
	n, err := strconv.ParseInt(*text, 10, 64)
	if err != nil || n < 0 || n > lastSecond {
		return time.Time{}
	}
	return time.Unix(n, 0).UTC()
}

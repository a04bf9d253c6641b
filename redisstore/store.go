package redisstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Item is one item of a conversation: a JSON text in UTF-8. It is
// [encsession.Item].
type Item = json.RawMessage

// Store keeps sessions in Redis or Valkey. [New] makes one; the zero Store
// returns errors. A Store is safe for concurrent use. Several Stores, in one or
// many processes, may share a database.
type Store struct {
	client redis.UniversalClient
	config config
}

// New returns a Store that uses client. It sends nothing. The caller closes the
// client.
//
// New takes a [redis.Client], also one for Sentinel, and with [WithHashTag] a
// [redis.ClusterClient]. A struct that embeds one of these works too. New
// refuses all other clients with an error that wraps [errors.ErrUnsupported].
// It refuses a [redis.Ring] because a Ring uses other servers while one is
// down, which would split conversations. It refuses clients that it does not
// know because Sessions has to visit every node. A nil client, a nil option and
// an invalid option are errors too.
func New(client redis.UniversalClient, opts ...Option) (*Store, error) {
	s, err := newStore(client, opts)
	if err != nil {
		return nil, fmt.Errorf("redisstore: New: %w", err)
	}
	return s, nil
}

func newStore(client redis.UniversalClient, opts []Option) (*Store, error) {
	if isNil(client) {
		return nil, errors.New("client is nil")
	}
	c := config{naming: naming{prefix: "agents:session"}}
	for i, opt := range opts {
		if opt == nil {
			return nil, fmt.Errorf("option %d is nil", i)
		}
		if err := opt(&c); err != nil {
			return nil, fmt.Errorf("option %d: %w", i, err)
		}
	}
	if c.tagged && strings.ContainsAny(c.prefix, "{}") {
		return nil, errors.New("the prefix contains braces: remove them, since WithHashTag adds its own")
	}
	switch client.(type) {
	case clusterClient:
		if !c.tagged {
			return nil, errors.New("a cluster keeps the keys of one session in different slots: use WithHashTag")
		}
	case singleClient:
	case *redis.Ring:
		return nil, fmt.Errorf("%w: a Ring uses other servers while one is down", errors.ErrUnsupported)
	default:
		return nil, fmt.Errorf("%w: a client of type %T", errors.ErrUnsupported, client)
	}
	return &Store{client: client, config: c}, nil
}

// Session returns a handle on the session with this ID. Sessions need not be
// created: a session without items is empty. An ID may be any bytes. If it ends
// in ":messages" or ":counter", the handle's methods return an error.
func (s *Store) Session(sessionID string) *Session {
	return &Session{store: s, id: sessionID}
}

func (s *Store) check(ctx context.Context) error {
	if s == nil || s.client == nil {
		return errors.New("this Store was not made by New")
	}
	return ctx.Err()
}

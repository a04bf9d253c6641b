package main

import (
	"context"
	"io"
	"iter"

	"github.com/encsession/encsession"
)

// store is what is needed of a database.
type store interface {
	Sessions(context.Context) iter.Seq2[encsession.SessionInfo, error]
	Session(sessionID string) encsession.Session
	Close() error
}

// storeOf is a store on one of sqlstore or redisstore, whose sessions have types of their own, and on its connections.
type storeOf[S encsession.Session] struct {
	typedStore[S]
	io.Closer
}

type typedStore[S encsession.Session] interface {
	Sessions(context.Context) iter.Seq2[encsession.SessionInfo, error]
	Session(sessionID string) S
}

func (s storeOf[S]) Session(sessionID string) encsession.Session {
	return s.typedStore.Session(sessionID)
}

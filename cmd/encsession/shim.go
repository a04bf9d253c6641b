package main

import (
	"context"
	"iter"

	"github.com/encsession/encsession"
)

// TEMPORARY, until wt-sql and wt-redis are merged.
type oldStore[S any] interface {
	SessionIDs(context.Context) iter.Seq2[string, error]
	Session(string) S
}
type shim[S any] struct{ oldStore[S] }

func (s shim[S]) Sessions(ctx context.Context) iter.Seq2[encsession.SessionInfo, error] {
	return func(yield func(encsession.SessionInfo, error) bool) {
		for id, err := range s.SessionIDs(ctx) {
			if !yield(encsession.SessionInfo{ID: id}, err) {
				return
			}
		}
	}
}

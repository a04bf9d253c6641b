package redisstore

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// once is a command that go-redis sends only once. go-redis repeats other
// commands if their reply is lost, as often as the client's MaxRetries says.
// The server may have run such a command, and a repetition would store a batch
// twice or pop two items. A cluster client still follows a redirection, because
// a server that redirects a command has not run it.
type once struct{ *redis.Cmd }

// NoRetry tells go-redis not to repeat the command. go-redis also asks each
// command of a pipeline.
func (once) NoRetry() bool { return true }

// script returns the command that calls a script with the session's keys and
// ID, followed by args.
func (s *Session) script(ctx context.Context, script string, args ...any) *redis.Cmd {
	k := s.keys()
	return redis.NewCmd(ctx, append([]any{"eval", script, 4, k.hash, k.messages, k.counter, k.unused(), s.id}, args...)...)
}

// call calls a script that changes something.
func (s *Session) call(ctx context.Context, script string, args ...any) (reply any, err error) {
	cmd := s.script(ctx, script, args...)
	if err := s.store.client.Process(ctx, once{cmd}); err != nil {
		return nil, writeError(ctx, err)
	}
	return cmd.Val(), nil
}

// callToRead calls a script that changes nothing with these arguments.
func (s *Session) callToRead(ctx context.Context, script string, args ...any) (reply any, err error) {
	cmd := s.script(ctx, script, args...)
	if err := s.store.client.Process(ctx, cmd); err != nil {
		return nil, readError(ctx, err)
	}
	return cmd.Val(), nil
}

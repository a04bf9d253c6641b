package redisstore

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// once is a command that go-redis sends once. It would send others again, as often as the client's MaxRetries says,
// where the reply is lost: the server may have carried them out, and would store a batch twice or pop two items. A
// cluster client still follows a redirection, as a server that redirects does nothing else.
type once struct{ *redis.Cmd }

// NoRetry is what go-redis asks a command, or each command of a pipeline.
func (once) NoRetry() bool { return true }

// script returns the command that calls a script with the keys and the ID of the session, and these arguments.
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

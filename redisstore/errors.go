package redisstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// errReply says that a server, or a proxy in front of it, is broken. It is then
// unknown whether the server has changed anything.
var errReply = errors.New("unexpected reply from the server, or from a proxy in front of it")

// withContext makes sure that errors.Is finds the error of the context, if that
// is the reason why go-redis stopped.
func withContext(ctx context.Context, err error) error {
	done := ctx.Err()
	if deadline, ok := ctx.Deadline(); ok && done == nil && !time.Now().Before(deadline) {
		done = context.DeadlineExceeded // the connection noticed the deadline before the context did
	}
	if err == nil || done == nil || errors.Is(err, done) {
		return err
	}
	return fmt.Errorf("%w: %w", done, err)
}

// readError turns err into the error of a command that changes nothing.
func readError(ctx context.Context, err error) error { return withContext(ctx, withoutText(err)) }

// writeError turns err into the error of a command that changes something. The
// error says so if the change may have happened.
func writeError(ctx context.Context, err error) error {
	unanswered := mayHaveRun(err)
	err = readError(ctx, err)
	if unanswered {
		return fmt.Errorf("no reply came, so the server may or may not have made the change: %w", err)
	}
	return err
}

// mayHaveRun reports whether a command that ended with err may have reached the
// server and got no answer.
func mayHaveRun(err error) bool {
	var refused redis.Error
	if err == nil || errors.As(err, &refused) {
		return false
	}
	for _, unsent := range []error{redis.ErrClosed, redis.ErrPoolTimeout, redis.ErrPoolExhausted} {
		if errors.Is(err, unsent) {
			return false
		}
	}
	var network *net.OpError
	return !errors.As(err, &network) || network.Op != "dial"
}

// withoutText replaces an error that quotes a reply or the arguments of a
// command, because these contain stored text.
func withoutText(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if before, _, quotes := strings.Cut(text, ", with args beginning with"); quotes {
		return errors.New(before) // the server does not know the command
	}
	for _, quoting := range []string{"redis: can't ", "redis: invalid ", "redis: unexpected ", "but got line", "strconv."} {
		if strings.Contains(text, quoting) {
			return errors.New("the reply is not valid in the protocol of Redis")
		}
	}
	return err
}

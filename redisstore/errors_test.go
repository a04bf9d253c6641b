package redisstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// slow is a context that has not noticed that its deadline has passed.
type slow struct{ context.Context }

func (slow) Deadline() (time.Time, bool) { return time.Unix(0, 0), true }

func TestWithContext(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	failed := errors.New("failed")
	for _, test := range []struct {
		ctx  context.Context
		want error
	}{{cancelled, context.Canceled}, {slow{t.Context()}, context.DeadlineExceeded}} {
		err := withContext(test.ctx, failed)
		require.ErrorIs(t, err, failed)
		require.ErrorIs(t, err, test.want)
		require.NoError(t, withContext(test.ctx, nil))
		require.Equal(t, test.want, withContext(test.ctx, test.want), "once is enough")
	}
	require.Equal(t, failed, withContext(t.Context(), failed))
}

// TestErrorsThatQuoteReplies: the text of such an error may be stored text.
func TestErrorsThatQuoteReplies(t *testing.T) {
	_, number := strconv.Atoi("secret")
	for _, err := range []error{
		number, fmt.Errorf("reading: %w", number), errors.New("redis: can't parse reply: \"secret\""),
		errors.New("ERR unknown command 'eval', with args beginning with: 'secret'"),
	} {
		require.NotContains(t, withoutText(err).Error(), "secret")
	}
	require.NoError(t, withoutText(nil))
	require.Equal(t, io.EOF, withoutText(io.EOF))
}

func TestMayHaveRun(t *testing.T) {
	for _, err := range []error{
		nil, redis.Nil, redis.ErrNoScript, redis.TxFailedErr, redis.ErrClosed, redis.ErrPoolTimeout, redis.ErrPoolExhausted,
		&net.OpError{Op: "dial", Err: io.EOF},
	} {
		require.False(t, mayHaveRun(err), "%v", err)
	}
	for _, err := range []error{
		io.EOF, io.ErrUnexpectedEOF, context.DeadlineExceeded, errors.New("of a hook"), &net.OpError{Op: "read", Err: io.EOF},
	} {
		require.True(t, mayHaveRun(err), "%v", err)
	}
}

// always is a hook that gives every command outside pipelines the same reply.
type always struct{ reply any }

func (a always) DialHook(next redis.DialHook) redis.DialHook { return next }

func (a always) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error {
		cmd.(interface{ SetVal(any) }).SetVal(a.reply)
		return nil
	}
}

func (a always) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func TestBrokenServerGivesErrors(t *testing.T) {
	for _, reply := range []any{
		nil, "OK", int64(0), int64(1), int64(7), true, 1.5, map[any]any{}, []any{int64(1)}, []any{nil}, []any{[]any{}},
		[]any{"{}"}, []any{"{}", "{}"},
		[]any{int64(0), int64(5), int64(0), int64(1), []any{"{}"}}, // always the same page
	} {
		client := unreachable(t)
		client.AddHook(always{reply})
		store, err := New(client)
		require.NoError(t, err)
		_, err = store.Session("s").PopItem(t.Context())
		require.ErrorContains(t, err, "redisstore: PopItem: ", "%v", reply)
		_, err = store.Session("s").RewriteItems(t.Context(), 1, func([]Item) ([]Item, bool) { return nil, true })
		require.ErrorIs(t, err, errReply, "%v", reply)
	}
}

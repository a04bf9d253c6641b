package redisstore

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// slow is a context whose deadline has passed without its noticing.
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

package main

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/encsession/encsession"
	"github.com/fernet/fernet-go"
)

// A contender does some operations with items. Its clock runs only during
// those.
type contender interface {
	// load gives the contender the items of the coming rounds. It checks that
	// the contender reads its own items back, and warms it up with that.
	load(ctx context.Context, items []encsession.Item) error
	// do does the operation of a column, or returns errNotDone.
	do(ctx context.Context, op int) (time.Duration, error)
}

// These are the operations without a store. The first seals all items, into an
// empty session if there is one. The second opens them.
var writeAndRead = []string{"write", "read"}

// writer is a contender for these two operations.
type writer interface {
	write(ctx context.Context) (time.Duration, error)
	read(ctx context.Context) (time.Duration, error)
}

func writeOrRead(ctx context.Context, w writer, op int) (time.Duration, error) {
	if op == 0 {
		return w.write(ctx)
	}
	return w.read(ctx)
}

// timed runs work on that many cores, after it has collected the garbage of
// earlier work.
func timed(cores int, work func() error) (time.Duration, error) {
	runtime.GC()
	return clocked(cores, work)
}

// clocked runs work on that many cores.
func clocked(cores int, work func() error) (time.Duration, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
	start := time.Now()
	err := work()
	return time.Since(start), err
}

const sessionID = "user-123"

var (
	errDiffers  = errors.New("the items read differ from those written")
	errUnopened = errors.New("a token does not open")
)

// encrypted is encsession over a session in memory.
type encrypted struct {
	cores   int
	session *encsession.EncryptedSession
	items   []encsession.Item
}

func newEncrypted(cores int, key encsession.Key) (*encrypted, error) {
	session, err := encsession.New(encsession.NewMemorySession(sessionID), key, encsession.WithTTL(encsession.NoExpiry))
	return &encrypted{cores: cores, session: session}, err
}

func (c *encrypted) load(ctx context.Context, items []encsession.Item) error {
	c.items = items
	if _, err := c.write(ctx); err != nil {
		return err
	}
	got, err := c.session.GetItems(ctx, 0)
	if err != nil {
		return err
	}
	return same(items, got)
}

func (c *encrypted) do(ctx context.Context, op int) (time.Duration, error) {
	return writeOrRead(ctx, c, op)
}

func (c *encrypted) write(ctx context.Context) (time.Duration, error) {
	if err := c.session.ClearSession(ctx); err != nil {
		return 0, err
	}
	return timed(c.cores, func() error { return c.session.AddItems(ctx, c.items...) })
}

func (c *encrypted) read(ctx context.Context) (time.Duration, error) {
	return timed(c.cores, func() error {
		got, err := c.session.GetItems(ctx, 0)
		if err == nil && len(got) != len(c.items) {
			err = errDiffers
		}
		return err
	})
}

func same(want, got []encsession.Item) error {
	if len(want) != len(got) {
		return fmt.Errorf("%w: %d items, not %d", errDiffers, len(got), len(want))
	}
	for i := range want {
		if !bytes.Equal(want[i], got[i]) {
			return fmt.Errorf("%w: item %d", errDiffers, i)
		}
	}
	return nil
}

// bare is cryptography in a loop on one core, and nothing else. It keeps no
// results, so nothing can be faster.
type bare struct {
	seal   func(item []byte) ([]byte, error)
	open   func(token []byte) ([]byte, error)
	items  []encsession.Item
	tokens [][]byte
}

func newFernet() (*bare, error) {
	var key fernet.Key
	if err := key.Generate(); err != nil {
		return nil, err
	}
	keys := []*fernet.Key{&key}
	return &bare{
		seal: func(item []byte) ([]byte, error) { return fernet.EncryptAndSign(item, &key) },
		open: func(token []byte) ([]byte, error) {
			if item := fernet.VerifyAndDecrypt(token, 0, keys); item != nil {
				return item, nil
			}
			return nil, errUnopened
		},
	}, nil
}

func newAESGCM() (*bare, error) {
	key := make([]byte, 32)
	rand.Read(key) // never fails
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &bare{
		seal: func(item []byte) ([]byte, error) { return gcm.Seal(nil, nil, item, nil), nil },
		open: func(token []byte) ([]byte, error) { return gcm.Open(nil, nil, token, nil) },
	}, nil
}

func (c *bare) load(_ context.Context, items []encsession.Item) error {
	c.items, c.tokens = items, make([][]byte, len(items))
	got := make([]encsession.Item, len(items))
	for i, item := range items {
		token, err := c.seal(item)
		if err != nil {
			return err
		}
		if got[i], err = c.open(token); err != nil {
			return err
		}
		c.tokens[i] = token
	}
	return same(items, got)
}

func (c *bare) do(ctx context.Context, op int) (time.Duration, error) { return writeOrRead(ctx, c, op) }

func (c *bare) write(context.Context) (time.Duration, error) {
	return timed(1, func() error {
		for _, item := range c.items {
			if _, err := c.seal(item); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *bare) read(context.Context) (time.Duration, error) {
	return timed(1, func() error {
		for _, token := range c.tokens {
			if _, err := c.open(token); err != nil {
				return err
			}
		}
		return nil
	})
}

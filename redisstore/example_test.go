package redisstore_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/redisstore"
)

// addr is the address of the server. Examples that need a server have no Output
// comment. TestExamples runs them if there is one.
var addr = cmp.Or(os.Getenv("ENCSESSION_REDIS_ADDR"), "localhost:6379")

// This example keeps a conversation in Redis. The output is
//
//	the server holds     {"__enc__":1,"v":1,"kid":"hkdf-v1","payload":"gAAAAAB…
//	the session returns  {"role":"user","content":"My passport is XZ4839201."}
func Example() {
	ctx := context.Background()
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	store, err := redisstore.New(client, redisstore.WithPrefix("example"), redisstore.WithKeyTTL(24*time.Hour))
	if err != nil {
		log.Fatal(err)
	}
	key, err := encsession.ParseKey(encsession.GenerateKey()) // yours comes from a secret manager
	if err != nil {
		log.Fatal(err)
	}
	session, err := encsession.New(store.Session("user-123"), key,
		encsession.WithTTL(24*time.Hour), encsession.WithObserver(encsession.LogDrops(slog.Default())))
	if err != nil {
		log.Fatal(err)
	}
	if err := session.AddItems(ctx, encsession.Item(`{"role":"user","content":"My passport is XZ4839201."}`)); err != nil {
		log.Fatal(err)
	}

	stored, err := client.LIndex(ctx, "example:user-123:messages", -1).Result()
	if err != nil {
		log.Fatal(err)
	}
	items, err := session.GetItems(ctx, 50)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("the server holds     %.53s…\n", stored)
	fmt.Printf("the session returns  %s\n", items[0])
	if err := session.ClearSession(ctx); err != nil {
		log.Fatal(err)
	}
}

// This example goes through all sessions and seals the items of each one under
// the current key. The output is
//
//	user-123: 1 of 1 items under the current key
func ExampleStore_Sessions() {
	ctx := context.Background()
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	store, err := redisstore.New(client, redisstore.WithPrefix("example"))
	if err != nil {
		log.Fatal(err)
	}
	former, current := newKey(), newKey()
	session, err := encsession.New(store.Session("user-123"), former,
		encsession.WithTTL(24*time.Hour), encsession.WithObserver(encsession.LogDrops(slog.Default())))
	if err != nil {
		log.Fatal(err)
	}
	if err := session.AddItems(ctx, encsession.Item(`{"role":"user","content":"Hello"}`)); err != nil {
		log.Fatal(err)
	}

	for info, err := range store.Sessions(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		session, err := encsession.New(store.Session(info.ID), encsession.Keyring{Current: current, Older: []encsession.Key{former}},
			encsession.WithTTL(24*time.Hour), encsession.WithObserver(encsession.LogDrops(slog.Default())))
		if err != nil {
			log.Fatal(err)
		}
		if _, err := session.Rekey(ctx); err != nil {
			log.Fatal(err)
		}
		report, err := session.Audit(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %d of %d items under the current key\n", info.ID, report.Keys[0].Items, report.Items)
		if err := session.ClearSession(ctx); err != nil {
			log.Fatal(err)
		}
	}
}

// This example replaces one item in its place, and removes another one.
// The output is
//
//	2 changed: [{"n":"one"} {"n":3}]
func ExampleSession_RewriteItems() {
	ctx := context.Background()
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	store, err := redisstore.New(client, redisstore.WithPrefix("example"))
	if err != nil {
		log.Fatal(err)
	}
	session := store.Session("user-123")
	first, second, third := redisstore.Item(`{"n":1}`), redisstore.Item(`{"n":2}`), redisstore.Item(`{"n":3}`)
	if err := session.AddItems(ctx, first, second, third); err != nil {
		log.Fatal(err)
	}
	changed, err := session.RewriteItems(ctx, 100, func(stored []redisstore.Item) (new []redisstore.Item, more bool) {
		new = slices.Clone(stored) // newest first
		for i, item := range stored {
			switch string(item) {
			case `{"n":1}`:
				new[i] = redisstore.Item(`{"n":"one"}`)
			case `{"n":2}`:
				new[i] = nil
			}
		}
		return new, true
	})
	if err != nil {
		log.Fatal(err)
	}
	items, err := session.GetItems(ctx, 0)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d changed: %s\n", changed, items)
	if err := session.ClearSession(ctx); err != nil {
		log.Fatal(err)
	}
}

// Redis Cluster needs a hash tag, so that the keys of a session lie in one
// slot.
func ExampleWithHashTag() {
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"localhost:7000", "localhost:7001"}})
	defer client.Close()
	_, err := redisstore.New(client)
	fmt.Println(err)
	store, err := redisstore.New(client, redisstore.WithHashTag())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(store.Session("user-123").SessionID())
	// Output:
	// redisstore: New: a cluster keeps the keys of one session in different slots: use WithHashTag
	// user-123
}

// An ID that would name a key of another session is refused before anything is
// sent.
func ExampleStore_Session() {
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	store, err := redisstore.New(client)
	if err != nil {
		log.Fatal(err)
	}
	err = store.Session("user-123:messages").ClearSession(context.Background())
	fmt.Println(err)
	// Output:
	// redisstore: ClearSession: a session ID that ends in ":messages" names a key of another session
}

func newKey() encsession.Key {
	key, err := encsession.ParseKey(encsession.GenerateKey())
	if err != nil {
		log.Fatal(err)
	}
	return key
}

// TestExamples compares the output of the examples with the output in their
// comments.
func TestExamples(t *testing.T) {
	if os.Getenv("ENCSESSION_REDIS_ADDR") == "" {
		t.Skip("set ENCSESSION_REDIS_ADDR to the address of a server to run this test")
	}
	source, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	for name, example := range map[string]func(){
		"Example":                     Example,
		"ExampleStore_Sessions":       ExampleStore_Sessions,
		"ExampleSession_RewriteItems": ExampleSession_RewriteItems,
	} {
		before, _, found := strings.Cut(string(source), "\nfunc "+name+"() {")
		require.True(t, found)
		_, comment, found := strings.Cut(before[strings.LastIndex(before, "\n\n"):], "The output is\n//\n")
		require.True(t, found)
		want := strings.ReplaceAll(comment, "//\t", "") + "\n"
		require.Equal(t, want, printed(t, example), name)
	}
}

// printed returns what f prints.
func printed(t *testing.T, f func()) string {
	read, write, err := os.Pipe()
	require.NoError(t, err)
	stdout := os.Stdout
	os.Stdout = write
	f()
	os.Stdout = stdout
	require.NoError(t, write.Close())
	text, err := io.ReadAll(read)
	require.NoError(t, err)
	return string(text)
}

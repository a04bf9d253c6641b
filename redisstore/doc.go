// Package redisstore keeps the conversations of AI agents in Redis or Valkey,
// over github.com/redis/go-redis/v9. It uses the keys of the OpenAI Agents SDK
// for Python, so Go and Python services can share one database.
//
//	client := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
//	store, err := redisstore.New(client)
//	session, err := encsession.New(store.Session("user-123"), key,
//		encsession.WithTTL(24*time.Hour), encsession.WithObserver(encsession.LogDrops(slog.Default())))
//
// A [Session] of this package implements [encsession.Session] and
// [encsession.Rewriter]. Package encsession adds the encryption. Without it, a
// Session stores its items in plain text, and everyone who can read the
// database can read them.
//
// # Keys
//
// Under the default prefix agents:session, the session user-123 has these keys:
//
//	agents:session:user-123           a hash with session_id, created_at and updated_at (Unix seconds)
//	agents:session:user-123:messages  a list of the items, the newest last
//	agents:session:user-123:counter   which nobody writes, but which expires and is deleted with the others
//
// An ID that ends in ":messages" or ":counter" would name a key of another
// session. Every method refuses such an ID and sends nothing. If a key holds
// another type than it should, or the hash names another session, methods
// return an error and change nothing. An element of the list that is not JSON
// is not an item. Reads pass over it, and only ClearSession removes it.
//
// # Redis Cluster
//
// A cluster spreads Python's three keys over different slots. It cannot change
// two keys in different slots in one step. [WithHashTag] keeps the keys
// together: {agents:session:user-123} and {agents:session:user-123}:messages.
// [New] requires it for a cluster client. Python does not find sessions under
// such keys. The keys also work on a single server, and can be moved from there
// to a cluster unchanged.
//
// A client may read from replicas, with ReadOnly, RouteByLatency or
// RouteRandomly of the cluster options. Then GetItems, and so EncryptedSession,
// may return items that have already been replaced or removed.
//
// # Atomicity and retries
//
// Every change is one script. It happens as a whole, in one step, or not at
// all. A server that is a replica refuses it as a whole. If the memory of the
// server is full, [Session.PopItem], [Session.ClearSession] and the removal of
// a single item still work. All other changes are refused as a whole, such as
// the removal of several items at once by Purge.
//
// By default go-redis sends a command again if the connection breaks before the
// reply arrives. That would add a batch twice or remove two items. This package
// never repeats a change that may have happened, whatever MaxRetries says. Its
// error then says that the server may or may not have carried out the change.
// After such an error from PopItem or RewriteItems, an item may be gone
// although nobody received it. The PopItem of EncryptedSession uses
// RewriteItems, so this holds for it too. If a batch must be neither lost nor
// doubled, look at the newest items before you add it again. Reads are repeated
// as the client is configured.
//
// If the context is done before a call, the call sends nothing. While go-redis
// waits for a reply, it observes the context's deadline only with
// ContextTimeoutEnabled. Otherwise its ReadTimeout counts, 5 seconds by default
// in go-redis 9.23. A batch of [Session.RewriteItems] keeps the server from
// other work for some 30 ms, if it has 1,000 items of 400 bytes and the session
// has 100,000 items.
//
// # Rights
//
// A change also fails as a whole if the client's user lacks the right to a
// command, or the server lacks the command. These rights are enough for
// everything, under the default prefix:
//
//	ACL SETUSER agent on >PASSWORD ~agents:session:* +eval +scan +type
//	+hmget +hgetall +hset +rpush +rpushx +llen +lrange +lpos +lset +lrem
//	+del +pexpire +pttl +persist
//
// The categories +@read +@write +@scripting are enough too. Only a store with
// [WithKeyTTL] uses PEXPIRE. With [WithHashTag] the keys are
// ~{agents:session:*. A client of a cluster also needs +cluster and +command. A
// client of a database other than 0 also needs +select.
//
// # Durability
//
// The configuration of Redis decides how much survives a crash. With
// "appendonly yes" and "appendfsync always" no acknowledged item is lost. The
// default of Redis may lose an hour. A failover may lose the items that had not
// reached the replica.
//
// With a maxmemory-policy that evicts keys without an expiry (allkeys-…), Redis
// may delete the list of a session and keep its hash, or the other way round.
// Use noeviction, or a policy that evicts only keys with an expiry.
//
// An item that was removed or replaced may stay in the append-only file for a
// while. It stays in snapshots and backups. SLOWLOG and MONITOR show commands
// with their arguments, which include the items as this package receives them.
//
// # Python
//
// Go and Python's RedisSession use the same sessions, plain and under
// EncryptedSession, with the SDK 0.6.9 to 0.24. Each reads, adds to, pops from
// and clears the other's sessions. These are the differences:
//
//   - An ID that ends in ":messages" or ":counter" is refused here. Python
//     takes it.
//   - Python does not find sessions of a store with [WithHashTag]. Its
//     RedisSession takes a client of a cluster for reads and pops only.
//   - Python's pop under EncryptedSession deletes every item above the newest
//     one that it can open. Since 0.23 it deletes plaintext, too.
//   - Before 0.22 Python's limits count stored items, not readable ones.
//   - A Python service that uses OpenAIResponsesCompactionSession under
//     EncryptedSession removes items that are older than its own TTL, whatever
//     the TTL is here.
//   - The compaction of such a service replaces the whole list. It overwrites
//     items that others, Go or Python, add between its read and its write. Let
//     only one service write to a session that is compacted.
//
// # Servers
//
// It is tested with Redis 7.0: alone, as a cluster, and behind a Sentinel whose
// master is killed during adds. It needs 6.0.6 or later, for SCAN with TYPE and
// for LPOS. Valkey should work and is not tested. For your own tests it works
// with github.com/alicebob/miniredis/v2, which passes the whole conformance
// suite.
package redisstore

// Package redisstore keeps the conversations of AI agents in Redis or Valkey, over github.com/redis/go-redis/v9. Its
// keys are those of the OpenAI Agents SDK for Python, so that Go and Python services can work on one database.
//
//	client := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
//	store, err := redisstore.New(client)
//	session, err := encsession.New(store.Session("user-123"), key,
//		encsession.WithTTL(24*time.Hour), encsession.WithObserver(encsession.LogDrops(slog.Default())))
//
// A [Session] of this package implements Session and Rewriter of github.com/encsession/encsession, which puts the
// encryption round it. By itself it stores what it is given, readable for everyone who can read the database.
//
// # Keys
//
// The session user-123 has, under the prefix agents:session,
//
//	agents:session:user-123           a hash with session_id, created_at and updated_at (Unix seconds)
//	agents:session:user-123:messages  a list of the items, the newest last
//	agents:session:user-123:counter   which nobody writes, but which expires and is deleted with the others
//
// An ID that ends in ":messages" or ":counter" would name a key of another session, so that every method refuses it,
// and sends nothing. Where a key holds something else than it should, or the hash names another session, methods
// return an error and change nothing. Elements of the list that are not JSON are not items: reads pass over them, and
// only ClearSession removes them.
//
// # Redis Cluster
//
// A cluster spreads Python's three keys over different slots, and changes no two of them in one step. [WithHashTag]
// keeps them together, and New wants it for a cluster client: {agents:session:user-123} and
// {agents:session:user-123}:messages. Python does not find sessions under such keys. They also work on a single
// server, from which they can be moved to a cluster as they are.
//
// A client that reads from replicas (ReadOnly, RouteByLatency or RouteRandomly of the cluster options) may read what
// has been replaced or removed already, with GetItems and so with EncryptedSession.
//
// # Atomicity and retries
//
// Every change is one script: all of it happens, or nothing, in one step. A server that is a replica, or whose memory
// is full, refuses it as a whole. [Session.PopItem], [Session.ClearSession] and
// the removal of a single item work if the memory is full; the removal of several at once, as by Purge, does not.
//
// go-redis by itself sends a command again where the connection breaks before the reply has come, which would add a
// batch twice or remove two items. This package never sends a change again that may have been made, whatever
// MaxRetries says: its error then
// says that the server may have carried it out or not. After such an error from PopItem, or RewriteItems and so the
// PopItem of EncryptedSession, an item may be gone that nobody has got. Where a batch must not be lost or doubled,
// look at the newest items before adding it again. Reads are sent again, as the client is configured.
//
// A context that is done before a call sends nothing. While go-redis waits for a reply, it looks at the context's
// deadline only with ContextTimeoutEnabled; otherwise its ReadTimeout counts, 3 seconds unless configured. A batch of
// [Session.RewriteItems], 1,000 items of 400 bytes among 100,000, keeps the server from other work for some 30 ms.
//
// # Rights
//
// An error means that nothing was changed, also if the user of the client lacks
// the right to a command, or the server lacks the command. These rights are
// enough for everything, under the default prefix:
//
//	ACL SETUSER agent on >PASSWORD ~agents:session:* +eval +scan +type
//	+hmget +hgetall +hset +rpush +rpushx +llen +lrange +lpos +lset +lrem
//	+del +pexpire +pttl +persist
//
// So are +@read +@write +@scripting. Only a store with [WithKeyTTL] uses PEXPIRE.
// With [WithHashTag] the keys are ~{agents:session:*. A client of a cluster needs
// +cluster and +command too, and one of a database other than 0 +select.
//
// # Durability
//
// What AddItems has stored survives the server as far as Redis is configured to: "appendonly yes" with "appendfsync
// always" loses nothing that was acknowledged, the default of Redis may lose an hour, and a failover what had not
// reached the replica. With a maxmemory-policy that evicts keys without an expiry (allkeys-…), Redis may delete the
// list of a session and leave its hash, or the other way round: use noeviction, or one that only evicts keys with an
// expiry.
//
// An item that was removed or replaced may stay for a while in the append-only file, and stays in snapshots and
// backups. SLOWLOG and MONITOR show commands with their arguments, and so the items as this package is given them.
//
// # Python
//
// Go and Python's RedisSession use the same sessions, plain and under
// EncryptedSession, with the SDK 0.6.9 to 0.24. Each reads, adds to, pops from
// and clears what the other has stored. These are the differences:
//
//   - An ID that ends in ":messages" or ":counter" is refused here. Python takes it.
//   - Python does not find sessions of a store with [WithHashTag]. Its
//     RedisSession takes a client of a cluster for reads and pops only.
//   - Python's pop under EncryptedSession deletes every item above the newest one
//     that it can open. Since 0.23 it deletes plaintext, too.
//   - Before 0.22 Python's limits count stored items, not readable ones.
//   - With a service that uses OpenAIResponsesCompactionSession under
//     EncryptedSession, the oldest items go once they are older than that
//     service's own TTL, whatever the TTL is here.
//   - On Redis its compaction replaces the whole list. It overwrites what others
//     add, Go or Python, between its read and its write. Let only one service
//     write to a session that is compacted.
//
// # Servers
//
// It is tested with Redis 7.0: alone, as a cluster, and behind a Sentinel whose
// master is killed during adds. It needs 6.0.6 or later, for SCAN with TYPE and
// for LPOS. Valkey should work and is not tested. For your own tests it works
// with github.com/alicebob/miniredis/v2, which passes the whole conformance suite.
package redisstore

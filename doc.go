// Package encsession keeps the conversations of AI agents encrypted in the session store that an application already
// has. It is byte-compatible with EncryptedSession of the OpenAI Agents SDK for Python: a Go service and a Python
// service can work on one database.
//
// # Use
//
// A [Session] is the history of one conversation. [New] wraps the one you have and returns another whose items are
// encrypted in it:
//
//	key, err := encsession.ParseKey(os.Getenv("ENCSESSION_KEY")) // as encsession.GenerateKey returned it once
//	// ... and so on with every err
//	session, err := encsession.New(store, key,
//		encsession.WithoutPlaintext(),
//		encsession.WithTTL(24*time.Hour),
//		encsession.WithDropHandler(logDrop))
//	err = session.AddItems(ctx, encsession.Item(`{"role":"user","content":"Hello"}`))
//	items, err := session.GetItems(ctx, 50) // the newest 50 that are readable, oldest first
//
// [Typed] gives a view of a Session whose items are values of a Go type. [Sealer] does the same work without a Session,
// for items that are stored in another way. [MemorySession] is a store in memory, the reference for others; the package
// sessiontest checks a store of your own against the rules of Session.
//
// An item is dropped, which means that a read leaves it out and goes on, when it is older than the TTL, when it was
// sealed by a clock that is more than a minute ahead, when no key at hand opens it, or when it is malformed. A read leaves
// it in the store. Set WithDropHandler and look at what it is told: after a deployment with a wrong key, every item is
// dropped as [ErrUndecryptable], and without a handler that looks like an empty history. With [WithStrictReads] such an
// item is an error instead. [EncryptedSession.Audit] counts what a session holds, by class and by key.
//
// A pop removes the newest readable item and nothing else, and no plaintext from below what no key opens: a wrong key
// destroys nothing. For that the store needs to be a [Replacer]. Over a store with the four methods of Session alone,
// PopItem reaches below expired items by removing them, and where it cannot read an item for another reason, it returns an
// error that wraps errors.ErrUnsupported.
//
// # Keys
//
// One master key serves an application in one environment. From it and the session ID, HKDF-SHA256 derives a Fernet key
// for each session, so that an item copied into another session cannot be read there.
//
// [GenerateKey] makes a master key; keep it in a secret manager. [ParseKey] reads it, or whatever else Python would take
// for a key, and [NewKey] takes 32 bytes. A raw secret is not hardened: HKDF is not a password hash, so a secret that
// can be guessed can be tried out on a stolen database at full speed.
//
// A key is changed in five steps:
//
//  1. Every reader learns the new key as a read key ([WithReadKeys]). Were a writer faster, readers would drop what it
//     writes.
//  2. The writers switch to the new key, with the old one as a read key.
//  3. [EncryptedSession.Rekey], for every session, seals under the new key what is still under the old one.
//  4. [EncryptedSession.Audit] shows 0 for the old key, and nothing undecryptable, in every session. If the count is not 0,
//     somebody still writes under the old key; if something is undecryptable, it may be that the old key given here is
//     not the one that was used.
//  5. The old key is retired: no service has it any more.
//
// Read keys are for retirement, not for compromise: whoever holds an old key can forge items that read as authentic, and
// that Rekey carries over. When a key is stolen, what it sealed has been read, and what it seals proves nothing: drop it
// from all services at once. Never write or Rekey under a new key while a Python service still reads with the old one: its
// pop deletes what it cannot read.
//
// No Key, Sealer, Option or EncryptedSession shows a key, however it is printed, logged or encoded, and no error holds
// a key, an item or other stored text. The one exception is [DecodeError], which carries the item in a field, for the
// caller.
//
// # Migration from plaintext
//
// Stored items that are not encrypted pass through reads as they are, so that an existing store can be wrapped at once:
// old items are readable, at any age, new ones are encrypted. Passing through means that whoever can write to the database can put
// words into the history. Set [WithoutPlaintext] from the beginning on a fresh store. On a migrated one, run
// [EncryptedSession.SealPlaintext] once for every session, while all that can write to the database is trusted, since it
// makes legitimate whatever lies there, and set WithoutPlaintext for good. What was plaintext then has an age, and expires
// with the TTL: choose that first.
//
// # Compatibility
//
// What is written is version 1 of the envelope of the Python SDK:
//
//	{"__enc__":1,"v":1,"kid":"hkdf-v1","payload":"<Fernet token>"}
//
// with the item's JSON as the plaintext of the token. What Python writes is read, in the layout of each of its stores.
// The age of an item is counted as there, in whole seconds. Differences: a pop in Python deletes what it cannot read,
// and here it does not; Python leaves out plaintext, since its SDK's 0.23, and here it is up to [WithoutPlaintext]; an
// envelope of another version is malformed here; a master key that Python versions read differently is an error here. The
// README lists them all.
//
// # What is not protected
//
// Items are encrypted and authenticated one by one. They have no position and no freshness: whoever can write to the
// database can delete, reorder, duplicate, truncate or roll back the items of a session, and replay a cleared
// conversation into the same session ID.
//
// Session IDs, the number of items, their sizes to 16 bytes, and the times of sealing are visible. Session IDs are stored
// and logged, so they must not be bearer tokens.
//
// The TTL is a policy of the reader: it hides items, and reads delete nothing. A reader with another TTL, or another clock,
// reads what is still stored. [EncryptedSession.Purge] deletes, and so does a pop over a store with four methods. Sealing
// in place and deleting leave old bytes in database files, logs and backups.
//
// Equal session IDs under one master key share a key, in whatever store they are. A constant [WithSessionID] for all
// sessions removes the separation between them.
package encsession

// Package encsession keeps the conversations of AI agents encrypted in the
// session store that an application already has. It is byte-compatible with
// EncryptedSession of the OpenAI Agents SDK for Python: a Go service and a
// Python service can work on one database.
//
// # Use
//
// A [Session] is the history of one conversation. [New] wraps the one you have
// and returns another whose items are encrypted in it:
//
//	key, err := encsession.ParseKey(os.Getenv("ENCSESSION_KEY")) // as GenerateKey returned it once
//	// ... and so on with every err
//	session, err := encsession.New(store, key,
//		encsession.WithTTL(24*time.Hour),
//		encsession.WithObserver(encsession.LogDrops(slog.Default())))
//	err = session.AddItems(ctx, encsession.Item(`{"role":"user","content":"Hello"}`))
//	items, err := session.GetItems(ctx, 50) // the newest 50 that are readable, oldest first
//
// [Typed] gives a view of a Session whose items are values of a Go type.
// [Sealer] encrypts and opens items that are not stored in a Session.
// [MemorySession] is a store in memory, the reference for others; the package
// sessiontest checks a store of your own against the rules of Session.
//
// A read drops every item that is not readable: it leaves the item out and goes
// on, and the item stays in the store. An item is not readable if it is older
// than the TTL, was sealed more than a minute ahead of the clock, opens under
// no key, is malformed, or is not encrypted.
//
// Drops are silent for the caller of the read. An observer is told about them:
// set one with [WithObserver], such as [LogDrops]. After a deployment with a
// wrong key, every item is dropped as [ErrUndecryptable], and without an
// observer that looks like an empty history. With [WithStrictReads] such an
// item is an error. [EncryptedSession.Audit] counts the items of a session, by
// class and by key.
//
// A writer with a wrong key would split the history of a session. AddItems
// therefore looks at the newest items first, and stores nothing if the keys do
// not fit them. A read of the same handle makes the look unnecessary.
//
// A pop removes the newest readable item and nothing else. It removes no
// plaintext from below an item that no key opens: a wrong key destroys nothing.
// To remove an item from below others, PopItem needs a store that is a
// [Rewriter]. Over a store with only the methods of Session, it removes the
// expired items that lie above the one that it pops. If any other unreadable
// item comes first, it returns an error that wraps [errors.ErrUnsupported].
//
// # Keys
//
// One master key serves an application in one environment. From it and the
// session ID, HKDF-SHA256 derives a Fernet key for each session. So an item
// that is copied into another session cannot be read there.
//
// [GenerateKey] makes a master key; keep it in a secret manager. [ParseKey]
// reads it and refuses everything else, and [NewKey] takes 32 bytes.
// [ParsePythonKey] takes any string as the Python SDK does. Such a raw secret
// is not hardened, since HKDF is not a password hash: with a stolen database,
// an attacker can try out guesses at full speed. [Key.Fingerprint] tells keys
// apart in logs and on two machines.
//
// A [KeySource] looks keys up at run time: one key for each tenant, or a key
// that changes without a restart. It is asked once per call. It returns
// [ErrKeyDestroyed] for a session that was erased for good, so that nobody
// takes the session for one under a wrong key.
//
// A key is changed in five steps:
//
//  1. Every reader gets the new key in Keyring.Older. If a writer switches
//     first, readers drop its items.
//  2. The writers switch: the new key becomes Keyring.Current, and the old one
//     goes to Keyring.Older.
//  3. [EncryptedSession.Rekey], for every session, seals the items of the old
//     key again under the new key. It returns a [SkippedError] if there are
//     items that no key opens.
//  4. [EncryptedSession.Audit] shows 0 for the old key, and nothing
//     undecryptable, in every session. If the count is not 0, somebody still
//     writes under the old key. If something is undecryptable, the old key
//     given here may not be the one that was used.
//  5. The old key is retired: no service has it any more.
//
// Older keys are for retirement, not for compromise: whoever holds one can
// forge items that read as authentic, and that Rekey carries over. If a key is
// stolen, the items under it have been read and prove nothing. Drop it from all
// services at once, and set [WithUnreadableHistory] until its items have gone.
// Never write or Rekey under a new key while a Python service still reads with
// the old one: its pop deletes every item that it cannot read.
//
// No Key, Keyring, Sealer, Option or EncryptedSession shows a key, however it
// is printed, logged or encoded. No error of this package and no [Event] holds
// a key, an item or other stored text. But errors of a store and of a KeySource
// are wrapped as they are. A [DecodeError] gives its item to the caller who
// asks for it, and prints none of it.
//
// # Migration from plaintext
//
// An existing store can be wrapped at once with [WithPlaintext]: old items are
// readable as they are, at any age, and new ones are encrypted. Meanwhile
// whoever can write to the database can put words into the history. So run
// [EncryptedSession.SealPlaintext] once for every session, while everybody who
// can write to the database is trusted. Then drop WithPlaintext for good.
// Sealed plaintext has an age and expires with the TTL, so choose the TTL
// first.
//
// Without WithPlaintext, a read drops items that are not encrypted, with
// [ErrPlaintext]. AddItems refuses to write if some of the newest items are not
// encrypted and no key opens any of them.
//
// # Erasure
//
// [EncryptedSession.DeleteItems] removes the items that a func matches, expired
// ones too. [EncryptedSession.Purge] removes items by age. Both return a
// [SkippedError] if there are items that they could not judge, so that an
// erasure under a wrong key is an error.
//
// # Compatibility
//
// Items are written in version 1 of the envelope of the Python SDK:
//
//	{"__enc__":1,"v":1,"kid":"hkdf-v1","payload":"<Fernet token>"}
//
// The item's JSON is the plaintext of the token. Items that Python writes are
// read, in the layout of each of its stores. The age of an item is counted in
// whole seconds, as in Python. Some behaviour differs. A pop in Python deletes
// items that it cannot read; a pop here does not. An envelope of another
// version is malformed here. A master key that Python versions read differently
// is an error here. docs/compatibility.md lists all differences.
//
// # What is not protected
//
// Items are encrypted and authenticated one by one. Nothing protects their
// order or their freshness. Whoever can write to the database can delete,
// reorder, duplicate, truncate or roll back the items of a session, and replay
// a cleared conversation into the same session ID.
//
// Session IDs, the number of items, their sizes in steps of 16 bytes, and the
// times of sealing are visible. Session IDs are stored and logged, so they must
// not be bearer tokens.
//
// The TTL is a policy of the reader: it hides items, and reads delete nothing.
// A reader with another TTL, or another clock, reads whatever is still stored.
// Purge and DeleteItems delete expired items. A pop over a store that is not a
// [Rewriter] deletes those above the item that it pops. Items that were sealed
// in place or deleted may remain in database files, logs and backups.
//
// Sessions with the same ID and the same master key share a key, even in
// different stores. If all sessions get the same [WithSessionID], nothing
// separates them any more.
package encsession

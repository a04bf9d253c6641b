package fleet

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/encsession/encsession"
)

// Rekey runs [encsession.EncryptedSession.Rekey] in every session: it seals
// again, under the current key, every item that an older key opens. An empty
// listing is no error: look at Summary.Sessions.
//
// A mistyped current key would seal everything under a key that no service has.
// Rekey therefore makes two passes over the listing. In the first it audits all
// sessions and changes nothing. Every current key of a session that holds items
// must open at least one item, in whatever session, or [WithFirstUse] must name
// it. Otherwise Rekey returns an [*UnprovenKeyError] with the fingerprints of
// the unproven keys. So let the services write under the new key first, which
// is the usual order of a change of keys, or name the key that their startup
// log shows. [WithManagedKeys] does without the check.
//
// In the second pass Rekey audits each session once more before it changes it,
// since a session may be new, or may have failed in the first pass. If the
// current key of the session is unproven then, the session fails. Only a
// KeySource that changes the key of a session between this look and the work
// can evade the check. If a session holds nothing to seal and nothing to count
// as skipped, the work on it ends here.
//
// The proof does not notice if the old and the new key are swapped. Rekey then
// seals under the old key again, which [Audit] shows.
//
// The fingerprints of raw secrets are all the same. If the sessions have
// several raw current keys, one that opens an item proves all of them.
//
// It must be possible to range over the listing twice, as with the listings of
// stores. The Summary is that of the second pass; if there was none, it is
// zero.
func Rekey(ctx context.Context, sessions iter.Seq2[encsession.SessionInfo, error], open OpenFunc, opts ...Option) (Summary, error) {
	return seal(ctx, "Rekey", sessions, open, opts, (*encsession.EncryptedSession).Rekey, func(r encsession.Report) bool {
		return authentic(r) > r.Keys[0].Items || r.Undecryptable > 0 || r.Malformed > 0
	})
}

// SealPlaintext runs [encsession.EncryptedSession.SealPlaintext] in every
// session: it seals every item that is not encrypted.
//
// It requires a proof of each current key and makes two passes, as [Rekey]
// does. A store that has held nothing but plaintext until now proves no key, so
// [WithFirstUse] has to name the current one.
func SealPlaintext(ctx context.Context, sessions iter.Seq2[encsession.SessionInfo, error], open OpenFunc, opts ...Option) (Summary, error) {
	return seal(ctx, "SealPlaintext", sessions, open, opts, (*encsession.EncryptedSession).SealPlaintext, func(r encsession.Report) bool {
		return r.Plaintext > 0 || r.Undecryptable > 0 || r.Malformed > 0
	})
}

// UnprovenKeyError is the error of Rekey and SealPlaintext for current keys
// that open no item and that WithFirstUse does not name. Nothing was sealed
// under them.
type UnprovenKeyError struct {
	Fingerprints []string // in order
}

// Error returns a text with the first ten fingerprints.
func (e *UnprovenKeyError) Error() string {
	shown := e.Fingerprints[:min(len(e.Fingerprints), maxErrors)]
	more := ""
	if n := len(e.Fingerprints) - len(shown); n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	advice := "compare the fingerprint with that in the startup log of the service, and if they are equal, name it in WithFirstUse"
	if slices.Contains(shown, rawFingerprint) {
		advice += "; a raw secret cannot be named, so let the service write an item under it first"
	}
	return fmt.Sprintf("current key %s%s opens no item, so it may be mistyped, and nothing was sealed under it: %s",
		strings.Join(shown, ", "), more, advice)
}

// seal proves the keys, and then runs do, which seals items under the current
// key, in every session whose report is one for which needed returns true.
func seal(ctx context.Context, name string, sessions iter.Seq2[encsession.SessionInfo, error], open OpenFunc, opts []Option,
	do func(*encsession.EncryptedSession, context.Context) (int, error), needed func(encsession.Report) bool) (Summary, error) {
	o, err := newOperation(ctx, name, sessions, open, opts)
	if err != nil {
		return Summary{}, err
	}
	change := func(ctx context.Context, session *encsession.EncryptedSession, r *Result) (err error) {
		r.Changed, err = do(session, ctx)
		return err
	}
	if o.managedKeys {
		return o.change(ctx, change)
	}
	seen, stop := o.run(ctx, audit, nil)
	if stop != nil {
		return Summary{}, join(name, []error{fmt.Errorf("first pass, which changes nothing: %w", stop)})
	}
	if unproven := o.unproven(seen); unproven != nil {
		return Summary{}, join(name, seen.errors(unproven))
	}
	summary, err := o.change(ctx, func(ctx context.Context, session *encsession.EncryptedSession, r *Result) error {
		report, err := session.Audit(ctx)
		if err != nil {
			return err
		}
		key := report.Keys[0]
		if report.Items > 0 && key.Items == 0 && !o.proven(seen, key.Fingerprint) {
			return &UnprovenKeyError{[]string{key.Fingerprint}}
		}
		if !needed(report) {
			return nil
		}
		return change(ctx, session, r)
	})
	if err == nil && seen.Sessions > 0 && summary.Sessions == 0 {
		err = join(name, []error{errors.New("the listing had sessions in the first pass and none in the second, so nothing was done: " +
			"give a listing that can be ranged over twice")})
	}
	return summary, err
}

// unproven returns an error for the current keys that were met in a session
// with items and are not proved.
func (o *operation) unproven(seen *tally) error {
	var fingerprints []string
	for id, key := range seen.keys {
		if key.met && !o.proven(seen, id.fingerprint) {
			fingerprints = append(fingerprints, id.fingerprint)
		}
	}
	if fingerprints == nil {
		return nil
	}
	slices.Sort(fingerprints)
	return &UnprovenKeyError{fingerprints}
}

// proven reports whether a current key may seal.
func (o *operation) proven(seen *tally, fingerprint string) bool {
	key := seen.keys[idOf(0, fingerprint)]
	return o.firstUse[fingerprint] || key != nil && key.items > 0
}

// authentic counts the items that a key opens.
func authentic(r encsession.Report) (n int) {
	for _, key := range r.Keys {
		n += key.Items
	}
	return n
}

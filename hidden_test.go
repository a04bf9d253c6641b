package encsession_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// spellings returns the ways in which fmt, JSON and slog may write a secret.
func spellings(secret []byte) []string {
	decimal := strings.Trim(fmt.Sprint(secret[:8]), "[]")
	spaced := fmt.Sprintf("% x", secret[:8])
	goSyntax := strings.TrimSuffix(fmt.Sprintf("%#v", secret[:8]), "}")
	return []string{
		string(secret[:8]),
		hex.EncodeToString(secret[:8]),
		decimal, strings.ReplaceAll(decimal, " ", ","),
		spaced, strings.ReplaceAll(spaced, " ", ""),
		goSyntax[strings.Index(goSyntax, "{")+1:],
		base64.StdEncoding.EncodeToString(secret)[:10],
		base64.URLEncoding.EncodeToString(secret)[:10],
	}
}

// holders returns values of many types that hold value. When fmt prints one, it
// calls the methods of an exported field, but not those of an unexported one.
func holders[T any](value T) map[string]any {
	type fields struct {
		hidden T
		Shown  T
	}
	type pointers struct {
		hidden *T
		Shown  *T
	}
	type interfaces struct {
		id     string
		hidden any
		Shown  any
	}
	type nested struct {
		inner  struct{ inner struct{ hidden T } }
		Middle *fields
	}
	deep := nested{Middle: &fields{value, value}}
	deep.inner.inner.hidden = value
	pointer := &value
	held := map[string]any{
		"itself":                   value,
		"pointer":                  pointer,
		"pointer to a pointer":     &pointer,
		"struct":                   fields{value, value},
		"struct of pointers":       pointers{pointer, pointer},
		"struct of interfaces":     interfaces{"7", value, value},
		"struct of any pointer":    interfaces{"7", pointer, pointer},
		"pointer to a struct":      &fields{value, value},
		"pointer to a struct of *": &pointers{pointer, pointer},
		"nested structs":           deep,
		"pointer to nested":        &deep,
		"struct in an interface":   struct{ inner any }{&interfaces{"7", fields{value, value}, &deep}},
		"slice":                    []T{value},
		"slice of pointers":        []*T{pointer},
		"slice of interfaces":      []any{value, pointer},
		"array":                    [1]T{value},
		"map":                      map[string]T{"k": value},
		"map of pointers":          map[string]*T{"k": pointer},
		"map of interfaces":        map[string]any{"k": value},
		"map key":                  map[*T]int{pointer: 1},
		"map of structs":           map[string]fields{"k": {value, value}},
		"func":                     func() T { return value },
	}
	if err, ok := any(value).(error); ok {
		held["struct of an error"] = struct {
			id  string
			err error
		}{"7", err}
		held["struct of an exported error"] = struct{ Err error }{err}
		held["joined"] = errors.Join(errBroken, err)
		held["struct of joined"] = struct{ err error }{errors.Join(err, errBroken)}
		held["wrapped"] = fmt.Errorf("wrapped: %w", err)
		held["struct of wrapped"] = struct{ err error }{fmt.Errorf("wrapped: %w", err)}
		held["slice of errors"] = []error{err}
	}
	return held
}

// requireHidden prints a value in every way, in every holder, and requires that
// none of the secrets appears.
func requireHidden[T any](t *testing.T, value T, secrets ...string) {
	t.Helper()
	var all []string
	for _, secret := range secrets {
		for _, spelling := range spellings([]byte(secret)) {
			all = append(all, spelling, strings.ToUpper(spelling))
		}
	}
	check := func(where, how, output string) {
		for _, secret := range all {
			if strings.Contains(output, secret) {
				require.Fail(t, "a secret was printed", "%T in %s as %s: %q is in\n%s", value, where, how, secret, output)
			}
		}
	}
	for where, held := range holders(value) {
		for _, verb := range []string{
			"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%O", "%b", "%t", "%c", "%U", "%e", "%g", "%p", "%w", "%T", "%z",
			"% x", "%#x", "% #X", "%+q", "%#q", "%10.3s", "%-200v", "%+d", "%[1]s",
		} {
			check(where, verb, fmt.Sprintf(verb, held))
		}
		check(where, "Sprint", fmt.Sprint(held, held))
		check(where, "Sprintln", fmt.Sprintln(held))
		encoded, err := json.Marshal(held) // an error will do too, but must not show the secret either
		check(where, "JSON", fmt.Sprint(string(encoded), err))
		var log bytes.Buffer
		for _, handler := range []slog.Handler{slog.NewJSONHandler(&log, nil), slog.NewTextHandler(&log, nil)} {
			slog.New(handler).With("with", held).Info("m", "k", held, slog.Group("g", "k", held), "list", []any{held})
		}
		check(where, "slog", log.String())
	}
}

// structSource is a KeySource with fields that fmt could print.
type structSource struct {
	Secret []byte
	ring   encsession.Keyring
}

func (s *structSource) Keys(context.Context, string) (encsession.Keyring, error) { return s.ring, nil }

// TestNothingPrintsAKeyOrAnItem covers everything that carries a key, an item,
// or an error that may quote one. MemorySession is exempt: a store shows its
// items.
func TestNothingPrintsAKeyOrAnItem(t *testing.T) {
	const ikm, rawIKM, content = "TheMasterSecretOf32PrintableByte", "AnotherMasterSecretWhichIsRaw", "TheTextThatNobodyMaySee"
	secrets := []string{ikm, rawIKM, content}
	for _, secret := range []string{ikm, rawIKM} {
		f := newForger([]byte(secret), sessionID)
		secrets = append(secrets, string(f.sign), string(f.encrypt))
	}
	key, err := encsession.NewKey([]byte(ikm))
	require.NoError(t, err)
	raw, err := encsession.ParsePythonKey(rawIKM)
	require.NoError(t, err)
	ring := ringOf(key, raw)
	sealer := newSealer(t, key, raw)
	item := message(content)
	secrets = append(secrets, string(item))

	requireHidden(t, key, secrets...)
	requireHidden(t, raw, secrets...)
	requireHidden(t, ring, secrets...)
	requireHidden(t, sealer, secrets...)
	requireHidden(t, *sealer, secrets...)
	requireHidden[encsession.KeySource](t, key, secrets...)
	requireHidden[encsession.KeySource](t, ring, secrets...)

	closure := encsession.KeyFunc(func(context.Context, string) (encsession.Keyring, error) {
		key, err := encsession.NewKey([]byte(ikm))
		return ringOf(key, raw), err
	})
	requireHidden(t, closure, secrets...)
	for _, source := range []encsession.KeySource{key, ring, closure, &structSource{[]byte(ikm), ring}} {
		store := encsession.NewMemorySession(sessionID)
		require.NoError(t, store.AddItems(t.Context(), item))
		session := newSession(t, store, source, encsession.WithPlaintext(), encsession.WithObserver(func(context.Context, encsession.Event) { _ = raw }))
		requireHidden(t, session, secrets...)
		require.Len(t, getItems(t, session, 0), 1) // the session holds derived keys now
		require.NoError(t, session.AddItems(t.Context(), item))
		requireHidden(t, session, secrets...)
		requireHidden[encsession.Session](t, session, secrets...)
		requireHidden(t, encsession.Typed[chatMessage](session), secrets...)
	}
	for _, opt := range []encsession.Option{
		encsession.WithTTL(time.Hour), encsession.WithSessionID("id"),
		encsession.WithObserver(func(context.Context, encsession.Event) { _ = key }),
	} {
		requireHidden(t, opt, secrets...)
	}

	// Errors that carry an item, or a cause that quotes it.
	store := encsession.NewMemorySession(sessionID)
	require.NoError(t, store.AddItems(t.Context(), item))
	_, err = encsession.Typed[quoting](store).GetItems(t.Context(), 0)
	var decodeErr *encsession.DecodeError
	require.ErrorAs(t, err, &decodeErr)
	require.Contains(t, string(decodeErr.Item()), content)
	require.ErrorContains(t, decodeErr.Unwrap(), content)
	requireHidden(t, decodeErr, secrets...)
	requireHidden(t, *decodeErr, secrets...)
	requireHidden(t, err, secrets...)
	_, err = encsession.Typed[quoting](store).PopItem(t.Context())
	require.ErrorAs(t, err, &decodeErr)
	requireHidden(t, decodeErr, secrets...)
	err = encsession.Typed[quoting](store).AddItems(t.Context(), quoting{content})
	require.ErrorContains(t, errors.Unwrap(err), content)
	requireHidden(t, err, secrets...)
	requireHidden(t, errors.Join(err, decodeErr), secrets...)

	require.Equal(t, "encsession.Key(hidden)", fmt.Sprint(key))
	require.Equal(t, "encsession.Key(hidden)", fmt.Sprintf("%#v", key))
	//lint:ignore SA9005 that there is nothing to unmarshal into is what is tested
	require.NotContains(t, fmt.Sprint(json.Unmarshal([]byte(`"x"`), &key)), ikm)
}

// TestSpellings shows that the test above would find a key. spellings covers
// each way in which one could leak.
func TestSpellings(t *testing.T) {
	secret := []byte("TheMasterSecretOf32PrintableByte")
	array, verb := [32]byte(secret), "%s" // a variable, for vet
	encoded, err := json.Marshal(secret)
	require.NoError(t, err)
	for _, leak := range []string{
		string(secret), fmt.Sprintf("%x", secret), fmt.Sprintf("%v", secret), fmt.Sprintf("%#v", secret),
		//lint:ignore SA5009 the very thing that leaks
		fmt.Sprintf(verb, struct{ p *[32]byte }{&array}), fmt.Sprintf("% x", secret), string(encoded),
	} {
		found := false
		for _, spelling := range spellings(secret) {
			found = found || strings.Contains(leak, spelling)
		}
		require.True(t, found, leak)
	}
}

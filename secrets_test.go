package encsession_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

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

func TestNothingPrintsAKey(t *testing.T) {
	ikm := []byte("TheMasterSecretOf32PrintableByte")
	key, err := encsession.NewKey(ikm)
	require.NoError(t, err)
	raw, err := encsession.ParseKey("AnotherMasterSecretWhichIsRaw")
	require.NoError(t, err)
	sealer, err := encsession.NewSealer(sessionID, encsession.NoExpiry, key, raw)
	require.NoError(t, err)
	session := newSession(t, encsession.NewMemorySession(sessionID), key, encsession.WithReadKeys(raw))

	var secrets []string
	for _, secret := range [][]byte{ikm, []byte("AnotherMasterSecretWhichIsRaw")} {
		f := newForger(secret, sessionID)
		for _, secret := range [][]byte{secret, f.sign, f.encrypt} {
			for _, spelling := range spellings(secret) {
				secrets = append(secrets, spelling, strings.ToUpper(spelling))
			}
		}
	}
	requireHidden := func(how, output string) {
		t.Helper()
		for _, secret := range secrets {
			require.NotContains(t, output, secret, how)
		}
	}

	type holder struct {
		hidden any
		Shown  any
	}
	type keyHolder struct {
		key     encsession.Key
		pointer *encsession.Key
		Key     encsession.Key
	}
	type sealerHolder struct {
		sealer  encsession.Sealer
		pointer *encsession.Sealer
	}
	type sessionHolder struct {
		session *encsession.EncryptedSession
		option  encsession.Option
	}
	values := map[string]any{
		"Key":              key,
		"raw Key":          raw,
		"*Key":             &key,
		"Sealer":           *sealer,
		"*Sealer":          sealer,
		"Option":           encsession.WithReadKeys(key, raw),
		"EncryptedSession": session,
		"struct of Key":    keyHolder{key: key, pointer: &key, Key: raw},
		"struct of Sealer": sealerHolder{sealer: *sealer, pointer: sealer},
		"struct of both":   sessionHolder{session: session, option: encsession.WithReadKeys(key)},
	}
	for name, value := range values {
		holders := map[string]any{
			"itself":     value,
			"pointer":    &value,
			"slice":      []any{value},
			"map":        map[string]any{"k": value},
			"struct":     holder{hidden: value, Shown: value},
			"*struct":    &holder{hidden: value, Shown: value},
			"struct in*": struct{ inner *holder }{&holder{hidden: value}},
		}
		for where, held := range holders {
			how := name + " in " + where
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%t", "%c", "%p", "%w", "% x", "%10.3s"} {
				requireHidden(how+" as "+verb, fmt.Sprintf(verb, held))
			}
			requireHidden(how+" by Sprint", fmt.Sprint(held))
			encoded, _ := json.Marshal(held) // an error is as good
			requireHidden(how+" as JSON", string(encoded))
			var log bytes.Buffer
			slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "k", held)
			slog.New(slog.NewTextHandler(&log, nil)).Info("m", "k", held)
			requireHidden(how+" by slog", log.String())
		}
	}
	require.Equal(t, "encsession.Key(hidden)", fmt.Sprint(key))
	require.Equal(t, "encsession.Key(hidden)", fmt.Sprintf("%#v", key))
	//lint:ignore SA9005 that there is nothing to unmarshal into is what is tested
	requireHidden("error of json", fmt.Sprint(json.Unmarshal([]byte(`"x"`), &key)))
}

// TestSpellings shows that the test above would find a key: each way of leaking is among the spellings.
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

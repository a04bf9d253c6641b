package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/encsession/encsession"
	"github.com/stretchr/testify/require"
)

func TestUsageErrors(t *testing.T) {
	file := newDatabase(t)
	key := env{keyVariable: encsession.GenerateKey(), olderKeysVariable: encsession.GenerateKey()}
	on := key.on(file)
	without := env(nil).on(file)
	redis := key.with(storeVariable, "redis://127.0.0.1:1")
	mysql := key.with(storeVariable, "mysql://127.0.0.1:1/x")
	for name, test := range map[string]struct {
		environment env
		args        string
		want        string
	}{
		"unknown command":         {on, "inspect", "the first argument is no command"},
		"unknown flag":            {on, "audit --mongo x", "there is no flag --mongo"},
		"unknown short flag":      {on, "audit -x", "is no flag"},
		"flag without value":      {on, "audit --ttl", "--ttl needs a value"},
		"no store":                {key, "audit", "no store is given"},
		"two stores":              {on, "audit --store sqlite:x", "--store and ENCSESSION_STORE are both given"},
		"store without scheme":    {key, "audit --store x.db", "want a URL"},
		"store of another kind":   {key, "audit --store mongodb://x", "want a URL"},
		"empty store":             {key.with(storeVariable, ""), "audit", "ENCSESSION_STORE is set, but empty"},
		"SQLAlchemy's slashes":    {key, "audit --store sqlite:///x.db", "write sqlite:FILE"},
		"tables of Redis":         {redis, "audit --sessions-table x", "--sessions-table names a table"},
		"prefix of tables":        {on, "audit --prefix x", "--prefix goes with Redis"},
		"hash tag of tables":      {on, "audit --hash-tag", "--hash-tag goes with Redis"},
		"empty prefix":            {redis, "audit --prefix=", "the prefix is empty"},
		"several hosts":           {key.with(storeVariable, "redis://127.0.0.1:1,127.0.0.1:2"), "audit", "redis-cluster://"},
		"Redis database":          {key.with(storeVariable, "redis://127.0.0.1:1/x"), "audit", "not one of Redis"},
		"database of a cluster":   {key.with(storeVariable, "redis-cluster://127.0.0.1:1/1"), "audit", "not one of Redis"},
		"MySQL without database":  {key.with(storeVariable, "mysql://127.0.0.1:1"), "audit", "not one of MySQL"},
		"parameter of MySQL":      {key.with(storeVariable, "mysql://127.0.0.1:1/x?parseTime=perhaps"), "audit", "not one of MySQL"},
		"parameter of PostgreSQL": {key.with(storeVariable, "postgres://127.0.0.1:1/x?sslmode=perhaps"), "audit", "not one of PostgreSQL"},
		"no Redis there":          {redis, "audit", "connection refused"},
		"no MySQL there":          {mysql, "audit", "connection refused"},
		"no PostgreSQL there":     {key.with(storeVariable, "postgres://127.0.0.1:1/x"), "audit", "connection refused"},
		"argument":                {on, "audit rekey", "takes no arguments"},
		"no session to show":      {on, "show", "takes one argument"},
		"two sessions":            {on, "show a b", "takes one argument"},
		"TTL of nothing":          {on, "audit --ttl 0s", "--ttl: want whole seconds, at least 1s"},
		"TTL of half seconds":     {on, "audit --ttl 1.5s", "whole seconds"},
		"nothing to purge":        {on, "purge --yes", "give one of --older-than and --idle"},
		"two ages":                {on, "purge --yes --older-than 1d --idle 1d", "give one of --older-than and --idle"},
		"negative age":            {on, "purge --yes --older-than -1h", "whole seconds, at least 0s"},
		"negative days":           {on, "purge --yes --older-than -1d", "whole seconds"},
		"too many days":           {on, "purge --yes --older-than 99999999999d", "whole seconds"},
		"age without unit":        {on, "purge --yes --older-than 30", "whole seconds"},
		"idle for no time":        {on, "purge --yes --idle 0s", "at least 1s"},
		"not a boolean":           {on, "rekey --dry-run=perhaps", "--dry-run: want true or false"},
		"no workers":              {on, "audit --workers 0", "--workers: want a number from 1 to 1000"},
		"half a worker":           {on, "audit --workers 0.5", "--workers: want a number"},
		"shard 0":                 {on, "audit --shard 0/8", "the parts count from 1, so 8/8 is the last"},
		"shard of one session":    {on, "delete a --shard 1/8", "--shard cannot be used with a single session"},
		"pause before":            {on, "audit --pause -1s", "--pause: want a duration"},
		"table name":              {on, "audit --sessions-table a;drop", "not an identifier"},
		"fingerprint of raw":      {on, "rekey --yes --first-use raw", "a raw secret has none"},
		"fingerprint of another":  {on, "rekey --yes --first-use 0123456789abcdef", "one of them is wrong; nothing was changed"},
		"rekey without key":       {without, "rekey --yes", "rekey needs a key: set ENCSESSION_KEY"},
		"seal without key":        {without, "seal --yes", "seal needs a key"},
		"purge without key":       {without, "purge --yes --older-than 1d", "purge needs a key"},
		"delete without key":      {without, "delete --yes --match x", "delete --match needs a key"},
		"fingerprint of no key":   {nil, "fingerprint", "fingerprint needs a key"},
		"rekey from no key":       {without.with(keyVariable, encsession.GenerateKey()), "rekey --yes", "rekey needs the keys to change from: set ENCSESSION_OLDER_KEYS"},
		"delete of nothing":       {on, "delete --yes", "give the ID of a session, or --match"},
		"delete of two":           {on, "delete a b --yes", "at most one argument"},
		"delete of no ID":         {on, `delete ~ --yes`, "the ID of the session is empty"},
		"delete of nobody":        {on, "delete nobody --yes", `the store has no session "nobody"`},
		"no match file":           {on, "delete --yes --match " + file + "x", "--match: open"},
		"case of no match":        {on, "delete a --yes --ignore-case", "go with --match"},
		"answer from the match":   {on, "delete --match -", "give --yes or --dry-run"},
		"file that is not there":  {key.on(file + "x"), "audit", "no such file"},
		"folder":                  {key.on(filepath.Dir(file)), "audit", "is not a file"},
		"audit file in no folder": {on.with(auditFileVariable, file+"x/y"), "rekey --yes", "audit file: open"},
		"two audit files":         {on.with(auditFileVariable, file+"x"), "rekey --yes --audit-file y", "are both given"},
		"empty audit file":        {on.with(auditFileVariable, ""), "rekey --yes", "is set, but empty"},
		"old variable":            {on.with(readKeysVariable, "q7 old"), "audit", "give older keys by ENCSESSION_OLDER_KEYS"},
	} {
		t.Run(name, func(t *testing.T) {
			args := strings.Fields(test.args)
			for i, arg := range args {
				args[i] = strings.TrimPrefix(arg, "~") // stands for the empty one
			}
			r := call(t, test.environment, args...)
			require.Equal(t, exitError, r.code, r.stderr)
			require.Contains(t, r.stderr, test.want)
			require.Empty(t, r.stdout)
		})
	}
	require.Equal(t, []string{"test.db"}, filesBeside(t, file), "no files are made")
}

// TestKeySources tries every way to give keys, and every way to give them
// wrongly.
func TestKeySources(t *testing.T) {
	fernet, key := newKey(t)
	other, otherKey := newKey(t)
	short := strings.TrimSuffix(fernet, "=")
	for name, test := range map[string]struct {
		environment env
		want        string // on standard output, or of the error
	}{
		"a Fernet key":             {env{keyVariable: fernet}, "current  " + key.Fingerprint() + "\n"},
		"in a file":                {env{keyVariable + fileSuffix: write(t, "key", fernet+"\n")}, "current  " + key.Fingerprint() + "\n"},
		"any string":               {env{pythonKeyVariable: "a secret\n"}, "current  raw\n"},
		"any string in a file":     {env{pythonKeyVariable + fileSuffix: write(t, "key", "a secret")}, "current  raw\n"},
		"Python's Fernet key":      {env{pythonKeyVariable + fileSuffix: write(t, "key", fernet+"\n")}, "current  " + key.Fingerprint() + "\n"},
		"an older key":             {env{keyVariable: fernet, olderKeysVariable: other}, "current  " + key.Fingerprint() + "\nolder    " + otherKey.Fingerprint() + "\n"},
		"older keys in a file":     {env{keyVariable: fernet, olderKeysVariable + fileSuffix: write(t, "keys", "\r\n"+other+"\r\n\n"+other)}, "older    " + otherKey.Fingerprint() + "\nolder    " + otherKey.Fingerprint() + "\n"},
		"older strings":            {env{keyVariable: fernet, pythonOlderKeysVariable: "\nold, with a comma\n" + other + "\n"}, "older    raw\nolder    " + otherKey.Fingerprint() + "\n"},
		"older strings in a file":  {env{keyVariable: fernet, pythonOlderKeysVariable + fileSuffix: write(t, "keys", "one\ntwo\n")}, "older    raw\nolder    raw\n"},
		"empty":                    {env{keyVariable: ""}, "ENCSESSION_KEY is set, but empty"},
		"empty older":              {env{keyVariable: fernet, olderKeysVariable: ""}, "ENCSESSION_OLDER_KEYS is set, but empty"},
		"no older key":             {env{keyVariable: fernet, olderKeysVariable: "\n"}, "ENCSESSION_OLDER_KEYS holds no key"},
		"empty file":               {env{keyVariable + fileSuffix: write(t, "key", "\n")}, "ENCSESSION_KEY_FILE: the file is empty"},
		"no file":                  {env{keyVariable + fileSuffix: "nowhere"}, "ENCSESSION_KEY_FILE: cannot read the file: no such file"},
		"a key for a file":         {env{keyVariable + fileSuffix: fernet}, "ENCSESSION_KEY_FILE: cannot read the file: no such file"},
		"variable and file":        {env{keyVariable: fernet, keyVariable + fileSuffix: "x"}, "ENCSESSION_KEY and ENCSESSION_KEY_FILE are both set"},
		"two kinds":                {env{keyVariable: fernet, pythonKeyVariable: "x y"}, "ENCSESSION_KEY and ENCSESSION_PYTHON_KEY are both set"},
		"two kinds of files":       {env{keyVariable + fileSuffix: "x", pythonKeyVariable + fileSuffix: "x"}, "are both set"},
		"two kinds of older keys":  {env{keyVariable: fernet, olderKeysVariable: other, pythonOlderKeysVariable: "x y"}, "are both set"},
		"current key as older":     {env{keyVariable: fernet, olderKeysVariable: other + "\n" + fernet}, "ENCSESSION_OLDER_KEYS: the current key " + key.Fingerprint() + " is among the older keys"},
		"a mistyped file":          {env{keyVariable: fernet, "ENCSESSION_KEYFILE": "key"}, "ENCSESSION_KEYFILE is set, and is no variable of this command"},
		"a mistyped older key":     {env{keyVariable: fernet, "ENCSESSION_OLDER_KEY": other}, "ENCSESSION_OLDER_KEY is set, and is no variable"},
		"a mistyped audit file":    {env{keyVariable: fernet, "ENCSESSION_AUDIT_FIEL": "x y"}, "ENCSESSION_AUDIT_FIEL is set, and is no variable"},
		"variables of others":      {env{keyVariable: fernet, "ENCSESSION_PYTHON": "x y", "ENCSESSION_OLDER_SDKS": "x y"}, "current  " + key.Fingerprint() + "\n"},
		"older key alone":          {env{olderKeysVariable: other}, "ENCSESSION_OLDER_KEYS is set, but no current key"},
		"old variable":             {env{keyVariable: fernet, readKeysVariable: "x y"}, "ENCSESSION_READ_KEYS was a variable of the example"},
		"old variable, empty":      {env{keyVariable: fernet, readKeysVariable: ""}, "ENCSESSION_READ_KEYS was a variable of the example"},
		"no Fernet key":            {env{keyVariable: "changeme!"}, "for other strings, set ENCSESSION_PYTHON_KEY"},
		"ambiguous":                {env{pythonKeyVariable: short}, encsession.ErrAmbiguousKey.Error()},
		"ambiguous older key":      {env{keyVariable: fernet, pythonOlderKeysVariable: "fine\n" + short}, "ENCSESSION_PYTHON_OLDER_KEYS: line 2: "},
		"a short older key":        {env{keyVariable: fernet, olderKeysVariable: short}, "ENCSESSION_OLDER_KEYS: line 1: "},
		"a secret with a line end": {env{pythonKeyVariable + fileSuffix: write(t, "key", "a secret\n")}, "the file ends in a line break"},
		"a secret of Windows":      {env{keyVariable: fernet, pythonOlderKeysVariable: "a secret\r\n"}, "ends in a carriage return"},
	} {
		t.Run(name, func(t *testing.T) {
			r := call(t, test.environment, "fingerprint")
			require.NotContains(t, r.stderr, fernet)
			if r.code == exitWell {
				require.Contains(t, r.stdout, test.want)
				return
			}
			require.Equal(t, exitError, r.code)
			require.Contains(t, r.stderr, test.want)
			require.Empty(t, r.stdout)
		})
	}
	r := call(t, env{keyVariable: fernet, olderKeysVariable: other}, "fingerprint", "--json")
	require.Equal(t, `{"version":1,"type":"key","role":"current","fingerprint":"`+key.Fingerprint()+"\"}\n"+
		`{"version":1,"type":"key","role":"older","fingerprint":"`+otherKey.Fingerprint()+"\"}\n", r.stdout)
}

// TestStringsArePythonsKeys opens items that were sealed under the string as it
// is.
func TestStringsArePythonsKeys(t *testing.T) {
	file := newDatabase(t)
	_, store := openTestStore(t, file)
	for _, secret := range []string{"q7 current\n", "q7 old, with a comma"} {
		addUnder(t, store.Session("a"), rawKey(t, secret), encsession.Item(`{}`))
	}
	_, s := summary(t, env{pythonKeyVariable: "q7 current\n", pythonOlderKeysVariable: "\nq7 old, with a comma\n\n"}.on(file), "audit")
	require.Equal(t, []int{1, 1}, perKey(s.Counts))
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{nil, {"help"}, {"--help"}} {
		r := call(t, nil, args...)
		require.Equal(t, exitWell, r.code)
		for _, command := range strings.Fields("audit completion delete fingerprint keygen purge rekey seal sessions show version") {
			require.Contains(t, r.stdout, "\n  "+command+" ")
		}
		require.Contains(t, r.stdout, "ENCSESSION_PYTHON_OLDER_KEYS")
		require.Empty(t, r.stderr)
	}
	for _, args := range [][]string{{"help", "purge"}, {"purge", "--help"}} {
		r := call(t, nil, args...)
		require.Equal(t, exitWell, r.code)
		require.Contains(t, r.stdout, "--older-than AGE")
	}
	require.Equal(t, exitError, call(t, nil, "help", "nothing").code)
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		var stdout, stderr strings.Builder
		require.Equal(t, exitWell, run(t.Context(), []string{"completion", shell}, nil, nil, &stdout, &stderr))
		require.Contains(t, stdout.String(), "encsession")
		require.Empty(t, stderr.String())
	}
	for want, args := range map[string][]string{
		"rekey\tSeal the items": {"re"}, "--older-than\t": {"purge", "--old"}, ":4\n": {"show", ""}, // 4: a session is no file
	} {
		var stdout strings.Builder
		require.Equal(t, exitWell, run(t.Context(), append([]string{"__complete"}, args...), nil, nil, &stdout, io.Discard))
		require.Contains(t, stdout.String(), want)
	}
}

func TestParseAge(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"30d": 30 * 24 * time.Hour, "0d": 0, "0s": 0, "90s": 90 * time.Second, "1h30m": 90 * time.Minute,
	} {
		age, err := parseAge(in, 0)
		require.NoError(t, err, in)
		require.Equal(t, want, age, in)
	}
	require.Equal(t, "30 days", ageText(30*24*time.Hour))
	require.Equal(t, "1 day", ageText(24*time.Hour))
	require.Equal(t, "1h30m0s", ageText(90*time.Minute))
	require.Equal(t, "0s", ageText(0))
}

func TestKeygen(t *testing.T) {
	var stdout, stderr strings.Builder
	require.Equal(t, exitWell, run(t.Context(), []string{"keygen"}, nil, nil, &stdout, &stderr))
	text, ok := strings.CutSuffix(stdout.String(), "\n")
	require.True(t, ok)
	key, err := encsession.ParseKey(text)
	require.NoError(t, err, "the key and nothing else")
	require.Equal(t, "fingerprint: "+key.Fingerprint()+"\n", stderr.String())

	file := filepath.Join(t.TempDir(), "key")
	r := call(t, nil, "keygen", "--out", file)
	require.Equal(t, exitWell, r.code)
	require.Empty(t, r.stdout)
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	before := read(t, file)
	key, err = encsession.ParseKey(string(before))
	require.NoError(t, err)
	require.Equal(t, "fingerprint: "+key.Fingerprint()+"\n", r.stderr)
	require.Contains(t, call(t, env{keyVariable + fileSuffix: file}, "fingerprint").stdout, key.Fingerprint())

	r = call(t, nil, "keygen", "--out", file)
	require.Equal(t, exitError, r.code)
	require.Contains(t, r.stderr, "file exists")
	require.Equal(t, before, read(t, file), "no key is overwritten")
	require.Equal(t, exitError, call(t, nil, "keygen", "--out=").code)
}

func TestVersion(t *testing.T) {
	require.Regexp(t, `^encsession \S+ go1\.\S+ \S+/\S+\n$`, call(t, nil, "version").stdout)
	require.Regexp(t, `^{"version":1,"type":"version","command":"\S+","go":"go1\.\S+"}\n$`, call(t, nil, "version", "--json").stdout)
}

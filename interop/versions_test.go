package interop

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// olderEnv names a folder. In it is a folder for each older SDK of older.txt,
// and one for the packages that they share.
const olderEnv = "ENCSESSION_OLDER_SDKS"

// byTimeAlone is the last SDK whose SQLiteSession orders by time and not by ID.
const byTimeAlone = "0.6.3"

// olderSDKs returns the versions of the older SDKs.
func olderSDKs(t *testing.T) []string {
	if os.Getenv(pythonEnv) == "" || os.Getenv(olderEnv) == "" {
		t.Skipf("set %s and %s to run this test, or source .ci/python.sh and call start_python", pythonEnv, olderEnv)
	}
	folders, err := filepath.Glob(filepath.Join(os.Getenv(olderEnv), "[0-9]*"))
	require.NoError(t, err)
	require.NotEmpty(t, folders)
	for i, folder := range folders {
		folders[i] = filepath.Base(folder)
	}
	return folders
}

// startOlder returns a Python with an older SDK.
func startOlder(t *testing.T, version string) *python {
	folder := os.Getenv(olderEnv)
	process, err := start(os.Getenv(pythonEnv), filepath.Join(folder, version), filepath.Join(folder, "shared"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, process.stop()) })
	p := &python{process: process, t: t}
	var found string
	require.NoError(t, p.call(request{"do": "sdk"}, &found))
	require.Equal(t, version, found)
	return p
}

// TestClassesAndVersions shares every kind of database with every class of
// session, in the SDK of today and in older ones.
func TestClassesAndVersions(t *testing.T) {
	sdks := map[string]*python{}
	for _, version := range olderSDKs(t) {
		sdks[version] = startOlder(t, version)
	}
	sdks["today"] = startPython(t)
	for version, p := range sdks {
		for _, pair := range allPairs {
			t.Run(version+"/"+pair.name, func(t *testing.T) {
				if version == byTimeAlone && pair.name == "AsyncSQLiteSession" {
					t.Skip("this SDK does not have it")
				}
				d := fresh(t, p, pair)
				d.create(t)
				s := newSides(t, p, d)
				add(t, s.Go, numbered(1, 2)...)
				requireItems(t, s.Python, numbered(1, 2)...)
				add(t, s.Python, numbered(3, 5)...)
				add(t, s.Go, numbered(6, 6)...)
				requireItems(t, s.Go, numbered(1, 6)...)
				requireItems(t, s.Python, numbered(1, 6)...)
				if version == byTimeAlone && d.class == "SQLiteSession" {
					return // it does not know the newest of one second
				}
				requireLast(t, s.Go, 2, numbered(5, 6)...)
				requireLast(t, s.Python, 2, numbered(5, 6)...)
				requirePop(t, s.Python, numbered(6, 6)[0])
				requirePop(t, s.Go, numbered(5, 5)[0])
				requireItems(t, s.Python, numbered(1, 4)...)
				require.NoError(t, s.Python.ClearSession(t.Context()))
				requireItems(t, s.Go)
				requireNothingToPop(t, s.Python)
			})
		}
	}
}

// TestOldestSDKOrdersByTime shows why docs/stores.md leaves out limits and pops
// for SDKs before 0.6.4: if the clock was set back, they take another item for
// the newest.
func TestOldestSDKOrdersByTime(t *testing.T) {
	require.Contains(t, olderSDKs(t), byTimeAlone)
	d := openSQLite(t, "SQLiteSession", "")
	d.create(t)
	db, err := sql.Open("sqlite", d.url)
	require.NoError(t, err)
	defer db.Close()
	key := encsession.GenerateKey()
	add(t, d.goSession(t, sessionID, key), numbered(1, 2)...)
	_, err = db.Exec("UPDATE " + d.options["messages_table"] + " SET created_at = datetime(created_at, '-1 hour') WHERE id = 2")
	require.NoError(t, err)

	old, today := startOlder(t, byTimeAlone), startPython(t)
	requireLast(t, d.pythonSession(old, sessionID, key), 1, numbered(1, 1)...)
	requireLast(t, d.pythonSession(today, sessionID, key), 1, numbered(2, 2)...)
	requireLast(t, d.goSession(t, sessionID, key), 1, numbered(2, 2)...)
	for _, p := range []*python{old, today} {
		require.NoError(t, p.call(request{"do": "close"}, nil))
	}
}

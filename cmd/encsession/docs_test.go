//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/sqlstore"
	"github.com/stretchr/testify/require"
)

// TestDocuments runs every command of docs/operations.md, section by section,
// each in a folder of its own. It checks the exit codes. The expected code is
// 0, unless a comment behind the command gives another one.
func TestDocuments(t *testing.T) {
	executable, err := os.Executable()
	require.NoError(t, err)
	bin := t.TempDir()
	wrapper := fmt.Sprintf("#!/bin/sh\n%s=1 exec '%s' \"$@\"\n", asCommand, executable)
	require.NoError(t, os.WriteFile(filepath.Join(bin, "encsession"), []byte(wrapper), 0o700))

	commands := 0
	for _, section := range strings.Split(string(read(t, filepath.Join("..", "..", "docs", "operations.md"))), "\n## ") {
		title, text, _ := strings.Cut(section, "\n")
		if !strings.Contains(text, "```sh\n") {
			require.NotContains(t, strings.ReplaceAll(text, "    go install", ""), "    encsession", "commands stand in blocks of sh")
			continue
		}
		commands += strings.Count(text, "encsession ")
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			d := newDocumentTest(t, bin)
			for _, part := range regexp.MustCompile("(?s)<!-- meanwhile: (.*?) -->|```sh\n(.*?)```").FindAllStringSubmatch(text, -1) {
				if part[1] != "" {
					d.meanwhile(part[1])
					continue
				}
				d.run(part[2])
			}
		})
	}
	require.Greater(t, commands, 30)
}

// documentTest is the folder in which a section runs.
type documentTest struct {
	*testing.T
	folder, bin string
	store       *sqlstore.Store
}

func newDocumentTest(t *testing.T, bin string) *documentTest {
	d := &documentTest{T: t, folder: t.TempDir(), bin: bin}
	_, d.store = openTestStore(t, filepath.Join(d.folder, "conversations.db"))
	d.writeKey("key")
	for _, id := range []string{"user-alice", "user-bob", "user-carol"} {
		d.add(id, "key", `{"role":"user","content":"I am `+id+`."}`, `{"role":"assistant","content":"Hello!"}`)
	}
	d.add("user-bob", "key", `{"type":"function_call","arguments":"{\"to\":\"Alice@example.com\"}"}`)
	return d
}

func (d *documentTest) writeKey(file string) encsession.Key {
	text, key := newKey(d.T)
	require.NoError(d, os.WriteFile(filepath.Join(d.folder, file), []byte(text+"\n"), 0o600))
	return key
}

func (d *documentTest) key(file string) encsession.Key {
	key, err := encsession.ParseKey(string(read(d.T, filepath.Join(d.folder, file))))
	require.NoError(d, err)
	return key
}

// add adds items under the key in a file. Without a file it adds them as they
// are.
func (d *documentTest) add(sessionID, keyFile string, items ...string) {
	var all []encsession.Item
	for _, item := range items {
		all = append(all, encsession.Item(item))
	}
	if keyFile == "" {
		addUnder(d.T, d.store.Session(sessionID), nil, all...)
		return
	}
	key := d.key(keyFile)
	addUnder(d.T, d.store.Session(sessionID), &key, all...)
}

// meanwhile does the things that happen elsewhere, according to a comment in
// the document.
func (d *documentTest) meanwhile(what string) {
	switch what {
	case "a service writes under new-key":
		if _, err := os.Stat(filepath.Join(d.folder, "new-key")); err != nil {
			d.writeKey("new-key")
		}
		d.add("user-bob", "new-key", `{"role":"user","content":"Hello again."}`)
	case "a newer key is in the startup log":
		log := "level=INFO msg=\"session key\" fingerprint=" + d.writeKey("newer-key").Fingerprint() + "\n"
		require.NoError(d, os.WriteFile(filepath.Join(d.folder, "startup.log"), []byte(log), 0o600))
	case "a mistyped-key":
		d.writeKey("mistyped-key")
	case "the store holds plaintext":
		d.add("user-dave", "", `{"role":"user","content":"Before the migration."}`)
	case "the store holds old items":
		for _, item := range fromThePast(d.T, d.key("key"))[:2] {
			d.add(pastSession, "", string(item))
		}
	case "the keys of user-alice were destroyed an hour ago":
		keys := newKeystore(d.T, filepath.Join(d.folder, "keys.db"), "user-alice")
		for _, tenant := range []string{"user-bob", "user-carol"} {
			_, err := keys.Create(d.T.Context(), tenant)
			require.NoError(d, err)
		}
		d.add("user-alice", "key", `{"role":"user","content":"Here I am again."}`)
	default:
		require.Fail(d, "unknown", what)
	}
}

var saysExitCode = regexp.MustCompile(`# exit code (\d+)`)

// run runs the commands of a block, with the variables of earlier blocks.
func (d *documentTest) run(block string) {
	var script strings.Builder
	var commands []string
	script.WriteString("[ ! -f .env ] || . ./.env\n")
	for line := range strings.Lines(block) {
		if line = strings.TrimSpace(line); line != "" {
			commands = append(commands, line)
			fmt.Fprintf(&script, "%s\necho $? >> .codes\n", line)
		}
	}
	script.WriteString("export -p > .env\n")
	cmd := exec.Command("bash", "-c", script.String())
	cmd.Dir = d.folder
	cmd.Env = []string{"PATH=" + d.bin + ":" + os.Getenv("PATH"), "HOME=" + d.folder}
	output, err := cmd.CombinedOutput()
	require.NoError(d, err, string(output))
	codes := strings.Fields(string(read(d.T, filepath.Join(d.folder, ".codes"))))
	require.NoError(d, os.Remove(filepath.Join(d.folder, ".codes")))
	require.Len(d, codes, len(commands))
	for i, command := range commands {
		want := "0"
		if said := saysExitCode.FindStringSubmatch(command); said != nil {
			want = said[1]
		}
		require.Equal(d, want, codes[i], "%s\n%s", command, output)
	}
}

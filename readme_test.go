package encsession_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

var (
	fence   = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.*)$`)
)

// TestREADME requires the README's sample to be the body of Example, which is
// compiled and run.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	sample := regexp.MustCompile("(?s)```go\n(.*?)```").FindSubmatch(readme)
	require.NotNil(t, sample)
	require.LessOrEqual(t, strings.Count(string(sample[1]), "\n"), 20)
	require.LessOrEqual(t, len(strings.Fields(fence.ReplaceAllString(string(readme), ""))), 1200)

	source, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	body := regexp.MustCompile(`(?s)// What follows is the sample of README.md.\n(.*?)\t// Output:`).FindSubmatch(source)
	require.NotNil(t, body)
	unindented := regexp.MustCompile(`(?m)^\t`).ReplaceAllString(string(body[1]), "")
	require.Equal(t, unindented, string(sample[1]))
}

// TestREADMEsWorkspace makes a module as go mod init does, and the workspace of
// the README.
func TestREADMEsWorkspace(t *testing.T) {
	const command = "go work init . ../encsession ../encsession/sqlstore"
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	require.Contains(t, string(readme), "\n    "+command+"\n")
	clone, err := filepath.Abs(".")
	require.NoError(t, err)
	if _, err := os.Stat("sqlstore"); err != nil {
		t.Skip("this is not the repository, but the module alone: it has no nested modules")
	}
	folder := t.TempDir()
	for _, command := range []string{"go mod init example.com/app", strings.ReplaceAll(command, "../encsession", clone), "go list -m"} {
		words := strings.Fields(command)
		cmd := exec.Command(words[0], words[1:]...)
		cmd.Dir, cmd.Env = folder, append(os.Environ(), "GOWORK=", "GOFLAGS=", "GOPROXY=off")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		if command == "go list -m" {
			require.Equal(t, []string{"example.com/app", "github.com/encsession/encsession", "github.com/encsession/encsession/sqlstore"},
				strings.Fields(string(out)))
		}
	}
}

// documents returns the texts of all Markdown files by path, and the code of
// all Go files as one text.
func documents(t *testing.T) (markdown map[string]string, code string) {
	if _, err := os.Stat("interop"); err != nil {
		t.Skip("this is not the repository, but the module alone: it has no nested modules")
	}
	markdown = map[string]string{}
	var all strings.Builder
	require.NoError(t, filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() && entry.Name() == ".git" {
			return filepath.SkipDir
		}
		if entry.IsDir() || filepath.Ext(path) != ".md" && filepath.Ext(path) != ".go" {
			return nil
		}
		text, err := os.ReadFile(path)
		if filepath.Ext(path) == ".md" {
			markdown[path] = strings.ReplaceAll(string(text), "\r\n", "\n")
		} else {
			all.Write(text)
		}
		return err
	}))
	require.Greater(t, len(markdown), 3)
	return markdown, all.String()
}

// TestDocumentsLinkToWhatExists follows the links between files, down to the
// heading.
func TestDocumentsLinkToWhatExists(t *testing.T) {
	markdown, _ := documents(t)
	for path, text := range markdown {
		for _, match := range link.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			target, anchor, _ := strings.Cut(match[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			file := path
			if target != "" {
				file = filepath.Join(filepath.Dir(path), filepath.FromSlash(target))
			}
			_, err := os.Stat(file)
			require.NoError(t, err, "%s links to %s", path, match[1])
			if anchor != "" {
				require.Contains(t, anchors(markdown[file]), anchor, "%s links to %s", path, match[1])
			}
		}
	}
}

// anchors returns the names that GitHub gives to the headings of a document.
func anchors(text string) []string {
	var names []string
	for _, match := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		names = append(names, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, match[1]))
	}
	return names
}

// TestDocumentsShowCodeThatCompiles requires each Go snippet to be in a Go
// file, where it is built or tested.
func TestDocumentsShowCodeThatCompiles(t *testing.T) {
	indentation := regexp.MustCompile(`(?m)^[ \t]+`)
	markdown, code := documents(t)
	code = indentation.ReplaceAllString(code, "")
	for path, text := range markdown {
		for _, match := range fence.FindAllStringSubmatch(text, -1) {
			if match[1] == "go" {
				snippet := indentation.ReplaceAllString(match[2], "")
				require.True(t, strings.Contains(code, snippet), "no Go file has this snippet of %s:\n%s", path, snippet)
			}
		}
	}
}

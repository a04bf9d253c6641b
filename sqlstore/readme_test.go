package sqlstore_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestREADME makes sure that the README's ten lines for PostgreSQL are those of
// an Example, which is compiled.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	sample := regexp.MustCompile("(?s)```go\n(// db comes from.*?)```").FindSubmatch(readme)
	require.NotNil(t, sample)
	require.LessOrEqual(t, strings.Count(string(sample[1]), "\n"), 10)

	source, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	body := regexp.MustCompile(`(?s)func openPostgreSQL.*? error\) \{\n(.*?)\n\}\n`).FindSubmatch(source)
	require.NotNil(t, body)
	unindented := regexp.MustCompile(`(?m)^\t`).ReplaceAllString(string(body[1]), "")
	require.Equal(t, unindented+"\n", string(sample[1]))
}

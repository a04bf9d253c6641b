package encsession_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestREADME keeps the README's sample the body of Example, which is compiled
// and run.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	sample := regexp.MustCompile("(?s)```go\n(.*?)```").FindSubmatch(readme)
	require.NotNil(t, sample)
	require.LessOrEqual(t, strings.Count(string(sample[1]), "\n"), 20)

	source, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	body := regexp.MustCompile(`(?s)// What follows is the sample of README.md.\n(.*?)\t// Output:`).FindSubmatch(source)
	require.NotNil(t, body)
	unindented := regexp.MustCompile(`(?m)^\t`).ReplaceAllString(string(body[1]), "")
	require.Equal(t, unindented, string(sample[1]))
}

// TestOperationsRecipe keeps the recipe of docs/operations.md a part of
// Example_startup, which is compiled and run.
func TestOperationsRecipe(t *testing.T) {
	document, err := os.ReadFile("docs/operations.md")
	require.NoError(t, err)
	recipe := regexp.MustCompile("(?s)```go\n(.*?)```").FindSubmatch(document)
	require.NotNil(t, recipe)

	source, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	body := regexp.MustCompile(`(?s)// What follows is the recipe of docs/operations.md.\n(.*?)\t// This is its end.`).FindSubmatch(source)
	require.NotNil(t, body)
	require.Equal(t, regexp.MustCompile(`(?m)^\t`).ReplaceAllString(string(body[1]), ""), string(recipe[1]))
}

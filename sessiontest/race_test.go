//go:build race

package sessiontest

const raced = true

//go:build !race

package sessiontest

const raced = false

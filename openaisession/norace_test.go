//go:build !race

package openaisession_test

const raced = false

//go:build !race

package encsession_test

const raced = false

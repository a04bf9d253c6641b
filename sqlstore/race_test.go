//go:build race

package sqlstore

// raced says that the race detector makes everything many times slower.
const raced = true

//go:build !race

package jsonobject

const raced = false

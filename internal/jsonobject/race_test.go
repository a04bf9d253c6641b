//go:build race

package jsonobject

const raced = true

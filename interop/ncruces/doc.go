// Package ncruces tests sqlstore over github.com/ncruces/go-sqlite3. It is a
// package of its own because that driver registers itself under the name of
// mattn/go-sqlite3, which the tests of sqlstore use. It has nothing to import.
package ncruces

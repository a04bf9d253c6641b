//go:build cgo

package sqlstore

import _ "github.com/mattn/go-sqlite3"

func init() {
	backends = append(backends, backend{name: "mattn", dialect: SQLite, driver: "sqlite3"})
}

package main

import (
	"database/sql"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/encsession/encsession/sqlstore"
	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"
)

// openStore opens the database. It makes no tables: where they are missing, the store's methods say so.
func openStore(c config) (*sql.DB, *sqlstore.Store, error) {
	db, err := openDatabase(c)
	if err != nil {
		return nil, nil, err
	}
	store, err := sqlstore.New(db, c.dialect, sqlstore.WithTables(c.sessions, c.messages))
	if err != nil {
		db.Close()
		return nil, nil, err
	}
	return db, store, nil
}

func openDatabase(c config) (*sql.DB, error) {
	switch c.dialect {
	case sqlstore.PostgreSQL:
		return sql.Open("pgx", c.source)
	case sqlstore.MySQL:
		return sql.Open("mysql", c.source)
	}
	dsn, err := sqliteDSN(c.source, c.operation != nil)
	if err != nil {
		return nil, err
	}
	return sql.Open("sqlite", dsn)
}

// sqliteDSN returns the DSN of a file that is there: SQLite would make a missing one.
func sqliteDSN(file string, write bool) (string, error) {
	header, err := readHeader(file)
	if err != nil {
		return "", err
	}
	path, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") { // C:/…
		path = "/" + path
	}
	query := "mode=ro"
	switch {
	case write:
		query = "mode=rw"
	case usesWAL(header) && !exists(file+"-wal"):
		// SQLite needs the -wal file to read. A read-only connection makes it and leaves it behind, for those who
		// come later and perhaps may not write to it. This one removes it in the end.
		query = "mode=rw&_pragma=query_only(1)"
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: query}).String(), nil
}

// readHeader reads the beginning of a file; less of it where the file is short.
func readHeader(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", file)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 100))
}

// usesWAL reports whether a database is in WAL mode: the version that its header asks readers for is then 2.
func usesWAL(header []byte) bool { return len(header) > 19 && header[19] == 2 }

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

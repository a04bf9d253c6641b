package main

import (
	"cmp"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/encsession/encsession/sqlstore"
	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"
)

// database is an open SQL database.
type database struct {
	*sql.DB
	dialect sqlstore.Dialect
	shown   string // the part of its URL that may be shown
}

// sqlOpener opens a database. The text is the part of its URL after the scheme.
type sqlOpener func(text string, change bool) (database, error)

// openSQL returns the opener of a store in a database. It makes no tables. If
// they are missing, the store's methods say so.
func openSQL(open sqlOpener) opener {
	return func(a *app, text string, change bool) (store, string, error) {
		db, err := open(text, change)
		if err != nil {
			return nil, "", err
		}
		s, err := sqlstore.New(db.DB, db.dialect, sqlstore.WithTables(a.flags.sessions, a.flags.messages))
		if err != nil {
			return nil, "", cmp.Or(err, db.Close())
		}
		db.SetMaxIdleConns(a.flags.workers + 2) // so that workers keep their connections
		return storeOf[*sqlstore.Session]{s, db}, db.shown, nil
	}
}

func openSQLite(file string, change bool) (database, error) {
	if strings.HasPrefix(file, "//") {
		return database{}, errors.New("write sqlite:FILE, without slashes before the file: other programs give different numbers of slashes different meanings")
	}
	dsn, err := sqliteDSN(file, change)
	if err != nil {
		return database{}, err
	}
	db, err := sql.Open("sqlite", dsn)
	return database{db, sqlstore.SQLite, file}, err
}

func openPostgreSQL(rest string, _ bool) (database, error) {
	server, err := parseServer(rest)
	if err != nil {
		return database{}, err
	}
	config, err := pgx.ParseConfig(server.url("postgres"))
	if err != nil {
		return database{}, errors.New("the URL is not one of PostgreSQL: want postgres://user:password@host:port/database, with the parameters of libpq")
	}
	return database{stdlib.OpenDB(*config), sqlstore.PostgreSQL, server.shown(false)}, nil
}

var errMySQL = errors.New("the URL is not one of MySQL: want mysql://user:password@host:port/database, with the parameters of go-sql-driver")

func openMySQL(rest string, _ bool) (database, error) {
	server, err := parseServer(rest)
	if err != nil {
		return database{}, err
	}
	if strings.Contains(server.hosts, ",") || server.path == "" || strings.Contains(server.path, "/") {
		return database{}, errMySQL
	}
	network, address := "tcp", server.hosts
	if socket := server.query.Get("socket"); socket != "" {
		network, address = "unix", socket
		server.query.Del("socket")
	}
	dsn := url.URL{Path: "/" + server.path, RawQuery: server.query.Encode()}
	config, err := mysql.ParseDSN(network + "(" + address + ")" + dsn.String())
	if err != nil {
		return database{}, errMySQL
	}
	if server.user != nil {
		config.User = server.user.Username()
		config.Passwd, _ = server.user.Password()
	}
	config.Logger = silent{} // it would write to the terminal, beside the errors that come back anyway
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return database{}, errMySQL
	}
	return database{sql.OpenDB(connector), sqlstore.MySQL, server.shown(false)}, nil
}

// silent is a logger of go-sql-driver.
type silent struct{}

func (silent) Print(...any) {}

// sqliteDSN returns the DSN of an existing file. SQLite would create a missing
// one.
func sqliteDSN(file string, change bool) (string, error) {
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
	case change:
		query = "mode=rw"
	case usesWAL(header) && !exists(file+"-wal"):
		// SQLite needs the -wal file to read. A read-only connection would
		// create it and leave it behind. Later users may have no right to write
		// to it. This connection removes it in the end.
		query = "mode=rw&_pragma=query_only(1)"
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: query}).String(), nil
}

// readHeader reads the beginning of a file, or all of it if it is short.
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

// usesWAL reports whether a database is in WAL mode. Its header then requires
// version 2 of readers.
func usesWAL(header []byte) bool { return len(header) > 19 && header[19] == 2 }

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

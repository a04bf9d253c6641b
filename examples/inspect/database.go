package main

import (
	"database/sql"
	"errors"
	"flag"
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

// databaseFlags defines the flags that say which database it is, and returns how many of them were given.
func (c *config) databaseFlags(flags *flag.FlagSet) (given *int) {
	given = new(int)
	database := func(name, usage string, isRedis bool, open func(config) (store, error)) {
		flags.Func(name, usage, func(source string) error {
			*given++
			c.source, c.redis, c.open = source, isRedis, open
			return nil
		})
	}
	database("db", "look into this SQLite `FILE`, which must be there", false, openSQLite)
	database("postgres", "look into the PostgreSQL database at this `DSN`", false, openPostgreSQL)
	database("mysql", "look into the MySQL or MariaDB database at this `DSN`", false, openMySQL)
	database("redis", "look into the Redis or Valkey server at this `ADDR`, host:port or a URL:\n"+
		"redis://user:password@host:port/database, or rediss:// for TLS", true, openRedis)
	database("redis-cluster", "look into the Redis Cluster with nodes at `ADDR,ADDR`, or at such a URL; this implies\n"+
		"-hash-tag", true, openRedisCluster)
	flags.StringVar(&c.sessions, "sessions", "agent_sessions", "`name` of the table of sessions")
	flags.StringVar(&c.messages, "messages", "agent_messages", "`name` of the table of messages")
	flags.StringVar(&c.prefix, "prefix", "agents:session", "`prefix` of the keys in Redis")
	flags.BoolVar(&c.hashTag, "hash-tag", false, "the keys in Redis have the hash tags of redisstore's WithHashTag")
	return given
}

// checkDatabaseFlags returns an error where a flag was given that says nothing about this database.
func (c *config) checkDatabaseFlags(flags *flag.FlagSet) (err error) {
	flags.Visit(func(f *flag.Flag) {
		switch {
		case (f.Name == "sessions" || f.Name == "messages") && c.redis:
			err = errors.New("-" + f.Name + " names a table, and Redis has none")
		case (f.Name == "prefix" || f.Name == "hash-tag") && !c.redis:
			err = errors.New("-" + f.Name + " goes with -redis or -redis-cluster")
		}
	})
	return err
}

func openSQLite(c config) (store, error) {
	dsn, err := sqliteDSN(c.source, c.operation != nil)
	if err != nil {
		return nil, err
	}
	return openSQL(c, "sqlite", dsn, sqlstore.SQLite)
}

func openPostgreSQL(c config) (store, error) { return openSQL(c, "pgx", c.source, sqlstore.PostgreSQL) }

func openMySQL(c config) (store, error) { return openSQL(c, "mysql", c.source, sqlstore.MySQL) }

// openSQL opens the database. It makes no tables: where they are missing, the store's methods say so.
func openSQL(c config, driver, dsn string, dialect sqlstore.Dialect) (store, error) {
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return nil, err
	}
	s, err := sqlstore.New(db, dialect, sqlstore.WithTables(c.sessions, c.messages))
	if err != nil {
		db.Close()
		return nil, err
	}
	return storeOf[*sqlstore.Session]{s, db}, nil
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

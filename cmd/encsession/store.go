package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"strings"

	"github.com/encsession/encsession"
	"github.com/spf13/pflag"
)

// listing is a listing of sessions.
type listing = iter.Seq2[encsession.SessionInfo, error]

// store has the methods of a store that the command needs.
type store interface {
	Sessions(context.Context) listing
	Session(sessionID string) encsession.Session
	Close() error
}

// storeOf is a store over one of sqlstore or redisstore, and its connections.
// The sessions of those packages have types of their own.
type storeOf[S encsession.Session] struct {
	typedStore[S]
	io.Closer
}

type typedStore[S encsession.Session] interface {
	Sessions(context.Context) iter.Seq2[encsession.SessionInfo, error]
	Session(sessionID string) S
}

func (s storeOf[S]) Session(sessionID string) encsession.Session {
	return s.typedStore.Session(sessionID)
}

// opener opens a store. The text is the part of the store's URL after the
// scheme. If change is false, the command will change nothing: a SQLite file is
// then opened only for reading.
type opener func(a *app, text string, change bool) (s store, shown string, err error)

// schemes maps the schemes of URLs to the stores.
var schemes = map[string]opener{
	"sqlite":         openSQL(openSQLite),
	"postgres":       openSQL(openPostgreSQL),
	"postgresql":     openSQL(openPostgreSQL),
	"mysql":          openSQL(openMySQL),
	"redis":          openRedis,
	"rediss":         openRedisTLS,
	"redis-cluster":  openRedisCluster,
	"rediss-cluster": openRedisClusterTLS,
}

// openStore opens the store that the flag or the environment names. It also
// returns the part of its URL that may be shown: no password and no parameters.
func (a *app) openStore(set *pflag.FlagSet, change bool) (s store, shown string, err error) {
	given := place{flag: "--store", variable: storeVariable, text: a.flags.store, set: a.flags.storeSet}
	scheme, rest, from, err := a.placeURL(given)
	if err != nil {
		return nil, "", err
	}
	open := schemes[scheme]
	if open == nil {
		return nil, "", fmt.Errorf("%s: want a URL that begins with sqlite:, postgres://, mysql://, redis://, rediss:// or redis-cluster://", from)
	}
	if err := checkStoreFlags(set, strings.HasPrefix(scheme, "redis")); err != nil {
		return nil, "", err
	}
	s, shown, err = open(a, rest, change)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", from, err)
	}
	return s, scheme + ":" + shown, nil
}

// place is a flag and a variable that name the place of something by a URL.
type place struct {
	flag, variable string
	text           string // of the flag
	set            bool   // whether the flag is given
}

// placeURL returns the URL of a place in two parts, and its origin. A flag may
// not hold a password.
func (a *app) placeURL(p place) (scheme, rest, from string, err error) {
	given, err := a.one(p.variable)
	switch {
	case err != nil:
		return "", "", "", err
	case p.set && given != nil:
		return "", "", "", fmt.Errorf("%s and %s are both given: leave one of them out", p.flag, given.from)
	case p.set:
		given = &source{from: p.flag, text: p.text}
	case given == nil:
		what := strings.TrimPrefix(p.flag, "--")
		return "", "", "", fmt.Errorf("no %s is given: set %s, or %s, to a URL such as sqlite:conversations.db", what, p.variable, p.flag)
	}
	scheme, rest, _ = strings.Cut(strings.TrimRight(given.text, "\r\n"), ":")
	if given.from == p.flag && schemes[scheme] != nil && scheme != "sqlite" {
		if u, err := parseServer(rest); err != nil || u.hasPassword(strings.HasPrefix(scheme, "redis")) {
			return "", "", "", fmt.Errorf("%s holds a password, or cannot be read as a URL: other users see arguments in the list of processes, so give the URL by %s or %s%s",
				p.flag, p.variable, p.variable, fileSuffix)
		}
	}
	return scheme, rest, given.from, nil
}

// checkStoreFlags returns an error if a given flag does not apply to this
// store.
func checkStoreFlags(set *pflag.FlagSet, redis bool) (err error) {
	set.Visit(func(f *pflag.Flag) {
		switch {
		case (f.Name == "sessions-table" || f.Name == "messages-table") && redis:
			err = fmt.Errorf("--%s names a table, and Redis has none", f.Name)
		case (f.Name == "prefix" || f.Name == "hash-tag") && !redis:
			err = fmt.Errorf("--%s goes with Redis", f.Name)
		}
	})
	return err
}

// server is the URL of a server, without its scheme.
type server struct {
	user  *url.Userinfo // may be nil
	hosts string        // one host:port, or several with commas between them
	path  string        // without its first slash
	query url.Values
}

// errServer quotes nothing of the given URL, which may hold a password.
var errServer = errors.New("the URL cannot be read: want scheme://user:password@host:port/name, with a %-escape for each character " +
	"of user and password that is not a letter or digit")

// parseServer reads the part of a URL after the scheme. It hides the errors of
// url.Parse, which quote the URL.
func parseServer(rest string) (*server, error) {
	rest, ok := strings.CutPrefix(rest, "//")
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	// If a password holds /, ? or #, the authority ends there. Then a part of
	// the password would be taken for a port or a path, and shown.
	if !ok || strings.ContainsAny(tail, "@#") {
		return nil, errServer
	}
	path, query, _ := strings.Cut(tail, "?")
	path, err := url.PathUnescape(strings.TrimPrefix(path, "/"))
	if err != nil {
		return nil, errServer
	}
	s := &server{hosts: authority, path: path}
	if s.query, err = url.ParseQuery(query); err != nil {
		return nil, errServer
	}
	if i := strings.LastIndex(authority, "@"); i >= 0 {
		s.hosts = authority[i+1:]
		parsed, err := url.Parse("x://" + authority[:i] + "@host")
		if err != nil || parsed.User == nil {
			return nil, errServer
		}
		s.user = parsed.User
	}
	for host := range strings.SplitSeq(s.hosts, ",") {
		if parsed, err := url.Parse("x://" + host); err != nil || parsed.Host != host || strings.Count(host, ":") > 1 && !strings.HasPrefix(host, "[") {
			return nil, errServer
		}
	}
	return s, nil
}

// hasPassword reports whether the URL holds a password. In a Redis URL, a user
// alone may be one: older clients put the password there.
func (s *server) hasPassword(redis bool) bool {
	for key := range s.query {
		if strings.Contains(strings.ToLower(key), "pass") {
			return true
		}
	}
	if s.user == nil {
		return false
	}
	_, ok := s.user.Password()
	return ok || redis
}

// url returns the URL in the form that a driver parses.
func (s *server) url(scheme string) string {
	u := url.URL{Scheme: scheme, User: s.user, Host: s.hosts, Path: "/" + s.path, RawQuery: s.query.Encode()}
	return u.String()
}

// shown returns the part of the URL that may be printed. For Redis it leaves
// out the user, which may be a password.
func (s *server) shown(redis bool) string {
	user := ""
	if s.user != nil && s.user.Username() != "" && !redis {
		user = url.User(s.user.Username()).String() + "@"
	}
	shown := "//" + user + s.hosts + "/" + s.path
	if schema := s.query.Get("search_path"); schema != "" {
		shown += "?search_path=" + url.QueryEscape(schema)
	}
	return shown
}

package main

import (
	"errors"
	"net"
	"regexp"
	"strconv"
	"strings"

	"github.com/encsession/encsession/redisstore"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

func openRedis(c config) (store, error) {
	options := &redis.Options{Addr: c.source}
	if redisURL.MatchString(c.source) {
		var err error
		if options, err = redis.ParseURL(c.source); err != nil {
			return nil, errRedis
		}
	}
	if !isAddress(options.Addr) {
		return nil, errRedis
	}
	return newRedisStore(c, redis.NewClient(options))
}

func openRedisCluster(c config) (store, error) {
	options := &redis.ClusterOptions{Addrs: strings.Split(c.source, ",")}
	if redisURL.MatchString(c.source) {
		var err error
		if options, err = redis.ParseClusterURL(c.source); err != nil {
			return nil, errRedis
		}
		// A replica may still have what an operation has just replaced.
		options.ReadOnly, options.RouteByLatency, options.RouteRandomly = false, false, false
	}
	for _, address := range options.Addrs {
		if !isAddress(address) {
			return nil, errRedis
		}
	}
	c.hashTag = true // without which a cluster cannot hold sessions
	return newRedisStore(c, redis.NewClusterClient(options))
}

func newRedisStore(c config, client redis.UniversalClient) (store, error) {
	logging.Disable() // it would write to the terminal, beside the errors that come back anyway
	options := []redisstore.Option{redisstore.WithPrefix(c.prefix)}
	if c.hashTag {
		options = append(options, redisstore.WithHashTag())
	}
	s, err := redisstore.New(client, options...)
	if err != nil {
		client.Close()
		return nil, err
	}
	return storeOf[*redisstore.Session]{s, client}, nil
}

// errRedis does not quote what was given, nor what go-redis says of it, as that may hold a password.
var errRedis = errors.New("the Redis address cannot be read: want host:port, or a URL\n" +
	"redis://user:password@host:port/database, or rediss:// for TLS, with %-escapes for what in a password\n" +
	"is no letter or digit")

// redisURL matches a URL in which no password can be taken for a port, which errors would show: where one has a "/",
// "?" or "#" in it, there is an "@" behind that.
var redisURL = regexp.MustCompile(`^rediss?://[^/?#]*([/?#][^@]*)?$`)

// isAddress reports whether this is a host and a port, and not a URL or something with a password.
func isAddress(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" || strings.ContainsAny(host, "@/") {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

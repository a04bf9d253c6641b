package main

import (
	"cmp"
	"errors"
	"net"
	"strconv"
	"strings"

	"github.com/encsession/encsession/redisstore"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

// errRedis does not quote go-redis's error about a URL, which may hold a
// password.
var errRedis = errors.New("the URL is not one of Redis: want redis://user:password@host:port/number, rediss:// for TLS, " +
	"or redis-cluster://user:password@host:port,host:port")

func openRedis(a *app, rest string, _ bool) (store, string, error) { return a.openRedis("redis", rest) }

func openRedisTLS(a *app, rest string, _ bool) (store, string, error) {
	return a.openRedis("rediss", rest)
}

func openRedisCluster(a *app, rest string, _ bool) (store, string, error) {
	return a.openCluster("redis", rest)
}

func openRedisClusterTLS(a *app, rest string, _ bool) (store, string, error) {
	return a.openCluster("rediss", rest)
}

func (a *app) openRedis(scheme, rest string) (store, string, error) {
	server, err := parseServer(rest)
	if err != nil {
		return nil, "", err
	}
	if strings.Contains(server.hosts, ",") {
		return nil, "", errors.New("several hosts go with redis-cluster://")
	}
	options, err := redis.ParseURL(server.url(scheme))
	if err != nil || !isAddress(options.Addr) {
		return nil, "", errRedis
	}
	return a.redisStore(redis.NewClient(options), server)
}

func (a *app) openCluster(scheme, rest string) (store, string, error) {
	server, err := parseServer(rest)
	if err != nil {
		return nil, "", err
	}
	first, others, _ := strings.Cut(server.hosts, ",")
	one := *server
	one.hosts = first
	if others != "" {
		for host := range strings.SplitSeq(others, ",") {
			one.query.Add("addr", host)
		}
	}
	options, err := redis.ParseClusterURL(one.url(scheme))
	if err != nil || server.path != "" {
		return nil, "", errRedis
	}
	for _, address := range options.Addrs {
		if !isAddress(address) {
			return nil, "", errRedis
		}
	}
	// A replica may still hold items that a change has just replaced.
	options.ReadOnly, options.RouteByLatency, options.RouteRandomly = false, false, false
	a.flags.hashTag = true // a cluster cannot hold sessions without it
	return a.redisStore(redis.NewClusterClient(options), server)
}

func (a *app) redisStore(client redis.UniversalClient, server *server) (store, string, error) {
	logging.Disable() // it would write to the terminal, beside the errors that come back anyway
	options := []redisstore.Option{redisstore.WithPrefix(a.flags.prefix)}
	if a.flags.hashTag {
		options = append(options, redisstore.WithHashTag())
	}
	s, err := redisstore.New(client, options...)
	if err != nil {
		return nil, "", cmp.Or(err, client.Close())
	}
	return storeOf[*redisstore.Session]{s, client}, server.shown(true), nil
}

// isAddress reports whether this is a host and a port.
func isAddress(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" || strings.ContainsAny(host, "@/") {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

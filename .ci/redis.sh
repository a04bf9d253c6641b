# shellcheck shell=bash
# Real Redis servers for the tests of redisstore. To be sourced by a bash script that runs as root on Debian 12:
#
#	source .ci/redis.sh
#	start_redis
#
# start_redis installs Debian's redis-server where it is missing, starts a private server and a Redis Cluster of three
# nodes on free ports of the loopback interface, with their data in a temporary folder, and exports
# ENCSESSION_REDIS_ADDR and ENCSESSION_REDIS_CLUSTER_ADDRS. It sets an EXIT trap that stops them and removes the
# data; a script with an EXIT trap of its own calls stop_redis in that trap and sets it after start_redis. The
# service of the system itself is neither used nor started.

redis_dir=   # data and logs; empty while nothing runs
redis_pids=() # of the servers that we started

start_redis() {
	local port nodes=()
	install_redis
	redis_dir=$(mktemp -d)
	trap stop_redis EXIT
	port=$(free_redis_port)
	start_redis_server "$port"
	export ENCSESSION_REDIS_ADDR=127.0.0.1:$port
	for _ in 1 2 3; do
		port=$(free_redis_port)
		start_redis_server "$port" --cluster-enabled yes --cluster-node-timeout 5000
		nodes+=("127.0.0.1:$port")
	done
	create_redis_cluster "${nodes[@]}"
	ENCSESSION_REDIS_CLUSTER_ADDRS=$(IFS=,; echo "${nodes[*]}")
	export ENCSESSION_REDIS_CLUSTER_ADDRS
}

# install_redis does not let the package start its service: RUNLEVEL=1 makes invoke-rc.d refuse.
install_redis() {
	if command -v redis-server >/dev/null && command -v redis-cli >/dev/null; then
		return
	fi
	local log
	log=$(mktemp)
	if ! { apt-get update && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
		apt-get install --yes --no-install-recommends redis-server; } >"$log" 2>&1; then
		tail -n 40 "$log" >&2
		echo 'redis.sh: apt-get could not install redis-server' >&2
		rm -f "$log"
		return 1
	fi
	rm -f "$log"
}

# start_redis_server PORT OPTION... starts a server that keeps nothing on disk, and waits until it answers.
start_redis_server() {
	local port=$1 dir=$redis_dir/$1
	shift
	mkdir "$dir"
	redis-server --port "$port" --bind 127.0.0.1 --dir "$dir" --save '' --appendonly no "$@" >"$dir/log" 2>&1 &
	redis_pids+=("$!")
	wait_for_redis "$dir/log" "$!" redis_answers "$port"
}

# create_redis_cluster ADDRESS... joins nodes into a cluster, and waits until each of them says that it is whole.
create_redis_cluster() {
	local node
	if ! redis-cli --cluster create "$@" --cluster-replicas 0 --cluster-yes >"$redis_dir/cluster.log" 2>&1; then
		tail -n 40 "$redis_dir/cluster.log" >&2
		echo 'redis.sh: redis-cli could not create the cluster' >&2
		return 1
	fi
	for node in "$@"; do
		wait_for_redis "$redis_dir/cluster.log" "${redis_pids[-1]}" redis_cluster_whole "${node##*:}"
	done
}

redis_answers() {
	[[ $(redis-cli -p "$1" ping) == PONG ]]
}

redis_cluster_whole() {
	redis-cli -p "$1" cluster info | grep -q '^cluster_state:ok'
}

stop_redis() {
	local pid
	for pid in "${redis_pids[@]}"; do
		kill -TERM "$pid" 2>/dev/null || true
	done
	for pid in "${redis_pids[@]}"; do
		wait "$pid" 2>/dev/null || true
	done
	redis_pids=()
	[[ -z $redis_dir ]] || rm -rf "$redis_dir"
	redis_dir=''
}

# free_redis_port prints a port of the loopback interface that nobody listens on, nor on the one 10000 above it, which a
# node of a cluster uses to talk to the others.
free_redis_port() {
	local port
	while true; do
		port=$((20000 + RANDOM % 2000)) # 10000 above it is still below the ports that the system gives to clients
		if ! redis_port_taken "$port" && ! redis_port_taken "$((port + 10000))"; then
			echo "$port"
			return
		fi
	done
}

redis_port_taken() {
	(exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# wait_for_redis LOG PID COMMAND... waits for a command to succeed while the server's process lives: a minute at most.
wait_for_redis() {
	local log=$1 pid=$2 deadline=$((SECONDS + 60))
	shift 2
	until "$@" >/dev/null 2>&1; do
		if ! kill -0 "$pid" 2>/dev/null || ((SECONDS > deadline)); then
			tail -n 40 "$log" >&2
			echo 'redis.sh: a server did not start' >&2
			return 1
		fi
		sleep 0.1
	done
}

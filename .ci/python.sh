# shellcheck shell=bash
# The real OpenAI Agents SDK for the tests of interop. To be sourced by a bash script that runs as root on Debian 12, from
# the root of the repository:
#
#	source .ci/python.sh
#	start_python
#
# start_python makes a virtual environment in a temporary folder, with what
# interop/requirements.txt lists, and exports ENCSESSION_PYTHON. The older SDKs of
# interop/older.txt go to folders that ENCSESSION_OLDER_SDKS names. Another
# environment has a KMS to test with, as interop/requirements-kms.txt lists it, and
# ENCSESSION_KMS_PYTHON names that. Beside them goes
# Pyodide, which is CPython 3.15 for WebAssembly, from the npm registry: it decodes
# keys as no Python that Debian has, and ENCSESSION_PYTHONS names it. If npm or its
# registry cannot be had, that one Python is left out, with a line that says so.
# Missing tools are installed from Debian's packages. An EXIT trap removes the
# folder; a script with an EXIT trap of its own calls stop_python in that trap, and
# sets it after make_python_dir.
#
# Its three steps can be called one by one: make_python is the slow one, and may
# run in the background.

pyodide=pyodide@315.0.0-alpha.2 # Python 3.15.0rc1

python_dir= # empty while there is none

start_python() {
	make_python_dir
	make_python
	name_python
}

make_python_dir() {
	python_dir=$(mktemp -d)
	trap stop_python EXIT
}

make_python() {
	quietly install_python
	quietly make_venv venv interop/requirements.txt
	quietly make_older
	quietly make_venv kms interop/requirements-kms.txt
	{ quietly install_npm && quietly install_pyodide; } ||
		echo 'python.sh: keys are not decoded in Python 3.15 this time' >&2
}

name_python() {
	export ENCSESSION_PYTHON=$python_dir/venv/bin/python ENCSESSION_OLDER_SDKS=$python_dir/older
	export ENCSESSION_KMS_PYTHON=$python_dir/kms/bin/python
	[[ ! -x $python_dir/python3.15 ]] || export ENCSESSION_PYTHONS=$python_dir/python3.15
}

stop_python() {
	[[ -z $python_dir ]] || rm -rf "$python_dir"
	python_dir=''
}

# quietly runs a command and shows what it says only where it fails.
quietly() {
	if ! "$@" >"$python_dir/log" 2>&1; then
		tail -n 40 "$python_dir/log" >&2
		echo "python.sh: $* failed" >&2
		return 1
	fi
}

install_python() {
	find_python >/dev/null || install_packages python3 python3-venv
}

install_npm() {
	command -v npm >/dev/null || install_packages nodejs npm
}

install_packages() {
	apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@"
}

# find_python prints a Python that the SDK supports and that can make virtual environments, which Debian's cannot
# without python3-venv.
find_python() {
	local python
	for python in python3 /usr/bin/python3; do
		if "$python" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
			echo "$python"
			return
		fi
	done
	return 1
}

# make_venv NAME FILE makes a virtual environment with what a file lists.
make_venv() {
	"$(find_python)" -m venv "$python_dir/$1" &&
		"$python_dir/$1/bin/pip" install --no-compile --require-hashes --requirement "$2"
}

# make_older puts each older SDK into a folder with the name of its version, and
# what they share into the folder "shared".
make_older() {
	local line folder
	mkdir "$python_dir/older"
	grep -v '^openai-agents' interop/older.txt >"$python_dir/requirements.txt" && install_into shared || return
	while read -r line; do
		folder=${line%% *}
		echo "$line" >"$python_dir/requirements.txt" && install_into "${folder#*==}" || return
	done < <(grep '^openai-agents' interop/older.txt)
}

install_into() {
	"$python_dir/venv/bin/pip" install --no-compile --require-hashes --no-deps --target "$python_dir/older/$1" \
		--requirement "$python_dir/requirements.txt"
}

install_pyodide() {
	npm install --prefix "$python_dir/npm" --no-audit --no-fund --ignore-scripts "$pyodide" || return
	cat >"$python_dir/python3.15" <<-SH
		#!/bin/sh
		NODE_PATH='$python_dir/npm/node_modules' exec node '$PWD/.ci/pyodide.cjs' "\$@"
	SH
	chmod 755 "$python_dir/python3.15"
}

# What the scripts of ci/ share: where the tree is, how they speak, how they build. Sourced by bash, never run.
#
# Everything a script says goes to standard output and begins with its name, so that one log tells the order of
# things; only errors go to standard error. The scripts read nothing from standard input.
# shellcheck shell=bash

set -u -o pipefail
export LC_ALL=C.UTF-8

ci_name=ci/$(basename "$0")
ci_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

say() { printf '%s: %s\n' "$ci_name" "$*"; }

# die STATUS WORDS…: one line to standard error, and out.
die() {
    local status=$1
    shift
    printf '%s: %s\n' "$ci_name" "$*" >&2
    exit "$status"
}

# How many jobs at once: CMake's own variable, else the processors there are.
jobs_at_once() { printf '%s' "${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}"; }

# The python that Debian's python3-* packages belong to, whatever stands first in PATH.
debian_python() {
    if [ -x /usr/bin/python3 ]; then printf /usr/bin/python3; else command -v python3; fi
}

# need_packages build|test|all: installs what is missing; ends the script with setup's status where it cannot.
need_packages() {
    "$ci_root/ci/setup" --for="$1" || exit $?
}

# quietly LOG COMMAND…: runs a command into a log file; on failure shows the log's end. Returns its status.
quietly() {
    local log=$1 status=0
    shift
    mkdir -p "$(dirname "$log")"
    "$@" >"$log" 2>&1 </dev/null || status=$?
    if [ "$status" -ne 0 ]; then
        tail -n 60 "$log" >&2
        printf '%s: %s failed with status %s (whole log: %s)\n' "$ci_name" "$1" "$status" "$log" >&2
    fi
    return "$status"
}

# Lets through every tenth step of ninja's progress and all that is not progress (warnings, errors).
every_tenth_step() {
    awk '/^\[[0-9]+\/[0-9]+\]/ {
             split(substr($1, 2), part, "/"); done = part[1] + 0; all = part[2] + 0
             if (done == 1 || done == all || int(done * 10 / all) != last) { print "  " $0; fflush() }
             last = int(done * 10 / all); next
         }
         { print "  " $0; fflush() }'
}

# build_preset PRESET [CACHE ENTRIES…]: configures and builds build/PRESET. A run with nothing to do is a second's work.
build_preset() {
    local preset=$1
    shift
    quietly "$ci_root/build/log/$preset-configure.log" cmake -S "$ci_root" --preset "$preset" "$@" || return 1
    NINJA_STATUS='[%f/%t] ' cmake --build "$ci_root/build/$preset" --parallel "$(jobs_at_once)" </dev/null 2>&1 |
        every_tenth_step
}

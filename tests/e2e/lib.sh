# SPDX-License-Identifier: BSD-3-Clause
# What every test with real processes shares. Source it first; it makes a
# directory of its own and, whatever happens, ends what was started.
#
#   sandbox_up [options of `kenter sandbox up`]
#   serve NAME [nbdkit options]   -> $sock, $uri, $nbdkit_pid
#   member ROLE                   -> node name of head, middle or tail
set -u
top_srcdir=$(cd "${top_srcdir:?}" && pwd)
top_builddir=$(cd "${top_builddir:?}" && pwd)

work=$(mktemp -d "${TMPDIR:-/tmp}/kt-e2e.XXXXXX")
cd "$work" || exit 1 # fio leaves its state where it runs
dir=$work/cluster
export KENTER_CONTEXT=$dir/context.json
export KENTER_BINDIR=
kenter=$top_builddir/kenter
plugin=$top_builddir/.libs/nbdkit-kenter-plugin.so
pacer=$top_builddir/tests/e2e/pacer
started=()

fail() {
    echo "not as it must be: $*" >&2
    show_logs
    exit 1
}

skip() {
    echo "$*"
    exit 77
}

need() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || skip "$tool is missing"
    done
}

show_logs() {
    local f
    for f in "$dir"/*/log "$work"/*.log; do
        test -s "$f" || continue
        echo "--- $f" >&2
        tail -n 15 "$f" >&2
    done
}

# A child of this shell that has not ended. The number of one that has may be
# anybody's by now: they come round within minutes on a busy machine.
is_ours() {
    local line=
    { read -r line <"/proc/$1/stat"; } 2>/dev/null
    line=${line##*) } # the name may hold anything
    case $line in
    Z*) return 1 ;;
    [A-Za-z]" $$ "*) return 0 ;;
    *) return 1 ;;
    esac
}

cleanup() {
    local rc=$? pid
    trap - EXIT
    for pid in "${started[@]}"; do
        is_ours "$pid" || continue
        kill -KILL "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
    done
    test ! -e "$dir/context.json" ||
        "$kenter" sandbox down --dir "$dir" >/dev/null 2>&1
    if test -n "${KT_KEEP:-}"; then
        echo "kept: $work" >&2
    else
        rm -rf "$work"
    fi
    exit "$rc"
}
trap cleanup EXIT
trap 'exit 1' INT TERM HUP

# Runs a command in the background and sees to its end. Its pid is $!.
background() {
    "$@" &
    started+=($!)
}

k() {
    "$kenter" "$@" || fail "kenter $* (exit $?)"
}

sandbox_up() {
    "$kenter" sandbox up --dir "$dir" "$@" >"$work/up.log" 2>&1 ||
        fail "sandbox up: $(cat "$work/up.log")"
}

sandbox() {
    local verb=$1
    shift
    "$kenter" sandbox "$verb" "$@" --dir "$dir" >>"$work/sandbox.log" 2>&1 ||
        fail "sandbox $verb $*: $(tail -n 3 "$work/sandbox.log")"
}

# With the sanitizers on, nbdkit has to load their run time first.
preload() {
    case ${KT_SANITIZERS:-no} in
    *address*) echo "LD_PRELOAD=$(gcc -print-file-name=libasan.so)" ;;
    *thread*) echo "LD_PRELOAD=$(gcc -print-file-name=libtsan.so)" ;;
    *) echo "KT_NONE=1" ;;
    esac
}

# serve TAG NBDKIT-ARGUMENTS: an nbdkit on its own socket.
serve() {
    local tag=$1 i
    shift
    sock=$work/$tag.sock
    uri="nbd+unix:///?socket=$sock"
    rm -f "$sock"
    env "$(preload)" ASAN_OPTIONS=detect_leaks=0 ${KT_NBDKIT_WRAP:-} \
        nbdkit -f -t 32 -U "$sock" "$plugin" "$@" >"$work/$tag.log" 2>&1 &
    nbdkit_pid=$!
    started+=("$nbdkit_pid")
    for ((i = 0; i < 400; i++)); do
        test ! -S "$sock" || return 0
        kill -0 "$nbdkit_pid" 2>/dev/null ||
            fail "nbdkit $*: $(cat "$work/$tag.log")"
        sleep 0.05
    done
    fail "nbdkit $* does not listen"
}

# unserve PID SOCKET: an orderly end, so that the volume is detached.
unserve() {
    local i
    kill -TERM "$1" 2>/dev/null
    for ((i = 0; i < 200; i++)); do
        kill -0 "$1" 2>/dev/null || return 0
        sleep 0.05
    done
    fail "nbdkit does not end on SIGTERM"
}

# member VOLUME ROLE: the node that has the role in the first chain.
member() {
    k volume inspect "$1" --json |
        jq -r --arg r "$2" \
            '.chains[0].members[] | select(.role == $r) | .node' | head -n 1
}

# wait_healthy [SECONDS]: every volume fully replicated again.
wait_healthy() {
    local i last=
    for ((i = 0; i < ${1:-60} * 5; i++)); do
        last=$("$kenter" status --json 2>/dev/null | jq -r .health)
        test "$last" != healthy || return 0
        sleep 0.2
    done
    "$kenter" status >&2
    fail "not healthy after ${1:-60} s: $last"
}

# wait_free NODE: until no thread of a killed replicator holds its store.
wait_free() {
    local i
    for ((i = 0; i < 200; i++)); do
        ! flock -n "$dir/$1/store/lock" true || return 0
        sleep 0.05
    done
    fail "the store of $1 stays in use"
}

rss_kib() {
    awk '/^VmRSS/ { print $2 }' "/proc/$1/status"
}

pid_of() { # NODE|hub
    cat "$dir/$1/pid"
}

# SPDX-License-Identifier: BSD-3-Clause
# What the tests of the Docker volume driver share, over tests/e2e/lib.sh.
#
#   plugin_up [options]    -> $api_sock, $plugin_pid; attaching is a stub in
#                             $stub unless $plugin_attach says otherwise
#   api METHOD [BODY]      -> $status, the answer in $answer, and how long it
#                             took in $took_ms
. "${top_srcdir:?}/tests/e2e/lib.sh"
need curl jq

api_sock=$work/plugins/kenter.sock
stub=$work/stub
mounts=$work/volumes
mkdir -p "$work/plugins" "$stub"
no=/nowhere/context.json

plugin_start() {
    "$top_builddir/kenter-volplugin" --socket "$api_sock" \
        --dir "$work/catalogue" --mounts "$mounts" \
        ${plugin_attach:---test-attach "$stub"} "$@" 2>>"$work/plugin.log" &
    plugin_pid=$!
    started+=("$plugin_pid")
}

plugin_up() {
    local i
    plugin_start "$@"
    for ((i = 0; i < 200; i++)); do
        ! curl -s -m 5 --unix-socket "$api_sock" -X POST \
            http://x/Plugin.Activate >/dev/null 2>&1 || return 0
        kill -0 "$plugin_pid" 2>/dev/null || break
        sleep 0.05
    done
    fail "the plugin does not come up: $(tail -n 3 "$work/plugin.log")"
}

plugin_kill() { # SIGNAL
    kill "-$1" "$plugin_pid"
    wait "$plugin_pid" 2>/dev/null
}

api() {
    local method=$1 body=${2-}
    case $method in
    *.*) ;;
    *) method=VolumeDriver.$method ;;
    esac
    # As the engine does: no Content-Type, a newline behind the JSON.
    status=$(printf '%s' "$body${body:+
}" | curl -s -m "${api_timeout:-60}" --unix-socket "$api_sock" -X POST \
        -H 'Accept: application/vnd.docker.plugins.v1.2+json' \
        -H 'Content-Type:' -H 'Expect:' --data-binary @- -o "$work/answer" \
        -w '%{http_code} %{time_total}' \
        "http://plugin.moby.localhost/$method") || :
    took_ms=$(awk '{ printf "%d", $2 * 1000 + 0.5 }' <<<"$status")
    status=${status%% *}
    answer=$(cat "$work/answer" 2>/dev/null)
}

# good METHOD BODY: 200 and an empty Err.
good() {
    api "$@"
    test "$status" = 200 || fail "$*: HTTP $status $answer"
    test "$(jq -r '.Err // ""' <<<"$answer")" = '' || fail "$*: $answer"
}

# bad STATUS PATTERN METHOD BODY: that status, and a reason.
bad() {
    local want=$1 pattern=$2
    shift 2
    api "$@"
    test "$status" = "$want" || fail "$*: HTTP $status, not $want: $answer"
    jq -r .Err <<<"$answer" | grep -qE -- "$pattern" ||
        fail "$*: not '$pattern' but $answer"
}

field() { # JQ-PATH of the last answer
    jq -r "$1" <<<"$answer"
}

calls() { # WHAT NAME: how often the stub was asked for it
    grep -cx "$1 $2" "$stub/calls" 2>/dev/null || :
}

# settled NAME PHASE: until Get says so
settled() {
    local i
    for ((i = 0; i < 200; i++)); do
        good Get "{\"Name\":\"$1\"}"
        test "$(field .Volume.Status.here)" != "$2" || return 0
        sleep 0.05
    done
    fail "$1 is not $2 but $(field .Volume.Status.here)"
}

# For plugin_attach with --attach fuse, on EXIT: nothing may stay mounted,
# attached or running, whatever happened.
fuse_gone() {
    local rc=$? d pid
    trap - EXIT
    set +e
    for d in "$mounts"/*; do umount -l "$d" 2>/dev/null; done
    for d in "$work"/run/*; do
        losetup -n -O NAME -j "$d/m/disk" 2>/dev/null | xargs -r losetup -d
        umount -l "$d/m" 2>/dev/null
        for pid in "$d"/*.pid; do
            test ! -s "$pid" || kill -KILL "$(cat "$pid")" 2>/dev/null
        done
    done
    (exit $rc)
    cleanup
}

fuse_need() {
    need nbdkit nbdfuse losetup mkfs.ext4
    test "${KT_SANITIZERS:-no}" = no || skip "nbdkit is started by the plugin"
    test "$(id -u)" = 0 && test -c /dev/fuse -a -c /dev/loop-control ||
        skip "needs root, /dev/fuse and /dev/loop-control"
    losetup -f >/dev/null 2>&1 || skip "there is no free loop device"
    export PATH=$top_builddir:$PATH
    plugin_attach="--run $work/run --attach fuse --nbdkit-plugin $plugin"
    trap fuse_gone EXIT
}

#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A sandbox from `up` to `down --wipe`: what is there, what stays the same over
# a restart, what is refused, and that nothing is left behind.
. "${top_srcdir:?}/tests/e2e/lib.sh"
need jq

box() {
    "$kenter" sandbox "$@" --dir "$dir" ||
        fail "sandbox $* (exit $?)"
}

# refused PATTERN WORDS...: exit 1 or 2, one line on stderr that says why.
refused() {
    local pattern=$1 rc=0
    shift
    "$kenter" "$@" >"$work/out" 2>"$work/err" || rc=$?
    test $rc = 1 -o $rc = 2 || fail "exit $rc: $*"
    test "$(wc -l <"$work/err")" = 1 || fail "$*: $(cat "$work/err")"
    grep -qE -- "$pattern" "$work/err" || fail "$*: $(cat "$work/err")"
}

alive() {
    box status --json | jq -r '[.processes[] | select(.alive)] | length'
}

refused 'no sandbox' sandbox status --dir "$dir"
refused 'not a number' sandbox up --dir "$dir" --nodes 0
refused 'replicas' sandbox up --dir "$dir" --nodes 2 --replicas 3
test ! -e "$dir" || fail "a refused up left something behind"

# Up, and what it tells.
box up --nodes 2 --segment 64M --capacity 512M >"$work/told"
grep -q "KENTER_CONTEXT=$dir/context.json" "$work/told" ||
    fail "up does not say how to use it: $(cat "$work/told")"
test "$(alive)" = 3 || fail "not three processes"
test "$(k node ls --json | jq '[.nodes[] | select(.state == "up")] | length')" \
    = 2 || fail "not two nodes"
for i in hub n1 n2; do
    pid=$(pid_of $i)
    test "$(readlink "/proc/$pid/cwd")" = / || fail "$i does not stand in /"
    test "$(awk '{ print $6 }' "/proc/$pid/stat")" = "$pid" ||
        fail "$i is not in a session of its own"
    test -S "$dir/$i/hub.sock" -o -S "$dir/$i/replicator.sock" ||
        fail "$i has no socket"
done
test "$(stat -c %a "$dir")" = 700 || fail "others may look into $dir"

# Two nodes: volumes have two replicas when nobody says.
k volume create v --size 128M >"$work/told"
grep -q '2 replicas' "$work/told" || fail "create: $(cat "$work/told")"
test "$(k volume inspect v --json | jq '.chains | length')" = 2 ||
    fail "--segment was not heeded"

# Kill and start: the same addresses, another process.
before=$(sed 's/unix:.*//' "$dir/n1/address")
pid=$(pid_of n1)
box kill n1
! kill -0 "$pid" 2>/dev/null || grep -q '^State:.Z' "/proc/$pid/status" ||
    fail "n1 lives after kill returned"
test "$(alive)" = 2 || fail "status shows a dead one as alive"
refused 'does not run' sandbox kill n1 --dir "$dir"
box start n1
test "$before" = "$(sed 's/unix:.*//' "$dir/n1/address")" ||
    fail "n1 came back elsewhere"
test "$pid" != "$(pid_of n1)" || fail "the same pid"
before=$(cat "$dir/hub/address")
box kill hub --signal TERM
refused 'hub' node ls
box start hub
test "$before" = "$(cat "$dir/hub/address")" || fail "the hub moved"
wait_healthy 30

# Stopped is not dead.
box kill n2 --signal STOP
state=''
for ((i = 0; i < 50; i++)); do # the signal takes its time
    state=$(box status --json | jq -r '.processes[2].state')
    test "$state" != stopped || break
    sleep 0.05
done
test "$state" = stopped || fail "a stopped node is not shown as such"
box kill n2 --signal CONT
refused 'there is no "n7"' sandbox kill n7 --dir "$dir"
refused 'signal' sandbox kill n1 --signal USR9 --dir "$dir"
refused 'not both' sandbox start n1 --all --dir "$dir"

# Everything at once, and up again; up is also how it grows.
box kill --all
test "$(alive)" = 0 || fail "kill --all left some"
box up --nodes 3 >/dev/null
test "$(k node ls --json | jq '[.nodes[] | select(.state == "up")] | length')" \
    = 3 || fail "the third node did not join"
refused 'none can be taken away' sandbox up --nodes 2 --dir "$dir"
refused 'another --segment' sandbox up --segment 4M --dir "$dir"
wait_healthy 30
k volume inspect v >/dev/null
k volume verify v | grep -q '32 extents compared on 2 replicas, 0 differ' ||
    fail "verify"

# A pid file that names somebody else's process harms nobody.
box kill n3
sleep 300 &
started+=($!)
echo $! >"$dir/n3/pid"
box down >/dev/null
kill -0 $! || fail "down killed a stranger"
box down >/dev/null
refused 'hub' status
box up >/dev/null
k volume inspect v >/dev/null
touch "$dir/mine"
refused 'other files' sandbox down --wipe --dir "$dir"
test -e "$dir/mine" || fail "--wipe removed what is not ours"
rm -r "$dir"

# A path too long for unix sockets.
dir=$work/$(printf '%0100d' 0)/cluster
export KENTER_CONTEXT=$dir/context.json
box up --nodes 1 >"$work/told"
grep -q 'too long' "$work/told" || fail "nothing is said of the long path"
k volume create w --size 4M >/dev/null
box down --wipe >/dev/null
test ! -e "$dir" || fail "--wipe left $dir"
test -z "$(pgrep -f "$work/" || true)" || fail "a process is left"
echo "ok"

#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# F25. The clocks of all daemons jump by an hour, forth and back, every one at
# another time: no chain changes and the client notices nothing.
. "${top_srcdir:?}/tests/chaos/lib.sh"
lib=$(ls /usr/lib/*/faketime/libfaketimeMT.so.1 2>/dev/null | head -n 1)
test -n "$lib" || skip "libfaketime is missing"
test "${KT_SANITIZERS:-no}" = no || skip "it wants to be loaded first, as ASan"

set_clock() { # NAME +3600 or -3600 or +0
    echo "$2" >"$work/$1.clock.new"
    mv "$work/$1.clock.new" "$work/$1.clock"
}

restart() { # NAME, with a clock of its own
    set_clock "$1" +0
    KT_CHAOS_WRAP="env LD_PRELOAD=$lib FAKETIME_NO_CACHE=1
        FAKETIME_TIMESTAMP_FILE=$work/$1.clock
        DONT_FAKE_MONOTONIC=1 FAKETIME_DONT_FAKE_MONOTONIC=1"
    kill_now "$1"
    if test "$1" = hub; then hub_start; else node_start "$1"; fi
}

hours_seen() { # NAME: in its log
    sed -n 's/^ts=[^T]*T\([0-9]*\):.*/\1/p' "$dir/$1/log" | sort -u | wc -l
}

cluster_up 3
for n in hub n1 n2 n3; do
    restart $n
done
wait_nodes 3
k volume create v --size 32M
attach c1 a
verify_up 33554432 --pause-us 500
tell open "$sock"
sleep 2
wait_healthy 20
tell "fault 1 clock"
before=$(k volume inspect v --json | jq -c '[.chains[].epoch]')
for by in +3600 -3600 +0; do
    for n in hub n1 n2 n3; do
        set_clock $n $by
        sleep 1
    done
done
tell "healed 1"
after=$(k volume inspect v --json | jq -c '[.chains[].epoch]')
test "$before" = "$after" || fail "a chain changed: $before to $after"
tell "fault 2 stop"
set_clock n1 +3600
signal "${pid[n1]}" TERM # it has something to log
sleep 1
test "$(hours_seen n1)" -ge 2 || fail "the clock of n1 did not jump"
node_start n1
tell "healed 2"
sleep 1
wait_healthy 30
verify_end || fail "$(cat "$work/verify.out" "$work/verify.log")"
grep -E '^violations|^pause clock' "$work/verify.out"
longest=$(sed -n 's/^pause clock.*max=\([0-9]*\)\..*/\1/p' "$work/verify.out")
test "$longest" -lt 3 || fail "the client noticed"
k volume verify v
detach a

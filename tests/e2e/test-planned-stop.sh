#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A planned stop: SIGTERM to head, middle and tail in turn. The node asks to
# leave before it goes, so I/O hardly stands still; the longest pause of each
# is printed. Nothing fails, and the node is taken in again.
. "${top_srcdir:?}/tests/e2e/lib.sh"
need nbdkit jq

sandbox_up --nodes 3
k volume create v --size 256M
serve v volume=v
for role in head middle tail; do
    background "$pacer" "$uri" --stop "$work/stop-$role" --sectors 1024 \
        >"$work/$role.json"
    pacer_pid=$!
    sleep 1
    node=$(member v $role)
    sandbox kill "$node" --signal TERM
    sleep 3
    ! kill -0 "$(pid_of "$node")" 2>/dev/null || fail "$node still runs"
    touch "$work/stop-$role"
    wait "$pacer_pid" || fail "pacer ($role): $(cat "$work/$role.json")"
    ms=$(jq .longest_ms "$work/$role.json")
    # Not a crash that was noticed quickly: the chain let it go.
    grep -q 'event=chain_change .*why=[a-z,+]*leave' "$dir/hub/log" ||
        fail "no chain changed because $node leaves"
    echo "$role stopped: longest pause $ms ms"
    test "$ms" -lt 15000 || fail "stood still for $ms ms"
    : >"$dir/hub/log" # the next role's own
    sandbox start "$node"
    wait_healthy 60
done
k volume verify v
unserve "$nbdkit_pid"

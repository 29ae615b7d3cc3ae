#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# How long I/O stands still when the head, the middle or the tail is killed:
# the median and maximum of $RUNS kills each (default 5).
. "${top_srcdir:?}/tests/e2e/lib.sh"
need nbdkit jq

runs=${RUNS:-5}
sandbox_up --nodes 3
k volume create v --size 256M
serve v volume=v
for role in head middle tail; do
    for ((run = 1; run <= runs; run++)); do
        stop=$work/stop-$role-$run
        background "$pacer" "$uri" --stop "$stop" --sectors 1024 \
            >"$work/pacer.json"
        pacer_pid=$!
        sleep 1
        node=$(member v $role)
        sandbox kill "$node"
        sleep 6
        touch "$stop"
        wait "$pacer_pid" || fail "pacer: $(cat "$work/pacer.json")"
        jq .longest_ms "$work/pacer.json" >>"$work/ms-$role"
        sandbox start "$node"
        wait_healthy 60
    done
    sort -g "$work/ms-$role" | awk -v r=$role '{ v[NR] = $1 } END {
        printf "%-6s killed: median %d ms, longest %d ms (%d runs)\n",
            r, v[int((NR + 1) / 2)], v[NR], NR }'
done
k volume verify v
unserve "$nbdkit_pid"

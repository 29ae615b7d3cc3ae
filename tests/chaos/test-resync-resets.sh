#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A resync whose connections are reset again and again goes on to its end, and
# neither side falls over. (The source once sent to a connection that had just
# ended, because its chains heard of that before its link did.)
. "${top_srcdir:?}/tests/chaos/lib.sh"
cluster_up 3
k volume create v --size 64M --segment 8M
for n in "${nodes[@]}"; do
    proxy_up "$n" 7 "${nodes[@]}"
done
attach c1 a
verify_up 67108864 --pause-us 300
tell open "$sock"
sleep 2
for round in 1 2 3 4 5 6; do
    kill_now n3
    sleep 1
    for n in "${nodes[@]}"; do
        proxy_say "$n" reset $((4 + round * 4))
    done
    node_start n3
    sleep 2.5
    for n in "${nodes[@]}"; do
        alive "${pid[$n]}" || fail "$n is gone in round $round"
        proxy_say "$n" clear
    done
done
wait_healthy 30
verify_end || fail "$(cat "$work/verify.out" "$work/verify.log")"
grep '^violations' "$work/verify.out"
for n in "${nodes[@]}"; do
    alive "${pid[$n]}" || fail "$n is gone"
done
k volume verify v || fail "the replicas differ"
detach a

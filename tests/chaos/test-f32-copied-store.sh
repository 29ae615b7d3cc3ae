#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# F32. A copy of a replica's disk is started on another machine while the first
# one runs: it is refused, and the first one does not notice.
. "${top_srcdir:?}/tests/chaos/lib.sh"
cluster_up 4
k volume create v --size 32M
node=$(member v tail)
spare=
for n in "${nodes[@]}"; do
    k volume inspect v --json | grep -q "\"$n\"" || spare=$n
done
test -n "$spare" || fail "no node is spare"
attach c1 a
verify_up 33554432 --pause-us 500
tell open "$sock"
sleep 1
kill_now "$spare"
kill_now "$node"
rm -rf "$dir/$spare/disk/store"
cp -a "$dir/$node/disk/store" "$dir/$spare/disk/store"
node_start "$node"
sleep 1
wait_healthy 30
before=$(k volume inspect v --json | jq -c '[.chains[].epoch]')
lines=$(wc -l <"$dir/$spare/log")
node_start "$spare"
sleep 6
tail -n +$((lines + 1)) "$dir/$spare/log" | grep -iE 'refused|in use|twice' ||
    fail "the copy is not refused: $(tail -n 5 "$dir/$spare/log")"
alive "${pid[$node]}" || fail "the first one is gone"
test "$(k volume inspect v --json | jq -c '[.chains[].epoch]')" = "$before" ||
    fail "the copy changed the chain"
verify_end || fail "$(cat "$work/verify.out" "$work/verify.log")"
grep '^violations' "$work/verify.out"
k volume verify v
detach a

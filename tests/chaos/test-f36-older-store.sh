#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# F36. A replica comes back with an older state of its disk, on a machine that
# was not restarted: it has to be brought up to date before it serves.
. "${top_srcdir:?}/tests/chaos/lib.sh"
cluster_up 3
k volume create v --size 32M
attach c1 a
verify_up 33554432 --pause-us 500
tell open "$sock"
sleep 2
for n in n1 n3; do
    kill_now $n
    cp -a "$dir/$n/disk/store" "$work/older"
    node_start $n
    sleep 1
    wait_healthy 30
    sleep 2
    kill_now $n
    rm -rf "$dir/$n/disk/store"
    mv "$work/older" "$dir/$n/disk/store"
    node_start $n
    sleep 1
    wait_healthy 40
    k volume verify v
done
verify_end || fail "$(cat "$work/verify.out" "$work/verify.log")"
grep '^violations' "$work/verify.out"
k volume verify v
detach a

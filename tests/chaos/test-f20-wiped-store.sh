#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# F20. A store is lost while the hub is away, and another is made in its place,
# at the same address. Whoever answers there is not the one that is gone: the
# chain goes on with the two that are left.
. "${top_srcdir:?}/tests/chaos/lib.sh"
cluster_up 3
k volume create v --size 32M
attach c1 a
verify_up 33554432 --pause-us 500
tell open "$sock"
sleep 2
tell "fault 1 wiped"
kill_now hub
kill_now n2
rm -rf "$dir/n2/disk/store"
node_start n2
sleep 1
hub_start
sleep 12
tell "healed 1"
sleep 1
k chain ls
verify_end || fail "$(cat "$work/verify.out" "$work/verify.log")"
grep -E '^violations|^pause wiped' "$work/verify.out"
longest=$(sed -n 's/^pause wiped.*max=\([0-9]*\)\..*/\1/p' "$work/verify.out")
test "$longest" -lt 10 || fail "the client waited for a store that is gone"
detach a

#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# F30. A volume is removed while a replica is away: when it returns its copy is
# released, and stays so.
. "${top_srcdir:?}/tests/chaos/lib.sh"
need qemu-io
chains_at_start() { # NODE: of its last start
    grep 'event=started' "$dir/$1/log" | tail -n 1 |
        sed 's/.* chains=\([0-9]*\).*/\1/'
}

cluster_up 3
k volume create v --size 64M
k volume create w --size 64M
attach c1 a
qemu-io -f raw -t none -c 'write -P 1 0 32M' -c flush \
    "nbd+unix:///?socket=$sock" >"$work/io.log" 2>&1 ||
    fail "$(cat "$work/io.log")"
detach a
kill_now n3
k volume rm v
node_start n3
wait_log "$dir/n3/log" 'event=started.* chains=2'
sleep 3
wait_healthy 30
kill_now n3
node_start n3
wait_nodes 3
test "$(chains_at_start n3)" = 1 ||
    fail "the copy is still there: $(grep started "$dir/n3/log")"
wait_healthy 30
k volume verify w

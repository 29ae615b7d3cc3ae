#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# F13, the other half. The client alone cannot reach the head, which all others
# do: another member goes first, nobody is evicted, and writes go on.
. "${top_srcdir:?}/tests/chaos/lib.sh"
need qemu-io

io() { # SECONDS COMMAND...
    local s=$1 c args=()
    shift
    for c in "$@"; do
        args+=(-c "$c")
    done
    timeout "$s" qemu-io -f raw -t none "${args[@]}" \
        "nbd+unix:///?socket=$sock" >"$work/io.log" 2>&1 &&
        ! grep -qiE 'failed|error' "$work/io.log"
}

cluster_up 3
k volume create v --size 64M
attach c1 a
io 10 'write -P 1 0 1M' flush || fail "$(cat "$work/io.log")"
head=$(member v head)
cut c1 "$head"
SECONDS=0
io 15 'write -P 2 0 64k' flush ||
    fail "cut off from $head: $(cat "$work/io.log")"
echo "a write and a flush took $SECONDS s"
now=$(member v head)
test "$now" != "$head" || fail "$head is still the first"
grep -q 'event=chain_change .*why=order' "$dir/hub/log" ||
    fail "the hub does not say why: $(grep chain_change "$dir/hub/log")"
k volume inspect v --json | jq -e \
    '[.chains[].members[] | select(.state == "serving")] | length == 3' \
    >/dev/null || fail "somebody was evicted: $(k volume inspect v)"
io 10 'read -P 2 0 64k' 'read -P 1 64k 960k' || fail "$(cat "$work/io.log")"
mend c1 "$head"
wait_healthy 30
k volume verify v
detach a

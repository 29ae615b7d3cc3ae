#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# F13. The client and one replica are cut off from the others and the hub.
# Writes wait and reads go on; when another client has taken the volume it has
# all that was answered, and the first one is answered no write any more.
. "${top_srcdir:?}/tests/chaos/lib.sh"
need qemu-io
io() { # SECONDS URI COMMAND...
    local s=$1 u=$2 c args=()
    shift 2
    for c in "$@"; do
        args+=(-c "$c")
    done
    timeout "$s" qemu-io -f raw -t none "${args[@]}" "$u" \
        >"$work/io.log" 2>&1 &&
        ! grep -qiE 'failed|error' "$work/io.log"
}

cluster_up 3
k volume create v --size 64M
attach c1 a
first="nbd+unix:///?socket=$sock"
io 10 "$first" 'write -P 1 0 1M' flush || fail "$(cat "$work/io.log")"
for o in n2 n3 hub; do
    cut c1 $o
    cut n1 $o
done
timeout 60 qemu-io -f raw -t none -c 'write -P 2 0 4k' "$first" \
    >"$work/cut.log" 2>&1 &
pid[cut]=$!
for i in 1 2 3 4; do
    sleep 2
    io 10 "$first" 'read -P 1 64k 64k' || fail "a read: $(cat "$work/io.log")"
    alive "${pid[cut]}" || fail "a write was answered: $(cat "$work/cut.log")"
done

attach c2 b steal=true
second="nbd+unix:///?socket=$sock"
io 10 "$second" 'read -P 1 4k 1020k' 'write -P 3 0 8k' flush ||
    fail "the second: $(cat "$work/io.log")"
sleep 1
alive "${pid[cut]}" || fail "the cut-off write: $(cat "$work/cut.log")"
for o in n2 n3 hub; do
    mend c1 $o
    mend n1 $o
done
wait "${pid[cut]}"
grep -qiE 'failed|error' "$work/cut.log" ||
    fail "a fenced write was answered: $(cat "$work/cut.log")"
! io 20 "$first" 'write -P 4 0 4k' || fail "the first still writes"
io 10 "$second" 'read -P 3 0 8k' || fail "the second: $(cat "$work/io.log")"
wait_healthy 30
k volume verify v
detach b

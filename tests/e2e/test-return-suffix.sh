#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A replicator is killed under load and started again: it serves again with
# what it lacks taken from the log of another, and not one extent is compared
# or copied (F4). Then once more while it is catching up.
. "${top_srcdir:?}/tests/e2e/lib.sh"
need nbdkit fio jq

# syncs WORD: how often a log of the cluster has the word in a line "sync".
syncs() {
    cat "$dir"/*/log | grep -c "event=sync .*$1"
}

sandbox_up --nodes 3
k volume create v --size 256M
serve v volume=v
wait_healthy 60

background fio --name=f --ioengine=nbd --uri="$uri" --rw=randwrite --bs=4k \
    --iodepth=16 --size=64m --rate_iops=4000 --verify=crc32c \
    --verify_fatal=1 --do_verify=1 --loops=1000 \
    --time_based --runtime=25 --output="$work/fio.log"
fio_pid=$!
sleep 2
copied=$(syncs state=copy)
for role in tail middle head; do
    node=$(member v $role)
    test -n "$node" || fail "no $role"
    whole=$(syncs "state=done extents_done=0 extents_total=0 ")
    sandbox kill "$node"
    sleep 2
    sandbox start "$node"
    sleep 0.3
    test $role != middle || { # again, in the middle of it or just behind
        sandbox kill "$node"
        sleep 1
        sandbox start "$node"
    }
    wait_healthy 60
    test "$(syncs "state=done extents_done=0 extents_total=0 ")" -gt \
        "$whole" ||
        fail "$node ($role) did not catch up by the log"
done
wait "$fio_pid" || fail "fio: $(tail -n 20 "$work/fio.log")"
test "$(syncs state=copy)" = "$copied" || fail "extents were copied"
cat "$dir"/*/log | grep "event=sync .*state=done" | sed 's/.*chain=/chain=/'
k volume verify v
unserve "$nbdkit_pid"

#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# All three replicators and the hub are killed at once during writes and
# started again: the client goes on, nothing acknowledged is lost.
. "${top_srcdir:?}/tests/e2e/lib.sh"
need nbdkit fio jq

sandbox_up --nodes 3
k volume create v --size 1G
serve v volume=v

background "$pacer" "$uri" --stop "$work/stop" --offset $((512 << 20)) \
    --sectors 4096 --flush-every 500 >"$work/pacer.json"
pacer_pid=$!
background fio --name=f --ioengine=nbd --uri="$uri" --rw=randwrite --bs=4k \
    --iodepth=32 --size=64m --verify=crc32c --verify_fatal=1 --loops=1000 \
    --time_based --runtime=25 --output="$work/fio.log"
fio_pid=$!
for round in 1 2; do
    sleep 3
    kill -KILL "$(pid_of n1)" "$(pid_of n2)" "$(pid_of n3)" "$(pid_of hub)"
    sleep 1
    "$kenter" sandbox start --all --dir "$dir" >>"$work/sandbox.log" 2>&1 ||
        fail "start --all: $(tail -n 5 "$work/sandbox.log")"
    wait_healthy 60
done
wait "$fio_pid" || fail "fio: $(tail -n 20 "$work/fio.log")"
touch "$work/stop"
wait "$pacer_pid" || fail "pacer: $(cat "$work/pacer.json")"
echo "longest stall $(jq .longest_ms "$work/pacer.json") ms"
k volume verify v
unserve "$nbdkit_pid"

#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# SIGKILL of head, middle and tail in turn while fio verifies and a second
# writer remembers every acknowledged sector. Nothing fails; the longest stall
# of each is printed; the replicas are equal afterwards.
. "${top_srcdir:?}/tests/e2e/lib.sh"
need nbdkit fio jq

sandbox_up --nodes 3
k volume create v --size 1G
serve v volume=v

background fio --name=f --ioengine=nbd --uri="$uri" --rw=randrw --bs=4k \
    --iodepth=32 --size=128m --verify=crc32c --verify_fatal=1 --loops=1000 \
    --time_based --runtime=45 --output="$work/fio.log"
fio_pid=$!
for role in head middle tail; do
    background "$pacer" "$uri" --stop "$work/stop-$role" \
        --offset $((512 << 20)) --sectors 2048 >"$work/$role.json"
    pacer_pid=$!
    sleep 1
    node=$(member v $role)
    test -n "$node" || fail "no $role"
    sandbox kill "$node"
    sleep 4
    sandbox start "$node"
    wait_healthy 120
    touch "$work/stop-$role"
    wait "$pacer_pid" || fail "pacer ($role): $(cat "$work/$role.json")"
    ms=$(jq .longest_ms "$work/$role.json")
    echo "$role killed: longest stall $ms ms"
    test "$ms" -lt 15000 || fail "stalled for $ms ms"
done
wait "$fio_pid" || fail "fio: $(tail -n 20 "$work/fio.log")"
k volume verify v
unserve "$nbdkit_pid"

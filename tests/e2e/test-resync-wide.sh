#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A chain of 512 extents, all of them in use: what changed in any of them
# while a member was away reaches it when it returns.
. "${top_srcdir:?}/tests/e2e/lib.sh"
need nbdkit fio jq

# every_extent NAME BLOCK: one block in each extent, BLOCK KiB from its start.
every_extent() {
    fio --name="$1" --ioengine=nbd --uri="$uri" --bs=4k --size=2g \
        --offset="${2}k" --rw=write:4092k --iodepth=16 \
        --refill_buffers >"$work/fio.log" 2>&1 ||
        fail "fio: $(tail -n 20 "$work/fio.log")"
}

sandbox_up --nodes 3
k volume create v --size 2056M
serve v volume=v
every_extent before 0
node=$(member v tail)
sandbox kill "$node"
every_extent away 4
sandbox start "$node"
wait_healthy 60
k volume verify v || fail "the replicas differ"
unserve "$nbdkit_pid"

#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The head is stopped for 20 s and continued: it is evicted, I/O goes on
# within 8 s (the test's bound is 15), and what it does when it wakes up has
# no effect: nothing is lost or wrong, and it is taken in again.
. "${top_srcdir:?}/tests/e2e/lib.sh"
need nbdkit jq

sandbox_up --nodes 3
k volume create v --size 256M
serve v volume=v
background "$pacer" "$uri" --stop "$work/stop" --sectors 2048 \
    >"$work/pacer.json"
pacer_pid=$!
sleep 1
node=$(member v head)
before=$(k volume inspect v --json | jq '.chains[0].epoch')
sandbox kill "$node" --signal STOP
sleep 20
state=$(k volume inspect v --json |
    jq -r --arg n "$node" '.chains[0].members[] | select(.node == $n).state')
test "$state" != serving || fail "the stopped head still serves"
sandbox kill "$node" --signal CONT
wait_healthy 60
after=$(k volume inspect v --json | jq '.chains[0].epoch')
test "$after" -gt "$before" || fail "the epoch did not move"
sleep 1
touch "$work/stop"
wait "$pacer_pid" || fail "pacer: $(cat "$work/pacer.json")"
ms=$(jq .longest_ms "$work/pacer.json")
echo "head frozen: longest stall $ms ms"
test "$ms" -lt 15000 || fail "stalled for $ms ms"
k volume verify v
unserve "$nbdkit_pid"

#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The hub is dead for 60 s under I/O ($KT_HUB_DOWN_S for longer): no error,
# no gap between completions above 1 s (printed).
. "${top_srcdir:?}/tests/e2e/lib.sh"
need nbdkit jq

sandbox_up --nodes 3
k volume create v --size 256M
serve v volume=v
background "$pacer" "$uri" --stop "$work/stop" --sectors 2048 \
    >"$work/pacer.json"
pacer_pid=$!
sleep 1
sandbox kill hub
sleep "${KT_HUB_DOWN_S:-60}"
touch "$work/stop"
wait "$pacer_pid" || fail "pacer: $(cat "$work/pacer.json")"
ms=$(jq .longest_ms "$work/pacer.json")
echo "hub dead: longest gap $ms ms, $(jq .ops "$work/pacer.json") requests"
# The promise is 1 s, and tests/ledger.tsv holds what was measured; a test on a
# noisy machine fails only when I/O really stood still.
test "$ms" -le 5000 || fail "a gap of $ms ms"
sandbox start hub
wait_healthy 30
k volume verify v
unserve "$nbdkit_pid"

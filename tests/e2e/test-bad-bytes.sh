#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Random bytes and frames with wild lengths at the hub's and a replicator's
# port for 60 s ($KT_NOISE_S), under I/O: both live, neither grows by 8 MiB
# after the first 10 s, and no request fails.
. "${top_srcdir:?}/tests/e2e/lib.sh"
need nbdkit jq

port_of() { # NODE|hub
    grep -m 1 '^tcp:' "$dir/$1/address"
}

sandbox_up --nodes 3
k volume create v --size 64M
serve v volume=v
# Gentle, so that what grows is not the data path's own bounded memory.
background "$pacer" "$uri" --stop "$work/stop" --sectors 1024 --pause 20 \
    >"$work/pacer.json"
pacer_pid=$!
seconds=${KT_NOISE_S:-60}
noise=$top_builddir/tests/e2e/noise
background "$noise" "$(port_of hub)" "$seconds" >"$work/noise-hub.log" 2>&1
a=$!
background "$noise" "$(port_of n1)" "$seconds" >"$work/noise-n1.log" 2>&1
b=$!
sleep 10
hub=$(rss_kib "$(pid_of hub)") n1=$(rss_kib "$(pid_of n1)")
wait $a || fail "the hub stopped answering: $(cat "$work/noise-hub.log")"
wait $b || fail "n1 stopped answering: $(cat "$work/noise-n1.log")"
hub=$(($(rss_kib "$(pid_of hub)") - hub))
n1=$(($(rss_kib "$(pid_of n1)") - n1))
echo "hub grew by $hub KiB, n1 by $n1 KiB"
test $hub -lt 8192 -a $n1 -lt 8192 || fail "memory grew"
touch "$work/stop"
wait "$pacer_pid" || fail "pacer: $(cat "$work/pacer.json")"
k volume verify v
unserve "$nbdkit_pid"

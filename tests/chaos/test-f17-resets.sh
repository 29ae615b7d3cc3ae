#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# F17. Connections are reset in mid-stream, four times a second, at every node,
# the hub and the client: RESUME goes on where it stopped, and the client
# hardly notices.
. "${top_srcdir:?}/tests/chaos/lib.sh"
cluster_up 3
k volume create v --size 32M --segment 8M
attach c1 a
verify_up 33554432 --pause-us 500
tell open "$sock"
sleep 2
tell "fault 1 resets"
before=$(grep -c 'event=peer_lost' "$dir/n1/log")
for ((i = 0; i < 60; i++)); do
    for n in n1 n2 n3 c1 hub; do
        test $((i % 5)) != "${n//[^0-9]/}" || continue
        resets $n
    done
    sleep 0.2
done
tell "healed 1"
lost=$(($(grep -c 'event=peer_lost' "$dir/n1/log") - before))
test $lost -ge 20 || fail "only $lost connections were reset"
wait_healthy 30
verify_end || fail "$(cat "$work/verify.out" "$work/verify.log")"
grep -E '^violations|^pause|^totals' "$work/verify.out"
longest=$(sed -n 's/^pause resets.*max=\([0-9]*\)\..*/\1/p' "$work/verify.out")
test "$longest" -lt 3 || fail "a reset costs more than three seconds"
k volume verify v
detach a

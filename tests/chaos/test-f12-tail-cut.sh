#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# F12. The tail is cut off from everybody, client and hub too: it is evicted,
# what it still has to say counts for nothing, and it is let in again.
. "${top_srcdir:?}/tests/chaos/lib.sh"
cluster_up 3
k volume create v --size 32M
attach c1 a
verify_up 33554432 --pause-us 500
tell open "$sock"
sleep 2
tail=$(member v tail)
tell "fault 1 tail-cut"
for o in "${!addr[@]}"; do
    test "$o" = "$tail" || cut "$tail" "$o"
done
sleep 8
k volume inspect v --json >"$work/evicted.json"
for o in "${!addr[@]}"; do
    test "$o" = "$tail" || mend "$tail" "$o"
done
tell "healed 1"
jq -e --arg t "$tail" '[.chains[0].members[] |
    select(.node == $t and (.role | IN("head", "middle", "tail")))] == []' \
    "$work/evicted.json" >/dev/null ||
    fail "still serving: $(cat "$work/evicted.json")"
sleep 1
wait_healthy 30
verify_end || fail "$(cat "$work/verify.out" "$work/verify.log")"
grep -E '^violations|^pause tail' "$work/verify.out"
longest=$(sed -n 's/^pause tail-cut.*max=\([0-9]*\)\..*/\1/p' \
    "$work/verify.out")
test "$longest" -lt 8 || fail "the client stood still until the cut was mended"
k volume verify v
detach a

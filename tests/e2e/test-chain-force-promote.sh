#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The two nodes that served last are gone for ever. The third, which missed
# writes, serves when a person says so; a returning copy is kept in quarantine
# until it is discarded.
. "${top_srcdir:?}/tests/e2e/lib.sh"
need nbdkit jq nbdcopy

state_of() {
    k chain ls --volume v --json |
        jq -r --arg n "$1" '.chains[0].members[] | select(.node == $n) | .state'
}

wait_state() {
    local i
    for ((i = 0; i < 150; i++)); do
        test "$(state_of "$1")" != "$2" || return 0
        sleep 0.2
    done
    fail "$1 is $(state_of "$1"), not $2: $(k chain ls)"
}

promote() {
    "$kenter" chain force-promote 1 "$@" 2>"$work/why"
}

sandbox_up --nodes 3
k volume create v --size 16M --min-write 1
head -c 16M /dev/urandom >"$work/first"
head -c 16M /dev/urandom >"$work/second"
serve v volume=v
nbdcopy --flush "$work/first" "$uri" || fail "first copy"
sandbox kill n3
wait_state n3 offline
nbdcopy --flush "$work/second" "$uri" || fail "second copy"
unserve "$nbdkit_pid"
sandbox kill n2
wait_state n2 offline
promote --node n3 && fail "promoted while n1 serves"
sandbox kill n1
wait_state n1 last
sandbox start n3
sleep 1
test "$(k chain ls --json | jq -r '.chains[0].phase')" = down ||
    fail "not down: $(k chain ls)"
promote --node n3 && fail "promoted without a word of consent"
grep -q 'record' "$work/why" || fail "it does not say what is lost"
promote --node n3 --accept-data-loss || fail "$(cat "$work/why")"
wait_state n3 serving
serve again volume=v
nbdcopy "$uri" "$work/read" || fail "reading"
cmp "$work/read" "$work/first" || fail "not what n3 had"
sandbox start n1
sandbox start n2
sleep 2
for n in n1 n2; do
    test "$(state_of $n)" = quarantined || fail "$n: $(k chain ls)"
done
"$kenter" chain discard 1 --node n1 2>/dev/null && fail "discarded unasked"
for n in n1 n2; do
    k chain discard 1 --node $n --accept-data-loss
    wait_state $n serving
done
wait_healthy 30
k volume verify v
nbdcopy "$uri" "$work/read" || fail "reading"
cmp "$work/read" "$work/first" || fail "the old history came back"
unserve "$nbdkit_pid"

#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The hub's database is replaced by an old copy, then lost altogether, under
# I/O: no request fails, and what the nodes know is taken over.
. "${top_srcdir:?}/tests/e2e/lib.sh"
need nbdkit jq

recovered() {
    local i
    for ((i = 0; i < 150; i++)); do
        "$kenter" status --json >"$work/status" 2>/dev/null &&
            jq -e '.recover == null' "$work/status" >/dev/null && return 0
        sleep 0.2
    done
    fail "still recovering: $(cat "$work/status")"
}

sandbox_up --nodes 3
k volume create v --size 64M
sandbox kill hub
cp "$dir/hub/store/hub.mdb" "$work/copy.mdb"
sandbox start hub
wait_healthy 30

# Since the copy: a new holder, a change of the chain, another volume.
serve v volume=v
background "$pacer" "$uri" --stop "$work/stop" --sectors 2048 \
    >"$work/pacer.json"
pacer_pid=$!
sandbox kill n3
sleep 1
sandbox start n3
wait_healthy 30
k volume create late --size 8M
token=$(k volume inspect v --json | jq .holder.token)
epoch=$(k volume inspect v --json | jq '.chains[0].epoch')

sandbox kill hub
cp "$work/copy.mdb" "$dir/hub/store/hub.mdb"
sandbox start hub
recovered
wait_healthy 30
grep -q event=recover_mode "$dir/hub/log" || fail "it did not notice"
test "$(k volume inspect v --json | jq .holder.token)" = "$token" ||
    fail "another holder than before"
test "$(k volume inspect v --json | jq '.chains[0].epoch')" -gt "$epoch" ||
    fail "epoch $epoch again"
k volume ls --json | jq -r '.volumes[].name' | grep -q '^recovered-' ||
    fail "the later volume is gone"

# And without any database.
sandbox kill hub
address=$(jq -r '.hub[]' "$dir/context.json")
mv "$dir/hub/store" "$work/lost"
listen=()
for a in $address; do listen+=(--listen "$a"); done
"$top_builddir/kenter-hub" --dir "$dir/hub/store" --recover "${listen[@]}" \
    >"$work/hub.log" 2>&1 &
started+=($!)
for ((i = 0; i < 100; i++)); do
    n=$("$kenter" node ls --json 2>/dev/null | jq '.nodes | length')
    test "$n" != 3 || break
    sleep 0.2
done
k status | grep -q 'kenter hub recover' || fail "status does not say what to do"
k hub recover --dry-run | grep -q 'all kept' || fail "nothing to take over?"
k hub recover
recovered
wait_healthy 30
test "$(k volume ls --json | jq '.volumes | length')" = 2 ||
    fail "not two volumes"

touch "$work/stop"
wait "$pacer_pid" || fail "pacer: $(cat "$work/pacer.json")"
echo "longest gap $(jq .longest_ms "$work/pacer.json") ms"
unserve "$nbdkit_pid"
for v in $(k volume ls --json | jq -r '.volumes[].name'); do
    k volume verify "$v"
done

#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Bytes rot in data and sums of every node while the cluster runs and is
# written to. A scrub finds all of it and puts it right from the others; the
# volume stays what it was. What nobody can give is told and left alone. Too
# much of it makes the store faulty, and the others go on.
. "${top_srcdir:?}/tests/e2e/lib.sh"
need nbdkit nbdcopy qemu-io jq perl cmp

sandbox_up --nodes 3 --capacity 128M
k volume create v --size 48M
perl -e 'srand 5;
    print pack("Q*", map { rand 2**53 } 1 .. 1048576) for 1 .. 4' >"$work/src"
truncate -s 48M "$work/src"
serve v volume=v
nbdcopy --flush "$work/src" "$uri" || fail "nbdcopy fails"

# Until the slots have it all: the last sector of it is in each data file.
last=$((32 * 1048576 - 4096))
for node in n1 n2 n3; do
    for ((i = 0; i < 100; i++)); do
        perl -e 'local $/; open S, "<:raw", $ARGV[0]; seek S, $ARGV[2], 0;
            read S, my $want, 4096; open D, "<:raw", $ARGV[1];
            exit(index(<D>, $want) < 0)' "$work/src" \
            "$dir/$node/store/data.000" $last && break
        sleep 0.2
    done
done

# Quiet nodes: nothing is found.
k scrub start --wait --json >"$work/quiet.json"
jq -e '[.nodes[] | .state == "idle" and .now.bad == 0 and .now.left == 0
    and .now.bytes >= 33554432 and .passes == 1] == [true, true, true]' \
    "$work/quiet.json" >/dev/null || fail "$(cat "$work/quiet.json")"

# flip FILE AT: one bit, by a write of its own, as a disk would not.
flip() {
    perl -e 'open F, "+<:raw", $ARGV[0] or die; seek F, $ARGV[1], 0;
        read F, $b, 1; seek F, $ARGV[1], 0; print F chr(ord($b) ^ 4)' "$@" ||
        fail "flip $*"
}

# A writer beside it, to another part of the volume.
background "$pacer" "$uri" --stop "$work/stop" --sectors 256 \
    --offset $((40 << 20)) --flush-every 4 --pause 5 >"$work/pacer.json"
pacer_pid=$!

# 15 sectors of data and 10 sums a node, in slots that hold the volume; of the
# three copies of a sector one may rot at most, so each node has sectors of its
# own. Slots of the nodes are in different orders: by number within a slot.
n=0
for node in n1 n2 n3; do
    for ((i = 0; i < 15; i++)); do
        slot=$((i % 5 + 1)) sector=$((n * 300 + i * 7))
        flip "$dir/$node/store/data.000" \
            $((slot * 4194304 + sector * 4096 + i * 13))
    done
    for ((i = 0; i < 10; i++)); do
        slot=$((i % 5 + 1)) sector=$((n * 300 + 150 + i * 5))
        flip "$dir/$node/store/csum.000" $((slot * 8192 + sector * 8 + i % 8))
    done
    n=$((n + 1))
done
k scrub start --wait --json >"$work/scrub.json"
jq -e '[.nodes[] | .now.bad == .now.mended and .now.left == 0] ==
    [true, true, true] and ([.nodes[].now.bad] | add) == 75' \
    "$work/scrub.json" >/dev/null || fail "$(cat "$work/scrub.json")"
k scrub start --wait --node n2 >"$work/again"
grep -Eq '^n2 +idle .* 0 +0 +0 ' "$work/again" || fail "$(cat "$work/again")"
k node inspect n1 --json >"$work/inspect.json"
jq -e '.health.bad_sectors == 25 and .health.mended == 25 and
    .health.last.bad == 25' "$work/inspect.json" >/dev/null ||
    fail "$(cat "$work/inspect.json")"
k node inspect n1 >"$work/inspect"
grep -q 'bad sectors *25 found since its start, 25 mended' "$work/inspect" ||
    fail "$(cat "$work/inspect")"

touch "$work/stop"
wait "$pacer_pid" || fail "the writer: $(cat "$work/pacer.json")"
nbdcopy "$uri" "$work/now" || fail "nbdcopy fails"
cmp -n $((40 << 20)) "$work/src" "$work/now" || fail "the volume has changed"
k volume verify v >"$work/verify" || fail "$(cat "$work/verify")"

lost=()
# One sector that all three have lost: nobody gives it, nobody hands it out.
at_of() {
    perl -e 'local $/; open S, "<:raw", $ARGV[0]; seek S, 8192, 0;
        read S, my $want, 4096; open D, "<:raw", $ARGV[1];
        print index(<D>, $want)' "$work/src" "$dir/$1/store/data.000"
}
for node in n1 n2 n3; do
    at=$(at_of $node)
    test "$at" -ge 0 || fail "$node has it not"
    lost[${#lost[@]}]=$at
done
i=0
for node in n1 n2 n3; do
    flip "$dir/$node/store/data.000" $((${lost[i]} + 77))
    i=$((i + 1))
done
rc=0
"$kenter" scrub start --wait --node n1 >"$work/left" 2>&1 || rc=$?
test $rc = 1 || fail "loss is not told (exit $rc): $(cat "$work/left")"
grep -q '1 sectors are damaged and no other member' "$work/left" ||
    fail "$(cat "$work/left")"
grep -q 'event=scrub_bad .*off=8192' "$dir/n1/log" || fail "n1 does not name it"

# What it found outlives the process, and a start alone makes no pass due.
sandbox kill n3
sandbox start n3
wait_healthy 60
k scrub status --node n3 --json >"$work/status.json"
jq -e '.nodes[0] | .last.bad >= 25 and .next_s > 600000 and
    .next_s <= 604800' "$work/status.json" >/dev/null ||
    fail "$(cat "$work/status.json")"

# 64 within ten minutes: the disk is done for.
i=0
for ((i = 0; i < 80; i++)); do
    flip "$dir/n3/store/data.000" $((2 * 4194304 + (i + 20) * 4096))
done
"$kenter" scrub start --wait --node n3 >"$work/faulty" 2>&1 &&
    fail "a store that rots is not called faulty: $(cat "$work/faulty")"
for ((i = 0; i < 100; i++)); do
    state=$(k node ls --json |
        jq -r '.nodes[] | select(.name == "n3") | .stores[0].state')
    test "$state" != faulty || break
    sleep 0.1
done
test "$state" = faulty || fail "the store of n3 is $state"
qemu-io -f raw -t none -c 'write -P 7 44M 64k' -c 'read -P 7 44M 64k' "$uri" \
    >"$work/io.log" 2>&1 || fail "$(cat "$work/io.log")"

#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Bytes rot under a running cluster, on every node, each in another place.
# Every read is right, and who was asked puts its copy right with another's.
. "${top_srcdir:?}/tests/e2e/lib.sh"
need nbdkit qemu-io jq perl

sandbox_up --nodes 3 --capacity 128M
k volume create v --size 64M
serve v volume=v
qemu-io -f raw -t none -c 'write -P 0xa7 0 1M' -c flush "$uri" >"$work/io.log"

# Where the volume's first bytes are in the slots of a node; they get there
# within seconds.
slot_at() {
    local at tries
    for ((tries = 0; tries < 150; tries++)); do
        at=$(perl -e 'local $/; open F, "<:raw", $ARGV[0] or exit;
            my $p = index(<F>, "\xa7" x 1048576); print $p if $p >= 0' \
            "$dir/$1/store/data.000")
        test -z "$at" || break
        sleep 0.2
    done
    echo "$at"
}

byte_at() {
    perl -e 'open F, "<:raw", $ARGV[0]; seek F, $ARGV[1], 0; read F, $b, 1;
        printf "%02x", ord $b' "$dir/$1/store/data.000" "$2"
}

declare -A bad
sector=1
for node in n1 n2 n3; do
    at=$(slot_at $node)
    test -n "$at" || fail "$node did not apply what was written"
    bad[$node]=$((at + sector * 4096 + 123))
    printf '\x00' | dd of="$dir/$node/store/data.000" bs=1 \
        seek="${bad[$node]}" conv=notrunc status=none
    test "$(byte_at $node "${bad[$node]}")" = 00 || fail "nothing rotted"
    sector=$((sector + 40))
done

mended=
for ((tries = 0; tries < 50 && ${#mended} == 0; tries++)); do
    qemu-io -f raw -t none -c 'read -P 0xa7 0 1M' "$uri" >"$work/io.log" 2>&1 ||
        fail "a read failed: $(cat "$work/io.log")"
    ! grep -qiE 'failed|error' "$work/io.log" ||
        fail "wrong bytes were read: $(cat "$work/io.log")"
    sleep 0.1
    for node in n1 n2 n3; do
        test "$(byte_at $node "${bad[$node]}")" != a7 || mended+=" $node"
    done
done
test -n "$mended" || fail "nobody put its copy right"
for node in $mended; do
    grep -q 'event=mended ' "$dir/$node/log" ||
        fail "$node does not say so"
done
echo "mended by$mended"
k volume verify v || fail "the replicas differ"

# At rest, too: what is said of a store is what is in it.
unserve "$nbdkit_pid"
k sandbox down --dir "$dir" >/dev/null
for node in n1 n2 n3; do
    rc=0
    "$top_builddir/kenter-replicator" --check-store "$dir/$node/store" --json \
        >"$work/check.json" || rc=$?
    case $mended in
    *$node*) test $rc = 0 || fail "$node: $(cat "$work/check.json")" ;;
    *)
        test $rc = 3 || fail "$node: rot is not seen (exit $rc)"
        test "$(jq .n_problems "$work/check.json")" = 1 ||
            fail "$node: $(cat "$work/check.json")"
        ;;
    esac
done

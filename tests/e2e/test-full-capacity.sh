#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Stores of 64 MiB each: writes beyond get ENOSPC at the client, reads,
# overwrites and trims go on, and after a trim new data fits again.
. "${top_srcdir:?}/tests/e2e/lib.sh"
need nbdkit nbdcopy qemu-io jq

full_story() {
    k volume create v --size 256M
    serve v volume=v
    dd if=/dev/urandom of="$work/data" bs=1M count=256 status=none
    # Written in pieces, so that the end of space is met in the middle.
    local at ok=0
    for ((at = 0; at < 256; at += 4)); do
        timeout 120 qemu-io -f raw -t none \
            -c "write -P $((at / 4 + 1)) ${at}M 4M" "$uri" \
            >"$work/io.log" 2>&1 || break
        ! grep -qiE 'failed|error' "$work/io.log" || break
        ok=$((ok + 1))
    done
    grep -qi 'no space' "$work/io.log" ||
        fail "expected ENOSPC after $ok extents: $(cat "$work/io.log")"
    test $ok -ge 4 -a $ok -lt 64 || fail "$ok extents fitted"
    echo "$ok extents fitted, then: no space left"
    for ((at = 0; at < ok; at++)); do
        qemu-io -f raw -t none -c "read -P $((at + 1)) $((at * 4))M 4M" \
            "$uri" >"$work/io.log" 2>&1
        ! grep -qiE 'failed|error' "$work/io.log" ||
            fail "extent $at after the disk was full: $(cat "$work/io.log")"
    done
    qemu-io -f raw -t none -c 'write -P 0x77 1M 1M' -c 'read -P 0x77 1M 1M' \
        -c flush "$uri" >"$work/io.log" 2>&1
    ! grep -qiE 'failed|error' "$work/io.log" ||
        fail "overwrite on a full store: $(cat "$work/io.log")"
    qemu-io -f raw -t none -c 'discard 0 8M' -c 'read -P 0 0 8M' "$uri" \
        >"$work/io.log" 2>&1
    ! grep -qiE 'failed|error' "$work/io.log" ||
        fail "trim on a full store: $(cat "$work/io.log")"
    for ((at = 0; at < 100; at++)); do
        qemu-io -f raw -t none -c 'write -P 0x55 200M 4M' "$uri" \
            >"$work/io.log" 2>&1
        grep -qiE 'failed|error' "$work/io.log" || break
        sleep 0.2
    done
    ! grep -qiE 'failed|error' "$work/io.log" ||
        fail "space did not return after the trim"
    k volume verify v || fail "the replicas differ"
    unserve "$nbdkit_pid"
}

sandbox_up --nodes 3 --capacity 64M
full_story

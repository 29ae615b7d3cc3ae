#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A file system that really fills up: the whole sandbox on a small tmpfs.
# Writes to new places are refused with ENOSPC, everything else goes on.
. "${top_srcdir:?}/tests/e2e/lib.sh"
need nbdkit qemu-io jq
test "$(id -u)" = 0 || skip "mounting a tmpfs needs root"

mkdir "$dir" && mount -t tmpfs -o size=700m none "$dir" ||
    skip "this machine does not let us mount a tmpfs"
unmount() {
    "$kenter" sandbox down --dir "$dir" >/dev/null 2>&1
    umount -l "$dir"
    cleanup
}
trap unmount EXIT

# Somebody else eats a part of the space, and gives it back later.
dd if=/dev/zero of="$dir/filler" bs=1M count=100 status=none
sandbox_up --nodes 3
k volume create v --size 1G
serve v volume=v
ok=0
for ((at = 0; at < 250; at++)); do
    timeout 120 qemu-io -f raw -t none \
        -c "write -P $((at % 250 + 1)) $((at * 4))M 4M" "$uri" \
        >"$work/io.log" 2>&1
    ! grep -qiE 'failed|error' "$work/io.log" || break
    ok=$((ok + 1))
done
grep -qi 'no space' "$work/io.log" ||
    fail "expected ENOSPC after $ok extents: $(cat "$work/io.log")"
test $ok -ge 8 || fail "only $ok extents fitted"
for ((at = 0; at < ok; at++)); do
    qemu-io -f raw -t none -c "read -P $((at % 250 + 1)) $((at * 4))M 4M" \
        -c "write -P $((at % 250 + 1)) $((at * 4))M 64k" "$uri" \
        >"$work/io.log" 2>&1
    ! grep -qiE 'failed|error' "$work/io.log" ||
        fail "extent $at on a full disk: $(cat "$work/io.log")"
done
rm -f "$dir/filler"
for ((at = 0; at < 100; at++)); do
    qemu-io -f raw -t none -c 'write -P 0x55 1000M 4M' "$uri" \
        >"$work/io.log" 2>&1
    grep -qiE 'failed|error' "$work/io.log" || break
    sleep 0.2
done
! grep -qiE 'failed|error' "$work/io.log" ||
    fail "writes did not resume when space returned: $(cat "$work/io.log")"
echo "$ok extents fitted; writes resumed when space returned"
k volume verify v || fail "the replicas differ"
unserve "$nbdkit_pid"

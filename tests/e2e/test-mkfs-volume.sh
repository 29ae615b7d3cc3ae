#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# kenter-mkfs on a real volume: the server of a thin volume tells where data
# is, and so 100 GiB are looked at whole, in no time.
. "${top_srcdir:?}/tests/e2e/lib.sh"
export PATH=$PATH:/usr/sbin:/sbin
need nbdkit nbdfuse losetup mkfs.ext4 e2fsck qemu-io jq
test "$(id -u)" = 0 && test -c /dev/fuse || skip "needs root and /dev/fuse"
mkfs=$top_builddir/kenter-mkfs

loops=()
at_end() {
    test ${#loops[@]} = 0 || losetup -d "${loops[@]}"
    for m in "$work"/m*; do
        fusermount3 -u "$m" 2>/dev/null || umount -l "$m" 2>/dev/null
    done
    cleanup
}
trap at_end EXIT

# show NAME: the volume served as $uri and as the device $file. nbdfuse alone
# would pass on writes of less than 4 KiB, which libnbd refuses.
show() {
    local m=$work/m.$1 i
    serve "$1" volume="$1"
    mkdir -p "$m"
    background nbdfuse "$m/disk" --unix "$sock"
    for ((i = 0; i < 100; i++)); do
        test ! -f "$m/disk" || break
        sleep 0.1
    done
    file=$(losetup -f --show --direct-io=on --sector-size 4096 "$m/disk" \
        2>"$work/loop.log") || skip "no loop device: $(cat "$work/loop.log")"
    loops+=("$file")
}

sandbox_up --nodes 3
k volume create v --size 100G --segment 4G
show v
begin=$SECONDS
"$mkfs" --probe --nbd "$uri" --size 100G "$file" >"$work/out" ||
    fail "probe: $(cat "$work/out")"
test "$(cat "$work/out")" = blank || fail "says $(cat "$work/out")"
"$mkfs" --never-formatted --nbd "$uri" "$file" >"$work/out" ||
    fail "it does not format"
took=$((SECONDS - begin))
test $took -lt 60 || fail "it took $took s"
e2fsck -fn "$file" >"$work/fsck" 2>&1 || fail "$(tail -n 5 "$work/fsck")"
used=$(k node ls --json | jq '[.nodes[].stores[].used] | max')
test "$used" -lt $((1 << 30)) || fail "a node keeps $used bytes of it"

# One sector far from where anybody would look.
k volume create w --size 100G --segment 4G
show w
qemu-io -f raw -c "write -P 1 33333374976 4096" "$uri" >"$work/io.log" 2>&1 ||
    fail "$(cat "$work/io.log")"
"$mkfs" --never-formatted --nbd "$uri" "$file" 2>"$work/err" &&
    fail "it formats what holds a sector"
grep -q 'byte 33333374976 is not zero' "$work/err" || fail "$(cat "$work/err")"
# The server of another volume is no witness.
"$mkfs" --never-formatted --nbd "nbd+unix:///?socket=$work/none.sock" \
    "$file" 2>"$work/err" && fail "it formats without the server"
grep -q 'cannot ask the NBD server' "$work/err" || fail "$(cat "$work/err")"
echo "100 GiB were looked at and formatted in $took s"

#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# kenter-mkfs formats what is empty and nothing else, checks before a mount,
# and grows. On files, and on a real volume through nbdfuse where that works.
. "${top_srcdir:?}/tests/e2e/lib.sh"
export PATH=$PATH:/usr/sbin:/sbin
need mkfs.ext4 e2fsck dumpe2fs debugfs mkswap blkid truncate
mkfs=$top_builddir/kenter-mkfs
img=$work/d.img
loop=

at_end() {
    test -z "$loop" || losetup -d "$loop"
    cleanup
}
trap at_end EXIT

fresh() { # SIZE
    rm -f "$img"
    truncate -s "$1" "$img"
}

# refused PATTERN [OPTIONS...]: exit 1, one sentence, nothing changed.
refused() {
    local pattern=$1 rc=0 before
    shift
    before=$(sha256sum <"$img")
    "$mkfs" "$@" "$img" >"$work/out" 2>"$work/err" || rc=$?
    test $rc = 1 || fail "exit $rc with $*: $(cat "$work/out" "$work/err")"
    grep -q "$pattern" "$work/err" || fail "no $pattern: $(cat "$work/err")"
    test "$(wc -l <"$work/err")" = 1 || fail "more than a line"
    test "$before" = "$(sha256sum <"$img")" || fail "it changed ($pattern)"
}

never=--never-formatted

# What it formats.
fresh 64M
refused 'nobody says that it was never written'
test "$("$mkfs" --probe "$img")" = blank || fail "a hole is not blank"
uuid=4b5e4f5c-0d24-4c2b-9a8e-0d6c2f4b7a11
"$mkfs" $never --uuid $uuid --label v --size 64M "$img" >"$work/out" ||
    fail "it does not format"
test "$(cat "$work/out")" = "ext4 $uuid" || fail "says $(cat "$work/out")"
dumpe2fs -h "$img" >"$work/dump" 2>/dev/null
grep -q '^Block size: *4096$' "$work/dump" || fail "block size"
grep -q '^Reserved block count: *0$' "$work/dump" || fail "reserved blocks"
grep -q '^Errors behavior: *Remount read-only$' "$work/dump" || fail "errors="
e2fsck -fn "$img" >"$work/fsck" 2>&1 || fail "$(cat "$work/fsck")"
test "$(du -k "$img" | cut -f 1)" -lt 8192 || fail "it wrote too much"

# What it does not.
refused 'a file system (ext4)' $never
refused 'another size' $never --size 65M
dd if=/dev/zero of="$img" bs=1k seek=1 count=1 conv=notrunc 2>/dev/null
test "$(blkid -p -o value -s TYPE "$img")" = '' || fail "the premise is wrong"
refused 'without a signature' $never # the superblock is gone, the data is not
fresh 64M
mkswap -q "$img" 2>/dev/null || fail "mkswap"
refused 'swap space' $never
fresh 64M
mkfs.ext4 -q -t ext2 "$img" || fail "mkfs of ext2"
refused 'a file system (ext' $never
poke() { # OFFSET: one byte there
    printf x | dd of="$img" bs=1 seek="$1" conv=notrunc 2>/dev/null ||
        fail "dd"
}
fresh 64M
poke $((64 * 1048576 - 1))
refused 'byte 67108863 is not zero' $never
fresh 3G
poke $((1536 * 1048576 + 77))
refused 'not zero' $never
if command -v sfdisk >/dev/null; then
    for table in dos gpt; do
        fresh 64M
        echo "label: $table" | sfdisk -q "$img"
        refused "a partition table ($table)" $never
    done
    # The table at the end survives the loss of that at the start.
    dd if=/dev/zero of="$img" bs=1M count=1 conv=notrunc 2>/dev/null
    refused 'a partition table (gpt)\|not zero' $never
fi
if command -v mkfs.xfs >/dev/null; then
    fresh 400M
    mkfs.xfs -q "$img" || fail "mkfs.xfs"
    refused 'a file system (xfs)' $never
    fresh 400M
    "$mkfs" $never --fs xfs --uuid $uuid "$img" >"$work/out" || fail "xfs"
    test "$(cat "$work/out")" = "xfs $uuid" || fail "says $(cat "$work/out")"
    test "$("$mkfs" --check "$img")" = clean || fail "xfs is not clean"
fi
if command -v cryptsetup >/dev/null; then
    for type in luks1 luks2; do
        fresh 32M
        printf pw | cryptsetup luksFormat -q --type $type --pbkdf pbkdf2 \
            --pbkdf-force-iterations 1000 "$img" - || fail "luksFormat"
        refused 'a LUKS container' $never
    done
fi
if command -v pvcreate >/dev/null && test "$(id -u)" = 0; then
    fresh 64M
    if loop=$(losetup -f --show "$img" 2>/dev/null); then
        pvcreate -y -q "$loop" >"$work/pv" 2>&1 || fail "$(cat "$work/pv")"
        losetup -d "$loop"
        loop=
        refused 'a physical volume of LVM' $never
    fi
fi

# Nonsense.
for bad in '--fs btrfs' '--uuid 1' '--size x' '--label 1234567890abc' \
    '--frobnicate'; do
    # shellcheck disable=SC2086 # two words
    "$mkfs" $bad "$img" >/dev/null 2>&1
    test $? = 2 || fail "$bad is no usage error"
done
fresh 1M
refused 'mkfs.xfs failed' $never --fs xfs
"$mkfs" $never /dev/null 2>"$work/err" && fail "it formats /dev/null"
"$mkfs" $never "$work/none" 2>"$work/err" && fail "it formats nothing"
fresh 0
refused 'no bytes' $never

# Before a mount.
fresh 64M
refused 'no ext4 or xfs' --check
"$mkfs" $never "$img" >/dev/null
test "$("$mkfs" --check "$img")" = clean || fail "not clean"
refused 'another ext4 than expected' --check --uuid $uuid
truncate -s 256M "$img"
test "$("$mkfs" --check "$img")" = grown || fail "not grown"
test "$("$mkfs" --check "$img")" = clean || fail "grown twice"
dumpe2fs -h "$img" 2>/dev/null | grep -q '^Block count: *65536$' ||
    fail "not grown to the end"
truncate -s 128M "$img"
refused 'is not mounted' --check
truncate -s 256M "$img"
debugfs -w -R 'ssv free_blocks_count 1' "$img" 2>/dev/null
debugfs -w -R 'ssv state 0' "$img" 2>/dev/null # not cleanly unmounted
test "$("$mkfs" --check "$img")" = repaired || fail "not repaired"
debugfs -w -R 'clri <2>' "$img" 2>/dev/null # no root directory
debugfs -w -R 'ssv state 0' "$img" 2>/dev/null
"$mkfs" --check "$img" >"$work/out" 2>"$work/err" &&
    fail "mounts without a root: $(cat "$work/out")"
grep -q 'is not mounted: it has errors' "$work/err" || fail "$(cat "$work/err")"

# A device in use.
if test "$(id -u)" = 0; then
    fresh 64M
    "$mkfs" $never "$img" >/dev/null
    mkdir "$work/m"
    if loop=$(losetup -f --show "$img" 2>/dev/null) &&
        mount -t ext4 "$loop" "$work/m"; then
        "$mkfs" --probe "$loop" 2>"$work/err" && fail "it probes a mounted one"
        umount "$work/m"
        grep -q 'in use on this machine' "$work/err" ||
            fail "$(cat "$work/err")"
    fi
    test -z "$loop" || losetup -d "$loop"
    loop=
fi
echo "it formats what is empty, and nothing else"

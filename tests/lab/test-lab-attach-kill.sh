#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A file system that is being written with fsync, on a volume attached by
# `kenter volume attach`, and its nbdkit is killed again and again: no error,
# nothing lost, the device waits for the next one.
. "${top_srcdir:?}/tests/lab/lib.sh"
need mkfs.ext4 e2fsck
kills=4

cluster_up 3
k volume create v --size 256M --segment 64M
lab_up 1
lab_cli m1

dev=$(must m1 "$cli volume attach v")
test "$dev" = /dev/nbd0 || fail "attached as '$dev'"
must m1 "mkfs.ext4 -q -b 4096 $dev && mount $dev /run/mnt"
write_on m1 /run/mnt
for ((n = 0; n < kills; n++)); do
    must m1 "p=\$(pgrep -x nbdkit) && kill -KILL \$p"
    goes_on m1 "nbdkit, the ${n}th time"
done
write_end m1
must m1 "cat /sys/block/nbd0/queue/io_timeout" | grep -qx 5000 ||
    fail "the device waits as long as the kernel likes"

# In use it stays; unmounted it goes.
out=$(on m1 "$cli volume detach v") && fail "a mounted device was detached"
grep -q "mounted at /run/mnt" <<<"$out" || fail "not the reason: $out"
must m1 "umount /run/mnt && e2fsck -f -n $dev" >/dev/null
must m1 "mount $dev /run/mnt
    $(written /run/mnt)
    umount /run/mnt"
must m1 "$cli volume detach $dev" >/dev/null
must m1 "! pgrep -x nbdkit && ! pgrep kenter-attachd && ! ls $run/attach/v &&
    test ! -e /sys/block/nbd0/pid" >/dev/null
k volume inspect v --json | jq -e '.holder == null' >/dev/null ||
    fail "the volume was not given back"
echo "$(promised m1) files, $kills kills, longest pause $(must m1 \
    'cat /run/worst') ms"

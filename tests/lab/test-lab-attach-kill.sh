#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A file system that is being written with fsync, on a volume attached by
# `kenter volume attach`, and its nbdkit is killed again and again: no error,
# nothing lost, the device waits for the next one.
. "${top_srcdir:?}/tests/lab/lib.sh"
need mkfs.ext4 e2fsck
kills=4

# Writes files of a known content, each synced, until /run/stop is there.
# What was promised is in /run/promised, a line for each; anything that fails
# ends it and is in /run/writer.err.
writer='
i=0; worst=0
while test ! -e /run/stop; do
    i=$((i + 1))
    a=$(date +%s%N)
    if ! seq $i $((i + 2000)) >/run/block ||
       ! dd if=/run/block of=/run/mnt/f$i bs=64k conv=fsync status=none; then
        echo "file $i failed" >>/run/writer.err
        break
    fi
    b=$((($(date +%s%N) - a) / 1000000))
    test $b -le $worst || worst=$b
    echo $i >>/run/promised
    test $i -lt 3000 || break
    echo $worst >/run/worst
done
echo done >/run/writer.done'

promised() {
    must m1 'wc -l </run/promised 2>/dev/null || echo 0'
}

cluster_up 3
k volume create v --size 256M --segment 64M
lab_up 1
lab_cli m1

dev=$(must m1 "$cli volume attach v")
test "$dev" = /dev/nbd0 || fail "attached as '$dev'"
must m1 "mkfs.ext4 -q -b 4096 $dev && mount $dev /run/mnt"
must m1 "printf %s $(printf %q "$writer") >/run/writer
    setsid bash /run/writer >/dev/null 2>/run/writer.err </dev/null &
    sleep 1"
for ((n = 0; n < kills; n++)); do
    must m1 "p=\$(pgrep -x nbdkit) && kill -KILL \$p"
    before=$(promised) # one more may be on its way to the file
    for ((i = 0; i < lab_patience; i++)); do
        test "$(promised)" -le $((before + 1)) || break
        sleep 1
    done
    test "$(promised)" -gt $((before + 1)) || {
        on m1 "cat $run/attach/v/*.log; dmesg | tail -n 20" >&2
        fail "after kill $n nothing is written any more"
    }
done
must m1 "touch /run/stop
    for i in {1..300}; do test ! -e /run/writer.done || break; sleep 0.2; done
    test -e /run/writer.done && test ! -s /run/writer.err ||
        { cat /run/writer.err; exit 1; }"
must m1 "! dmesg | grep -E 'I/O error|Aborting journal|EXT4-fs error' ||
    exit 1"
must m1 "cat /sys/block/nbd0/queue/io_timeout" | grep -qx 5000 ||
    fail "the device waits as long as the kernel likes"

# In use it stays; unmounted it goes.
out=$(on m1 "$cli volume detach v") && fail "a mounted device was detached"
grep -q "mounted at /run/mnt" <<<"$out" || fail "not the reason: $out"
must m1 "umount /run/mnt && e2fsck -f -n $dev" >/dev/null
must m1 "mount $dev /run/mnt
    while read -r i; do
        seq \$i \$((i + 2000)) | cmp - /run/mnt/f\$i || exit 1
    done </run/promised
    umount /run/mnt"
must m1 "$cli volume detach $dev" >/dev/null
must m1 "! pgrep -x nbdkit && ! pgrep kenter-attachd && ! ls $run/attach/v &&
    test ! -e /sys/block/nbd0/pid" >/dev/null
k volume inspect v --json | jq -e '.holder == null' >/dev/null ||
    fail "the volume was not given back"
echo "$(promised) files, $kills kills, longest pause $(must m1 \
    'cat /run/worst') ms"

#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A file system on a volume, on the kernel's own nbd device, and its machine
# loses power: what was synced is there on the next start, and it is sound.
. "${top_srcdir:?}/tests/lab/lib.sh"
need nbd-client mkfs.ext4 e2fsck

serve_on() { # M: volume v as /dev/nbd0
    must "$1" "modprobe nbd max_part=0 && cat >/run/context.json <<'C' &&
{\"version\": 1, \"node\": \"$1\", \"hub\": [\"$hub_addr\"]}
C
        nbdkit -U /run/v.sock -P /run/v.pid -t 32 '$plugin' volume=v \
            context=/run/context.json wait=60 2>/run/nbdkit.log ||
            { cat /run/nbdkit.log; exit 1; }
        for i in {1..100}; do test ! -S /run/v.sock || break; sleep 0.1; done
        nbd-client -u /run/v.sock -b 4096 -N '' /dev/nbd0"
}

cluster_up 3
k volume create v --size 128M --segment 64M
lab_up 1

serve_on m1
must m1 "mkfs.ext4 -q -b 4096 /dev/nbd0 && mount /dev/nbd0 /run/mnt"
sums=$(must m1 "cd /run/mnt &&
    for i in 1 2 3; do
        dd if=/dev/urandom of=f\$i bs=256k count=\$((i * 4)) conv=fsync \
            status=none || exit 1
    done
    sync -f . && sha256sum f?")
test "$(grep -c . <<<"$sums")" = 3 || fail "not three sums: $sums"
# Never synced, so nothing is promised of it; it only must do no harm.
must m1 "dd if=/dev/urandom of=/run/mnt/lost bs=64k count=64 status=none"

power_cut m1
! on m1 "true" || fail "a machine without power answers"
power_on m1
! on m1 "test -e /run/v.pid" || fail "this is no fresh start"

serve_on m1
must m1 "mount /dev/nbd0 /run/mnt"
again=$(must m1 "cd /run/mnt && sha256sum f?")
test "$again" = "$sums" || fail "synced files changed: $sums, now: $again"
must m1 "umount /run/mnt && e2fsck -f -n /dev/nbd0 && nbd-client -d /dev/nbd0"
must m1 "kill -TERM \$(cat /run/v.pid)
    for i in {1..300}; do
        kill -0 \$(cat /run/v.pid) 2>/dev/null || exit 0
        sleep 0.1
    done
    echo 'nbdkit does not end'; exit 1"
k volume verify v >/dev/null
echo "three files survived the loss of power"

#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# `kenter volume attach` and `detach` between two machines and against all
# that may be wrong: what they say, and what they leave behind.
. "${top_srcdir:?}/tests/lab/lib.sh"
need mkfs.ext4 e2fsck

# refused M TEXT COMMAND: exit 1, with these words.
refused() {
    local out rc=0
    out=$(on "$1" "$3") || rc=$?
    test $rc = 1 || fail "on $1: $3: exit $rc, not 1: $out"
    grep -qiF -- "$2" <<<"$out" || fail "on $1: $3: no '$2' in: $out"
}

# clean M NAME: nothing is left of it there.
clean() {
    must "$1" "! ls -d $run/attach/$2 2>/dev/null && ! pgrep -f [v]olume=$2"
}

cluster_up 3
k volume create v --size 64M
k volume create w --size 64M
lab_up 2 400
lab_cli m1
lab_cli m2

# Before anything works.
must m1 "mkdir /run/none && printf '#!/bin/sh\nexit 1\n' >/run/none/modprobe &&
    chmod +x /run/none/modprobe"
refused m1 "has no nbd driver" "PATH=/run/none:\$PATH; $cli volume attach v"
clean m1 v
refused m1 "there is no volume nope" "$cli volume attach nope"
refused m1 "run this as root" "setpriv --reuid 1 --clear-groups \
    env $cli volume attach v"
refused m1 "not attached here" "$cli volume detach v"
refused m1 "no volume is attached here as /dev/nbd3" \
    "$cli volume detach /dev/nbd3"

# One that is asked for, and what is in its way.
dev=$(must m1 "$cli volume attach v --device /dev/nbd3")
test "$dev" = /dev/nbd3 || fail "attached as '$dev'"
test "$(must m1 "blockdev --getsize64 $dev")" = $((64 << 20)) ||
    fail "the device has another size"
refused m1 "attached here already, as /dev/nbd3" "$cli volume attach v"
refused m1 "/dev/nbd3 is in use" "$cli volume attach w --device /dev/nbd3"
clean m1 w
must m1 "mkfs.ext4 -q $dev && mount $dev /run/mnt && echo one >/run/mnt/f &&
    sync -f /run/mnt"

# Another machine: no, unless it steals. Then the first one harms nothing.
refused m2 "attached on node m1" "$cli volume attach v --wait 1"
refused m2 "--steal" "$cli volume attach v --wait 1"
clean m2 v
dev2=$(must m2 "$cli volume attach v --steal")
must m2 "mount $dev2 /run/mnt && grep -qx one /run/mnt/f &&
    echo two >/run/mnt/g && sync -f /run/mnt"
on m1 "echo late >/run/mnt/late && sync -f /run/mnt" >/dev/null &&
    fail "the former holder could write"
must m1 "umount /run/mnt"
refused m1 "--force" "$cli volume detach v"
must m1 "$cli volume detach v --force" >/dev/null
clean m1 v
must m2 "test ! -e /run/mnt/late && umount /run/mnt &&
    e2fsck -f -n $dev2" >/dev/null

# Its keeper is killed, and the nbdkit with it: the device waits, and the next
# attach takes it over.
must m2 "mount $dev2 /run/mnt && pkill -KILL kenter-attachd &&
    pkill -KILL -x nbdkit
    setsid bash -c 'echo three >/run/mnt/h && sync -f /run/mnt
        echo \$? >/run/wrote' >/dev/null 2>&1 </dev/null &"
again=$(must m2 "$cli volume attach v")
test "$again" = "$dev2" || fail "taken over as $again, not $dev2"
must m2 "for i in {1..300}; do test ! -s /run/wrote || break; sleep 0.1; done
    grep -qx 0 /run/wrote && grep -qx three /run/mnt/h"

# Killed alone: the nbdkit goes on, and is the same one afterwards. (Started by
# a child of its own, nbdkit would hear of its end and answer with errors.)
p=$(must m2 "pgrep -x nbdkit")
must m2 "pkill -KILL kenter-attachd"
must m2 "sleep 0.5; echo four >/run/mnt/i && sync -f /run/mnt"
must m2 "exec 7<>/dev/console; cd /run/mnt && $cli volume attach v" >/dev/null
test "$(must m2 "pgrep -x nbdkit")" = "$p" || fail "nbdkit was not kept"
# Nothing of its caller is held: neither what was open, nor where it stood.
must m2 "p=\$(pgrep kenter-attachd) && ! ls -l /proc/\$p/fd | grep console" \
    >/dev/null
must m2 "umount /run/mnt && $cli volume detach v" >/dev/null
clean m2 v

# Killed with the nbdkit, and all that is asked for is to let go.
must m2 "$cli volume attach v >/dev/null && pkill -KILL kenter-attachd &&
    pkill -KILL -x nbdkit; $cli volume detach v" >/dev/null
clean m2 v

# Killed while its nbdkit starts, which nobody knows of then: it has the volume
# until somebody looks.
must m2 "setsid $cli volume attach v >/dev/null 2>&1 </dev/null &
    until pgrep -x nbdkit >/dev/null; do sleep 0.01; done
    pkill -KILL kenter-attachd; sleep 3; pgrep -x nbdkit &&
    test ! -e $run/attach/v/info.json" >/dev/null
refused m2 "not attached here" "$cli volume detach v"
clean m2 v

# Somebody else ends the device: nothing of it stays.
must m2 "$cli volume attach w" >/dev/null
must m2 "nbd-client -d /dev/nbd0 >/dev/null
    for i in {1..200}; do
        test -e $run/attach/w || exit 0
        sleep 0.1
    done
    exit 1"
clean m2 w

# Its nbdkit dies while the device is flushed before it goes: all is written.
dev=$(must m1 "$cli volume attach w")
must m1 "head -c 32M /dev/urandom >/run/bytes
    dd if=/run/bytes of=$dev bs=1M 2>/dev/null && \
    { pkill -KILL -x nbdkit & $cli volume detach w; }" >/dev/null
clean m1 w
dev=$(must m1 "$cli volume attach w")
must m1 "cmp -n 33554432 /run/bytes $dev && $cli volume detach w" >/dev/null

echo "attached, stolen, taken over, given back"

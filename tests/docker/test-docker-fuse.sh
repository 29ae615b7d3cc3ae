#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The plugin with real volumes: nbdkit, nbdfuse, a loop device and ext4. It is
# written to while a replicator is killed, unmounted, mounted again, compared.
. "${top_srcdir:?}/tests/docker/lib.sh"
need e2fsck setsid qemu-io
fuse_need
plugin_attach+=" --trim 4"

id1=$(printf '%064d' 1)
id2=$(printf '%064d' 2)
attached() { # NAME: whether the hub thinks so
    k volume inspect "$1" --json | jq -e '.holder.node' >/dev/null
}

sandbox_up --nodes 3
plugin_up
good Create '{"Name":"db","Opts":{"size":"1G","uid":"70","mode":"0750"}}'
begin=$(date +%s%N)
good Mount "{\"Name\":\"db\",\"ID\":\"$id1\"}"
first=$((($(date +%s%N) - begin) / 1000000))
where=$(field .Mountpoint)
test -d "$where" || fail "there is no $where"
test "$(stat -c '%u %a' "$where")" = '70 750' || fail "$(stat "$where")"
test -z "$(ls -A "$where")" || fail "it is not empty: $(ls -A "$where")"
line=$(grep " $(dirname "$where") " /proc/self/mounts) || fail "not mounted"
for o in ext4 nosuid nodev noatime; do
    grep -q "$o" <<<"$line" || fail "no $o: $line"
done
attached db || fail "the hub does not know of it"
bad 500 'mounted on this node' Remove '{"Name":"db"}'

# Written with fsync, a replicator killed half way.
for i in $(seq 40); do
    dd if=/dev/urandom of="$where/f$i" bs=64k count=4 conv=fsync \
        2>"$work/dd" || fail "write $i: $(cat "$work/dd")"
    test "$i" != 15 || {
        victim=$(member db head)
        sandbox kill "$victim"
    }
done
(cd "$where" && sha256sum f*) >"$work/sums"

# Space goes back while it is mounted.
for ((i = 0; i < 600; i++)); do
    ! grep event=trimmed "$work/plugin.log" | grep -qv 'bytes=0 ' || break
    sleep 0.1
done
test $i -lt 600 ||
    fail "no space was given back: $(grep trimmed "$work/plugin.log")"

# A trim that hangs, because the device has stalled, hangs alone: the plugin
# ends when it is told to.
server=$(cat "$work"/run/*/nbdkit.pid)
hung() { # the one of our programs that waits for a device
    local i pid
    for ((i = 0; i < 60; i++)); do
        for pid in $(pgrep -x kenter-volplugi); do
            ! grep -q '^State:.D' "/proc/$pid/status" 2>/dev/null ||
                ! readlink "/proc/$pid"/fd/* 2>/dev/null |
                grep -qFx "$where" || return 0
        done
        sleep 0.1
    done
    return 1
}
for ((try = 0; try < 20; try++)); do # until the stall meets a trim
    dd if=/dev/urandom of="$where/gone" bs=64k count=64 conv=fsync 2>"$work/dd"
    rm "$where/gone"
    sync -f "$where"
    kill -STOP "$server"
    ! hung || break
    kill -CONT "$server"
done
test $try -lt 20 || fail "no trim met the stall"
kill -TERM "$plugin_pid"
for ((i = 0; i < 80; i++)); do
    kill -0 "$plugin_pid" 2>/dev/null || break
    sleep 0.1
done
kill -CONT "$server"
test $i -lt 80 || fail "a trim that hangs keeps the plugin from ending"
wait "$plugin_pid" || fail "the plugin: exit $?"
plugin_up

# The plugin is killed and started again: the mount stays, nobody notices.
good Mount "{\"Name\":\"db\",\"ID\":\"$id2\"}"
plugin_kill KILL
(cd "$where" && sha256sum --quiet -c "$work/sums") ||
    fail "without the plugin"
echo more >"$where/more" || fail "write without the plugin"
plugin_up
good Get '{"Name":"db"}'
test "$(field .Volume.Mountpoint)" = "$where" ||
    fail "it was forgotten: $answer"
test "$(field .Volume.Status.mounts)" = 2 || fail "$answer"

# Busy: the holder is named, and it comes down when that is gone.
good Unmount "{\"Name\":\"db\",\"ID\":\"$id1\"}"
(cd "$where" && exec sleep 300) &
holder=$!
started+=("$holder")
sleep 0.2
good Unmount "{\"Name\":\"db\",\"ID\":\"$id2\"}"
for ((i = 0; i < 100; i++)); do
    good Get '{"Name":"db"}'
    ! field .Volume.Status.lastError | grep -q "process $holder (sleep)" ||
        break
    sleep 0.1
done
test $i -lt 100 || fail "the holder is not named: $answer"
kill "$holder"
for ((i = 0; i < 300; i++)); do
    good Get '{"Name":"db"}'
    test "$(field .Volume.Status.here)" != 'not mounted' || break
    sleep 0.1
done
test $i -lt 300 || fail "it does not come down: $answer"
! attached db || fail "the volume was not given back"
test -z "$(losetup -n -O BACK-FILE | grep "$work" || :)" || fail "a loop stays"
test ! -e "$(dirname "$where")" || fail "the directory stays"

# Mounted again: checked, the same, not formatted.
good Mount "{\"Name\":\"db\",\"ID\":\"$id1\"}"
test "$(field .Mountpoint)" = "$where" || fail "$answer"
(cd "$where" && sha256sum --quiet -c "$work/sums") || fail "after the remount"
test "$(cat "$where/more")" = more || fail "more is not there"
test "$(grep -c event=formatted "$work/plugin.log")" = 1 || fail "formatted"
good Unmount "{\"Name\":\"db\",\"ID\":\"$id1\"}"
settled db 'not mounted'

# Killed, one or the other: the file system is dead until it was unmounted and
# mounted again, and that works, also after another had the volume meanwhile.
for dead in nbdfuse nbdkit; do
    good Mount "{\"Name\":\"db\",\"ID\":\"$id1\"}"
    case $dead in
    nbdfuse) kill -KILL "$(cat "$work"/run/*/nbdfuse.pid)" ;;
    nbdkit) kill -KILL "$(cat "$work"/run/*/nbdkit.pid)" ;;
    esac || fail "there is no $dead: $(ls "$work"/run/*)"
    sleep 2 # what the kernel remembers of the file is forgotten
    good Unmount "{\"Name\":\"db\",\"ID\":\"$id1\"}"
    for ((i = 0; i < 900; i++)); do
        good Get '{"Name":"db"}'
        test "$(field .Volume.Status.here)" != 'not mounted' || break
        sleep 0.1
    done
    test $i -lt 900 || fail "$dead was killed, it does not come down: $answer"
    serve other volume=db wait=30
    unserve "$nbdkit_pid"
    good Mount "{\"Name\":\"db\",\"ID\":\"$id1\"}"
    (cd "$where" && sha256sum --quiet -c "$work/sums") ||
        fail "after the death of $dead"
    good Unmount "{\"Name\":\"db\",\"ID\":\"$id1\"}"
    settled db 'not mounted'
done

# Not ours to format: it holds something.
sandbox start "$victim"
wait_healthy
good Create '{"Name":"raw","Opts":{"size":"64M"}}'
serve raw volume=raw
qemu-io -f raw -c "write -P 7 1M 4k" "$uri" >"$work/io.log" 2>&1 ||
    fail "$(cat "$work/io.log")"
unserve "$nbdkit_pid"
bad 500 'holds data without a signature' \
    Mount "{\"Name\":\"raw\",\"ID\":\"$id1\"}"
! attached raw || fail "raw was not given back after the refusal"
# Written and zeroed again: it looks empty, and is not new.
serve raw2 volume=raw
qemu-io -f raw -c "write -z 1M 4k" "$uri" >"$work/io.log" 2>&1
unserve "$nbdkit_pid"
bad 500 'is not new: it was written to' \
    Mount "{\"Name\":\"raw\",\"ID\":\"$id1\"}"
good Remove '{"Name":"raw"}'
good Remove '{"Name":"db"}'
echo "first mount of a new volume: $first ms"

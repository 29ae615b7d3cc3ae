#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# `kenter doctor`: each thing it looks for is made, in a tree of files that it
# takes for the machine, with a real hub and driver and an engine of canned
# answers; and it says nothing where nothing is wrong.
. "${top_srcdir:?}/tests/docker/lib.sh"
need socat nbdkit qemu-io

root=$work/root
api_sock=$root/run/docker/plugins/kenter.sock
boot=$(tr -d - </proc/sys/kernel/random/boot_id)
none=00000000000000000000000000000abc
mkdir -p "$root"/{run/docker/plugins,run/kenter/attach,proc/self} \
    "$root"/{proc/sys/kernel,sys/block,sys/module/nbd,lib/modules/6.1.0-x}
echo 6.1.0-x >"$root/proc/sys/kernel/osrelease"
: >"$root/proc/self/mountinfo"
export KENTER_DOCTOR_CLOCK=set

# The engine: a file for each path.
cat >"$work/engine.sh" <<'E2'
read -r _ target _
while read -r line && test -n "${line%$'\r'}"; do :; done
printf 'HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n'
cat "$ENGINE$target"
E2
mkdir "$work/engine"
export ENGINE=$work/engine
engine() { # PLUGINS VOLUMES, as JSON
    echo "{\"Plugins\":{\"Volume\":$1}}" >"$ENGINE/info"
    echo "{\"Volumes\":$2}" >"$ENGINE/volumes"
}
engine '["local","kenter"]' '[]'
socat "UNIX-LISTEN:$root/run/docker.sock,fork" "EXEC:bash $work/engine.sh" \
    2>"$work/engine.log" &
started+=($!)

# doctor EXIT: its answer in $answer.
doctor() {
    local rc=0
    answer=$("$kenter" doctor --root "$root" --json 2>"$work/doctor.log") ||
        rc=$?
    test $rc = "$1" || fail "exit $rc, not $1: $answer"
}

# says STATE CHECK TEXT FIX: one finding, and no other of its kind.
says() {
    local of
    of=$(jq -c ".findings[] | select(.state == \"$1\")" <<<"$answer")
    test "$(grep -c . <<<"$of")" = 1 || fail "not one $1: $answer"
    test "$(jq -r .check <<<"$of")" = "$2" || fail "$of is not of $2"
    jq -r .text <<<"$of" | grep -qF -- "$3" || fail "no '$3' in $of"
    jq -r .fix <<<"$of" | grep -qF -- "$4" || fail "no '$4' in $of"
}

quiet() {
    doctor 0
    jq -e '.problems == 0 and .warnings == 0' <<<"$answer" >/dev/null ||
        fail "$1: $answer"
}

mount_line() { # WHERE SOURCE OPTIONS
    echo "40 1 43:0 / $1 rw,nosuid,nodev - ext4 $2 $3" \
        >"$root/proc/self/mountinfo"
}

attached() { # NAME ID INDEX
    mkdir -p "$root/run/kenter/attach/$1"
    printf '{"version":1,"name":"%s","id":"%s","boot":"%s","index":%d,
        "size":4194304,"pid":0,"start":0,"context":""}' "$1" "$2" "$boot" \
        "$3" >"$root/run/kenter/attach/$1/info.json"
    : >"$root/run/kenter/attach/$1/lock"
}

device() { # INDEX ID
    mkdir -p "$root/sys/block/nbd$1"
    echo 1 >"$root/sys/block/nbd$1/pid"
    echo "$2" >"$root/sys/block/nbd$1/backend"
}

sandbox_up --nodes 1 --capacity 256M
for ((i = 0; i < 100; i++)); do
    test ! -S "$root/run/docker.sock" || break
    sleep 0.1
done
here=$(jq -r .node "$KENTER_CONTEXT")
jq '.node = "n1"' "$KENTER_CONTEXT" >"$work/context.json"
export KENTER_CONTEXT=$work/context.json
test -n "$here" || fail "a context without a node"

# ---- the driver ----
doctor 1
says problem driver 'there is no socket' 'systemctl enable --now'
plugin_up
good Create '{"Name":"db","Opts":{"size":"4M"}}'
id=$(k volume inspect db --json | jq -r .id)
quiet "nothing is wrong yet"
plugin_kill KILL
doctor 1
says problem driver 'nobody listens at' 'systemctl restart'
plugin_up

# ---- the engine ----
engine '["local"]' '[]'
doctor 1
says problem docker 'does not know the driver' 'docker volume ls'
engine '["local","kenter"]' '[{"Name":"db","Driver":"local"},
    {"Name":"other","Driver":"local"}]'
doctor 1
says problem docker "not the cluster's db" 'docker volume rm db'
engine '["local","kenter"]' '[{"Name":"db","Driver":"kenter",
    "Options":{"size":"8M","replicas":"1"}}]'
doctor 0
says warning docker 'size=8388608' 'systemctl restart docker'
engine '["local","kenter"]' '[{"Name":"db","Driver":"kenter",
    "Options":{"capacity":"4M"}}]'
quiet "the options are the same"
engine '["local","kenter"]' '[{"Name":"gone","Driver":"kenter"}]'
doctor 0
says warning docker 'the cluster does not have' 'docker volume rm -f gone'
echo nonsense >"$ENGINE/info"
doctor 1
says problem docker 'does not answer' 'systemctl restart docker'
engine '["local","kenter"]' '[]'

# A volume that the driver cannot mount.
echo 'mount the file system is damaged' >"$stub/fail"
bad 500 damaged Mount '{"Name":"db","ID":"1"}'
rm "$stub/fail"
engine '["local","kenter"]' '[{"Name":"db","Driver":"kenter"}]'
doctor 1
says problem docker 'the file system is damaged' 'journalctl'
good Mount '{"Name":"db","ID":"1"}'
quiet "it is mounted now"

# ---- file systems ----
at=/var/lib/kenter/volumes/$id
device 0 "$id"
attached db "$id" 0
exec 8<>"$root/run/kenter/attach/db/lock"
flock 8 # as a kenter-attachd does
mount_line "$at" /dev/nbd0 rw,errors=remount-ro
quiet "a mounted volume"
mount_line "$at" /dev/nbd0 ro,errors=remount-ro
doctor 1
says problem mounts 'has become read-only' 'docker restart'
mount_line "/var/lib/kenter/volumes/$none" /dev/nbd0 rw
doctor 1
says problem mounts 'no volume of that id' "umount /var/lib/kenter"
mount_line "$at" /dev/nbd1 rw
doctor 1
says problem mounts 'its device /dev/nbd1 is gone' "umount $at"
mount_line "$at" /dev/nbd0 rw
good Unmount '{"Name":"db","ID":"1"}'
settled db 'not mounted'
doctor 1
says problem mounts 'the driver does not know of it' "umount $at"
mount_line /somewhere /dev/nbd0 ro
quiet "somebody else's file system"

# ---- devices ----
exec 8>&- # it has died
doctor 1
says problem devices 'has died' 'kenter volume attach db'
rm "$root/sys/block/nbd0/pid"
doctor 0
says warning devices 'its device is gone' 'kenter volume detach db'
rm -r "$root/run/kenter/attach/db"
device 3 "$id"
doctor 1
says problem devices '/dev/nbd3 is the volume db' 'nbd-client -d /dev/nbd3'
echo someone >"$root/sys/block/nbd3/backend"
quiet "somebody else's device"

# ---- kernel, clock, store, hub ----
rmdir "$root/sys/module/nbd"
doctor 0
says warning kernel 'no nbd driver' 'apt install linux-image'
echo kernel/drivers/block/nbd.ko: >"$root/lib/modules/6.1.0-x/modules.dep"
quiet "the kernel can load it"
KENTER_DOCTOR_CLOCK=unset doctor 0
says warning clock 'not set by any time server' timedatectl
"$kenter" doctor --root "$root" >"$work/text" || fail "$(cat "$work/text")"
grep -q '^ok  *hub ' "$work/text" && tail -n 1 "$work/text" |
    grep -qx '0 problems, 0 warnings' || fail "$(cat "$work/text")"

# Written to until the hub hears that it is full enough.
k volume create big --size 256M >/dev/null
serve big volume=big
for ((i = 0; i < 62; i++)); do
    qemu-io -f raw -c "write -P 1 $((i * 4))M 4M" "$uri" >"$work/io.log" \
        2>&1 || fail "$(cat "$work/io.log")"
    "$kenter" node ls --json |
        jq -e '.nodes[0].stores[0] | .used * 100 / .size > 86' >/dev/null &&
        break
    sleep 0.2
done
unserve "$nbdkit_pid"
doctor 0
says warning store '% full: no replica is copied to it' 'fstrim -a'
k volume rm big >/dev/null
for ((i = 0; i < 300; i++)); do
    "$kenter" node ls --json |
        jq -e '.nodes[0].stores[0] | .used * 100 / .size < 80' >/dev/null &&
        break
    sleep 0.1
done
quiet "there is room again"

"$kenter" sandbox kill n1 --dir "$dir" >/dev/null
for ((i = 0; i < 300; i++)); do
    "$kenter" node ls --json | jq -e '.nodes[0].state != "up"' >/dev/null &&
        break
    sleep 0.1
done
doctor 1
says problem store 'the hub says that this node, n1, is' kenter-replicator
"$kenter" sandbox start n1 --dir "$dir" >/dev/null
"$kenter" sandbox kill hub --dir "$dir" >/dev/null
doctor 1
says problem hub 'the hub is not reached' 'systemctl restart kenter-hub'
KENTER_CONTEXT=/nowhere doctor 1
says problem hub '/nowhere' 'kenter status --context'
echo "each of its findings was made, and none without"

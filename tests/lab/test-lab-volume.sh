#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The volume plugin on the kernel's nbd driver, asked as the engine asks: a
# volume is mounted and written with fsync while each program dies in turn,
# comes down, goes up on the other machine, and is sound.
. "${top_srcdir:?}/tests/lab/lib.sh"
need mkfs.ext4 e2fsck curl nbd-client
id1=$(printf '%064d' 1)
id2=$(printf '%064d' 2)

# The plugin and a way to ask it, on a machine.
plugin_on() { # M
    must "$1" "export PATH=$top_builddir:\$PATH KENTER_CONTEXT=/run/context.json
        mkdir -p /run/p
        setsid '$top_builddir/kenter-volplugin' --socket /run/p/kenter.sock \
            --dir /run/p/catalogue --mounts /run/p/volumes --run $run \
            </dev/null >>/run/p/log 2>&1 &
        for i in {1..600}; do
            ! curl -s -m 5 --unix-socket /run/p/kenter.sock -X POST \
                http://x/Plugin.Activate >/dev/null || exit 0
            sleep 0.1
        done
        cat /run/p/log; exit 1" >/dev/null
}

ask() { # M METHOD BODY
    on "$1" "curl -s -m 120 --unix-socket /run/p/kenter.sock -X POST \
        -H Content-Type: -d $(printf %q "$3") http://x/VolumeDriver.$2"
}

good() { # M METHOD BODY -> $answer
    answer=$(ask "$@")
    test "$(jq -r '.Err == ""' <<<"$answer" 2>/dev/null)" = true ||
        fail "$*: $answer $(on "$1" 'cat /run/p/log; dmesg | tail -n 5')"
}

here() { # M NAME PHASE: waits until it is so
    local i
    for ((i = 0; i < lab_patience * 2; i++)); do
        good "$1" Get "{\"Name\":\"$2\"}"
        test "$(jq -r .Volume.Status.here <<<"$answer")" != "$3" || return 0
        sleep 0.5
    done
    fail "$2 is not $3 on $1: $answer $(on "$1" 'tail -n 20 /run/p/log')"
}

cluster_up 3
lab_up 2 400
lab_cli m1
lab_cli m2
plugin_on m1
plugin_on m2
must m1 "grep -q attach=nbd /run/p/log" || fail "not by the kernel's driver"

good m1 Create '{"Name":"db","Opts":{"size":"256M","segment":"64M"}}'
begin=$(date +%s%N)
good m1 Mount "{\"Name\":\"db\",\"ID\":\"$id1\"}"
first=$((($(date +%s%N) - begin) / 1000000))
where=$(jq -r .Mountpoint <<<"$answer")
must m1 "grep ' $(dirname "$where") ' /proc/self/mounts" >"$work/line"
for o in /dev/nbd ext4 nosuid nodev noatime; do
    grep -q "$o" "$work/line" || fail "no $o: $(cat "$work/line")"
done

# By hand it is not to be had as well, and not taken away.
out=$(on m1 "$cli volume detach db") && fail "a mounted volume was detached"
grep -q "mounted at" <<<"$out" || fail "not the reason: $out"

write_on m1 "$where"
goes_on m1 nobody
for who in nbdkit kenter-attachd both plugin hub n1 n2; do
    case $who in
    nbdkit) must m1 'pkill -KILL -x nbdkit' ;;
    kenter-attachd)
        must m1 "p=\$(pgrep -x nbdkit) && pkill -KILL -x kenter-attachd &&
            for i in {1..100}; do
                ! pgrep -x kenter-attachd >/dev/null || break
                sleep 0.2
            done
            pgrep -x kenter-attachd && test \"\$(pgrep -x nbdkit)\" = \"\$p\"" \
            >/dev/null
        ;;
    both) must m1 'pkill -KILL -x kenter-attachd && pkill -KILL -x nbdkit' ;;
    plugin)
        must m1 'pkill -KILL -x kenter-volplugi'
        goes_on m1 "$who"
        plugin_on m1
        good m1 Get '{"Name":"db"}'
        test "$(jq -r .Volume.Mountpoint <<<"$answer")" = "$where" ||
            fail "it was forgotten: $answer"
        ;;
    hub)
        daemon_kill hub
        goes_on m1 "$who"
        hub_start
        ;;
    n*)
        daemon_kill $who
        goes_on m1 "$who"
        replicator_start $who
        wait_healthy
        ;;
    esac
    goes_on m1 "$who"
done

# Meanwhile the other machine: it waits for whoever is there to let go, then
# says whose it is; and when he does let go, it has it.
(
    answer=$(ask m2 Mount "{\"Name\":\"db\",\"ID\":\"$id2\"}")
    grep -q "mounted on one node at a time" <<<"$answer" &&
        grep -q "node m1" <<<"$answer" || echo "m2: $answer" >"$work/m2.wrong"
) &
refusal=$!
begin=$SECONDS
wait $refusal
took=$((SECONDS - begin))
test ! -e "$work/m2.wrong" || fail "$(cat "$work/m2.wrong")"
test $took -ge 60 || fail "it did not wait, but $took s"
must m2 "! ls $run/attach/db 2>/dev/null && ! pgrep -x nbdkit" >/dev/null

write_end m1
files=$(promised m1)
worst=$(must m1 'cat /run/worst')

# Unmounted while kenter-attachd and nbdkit are dead, and nobody is told.
ask m2 Mount "{\"Name\":\"db\",\"ID\":\"$id2\"}" >"$work/m2.mount" &
mounting=$!
must m1 'pkill -KILL -x kenter-attachd && pkill -KILL -x nbdkit'
good m1 Unmount "{\"Name\":\"db\",\"ID\":\"$id1\"}"
here m1 db 'not mounted'
must m1 "! pgrep -x nbdkit && ! pgrep -x kenter-attachd &&
    ! ls $run/attach/db 2>/dev/null && test ! -e /sys/block/nbd0/pid" >/dev/null
wait $mounting
jq -e '.Err == ""' "$work/m2.mount" >/dev/null || fail "$(cat "$work/m2.mount")"
where2=$(jq -r .Mountpoint "$work/m2.mount")
must m1 'cat /run/promised' >"$work/promised"
must m2 "cat >/run/promised <<'P'
$(cat "$work/promised")
P
    $(written "$where2")"

# The plugin dies between attach and mount: what is left goes by itself, and
# the volume with it. (Here: unmounted behind its back.)
must m2 "pkill -KILL -x kenter-volplugi; umount $(dirname "$where2")"
plugin_on m2
here m2 db 'not mounted'
for ((i = 0; i < lab_patience; i++)); do
    ! k volume inspect db --json | jq -e '.holder == null' >/dev/null || break
    sleep 1
done
test $i -lt $lab_patience || fail "the volume was not given back"

# Attached by hand it is not the plugin's.
dev=$(must m1 "$cli volume attach db")
answer=$(ask m1 Mount "{\"Name\":\"db\",\"ID\":\"$id1\"}")
grep -q "attached on this node by hand, as $dev" <<<"$answer" ||
    fail "$answer"
must m1 "e2fsck -f -n $dev" >/dev/null
must m1 "$cli volume detach db" >/dev/null
echo "first mount $first ms; $files files, 7 deaths, longest pause $worst ms;" \
    "refused after $took s"

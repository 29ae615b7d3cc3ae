#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The volume plugin on the kernel's nbd driver, asked as the engine asks: a
# volume is mounted and written with fsync while each program dies in turn,
# comes down, goes up on the other machine, and is sound.
. "${top_srcdir:?}/tests/lab/lib.sh"
. "$lab_src/plugin.sh"
need mkfs.ext4 e2fsck curl nbd-client
id1=$(printf '%064d' 1)
id2=$(printf '%064d' 2)

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
        goes_on_without m1 $who
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
# Space goes back in between, and what is written meanwhile stays right.
must m1 "grep 'event=trimmed' /run/p/log | grep -qv 'bytes=0'" ||
    fail "nothing was trimmed"
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

# A shutdown: docker is gone, the plugin is gone, something is mounted.
all_over() { # EXIT-STATUS
    local rc=0
    must m1 "pkill -KILL -x kenter-volplugi
        while pgrep -x kenter-volplugi >/dev/null; do sleep 0.1; done"
    on m1 "'$top_builddir/kenter-attachd' --run-dir $run --end-all" || rc=$?
    test $rc = "$1" || fail "--end-all: exit $rc, not $1"
    must m1 "! grep nbd /proc/self/mounts && ! pgrep -x nbdkit &&
        ! pgrep -x kenter-attachd && ! ls $run/attach/db 2>/dev/null"
    must m1 "rm -rf $run/*"
}
good m1 Mount "{\"Name\":\"db\",\"ID\":\"$id1\"}"
must m1 "cp -r /etc/ssl $where/ && mkdir -p /run/again &&
    mount --bind $where /run/again"
all_over 0
plugin_on m1
good m1 Mount "{\"Name\":\"db\",\"ID\":\"$id1\"}"
must m1 "diff -r /etc/ssl $where/ssl && echo late >$where/late"
# And with nobody left to write to: it goes down all the same.
for n in n1 n2 n3; do daemon_kill $n; done
begin=$SECONDS
all_over 1
end=$((SECONDS - begin))
test $end -lt 80 || fail "a shutdown without a cluster takes $end s"
echo "first mount $first ms; $files files, 7 deaths, longest pause $worst ms;" \
    "refused after $took s, ended by force after $end s"

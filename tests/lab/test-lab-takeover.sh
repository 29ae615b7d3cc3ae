#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A machine holds a volume, a file system on it is written with fsync, and it
# is gone: without power, cut from the hub alone (so that it goes on writing),
# cut from everything. The other machine attaches without stealing, finds all
# that was synced, and the first one harms nothing when it is back.
. "${top_srcdir:?}/tests/lab/lib.sh"
need mkfs.ext4 e2fsck iptables
mkfs=$top_builddir/kenter-mkfs
iptables -L INPUT >/dev/null 2>&1 || skip "this machine has no iptables"

# What M promises, as it does, in $work/promised: M may not live to be asked.
follow() { # M
    : >"$work/promised"
    lab_ask "$1" 600 'touch /run/promised; tail -n +1 -f /run/promised' \
        >"$work/promised" 2>/dev/null &
    follower=$!
    started+=("$follower")
}

unfollow() {
    kill "$follower" 2>/dev/null
    wait "$follower" 2>/dev/null
    # a line that is not whole was not promised to us
    test -z "$(tail -c 1 "$work/promised")" || sed -i '$d' "$work/promised"
}

lines() {
    wc -l <"$work/promised"
}

cut() { # M hub|all
    local port=9720:9799
    test "$2" = all || port=9720
    iptables -I INPUT -s "$(lab_addr "$1")" -p tcp --dport $port -j DROP &&
        iptables -I OUTPUT -d "$(lab_addr "$1")" -p tcp --sport $port -j DROP ||
        fail "no rule against $1"
}

heal() {
    iptables -F INPUT && iptables -F OUTPUT
}

# A machine that was a holder has to forget it before the next round.
clear_up() { # M
    must "$1" "touch /run/stop
        for i in {1..600}; do
            test ! -e /run/writer || test ! -e /run/writer.done || break
            sleep 0.1
        done
        test -e /run/writer.done && umount /run/mnt || exit 1
        $cli volume detach v --force
        rm -f /run/stop /run/writer* /run/promised /run/worst" >/dev/null
}

raw_sum() { # M DEVICE
    must "$1" "dd if=$2 bs=1M iflag=direct status=none | md5sum"
}

same() { # M SECONDS [COMMAND]: the disk stays as it is all that time
    local sum looked=$(date +%s%N)
    sum=$(raw_sum "$1" "$dev")
    ${3:-:}
    sleep "$2"
    test "$(raw_sum "$1" "$dev")" = "$sum" || fail "$kind: who lost it wrote"
    begin=$((begin + $(date +%s%N) - looked)) # takeover's: this was not it
}

# takeover A B KIND
takeover() {
    local a=$1 b=$2 kind=$3 begin before at_grant
    must "$a" "mkdir /run/mnt/$kind"
    follow "$a"
    write_on "$a" "/run/mnt/$kind"
    goes_on "$a" nobody
    before=$(lines)
    case $kind in
    dead) power_cut "$a" ;;
    *) cut "$a" "$kind" ;;
    esac
    begin=$(date +%s%N)
    dev=$(must "$b" "$cli volume attach v --wait 80")
    at_grant=$(lines)
    test $kind = dead || same "$b" 0.5
    # 1: it has mended something, which is the journal here
    must "$b" "e2fsck -p $dev >/run/fsck; rc=\$?
        test \$rc -le 1 || { cat /run/fsck; exit 1; }
        $mkfs --check $dev >/dev/null || exit 1"
    if test $kind != dead; then
        # Nothing of A's may be in what B has now: not before the cut is
        # healed, not after.
        same "$b" 5 heal
    fi
    must "$b" "mount $dev /run/mnt"
    took=$((($(date +%s%N) - begin) / 1000000))
    test $took -lt 90000 || fail "$kind: after $took ms"
    unfollow
    case $kind in
    hub) test $at_grant -gt $((before + 2)) || fail "A did not go on" ;;
    esac
    test "$(lines)" -le $((at_grant + 1)) ||
        fail "$kind: $(($(lines) - at_grant)) syncs of A after the grant"
    must "$b" "cat >/run/theirs <<'P'
$(cat "$work/promised")
P
        $(written "/run/mnt/$kind" /run/theirs)
        echo here >/run/mnt/$kind.$b && sync -f /run/mnt"
    said+=" $kind: $(lines) files, $took ms;"
}

cluster_up 3
k volume create v --size 96M --segment 32M
lab_up 2 400
lab_cli m1
lab_cli m2
said=

dev=$(must m1 "$cli volume attach v")
must m1 "$mkfs --never-formatted $dev && mount $dev /run/mnt" >/dev/null
takeover m1 m2 dead
power_on m1
lab_cli m1
out=$(on m1 "$cli volume attach v --wait 1") && fail "two have the volume"
grep -q "node m2" <<<"$out" || fail "not who has it: $out"
must m1 "! ls -d $run/attach/v 2>/dev/null && ! pgrep -x nbdkit" >/dev/null

takeover m2 m1 hub
clear_up m2
takeover m1 m2 all
clear_up m1
must m2 "umount /run/mnt && e2fsck -f -n $dev && mount $dev /run/mnt &&
    cat /run/mnt/*.m? && umount /run/mnt && $cli volume detach v" >/dev/null
k volume verify v >/dev/null
echo "taken over:$said e2fsck clean"

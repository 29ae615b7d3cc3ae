#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A volume comes back from raw store directories, byte by byte: from each of
# three alone, from three that are damaged in different places, from stores
# whose replicators were killed. Nothing in the directories is changed, and
# what cannot be given back is named.
. "${top_srcdir:?}/tests/e2e/lib.sh"
need nbdkit nbdcopy qemu-io jq perl cmp sha256sum

sandbox_up --nodes 3 --capacity 192M --segment 16M
k volume create v --size 40M
k volume create other --size 8M
serve other volume=other
qemu-io -f raw -t none -c 'write -P 0x11 0 8M' -c flush "$uri" \
    >"$work/io.log" || fail "$(cat "$work/io.log")"
unserve "$nbdkit_pid"

# Two and a half segments: random data, holes, zeroed and overwritten parts.
perl -e 'srand 7; for (1 .. 640) { my $r = rand;
    print $r < 0.3 ? "\0" x 65536
        : pack("Q*", map { rand 2**53 } 1 .. 8192) }' \
    >"$work/src"
serve v volume=v
nbdcopy --flush "$work/src" "$uri" || fail "nbdcopy fails"
sleep 3 # into the slots
qemu-io -f raw -t none -c 'write -P 0x5a 1M 64k' -c 'write -P 0x77 20M 1M' \
    -c 'write -z 4M 4M' -c 'discard 33M 2M' -c 'write -P 0x01 39M 4k' \
    -c flush "$uri" >"$work/io.log" || fail "$(cat "$work/io.log")"
nbdcopy "$uri" "$work/want" || fail "nbdcopy fails"
id=$(k volume inspect v --json | jq -r .id)

# Everybody is killed at once: the last writes are in the logs only.
for node in n1 n2 n3 hub; do sandbox kill $node; done
kill -KILL "$nbdkit_pid" 2>/dev/null
"$kenter" sandbox down --dir "$dir" >/dev/null 2>&1

# stores TAG: a fresh copy of the three directories.
stores() {
    local n
    mkdir "$work/$1" || fail "no room"
    for n in n1 n2 n3; do
        wait_free $n
        cp -a --sparse=always "$dir/$n/store" "$work/$1/$n"
    done
}

sums() {
    (cd "$work/$1" && find . -type f -printf '%p %s %T@ %m\n' | sort &&
        find . -type f -print0 | sort -z | xargs -0 sha256sum)
}

# recover OUT ARGUMENTS: exit status in $rc, what it said in $work/said.
recover() {
    local out=$1
    shift
    rm -f "$work/$out"
    rc=0
    "$kenter" recover "$@" --output "$work/$out" >"$work/said" 2>&1 || rc=$?
}

same() {
    test "$rc" = 0 || fail "$1: exit $rc: $(cat "$work/said")"
    cmp "$work/want" "$work/out" || fail "$1: the image differs"
}

stores raw
sums raw >"$work/before"
for n in n1 n2 n3; do
    recover out --stores "$work/raw/$n" --volume v
    same "from $n alone"
done
recover out "$work/raw/n1" "$work/raw/n2" "$work/raw/n3" --volume "$id" --json
same "by id"
jq -e '.whole and .size_exact and .size == 41943040 and .segments == 3' \
    "$work/said" >/dev/null || fail "$(cat "$work/said")"
k recover --stores "$work"/raw/n? >"$work/list"
grep -Eq "^v +$id +40 MiB +3 of 3\$" "$work/list" || fail "$(cat "$work/list")"
grep -q '^other ' "$work/list" || fail "the other volume is not listed"
k recover "$work"/raw/n? --volume v --dry-run >"$work/said"
sums raw >"$work/after"
cmp "$work/before" "$work/after" || fail "a store was changed"

# Also where nothing can be written.
chmod -R a-w "$work/raw/n1"
recover out --stores "$work/raw/n1" --volume v
same "from one that is not writable"
chmod -R u+w "$work/raw/n1"

# ---- three stores, each damaged in another place ----
cat >"$work/rot.pl" <<'PL'
# rot.pl FILE EVERY FIRST LAST: flips a byte in each so many bytes.
my ($f, $every, $at, $end) = @ARGV;
open(my $h, '+<:raw', $f) or die "$f: $!";
$end ||= -s $h;
for (; $at < $end; $at += $every) {
    seek $h, $at, 0; read $h, my $b, 1; seek $h, $at, 0;
    print $h chr(ord($b) ^ 0x40);
}
PL
rot() {
    perl "$work/rot.pl" "$work/$1" "$2" "$3" "${4:-0}" || fail "rot $*"
}

stores a # index of one, half the data of another, sums of the third
rot a/n1/meta.mdb 4096 100
rot a/n2/data.000 8192 123
rot a/n3/csum.000 16 3
recover out --stores "$work"/a/n? --volume v
same "index, data, sums"
grep -q 'the index is damaged' "$work/said" || fail "$(cat "$work/said")"

stores b # superblocks, the log, one file of data
rot b/n1/super.a 512 9
rot b/n1/super.b 512 9
log=$(cd "$work/b/n2" && ls log.* | head -n 1)
rot "b/n2/$log" 65536 70000
truncate -s 3M "$work/b/n3/data.000"
recover out --stores "$work"/b/n? --volume v
same "superblocks, log, data cut off"

stores c # the log of each in another place, and rot in disjoint slots
for i in 1 2 3; do
    for log in "$work/c/n$i"/log.*; do
        rot "c/n$i/${log##*/}" 196608 $((4096 + i * 65536 + 300))
    done
    rot "c/n$i/data.000" 16384 $((i * 4096 + 77))
done
recover out --stores "$work"/c/n? --volume v
same "logs and slots of all"

# ---- what cannot be given back is named ----
stores d
for i in 1 2 3; do
    at=$(perl -e 'local $/; open F, "<:raw", $ARGV[0] or die; my $d = <F>;
        open W, "<:raw", $ARGV[1] or die; seek W, 17 * 1048576 + 8192, 0;
        for (;;) { read W, my $s, 4096; last if $s =~ /[^\0]/ }
        seek W, -4096, 1; my $o = tell W; read W, my $s, 4096;
        my $p = index($d, $s); die "not there" if $p < 0; print "$p $o"' \
        "$work/d/n$i/data.000" "$work/want") || fail "no such sector in n$i"
    rot "d/n$i/data.000" 4096 "${at% *}" $((${at% *} + 1))
done
off=${at#* }
recover out --stores "$work"/d/n? --volume v --json
test "$rc" = 1 || fail "loss is not an error: $rc"
sed -n '/^{/,/^}/p' "$work/said" |
    jq -e --argjson o "$off" '(.whole | not) and .damage ==
        [{kind: "lost", offset: $o, length: 4096}]' >/dev/null ||
    fail "$(cat "$work/said")"
cmp -l "$work/want" "$work/out" | awk -v o="$off" \
    '$1 <= o || $1 > o + 4096 { bad = 1 } END { exit bad }' ||
    fail "more than the lost sector differs"

# ---- the newest content wins ----
"$kenter" sandbox up --dir "$dir" >"$work/up.log" 2>&1 ||
    fail "$(cat "$work/up.log")"
wait_healthy 60
sandbox kill n1
serve v volume=v steal=true
qemu-io -f raw -t none -c 'write -P 0x42 2M 256k' -c 'write -P 0x43 24M 256k' \
    -c flush "$uri" >"$work/io.log" || fail "$(cat "$work/io.log")"
cp "$work/want" "$work/old"
nbdcopy "$uri" "$work/want" || fail "nbdcopy fails"
cmp -s "$work/old" "$work/want" && fail "nothing was written"
for node in n3 n2 hub; do sandbox kill $node; done
kill -KILL "$nbdkit_pid" 2>/dev/null
"$kenter" sandbox down --dir "$dir" >/dev/null 2>&1
stores e
recover out --stores "$work"/e/n? --volume v
same "one of three is old"
recover out "$work/e/n1" "$work/e/n3" --volume v
same "the old one and a new one"
rot e/n3/data.000 8192 500
recover out "$work/e/n1" "$work/e/n3" --volume v
same "a new one, with the old one for what is damaged in it"

# ---- refusals ----
refuse() { # PATTERN ARGUMENTS
    local pattern=$1
    shift
    rc=0
    "$kenter" recover "$@" >"$work/said" 2>&1 || rc=$?
    test $rc != 0 || fail "not refused: $*"
    grep -q "$pattern" "$work/said" || fail "$*: $(cat "$work/said")"
}
mkdir "$work/empty"
refuse 'there is no store in' "$work/empty" --volume v --output "$work/x"
refuse 'cannot open' "$work/nowhere" --volume v --output "$work/x"
refuse 'no volume nix' "$work/raw/n1" --volume nix --output "$work/x"
refuse 'exists' "$work/raw/n1" --volume v --output "$work/out"
refuse 'same store' "$work/raw/n1" "$work/a/n1" --volume v --output "$work/x"
refuse 'volume is missing' "$work/raw/n1" --output "$work/x"
refuse 'output is missing' "$work/raw/n1" --volume v
echo 00112233445566778899aabbccddeeff >"$work/a/n2/cluster"
refuse 'different clusters' "$work/raw/n1" "$work/a/n2" --volume v \
    --output "$work/x"
test ! -e "$work/x" || fail "a refusal left a file"
background flock -x "$work/raw/n1/lock" sleep 60
for ((i = 0; i < 100; i++)); do
    flock -n -x "$work/raw/n1/lock" true || break
    sleep 0.05
done
refuse 'is in use' "$work/raw/n1" --volume v --output "$work/x"

#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Bits flip in data, sums, log and index of one node while all run and the
# volume is written and read: no read is wrong, none fails, and what rotted in
# slots is repaired from the others. What rots in log and index is of no use to
# a running process; the next start finds it, says so, and refuses the store.
# KT_FLIPS_SEED: which bits.
. "${top_srcdir:?}/tests/e2e/lib.sh"
need nbdkit nbdcopy jq perl cmp
seed=${KT_FLIPS_SEED:-$((RANDOM * 32768 + RANDOM))}
echo "seed $seed"

sandbox_up --nodes 3 --capacity 128M
k volume create v --size 48M
perl -e 'srand 9; print pack("Q*", map { rand 2**53 } 1 .. 1048576)
    for 1 .. 4' >"$work/src"
serve v volume=v
nbdcopy --flush "$work/src" "$uri" || fail "nbdcopy fails"
last=$((32 * 1048576 - 4096))
for ((i = 0; i < 100; i++)); do # until it is in the slots
    perl -e 'local $/; open S, "<:raw", $ARGV[0]; seek S, $ARGV[2], 0;
        read S, my $want, 4096; open D, "<:raw", $ARGV[1];
        exit(index(<D>, $want) < 0)' "$work/src" \
        "$dir/n2/store/data.000" $last && break
    sleep 0.2
done

background "$pacer" "$uri" --stop "$work/stop" --sectors 512 \
    --offset $((40 << 20)) --flush-every 8 --pause 4 >"$work/pacer.json"
pacer_pid=$!

# 24 flips a round: 2 of data, 1 of sums (of slots that hold the volume), 12
# of the log, 9 of the index. Two rounds a second.
cat >"$work/flip.pl" <<'PL'
my ($dir, $seed, $index) = @ARGV;
srand $seed;
sub flip {
    my ($f, $first, $len) = @_;
    open(my $h, '+<:raw', $f) or die "$f: $!";
    my $at = $first + int rand($len);
    sysseek $h, $at, 0; sysread $h, my $b, 1;
    sysseek $h, $at, 0; syswrite $h, chr(ord($b) ^ (1 << int rand 8));
}
# Bytes of even sectors, sums of odd ones: of one that lost both nobody can say
# what it was meant to be, and it is left.
flip("$dir/data.000", 8192 * int(rand 4096), 4096) for 1 .. 2;
flip("$dir/csum.000", 16 * int(rand 4096) + 8, 8);
for (1 .. 12) {
    my @logs = glob "$dir/log.*";
    flip($logs[rand @logs], 0, 2 << 20);
}
if ($index) { flip("$dir/meta.mdb", 0, 256 << 10) for 1 .. 9 }
PL

reads=0
round() { # WITH-INDEX
    perl "$work/flip.pl" "$dir/n2/store" $((seed + reads)) "$1" ||
        fail "no flips"
    nbdcopy "$uri" "$work/now" || fail "a read failed"
    cmp -n $((32 << 20)) "$work/src" "$work/now" || fail "a read was wrong"
    reads=$((reads + 1))
}

for ((n = 0; n < 15; n++)); do
    round 0
done
# 45 of data and sums, fewer than make a store faulty: all is put right.
k scrub start --wait --json >"$work/scrub.json"
jq -e '[.nodes[].now.left] == [0, 0, 0]' "$work/scrub.json" >/dev/null ||
    fail "$(cat "$work/scrub.json")"
mended=$(jq '.nodes[] | select(.node == "n2") | .mended' "$work/scrub.json")
bad=$(jq '.nodes[] | select(.node == "n2") | .bad_sectors' "$work/scrub.json")
test "$mended" -gt 20 || fail "n2 mended $mended of $bad"
k scrub start --wait --node n2 --json >"$work/scrub.json"
jq -e '.nodes[0].now.bad == 0' "$work/scrub.json" >/dev/null ||
    fail "$(cat "$work/scrub.json")"
k volume verify v >"$work/verify" || fail "$(cat "$work/verify")"

# The index as well. LMDB may end the process: the others go on.
for ((n = 0; n < 6; n++)); do
    round 1
done
touch "$work/stop"
wait "$pacer_pid" || fail "the writer: $(cat "$work/pacer.json")"
jq -e '.errors == 0 and .wrong == 0' "$work/pacer.json" >/dev/null ||
    fail "$(cat "$work/pacer.json")"

# The next start says what is wrong with the store. What was flipped so far may
# have been written again since: one more, where it counts.
sandbox kill n2
wait_free n2
perl -e 'open F, "+<:raw", $ARGV[0] or die; seek F, 17, 0; read F, $b, 1;
    seek F, 17, 0; print F chr(ord($b) ^ 4)' "$dir/n2/store/meta.mdb"
rc=0
"$top_builddir/kenter-replicator" --check-store "$dir/n2/store" --json \
    >"$work/check.json" || rc=$?
test $rc = 3 || fail "the damage is not seen: $rc"
jq -e '[.problems[].part] | index("index") or index("log")' \
    "$work/check.json" >/dev/null || fail "$(cat "$work/check.json")"
"$kenter" sandbox start n2 --dir "$dir" >"$work/start" 2>&1 &&
    fail "a damaged store is opened"
grep -q 'damaged\|cannot be used' "$work/start" || fail "$(cat "$work/start")"
mv "$dir/n2/store" "$work/bad" # as it says
sandbox start n2
rm -rf "$work/bad"
nbdcopy "$uri" "$work/now" || fail "a read failed"
cmp -n $((32 << 20)) "$work/src" "$work/now" || fail "a read was wrong"
echo "$reads times all was read right; n2 mended $mended sectors of $bad"

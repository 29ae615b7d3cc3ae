# SPDX-License-Identifier: BSD-3-Clause
# The tools people already have, against one volume. $segment is set by the
# test that sources this.
. "$top_srcdir/tests/e2e/lib.sh"
need nbdkit nbdinfo nbdcopy qemu-img qemu-io fio jq

sandbox_up --nodes 3
k volume create v --size 1G --segment "$segment"
serve v volume=v

# What the export says of itself.
test "$(nbdinfo --size "$uri")" = 1073741824 || fail "nbdinfo --size"
for what in flush fua trim zero "fast zero" cache multi-conn; do
    nbdinfo --can ${what// /-} "$uri" || fail "nbdinfo --can $what"
done
nbdinfo "$uri" >"$work/info" || fail nbdinfo
grep -q 'block_size_minimum: 4096' "$work/info" || fail "minimum block size"
nbdinfo --map --totals "$uri" >"$work/map" || fail "nbdinfo --map"
awk '{ if ($NF ~ /hole/ && $2 ~ /100/) ok = 1 } END { exit !ok }' \
    "$work/map" || fail "a new volume is one hole: $(cat "$work/map")"

# A file of 500 MiB, two thirds of it holes, in and out.
truncate -s 500M "$work/in"
for at in 0 3 64 65 200 333 499; do
    dd if=/dev/urandom of="$work/in" bs=1M seek=$at count=1 conv=notrunc \
        status=none
done
dd if=/dev/urandom of="$work/in" bs=1M seek=100 count=60 conv=notrunc \
    status=none
nbdcopy "$work/in" "$uri" || fail "nbdcopy in"
nbdcopy "$uri" "$work/out" || fail "nbdcopy out"
cmp -n 524288000 "$work/in" "$work/out" || fail "what came back differs"
nbdinfo --map --totals "$uri" >"$work/map"
data=$(awk '$NF == "data" { print $1 }' "$work/map")
test "${data:-0}" -ge 70254592 -a "${data:-0}" -le 150000000 ||
    fail "the map tells holes from data: $(cat "$work/map")"

# qemu: convert a qcow2 in, compare.
rm -f "$work/out"
truncate -s 1G "$work/in"
qemu-img convert -f raw -O qcow2 "$work/in" "$work/in.qcow2" || fail convert
qemu-img convert -n -f qcow2 -O raw "$work/in.qcow2" "$uri" ||
    fail "qemu-img convert into the volume"
qemu-img compare -f raw -F raw "$work/in" "$uri" || fail "qemu-img compare"
qemu-io -f raw -t none \
    -c 'write -f -P 0xa1 1M 64k' -c 'read -P 0xa1 1M 64k' \
    -c 'write -P 0xa2 4M 1536' -c 'read -P 0xa2 4M 1536' \
    -c 'write -P 0xa3 8389120 512' -c 'read -P 0xa3 8389120 512' \
    -c 'discard 1M 64k' -c 'read -P 0 1M 64k' \
    -c 'write -z -u 4M 4k' -c 'read -P 0 4M 4k' \
    -c 'write -z 200M 600M' -c 'read -P 0 330M 4M' -c 'flush' \
    "$uri" >"$work/qemu-io.log" 2>&1 || fail "$(cat "$work/qemu-io.log")"
! grep -iE 'failed|error' "$work/qemu-io.log" || fail qemu-io

# fio: four jobs on regions of their own, verified.
fio --name=f --ioengine=nbd --uri="$uri" --rw=randrw --bs=4k --iodepth=32 \
    --numjobs=4 --offset_increment=200m --size=24m --verify=crc32c \
    --verify_fatal=1 --group_reporting >"$work/fio.log" 2>&1 ||
    fail "$(tail -n 20 "$work/fio.log")"

k volume verify v || fail "the replicas differ"
chains=$(k volume inspect v --json | jq '.chains | length')
echo "all tools agree on $chains chain(s)"
unserve "$nbdkit_pid"

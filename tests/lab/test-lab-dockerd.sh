#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The volume plugin under a real dockerd: what a person does with volumes, and
# a container that writes with fsync to /dev/nbdX while each program dies in
# turn and the engine is started again around it.
. "${top_srcdir:?}/tests/lab/lib.sh"
. "$lab_src/engine.sh"

refused() { # M TEXT ARGUMENT...: not 0, with these words
    local out
    out=$(d "$1" "${@:3}") && fail "docker ${*:3} went well: $out"
    grep -qF -- "$2" <<<"$out" || fail "docker ${*:3}: no '$2' in: $out"
}

cluster_up 3
lab_up 1 1000
lab_cli m1
plugin_on m1
engine_on m1 --live-restore
image_on m1
said="dockerd up after $SECONDS s"

# By hand. The names are those of people and of compose, with - and _.
for v in db proj_db proj-db.1; do
    dok m1 volume create -d kenter -o size=64M -o segment=64M $v >/dev/null
done
test "$(dok m1 volume ls -q -f driver=kenter | LC_ALL=C sort | xargs)" = \
    "db proj-db.1 proj_db" ||
    fail "volume ls: $(d m1 volume ls)"
dok m1 volume inspect db >"$work/inspect"
jq -e '.[0] | .Driver == "kenter" and .Scope == "global" and
    .Status.holder == null and .Status.here == "not mounted" and
    .Status.state == "healthy" and (.CreatedAt | length) > 0' \
    "$work/inspect" >/dev/null || fail "inspect: $(cat "$work/inspect")"
refused m1 "size" volume create -d kenter -o sise=64M typo
refused m1 "name" volume create -d kenter -o size=64M 'a b'
refused m1 "no such volume" volume inspect nope
# What is there already, made elsewhere, is there at once.
k volume create byhand --size 64M --segment 64M
for ((i = 0; i < lab_patience * 2; i++)); do
    d m1 volume ls -q | grep -qx byhand && break
    sleep 0.5
done
dok m1 volume inspect byhand >/dev/null

# Both of a project's volumes in one container; and copied up from an image's
# directory, which the file system's lost+found must not be in the way of.
dok m1 run --rm --network none -v proj_db:/a -v proj-db.1:/bin/copy bb \
    sh -c 'echo one >/a/f && ls -a /a && cat /a/f' >"$work/out"
grep -qx one "$work/out" && ! grep -q lost "$work/out" ||
    fail "in the container: $(cat "$work/out")"
dok m1 run --rm --network none -v proj_db:/a bb cat /a/f | grep -qx one ||
    fail "the second container does not see what the first one wrote"
dok m1 run --rm --network none -v byhand:/bin bb ls /bin/busybox >/dev/null

# The writer. `docker cp` mounts and unmounts once more, with the same ID.
writer_on m1
dok m1 run -d --name writer --network none -v db:/data -v /run/w:/w bb \
    sh /w/writer >/dev/null
goes_on m1 nobody
dok m1 cp writer:/data/f1 /run/copied
must m1 "seq 1 2001 | cmp - /run/copied"
dok m1 cp /run/copied writer:/data/copied
goes_on m1 "nobody, but docker cp"
is_so() { # JQ-CONDITION: the catalogue is asked for anew every two seconds
    local i
    for ((i = 0; i < lab_patience * 2; i++)); do
        dok m1 volume inspect db >"$work/inspect"
        ! jq -e ".[0].Status | $1" "$work/inspect" >/dev/null || return 0
        sleep 0.5
    done
    fail "not $1: $(cat "$work/inspect")"
}
is_so '.holder.node == "m1" and .here == "mounted" and (.chains | length) == 1'
refused m1 "in use" volume rm db
refused m1 "in use" volume rm -f db
# Prune takes what is this machine's and unused, and nothing of the cluster.
dok m1 volume create here >/dev/null
dok m1 volume prune -f >"$work/prune"
grep -qx here "$work/prune" || fail "prune left: $(cat "$work/prune")"
test "$(dok m1 volume ls -q -f driver=kenter | wc -l)" = 4 ||
    fail "prune took a volume of the cluster: $(cat "$work/prune")"
k volume inspect db >/dev/null
# In the way of whom the engine does not know of: the driver says no, and why.
dev=$(must m1 "$cli volume attach byhand")
refused m1 "attached on this node" run --rm -v byhand:/a bb ls /a
refused m1 "attached on node m1" volume rm byhand
must m1 "$cli volume detach byhand" >/dev/null
goes_on m1 "nobody, but prune"

# Through a stop and a start: the device is gone in between.
must m1 "touch /run/stop"
dok m1 stop -t 30 writer >/dev/null
is_so '.here == "not mounted" and .holder == null'
must m1 "! pgrep -x nbdkit && ! grep /dev/nbd /proc/self/mounts" ||
    fail "still there after the stop"
must m1 "rm -f /run/w/stop /run/w/writer.done && test ! -s /run/writer.err"
dok m1 start writer >/dev/null
goes_on m1 "nobody, but start"

for who in nbdkit plugin n1 hub engine; do
    case $who in
    nbdkit) must m1 'pkill -KILL -x nbdkit' ;;
    plugin)
        must m1 'pkill -KILL -x kenter-volplugi'
        goes_on m1 "$who"
        plugin_on m1
        ;;
    hub)
        daemon_kill hub
        goes_on m1 "$who"
        dok m1 volume inspect db >/dev/null
        hub_start
        ;;
    n*)
        goes_on_without m1 $who
        ;;
    engine)
        engine_off m1
        goes_on m1 "$who"
        engine_on m1 --live-restore
        test "$(dok m1 inspect -f '{{.State.Running}} {{.RestartCount}}' \
            writer)" = "true 0" || fail "the container was not kept"
        ;;
    esac
    goes_on m1 "$who"
done
write_end m1
files=$(promised m1)
worst=$(must m1 'cat /run/worst')
dok m1 wait writer | grep -qx 0 || fail "the writer failed: $(d m1 logs writer)"

# A new container has all of it, and goes by force.
dok m1 rm writer >/dev/null
dok m1 run -d --name reader --network none -v db:/data -v /run/w:/w bb \
    sh -c "$(written /data /w/promised) && : >/w/read; sleep 1000" >/dev/null
must m1 'for i in {1..300}; do
        test ! -e /run/w/read || exit 0
        sleep 0.2
    done
    docker logs reader; exit 1'
dok m1 rm -f reader >/dev/null
dok m1 volume prune -f >/dev/null
k volume inspect db >/dev/null || fail "prune took what is not in use"
for v in db proj_db proj-db.1; do
    for ((i = 0; i < lab_patience; i++)); do
        out=$(d m1 volume rm $v) && break
        sleep 1
    done
    test $i -lt $lab_patience || fail "$v is not removed: $out"
done
dok m1 volume rm -f byhand >/dev/null
test -z "$(dok m1 volume ls -q -f driver=kenter)" ||
    fail "left: $(d m1 volume ls)"
must m1 "! pgrep -x nbdkit && ! grep /dev/nbd /proc/self/mounts"
echo "$said, $files files, 5 deaths, longest pause $((worst * 10)) ms"

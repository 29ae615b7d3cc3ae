#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The volume driver protocol, method by method, as the engine speaks it, with
# a real hub and real replicators. Attaching is a stub.
. "${top_srcdir:?}/tests/docker/lib.sh"

id1=$(printf '%064d' 1)
id2=$(printf '%064d' 2)
sandbox_up --nodes 3
plugin_up

# Activate, with an empty body and with any.
good Plugin.Activate
test "$(field '.Implements[0]')" = VolumeDriver || fail "$answer"
good Plugin.Activate '{}'
good Capabilities '{}'
test "$(field .Capabilities.Scope)" = global || fail "$answer"
good List '{}'
test "$(field '.Volumes | length')" = 0 || fail "$answer"
bad 404 'no method' VolumeDriver.Frobnicate '{}'
bad 404 'no method' Network.Activate '{}'
for m in Create Remove Mount Unmount Path Get List Capabilities; do
    bad 400 'no body' $m ''
done

# Create: with null options, with some; twice; with others.
good Create '{"Name":"plain","Opts":null}'
good Create '{"Name":"plain"}'
good Create '{"Name":"plain","Opts":{}}'
test "$(k volume inspect plain --json | jq .size)" = $((10 << 30)) ||
    fail "the default size"
opts='{"size":"64M","repl":"2","fs":"xfs","mode":"0750"}'
good Create "{\"Name\":\"db\",\"Opts\":$opts}"
good Create "{\"Name\":\"db\",\"Opts\":$opts}"
good Create '{"Name":"db","Opts":{"capacity":"65536K"}}'
bad 500 'replicas differs: asked for replicas=3; there is .*replicas=2' \
    Create '{"Name":"db","Opts":{"replicas":"3"}}'
bad 500 'fs differs' Create '{"Name":"db","Opts":{"fs":"ext4"}}'
test "$(k volume inspect db --json | jq -c '[.size, .replicas]')" = \
    '[67108864,2]' || fail "not as asked for"

# Get, List, Path.
good Get '{"Name":"db"}'
test "$(field .Volume.Name)" = db || fail "$answer"
test "$(field .Volume.Mountpoint)" = '' || fail "$answer"
date -d "$(field .Volume.CreatedAt)" >/dev/null || fail "CreatedAt: $answer"
field .Volume.CreatedAt |
    grep -qE '^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z$' ||
    fail "CreatedAt: $answer"
test "$(field .Volume.Status.size)" = 67108864 || fail "Status: $answer"
test "$(field .Volume.Status.here)" = 'not mounted' || fail "Status: $answer"
field .Volume.Status.options | grep -q 'fs=xfs' || fail "Status: $answer"
bad 500 'no volume nope' Get '{"Name":"nope"}'
bad 500 'no volume nope' Path '{"Name":"nope"}'
good Path '{"Name":"db"}'
test "$(field .Mountpoint)" = '' || fail "$answer"
good List '{}'
test "$(field '[.Volumes[].Name] | join(" ")')" = 'db plain' || fail "$answer"

# Made and removed by others: seen within a few seconds.
k volume create cli --size 32M >/dev/null
k volume rm plain >/dev/null
for ((i = 0; i < 100; i++)); do
    good List '{}'
    test "$(field '[.Volumes[].Name] | join(" ")')" != 'cli db' || break
    sleep 0.1
done
test $i -lt 100 || fail "the list is not the hub's: $answer"
good Create '{"Name":"cli","Opts":{"size":"32M"}}'

# Mount: the same id twice, another id; Unmount likewise.
good Mount "{\"Name\":\"db\",\"ID\":\"$id1\"}"
where=$(field .Mountpoint)
vid=$(k volume inspect db --json | jq -r .id)
test "$where" = "$mounts/$vid/_data" || fail "mounted at $where"
good Mount "{\"Name\":\"db\",\"ID\":\"$id1\"}"
test "$(field .Mountpoint)" = "$where" || fail "$answer"
good Mount "{\"Name\":\"db\",\"ID\":\"$id2\"}"
good Path '{"Name":"db"}'
test "$(field .Mountpoint)" = "$where" || fail "$answer"
good Get '{"Name":"db"}'
test "$(field .Volume.Mountpoint)" = "$where" || fail "$answer"
test "$(field .Volume.Status.mounts)" = 3 || fail "$answer"
test "$(calls attach db)" = 1 -a "$(calls mount db)" = 1 ||
    fail "attached twice"
bad 500 'mounted on this node, 3 times' Remove '{"Name":"db"}'
good Unmount "{\"Name\":\"db\",\"ID\":\"$(printf '%064d' 9)\"}"
good Unmount '{"Name":"nope","ID":"x"}'
good Unmount "{\"Name\":\"db\",\"ID\":\"$id1\"}"
good Unmount "{\"Name\":\"db\",\"ID\":\"$id1\"}"
good Unmount "{\"Name\":\"db\",\"ID\":\"$id1\"}" # once too often
test "$(calls unmount db)" = 0 || fail "unmounted while $id2 has it"
good Unmount "{\"Name\":\"db\",\"ID\":\"$id2\"}"
settled db 'not mounted'
test "$(calls unmount db)$(calls detach db)" = 11 || fail "not detached once"

# What fails is told, rolled back, and shown.
echo 'mount the disk is made of cheese' >"$stub/fail"
bad 500 'made of cheese' Mount "{\"Name\":\"db\",\"ID\":\"$id1\"}"
test "$(calls detach db)" = 2 || fail "left attached"
rm "$stub/fail"
good Get '{"Name":"db"}'
field .Volume.Status.lastError | grep -q cheese || fail "$answer"
bad 500 'no volume nope' Mount '{"Name":"nope","ID":"x"}'

# Who hangs up while a Mount runs is not counted.
echo 2 >"$stub/delay"
api_timeout=1 api Mount "{\"Name\":\"db\",\"ID\":\"$id1\"}"
test "$status" = 000 || fail "it did not take long: $status"
rm "$stub/delay"
settled db 'being mounted'
settled db 'not mounted'
good Get '{"Name":"db"}'
test "$(field .Volume.Status.mounts)" = 0 || fail "counted: $answer"
test "$(calls detach db)" = 3 || fail "left attached after the hang-up"

# A busy volume: success at once, and tried again behind the scenes.
good Mount "{\"Name\":\"db\",\"ID\":\"$id1\"}"
echo 'unmount busy: process 4711 has it' >"$stub/fail"
good Unmount "{\"Name\":\"db\",\"ID\":\"$id1\"}"
sleep 0.3
good Get '{"Name":"db"}'
field .Volume.Status.lastError | grep -q 4711 || fail "$answer"
rm "$stub/fail"
settled db 'not mounted'

# Remove: gone everywhere, and once more is no error.
good Remove '{"Name":"db"}'
bad 500 'no volume db' Get '{"Name":"db"}'
"$kenter" volume inspect db >/dev/null 2>&1 && fail "it is still there"
good Remove '{"Name":"db"}'

# 16 volumes at the same time, each half a second.
for i in $(seq 16); do
    good Create "{\"Name\":\"p$i\",\"Opts\":{\"size\":\"4M\"}}"
done
echo 0.5 >"$stub/delay"
begin=$(date +%s%N)
for i in $(seq 16); do
    curl -s -m 60 --unix-socket "$api_sock" -X POST -o "$work/p$i" \
        --data "{\"Name\":\"p$i\",\"ID\":\"$i\"}" \
        http://x/VolumeDriver.Mount &
    started+=($!)
    waits[i]=$!
done
wait "${waits[@]}"
took=$((($(date +%s%N) - begin) / 1000000))
for i in $(seq 16); do
    grep -q '"Err":""' "$work/p$i" || fail "p$i: $(cat "$work/p$i")"
done
test $took -lt 7000 || fail "16 mounts took $took ms: one after the other?"
rm "$stub/delay"
for i in $(seq 16); do
    good Unmount "{\"Name\":\"p$i\",\"ID\":\"$i\"}"
done

# With the hub dead everything but Create and Remove goes on, fast.
sandbox kill hub
longest=0
quick() {
    good "$@"
    test "$took_ms" -le $longest || longest=$took_ms
}
for i in $(seq 10); do
    quick Get '{"Name":"cli"}'
    quick List '{}'
    quick Capabilities '{}'
    quick Path '{"Name":"cli"}'
done
good Mount "{\"Name\":\"cli\",\"ID\":\"$id1\"}"
quick Unmount "{\"Name\":\"cli\",\"ID\":\"$id1\"}"
test $longest -lt 4000 || fail "an answer without a hub took $longest ms"
bad 500 'hub' Create '{"Name":"later"}'
bad 500 'hub' Remove '{"Name":"cli"}'
good Get '{"Name":"cli"}'
sandbox start hub
for ((i = 0; i < 60; i++)); do # its nodes come back one by one
    api Create '{"Name":"later","Opts":{"size":"4M"}}'
    test "$status" != 200 || break
    sleep 0.5
done
good Get '{"Name":"later"}'
echo "16 mounts of 500 ms at once in $took ms; without a hub the slowest of" \
    "41 answers took $longest ms"

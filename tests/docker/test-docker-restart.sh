#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The plugin is killed and started again: it knows whom it told of a mount,
# and puts right what was under way.
. "${top_srcdir:?}/tests/docker/lib.sh"

sandbox_up --nodes 1
plugin_up
for v in a b c d; do
    good Create "{\"Name\":\"$v\",\"Opts\":{\"size\":\"4M\"}}"
done

# Three ids on one volume survive SIGKILL, and are stopped one by one.
for i in 1 2 3; do
    good Mount "{\"Name\":\"a\",\"ID\":\"$i\"}"
done
good Mount '{"Name":"a","ID":"3"}'
good Mount '{"Name":"b","ID":"4"}'
plugin_kill KILL
test -S "$api_sock" || fail "no socket is left: nothing is tested"
plugin_up
good Get '{"Name":"a"}'
test "$(field .Volume.Status.mounts)" = 4 || fail "$answer"
good Unmount '{"Name":"a","ID":"1"}'
good Unmount '{"Name":"a","ID":"2"}'
good Unmount '{"Name":"a","ID":"3"}'
test "$(calls unmount a)" = 0 || fail "unmounted too early"
good Unmount '{"Name":"a","ID":"3"}'
settled a 'not mounted'
settled b 'mounted'
test "$(calls attach a)" = 1 || fail "attached again"

# Killed between the mount and the answer: nobody was told, so it comes down.
echo 0.5 >"$stub/delay"
curl -s -m 30 --unix-socket "$api_sock" -X POST -o /dev/null \
    --data '{"Name":"c","ID":"5"}' http://x/VolumeDriver.Mount &
started+=($!)
sleep 0.2
plugin_kill KILL
rm "$stub/delay"
vid=$(k volume inspect c --json | jq -r .id)
touch "$stub/$vid.attached" "$stub/$vid.mounted" # it came so far
plugin_up
settled c 'not mounted'
test ! -e "$stub/$vid.mounted" -a ! -e "$stub/$vid.attached" || fail "left up"

# A mount that is gone takes its counts along.
good Mount '{"Name":"d","ID":"6"}'
plugin_kill KILL
vid=$(k volume inspect d --json | jq -r .id)
rm "$stub/$vid.mounted" "$stub/$vid.attached"
plugin_up
good Get '{"Name":"d"}'
test "$(field .Volume.Status.mounts)" = 0 || fail "$answer"
good Mount '{"Name":"d","ID":"7"}'

# Unmounted and not detached: no way back, and nobody is told that it is there.
echo "detach the loop device is held" >"$stub/fail"
good Unmount '{"Name":"d","ID":"7"}'
settled d 'being unmounted'
api_timeout=2 api Mount '{"Name":"d","ID":"8"}'
test "$status" != 200 || fail "it is mounted, they say: $answer"
good Get '{"Name":"d"}'
grep -q 'loop device is held' <<<"$(field .Volume.Status.lastError)" ||
    fail "$answer"
rm "$stub/fail"
good Mount '{"Name":"d","ID":"7"}'
vid=$(k volume inspect d --json | jq -r .id)
test -e "$stub/$vid.mounted" || fail "it is not"

# SIGTERM: the socket goes, the mounts stay.
plugin_kill TERM
test ! -e "$api_sock" || fail "the socket is still there"
test -e "$stub/$vid.mounted" || fail "the end took the mount along"
plugin_up
settled d 'mounted'

# A second plugin on the same catalogue is refused, and so is its socket.
"$top_builddir/kenter-volplugin" --socket "$work/other.sock" \
    --dir "$work/catalogue" --mounts "$mounts" --test-attach "$stub" \
    2>"$work/second" && fail "a second one runs"
grep -q 'another kenter-volplugin' "$work/second" ||
    fail "$(cat "$work/second")"
"$top_builddir/kenter-volplugin" --socket "$api_sock" --dir "$work/cat2" \
    --mounts "$mounts" --test-attach "$stub" 2>"$work/second" &&
    fail "a second one takes the socket"
grep -q 'another program answers' "$work/second" ||
    fail "$(cat "$work/second")"
settled b 'mounted'

# Another boot: all counts are of processes that are gone.
plugin_kill TERM
if test "$(id -u)" = 0 && unshare --mount true 2>/dev/null; then
    # The marks stay: only the boot says that the counts are of nobody.
    cat /proc/sys/kernel/random/uuid >"$work/boot"
    cat >"$work/booted" <<B
mount --bind '$work/boot' /proc/sys/kernel/random/boot_id || exit 77
exec '$top_builddir/kenter-volplugin' --socket '$api_sock' \
    --dir '$work/catalogue' --mounts '$mounts' --test-attach '$stub' \
    --log-level debug
B
    unshare --mount bash "$work/booted" 2>>"$work/plugin.log" &
    plugin_pid=$!
    started+=("$plugin_pid")
    for ((i = 0; i < 100; i++)); do
        test ! -S "$api_sock" || break
        sleep 0.1
    done
    for v in b d; do
        good Get "{\"Name\":\"$v\"}"
        test "$(field .Volume.Status.mounts)" = 0 || fail "$v: $answer"
        settled $v 'not mounted'
    done
    plugin_kill TERM
fi
echo "counts survive, and what nobody has comes down"


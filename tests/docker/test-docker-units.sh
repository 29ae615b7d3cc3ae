#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The units of systemd: systemd finds nothing wrong with them, they are ordered
# as a shutdown needs it, and the plugin takes the socket systemd gives it.
. "${top_srcdir:?}/tests/docker/lib.sh"
need systemd-analyze systemd-socket-activate

# The units as built, but with the programs of this build in them.
mkdir "$work/units"
for f in "$top_srcdir"/systemd/*.in; do
    sed "s|@sbindir@|$top_builddir|g; s|@sysconfdir@|$work/etc|g" "$f" \
        >"$work/units/$(basename "$f" .in)"
done
cd "$work/units" || exit 1
test "$(ls | wc -l)" = 5 || fail "$(ls)"
verify() {
    SYSTEMD_UNIT_PATH=$work/units: systemd-analyze verify --man=no \
        --recursive-errors=no "$@" 2>&1
}
out=$(verify ./*) && test -z "$out" || fail "systemd-analyze: $out"

# It must be able to complain: of a word it does not know, and of a program
# that is not there.
sed 's/^KillMode=process/KillMode=sometimes/; s/^Restart=/Restrat=/' \
    kenter-volplugin.service >"$work/kenter-volplugin.service"
out=$(verify "$work/kenter-volplugin.service")
grep -q Restrat <<<"$out" && grep -q "kill mode" <<<"$out" ||
    fail "a broken unit is not noticed: $out"

# has UNIT KEY WORD: so that it stops in the right order.
has() {
    grep -hE "^$2=" "$1" | grep -qwF -- "$3" || fail "$1 is not $2=$3"
}
for u in kenter-hub kenter-replicator kenter-attachd; do
    has $u.service Before remote-fs-pre.target
    has $u.service Wants remote-fs-pre.target
    has $u.service After network-online.target
done
has kenter-attachd.service After kenter-replicator.service
has kenter-volplugin.service After kenter-attachd.service
has kenter-volplugin.service After remote-fs.target
has kenter-volplugin.service Before docker.service
has kenter-volplugin.socket Before docker.service
has kenter-volplugin.service KillMode process
! grep -E '^(Requires|BindsTo|PartOf)=.*docker' ./* ||
    fail "stopped with docker"
# Where the units have the plugin look is where Docker does.
has kenter-volplugin.socket ListenStream /run/docker/plugins/kenter.sock

# Activated: nobody is refused while it is not there yet.
sandbox_up --nodes 1
systemd-socket-activate -E KENTER_CONTEXT -l "$api_sock" \
    "$top_builddir/kenter-volplugin" --dir "$work/catalogue" \
    --mounts "$mounts" --test-attach "$stub" 2>>"$work/plugin.log" &
plugin_pid=$!
started+=("$plugin_pid")
for ((i = 0; i < 200; i++)); do
    test ! -S "$api_sock" || break
    sleep 0.05
done
tr '\0' ' ' <"/proc/$plugin_pid/cmdline" | grep -q socket-activate ||
    fail "it runs before anybody asks"
good Plugin.Activate
test "$(field .Implements[0])" = VolumeDriver || fail "$answer"
tr '\0' ' ' <"/proc/$plugin_pid/cmdline" |
    grep -q '^[^ ]*kenter-volplugin' || fail "another program answers"
good Create '{"Name":"v","Opts":{"size":"4M"}}'
good Mount '{"Name":"v","ID":"1"}'
inode=$(stat -c %i "$api_sock")
plugin_kill TERM
# It is systemd's: the next one gets it again.
test "$(stat -c %i "$api_sock")" = "$inode" || fail "it removed the socket"
echo "5 units, and a socket that is given"

# SPDX-License-Identifier: BSD-3-Clause
# A cluster of real daemons, each in a network namespace of its own, joined by
# a bridge in one more. Nothing outside of them changes; all of it goes when
# the script ends. Source it after setting nothing but top_*dir; needs root.
#
#   cluster_up NODES          -> hub, n1.. and room for clients c1 and c2
#   node_start NODE [option]  hub_start       -> ${pid[NAME]}
#   attach CLIENT TAG [param] -> $sock, ${pid[TAG]}
#   cut A B, mend A B, cut_to A B (only what A sends to B)
. "${top_srcdir:?}/tests/e2e/lib.sh"
need ip iptables ss mkfs.ext4 losetup nbdkit jq
test "$(id -u)" = 0 || skip "network namespaces need root"

ulimit -c unlimited # a core says more than a log
tag=ktc$$
echo $$ >"$work/owner"
declare -A pid=() addr=([hub]=198.18.0.1)
nodes=()
hub_addr=tcp:198.18.0.1:9720
freezer=/sys/fs/cgroup/freezer
mark=7
verify=$top_builddir/tests/chaos/verify
proxy=$top_builddir/tests/chaos/proxy

# in_ns NAME COMMAND, in the foreground.
in_ns() {
    local name=$1
    shift
    ip netns exec "$tag-$name" "$@"
}

alive() {
    is_ours "$1"
}

# signal PID NAME: to a child that is still there, and to nobody else.
signal() {
    ! is_ours "$1" || kill -"$2" "$1" 2>/dev/null
}

# Ends what runs in the namespaces of one tag, and takes them away.
drop_namespaces() {
    local name p f
    for f in "$freezer/$1".*; do
        test ! -d "$f" || echo THAWED >"$f/freezer.state"
    done
    for name in $(ip netns list | awk -v t="$1-" 'index($1, t) == 1 {print $1}')
    do
        for p in $(ip netns pids "$name"); do
            kill -KILL "$p" 2>/dev/null
        done
        ip netns del "$name"
    done
    sleep 0.2
    for f in "$freezer/$1".*; do
        test ! -d "$f" || rmdir "$f"
    done
}

# Unmounts every disk below a directory.
drop_disks() {
    local m i
    awk -v d="$1/" 'index($2, d) == 1 {print $2}' /proc/mounts |
        while read -r m; do
            for i in 1 2 3 4 5; do
                umount "$m" 2>/dev/null && break
                sleep 0.2
            done
            ! mountpoint -q "$m" || umount -l "$m"
        done
}

chaos_cleanup() {
    local rc=$? p
    trap - EXIT
    { # bash would name each of them
        for p in "${pid[@]}"; do
            signal "$p" KILL
        done
        drop_namespaces "$tag"
        for p in "${pid[@]}"; do
            wait "$p"
        done
    } 2>/dev/null
    drop_disks "$work"
    (exit "$rc")
    cleanup
}
trap chaos_cleanup EXIT

host_up() { # NAME
    local ns=$tag-$1
    ip netns add "$ns" 2>/dev/null ||
        skip "this machine does not let us make a network namespace"
    ip -n "$ns" link set lo up
    test "$1" != sw || {
        ip -n "$ns" link add br0 type bridge &&
            ip -n "$ns" link set br0 up
        return
    }
    ip link add e0 netns "$ns" type veth peer name "$1" netns "$tag-sw" &&
        ip -n "$tag-sw" link set "$1" master br0 up &&
        ip -n "$ns" addr add "${addr[$1]}/24" dev e0 &&
        ip -n "$ns" link set e0 up || fail "no network for $1"
    mkdir -p "$dir/$1"
    test ! -d "$freezer" || mkdir -p "$freezer/$tag.$1"
}

disk_up() { # NODE SIZE: a small ext4
    local f=$dir/$1/disk.img
    truncate -s "$2" "$f" && mkfs.ext4 -q -F -m 0 "$f" &&
        mkdir -p "$dir/$1/disk" &&
        mount -o loop "$f" "$dir/$1/disk" ||
        skip "this machine does not let us mount a loop device"
}

# Waits until a log has a line, for at most ten seconds.
wait_log() { # FILE PATTERN
    local i
    for ((i = 0; i < 200; i++)); do
        ! grep -qs "$2" "$1" || return 0
        sleep 0.05
    done
    fail "no \"$2\" in $1"
}

in_freezer() { # NAME PID
    test ! -d "$freezer/$tag.$1" || echo "$2" >"$freezer/$tag.$1/cgroup.procs"
}

hub_start() {
    local init=
    test -e "$dir/hub/store" || init=--init
    ip netns exec "$tag-hub" ${KT_CHAOS_WRAP:-} \
        "$top_builddir/kenter-hub" --dir "$dir/hub/store" \
        $init --listen "$hub_addr" --insecure-links \
        --address-file "$dir/hub/address" >>"$dir/hub/log" 2>&1 &
    pid[hub]=$!
    in_freezer hub "${pid[hub]}"
}

node_start() { # NODE [options]
    local n=$1
    shift
    ip netns exec "$tag-$n" ${KT_CHAOS_WRAP:-} \
        "$top_builddir/kenter-replicator" \
        --store "$dir/$n/disk/store" --create --node "$n" --hub "$hub_addr" \
        --listen "tcp:${addr[$n]}:9721" --insecure-links \
        --address-file "$dir/$n/address" "$@" >>"$dir/$n/log" 2>&1 &
    pid[$n]=$!
    in_freezer "$n" "${pid[$n]}"
}

write_context() { # NAME
    printf '{"version": 1, "node": "%s", "hub": ["%s"]}\n' "$1" "$hub_addr" \
        >"$dir/$1/context.json"
}

cluster_up() { # NODES [DISK SIZE]
    local i n
    mkdir -p "$dir"
    host_up sw
    host_up hub
    write_context hub
    for i in 1 2; do
        addr[c$i]=198.18.0.$((20 + i))
        host_up "c$i"
        write_context "c$i"
    done
    for ((i = 1; i <= $1; i++)); do
        n=n$i
        nodes+=("$n")
        addr[$n]=198.18.0.$((100 + i))
        host_up "$n"
        disk_up "$n" "${2:-400M}"
    done
    # The library's k, member and wait_healthy speak from the hub's place.
    printf '#!/bin/sh\nexec ip netns exec %s %s "$@"\n' "$tag-hub" \
        "$top_builddir/kenter" >"$work/kenter"
    chmod +x "$work/kenter"
    kenter=$work/kenter
    export KENTER_CONTEXT=$dir/hub/context.json
    hub_start
    wait_file "$dir/hub/address"
    for n in "${nodes[@]}"; do
        node_start "$n"
    done
    wait_nodes "$1"
}

wait_file() {
    local i
    for ((i = 0; i < 200; i++)); do
        test ! -s "$1" || return 0
        sleep 0.05
    done
    fail "no $1"
}

wait_nodes() { # NUMBER that are up
    local i
    for ((i = 0; i < 150; i++)); do
        test "$("$kenter" node ls --json 2>/dev/null |
            jq '[.nodes[] | select(.state == "up")] | length')" != "$1" ||
            return 0
        sleep 0.1
    done
    fail "not $1 nodes are up: $("$kenter" node ls)"
}

# nbdkit_start CLIENT TAG [parameters]: does not wait.
nbdkit_start() {
    local c=$1 t=$2
    shift 2
    sock=$work/$t.sock
    rm -f "$sock"
    ip netns exec "$tag-$c" env "$(preload)" ASAN_OPTIONS=detect_leaks=0 \
        KENTER_CONTEXT="$dir/$c/context.json" \
        nbdkit -f -t 32 -U "$sock" "$plugin" volume=v "$@" \
        >>"$work/$t.log" 2>&1 &
    pid[$t]=$!
    in_freezer "$c" "${pid[$t]}"
}

attach() {
    local i
    nbdkit_start "$@"
    for ((i = 0; i < 600; i++)); do
        test ! -S "$sock" || return 0
        alive "${pid[$2]}" || fail "nbdkit: $(cat "$work/$2.log")"
        sleep 0.05
    done
    fail "nbdkit does not listen: $(cat "$work/$2.log")"
}

detach() { # TAG
    local i
    signal "${pid[$1]}" TERM
    for ((i = 0; i < 200; i++)); do
        alive "${pid[$1]}" || return 0
        sleep 0.05
    done
    fail "nbdkit does not end on SIGTERM"
}

# Ends a daemon at once; bash has nothing to say about it.
kill_now() { # NAME
    signal "${pid[$1]}" KILL
    wait "${pid[$1]}" 2>/dev/null
}

# ---- the network ----

cut_to() { # A B: what A sends does not reach B
    in_ns "$2" iptables -w -A INPUT -s "${addr[$1]}" -j DROP
}

mend_to() {
    in_ns "$2" iptables -w -D INPUT -s "${addr[$1]}" -j DROP
}

cut() {
    cut_to "$1" "$2"
    cut_to "$2" "$1"
}

mend() {
    mend_to "$1" "$2"
    mend_to "$2" "$1"
}

resets() { # NAME: ends its connections; the error it prints means nothing
    in_ns "$1" ss -K state established >/dev/null 2>&1 || true
}

# proxy_up NAME SEED [NAME...]: what NAME says to these goes through a proxy.
proxy_up() {
    local n=$1 seed=$2 to
    shift 2
    mkfifo "$dir/$n/proxy.in"
    exec {fd}<>"$dir/$n/proxy.in"
    proxy_fd[$n]=$fd
    ip netns exec "$tag-$n" "$proxy" 9999 "$seed" $mark \
        <"$dir/$n/proxy.in" >>"$dir/$n/proxy.log" 2>&1 {fd}>&- &
    pid[proxy-$n]=$!
    for to in "$@"; do
        test "$to" != "$n" || continue
        in_ns "$n" iptables -w -t nat -A OUTPUT -p tcp -d "${addr[$to]}" \
            --dport 9720:9721 -m mark ! --mark $mark -j REDIRECT \
            --to-ports 9999 || fail "no redirection"
    done
}
declare -A proxy_fd=()

proxy_say() { # NAME WORDS
    echo "${*:2}" >&"${proxy_fd[$1]}"
}

# ---- the verifier ----

verify_up() { # BYTES [options]
    mkfifo "$work/verify.in"
    exec {verify_fd}<>"$work/verify.in"
    # It must not hold its own input open: its end is how it ends.
    "$verify" --bytes "$@" <"$work/verify.in" >"$work/verify.out" \
        2>"$work/verify.log" {verify_fd}>&- &
    pid[verify]=$!
}

tell() {
    echo "$*" >&"$verify_fd"
}

verify_end() { # -> its exit status
    local rc=0
    tell end
    wait "${pid[verify]}" || rc=$?
    return $rc
}

# SPDX-License-Identifier: BSD-3-Clause
# Whole machines for tests: User-Mode Linux, which is a Linux kernel as a
# process, with the kernel's own nbd driver. Source it first; it runs the
# script again in namespaces of its own (processes, network, mounts), so that
# nothing outlives it, however it ends: killing the first process of a process
# namespace kills all of them. Needs root.
#
#   cluster_up N              hub and N replicators, outside of the machines
#   lab_up N [MEGABYTES]      machines m1 to mN; m1 is 198.18.7.1
#                             (with a disk, /dev/ubda, of $lab_disk bytes)
#   on M COMMAND              runs it there with bash, waits, exit status too
#   power_cut M, power_on M   loses all but what a disk has; starts it again
#
# A machine's root is this one's, read only, so programs and the build are
# where they are here. /run and /tmp/lab are its own and empty at each start.
if test -z "${KT_LAB_INSIDE:-}" && test "$(id -u)" = 0; then
    why=$(unshare --net --pid --mount --fork true 2>&1) || {
        echo "this machine does not let us make namespaces: $why"
        exit 77
    }
    die=(setpriv --pdeathsig KILL) # with whoever started this
    test -z "${KT_LAB_STAYS:-}" || die=()
    KT_LAB_INSIDE=1 exec "${die[@]}" unshare --net --pid --mount --fork \
        --kill-child --mount-proc bash "$0" "$@"
fi
. "${top_srcdir:?}/tests/e2e/lib.sh"
test "$(id -u)" = 0 || skip "namespaces and network devices need root"
need linux.uml ip socat ethtool modprobe nbdkit jq
test -c /dev/net/tun || skip "/dev/net/tun is missing, machines have no network"
for uml_modules in /usr/lib/uml/modules/*; do :; done
test -d "$uml_modules" || skip "user-mode-linux is here without its modules"

lab_src=$top_srcdir/tests/lab
. "$lab_src/talk.sh"
declare -A lab_pid=() lab_mem=()

# The switch all machines and this side hang on. Frames that claim to be
# larger than the wire carries get stuck between the kernels: no offloads.
lab_network() {
    ! ip link show br0 >/dev/null 2>&1 || return 0
    ip link set lo up &&
        ip link add br0 type bridge &&
        ip addr add "$lab_host/24" dev br0 &&
        ip link set br0 up || skip "this machine has no bridges"
    no_offload br0
}

no_offload() { # DEVICE
    ethtool -K "$1" tso off gso off gro off tx off >/dev/null 2>&1
}

# One process, its own process group; its pid is in lab_pid.
lab_boot() { # M
    local m=$1 n=${1#m}
    ip link show "tap$n" >/dev/null 2>&1 || {
        ip tuntap add "tap$n" mode tap &&
            ip link set "tap$n" master br0 up || fail "no network for $m"
        no_offload "tap$n"
    }
    # Memory is a file of its own there; uml_dir holds its pid file.
    mkdir -p "$work/uml"
    linux.uml "mem=${lab_mem[$m]}M" "umid=$m" "uml_dir=$work/uml/" \
        rootfstype=hostfs rootflags=/ ro "init=$lab_src/node-init" \
        "vec0:transport=tap,ifname=tap$n,mac=02:00:c6:12:07:0$n" \
        "lab_name=$m" "lab_addr=$(lab_addr "$m")" \
        "lab_modules=$uml_modules" con=null con0=null,fd:1 quiet \
        ${lab_disk:+"ubd0=$work/$m.disk"} \
        </dev/null >>"$work/$m.log" 2>&1 &
    lab_pid[$m]=$!
    started+=("${lab_pid[$m]}")
}

lab_wait() { # M
    local until=$((SECONDS + lab_patience))
    while ((SECONDS < until)); do
        is_ours "${lab_pid[$1]}" ||
            fail "$1 ended while it started: $(tail -n 5 "$work/$1.log")"
        test "$(lab_ask "$1" 5 "echo here" 2>/dev/null)" != here || return 0
        sleep 0.3
    done
    fail "$1 is not up after $lab_patience s: $(tail -n 5 "$work/$1.log")"
}

lab_up() { # N [MEGABYTES]
    local i
    lab_network
    for ((i = 1; i <= $1; i++)); do
        lab_mem[m$i]=${2:-512}
        test -z "${lab_disk:-}" || truncate -s "$lab_disk" "$work/m$i.disk"
        lab_boot "m$i"
    done
    for ((i = 1; i <= $1; i++)); do
        lab_wait "m$i"
    done
}

# The same, and the test ends here when it fails.
must() { # M COMMAND
    local out rc=0
    out=$(on "$@") || rc=$?
    test -z "$out" || printf '%s\n' "$out"
    test $rc = 0 || fail "on $1: $2: exit $rc: $out"
}

# The machine's process is gone at once, and with it what no disk has. What
# it left of its user processes goes too.
power_cut() { # M
    local p=${lab_pid[$1]} children
    is_ours "$p" || fail "$1 is not running"
    kill -STOP "$p" # or it would notice that they are gone
    children=$(pgrep -P "$p")
    kill -KILL "$p" $children 2>/dev/null
    wait "$p" 2>/dev/null
    rm -rf "$work/uml/$1"
}

power_on() { # M
    lab_boot "$1"
    lab_wait "$1"
}

# A context there, and $cli, the command line as it is called there.
lab_cli() { # M
    must "$1" "printf '{\"version\": 1, \"node\": \"%s\", \"hub\": [\"%s\"]}' \
        '$1' '$hub_addr' >/run/context.json"
}
run=/run/kenter
cli="KENTER_CONTEXT=/run/context.json $top_builddir/kenter"

# ---- a writer ----

# Writes files of a known content into DIR, each synced, until write_end. What
# was promised is in /run/promised, a line for each; anything that fails ends it
# and is in /run/writer.err.
write_on() { # M DIR
    local script='
i=0; worst=0
while test ! -e /run/stop; do
    i=$((i + 1))
    a=$(date +%s%N)
    if ! seq $i $((i + 2000)) >/run/block ||
       ! dd if=/run/block of=$1/f$i bs=64k conv=fsync status=none; then
        echo "file $i failed" >>/run/writer.err
        break
    fi
    b=$((($(date +%s%N) - a) / 1000000))
    test $b -le $worst || worst=$b
    echo $i >>/run/promised
    test $i -lt 3000 || break
    echo $worst >/run/worst
done
echo done >/run/writer.done'
    must "$1" "printf %s $(printf %q "$script") >/run/writer
        setsid bash /run/writer $2 >/dev/null 2>/run/writer.err </dev/null &
        sleep 1"
}

promised() { # M
    must "$1" 'wc -l </run/promised 2>/dev/null || echo 0'
}

# Waits for two more files: one may have been on its way to the disk before.
goes_on() { # M WHAT-DIED
    local before i
    before=$(promised "$1")
    for ((i = 0; i < lab_patience * 2; i++)); do
        test "$(promised "$1")" -le $((before + 1)) || return 0
        sleep 0.5
    done
    on "$1" "cat /run/writer.err $run/attach/*/*.log; dmesg | tail -n 20" >&2
    fail "after the death of $2 nothing is written any more"
}

# Kills a replicator; it goes on without it, and the replicator is whole again.
goes_on_without() { # M n1...
    daemon_kill "$2"
    goes_on "$1" "$2"
    replicator_start "$2"
    wait_healthy
}

# No write has failed, and the kernel knows of no error.
write_end() { # M
    must "$1" "touch /run/stop
        for i in {1..300}; do
            test ! -e /run/writer.done || break
            sleep 0.2
        done
        test -e /run/writer.done && test ! -s /run/writer.err ||
            { cat /run/writer.err; exit 1; }
        ! dmesg | grep -E 'I/O error|Aborting journal|EXT4-fs error'"
}

# A command: what was promised is in DIR.
written() { # DIR [FILE]
    echo "while read -r i; do
        seq \$i \$((i + 2000)) | cmp - $1/f\$i || exit 1
    done <${2:-/run/promised}"
}

# ---- a cluster on this side ----

lab_context=$dir/context.json
hub_addr=tcp:$lab_host:9720
declare -A daemon_pid=()

hub_start() {
    local init=
    test -e "$dir/hub/store" || init=--init
    "$top_builddir/kenter-hub" --dir "$dir/hub/store" $init \
        --listen "$hub_addr" --insecure-links \
        --address-file "$dir/hub/address" >>"$dir/hub/log" 2>&1 &
    daemon_pid[hub]=$!
    started+=($!)
}

replicator_start() { # n1...
    "$top_builddir/kenter-replicator" --store "$dir/$1/store" --create \
        --node "$1" --hub "$hub_addr" --insecure-links \
        --listen "tcp:$lab_host:$((9720 + ${1#n}))" \
        --address-file "$dir/$1/address" >>"$dir/$1/log" 2>&1 &
    daemon_pid[$1]=$!
    started+=($!)
}

daemon_kill() { # hub|n1...
    kill -KILL "${daemon_pid[$1]}" && wait "${daemon_pid[$1]}" 2>/dev/null
}

wait_nodes() { # N: until the hub sees so many
    local i up
    for ((i = 0; i < lab_patience * 5; i++)); do
        up=$("$kenter" node ls --json 2>/dev/null |
            jq '[.nodes[] | select(.state == "up")] | length')
        test "$up" != "$1" || return 0
        sleep 0.2
    done
    echo "only ${up:-0} of $1 nodes are up"
    return 1
}

cluster_up() { # N
    local i
    lab_network
    mkdir -p "$dir/hub"
    printf '{"version": 1, "node": "host", "hub": ["%s"]}\n' "$hub_addr" \
        >"$lab_context"
    hub_start
    for ((i = 0; i < lab_patience * 10; i++)); do
        test ! -s "$dir/hub/address" || break
        is_ours "${daemon_pid[hub]}" || fail "the hub does not start"
        sleep 0.1
    done
    for ((i = 1; i <= $1; i++)); do
        mkdir -p "$dir/n$i"
        replicator_start "n$i"
    done
    wait_nodes "$1" || fail "the nodes do not come up"
}

# SPDX-License-Identifier: BSD-3-Clause
# A cluster on the machines themselves, over lib.sh: each machine is a node
# with its store on a disk of its own, and m1 has the hub as well.
#
#   nodes_up N       machines m1 to mN, each a node
#   node_on M        what a machine runs, started again after a power cut
need mkfs.ext4
lab_disk=${lab_disk:-384M}
hub_addr=tcp:$(lab_addr m1):9720

node_on() { # M
    local hub=
    test "$1" != m1 || hub="init=; test -e /run/disk/hub || init=--init
        setsid '$top_builddir/kenter-hub' --dir /run/disk/hub \$init \
            --listen $hub_addr --insecure-links \
            </dev/null >>/run/hub.log 2>&1 &"
    must "$1" "mkdir -p /run/disk && mount /dev/ubda /run/disk || exit 1
        $hub
        setsid '$top_builddir/kenter-replicator' --store /run/disk/store \
            --create --node $1 --hub $hub_addr --insecure-links \
            --listen tcp:$(lab_addr "$1"):9721 \
            </dev/null >>/run/replicator.log 2>&1 &"
}

nodes_logs() {
    local m
    for m in "${!lab_pid[@]}"; do
        echo "--- $m" >&2
        on "$m" 'tail -n 15 /run/hub.log /run/replicator.log
            dmesg | tail -n 3' >&2 2>/dev/null
    done
}

nodes_up() { # N
    local i
    for ((i = 1; i <= $1; i++)); do
        truncate -s "$lab_disk" "$work/m$i.disk" &&
            mkfs.ext4 -q -F "$work/m$i.disk" || fail "no disk for m$i"
    done
    lab_up "$1" "${2:-256}"
    mkdir -p "$dir"
    printf '{"version": 1, "node": "host", "hub": ["%s"]}\n' "$hub_addr" \
        >"$lab_context"
    for ((i = 1; i <= $1; i++)); do
        node_on "m$i"
    done
    wait_nodes "$1" || {
        nodes_logs
        fail "the nodes do not come up"
    }
}

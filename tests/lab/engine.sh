# SPDX-License-Identifier: BSD-3-Clause
# A real dockerd on a machine of the lab, over lib.sh and plugin.sh, which is
# told to listen where the engine looks for it. The engine's image "bb" is
# busybox; there is no registry and no network in a container.
#
#   engine_on M [DOCKERD-OPTION...]   starts it, and waits until it answers
#   engine_off M                      ends it, as systemctl stop would
#   image_on M                        makes the image
#   d M ARGUMENT...                   the docker client there
plugin_socket=/run/docker/plugins/kenter.sock
. "$lab_src/plugin.sh"
need dockerd docker containerd runc busybox mkfs.ext4 curl
! ldd "$(command -v busybox)" >/dev/null 2>&1 ||
    skip "busybox is not static (Debian: busybox-static)"

# /etc is the host's and read only, and dockerd writes a key into it.
engine_on() { # M [DOCKERD-OPTION...]
    local m=$1
    shift
    must "$m" "mountpoint -q /sys/fs/cgroup ||
            mount -t cgroup2 cg /sys/fs/cgroup || exit 1
        modprobe overlay
        mountpoint -q /etc || { mkdir /run/etc && cp -a /etc/. /run/etc/ &&
            rm -rf /run/etc/docker && mount --bind /run/etc /etc || exit 1; }
        mkdir -p /run/engine
        mountpoint -q /run/engine || mount -t tmpfs engine /run/engine
        setsid dockerd --data-root /run/engine/data --exec-root /run/docker \
            --pidfile /run/docker.pid -H unix:///run/docker.sock \
            --bridge none --iptables=false --ip6tables=false $* \
            </dev/null >>/run/dockerd.log 2>&1 &
        for i in {1..600}; do
            ! docker version >/dev/null 2>&1 || exit 0
            sleep 0.2
        done
        tail -n 20 /run/dockerd.log; exit 1"
}

engine_off() { # M
    must "$1" 'p=$(cat /run/docker.pid) && kill $p || exit 1
        for i in {1..300}; do
            test -e /proc/$p || exit 0
            sleep 0.2
        done
        tail -n 20 /run/dockerd.log; exit 1'
}

image_on() { # M
    must "$1" 'mkdir -p /run/image/bin /run/image/tmp && cd /run/image &&
        cp "$(command -v busybox)" bin/busybox || exit 1
        for a in sh seq dd cat sleep rm ls cmp; do ln -s busybox bin/$a; done
        tar -c . | docker import - bb && rm -r /run/image' >/dev/null
}

d() { # M ARGUMENT...
    local m=$1
    shift
    on "$m" "docker $(printf '%q ' "$@")"
}

# The same, and the test ends here when it fails.
dok() { # M ARGUMENT...
    local out rc=0
    out=$(d "$@") || rc=$?
    test -z "$out" || printf '%s\n' "$out"
    test $rc = 0 || fail "on $1: docker ${*:2}: exit $rc: $out
$(on "$1" 'tail -n 8 /run/dockerd.log; tail -n 8 /run/p/log')"
}

# What a container runs that writes to /data as write_on does (lib.sh), with
# what it promises in /run/w of the machine, its /w. A pause is told in 1/100 s:
# a shell has no finer clock there.
writer_on() { # M
    must "$1" "mkdir -p /run/w && cd /run || exit 1
        for f in promised worst stop writer.err writer.done; do
            ln -s w/\$f \$f
        done
        cat >/run/w/writer <<'W'
now() {
    read -r t rest </proc/uptime
    t=\${t%.*}\${t#*.}
}
worst=0 i=0
test ! -s /w/promised || {
    while read -r n; do i=\$n; done </w/promised
    read -r worst </w/worst
}
while test ! -e /w/stop; do
    i=\$((i + 1))
    now; a=\$t
    if ! seq \$i \$((i + 2000)) >/tmp/block ||
       ! dd if=/tmp/block of=/data/f\$i bs=64k conv=fsync 2>/tmp/dd; then
        { echo \"file \$i failed\"; cat /tmp/dd; } >>/w/writer.err
        break
    fi
    now
    test \$((t - a)) -le \$worst || worst=\$((t - a))
    echo \$i >>/w/promised
    echo \$worst >/w/worst
    test \$i -lt 3000 || break
done
echo done >/w/writer.done
W"
}

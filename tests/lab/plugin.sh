# SPDX-License-Identifier: BSD-3-Clause
# The volume plugin on a machine of the lab, over lib.sh, asked as the engine
# asks it.
plugin_socket=${plugin_socket:-/run/p/kenter.sock}

plugin_on() { # M
    must "$1" "export PATH=$top_builddir:\$PATH KENTER_CONTEXT=/run/context.json
        mkdir -p /run/p $(dirname "$plugin_socket")
        setsid '$top_builddir/kenter-volplugin' --socket $plugin_socket \
            --dir /run/p/catalogue --mounts /run/p/volumes \
            --run $run --trim 20 </dev/null >>/run/p/log 2>&1 &
        for i in {1..600}; do
            ! curl -s -m 5 --unix-socket $plugin_socket -X POST \
                http://x/Plugin.Activate >/dev/null || exit 0
            sleep 0.1
        done
        cat /run/p/log; exit 1" >/dev/null
}

ask() { # M METHOD BODY
    on "$1" "curl -s -m 120 --unix-socket $plugin_socket -X POST \
        -H Content-Type: -d $(printf %q "$3") http://x/VolumeDriver.$2"
}

good() { # M METHOD BODY -> $answer
    answer=$(ask "$@")
    test "$(jq -r '.Err == ""' <<<"$answer" 2>/dev/null)" = true ||
        fail "$*: $answer $(on "$1" 'cat /run/p/log; dmesg | tail -n 5')"
}

here() { # M NAME PHASE: waits until it is so
    local i
    for ((i = 0; i < lab_patience * 2; i++)); do
        good "$1" Get "{\"Name\":\"$2\"}"
        test "$(jq -r .Volume.Status.here <<<"$answer")" != "$3" || return 0
        sleep 0.5
    done
    fail "$2 is not $3 on $1: $answer $(on "$1" 'tail -n 20 /run/p/log')"
}

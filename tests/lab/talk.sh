# SPDX-License-Identifier: BSD-3-Clause
# Talking to machines of the lab from its network; sourced by lib.sh.
lab_net=198.18.7
lab_host=$lab_net.254
# How long anything may take on a machine that has much else to do.
lab_patience=${KT_LAB_PATIENCE:-120}

lab_addr() { # M
    echo "$lab_net.${1#m}"
}

# What a machine's shell says to a script, for at most so many seconds.
lab_ask() { # M SECONDS SCRIPT
    printf '%s\n' "$3" | timeout "$2" socat -t "$2" - \
        "TCP:$(lab_addr "$1"):22,connect-timeout=3"
}

# The command's output, standard error in it, and its exit status. 97: the
# machine went away, or it took longer than $ON_SECONDS.
on() { # M COMMAND
    local out rc
    out=$(lab_ask "$1" "${ON_SECONDS:-$lab_patience}" \
        "bash -c $(printf %q "$2") </dev/null 2>&1; printf '\n=rc %d\n' \$?" \
        2>/dev/null)
    rc=${out##*$'\n'=rc }
    out=${out%$'\n='*}
    test -z "${out//$'\n'/}" || printf '%s\n' "${out%$'\n'}"
    case $rc in
    '' | *[!0-9]*) return 97 ;;
    esac
    return "$rc"
}

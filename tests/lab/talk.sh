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
# machine went away, or it took longer than $ON_SECONDS. The connection may
# stay open after the answer, when the command left processes behind it.
on() { # M COMMAND
    local t=${ON_SECONDS:-$lab_patience} line out='' rc='' fd asking
    exec {fd}< <(exec timeout "$t" socat -t "$t" - \
        "TCP:$(lab_addr "$1"):22,connect-timeout=3" 2>/dev/null \
        < <(printf 'bash -c %q </dev/null 2>&1; printf "\\n=rc %%d\\n" $?\n' \
            "$2"))
    asking=$!
    while IFS= read -r line <&"$fd"; do
        case $line in
        '=rc '*)
            rc=${line#=rc }
            break
            ;;
        esac
        out+=$line$'\n'
    done
    exec {fd}<&-
    kill "$asking" 2>/dev/null
    out=${out%$'\n'}
    test -z "${out//$'\n'/}" || printf '%s\n' "${out%$'\n'}"
    return "${rc:-97}"
}

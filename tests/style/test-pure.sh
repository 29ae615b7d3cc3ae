#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The cores decide and do nothing else: no I/O, clock, randomness, memory,
# log, thread. Their objects may need only each other, the memory functions,
# and what the compiler itself calls.
. "${top_srcdir:?}/tests/style/lib.sh"
cd "${top_builddir:?}"
nm=${KT_NM:-nm}

test "${KT_SANITIZERS:-no}" = no || skip "sanitizers add symbols of their own"

# archive: members left out, because they are not part of the core.
cores='
lib/base/.libs/libktbase.a: addr apart errtext idnew log net os run
lib/wire/.libs/libktwire.a: buf msg_control msg_json
lib/link/.libs/libktlink.a: conn conn_io conn_listen rpc context
lib/client/.libs/libktclient.a:
replicator/core/.libs/libktreplcore.a:
hub/control/.libs/libkthubcontrol.a:
volplugin/core/.libs/libktvolcore.a:
'

# What any core may need from outside: memory and string functions that look
# only at their arguments, and the compiler's own checks.
allowed='mem(cpy|move|set|cmp|chr|rchr|mem)|__mem(cpy|move|set)_chk
str(len|nlen|cmp|ncmp|chr|rchr)|bcmp
__assert_fail|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_'
# Reference counts of payload buffers, which travel through the cores.
allowed+='
kt_buf_(new|ref|unref|check)
kt_control_(encode|decode)'

# "archive member kind symbol section", for the members of the cores only.
symbols() {
    local line archive out
    while IFS= read -r line; do
        archive=${line%%:*}
        test -n "$archive" && test -f "$archive" || continue
        out=" ${line#*:} "
        # lib.a:part.o:name |value|class|type|size|line|section
        "$nm" -A -f sysv "$archive" 2>/dev/null | tr -d ' ' |
            awk -F '|' -v out="$out" 'NF >= 7 { split($1, at, ":");
                name = at[2]; sub(/\.o$/, "", name);
                sub(/^lib[a-z]*_la-/, "", name);
                if (index(out, " " name " ") == 0)
                    print at[1], name, $3, at[3], $7 }'
    done <<<"$cores"
}

# Reads such lines; prints what is needed and neither given nor allowed.
needs() {
    awk -v allowed="^($(tr '\n' '|' <<<"$allowed" | sed 's/|$//'))$" '
        $3 == "U" { need[$1 " " $2 " " $4] = $4; next }
        $3 ~ /[A-Z]/ { given[$4] = 1 }
        END {
            for (n in need)
                if (!(need[n] in given) && need[n] !~ allowed)
                    print n
        }' | sort
}

verdict "$(symbols | needs)" "the cores need nothing from outside"

# Writable globals are state outside the state.
# Tables of constants that hold addresses are in .data.rel.ro.
writable='^(\.data|\.bss|\.tdata|\.tbss|COM|\*COM\*)'
bad=$(symbols | awk -v w="$writable" \
    '$5 ~ w && $5 !~ /^\.data\.rel\.ro/ && $4 !~ /^\./') || true
verdict "$bad" "the cores have no globals"

# Switches of rules are for the simulator's mutants and for nothing else
# (lib/base/rule.h).
switched() {
    "$nm" -A "$@" 2>/dev/null | grep -E ' kt_(rule_off|reached)$' || true
}
built=$(find . -name '*.a' -o -name '*.so')
# shellcheck disable=SC2086 # names without blanks
bad=$(switched $built kenter kenter-hub kenter-mkfs kenter-replicator \
    kenter-volplugin)
verdict "$bad" "no rule can be switched off in what is installed"
if test -f tests/sim/sim-mutants && test -z "$(switched tests/sim/sim-mutants)"
then
    echo "FAILED: sim-mutants has no switches, or the checker is blind"
    exit 1
fi

# The checker must be able to fail.
for s in malloc time clock_gettime read write uv_run pthread_create printf; do
    test -n "$(echo "x.a core U $s" | needs)" || {
        echo "FAILED: $s was let pass"
        exit 1
    }
done

#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Arrows point down only. A room includes itself and rooms of a lower rank;
# the hub's rooms and the replicator's never each other; quoted includes are
# written from the top of the tree.
. "${top_srcdir:?}/tests/style/lib.sh"

rank() {
    case $1 in
    lib/base/*) echo 0 ;;
    lib/wire/*) echo 1 ;;
    lib/link/* | lib/client/*) echo 2 ;;
    replicator/store/*) echo 3 ;;
    replicator/core/* | hub/control/* | volplugin/core/*) echo 4 ;;
    replicator/daemon/* | hub/daemon/*) echo 5 ;;
    attach/*) echo 5 ;;
    nbdkit-plugin/* | cli/* | mkfs-helper/* | volplugin/*) echo 6 ;;
    tests/*) echo 9 ;;
    *) echo none ;;
    esac
}

# Prints what is wrong with one include, if anything.
judge() {
    local from=$1 to=$2 a b
    a=$(rank "$from") b=$(rank "$to")
    if test "$b" = none; then
        echo "$from: \"$to\" is not written from the top"
    elif test "$a" = none; then
        echo "$from: this room has no rank; add it to this test"
    elif test "$a" != 9 && test "${from%/*}" != "${to%/*}"; then
        if test "$b" -ge "$a"; then
            echo "$from: includes \"$to\", which is not below it"
        fi
        case "${from%%/*} ${to%%/*}" in
        "hub replicator" | "replicator hub")
            echo "$from: includes \"$to\"; they only speak by messages"
            ;;
        esac
    fi
}

bad=$(files c h |
    xargs -r -d '\n' grep -HoE '^ *# *include *"[^"]*"' |
    sed 's/: *# *include *"/ /; s/"$//' |
    while read -r from to; do judge "$from" "$to"; done)
verdict "$bad" "includes point down only"

# The judge must be able to say no.
for pair in "lib/wire/a.c lib/link/b.h" "lib/link/a.c lib/client/b.h" \
    "replicator/core/a.c hub/control/b.h" "lib/base/a.c kt.h" \
    "replicator/store/a.c replicator/core/b.h" "hub/daemon/a.c cli/b.h" \
    "replicator/daemon/a.c hub/control/b.h"; do
    test -n "$(judge $pair)" || {
        echo "FAILED: the judge let pass: $pair"
        exit 1
    }
done

#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The manual pages are the reference: every option --help shows has an =item
# of its own in the page, and every such item is an option --help shows. For
# the plugin the same with its key=value parameters. Help of `PROGRAM OBJECT
# VERB` counts too when `PROGRAM --help` lists that verb.
. "${top_srcdir:?}/tests/style/lib.sh"
build=${top_builddir:?}

# The =item lines of a page, without POD's own marks.
items() {
    grep '^=item' "$1" | sed -E 's/^=item +//; s/[BCFILSX]<+ ?//g; s/ ?>+//g'
}

options() {
    grep -oE -- '(^|[^a-zA-Z0-9-])--[a-z][a-z0-9-]*' |
        grep -oE -- '--[a-z0-9-]+' | sort -u
}

keys() {
    grep -oE '^ *\[?[a-z][a-z-]*=' | tr -d ' [=' | sort -u
}

# The help of a program and of each verb it names.
all_help() {
    local prog=$1 name=${1##*/} help verb
    help=$("$prog" --help)
    echo "$help"
    # "  volume create NAME   ...", "  status   ...". Words of prose look like
    # verbs too: they have no help and add nothing.
    grep -oE "^ +($name )?[a-z]+( [a-z-]+)?" <<<"$help" |
        sed -E "s/^ +//; s/^$name //" | sort -u |
        while read -r object verb; do
            "$prog" "$object" ${verb:+"$verb"} --help 2>/dev/null || true
        done
}

compare() {
    local name=$1 help=$2 page=$3 diff
    diff=$(diff <(echo "$help") <(echo "$page")) || true
    verdict "$(grep '^[<>]' <<<"$diff" || true)" \
        "$name: --help and page agree (< only --help, > only page)"
}

done=0
for prog in kenter kenter-attachd kenter-hub kenter-mkfs kenter-replicator \
    kenter-volplugin; do
    page=$(files pod | grep -E "/$prog\.pod\$" || true)
    test -x "$build/$prog" || test -n "$page" || continue
    test -n "$page" || verdict "$prog" "every program has a page"
    test -x "$build/$prog" || verdict "$page" "every page has a program"
    compare "$prog" "$(all_help "$build/$prog" | options)" \
        "$(items "$page" | options)"
    done=$((done + 1))
done

plugin=$build/.libs/nbdkit-kenter-plugin.so
if test -e "$plugin" && test "${KT_SANITIZERS:-no}" = no; then
    compare "nbdkit-kenter-plugin" \
        "$(nbdkit "$plugin" --help | keys)" \
        "$(items man/nbdkit-kenter-plugin.pod | keys)"
    done=$((done + 1))
fi
test $done -gt 0 || skip "no program is built"

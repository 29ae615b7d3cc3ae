#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Manual pages are sound POD and have the sections a reader looks for.
. "${top_srcdir:?}/tests/style/lib.sh"

pages=$(files pod)
test -n "$pages" || skip "there are no pages"
command -v podchecker >/dev/null || skip "podchecker (of perl) is missing"
bad=
for f in $pages; do
    out=$(podchecker -warnings -warnings "$f" 2>&1) || bad+="$out"$'\n'
    grep -q WARNING <<<"$out" && bad+="$out"$'\n'
    for s in NAME SYNOPSIS DESCRIPTION "SEE ALSO"; do
        grep -qx "=head1 $s" "$f" || bad+="$f: no section $s"$'\n'
    done
done
verdict "$bad" "manual pages are sound"

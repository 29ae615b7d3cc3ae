#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Shell and perl files parse, and those meant to be run have the run bit.
. "${top_srcdir:?}/tests/style/lib.sh"

bad=
for f in $(files sh) $(files | grep -vE '\.'); do
    case $(head -n 1 "$f") in
    '#!'*bash* | '#!'*/sh*)
        bash -n "$f" 2>/dev/null || bad+="$f: does not parse"$'\n'
        ;;
    esac
done
for f in $(files pl); do
    perl -c "$f" 2>/dev/null || bad+="$f: does not parse"$'\n'
done
for f in $(files | xargs -d '\n' grep -lI '^#!' || true); do
    test "$(head -c 2 "$f")" != '#!' || test -x "$f" ||
        bad+="$f: no run bit"$'\n'
done
verdict "$bad" "scripts parse and can be run"

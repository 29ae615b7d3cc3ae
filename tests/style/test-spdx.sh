#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Each source file names its licence once, in its first lines.
. "${top_srcdir:?}/tests/style/lib.sh"

bad=
for f in $(files c h sh pl mk am ac pod) $(files | grep -vE '\.|^LICENSE$'); do
    n=$(head -n 3 "$f" | grep -c 'SPDX-License-Identifier: BSD-3-Clause') ||
        true
    test "$n" = 1 || bad+="$f: no SPDX line at the top"$'\n'
done
for f in $(files c h); do
    head -n 1 "$f" | grep -qxF '/* SPDX-License-Identifier: BSD-3-Clause */' ||
        bad+="$f:1: the first line is not the SPDX line"$'\n'
done
verdict "$bad" "one SPDX line a file"

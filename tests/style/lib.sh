# SPDX-License-Identifier: BSD-3-Clause
# Shared by the style tests: sourced, run from the top of the source tree.
set -eu
cd "${top_srcdir:?}"

skip() {
    echo "skipped: $*"
    exit 77
}

# A checkout may belong to another user than the one who tests it.
our_git() {
    git -c safe.directory='*' "$@"
}

# Every file of ours whose name ends in one of the given suffixes (all files
# without arguments): in a checkout those git knows or would add, in an
# unpacked tarball those it came with.
files() {
    local all pattern
    if test -e .git; then
        all=$(our_git ls-files --cached --others --exclude-standard)
    else
        all=$(cat .tarball-files)
    fi
    if test $# -gt 0; then
        pattern=$(IFS='|'; echo "$*")
        all=$(grep -E "\.($pattern)\$" <<<"$all" || true)
    fi
    # Deleted but not yet committed: git still names it.
    while IFS= read -r f; do
        test ! -f "$f" || echo "$f"
    done <<<"$all"
}

# Fails with the findings when there are any.
verdict() {
    local findings=$1
    shift
    test -z "$findings" || {
        echo "$findings"
        echo "FAILED: $*"
        exit 1
    }
    echo "ok: $*"
}

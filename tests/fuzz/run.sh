#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Builds the fuzz targets with clang in the current directory and runs each
# for FUZZ_SECONDS (30). A corpus stays in ./fuzz-corpus-NAME. FUZZ_TARGETS:
# only these.
#   msg     a frame, as a peer might send it
#   record  a record of a store's files
#   pages   the file of its index
#   store   a whole store, damaged anywhere
set -euo pipefail
src=$(cd "$(dirname "$0")/../.." && pwd)
seconds=${FUZZ_SECONDS:-30}
targets=${FUZZ_TARGETS:-msg record pages store}

command -v clang >/dev/null || {
    echo 'fuzz: clang is missing, install it' >&2
    exit 77
}
flags=(-g -O2 -std=c11 -D_GNU_SOURCE "-I$src" -fno-strict-aliasing)
fuzzed=("${flags[@]}" -fsanitize=address,undefined)
base=("$src"/lib/base/{addr,err,errtext,id,idnew,os,sum,text}.c
    "$src"/lib/wire/*.c)
libs=(-ljansson -llmdb -lpthread)

wants() {
    [[ " $targets " == *" $1 "* ]]
}

# objects DIR SOURCES: compiled for a fuzzer, once for all targets.
objects() {
    local dir=$1 f
    shift
    mkdir -p "$dir"
    for f in "$@"; do
        clang "${fuzzed[@]}" -fsanitize=fuzzer-no-link -c "$f" \
            -o "$dir/$(basename "${f%.c}").o"
    done
}

# run NAME MAX-LEN DIRECTORY...
run() {
    local name=$1 len=$2
    shift 2
    "./fuzz_$name" "-max_len=$len" "-max_total_time=$seconds" \
        -error_exitcode=1 -rss_limit_mb=4096 -print_final_stats=1 "$@"
}

# target NAME OBJECTS: fuzz_NAME
target() {
    local name=$1
    shift
    clang "${fuzzed[@]}" -fsanitize=fuzzer -o "fuzz_$name" \
        "$src/tests/fuzz/fuzz_$name.c" "$@" "${libs[@]}"
}

objects fuzz-objects "${base[@]}"
if wants msg; then
    objects fuzz-objects/link "$src/lib/link/framer.c"
    target msg fuzz-objects/*.o fuzz-objects/link/*.o
    clang "${flags[@]}" -o seed_msg "$src/tests/fuzz/seed_msg.c" \
        "$src/tests/unit/gen_msg.c" "${base[@]}" "$src/lib/link/framer.c" \
        "${libs[@]}"
    mkdir -p fuzz-corpus-msg
    ./seed_msg fuzz-corpus-msg
    run msg 20000 fuzz-corpus-msg
fi
wants record || wants pages || wants store || exit 0

store=()
for f in "$src"/replicator/store/*.c; do
    case ${f##*/} in mem_* | store_mem.c) ;; *) store+=("$f") ;; esac
done
objects fuzz-objects/store "${store[@]}"
clang "${flags[@]}" -o seed_store "$src/tests/fuzz/seed_store.c" \
    "$src"/tests/unit/store_{model,rig_disk}.c "${store[@]}" "${base[@]}" \
    -lcmocka "${libs[@]}"
rm -rf fuzz-store
mkdir -p fuzz-store fuzz-corpus-{record,pages,store}
./seed_store fuzz-corpus-record fuzz-corpus-pages fuzz-store fuzz-corpus-store \
    >seed_store.log 2>&1 || {
    cat seed_store.log
    exit 1
}
if wants record; then
    # It includes two of them, for what they keep to themselves.
    parts=()
    for f in fuzz-objects/store/*.o; do
        case ${f##*/} in index.o | super.o) ;; *) parts+=("$f") ;; esac
    done
    target record fuzz-objects/*.o "${parts[@]}"
    run record 20000 fuzz-corpus-record
fi
if wants pages; then
    target pages fuzz-objects/*.o fuzz-objects/store/*.o
    run pages 98304 fuzz-corpus-pages
fi
if wants store; then
    truncate -s 512K fuzz-store/log.* # the rest is zeros, and takes long
    target store fuzz-objects/*.o fuzz-objects/store/*.o
    KT_FUZZ_STORE=$PWD/fuzz-store run store 400 -len_control=0 fuzz-corpus-store
fi

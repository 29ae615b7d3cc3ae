#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Names, options, sizes, bodies and connections that should not be: a clear
# error each, and the plugin goes on. Then 10 000 volumes. There is no hub.
. "${top_srcdir:?}/tests/docker/lib.sh"
need perl
flood() {
    perl "$top_srcdir/tests/docker/flood.pl" "$api_sock" "$@" \
        >"$work/flood" 2>&1 || fail "$*: $(cat "$work/flood")"
    cat "$work/flood"
}

"$top_builddir/tests/docker/fill" "$work/catalogue" 10000 || fail "fill"
plugin_up --context "$no"
rss=$(rss_kib "$plugin_pid")

# Names.
for name in '' . .. a/b /etc -x 'a b' 'a\nb' '\u00e4' \
    "$(printf 'x%.0s' $(seq 64))" 'a%2e' 'a:b'; do
    for m in Create Get Path Remove Mount; do
        bad 400 'name of a volume' $m "{\"Name\":\"$name\",\"ID\":\"x\"}"
    done
done
for body in '{}' '{"Name":null}' '{"Name":7}' '{"Name":["a"]}' \
    '{"name":"v00000"}'; do
    bad 400 'name of the volume is missing' Get "$body"
done

# Mount ids.
for id in '' a/b "$(printf 'x%.0s' $(seq 129))" 'a b' 'a:b'; do
    bad 400 '^ID' Mount "{\"Name\":\"v00000\",\"ID\":\"$id\"}"
    bad 400 '^ID' Unmount "{\"Name\":\"v00000\",\"ID\":\"$id\"}"
done
bad 400 '^ID' Mount '{"Name":"v00000"}'
bad 400 '^ID' Mount '{"Name":"v00000","ID":7}'

# Options.
opt() { # PATTERN KEY VALUE
    bad 500 "$1" Create "{\"Name\":\"n\",\"Opts\":{\"$2\":\"$3\"}}"
}
opt 'did you mean "size"' sizee 10G
opt 'did you mean "min-write"' min_write 1
opt 'the options are size' colour red
opt 'not there yet' encrypted 1
for size in 0 -1 17E 1.5G ten 4097 '' 65T 99999999999999999999999; do
    opt 'size=.* cannot be' size "$size"
done
opt 'replicas=.* cannot be' replicas 6
opt 'fs=.* cannot be' fs ntfs
opt 'mkfs=.* cannot be' mkfs '; reboot'
opt 'mountopts=.* cannot be' mountopts 'x,../y'
opt 'mode=.* cannot be' mode rwx
bad 500 'twice' Create '{"Name":"n","Opts":{"size":"1G","capacity":"1G"}}'
bad 500 'min-write=3 is more' Create \
    '{"Name":"n","Opts":{"min-write":"3","replicas":"2"}}'
bad 500 'Opts is no object' Create '{"Name":"n","Opts":["size"]}'
bad 500 'is no text' Create '{"Name":"n","Opts":{"size":10}}'

# Bodies.
for body in '{' 'null' '{"Name":"a\u0000b"}' '[]' '"x"' '{"Name":"a"}}' \
    '{"Name":"a","Name":"b"}' \
    '{"Name":"\ud800"}' "$(printf '[%.0s' $(seq 5000))" $'\xff\xfe' '   '; do
    bad 400 '.' Get "$body"
done
printf '{"Name":"%01048576d"}' 0 >"$work/large"
got=$(curl -s -m 20 --unix-socket "$api_sock" -H 'Expect:' -X POST \
    --data-binary "@$work/large" -o "$work/answer" -w '%{http_code}' \
    http://x/VolumeDriver.Get)
test "$got" = 413 || fail "1 MiB: HTTP $got"
jq -r .Err "$work/answer" | grep -q 'larger than 64 KiB' || fail "1 MiB"
got=$(curl -s -m 20 --unix-socket "$api_sock" -H 'Expect:' -X POST \
    -H 'Transfer-Encoding: chunked' --data-binary "@$work/large" \
    -o "$work/answer" -w '%{http_code}' http://x/VolumeDriver.Get)
test "$got" = 413 || fail "1 MiB in chunks: HTTP $got"
got=$(curl -s -m 20 --unix-socket "$api_sock" -o "$work/answer" \
    -w '%{http_code}' http://x/VolumeDriver.List)
test "$got" = 405 && jq -e .Err "$work/answer" >/dev/null || fail "GET: $got"

# Connections.
flood bytes
flood pipeline
flood half 500
flood many 1000
if test -n "${KT_SLOW:-}"; then
    flood idle 29
    flood idle 31
fi

# 10 000 volumes.
took=60000
for i in 1 2 3 4 5; do # the fastest: the machine has more to do
    good List '{}'
    test "$took_ms" -ge $took || took=$took_ms
done
test "$(field '.Volumes | length')" = 10000 || fail "not all of them"
test $took -lt 1000 || fail "10000 volumes took $took ms"
good Get '{"Name":"v09999"}'
test "$(field .Volume.Name)" = v09999 || fail "$answer"

kill -0 "$plugin_pid" || fail "the plugin is gone"
grew=$(($(rss_kib "$plugin_pid") - rss))
test $grew -lt 262144 || fail "it grew by $grew KiB"
curl -s -m 5 --unix-socket "$api_sock" -X POST --data '{}' -o "$work/answer" \
    http://x/VolumeDriver.Capabilities || fail "no answer at the end"
echo "10000 volumes in $took ms; grown by $grew KiB"

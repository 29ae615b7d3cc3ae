# SPDX-License-Identifier: BSD-3-Clause
# The runner of tests/chaos/chaos: draws faults, does them, heals them, and
# starts what died again. One shell does it all, in turns of 50 ms:
#
#   due      what is to be done at a time, in ms: heal a fault, end a process
#   back_at  when a daemon that is down is started again
. "${top_srcdir:?}/tests/chaos/lib.sh"

declare -A back_at=() fault_of=() count=()
due_at=() due_do=()
n_faults=0 crashes=0 skipped=0
client=  # tag of the nbdkit in use
client_n=0 client_host=c1 client_state=up client_args=
client_fault=
client_id=$(printf '%032x' $((SEED + 1)))

now() { # -> $now, in ms
    local up
    read -r up _ </proc/uptime
    now=$((10#${up/./} * 10))
}

draw() { # N -> $drawn, 0 to N - 1
    drawn=$(((RANDOM << 15 | RANDOM) % $1))
}

pick() { # WORD... -> $picked
    draw $#
    picked=${*:$((drawn + 1)):1}
}

note() {
    now
    printf '%8.2f %9.2f %s\n' "$((now - begun))e-3" "${now}e-3" "$*" |
        tee -a "$work/events.log"
}

later() { # MS COMMAND
    due_at+=($((now + $1)))
    due_do+=("$2")
}

healed() { # FAULT
    tell "healed $1"
    note "healed $1"
}

# ---- daemons ----

# What is up when it should not be down. One that ended by itself is a finding,
# unless it said why and left in order: a store on a full disk may refuse.
look_after() { # NAME
    local rc=0
    ! alive "${pid[$1]}" || return 0
    if test -z "${back_at[$1]:-}"; then
        wait "${pid[$1]}" 2>/dev/null || rc=$?
        note "$1 ended by itself: $rc: $(tail -n 1 "$dir/$1/log")"
        test $rc = 1 || crashes=$((crashes + 1))
        back_at[$1]=$((now + 1000))
    fi
    test "$now" -ge "${back_at[$1]}" || return 0
    wait "${pid[$1]}" 2>/dev/null
    if test "$1" = hub; then hub_start; else node_start "$1"; fi
    note "$1 is started"
    unset "back_at[$1]"
    if test -n "${fault_of[$1]:-}"; then
        healed "${fault_of[$1]}"
        unset "fault_of[$1]"
    fi
}

thaw() { # NAME
    local f=$freezer/$tag.$1/freezer.state
    test ! -e "$f" || echo THAWED >"$f"
}

down() { # NAME SIGNAL MS FAULT: and back after MS
    signal "${pid[$1]}" "$2"
    if test "$2" = KILL; then
        thaw "$1" # what is frozen does not even die
        wait "${pid[$1]}" 2>/dev/null
    fi
    back_at[$1]=$((now + $3))
    test -z "${fault_of[$1]:-}" || healed "${fault_of[$1]}"
    fault_of[$1]=$4
}

# ---- the client ----

client_start() {
    client_n=$((client_n + 1))
    client=a$client_n
    # One log for all: there may be hundreds.
    nbdkit_start "$client_host" "$client" $client_args
    client_state=starting
}

look_after_client() {
    case $client_state in
    starting)
        if test -S "$work/$client.sock"; then
            tell "open $work/$client.sock"
            client_state=up
            note "$client serves on $client_host"
            test -z "$client_fault" || healed "$client_fault"
            client_fault=
        elif ! alive "${pid[$client]}"; then
            wait "${pid[$client]}" 2>/dev/null
            client_state=down
            later 500 client_start
        fi
        ;;
    up)
        alive "${pid[$client]}" || {
            wait "${pid[$client]}" 2>/dev/null
            note "$client ended by itself: $?: $(tail -n 1 "$work/$client.log")"
            crashes=$((crashes + 1))
            client_args=wait=30
            client_start
        }
        ;;
    esac
}

other_host() {
    if test $client_host = c1; then client_host=c2; else client_host=c1; fi
}

# ---- faults: f_KIND NUMBER MS ----

f_kill-node() {
    pick "${nodes[@]}"
    what=$picked
    down "$picked" KILL "$2" "$1"
}

f_kill-all() {
    local n
    what="${nodes[*]}"
    for n in "${nodes[@]}"; do
        signal "${pid[$n]}" KILL
    done
    for n in "${nodes[@]}"; do
        draw 3000
        down "$n" KILL $((drawn + 100)) "$1"
    done
}

f_kill-hub() {
    down hub KILL "$2" "$1"
}

f_kill-client() {
    test "$client_state" = up || return 1
    kill_now "$client"
    client_state=down client_fault=$1
    client_args=wait=30
    draw 2
    test "$drawn" = 0 || client_args="wait=30 client-id=$client_id"
    draw 3
    test "$drawn" != 0 || other_host
    what="$client, then $client_host $client_args"
    draw 3000
    later "$drawn" client_start
}

f_term-node() {
    pick "${nodes[@]}"
    what=$picked
    draw 5000
    down "$picked" TERM $((drawn + 500)) "$1"
}

f_stop-node() {
    pick "${nodes[@]}"
    what=$picked
    signal "${pid[$picked]}" STOP
    later "$2" "signal ${pid[$picked]} CONT; healed $1"
}

f_freeze-node() {
    pick "${nodes[@]}"
    what=$picked
    local f=$freezer/$tag.$picked/freezer.state
    test -e "$f" || return 1
    echo FROZEN >"$f"
    later "$2" "thaw $picked; healed $1"
}

f_stop-client() {
    test "$client_state" = up || return 1
    what=$client
    signal "${pid[$client]}" STOP
    later $(($2 / 2)) "signal ${pid[$client]} CONT; healed $1"
}

f_cut-node() {
    pick "${nodes[@]}"
    what=$picked
    local o list=
    for o in "${!addr[@]}"; do
        test "$o" != "$picked" || continue
        cut "$picked" "$o"
        list+="mend $picked $o; "
    done
    later "$2" "$list healed $1"
}

f_cut-one-way() {
    pick "${nodes[@]}"
    local a=$picked
    pick "${!addr[@]}"
    test "$a" != "$picked" || return 1
    draw 2
    if test "$drawn" = 0; then set -- "$@" "$a" "$picked"
    else set -- "$@" "$picked" "$a"; fi
    what="$3 to $4"
    cut_to "$3" "$4"
    later "$2" "mend_to $3 $4; healed $1"
}

f_cut-pair() {
    pick "${nodes[@]}"
    local a=$picked
    pick "${nodes[@]}" "$client_host"
    test "$a" != "$picked" || return 1
    what="$a and $picked"
    cut "$a" "$picked"
    later "$2" "mend $a $picked; healed $1"
}

f_cut-hub() {
    local o list=
    for o in "${!addr[@]}"; do
        test "$o" != hub || continue
        cut hub "$o"
        list+="mend hub $o; "
    done
    later "$2" "$list healed $1"
}

f_reset-node() {
    pick "${nodes[@]}" "$client_host" hub
    what=$picked
    local i
    for ((i = 0; i < 10; i++)); do
        later $((i * $2 / 10)) "resets $picked"
    done
    later "$2" "healed $1"
}

bad_net() { # FAULT MS WORDS: on two hosts
    local h
    what="$3"
    for h in 1 2; do
        pick "${nodes[@]}" "$client_host"
        what+=" $picked"
        proxy_say "$picked" "$3"
        later "$2" "proxy_say $picked clear"
    done
    later "$2" "healed $1"
}

f_net-delay() {
    draw 200
    bad_net "$1" "$2" "delay $drawn $((drawn + 20))"
}

f_net-slow() {
    draw 2000
    bad_net "$1" "$2" "rate $(((drawn + 200) * 1000))"
}

f_net-corrupt() {
    draw 200
    bad_net "$1" "$2" "corrupt $((drawn + 20))"
}

f_net-reset() {
    draw 200
    bad_net "$1" "$2" "reset $((drawn + 20))"
}

f_disk-full() {
    pick "${nodes[@]}"
    what=$picked
    local f=$dir/$picked/disk/filler.$1
    dd if=/dev/zero of="$f" bs=1M 2>/dev/null # until it is full
    later "$2" "rm -f $f; healed $1"
}

f_steal() {
    test "$client_state" = up || return 1
    local old=$client
    other_host
    client_args=steal=true client_fault=$1
    client_start
    what="$client on $client_host from $old"
    later 6000 "kill_now $old"
}

# ---- the run ----

strike() { # MS until it is healed
    local kind=${deck[0]} what=
    deck=("${deck[@]:1}")
    test ${#deck[@]} -gt 0 || shuffle
    n_faults=$((n_faults + 1))
    tell "fault $n_faults $kind"
    if "f_$kind" "$n_faults" "$1"; then
        count[$kind]=$((${count[$kind]:-0} + 1))
        note "fault $n_faults $kind ${what:-} ($1 ms)"
    else
        # Nothing was done: not a fault, and the number is used again.
        tell "healed $n_faults"
        tell "fault $n_faults none"
        tell "healed $n_faults"
        skipped=$((skipped + 1))
    fi
}

# Every kind comes as often as the others, in an order that is drawn.
shuffle() {
    local left=($CHAOS_KINDS) i
    deck=()
    while test ${#left[@]} -gt 0; do
        draw ${#left[@]}
        deck+=("${left[$drawn]}")
        left=("${left[@]:0:$drawn}" "${left[@]:$((drawn + 1))}")
    done
}

turn() {
    local i n at=("${due_at[@]}") what=("${due_do[@]}")
    now
    due_at=() due_do=()
    for ((i = 0; i < ${#at[@]}; i++)); do
        if test "${at[$i]}" -le "$now"; then
            eval "${what[$i]}"
        else
            due_at+=("${at[$i]}")
            due_do+=("${what[$i]}")
        fi
    done
    for n in hub "${nodes[@]}"; do
        look_after "$n"
    done
    look_after_client
    alive "${pid[verify]}" || fail "the verifier is gone: $(cat \
        "$work/verify.out" "$work/verify.log")"
}

proxies() {
    local n o list
    for n in "${nodes[@]}" c1 c2; do
        list=()
        for o in hub "${nodes[@]}"; do
            draw 2
            test "$drawn" = 0 || list+=("$o")
        done
        draw 1000000
        proxy_up "$n" "$drawn" "${list[@]}"
    done
}

heal_all() {
    local n
    for ((n = 0; n < ${#due_at[@]}; n++)); do
        due_at[$n]=0
    done
    for n in "${!back_at[@]}"; do
        back_at[$n]=0
    done
    turn
    until test ${#due_at[@]} = 0 && test ${#back_at[@]} = 0 &&
        test $client_state = up; do
        sleep 0.05
        turn
    done
    note "all is healed"
}

# Healthy for two seconds on end: the hub does not yet know of what has just
# happened. -> $i, tenths of a second it took
wait_settled() {
    local good=0
    for ((i = 0; i < 600 && good < 20; i++)); do
        if test "$("$kenter" status --json 2>/dev/null | jq -r .health)" \
            = healthy; then
            good=$((good + 1))
        else
            good=0
        fi
        sleep 0.1
        turn
    done
    test $good -ge 20
}

# What is there at the end: in 60 s all copies, alike, and every answer.
settle() {
    local i
    rc=0
    if wait_settled; then
        note "healthy after $((i - 20))00 ms"
    else
        note "not healthy after a minute"
        "$kenter" status
        rc=1
    fi
    verify_end || rc=1
    "$kenter" volume verify v | tee "$work/copies" || rc=1
    grep -q 'on 3 replicas, 0 differ' "$work/copies" || rc=1
    test $crashes = 0 || rc=1
}

summary() {
    local kind list= commit writes reads bad pauses
    for kind in $CHAOS_KINDS; do
        test -z "${count[$kind]:-}" || list+="${count[$kind]} $kind, "
    done
    cat "$work/verify.out"
    head -n 400 "$work/verify.log"
    echo "faults: ${list%, }; $skipped not possible; $crashes crashes"
    commit=$(git -C "$top_srcdir" -c safe.directory='*' rev-parse --short HEAD)
    writes=$(sed -n 's/^totals writes=\([0-9]*\).*/\1/p' "$work/verify.out")
    reads=$(sed -n 's/^totals.* reads=\([0-9]*\).*/\1/p' "$work/verify.out")
    bad=$(sed -n 's/^violations //p' "$work/verify.out" | tr ' ' '\n' |
        awk -F= '{n += $2} END {print n + 0}')
    pauses=$(awk '$1 == "pause" && $3 == "alone" {
        split($NF, m, "="); printf "%s %s s, ", $2, m[2]}' "$work/verify.out")
    printf 'ledger: %s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$(date +%F)" "$commit" \
        "chaos SEED=$SEED NODES=$NODES, $CHAOS_SECONDS s" \
        "$writes writes, $reads reads" "${list%, }" "$((bad + crashes))" \
        "longest pause of a fault alone: ${pauses%, }"
}

chaos_run() {
    local end next
    RANDOM=$SEED
    echo "SEED=$SEED NODES=$NODES CHAOS_SECONDS=$CHAOS_SECONDS in $work"
    now
    begun=$now
    cluster_up "$NODES"
    k volume create v --size $bytes --segment 32M
    proxies
    shuffle
    client_args="client-id=$client_id"
    verify_up $bytes --seed "$SEED"
    client_start
    now
    next=$((now + 5000)) end=$((now + CHAOS_SECONDS * 1000))
    while test "$now" -lt $end; do
        turn
        if test "$now" -ge $next; then
            draw $((CHAOS_HEAL_MAX * 1000 - 1000))
            strike $((drawn + 1000))
            next=$((next + CHAOS_EVERY * 1000))
        fi
        sleep 0.05
    done
    heal_all
    settle
    summary
    test $rc = 0 || {
        KT_KEEP=1
        show_logs
        echo "not as it must be: SEED=$SEED"
    }
    exit $rc
}

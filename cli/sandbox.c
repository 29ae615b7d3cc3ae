/* SPDX-License-Identifier: BSD-3-Clause */
/* kenter sandbox up, status, down, kill, start. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/sandbox.h"
#include "cli/verbs.h"
#include "lib/base/os.h"

#define GRACE_MS 5000u

static const char *state_text(const struct sandbox_proc *p)
{
    return p->state == 'T' || p->state == 't' ? "stopped" : "running";
}

static json_t *status_of(const struct sandbox *s, unsigned which)
{
    char name[SANDBOX_NAME_MAX], path[SANDBOX_PATH_MAX];
    char text[KT_ADDR_TEXT_BYTES];
    struct kt_addr a[SANDBOX_ADDRS_MAX];
    struct sandbox_proc p;
    json_t *addrs = json_array();

    bool alive = sandbox_proc_find(s, which, &p);
    unsigned n = sandbox_addresses(s, which, "address", a);
    for (unsigned i = 0; i < n; i++)
        json_array_append_new(addrs, json_string(kt_addr_format(&a[i], text)));
    json_t *o = json_pack(
        "{s:s, s:b, s:s, s:o, s:o, s:s}", "name", sandbox_name(which, name),
        "alive", alive, "state", alive ? state_text(&p) : "dead", "pid",
        alive ? json_integer(p.pid) : json_null(), "addresses", addrs, "log",
        sandbox_path(s, which, "log", path));
    if (alive)
        sandbox_proc_close(&p);
    return o;
}

static json_t *sandbox_json(const struct sandbox *s)
{
    char path[SANDBOX_PATH_MAX];
    json_t *processes = json_array();

    for (unsigned i = 0; i <= s->nodes; i++)
        json_array_append_new(processes, status_of(s, i));
    return json_pack("{s:s, s:s, s:i, s:i, s:o}", "dir", s->dir, "context",
                     sandbox_file(s, "context.json", path), "nodes",
                     (int)s->nodes, "replicas", (int)s->replicas, "processes",
                     processes);
}

static int sandbox_status(struct cli *c)
{
    static const char *const heads[] = {"NAME", "STATE", "PID", "ADDRESSES",
                                        NULL};
    char path[SANDBOX_PATH_MAX];
    struct cli_table t;
    struct sandbox s;
    const json_t *p, *a;
    size_t i, k;

    int r = sandbox_load(c, &s);
    if (r != CLI_DONE)
        return r;
    json_t *o = sandbox_json(&s);
    if (cli_value(c, "json"))
        return cli_print_json(o);
    cli_table_init(&t, heads);
    json_array_foreach(json_object_get(o, "processes"), i, p)
    {
        bool alive = json_is_true(json_object_get(p, "alive"));
        char text[2 * KT_ADDR_TEXT_BYTES] = "", pid[24] = "-";
        size_t n = 0;

        if (alive)
            snprintf(pid, sizeof(pid), "%llu",
                     (unsigned long long)cli_js_uint(p, "pid"));
        json_array_foreach(json_object_get(p, "addresses"), k, a)
        {
            if (n < sizeof(text))
                n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s",
                                      k ? " " : "", json_string_value(a));
        }
        cli_table_cell(&t, "%s", cli_js_text(p, "name"));
        cli_table_cell(&t, "%s", cli_js_text(p, "state"));
        cli_table_cell(&t, "%s", pid);
        cli_table_cell(&t, "%s", text);
    }
    cli_table_print(&t, 0);
    printf("context: %s\nlogs:    %s/*/log\n",
           sandbox_file(&s, "context.json", path), s.dir);
    json_decref(o);
    return CLI_DONE;
}

/* ---- up ---- */

static int make_dirs(const char *dir)
{
    char path[SANDBOX_DIR_MAX];

    for (size_t i = 1; dir[i - 1]; i++) {
        if (dir[i] != '/' && dir[i])
            continue;
        memcpy(path, dir, i);
        path[i] = '\0';
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
            return cli_fail("%s cannot be made (%s): choose a directory you "
                            "may write to with --dir.",
                            path, strerror(errno));
    }
    return CLI_DONE;
}

/* What the options say of a new or an existing sandbox. */
static int apply_options(const struct cli *c, struct sandbox *s, bool exists)
{
    unsigned nodes, replicas;
    uint64_t segment, capacity;

    int r = cli_count(c, "nodes", exists ? s->nodes : 3, 1, SANDBOX_NODES_MAX,
                      &nodes);
    if (r == CLI_DONE)
        r = cli_count(c, "replicas",
                      exists       ? s->replicas
                      : nodes >= 3 ? 3
                                   : nodes,
                      1, 5, &replicas);
    if (r == CLI_DONE)
        r = cli_check_segment(c, &segment);
    if (r == CLI_DONE)
        r = cli_size(c, "capacity", 0, &capacity);
    if (r != CLI_DONE)
        return r;
    if (cli_value(c, "capacity") && capacity < KT_EXTENT_BYTES)
        return cli_usage("--capacity %s is too little: a store needs 4M at "
                         "least.",
                         cli_value(c, "capacity"));
    if (replicas > nodes)
        return cli_usage("--replicas %u needs as many nodes: add --nodes %u.",
                         replicas, replicas);
    if (exists && nodes < s->nodes)
        return cli_fail("the sandbox in %s has %u nodes and none can be taken "
                        "away: \"kenter sandbox down --wipe\" first.",
                        s->dir, s->nodes);
    if (exists && ((segment && segment != s->segment) ||
                   (capacity && capacity != s->capacity)))
        return cli_fail("the sandbox in %s was made with another --segment or "
                        "--capacity: \"kenter sandbox down --wipe\" first.",
                        s->dir);
    s->nodes = nodes;
    s->replicas = replicas;
    if (!exists) {
        s->segment = segment;
        s->capacity = capacity;
    }
    return CLI_DONE;
}

/* A directory that holds other people's files is not made into a sandbox. */
static int check_empty(const struct sandbox *s)
{
    if (rmdir(s->dir) == 0)
        return make_dirs(s->dir);
    if (errno == ENOTEMPTY || errno == EEXIST)
        return cli_fail("%s has other files in it: choose an empty directory "
                        "with --dir.",
                        s->dir);
    if (errno == EBUSY || errno == EINVAL || errno == EACCES)
        return CLI_DONE; /* a mount point, or in a directory not ours */
    return cli_fail("%s cannot be used: %s.", s->dir, strerror(errno));
}

static int prepare(const struct cli *c, struct sandbox *s)
{
    int r = sandbox_find(c, s);
    if (r != CLI_DONE)
        return r;
    int err = sandbox_read(s);
    if (err < 0 && err != -ENOENT)
        return cli_fail("%s/sandbox.json cannot be used: %s.", s->dir,
                        kt_strerror(err));
    r = apply_options(c, s, err == 0);
    if (r == CLI_DONE)
        r = make_dirs(s->dir);
    if (r == CLI_DONE && err == -ENOENT)
        r = check_empty(s);
    if (r == CLI_DONE)
        r = sandbox_lock(s);
    if (r != CLI_DONE)
        return r;
    err = sandbox_save(s);
    if (err < 0)
        return cli_fail("%s/sandbox.json cannot be written: %s.", s->dir,
                        kt_strerror(err));
    return CLI_DONE;
}

static void tell_how(const struct sandbox *s, bool given)
{
    char path[SANDBOX_PATH_MAX], plugin[SANDBOX_PATH_MAX];
    struct kt_addr a;

    printf("a hub and %u node%s are up in %s\n", s->nodes,
           s->nodes == 1 ? "" : "s", s->dir);
    if (!sandbox_socket(s, s->nodes, &a))
        printf("the path is too long for unix sockets: they talk over "
               "loopback TCP\n");
    printf("\nTo use them:\n"
           "  export KENTER_CONTEXT=%s\n"
           "  kenter volume create v1 --size 1G\n"
           "  nbdkit -U v1.sock %s volume=v1\n"
           "To look: kenter status. To stop: kenter sandbox down%s%s\n",
           sandbox_file(s, "context.json", path),
           kt_nbdkit_plugin(plugin, sizeof(plugin)), given ? " --dir " : "",
           given ? s->dir : "");
}

static int sandbox_up(struct cli *c)
{
    struct sandbox s;
    bool was;

    int r = prepare(c, &s);
    if (r == CLI_DONE)
        r = sandbox_start(&s, 0, &was);
    if (r == CLI_DONE)
        r = sandbox_meet_hub(&s);
    for (unsigned i = 1; r == CLI_DONE && i <= s.nodes; i++)
        r = sandbox_start(&s, i, &was);
    if (r == CLI_DONE)
        r = sandbox_wait_nodes(&s);
    if (r != CLI_DONE)
        return r;
    if (cli_value(c, "json"))
        return cli_print_json(sandbox_json(&s));
    tell_how(&s, cli_value(c, "dir") != NULL);
    return CLI_DONE;
}

/* ---- down, kill, start ---- */

/* The operands, or everything with --all, as bits. */
static int choose(const struct cli *c, const struct sandbox *s,
                  uint64_t *ret_mask)
{
    uint64_t mask = 0;

    if (cli_value(c, "all")) {
        if (c->n_operands)
            return cli_usage("give names or --all, not both.");
        mask = (2ull << s->nodes) - 1;
    } else if (c->n_operands == 0) {
        return cli_usage("say which: hub, n1 to n%u, or --all.", s->nodes);
    }
    for (unsigned i = 0; i < c->n_operands; i++) {
        int which = sandbox_which(s, c->operands[i]);
        if (which < 0)
            return cli_fail("there is no \"%s\" in the sandbox %s: it has hub "
                            "and n1 to n%u.",
                            c->operands[i], s->dir, s->nodes);
        mask |= 1ull << which;
    }
    *ret_mask = mask;
    return CLI_DONE;
}

/* Sends sig to all of mask first, so that they go together. */
static int signal_all(const struct sandbox *s, uint64_t mask, int sig,
                      uint64_t *ret_hit)
{
    struct sandbox_proc p;
    char name[SANDBOX_NAME_MAX];
    int status = CLI_DONE;

    *ret_hit = 0;
    for (unsigned i = 0; i <= s->nodes; i++) {
        if (!(mask >> i & 1) || !sandbox_proc_find(s, i, &p))
            continue;
        int r = sandbox_proc_signal(&p, sig);
        if (r < 0)
            status = cli_fail("%s (pid %ld) cannot be signalled: %s.",
                              sandbox_name(i, name), (long)p.pid, strerror(-r));
        else
            *ret_hit |= 1ull << i;
        /* One that is stopped would not notice before it goes on. */
        if (r == 0 && sig == SIGTERM && p.state == 'T')
            r = sandbox_proc_signal(&p, SIGCONT);
        sandbox_proc_close(&p);
    }
    return status;
}

static uint64_t wait_all(const struct sandbox *s, uint64_t mask,
                         unsigned timeout_ms)
{
    uint64_t until = kt_now_ms() + timeout_ms;

    for (unsigned i = 0; i <= s->nodes; i++) {
        uint64_t now = kt_now_ms();
        if (mask >> i & 1 &&
            sandbox_proc_wait(s, i, until > now ? (unsigned)(until - now) : 0))
            mask &= ~(1ull << i);
    }
    return mask; /* those that are still there */
}

/* TERM, five seconds, KILL. */
static int stop_all(const struct sandbox *s, uint64_t mask)
{
    char name[SANDBOX_NAME_MAX];
    uint64_t hit;

    int r = signal_all(s, mask, SIGTERM, &hit);
    uint64_t left = wait_all(s, hit, GRACE_MS);
    if (!left || r != CLI_DONE)
        return r;
    for (unsigned i = 0; i <= s->nodes; i++) {
        if (left >> i & 1)
            fprintf(stderr,
                    "kenter: %s did not end within %u s and is killed.\n",
                    sandbox_name(i, name), GRACE_MS / 1000);
    }
    r = signal_all(s, left, SIGKILL, &hit);
    if (r == CLI_DONE && wait_all(s, hit, GRACE_MS))
        r = cli_fail("some processes do not end even when killed; see "
                     "\"kenter sandbox status\".");
    return r;
}

static int sandbox_down(struct cli *c)
{
    struct sandbox s;

    int r = sandbox_load(c, &s);
    if (r == CLI_DONE)
        r = sandbox_lock(&s);
    /* The hub first: it would take each node's leave for a failure to repair,
     * and nothing has to move when all of them stop. */
    if (r == CLI_DONE)
        r = stop_all(&s, 1);
    if (r == CLI_DONE)
        r = stop_all(&s, ((2ull << s.nodes) - 1) & ~1ull);
    if (r == CLI_DONE && cli_value(c, "wipe"))
        r = sandbox_wipe(&s);
    if (r != CLI_DONE)
        return r;
    if (cli_value(c, "json"))
        return cli_print_json(json_pack("{s:s, s:b}", "dir", s.dir, "wiped",
                                        cli_value(c, "wipe") != NULL));
    printf(cli_value(c, "wipe") ? "the sandbox in %s is down and removed.\n"
                                : "the sandbox in %s is down; its data stay.\n",
           s.dir);
    return CLI_DONE;
}

static const struct {
    const char *name;
    int sig;
    bool ends;
} signals[] = {
    {"KILL", SIGKILL, true}, {"TERM", SIGTERM, true},  {"INT", SIGINT, true},
    {"ABRT", SIGABRT, true}, {"STOP", SIGSTOP, false}, {"CONT", SIGCONT, false},
};

static int sandbox_kill(struct cli *c)
{
    const char *name = cli_value(c, "signal");
    char text[SANDBOX_NAME_MAX];
    uint64_t mask, hit;
    struct sandbox s;
    size_t k = 0;

    if (name) {
        const char *bare = strncasecmp(name, "SIG", 3) == 0 ? name + 3 : name;
        while (k < KT_ARRAY_LEN(signals) &&
               strcasecmp(signals[k].name, bare) != 0)
            k++;
        if (k == KT_ARRAY_LEN(signals))
            return cli_usage("--signal %s cannot be sent: use KILL, TERM, INT, "
                             "ABRT, STOP or CONT.",
                             name);
    }
    int r = sandbox_load(c, &s);
    if (r == CLI_DONE)
        r = choose(c, &s, &mask);
    if (r == CLI_DONE)
        r = signal_all(&s, mask, signals[k].sig, &hit);
    if (r != CLI_DONE)
        return r;
    for (unsigned i = 0; i <= s.nodes; i++) {
        if (mask >> i & 1 && !(hit >> i & 1) && !cli_value(c, "all"))
            return cli_fail("%s does not run: \"kenter sandbox start %s\" "
                            "starts it.",
                            sandbox_name(i, text), sandbox_name(i, text));
    }
    if (signals[k].ends && wait_all(&s, hit, 2 * GRACE_MS))
        return cli_fail("SIG%s was sent, but not everything ended within "
                        "%u s; see \"kenter sandbox status\".",
                        signals[k].name, 2 * GRACE_MS / 1000);
    if (cli_value(c, "json"))
        return cli_print_json(sandbox_json(&s));
    return CLI_DONE;
}

static int sandbox_start_verb(struct cli *c)
{
    char name[SANDBOX_NAME_MAX];
    uint64_t mask;
    struct sandbox s;
    bool was;

    int r = sandbox_load(c, &s);
    if (r == CLI_DONE)
        r = choose(c, &s, &mask);
    if (r == CLI_DONE)
        r = sandbox_lock(&s);
    for (unsigned i = 0; r == CLI_DONE && i <= s.nodes; i++) {
        if (!(mask >> i & 1))
            continue;
        r = sandbox_start(&s, i, &was);
        if (r == CLI_DONE && i == 0 && !was)
            r = sandbox_meet_hub(&s);
        if (r == CLI_DONE && was && !cli_value(c, "all"))
            fprintf(stderr, "kenter: %s runs already.\n",
                    sandbox_name(i, name));
    }
    if (r == CLI_DONE && cli_value(c, "json"))
        return cli_print_json(sandbox_json(&s));
    return r;
}

#define DIR_OPT                                                                \
    {                                                                          \
        "dir", "DIR", false,                                                   \
            "where the sandbox is (default: $KENTER_SANDBOX, then "            \
            "~/.local/share/kenter/sandbox)"                                   \
    }
#define END_OPT                                                                \
    {                                                                          \
        NULL, NULL, false, NULL                                                \
    }

static const struct cli_opt up_opts[] = {
    {"nodes", "N", false, "how many nodes, 1 to 32 (default: 3)"},
    {"replicas", "N", false,
     "replicas of a volume that does not say (default: 3, or as many as there "
     "are nodes)"},
    {"segment", "SIZE", false,
     "segment of a volume that does not say: a power of two from 4M to 16G "
     "(default: 16G)"},
    {"capacity", "SIZE", false,
     "how much each node may store (default: what the disk has)"},
    DIR_OPT,
    END_OPT,
};
static const struct cli_opt dir_opts[] = {DIR_OPT, END_OPT};
static const struct cli_opt down_opts[] = {
    {"wipe", NULL, false, "remove the directory and all data in it"},
    DIR_OPT,
    END_OPT,
};
static const struct cli_opt kill_opts[] = {
    {"signal", "NAME", false,
     "KILL, TERM, INT, ABRT, STOP or CONT (default: KILL)"},
    {"all", NULL, false, "everything that runs, at once"},
    DIR_OPT,
    END_OPT,
};
static const struct cli_opt start_opts[] = {
    {"all", NULL, false, "everything that does not run"},
    DIR_OPT,
    END_OPT,
};

const struct cli_verb cli_sandbox_verbs[] = {
    {"sandbox", "up", NULL, 0, 0, sandbox_up, up_opts,
     "start a whole cluster on this machine",
     "Real daemons, listening on loopback and unix sockets only, for trying, "
     "testing and CI. In a sandbox that is there already, starts what is down; "
     "more --nodes join it. Prints how to point other commands at it."},
    {"sandbox", "status", NULL, 0, 0, sandbox_status, dir_opts,
     "show its processes and addresses", NULL},
    {"sandbox", "down", NULL, 0, 0, sandbox_down, down_opts, "stop all of it",
     "The hub first, then the nodes: TERM, and KILL after 5 s. The data stay "
     "unless --wipe is given."},
    {"sandbox", "kill", "NAME", 0, SANDBOX_NODES_MAX + 1, sandbox_kill,
     kill_opts, "kill some of it (hub, n1, n2 ...)",
     "Returns when the processes are gone."},
    {"sandbox", "start", "NAME", 0, SANDBOX_NODES_MAX + 1, sandbox_start_verb,
     start_opts, "start again what is down",
     "Returns when it listens; what it missed is copied in the background."},
    {NULL, NULL, NULL, 0, 0, NULL, NULL, NULL, NULL},
};

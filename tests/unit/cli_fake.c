/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/cli_fake.h"

#include <ftw.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "lib/base/os.h"
#include "lib/link/framer.h"
#include "tests/unit/unit.h"

void fake_dir(char dir[64])
{
    snprintf(dir, 64, "/tmp/kt-cli-XXXXXX");
    assert_non_null(mkdtemp(dir));
}

void fake_write(const char *dir, const char *name, const char *text)
{
    char path[160];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fputs(text, f) < 0, 0);
    assert_int_equal(fclose(f), 0);
}

void fake_context(const char *dir, const char *addr)
{
    char text[400];

    snprintf(text, sizeof(text),
             "{\"version\": 1, \"cluster\": "
             "\"00000000000000000000000000000001\", \"node\": \"here\", "
             "\"hub\": [\"%s\"]}",
             addr);
    fake_write(dir, "context.json", text);
}

static int remove_one(const char *path, const struct stat *st, int flag,
                      struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

void fake_remove(const char *dir)
{
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- the server, in its own process: plain exits instead of asserts ---- */

static void must(bool good)
{
    if (!good)
        _exit(3);
}

static void send_msg(int fd, const struct kt_msg *m)
{
    static uint8_t frame[65536];

    int n = kt_msg_encode(m, frame, sizeof(frame));
    must(n > 0);
    /* The peer may be gone: then there is nobody to tell. */
    if (send(fd, frame, (size_t)n, MSG_NOSIGNAL) < 0)
        return;
    if (m->buf && m->buf->data_len)
        (void)!send(fd, m->buf->data, m->buf->data_len, MSG_NOSIGNAL);
}

static bool answer_admin(const struct fake *f, int fd, const struct kt_msg *m)
{
    const char *op = json_string_value(json_object_get(m->json, "op"));
    const struct fake_reply *r = f->replies;

    while (r && r->op && strcmp(r->op, op) != 0)
        r++;
    must(r && r->op);
    if (!r->json)
        return false;
    json_t *doc = json_loads(r->json, 0, NULL);
    must(doc != NULL);
    json_object_set(doc, "request", m->json);
    struct kt_msg reply = {.type = KT_MSG_ADMIN_OK, .req = m->req, .json = doc};
    send_msg(fd, &reply);
    json_decref(doc);
    json_decref(m->json);
    return true;
}

static void answer_digest(const struct fake *f, int fd, const struct kt_msg *m,
                          unsigned *tries)
{
    struct kt_digest_row rows[64];
    struct kt_msg reply = {.type = KT_MSG_DIGEST,
                           .req = m->req,
                           .chain = m->chain,
                           .epoch = m->epoch};

    unsigned n = f->rows(++*tries, rows);
    reply.buf = kt_buf_new(64 * KT_DIGEST_ROW_BYTES, 0);
    for (unsigned i = 0; i < n; i++)
        kt_digest_row_encode(&rows[i],
                             reply.buf->data + i * KT_DIGEST_ROW_BYTES);
    reply.buf->data_len = n * KT_DIGEST_ROW_BYTES;
    reply.u.digest.first = UINT32_MAX;
    reply.u.digest.count = n;
    send_msg(fd, &reply);
    kt_buf_unref(reply.buf);
}

static bool answer(const struct fake *f, int fd, const struct kt_msg *m,
                   unsigned *tries)
{
    struct kt_msg ok = {.type = KT_MSG_HELLO_OK, .req = m->req};

    switch (m->type) {
    case KT_MSG_HELLO:
        ok.u.hello.role = f->rows ? KT_ROLE_REPLICATOR : KT_ROLE_HUB;
        ok.u.hello.cls = m->u.hello.cls;
        ok.u.hello.cluster = f->cluster;
        ok.u.hello.store = f->store;
        ok.u.hello.boot = f->boot;
        send_msg(fd, &ok);
        return true;
    case KT_MSG_ADMIN:
        return answer_admin(f, fd, m);
    case KT_MSG_DIGEST_GET:
        answer_digest(f, fd, m, tries);
        return true;
    default:
        must(false);
        return false;
    }
}

static void serve_one(const struct fake *f, int fd, unsigned *tries)
{
    static struct kt_framer framer;
    static struct kt_msg_room room;
    uint8_t bytes[4096];
    struct kt_buf *buf;
    struct kt_msg m;
    bool on = true;

    kt_framer_init(&framer);
    while (on) {
        ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
        if (n <= 0)
            break;
        for (size_t at = 0, used; on && at < (size_t)n; at += used) {
            int r = kt_framer_feed(&framer, bytes + at, (size_t)n - at, &used);
            must(r >= 0);
            if (r == 0)
                continue;
            must(kt_framer_take(&framer, &room, &m, &buf) == 0);
            framer.hello_done = true;
            on = answer(f, fd, &m, tries);
            kt_buf_unref(buf);
        }
    }
    kt_framer_release(&framer);
    close(fd);
}

void fake_start(struct fake *f, const char *name)
{
    struct kt_addr a;
    unsigned tries = 0;

    snprintf(f->addr, sizeof(f->addr), "unix:%s/%s.sock", f->dir, name);
    assert_int_equal(kt_addr_parse(f->addr, &a), 0);
    int fd = kt_listen(&a, NULL);
    assert_true(fd >= 0);
    f->pid = fork();
    assert_true(f->pid >= 0);
    if (f->pid > 0) {
        close(fd);
        return;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        (void)poll(&p, 1, -1);
        int c = accept(fd, NULL, NULL);
        if (c >= 0)
            serve_one(f, c, &tries);
    }
}

void fake_stop(struct fake *f)
{
    if (f->pid > 0) {
        kill(f->pid, SIGKILL);
        waitpid(f->pid, NULL, 0);
    }
    f->pid = 0;
}

/* ---- running the program ---- */

static void slurp(FILE *f, char *ret)
{
    fseek(f, 0, SEEK_SET);
    size_t n = fread(ret, 1, FAKE_TEXT_BYTES - 1, f);
    ret[n] = '\0';
    fclose(f);
}

struct said *fake_run(const char *dir, ...)
{
    static struct said said;
    char *argv[24] = {NULL};
    char context[96];
    int argc = 0;
    va_list ap;

    argv[argc++] = strdup("kenter");
    va_start(ap, dir);
    for (const char *w; (w = va_arg(ap, const char *)) != NULL;)
        argv[argc++] = strdup(w);
    va_end(ap);
    if (dir) {
        snprintf(context, sizeof(context), "--context=%s/context.json", dir);
        argv[argc++] = strdup(context);
    }
    FILE *out = tmpfile(), *err = tmpfile();
    assert_non_null(out);
    assert_non_null(err);
    fflush(stdout);
    fflush(stderr);
    int saved_out = dup(STDOUT_FILENO), saved_err = dup(STDERR_FILENO);
    dup2(fileno(out), STDOUT_FILENO);
    dup2(fileno(err), STDERR_FILENO);
    said.status = cli_main(argc, argv);
    fflush(stdout);
    fflush(stderr);
    dup2(saved_out, STDOUT_FILENO);
    dup2(saved_err, STDERR_FILENO);
    close(saved_out);
    close(saved_err);
    slurp(out, said.out);
    slurp(err, said.err);
    for (int i = 0; i < argc; i++)
        free(argv[i]);
    return &said;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* One logfmt line a call, made in a buffer and given to the kernel by one
 * write, so lines of several threads never mix.
 *
 * A fault can repeat an event thousands of times a second; the disk and the
 * reader must survive that. Each event may print LINES_MAX lines in a window
 * of one second. The rest is counted, and the count rides on the first line
 * of the event after it. */
#include "lib/base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/os.h"

#define LINE_BYTES 1024
#define LINES_MAX 20
#define WINDOW_MS 1000
#define EVENTS_MAX 64

struct event {
    char name[32];
    uint64_t start_ms; /* of the window */
    unsigned lines;    /* printed in it */
    uint64_t dropped;  /* since the last printed line */
};

static atomic_int log_level = KT_LOG_INFO;
static pthread_mutex_t events_lock = PTHREAD_MUTEX_INITIALIZER;
static struct event events[EVENTS_MAX];

static const char *const names[] = {"error", "warn", "info", "debug"};

int kt_log_level_parse(const char *text, enum kt_log_level *ret)
{
    for (unsigned i = 0; i < KT_ARRAY_LEN(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret = (enum kt_log_level)i;
            return 0;
        }
    }
    return -EINVAL;
}

void kt_log_set_level(enum kt_log_level level)
{
    atomic_store(&log_level, (int)level);
}

/* The slot of name; when all are taken, the one that was quiet longest. */
static struct event *event_find(const char *name, uint64_t now_ms)
{
    struct event *oldest = &events[0];

    for (size_t i = 0; i < EVENTS_MAX; i++) {
        struct event *e = &events[i];
        if (e->name[0] && strncmp(e->name, name, sizeof(e->name) - 1) == 0)
            return e;
        if (e->start_ms < oldest->start_ms)
            oldest = e;
    }
    memset(oldest, 0, sizeof(*oldest));
    memcpy(oldest->name, name, strnlen(name, sizeof(oldest->name) - 1));
    oldest->start_ms = now_ms;
    return oldest;
}

/* Whether a line of this event may be printed, and how many were not. */
static bool event_admit(const char *name, uint64_t *ret_dropped)
{
    uint64_t now_ms = kt_now_ms();
    bool admit = false;

    pthread_mutex_lock(&events_lock);
    struct event *e = event_find(name, now_ms);
    if (now_ms - e->start_ms >= WINDOW_MS) {
        e->start_ms = now_ms;
        e->lines = 0;
    }
    if (e->lines < LINES_MAX) {
        e->lines++;
        *ret_dropped = e->dropped;
        e->dropped = 0;
        admit = true;
    } else {
        e->dropped++;
    }
    pthread_mutex_unlock(&events_lock);
    return admit;
}

/* The wall clock is for the reader only; nothing is decided by it. */
static size_t put_time(char *buf, size_t size)
{
    struct timespec ts;
    struct tm tm;

    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    size_t n = strftime(buf, size, "ts=%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(buf + n, size - n, ".%03ldZ ", ts.tv_nsec / 1000000);
    return n + strlen(buf + n);
}

void kt_log(enum kt_log_level level, const char *event, const char *fmt, ...)
{
    char line[LINE_BYTES];
    uint64_t dropped = 0;
    int saved_errno = errno; /* callers may still want to print it */
    va_list ap;

    if ((int)level > atomic_load(&log_level) || !event_admit(event, &dropped))
        return;

    /* The last byte is for the newline. */
    size_t size = sizeof(line) - 1;
    size_t n = put_time(line, size);
    int m =
        snprintf(line + n, size - n, "level=%s event=%s ", names[level], event);
    n += (size_t)m < size - n ? (size_t)m : size - n - 1;
    if (dropped > 0) {
        m = snprintf(line + n, size - n, "suppressed=%llu ",
                     (unsigned long long)dropped);
        n += (size_t)m < size - n ? (size_t)m : size - n - 1;
    }
    va_start(ap, fmt);
    m = vsnprintf(line + n, size - n, fmt, ap);
    va_end(ap);
    if (m > 0)
        n += (size_t)m < size - n ? (size_t)m : size - n - 1;

    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)line[i] < ' ' || line[i] == 127)
            line[i] = '?';
    }
    while (n > 0 && line[n - 1] == ' ')
        n--;
    line[n++] = '\n';
    /* There is nobody to tell when stderr itself is gone. */
    ssize_t written = write(STDERR_FILENO, line, n);
    (void)written;
    errno = saved_errno;
}

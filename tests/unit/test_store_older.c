/* SPDX-License-Identifier: BSD-3-Clause */
/* A store as format 2 left it: the records of its log stand side by side
 * wherever they were written by themselves, and none says that it ends a
 * group. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/os.h"
#include "lib/base/sum.h"
#include "replicator/store/logfmt.h"
#include "replicator/store/super.h"
#include "tests/unit/store_model.h"

#define CHAIN 3u
#define RECORDS 40u
#define REC_BYTES log_rec_bytes(1, KT_SECTOR_BYTES)

static int open_file(const struct rig *g, const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", g->dir, name);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    return fd;
}

static void set_format(const struct rig *g, const char *name, uint8_t format)
{
    uint8_t b[SUPER_BYTES];
    int fd = open_file(g, name);
    assert_int_equal(kt_pread_all(fd, b, sizeof(b), 0), 0);
    b[8] = format;
    struct kt_id sum = kt_sum128(b, sizeof(b) - 16);
    memcpy(b + sizeof(b) - 16, sum.b, 16);
    assert_int_equal(kt_pwrite_all(fd, b, sizeof(b), 0), 0);
    close(fd);
}

static void pack_log(const struct rig *g)
{
    const uint32_t end = rig_record_at(RECORDS);
    uint8_t *b = calloc(1, end), *packed = calloc(1, end);
    struct log_rec_head h;
    int fd = open_file(g, "log.00000001");
    assert_non_null(b);
    assert_non_null(packed);
    assert_int_equal(kt_pread_all(fd, b, end, 0), 0);
    memcpy(packed, b, LOG_SEG_HEAD_BYTES);
    for (uint32_t i = 0; i < RECORDS; i++) {
        uint8_t *to = packed + LOG_SEG_HEAD_BYTES + i * REC_BYTES;
        const uint8_t *from = b + rig_record_at(i);
        assert_int_equal(log_rec_decode(from, &h), 0);
        assert_true(h.ends);
        h.ends = false;
        memcpy(to, from, REC_BYTES);
        log_rec_encode(&h, to);
    }
    assert_int_equal(kt_pwrite_all(fd, packed, end, 0), 0);
    close(fd);
    free(b);
    free(packed);
}

static void a_log_of_format_2_is_read_and_goes_on(void **state)
{
    struct rig g;
    struct model m;
    (void)state;
    rig_init(&g, 8);
    rig_open(&g);
    make_chain(&g, &m, CHAIN);
    for (uint32_t i = 0; i < RECORDS; i++)
        assert_int_equal(do_write(&g, &m, i % 3, i), 0);
    rig_close(&g);
    pack_log(&g);
    set_format(&g, "super.a", 2);
    set_format(&g, "super.b", 2);
    for (unsigned k = 0; k < 3; k++) { /* with records of both kinds */
        rig_open(&g);
        check_chain(&g, &m);
        for (uint32_t i = 0; i < 5; i++)
            assert_int_equal(do_write(&g, &m, i % 3, 100 + i), 0);
        rig_close(&g);
    }
    rig_open(&g);
    check_chain(&g, &m);
    rig_free(&g);
}

static void a_newer_format_is_left_alone(void **state)
{
    struct rig g;
    struct model m;
    (void)state;
    rig_init(&g, 8);
    rig_open(&g);
    make_chain(&g, &m, CHAIN);
    rig_close(&g);
    set_format(&g, "super.a", SUPER_VERSION + 1);
    assert_true(rig_try_open(&g) < 0);
    assert_non_null(strstr(g.why, "format"));
    set_format(&g, "super.a", SUPER_VERSION);
    rig_open(&g);
    rig_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_log_of_format_2_is_read_and_goes_on),
        cmocka_unit_test(a_newer_format_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "attach/kernel.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/log.h"
#include "lib/base/os.h"

int attach_why(char ret_why[ATTACH_WHY_BYTES], int err, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(ret_why, ATTACH_WHY_BYTES, fmt, ap);
    va_end(ap);
    return err;
}

static void load_module(void)
{
    /* A volume has no partitions; looking for them is I/O of its own. */
    const char *const argv[] = {"modprobe", "nbd", "max_part=0", NULL};
    char out[256];

    if (kt_run(argv, out, sizeof(out)) != 0)
        kt_log(KT_LOG_WARN, "modprobe", "err=\"%s\"", out);
}

int kernel_open(struct nbdnl *ret_n, char ret_why[ATTACH_WHY_BYTES])
{
    int r = nbdnl_open(ret_n);
    if (r == -ENOENT) {
        load_module();
        r = nbdnl_open(ret_n);
    }
    if (r == -ENOENT)
        return attach_why(ret_why, -ENODEV,
                          "this kernel has no nbd driver, so there can be no "
                          "/dev/nbdN: \"modprobe nbd\" finds none; install "
                          "the kernel's full set of modules");
    if (r < 0)
        return attach_why(ret_why, r,
                          "the kernel's nbd driver cannot be asked: %s",
                          kt_strerror(r));
    return 0;
}

int attach_kernel(char ret_why[ATTACH_WHY_BYTES])
{
    struct nbdnl n;

    if (geteuid() != 0)
        return attach_why(ret_why, -EPERM,
                          "devices of the kernel are made by root only");
    int r = kernel_open(&n, ret_why);
    if (r == 0)
        nbdnl_close(&n);
    return r;
}

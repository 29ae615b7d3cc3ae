/* SPDX-License-Identifier: BSD-3-Clause */
/* Identities that come from the kernel. */
#include "lib/base/id.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "lib/base/os.h"

void kt_id_random(struct kt_id *ret_id)
{
    size_t done = 0;

    while (done < sizeof(ret_id->b)) {
        ssize_t n = getrandom(ret_id->b + done, sizeof(ret_id->b) - done, 0);
        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || errno != EINTR)
            /* An identity that might repeat is worse than none. */
            abort();
    }
}

int kt_boot_id(struct kt_id *ret_id)
{
    char *text;
    char hex[KT_ID_HEX_BYTES];
    size_t n = 0;

    int r = kt_read_file("/proc/sys/kernel/random/boot_id", 128, &text);
    if (r < 0)
        return r;
    for (const char *p = text; *p && *p != '\n'; p++) {
        if (*p == '-')
            continue;
        if (n == KT_ID_HEX_BYTES - 1) {
            n = 0;
            break;
        }
        hex[n++] = *p;
    }
    hex[n] = '\0';
    free(text);
    return kt_id_parse(hex, ret_id);
}

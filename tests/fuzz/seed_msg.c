/* SPDX-License-Identifier: BSD-3-Clause */
/* Writes a first corpus for fuzz_msg into a directory: one frame of each
 * message. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/gen_msg.h"

static struct kt_msg_room room;

int main(int argc, char **argv)
{
    struct gen g = {99};

    if (argc != 2) {
        fprintf(stderr, "usage: seed_msg DIR\n");
        return 2;
    }
    for (unsigned type = 0; type < KT_MSG_TYPE_END; type++) {
        struct kt_msg m;
        char path[512];
        size_t len;
        if (!gen_knows(type))
            continue;
        gen_msg(&g, (uint8_t)type, &room, &m);
        uint8_t *b = gen_frame(&m, &len);
        snprintf(path, sizeof(path), "%s/%s", argv[1], kt_msg_name(type));
        FILE *out = fopen(path, "wb");
        /* The first byte steers: mend the sums, after the handshake. */
        if (!out || fputc(0x21, out) < 0 || fwrite(b, 1, len, out) != len ||
            fclose(out) != 0) {
            perror(path);
            return 1;
        }
        free(b);
        kt_buf_unref(m.buf);
    }
    return 0;
}

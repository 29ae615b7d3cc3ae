/* SPDX-License-Identifier: BSD-3-Clause */
/* What people type and read: names, sizes, addresses, times. */
#ifndef KT_BASE_TEXT_H
#define KT_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/kt.h"

/* ^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$ . NULL is invalid. Pure. */
bool kt_name_valid(const char *name);

/* "10G", "512M", "4096": powers of 1024 by K M G T P E (or small letters), an
 * optional "iB" or "B" after the letter. 0, -EINVAL (not a size) or -ERANGE
 * (over 2^63-1). ret_bytes is written only on success. */
int kt_size_parse(const char *text, uint64_t *ret_bytes) KT_MUST_CHECK;

#define KT_SIZE_TEXT_BYTES 16
/* "1.5 GiB"; returns ret_text. */
char *kt_size_format(uint64_t bytes, char ret_text[KT_SIZE_TEXT_BYTES]);

enum kt_addr_kind { KT_ADDR_NONE, KT_ADDR_TCP, KT_ADDR_UNIX };

#define KT_ADDR_TEXT_BYTES 120
struct kt_addr {
    enum kt_addr_kind kind;
    uint16_t port;  /* TCP only; 0 asks the kernel for one */
    char host[108]; /* IPv4 or IPv6 literal, or the socket's path */
};

/* "tcp:127.0.0.1:9720", "tcp:[::1]:9720", "unix:/run/kenter/hub.sock".
 * 0 or -EINVAL. Host names are not resolved: literals only. */
int kt_addr_parse(const char *text, struct kt_addr *ret_addr) KT_MUST_CHECK;
char *kt_addr_format(const struct kt_addr *a,
                     char ret_text[KT_ADDR_TEXT_BYTES]);
/* A unix socket, 127.0.0.0/8 or ::1. */
bool kt_addr_is_local(const struct kt_addr *a);

#endif

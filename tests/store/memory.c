/* SPDX-License-Identifier: BSD-3-Clause */
/* Allocations that can be made to fail: those of the code this is linked to,
 * by the linker's --wrap. LMDB's and libc's own are not among them. */
#include <errno.h>
#include <stdlib.h>

#include "tests/store/shim.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

void *__wrap_malloc(size_t n)
{
    return shim_memory_fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return shim_memory_fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return shim_memory_fails() ? NULL : __real_realloc(p, n);
}

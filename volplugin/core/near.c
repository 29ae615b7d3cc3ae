/* SPDX-License-Identifier: BSD-3-Clause */
/* The word somebody meant. */
#include <string.h>

#include "volplugin/core/spec.h"

#define WORD_MAX 32u

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned m = a < b ? a : b;

    return m < c ? m : c;
}

/* Insertions, deletions, replacements, and two neighbours exchanged. */
static unsigned distance(const char *a, size_t na, const char *b, size_t nb)
{
    unsigned d[3][WORD_MAX + 1]; /* rows i, i-1, i-2, by turns */

    for (unsigned j = 0; j <= nb; j++)
        d[0][j] = j;
    for (unsigned i = 1; i <= na; i++) {
        unsigned *now = d[i % 3], *up = d[(i + 2) % 3], *up2 = d[(i + 1) % 3];
        now[0] = i;
        for (unsigned j = 1; j <= nb; j++) {
            unsigned differ = a[i - 1] != b[j - 1];
            now[j] = min3(up[j] + 1, now[j - 1] + 1, up[j - 1] + differ);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = min3(now[j], up2[j - 2] + 1, now[j]);
        }
    }
    return d[na % 3][nb];
}

const char *vol_nearest(const char *word, const char *const *words)
{
    size_t n = strlen(word);
    const char *best = NULL;
    unsigned least = 4; /* farther than three edits is another word */

    if (n > WORD_MAX)
        return NULL;
    for (; *words; words++) {
        size_t m = strlen(*words);
        assert(m <= WORD_MAX);
        unsigned d = distance(word, n, *words, m);
        /* Of a short word more than half would be changed. */
        if (d < least && d < m) {
            least = d;
            best = *words;
        }
    }
    return best;
}

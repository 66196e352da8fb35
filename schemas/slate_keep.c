/* slate_keep.c - a slate cut down to some of its candidates, in place. */
#include "schemas/slate.h"
#include <string.h>

static void keep_segments(struct slate *s, const uint8_t *keep, uint32_t kept)
{
    for (uint32_t row = 0; row < s->n_segments; row++) {
        uint16_t *to = s->segments + (size_t)row * kept;
        const uint16_t *from = s->segments + (size_t)row * s->n_items;
        for (uint32_t i = 0; i < s->n_items; i++)
            if (keep[i]) *to++ = from[i];
    }
}

static void keep_ranks(struct slate *s, const uint8_t *keep, uint32_t kept)
{
    for (uint32_t row = 0; s->ranks != NULL && row < SLATE_RANKS; row++) {
        uint32_t *to = s->ranks + (size_t)row * kept;
        const uint32_t *from = s->ranks + (size_t)row * s->n_items;
        for (uint32_t i = 0; i < s->n_items; i++)
            if (keep[i]) *to++ = from[i];
    }
}

void slate_keep(struct slate *s, const uint8_t *keep)
{
    const size_t F = s->n_numeric;
    uint32_t n = 0, hashed = 0;
    for (uint32_t i = 0; i < s->n_items; i++) {
        const uint32_t from = s->hashed_off != NULL ? s->hashed_off[i] : 0;
        const uint32_t to =
            s->hashed_off != NULL ? s->hashed_off[i + 1] : 0; /* read before [n + 1] is written: n <= i */
        if (!keep[i]) continue;
        s->items[n] = s->items[i];
        if (F > 0) memmove(s->numeric + n * F, s->numeric + i * F, F * sizeof *s->numeric);
        for (uint32_t k = from; k < to; k++, hashed++) {
            s->hashed_idx[hashed] = s->hashed_idx[k];
            s->hashed_val[hashed] = s->hashed_val[k];
        }
        n++;
        if (s->hashed_off != NULL) s->hashed_off[n] = hashed;
    }
    keep_segments(s, keep, n);
    keep_ranks(s, keep, n);
    s->n_items = n;
}

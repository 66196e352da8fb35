/* quota.c - see quota.h. */
#include "trainer/quota.h"
#include "base/hash.h"
#include "base/mem.h"
#include <string.h>

struct quota {
    uint32_t n[QUOTA_ROWS][QUOTA_WIDTH];
};

enum status quota_new(struct quota **out, struct err *e)
{
    *out = mem_calloc(1, sizeof **out);
    return *out != NULL ? STATUS_OK : ERR_SET(e, STATUS_OOM, "quota: %zu bytes", sizeof **out);
}

void quota_free(struct quota *q)
{
    mem_free(q);
}

void quota_clear(struct quota *q)
{
    memset(q, 0, sizeof *q);
}

static uint32_t place(uint64_t key, uint64_t row)
{
    return (uint32_t)hash_mix(key, row + 1) & (QUOTA_WIDTH - 1);
}

uint64_t quota_count(const struct quota *q, uint64_t key)
{
    uint32_t least = UINT32_MAX;
    for (uint64_t row = 0; row < QUOTA_ROWS; row++) {
        const uint32_t n = q->n[row][place(key, row)];
        if (n < least) least = n;
    }
    return least;
}

void quota_add(struct quota *q, uint64_t key, uint32_t n)
{
    const uint64_t sum = quota_count(q, key) + n;
    const uint32_t to = sum > UINT32_MAX ? UINT32_MAX : (uint32_t)sum;
    for (uint64_t row = 0; row < QUOTA_ROWS; row++) {
        uint32_t *cell = &q->n[row][place(key, row)];
        if (*cell < to) *cell = to;
    }
}

void quota_encode(struct buf *b, const struct quota *q)
{
    const uint32_t *all = &q->n[0][0];
    uint32_t used = 0, last = 0;
    for (uint32_t i = 0; i < QUOTA_ROWS * QUOTA_WIDTH; i++) used += all[i] != 0;
    buf_varint(b, used);
    for (uint32_t i = 0; i < QUOTA_ROWS * QUOTA_WIDTH; i++) {
        if (all[i] == 0) continue;
        buf_varint(b, i - last);
        buf_varint(b, all[i]);
        last = i;
    }
}

enum status quota_decode(struct quota *q, struct buf_reader *r, struct err *e)
{
    uint32_t *all = &q->n[0][0];
    const size_t used = buf_get_count(r, 2);
    uint64_t at = 0;
    for (size_t i = 0; i < used && !r->bad; i++) {
        at += buf_get_varint(r);
        const uint64_t n = buf_get_varint(r);
        if (at >= QUOTA_ROWS * QUOTA_WIDTH || n > UINT32_MAX) r->bad = true;
        if (!r->bad) all[at] = (uint32_t)n;
    }
    return r->bad ? ERR_SET(e, STATUS_CORRUPT, "quota: the stored counts can't be read") : STATUS_OK;
}

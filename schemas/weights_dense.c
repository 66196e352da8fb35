/* weights_dense.c - see weights_dense.h. */
#include "schemas/weights_dense.h"
#include "base/bf16.h"
#include "schemas/weights_table.h"
#include <assert.h>
#include <math.h>
#include <string.h>

#define HEAD_BYTES 44 /* up to the table */

static void put_shorts(struct buf *b, const float *x, size_t n)
{
    assert(b->n % sizeof(uint16_t) == 0);
    uint16_t *out = buf_room(b, n * sizeof *out);
    if (out == NULL) return;
    for (size_t i = 0; i < n; i++) out[i] = bf16_from(x[i]);
}

enum status weights_dense_encode(struct buf *b, const struct weights_view *w, uint64_t n_dense, uint64_t n_short,
                                 struct err *e)
{
    const size_t start = b->n;
    if (n_short > n_dense || n_dense > w->n_params)
        return ERR_SET(e, STATUS_INVALID, "weights: %llu short ones of %llu dense ones of %llu parameters",
                       (unsigned long long)n_short, (unsigned long long)n_dense, (unsigned long long)w->n_params);
    buf_put(b, "FRWD", 4);
    buf_u32(b, WEIGHTS_DENSE_FORMAT);
    buf_u64(b, w->base_fingerprint);
    buf_u64(b, w->n_params);
    buf_u64(b, n_dense);
    buf_u64(b, n_short);
    buf_u32(b, w->n_tensors);
    TRY(weights_table_put(b, w, e));
    while (!b->oom && (b->n - start) % 64 != 0) buf_u8(b, 0);
    put_shorts(b, w->params, n_short);
    buf_put(b, w->params + n_short, (n_dense - n_short) * sizeof(float));
    return buf_status(b, e);
}

bool weights_dense_is(const void *bytes, size_t n)
{
    return n >= HEAD_BYTES && memcmp(bytes, "FRWD", 4) == 0;
}

static enum status corrupt(struct err *e, const char *why)
{
    return ERR_SET(e, STATUS_CORRUPT, "weights: the dense piece: %s", why);
}

enum status weights_dense_decode(struct weights_dense *out, const void *bytes, size_t n, struct arena *a, struct err *e)
{
    *out = (struct weights_dense){0};
    if (!weights_dense_is(bytes, n)) return corrupt(e, "too short, or none at all");
    struct buf_reader r = buf_reader((const unsigned char *)bytes + 4, n - 4);
    const uint32_t format = buf_get_u32(&r);
    if (format != WEIGHTS_DENSE_FORMAT)
        return ERR_SET(e, STATUS_UNSUPPORTED, "weights: dense piece of format %u, this build reads %d", format,
                       WEIGHTS_DENSE_FORMAT);
    out->view.base_fingerprint = buf_get_u64(&r);
    out->view.n_params = buf_get_u64(&r);
    out->n_dense = buf_get_u64(&r);
    out->n_short = buf_get_u64(&r);
    out->view.n_tensors = buf_get_u32(&r);
    if (out->n_short > out->n_dense || out->n_dense > out->view.n_params || out->view.n_params > UINT64_MAX / 64 ||
        out->view.n_tensors > WEIGHTS_TENSORS_MAX)
        return corrupt(e, "its head is out of range");
    TRY(weights_table_get(&r, &out->view, a, e));
    while (!r.bad && (size_t)(r.p - (const unsigned char *)bytes) % 64 != 0)
        if (buf_get_u8(&r) != 0) return corrupt(e, "its padding is not zero");
    if (r.bad) return corrupt(e, "its head is cut off");
    out->head_bytes = (size_t)(r.p - (const unsigned char *)bytes);
    return STATUS_OK;
}

uint64_t weights_dense_bytes(const struct weights_dense *w)
{
    return w->head_bytes + 2 * w->n_short + 4 * (w->n_dense - w->n_short);
}

static size_t take_shorts(const unsigned char *from, size_t n, float *to)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t x;
        memcpy(&x, from + 2 * i, sizeof x);
        to[i] = bf16_to(x);
    }
    return n;
}

size_t weights_dense_take(const struct weights_dense *w, uint64_t at, const void *bytes, size_t n, float *params,
                          size_t *first)
{
    const unsigned char *p = bytes, *end = p + n;
    size_t done = 0;
    *first = 0;
    if (at < w->head_bytes) {
        p += w->head_bytes - at < n ? w->head_bytes - at : n;
        at = w->head_bytes;
    }
    uint64_t place = at - w->head_bytes; /* in bytes after the head */
    if (place < 2 * w->n_short) {
        const uint64_t left = w->n_short - place / 2, room = (uint64_t)(end - p) / 2;
        *first = (size_t)(place / 2);
        done = take_shorts(p, (size_t)(room < left ? room : left), params + *first);
        p += 2 * done;
        place += 2 * done;
    } else {
        *first = (size_t)(w->n_short + (place - 2 * w->n_short) / 4);
    }
    if (place < 2 * w->n_short) return done;
    const uint64_t left = w->n_dense - (*first + done), room = (uint64_t)(end - p) / 4;
    const size_t more = (size_t)(room < left ? room : left);
    memcpy(params + *first + done, p, more * sizeof *params);
    return done + more;
}

/* ---- touched rows ---- */

void weights_rows_encode(struct buf *b, const uint32_t *rows, size_t n, const float *all)
{
    unsigned char *out = buf_room(b, n * WEIGHTS_PAIR_BYTES);
    for (size_t i = 0; i < n && out != NULL; i++, out += WEIGHTS_PAIR_BYTES) {
        memcpy(out, &rows[i], 4);
        memcpy(out + 4, &all[rows[i]], 4);
    }
}

enum status weights_rows_decode(const void *bytes, size_t n, float *all, size_t n_all, struct err *e)
{
    const unsigned char *p = bytes;
    int64_t last = -1;
    if (n % WEIGHTS_PAIR_BYTES != 0)
        return ERR_SET(e, STATUS_CORRUPT, "weights: touched rows of %zu bytes are no whole pairs", n);
    for (const unsigned char *end = p + n; p < end; p += WEIGHTS_PAIR_BYTES) {
        uint32_t row;
        float value;
        memcpy(&row, p, sizeof row);
        memcpy(&value, p + 4, sizeof value);
        if ((int64_t)row <= last || row >= n_all || !isfinite(value))
            return ERR_SET(e, STATUS_CORRUPT, "weights: touched row %u of %zu after %lld, value %g", row, n_all,
                           (long long)last, (double)value);
        all[row] = value;
        last = row;
    }
    return STATUS_OK;
}

/* weights_table.c - see weights_table.h. */
#include "schemas/weights_table.h"
#include "base/arena.h"
#include <string.h>

static uint64_t tensor_floats(const struct weights_tensor *t)
{
    uint64_t n = 1;
    for (uint8_t i = 0; i < t->rank; i++)
        if (__builtin_mul_overflow(n, (uint64_t)t->shape[i], &n)) return UINT64_MAX;
    return n;
}

/* One tensor after another by offset, none over the next or the end. */
static enum status tensor_check(const struct weights_tensor *t, uint64_t from, uint64_t n_params, enum status code,
                                struct err *e)
{
    if (t->rank > 4) return ERR_SET(e, code, "weights: tensor %s: rank %u is over 4", t->name, t->rank);
    const uint64_t n = tensor_floats(t);
    if (t->offset < from)
        return ERR_SET(e, code, "weights: tensor %s: offset %llu overlaps the one before, which ends at %llu", t->name,
                       (unsigned long long)t->offset, (unsigned long long)from);
    if (n > n_params || t->offset > n_params - n)
        return ERR_SET(e, code, "weights: tensor %s: %llu floats from %llu on reach past the %llu parameters", t->name,
                       (unsigned long long)n, (unsigned long long)t->offset, (unsigned long long)n_params);
    return STATUS_OK;
}

static void put_tensor(struct buf *b, const struct weights_tensor *t)
{
    buf_str(b, str_from(t->name));
    buf_u8(b, 0); /* kind: f32 */
    buf_u8(b, t->rank);
    for (uint8_t i = 0; i < t->rank; i++) buf_u32(b, t->shape[i]);
    buf_u64(b, t->offset);
}

enum status weights_table_put(struct buf *b, const struct weights_view *w, struct err *e)
{
    uint64_t end = 0;
    if (w->n_tensors > WEIGHTS_TENSORS_MAX)
        return ERR_SET(e, STATUS_INVALID, "weights: %u tensors, at most %d", w->n_tensors, WEIGHTS_TENSORS_MAX);
    for (uint32_t i = 0; i < w->n_tensors; i++) {
        const struct weights_tensor *t = &w->tensors[i];
        if (strlen(t->name) >= WEIGHTS_NAME_MAX)
            return ERR_SET(e, STATUS_INVALID, "weights: tensor name '%.40s...' is over %d bytes", t->name,
                           WEIGHTS_NAME_MAX - 1);
        TRY(tensor_check(t, end, w->n_params, STATUS_INVALID, e));
        end = t->offset + tensor_floats(t);
        put_tensor(b, t);
    }
    return STATUS_OK;
}

static enum status corrupt(struct err *e)
{
    return ERR_SET(e, STATUS_CORRUPT, "weights: the tensor table is cut off or out of range; the file is damaged");
}

static enum status get_tensor(struct buf_reader *r, struct weights_tensor *t, struct arena *a, struct err *e)
{
    const struct str name = buf_get_str(r);
    const uint8_t kind = buf_get_u8(r);
    t->rank = buf_get_u8(r);
    if (r->bad || name.n == 0 || name.n >= WEIGHTS_NAME_MAX || memchr(name.p, 0, name.n) != NULL || kind != 0 ||
        t->rank > 4)
        return corrupt(e);
    for (uint8_t i = 0; i < t->rank; i++) t->shape[i] = buf_get_u32(r);
    t->offset = buf_get_u64(r);
    if (r->bad) return corrupt(e);
    const struct str copy = arena_str(a, name);
    if (copy.p == NULL) return ERR_SET(e, STATUS_OOM, "weights: out of memory for the tensor table");
    t->name = copy.p;
    return STATUS_OK;
}

enum status weights_table_get(struct buf_reader *r, struct weights_view *out, struct arena *a, struct err *e)
{
    uint64_t end = 0;
    out->tensors = arena_alloc(a, out->n_tensors, sizeof *out->tensors);
    if (out->tensors == NULL) return ERR_SET(e, STATUS_OOM, "weights: out of memory for the tensor table");
    for (uint32_t i = 0; i < out->n_tensors; i++) {
        TRY(get_tensor(r, &out->tensors[i], a, e));
        TRY(tensor_check(&out->tensors[i], end, out->n_params, STATUS_CORRUPT, e));
        end = out->tensors[i].offset + tensor_floats(&out->tensors[i]);
    }
    return STATUS_OK;
}

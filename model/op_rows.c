/* op_rows.c - rows put together and numbers combined element by element: look-ups, concatenation, sum, product. */
#include "model/op.h"
#include <assert.h>

#define LOOKUPS_MAX 4

struct saved_embed {
    struct tape_value base, y;
    struct tape_value table[LOOKUPS_MAX];
    const int32_t *idx[LOOKUPS_MAX]; /* backend memory */
    size_t n;
};

/* dbase += dy;  dtable_i[idx_i[n]] += dy[n] */
static void embed_backward(struct tape *t, void *saved)
{
    const struct saved_embed *s = saved;
    const struct kern_ops *o = t->kern->ops;
    if (s->base.dx != NULL) o->axpy(t->kern, s->base.dx, 1.0f, s->y.dx, s->y.n * s->y.c);
    for (size_t i = 0; i < s->n; i++) {
        if (s->table[i].dx != NULL) o->scatter_add(t->kern, s->table[i].dx, s->y.dx, s->idx[i], s->y.n, s->y.c);
    }
}

struct tape_value op_embed(struct tape *t, struct tape_value base, const struct op_lookup *lookups, size_t n_lookups)
{
    assert(n_lookups <= LOOKUPS_MAX);
    const struct kern_ops *o = t->kern->ops;
    const size_t n = base.n, c = base.c;
    bool grad = base.dx != NULL;
    for (size_t i = 0; i < n_lookups; i++) grad |= lookups[i].table.dx != NULL;
    struct tape_value y = tape_new(t, n, c, grad);
    float *row = tape_floats(t, n * c);
    struct saved_embed s = {.base = base, .y = y, .n = n_lookups};
    for (size_t i = 0; i < n_lookups; i++) {
        s.table[i] = lookups[i].table;
        s.idx[i] = tape_upload(t, lookups[i].idx, n * sizeof(int32_t));
    }
    if (t->oom) return (struct tape_value){0};
    if (base.x != NULL)
        o->copy(t->kern, y.x, base.x, n * c);
    else
        o->zero(t->kern, y.x, n * c);
    for (size_t i = 0; i < n_lookups; i++) {
        o->gather(t->kern, row, s.table[i].x, s.idx[i], n, c);
        o->axpy(t->kern, y.x, 1.0f, row, n * c);
    }
    struct saved_embed *kept = y.dx != NULL ? tape_host(t, 1, sizeof *kept) : NULL;
    if (kept == NULL) return y;
    *kept = s;
    tape_push(t, embed_backward, kept);
    return y;
}

struct saved_sparse_rows {
    struct tape_value base, y;
    struct op_sparse_rows s;
};

static void sparse_rows_backward(struct tape *t, void *saved)
{
    const struct saved_sparse_rows *s = saved;
    const size_t n = s->y.n * s->y.c;
    if (s->base.dx != NULL) t->kern->ops->axpy(t->kern, s->base.dx, 1.0f, s->y.dx, n);
    tape_ask(t, s->y.dx, n, s->s.add_grads, s->s.user);
}

struct tape_value op_sparse_rows(struct tape *t, struct tape_value base, const struct op_sparse_rows *s)
{
    const struct kern_ops *o = t->kern->ops;
    const size_t n = base.n, c = base.c;
    struct tape_value y = tape_new(t, n, c, base.dx != NULL || s->add_grads != NULL);
    const int32_t *rows = tape_upload(t, s->rows, n * sizeof *rows);
    if (t->oom) return (struct tape_value){0};
    o->gather(t->kern, y.x, s->w, rows, n, c);
    if (base.x != NULL) o->axpy(t->kern, y.x, 1.0f, base.x, n * c);
    struct saved_sparse_rows *kept = y.dx != NULL && s->add_grads != NULL ? tape_host(t, 1, sizeof *kept) : NULL;
    if (kept == NULL) return y;
    *kept = (struct saved_sparse_rows){base, y, *s};
    tape_push(t, sparse_rows_backward, kept);
    return y;
}

struct saved_pair {
    struct tape_value a, b, y;
};

static void save_pair(struct tape *t, tape_backward_fn *fn, struct tape_value a, struct tape_value b,
                      struct tape_value y)
{
    struct saved_pair *s = y.dx != NULL ? tape_host(t, 1, sizeof *s) : NULL;
    if (s == NULL) return;
    *s = (struct saved_pair){a, b, y};
    tape_push(t, fn, s);
}

static void concat_backward(struct tape *t, void *saved)
{
    const struct saved_pair *s = saved;
    const struct kern_ops *o = t->kern->ops;
    const size_t na = s->a.n * s->a.c, nb = s->b.n * s->b.c;
    if (s->a.dx != NULL) o->axpy(t->kern, s->a.dx, 1.0f, s->y.dx, na);
    if (s->b.dx != NULL) o->axpy(t->kern, s->b.dx, 1.0f, s->y.dx + na, nb);
}

struct tape_value op_concat(struct tape *t, struct tape_value a, struct tape_value b)
{
    assert(a.c == b.c || t->oom);
    struct tape_value y = tape_new(t, a.n + b.n, a.c, a.dx != NULL || b.dx != NULL);
    if (t->oom) return (struct tape_value){0};
    t->kern->ops->copy(t->kern, y.x, a.x, a.n * a.c);
    t->kern->ops->copy(t->kern, y.x + a.n * a.c, b.x, b.n * b.c);
    save_pair(t, concat_backward, a, b, y);
    return y;
}

static void add_backward(struct tape *t, void *saved)
{
    const struct saved_pair *s = saved;
    const size_t n = s->y.n * s->y.c;
    if (s->a.dx != NULL) t->kern->ops->axpy(t->kern, s->a.dx, 1.0f, s->y.dx, n);
    if (s->b.dx != NULL) t->kern->ops->axpy(t->kern, s->b.dx, 1.0f, s->y.dx, n);
}

struct tape_value op_add(struct tape *t, struct tape_value a, struct tape_value b)
{
    assert((a.n == b.n && a.c == b.c) || t->oom);
    struct tape_value y = tape_new(t, a.n, a.c, a.dx != NULL || b.dx != NULL);
    if (t->oom) return (struct tape_value){0};
    t->kern->ops->copy(t->kern, y.x, a.x, a.n * a.c);
    t->kern->ops->axpy(t->kern, y.x, 1.0f, b.x, b.n * b.c);
    save_pair(t, add_backward, a, b, y);
    return y;
}

/* y += a*b by element: the sparse product with one entry a row is just that. */
static void multiply_add(struct tape *t, float *y, const float *a, const float *b, size_t n)
{
    const struct tape_mark m = tape_save(t);
    uint32_t *off = tape_host(t, n + 1, sizeof *off);
    if (off == NULL) return;
    for (size_t i = 0; i <= n; i++) off[i] = (uint32_t)i;
    const uint32_t *up = tape_upload(t, off, (n + 1) * sizeof *off);
    if (up != NULL) t->kern->ops->sparse_forward(t->kern, y, a, up, up, b, n);
    tape_rewind(t, m);
}

static void mul_backward(struct tape *t, void *saved)
{
    const struct saved_pair *s = saved;
    const size_t n = s->y.n * s->y.c;
    if (s->a.dx != NULL) multiply_add(t, s->a.dx, s->y.dx, s->b.x, n);
    if (s->b.dx != NULL) multiply_add(t, s->b.dx, s->y.dx, s->a.x, n);
}

void op_scale(struct tape *t, float *x, const float *by, size_t n)
{
    const struct tape_mark m = tape_save(t);
    float *y = tape_zeros(t, n);
    const float *up = tape_upload(t, by, n * sizeof *by);
    if (!t->oom) multiply_add(t, y, x, up, n);
    if (!t->oom) t->kern->ops->copy(t->kern, x, y, n);
    tape_rewind(t, m);
}

struct tape_value op_mul(struct tape *t, struct tape_value a, struct tape_value b)
{
    assert((a.n == b.n && a.c == b.c) || t->oom);
    struct tape_value y = tape_new(t, a.n, a.c, a.dx != NULL || b.dx != NULL);
    if (t->oom) return (struct tape_value){0};
    t->kern->ops->zero(t->kern, y.x, a.n * a.c);
    multiply_add(t, y.x, a.x, b.x, a.n * a.c);
    save_pair(t, mul_backward, a, b, y);
    return y;
}

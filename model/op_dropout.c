/* op_dropout.c - dropout (Srivastava et al. 2014) with the host's counter-based random numbers. */
#include "model/op.h"

struct saved_dropout {
    struct tape_value x, y;
    const uint8_t *keep; /* backend memory */
    float p;
};

static void dropout_backward(struct tape *t, void *saved)
{
    const struct saved_dropout *s = saved;
    const size_t n = s->y.n * s->y.c;
    float *d = tape_floats(t, n);
    if (d == NULL) return;
    t->kern->ops->dropout(t->kern, d, s->y.dx, s->keep, s->p, n);
    t->kern->ops->axpy(t->kern, s->x.dx, 1.0f, d, n);
}

/* One byte per element, two elements from each 32-bit number. */
static const uint8_t *draw(struct tape *t, float p, struct rand *r, size_t n)
{
    uint8_t *keep = tape_host(t, n + 1, 1);
    if (keep == NULL) return NULL;
    const uint32_t limit = (uint32_t)(p * 65536.0f);
    for (size_t i = 0; i < n; i += 2) {
        const uint32_t u = rand_u32(r);
        keep[i] = (u & 0xffff) >= limit;
        keep[i + 1] = (u >> 16) >= limit;
    }
    return tape_upload(t, keep, n);
}

struct tape_value op_dropout(struct tape *t, struct tape_value x, float p, struct rand *r)
{
    if (p <= 0.0f || r == NULL || x.x == NULL) return x;
    const size_t n = x.n * x.c;
    struct tape_value y = tape_new(t, x.n, x.c, x.dx != NULL);
    const uint8_t *keep = draw(t, p, r, n);
    if (t->oom) return (struct tape_value){0};
    t->kern->ops->dropout(t->kern, y.x, x.x, keep, p, n);
    struct saved_dropout *s = y.dx != NULL ? tape_host(t, 1, sizeof *s) : NULL;
    if (s == NULL) return y;
    *s = (struct saved_dropout){x, y, keep, p};
    tape_push(t, dropout_backward, s);
    return y;
}

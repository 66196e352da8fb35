/* op_loss.c - the two ends of a slate's sum that meet the outside: sparse features and the loss. */
#include "model/op.h"
#include <string.h>

struct saved_sparse {
    struct tape_value y;
    tape_told_fn *add_grads;
    void *user;
};

static void sparse_backward(struct tape *t, void *saved)
{
    const struct saved_sparse *s = saved;
    tape_ask(t, s->y.dx, s->y.n, s->add_grads, s->user);
}

/* Where launches of equal size are recorded (kernels/cuda/queue.h), sizes that are equal pay: n rounded up by an eighth at most. */
static size_t rounded(size_t n)
{
    size_t step = 64;
    while (16 * step <= n) step *= 2;
    return (n + step - 1) / step * step;
}

/* (n) numbers of 4 bytes; on a device there is more room, and zeros in it. */
static const void *upload_rounded(struct tape *t, const void *host, size_t n)
{
    if (t->kern->ops->host_visible) return tape_upload(t, host, n * sizeof(float));
    float *wide = tape_host(t, rounded(n), sizeof *wide);
    if (wide == NULL) return NULL;
    if (n > 0) memcpy(wide, host, n * sizeof *wide);
    return tape_upload(t, wide, rounded(n) * sizeof *wide);
}

struct tape_value op_sparse(struct tape *t, const struct op_sparse *s)
{
    const size_t n_entries = s->n > 0 ? s->off[s->n] : 0;
    struct tape_value y = tape_new(t, s->n, 1, true);
    const uint32_t *off = tape_upload(t, s->off, (s->n + 1) * sizeof *off);
    const uint32_t *idx = upload_rounded(t, s->idx, n_entries);
    const float *val = upload_rounded(t, s->val, n_entries);
    if (t->oom) return (struct tape_value){0};
    t->kern->ops->zero(t->kern, y.x, s->n);
    t->kern->ops->sparse_forward(t->kern, y.x, s->w, off, idx, val, s->n);
    struct saved_sparse *saved = y.dx != NULL ? tape_host(t, 1, sizeof *saved) : NULL;
    if (saved == NULL) return y;
    *saved = (struct saved_sparse){y, s->add_grads, s->user};
    tape_push(t, sparse_backward, saved);
    return y;
}

void op_loss(struct tape *t, float *loss, struct tape_value z, const struct op_loss *l)
{
    const float *soft = l->soft == NULL ? l->y : l->soft;
    float *dz = z.dx != NULL ? z.dx : tape_zeros(t, z.n);
    if (t->oom) return;
    t->kern->ops->bce(t->kern, loss, dz, z.x, soft, l->w, 1.0f - l->share, z.n);
    if (l->share > 0.0f) t->kern->ops->slate_softmax(t->kern, loss + 1, dz, z.x, l->y, l->w, 0.25f * l->share, z.n);
}

float op_loss_total(const float *terms, float share)
{
    return (1.0f - share) * terms[0] + 0.25f * share * terms[1];
}

void op_task_loss(struct tape *t, float *loss, struct tape_value s, struct tape_value h, const float *y,
                  const uint8_t *chained)
{
    const float *labels = tape_upload(t, y, h.n * h.c * sizeof *labels);
    const uint8_t *products = tape_upload(t, chained, h.c);
    float *ds = s.dx != NULL ? s.dx : tape_zeros(t, s.n), *dh = h.dx != NULL ? h.dx : tape_zeros(t, h.n * h.c);
    if (t->oom) return;
    t->kern->ops->task_bce(t->kern, loss, ds, dh, s.x, h.x, labels, products, h.n, h.c);
}

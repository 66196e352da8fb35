/* op_layernorm.c - residual sum and layer normalisation (Ba et al. 2016). */
#include "model/op.h"

struct saved_layernorm {
    struct tape_value x, res, y, gain, bias;
    const float *sum, *mean, *rstd;
};

/* The gradient of the sum goes to both of its terms. */
static void layernorm_backward(struct tape *t, void *saved)
{
    const struct saved_layernorm *s = saved;
    const struct kern_ops *o = t->kern->ops;
    const size_t n = s->y.n, c = s->y.c;
    float *dsum = tape_zeros(t, n * c);
    float *dgain = s->gain.dx != NULL ? s->gain.dx : tape_zeros(t, c);
    float *dbias = s->bias.dx != NULL ? s->bias.dx : tape_zeros(t, c);
    if (t->oom) return;
    o->layernorm_backward(t->kern, dsum, dgain, dbias, s->y.dx, s->sum, s->gain.x, s->mean, s->rstd, n, c);
    if (s->x.dx != NULL) o->axpy(t->kern, s->x.dx, 1.0f, dsum, n * c);
    if (s->res.dx != NULL) o->axpy(t->kern, s->res.dx, 1.0f, dsum, n * c);
}

struct tape_value op_layernorm(struct tape *t, struct tape_value x, struct tape_value res, struct tape_value gain,
                               struct tape_value bias, float eps)
{
    const bool grad = x.dx != NULL || res.dx != NULL || gain.dx != NULL || bias.dx != NULL;
    struct tape_value y = tape_new(t, x.n, x.c, grad);
    float *sum = tape_floats(t, x.n * x.c), *mean = tape_floats(t, x.n), *rstd = tape_floats(t, x.n);
    if (t->oom) return (struct tape_value){0};
    t->kern->ops->layernorm(t->kern, y.x, mean, rstd, sum, x.x, res.x, gain.x, bias.x, eps, x.n, x.c);
    struct saved_layernorm *s = y.dx != NULL ? tape_host(t, 1, sizeof *s) : NULL;
    if (s == NULL) return y;
    *s = (struct saved_layernorm){x, res, y, gain, bias, sum, mean, rstd};
    tape_push(t, layernorm_backward, s);
    return y;
}

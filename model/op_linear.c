/* op_linear.c - matrix products: with learnt weights (linear) and between two values (dot). */
#include "model/op.h"

struct saved_linear {
    struct tape_value x, y;
    struct op_matrix w;
    const float *pre; /* NULL: no activation */
    enum kern_act act;
    struct tape_value shared; /* what x's gradient goes to as one sum; empty: to x's rows */
};

/* Whether the optimiser may multiply out what p brings: it makes each number of such a matrix new anyway. */
static bool can_wait(const struct kern *k, const struct op_matrix *w, const struct kern_product *p)
{
    size_t rows = p->N;
    if (k->ops->adamw_product == NULL || !w->owed->stale || w->owed->n == OP_OWED) return false;
    for (size_t i = 0; i < w->owed->n; i++) rows += w->owed->of[i].N;
    return rows <= OP_OWED_ROWS;
}

static void multiply_out(struct kern *k, const struct op_matrix *w)
{
    struct op_owed *o = w->owed;
    for (size_t i = 0; i < o->n; i++, o->stale = false)
        k->ops->linear_dw(k, w->dw, NULL, o->of[i].dy, o->of[i].x, o->of[i].N, w->m.out, w->m.in, w->m.prec, !o->stale);
    o->n = 0;
}

void op_settle(struct kern *k, const struct op_matrix *w)
{
    if (w->dw == NULL || w->owed == NULL) return;
    multiply_out(k, w);
    if (w->owed->stale) k->ops->zero(k, w->dw, w->m.out * w->m.in);
    w->owed->stale = false;
}

static void add_gradient(struct kern *k, const struct op_matrix *w, const struct kern_product *p)
{
    float *dw = w->dw;
    bool add = true;
    if (w->owed != NULL && can_wait(k, w, p)) {
        w->owed->of[w->owed->n++] = *p;
        dw = NULL;
    } else if (w->owed != NULL) {
        multiply_out(k, w);
        add = !w->owed->stale;
        w->owed->stale = false;
    }
    k->ops->linear_dw(k, dw, w->db, p->dy, p->x, p->N, w->m.out, w->m.in, w->m.prec, add);
}

/* shared.dx += (sum of rows of dpre) w */
static void sum_backward(struct tape *t, const struct saved_linear *s, const float *dpre)
{
    const struct kern_ops *o = t->kern->ops;
    const struct tape_mark mark = tape_save(t);
    float *sum = tape_zeros(t, s->y.c);
    if (!t->oom) {
        o->linear_dw(t->kern, NULL, sum, dpre, s->x.x, s->x.n, s->w.m.out, s->w.m.in, s->w.m.prec, true);
        o->linear_dx(t->kern, s->shared.dx, sum, &s->w.m, 1);
    }
    tape_rewind(t, mark);
}

/* dpre = dy * act'(pre), in dy's place, which nobody reads again;  dx += dpre w;  dw += dpre^T x;  db += sum of rows of dpre */
static void linear_backward(struct tape *t, void *saved)
{
    const struct saved_linear *s = saved;
    const struct kern_ops *o = t->kern->ops;
    float *dpre = s->y.dx;
    if (s->pre != NULL) o->act_backward(t->kern, dpre, dpre, s->pre, s->act, s->y.n * s->y.c);
    if (s->shared.dx != NULL)
        sum_backward(t, s, dpre);
    else if (s->x.dx != NULL)
        o->linear_dx(t->kern, s->x.dx, dpre, &s->w.m, s->x.n);
    if (s->w.dw != NULL) add_gradient(t->kern, &s->w, &(struct kern_product){dpre, s->x.x, s->x.n});
}

struct tape_value op_linear(struct tape *t, struct tape_value x, const struct op_matrix *w, enum kern_act act)
{
    return op_linear_shared(t, x, w, act, (struct tape_value){0});
}

struct tape_value op_linear_shared(struct tape *t, struct tape_value x, const struct op_matrix *w, enum kern_act act,
                                   struct tape_value shared)
{
    const bool grad = t->record && (x.dx != NULL || w->dw != NULL);
    struct tape_value y = tape_new(t, x.n, w->m.out, grad);
    float *pre = grad && act != KERN_ACT_NONE ? tape_floats(t, x.n * w->m.out) : NULL;
    if (t->oom) return (struct tape_value){0};
    t->kern->ops->linear(t->kern, y.x, pre, x.x, &w->m, w->b, act, x.n);
    struct saved_linear *s = grad ? tape_host(t, 1, sizeof *s) : NULL;
    if (s == NULL) return y;
    *s = (struct saved_linear){x, y, *w, pre, act, shared};
    tape_push(t, linear_backward, s);
    return y;
}

struct saved_pair {
    struct tape_value a, b, y;
};

/* da (N,C) += dy (N,M) b (M,C);  db (M,C) += dy^T a */
static void dot_backward(struct tape *t, void *saved)
{
    const struct saved_pair *s = saved;
    const struct kern_ops *o = t->kern->ops;
    const size_t n = s->a.n, m = s->b.n, c = s->a.c;
    if (s->a.dx != NULL) o->gemm_nn(t->kern, s->a.dx, c, s->y.dx, m, s->b.x, c, n, c, m, 1.0f);
    if (s->b.dx != NULL) o->gemm_tn(t->kern, s->b.dx, c, s->y.dx, m, s->a.x, c, m, c, n, 1.0f);
}

struct tape_value op_dot(struct tape *t, struct tape_value a, struct tape_value b)
{
    const bool grad = a.dx != NULL || b.dx != NULL;
    struct tape_value y = tape_new(t, a.n, b.n, grad);
    if (t->oom) return (struct tape_value){0};
    t->kern->ops->gemm_nt(t->kern, y.x, b.n, a.x, a.c, b.x, b.c, a.n, b.n, a.c, 0.0f);
    struct saved_pair *s = y.dx != NULL ? tape_host(t, 1, sizeof *s) : NULL;
    if (s == NULL) return y;
    *s = (struct saved_pair){a, b, y};
    tape_push(t, dot_backward, s);
    return y;
}

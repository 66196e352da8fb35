/* part_deep.c - what the cheap features say together: two hidden layers over the numeric features, standardised as part
 * numeric has them, and what a candidate has in common with the user's events (the deep half of Cheng et al. 2016, "Wide & Deep
 * Learning for Recommender Systems"; the linear parts are its wide half).
 *
 *   z = w3 . relu(W2 relu(W1 x + b1) + b2),   x = (numeric F, cooccur 2)
 *
 * w3 is zero at first, so the part begins by saying nothing.  Its FLOPs a candidate: 2 H (F + 2) + H^2 + H.
 */
#include "base/mem.h"
#include "model/part.h"
#include <math.h>

enum { COOCCUR = sizeof((struct slate_item){0}.cooccur) / sizeof(float), HIDDEN = 2 };

struct deep {
    struct part base;
    size_t F, width[HIDDEN + 1];         /* numeric features; inputs, hidden units of each layer */
    size_t weight[HIDDEN], bias[HIDDEN]; /* tensors: (width[i + 1], width[i]), (1, width[i + 1]) */
    size_t head;                         /* tensor: (1, width[HIDDEN]) */
};
struct deep_run {
    struct part_run base;
    struct kern *kern;
    struct part_matrix layer[HIDDEN];
    struct op_matrix head;
};

static enum status declare(struct deep *p, const struct conf *c, struct param_table *t, struct err *e)
{
    static const char *const names[HIDDEN][2] = {{"deep.first.weight", "deep.first.bias"},
                                                 {"deep.second.weight", "deep.second.bias"}};
    const float rate = (float)c->train_head_rate, decay = (float)c->train_weight_decay;
    for (size_t i = 0; i < HIDDEN; i++) {
        const uint32_t shape[2] = {(uint32_t)p->width[i + 1], (uint32_t)p->width[i]};
        TRY(param_table_add(t, names[i][0], PARAM_ADAMW, 2, shape, rate, decay, &p->weight[i], e));
        TRY(param_table_add(t, names[i][1], PARAM_ADAMW, 2, (uint32_t[]){1, shape[0]}, rate, 0, &p->bias[i], e));
    }
    return param_table_add(t, "deep.head", PARAM_ADAMW, 2, (uint32_t[]){1, (uint32_t)p->width[HIDDEN]}, rate, 0,
                           &p->head, e);
}

static enum status create(struct part **out, const struct part_env *env, struct param_table *t, struct err *e)
{
    *out = NULL;
    if (env->numeric == NULL)
        return ERR_SET(e, STATUS_INVALID,
                       "part deep: reads what numeric standardises; put numeric into model.parts too");
    struct deep *p = mem_calloc(1, sizeof *p);
    if (p == NULL) return ERR_SET(e, STATUS_OOM, "part deep: %zu bytes", sizeof *p);
    p->base = (struct part){.ops = &part_deep, .counts = true, .wide = true, .under = env->numeric};
    p->F = env->n_numeric;
    p->width[0] = p->F + COOCCUR;
    p->width[1] = (size_t)env->conf->model_deep_units;
    p->width[2] = (p->width[1] + 1) / 2;
    const enum status st = declare(p, env->conf, t, e);
    if (st == STATUS_OK)
        *out = &p->base;
    else
        mem_free(p);
    return st;
}

/* Half of what keeps the variance through a layer of rectified units (He et al. 2015): features are many and alike. */
static void init(const struct part *part, const struct param_table *t, uint64_t seed, float *w)
{
    const struct deep *p = (const struct deep *)part;
    for (size_t i = 0; i < HIDDEN; i++)
        part_init_normal(t, p->weight[i], sqrt(2.0 / (double)p->width[i]) * (i == 0 ? 0.5 : 1.0), seed, w);
}

static enum status run_create(struct part_run **out, const struct part *p, struct kern *k, struct err *e)
{
    TRY(part_run_alloc(out, p, sizeof(struct deep_run), e));
    ((struct deep_run *)*out)->kern = k;
    return STATUS_OK;
}

static void run_destroy(struct part_run *run)
{
    struct deep_run *r = (struct deep_run *)run;
    if (r == NULL) return;
    for (size_t i = 0; i < HIDDEN; i++) r->kern->ops->unpack(r->kern, &r->layer[i].op.m);
    mem_free(r);
}

static enum status bind(struct part_run *run, const struct part_params *p, struct err *e)
{
    struct deep_run *r = (struct deep_run *)run;
    const struct deep *q = (const struct deep *)run->part;
    part_matrix_of(&r->head, p, q->head, 0, 1, SIZE_MAX);
    for (size_t i = 0; i < HIDDEN; i++) {
        part_matrix_of(&r->layer[i].op, p, q->weight[i], 0, q->width[i + 1], q->bias[i]);
        TRY(part_pack(&r->layer[i], p, r->kern, e));
    }
    return STATUS_OK;
}

/* x (K, F + 2) of all candidates */
static struct tape_value inputs(const struct deep_run *r, const struct part_list *lists, size_t n)
{
    const size_t F = ((const struct deep *)r->base.part)->F, width = F + COOCCUR, K = part_listed(lists, n);
    struct tape *t = lists[0].s->tape;
    float *x = tape_host(t, K * width + 1, sizeof *x), *at = x;
    if (x == NULL) return (struct tape_value){0};
    for (size_t l = 0; l < n; l++)
        for (size_t i = 0; i < lists[l].n; i++, at += width) {
            const struct slate *s = lists[l].s->slate;
            const uint32_t item = lists[l].which[i];
            part_numeric_input(r->base.under, s->numeric + item * F, at);
            for (size_t f = 0; f < COOCCUR; f++) at[F + f] = s->items[item].cooccur[f];
        }
    return tape_constant(t, x, K, width);
}

static enum status score_together(struct part_run *run, const struct part_list *lists, size_t n, struct tape_value *z,
                                  struct err *e)
{
    struct deep_run *r = (struct deep_run *)run;
    struct tape *t = lists[0].s->tape;
    struct tape_value h = inputs(r, lists, n);
    for (size_t i = 0; i < HIDDEN; i++) h = op_linear(t, h, &r->layer[i].op, KERN_ACT_RELU);
    *z = op_linear(t, h, &r->head, KERN_ACT_NONE);
    return tape_status(t, e);
}

const struct part_ops part_deep = {"deep", create,         NULL, init, run_create, run_destroy, bind, NULL, NULL,
                                   NULL,   score_together, NULL, NULL, NULL,       NULL,        NULL, NULL};

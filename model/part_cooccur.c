/* part_cooccur.c - linear in what a candidate has in common with the user's events (MODEL.md, `cooccur`).
 *
 * The features are logarithms between 0 and about 3, so they enter as they are: no running statistics.
 */
#include "base/mem.h"
#include "model/part.h"

enum { FEATURES = sizeof((struct slate_item){0}.cooccur) / sizeof(float) };

struct cooccur {
    struct part base;
    size_t weight; /* tensor: (1,2) */
};
struct cooccur_run {
    struct part_run base;
    struct op_matrix weight;
};

static enum status create(struct part **out, const struct part_env *env, struct param_table *t, struct err *e)
{
    *out = NULL;
    struct cooccur *p = mem_calloc(1, sizeof *p);
    if (p == NULL) return ERR_SET(e, STATUS_OOM, "part cooccur: %zu bytes", sizeof *p);
    p->base = (struct part){.ops = &part_cooccur, .counts = true, .wide = true};
    const uint32_t shape[2] = {1, FEATURES};
    const float rate = (float)env->conf->train_linear_rate;
    const enum status st = param_table_add(t, "cooccur.weight", PARAM_ADAGRAD, 2, shape, rate, 0, &p->weight, e);
    if (st == STATUS_OK)
        *out = &p->base;
    else
        mem_free(p);
    return st;
}

static enum status run_create(struct part_run **out, const struct part *p, struct kern *k, struct err *e)
{
    (void)k;
    return part_run_alloc(out, p, sizeof(struct cooccur_run), e);
}

static void run_destroy(struct part_run *r)
{
    mem_free(r);
}

static enum status bind(struct part_run *run, const struct part_params *p, struct err *e)
{
    (void)e;
    struct cooccur_run *r = (struct cooccur_run *)run;
    part_matrix_of(&r->weight, p, ((const struct cooccur *)run->part)->weight, 0, 1, SIZE_MAX);
    return STATUS_OK;
}

static enum status score_together(struct part_run *run, const struct part_list *lists, size_t n, struct tape_value *z,
                                  struct err *e)
{
    struct cooccur_run *r = (struct cooccur_run *)run;
    const size_t K = part_listed(lists, n);
    struct tape *t = lists[0].s->tape;
    float *x = tape_host(t, K * FEATURES + 1, sizeof *x), *at = x;
    if (x == NULL) return tape_status(t, e);
    for (size_t l = 0; l < n; l++)
        for (size_t i = 0; i < lists[l].n; i++)
            for (size_t f = 0; f < FEATURES; f++) *at++ = lists[l].s->slate->items[lists[l].which[i]].cooccur[f];
    *z = op_linear(t, tape_constant(t, x, K, FEATURES), &r->weight, KERN_ACT_NONE);
    return tape_status(t, e);
}

const struct part_ops part_cooccur = {"cooccur", create,         NULL, NULL, run_create, run_destroy, bind, NULL, NULL,
                                      NULL,      score_together, NULL, NULL, NULL,       NULL,        NULL, NULL};

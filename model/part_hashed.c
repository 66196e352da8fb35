/* part_hashed.c - linear in hashed features (MODEL.md, `hashed`): full 32-bit hashes masked to 2^bits weights.
 *
 * Only touched rows have gradients, so they are kept by row; collisions share a weight, as they must.
 */
#include "base/mem.h"
#include "model/part.h"

struct hashed {
    struct part base;
    size_t weights; /* tensor (2^bits) */
    uint32_t mask;
};
struct hashed_run {
    struct part_run base;
    const float *w;         /* backend */
    struct part_rows *rows; /* NULL: nothing is learnt */
};
struct entries { /* of some candidates, on the tape */
    const struct hashed_run *run;
    const uint32_t *off, *idx;
    const float *val;
};

static enum status create(struct part **out, const struct part_env *env, struct param_table *t, struct err *e)
{
    *out = NULL;
    struct hashed *p = mem_calloc(1, sizeof *p);
    if (p == NULL) return ERR_SET(e, STATUS_OOM, "part hashed: %zu bytes", sizeof *p);
    p->base.ops = &part_hashed;
    const uint32_t shape[1] = {(uint32_t)1 << env->conf->model_hashed_bits};
    p->mask = shape[0] - 1;
    const float rate = (float)env->conf->train_hashed_rate;
    enum status st = STATUS_OK;
    TRY_OUT(st, param_table_add(t, "hashed.weight", PARAM_SPARSE, 1, shape, rate, 0, &p->weights, e));
    *out = &p->base;
    p = NULL;
out:
    mem_free(p);
    return st;
}

static enum status run_create(struct part_run **out, const struct part *p, struct kern *k, struct err *e)
{
    (void)k;
    struct hashed_run *r = mem_calloc(1, sizeof *r);
    *out = (struct part_run *)r;
    if (r == NULL) return ERR_SET(e, STATUS_OOM, "part hashed: %zu bytes", sizeof *r);
    r->base.part = p;
    return STATUS_OK;
}

static void run_destroy(struct part_run *r)
{
    mem_free(r);
}

static enum status bind(struct part_run *run, const struct part_params *p, struct err *e)
{
    (void)e;
    struct hashed_run *r = (struct hashed_run *)run;
    const size_t weights = ((const struct hashed *)run->part)->weights;
    r->w = p->w + param_at(p->table, weights)->offset;
    r->rows = part_rows_of(p, weights);
    return STATUS_OK;
}

static void add_grads(void *user, const float *dz, size_t n)
{
    const struct entries *q = user;
    const struct hashed_run *r = q->run;
    for (size_t i = 0; i < n; i++) {
        for (uint32_t j = q->off[i]; j < q->off[i + 1]; j++) {
            const float g = dz[i] * q->val[j];
            part_rows_add(r->rows, q->idx[j], &g);
        }
    }
}

/* Entries of the chosen candidates, indices masked, on the tape's host side; NULL: no memory. */
static struct entries *take_entries(const struct hashed_run *r, struct part_slate *s, const uint32_t *which, size_t n)
{
    const struct slate *q = s->slate;
    const uint32_t mask = ((const struct hashed *)r->base.part)->mask;
    size_t total = 0;
    for (size_t i = 0; i < n; i++) total += q->hashed_off[which[i] + 1] - q->hashed_off[which[i]];
    struct entries *out = tape_host(s->tape, 1, sizeof *out);
    uint32_t *off = tape_host(s->tape, n + 1, sizeof *off), *idx = tape_host(s->tape, total + 1, sizeof *idx);
    float *val = tape_host(s->tape, total + 1, sizeof *val);
    if (s->tape->oom) return NULL;
    uint32_t at = 0;
    for (size_t i = 0; i < n; i++) {
        for (uint32_t j = q->hashed_off[which[i]]; j < q->hashed_off[which[i] + 1]; j++, at++) {
            idx[at] = q->hashed_idx[j] & mask;
            val[at] = q->hashed_val[j];
        }
        off[i + 1] = at;
    }
    *out = (struct entries){r, off, idx, val};
    return out;
}

static enum status score(struct part_run *run, struct part_slate *s, const uint32_t *which, size_t n,
                         struct tape_value *z, struct err *e)
{
    struct hashed_run *r = (struct hashed_run *)run;
    struct entries *q = take_entries(r, s, which, n);
    if (q == NULL) return tape_status(s->tape, e);
    if (s->tape->record && r->rows != NULL) TRY(part_rows_reserve(r->rows, q->off[n], e));
    *z = op_sparse(s->tape, &(struct op_sparse){r->w, q->off, q->idx, q->val, n, add_grads, q});
    return tape_status(s->tape, e);
}

const struct part_ops part_hashed = {"hashed", create, NULL, NULL, run_create, run_destroy, bind, NULL,
                                     NULL,     score,  NULL, NULL, NULL,       NULL,        NULL, NULL,
                                     NULL};

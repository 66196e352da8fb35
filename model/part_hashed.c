/* part_hashed.c - linear in hashed features (MODEL.md, `hashed`): hashes masked to 2^bits weights, families under scales.
 *
 * z = sum over families f of s_f * (sum of their weights): AdaGrad moves a weight by about its rate at every step, however
 * much there is to learn, and families differ in that by orders (words of a user's taste; pairs of a user and an item).  A
 * scale, 1 at first, is learnt like any linear weight: it grows where the weights of a family lag behind and shrinks where
 * they are noise; their own gradients, times the scale, follow.
 * Only touched rows have gradients, so they are kept by row; collisions share a weight, as they must.
 */
#include "base/mem.h"
#include "model/part.h"

struct hashed {
    struct part base;
    size_t weights, scales; /* tensors (2^bits), (1, families) */
    uint32_t mask;
};
struct hashed_run {
    struct part_run base;
    const float *w; /* backend */
    struct op_matrix scales;
    struct part_rows *rows; /* NULL: nothing is learnt */
};
struct entries { /* of some candidates, each one's by family, on the tape */
    const struct hashed_run *run;
    uint32_t *off, *idx; /* off (n * families + 1) */
    float *val;
};

static enum status declare(struct hashed *p, const struct conf *c, struct param_table *t, struct err *e)
{
    const uint32_t rows[1] = {(uint32_t)1 << c->model_hashed_bits}, families[2] = {1, SLATE_HASH_FAMILIES};
    p->mask = rows[0] - 1;
    TRY(param_table_add(t, "hashed.weight", PARAM_SPARSE, 1, rows, (float)c->train_hashed_rate, 0, &p->weights, e));
    return param_table_add(t, "hashed.scale", PARAM_ADAGRAD, 2, families, (float)c->train_linear_rate, 0, &p->scales,
                           e);
}

static enum status create(struct part **out, const struct part_env *env, struct param_table *t, struct err *e)
{
    *out = NULL;
    struct hashed *p = mem_calloc(1, sizeof *p);
    if (p == NULL) return ERR_SET(e, STATUS_OOM, "part hashed: %zu bytes", sizeof *p);
    p->base.ops = &part_hashed;
    p->base.wide = true;
    const enum status st = declare(p, env->conf, t, e);
    if (st == STATUS_OK)
        *out = &p->base;
    else
        mem_free(p);
    return st;
}

static void init(const struct part *p, const struct param_table *t, uint64_t seed, float *w)
{
    (void)seed;
    const struct param *scales = param_at(t, ((const struct hashed *)p)->scales);
    for (size_t f = 0; f < scales->n; f++) w[scales->offset + f] = 1;
}

static enum status run_create(struct part_run **out, const struct part *p, struct kern *k, struct err *e)
{
    (void)k;
    return part_run_alloc(out, p, sizeof(struct hashed_run), e);
}

static void run_destroy(struct part_run *r)
{
    mem_free(r);
}

static enum status bind(struct part_run *run, const struct part_params *p, struct err *e)
{
    (void)e;
    struct hashed_run *r = (struct hashed_run *)run;
    const struct hashed *q = (const struct hashed *)run->part;
    r->w = p->w + param_at(p->table, q->weights)->offset;
    r->rows = part_rows_of(p, q->weights);
    part_matrix_of(&r->scales, p, q->scales, 0, 1, SIZE_MAX);
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

/* One candidate's entries behind those before it, by family; ends (families): where each ends. */
static void put_by_family(const struct slate *q, uint32_t item, uint32_t mask, const struct entries *to, uint32_t *ends)
{
    const uint32_t from = q->hashed_off[item], until = q->hashed_off[item + 1];
    uint32_t next[SLATE_HASH_FAMILIES + 1] = {0};
    for (uint32_t j = from; j < until; j++) next[(q->hashed_idx[j] >> SLATE_HASH_BITS) + 1]++;
    next[0] = ends[-1];
    for (uint32_t f = 0; f < SLATE_HASH_FAMILIES; f++) ends[f] = next[f + 1] += next[f];
    for (uint32_t j = from; j < until; j++) {
        const uint32_t at = next[q->hashed_idx[j] >> SLATE_HASH_BITS]++;
        to->idx[at] = q->hashed_idx[j] & mask;
        to->val[at] = q->hashed_val[j];
    }
}

static size_t entries_of(const struct part_list *list)
{
    const uint32_t *off = list->s->slate->hashed_off;
    size_t total = 0;
    for (size_t i = 0; i < list->n; i++) total += off[list->which[i] + 1] - off[list->which[i]];
    return total;
}

/* Entries of the chosen candidates, on the tape's host side; NULL: no memory. */
static struct entries *take_entries(const struct hashed_run *r, const struct part_list *lists, size_t n)
{
    const uint32_t mask = ((const struct hashed *)r->base.part)->mask;
    struct tape *t = lists[0].s->tape;
    size_t total = 0;
    for (size_t l = 0; l < n; l++) total += entries_of(&lists[l]);
    struct entries *out = tape_host(t, 1, sizeof *out);
    uint32_t *off = tape_host(t, part_listed(lists, n) * SLATE_HASH_FAMILIES + 1, sizeof *off),
             *idx = tape_host(t, total + 1, sizeof *idx);
    float *val = tape_host(t, total + 1, sizeof *val);
    if (t->oom) return NULL;
    *out = (struct entries){r, off, idx, val};
    off[0] = 0;
    uint32_t *ends = off + 1;
    for (size_t l = 0; l < n; l++)
        for (size_t i = 0; i < lists[l].n; i++, ends += SLATE_HASH_FAMILIES)
            put_by_family(lists[l].s->slate, lists[l].which[i], mask, out, ends);
    return out;
}

static enum status score_together(struct part_run *run, const struct part_list *lists, size_t n, struct tape_value *z,
                                  struct err *e)
{
    struct hashed_run *r = (struct hashed_run *)run;
    struct tape *t = lists[0].s->tape;
    struct entries *q = take_entries(r, lists, n);
    if (q == NULL) return tape_status(t, e);
    const size_t K = part_listed(lists, n), sums = K * SLATE_HASH_FAMILIES;
    if (t->record && r->rows != NULL) TRY(part_rows_reserve(r->rows, q->off[sums], e));
    struct tape_value of = op_sparse(t, &(struct op_sparse){r->w, q->off, q->idx, q->val, sums, add_grads, q});
    of.n = K; /* (K * families, 1) read as (K, families) */
    of.c = SLATE_HASH_FAMILIES;
    *z = op_linear(t, of, &r->scales, KERN_ACT_NONE);
    return tape_status(t, e);
}

const struct part_ops part_hashed = {"hashed", create,         NULL, init, run_create, run_destroy, bind, NULL, NULL,
                                     NULL,     score_together, NULL, NULL, NULL,       NULL,        NULL, NULL};

/* part_itembias.c - a learned number per item (MODEL.md, `idvec`), rows by hash as idvec's.
 *
 * Popularity beyond the counters, for models without part hashed, which has one of its own.
 */
#include "base/mem.h"
#include "model/part.h"

struct itembias {
    struct part base;
    size_t weights; /* tensor (2^bits) */
    uint32_t mask;
};
struct itembias_run {
    struct part_run base;
    const float *w;         /* backend */
    struct part_rows *rows; /* NULL: nothing is learnt */
};
struct reading { /* rows of some candidates, on the tape */
    const struct itembias_run *run;
    const uint32_t *rows;
};

static enum status create(struct part **out, const struct part_env *env, struct param_table *t, struct err *e)
{
    *out = NULL;
    struct itembias *p = mem_calloc(1, sizeof *p);
    if (p == NULL) return ERR_SET(e, STATUS_OOM, "part itembias: %zu bytes", sizeof *p);
    p->base.ops = &part_itembias;
    const uint32_t shape[1] = {(uint32_t)1 << env->conf->model_idvec_bits};
    p->mask = shape[0] - 1;
    const float rate = (float)env->conf->train_itembias_rate;
    enum status st = STATUS_OK;
    TRY_OUT(st, param_table_add(t, "itembias.weight", PARAM_SPARSE, 1, shape, rate, 0, &p->weights, e));
    *out = &p->base;
    p = NULL;
out:
    mem_free(p);
    return st;
}

static enum status run_create(struct part_run **out, const struct part *p, struct kern *k, struct err *e)
{
    (void)k;
    return part_run_alloc(out, p, sizeof(struct itembias_run), e);
}

static void run_destroy(struct part_run *r)
{
    mem_free(r);
}

static enum status bind(struct part_run *run, const struct part_params *p, struct err *e)
{
    (void)e;
    struct itembias_run *r = (struct itembias_run *)run;
    const size_t weights = ((const struct itembias *)run->part)->weights;
    r->w = p->w + param_at(p->table, weights)->offset;
    r->rows = part_rows_of(p, weights);
    return STATUS_OK;
}

static void add_grads(void *user, const float *dz, size_t n)
{
    const struct reading *q = user;
    for (size_t i = 0; i < n; i++) part_rows_add(q->run->rows, q->rows[i], dz + i);
}

static enum status score(struct part_run *run, struct part_slate *s, const uint32_t *which, size_t n,
                         struct tape_value *z, struct err *e)
{
    struct itembias_run *r = (struct itembias_run *)run;
    const uint32_t mask = ((const struct itembias *)run->part)->mask;
    struct reading *q = tape_host(s->tape, 1, sizeof *q);
    uint32_t *off = tape_host(s->tape, n + 1, sizeof *off), *rows = tape_host(s->tape, n + 1, sizeof *rows);
    float *ones = tape_host(s->tape, n + 1, sizeof *ones);
    if (s->tape->oom) return tape_status(s->tape, e);
    for (size_t i = 0; i < n; i++) {
        rows[i] = part_item_row(s->slate->items[which[i]].item, mask);
        ones[i] = 1.0f;
        off[i + 1] = (uint32_t)i + 1;
    }
    *q = (struct reading){r, rows};
    if (s->tape->record && r->rows != NULL) TRY(part_rows_reserve(r->rows, n, e));
    *z = op_sparse(s->tape, &(struct op_sparse){r->w, off, rows, ones, n, add_grads, q});
    return tape_status(s->tape, e);
}

const struct part_ops part_itembias = {"itembias", create, NULL, NULL, run_create, run_destroy, bind, NULL, NULL,
                                       score,      NULL,   NULL, NULL, NULL,       NULL,        NULL, NULL};

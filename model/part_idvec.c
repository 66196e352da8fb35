/* part_idvec.c - a learned vector per item (MODEL.md, `idvec`), added to v_item and v_e in match: what sells with what,
 * beyond what the texts say.
 *
 * Items have rows by hash in a bounded table; rows begin at 0 and are never touched by what is not shown.  The logit is
 * what the change brings: match's with the vectors less match's without (model/part_match.h).
 */
#include "base/mem.h"
#include "model/part_match.h"

struct idvec {
    struct part base;
    size_t vectors; /* tensor (2^bits, C) */
    uint32_t mask;
};
struct idvec_run {
    struct part_run base;
    struct kern *kern;
    const float *w;         /* backend */
    struct part_rows *rows; /* NULL: nothing is learnt */
};
struct reading { /* the rows that were added to some vectors, on the tape */
    const struct idvec_run *run;
    const int32_t *rows;
};

static enum status create(struct part **out, const struct part_env *env, struct param_table *t, struct err *e)
{
    *out = NULL;
    if (env->match == NULL)
        return ERR_SET(e, STATUS_INVALID, "part idvec: adds to the vectors of match; put match into model.parts too");
    struct idvec *p = mem_calloc(1, sizeof *p);
    if (p == NULL) return ERR_SET(e, STATUS_OOM, "part idvec: %zu bytes", sizeof *p);
    p->base = (struct part){.ops = &part_idvec, .wants_states = true, .under = env->match};
    const uint32_t shape[2] = {(uint32_t)1 << env->conf->model_idvec_bits, (uint32_t)encoder_shape(env->enc)->C};
    p->mask = shape[0] - 1;
    const float rate = (float)env->conf->train_idvec_rate;
    enum status st = STATUS_OK;
    TRY_OUT(st, param_table_add(t, "idvec.vector", PARAM_SPARSE, 2, shape, rate, 0, &p->vectors, e));
    env->match->changed = true;
    *out = &p->base;
    p = NULL;
out:
    mem_free(p);
    return st;
}

static enum status run_create(struct part_run **out, const struct part *p, struct kern *k, struct err *e)
{
    TRY(part_run_alloc(out, p, sizeof(struct idvec_run), e));
    ((struct idvec_run *)*out)->kern = k;
    return STATUS_OK;
}

static void run_destroy(struct part_run *r)
{
    mem_free(r);
}

static enum status bind(struct part_run *run, const struct part_params *p, struct err *e)
{
    (void)e;
    struct idvec_run *r = (struct idvec_run *)run;
    const size_t vectors = ((const struct idvec *)run->part)->vectors;
    r->w = p->w + param_at(p->table, vectors)->offset;
    r->rows = part_rows_of(p, vectors);
    return STATUS_OK;
}

static void add_grads(void *user, const float *dy, size_t n)
{
    const struct reading *q = user;
    const size_t C = q->run->rows->width;
    for (size_t i = 0; i < n / C; i++) part_rows_add(q->run->rows, (uint32_t)q->rows[i], dy + i * C);
}

static struct tape_value add_vectors(void *user, struct part_slate *s, struct tape_value v, const uint32_t *which)
{
    const struct idvec_run *r = user;
    const uint32_t mask = ((const struct idvec *)r->base.part)->mask;
    struct reading *q = tape_host(s->tape, 1, sizeof *q);
    int32_t *rows = tape_host(s->tape, v.n + 1, sizeof *rows);
    if (s->tape->oom) return (struct tape_value){0};
    for (size_t i = 0; i < v.n; i++)
        rows[i] =
            (int32_t)part_item_row(which != NULL ? s->slate->items[which[i]].item : s->slate->events[i].item, mask);
    *q = (struct reading){r, rows};
    return op_sparse_rows(s->tape, v, &(struct op_sparse_rows){r->w, rows, add_grads, q});
}

/* z less what match says without the vectors. */
static void take_off(struct idvec_run *r, struct part_slate *s, const uint32_t *which, struct tape_value z)
{
    float *said = tape_floats(s->tape, z.n);
    const int32_t *rows = tape_upload(s->tape, which, z.n * sizeof *which);
    if (s->tape->oom) return;
    r->kern->ops->gather(r->kern, said, s->match, rows, z.n, 1);
    r->kern->ops->axpy(r->kern, z.x, -1.0f, said, z.n);
}

static enum status score(struct part_run *run, struct part_slate *s, const uint32_t *which, size_t n,
                         struct tape_value *z, struct err *e)
{
    struct idvec_run *r = (struct idvec_run *)run;
    if (s->tape->record && r->rows != NULL) TRY(part_rows_reserve(r->rows, n + s->n_events, e));
    TRY(part_match_changed(run->under, s, which, n, add_vectors, r, z, e));
    if (!s->tape->record) take_off(r, s, which, *z);
    return tape_status(s->tape, e);
}

const struct part_ops part_idvec = {"idvec", create, NULL, NULL, run_create, run_destroy, bind, NULL, NULL,
                                    score,   NULL,   NULL, NULL, NULL,       NULL,        NULL, NULL};

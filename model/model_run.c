/* model_run.c - one thread's hands: what it owns, binding of parameters, scoring, the baseline.  model_learn.c learns. */
#include "base/mem.h"
#include "model/model_inside.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SCORE_ROWS 2048 /* rows times layers of one chunk */

void model_run_free(struct model_run *r)
{
    if (r == NULL) return;
    for (size_t i = 0; i < r->m->n_parts; i++) {
        if (r->parts[i] != NULL) r->m->parts[i]->ops->run_destroy(r->parts[i]);
    }
    tape_fini(&r->tape);
    part_rows_fini(&r->rows);
    mem_free(r->packed.m);
    if (r->kern != NULL) {
        r->kern->ops->release(r->kern, r->grads.dense);
        r->kern->ops->release(r->kern, r->w);
    }
    kern_free(r->kern);
    mem_free(r);
}

static enum status allocate(struct model_run *r, struct err *e)
{
    const struct param_table *t = &r->m->table;
    TRY(kern_new(&r->kern, r->m->backend, e));
    tape_init(&r->tape, r->kern, false);
    const size_t n = t->group_first[PARAM_STAT];
    if (r->learn) r->grads.dense = r->kern->ops->alloc(r->kern, n * sizeof(float));
    if (!r->kern->ops->host_visible) r->w = r->kern->ops->alloc(r->kern, t->total * sizeof(float));
    if ((r->learn && r->grads.dense == NULL) || (!r->kern->ops->host_visible && r->w == NULL))
        return ERR_SET(e, STATUS_OOM, "model: %zu parameters", t->total);
    for (size_t i = 0; i < r->m->n_parts; i++)
        TRY(r->m->parts[i]->ops->run_create(&r->parts[i], r->m->parts[i], r->kern, e));
    return STATUS_OK;
}

enum status model_run_new(struct model_run **out, const struct model *m, struct state_cache *states, bool learn,
                          struct err *e)
{
    *out = NULL;
    if (m->wants_states && states == NULL)
        return ERR_SET(e, STATUS_INVALID, "model: text and match need a state cache");
    struct model_run *r = mem_calloc(1, sizeof *r);
    if (r == NULL) return ERR_SET(e, STATUS_OOM, "model run: %zu bytes", sizeof *r);
    r->m = m;
    r->states = states;
    r->learn = learn;
    const enum status st = allocate(r, e);
    if (st == STATUS_OK)
        *out = r;
    else
        model_run_free(r);
    return st;
}

/* fresh: the matrices' packed forms are up to date. */
static enum status bind(struct model_run *r, const struct param_set *p, bool fresh, struct err *e)
{
    r->bound = NULL;
    if (!fresh) r->packed.n = 0;
    if (r->w != NULL) r->kern->ops->upload(r->kern, r->w, p->w, p->n * sizeof *p->w);
    const struct part_params pp = {.table = &r->m->table,
                                   .prec = r->m->prec,
                                   .fresh = fresh,
                                   .packed = &r->packed,
                                   .host = p->w,
                                   .w = r->w != NULL ? r->w : p->w,
                                   .dense = r->grads.dense,
                                   .rows = r->learn ? &r->rows : NULL};
    for (size_t i = 0; i < r->m->n_parts; i++) TRY(r->m->parts[i]->ops->bind(r->parts[i], &pp, e));
    r->bound = p;
    r->generation = p->generation;
    return STATUS_OK;
}

enum status model_bind(struct model_run *r, const struct param_set *p, struct err *e)
{
    if (p->n != r->m->table.total)
        return ERR_SET(e, STATUS_INVALID, "parameters: %zu floats, the model has %zu", p->n, r->m->table.total);
    if (r->bound == p && r->generation == p->generation) return STATUS_OK;
    return bind(r, p, false, e);
}

enum status model_stepped(struct model_run *r, const struct param_set *p, struct err *e)
{
    if (r->bound != p)
        return ERR_SET(e, STATUS_INVALID, "model: a step was made on other parameters than those that are bound");
    return bind(r, p, true, e);
}

struct kern *model_run_kern(struct model_run *r)
{
    return r->kern;
}

/* --- a slate ------------------------------------------------------------------------------------------------------ */

static enum status check_slate(const struct model_run *r, const struct slate *s, struct err *e)
{
    if (r->bound == NULL) return ERR_SET(e, STATUS_INVALID, "model: no parameters are bound");
    if (s->n_items > 0 && s->n_numeric != r->m->n_numeric && r->m->n_numeric > 0)
        return ERR_SET(e, STATUS_INVALID, "slate %llu: %u numeric features, the model has %u",
                       (unsigned long long)s->id, s->n_numeric, r->m->n_numeric);
    for (uint32_t i = 0; i < s->n_events; i++) {
        if (s->events[i].type >= EVENT_TYPES_MAX)
            return ERR_SET(e, STATUS_INVALID, "slate %llu: event type %u, the limit is %d", (unsigned long long)s->id,
                           s->events[i].type, EVENT_TYPES_MAX - 1);
    }
    return STATUS_OK;
}

enum status model_open_slate(struct model_run *r, const struct slate *s, bool record, struct part_slate *ps,
                             uint32_t **all, struct err *e)
{
    if (r->bound != NULL) TRY(model_bind(r, r->bound, e));
    TRY(check_slate(r, s, e));
    r->tape.record = record;
    const size_t E = s->n_events < r->m->max_events ? s->n_events : r->m->max_events;
    *ps = (struct part_slate){.slate = s, .tape = &r->tape, .states = r->states, .n_events = E};
    ps->entries = tape_host(&r->tape, s->n_sentences + 1u, sizeof *ps->entries);
    *all = tape_host(&r->tape, s->n_items + 1u, sizeof **all);
    TRY(tape_status(&r->tape, e));
    for (uint32_t i = 0; i < s->n_items; i++) (*all)[i] = i;
    return STATUS_OK;
}

size_t model_chunk(const struct model_run *r, size_t part, const struct part_slate *ps, const uint32_t *which, size_t n,
                   size_t limit)
{
    const struct part_ops *o = r->m->parts[part]->ops;
    if (o->rows == NULL) return n;
    size_t total = 0, k = 0;
    for (; k < n; k++) {
        total += o->rows(r->parts[part], ps, which[k]);
        if (total > limit && k > 0) break;
    }
    return k;
}

/* --- scoring ------------------------------------------------------------------------------------------------------ */

/* out[i] = the part's logit of candidate which[i]. */
static enum status score_part(struct model_run *r, size_t part, struct part_slate *ps, const uint32_t *which, size_t n,
                              float *out, struct err *e)
{
    const struct part_ops *o = r->m->parts[part]->ops;
    TRY(o->prepare(r->parts[part], ps, e));
    for (size_t at = 0; at < n;) {
        const struct tape_mark mark = tape_save(&r->tape);
        const size_t k = model_chunk(r, part, ps, which + at, n - at, SCORE_ROWS);
        struct tape_value z = {0};
        TRY(o->score(r->parts[part], ps, which + at, k, &z, e));
        r->kern->ops->download(r->kern, out + at, z.x, k * sizeof *out);
        tape_rewind(&r->tape, mark);
        at += k;
    }
    return STATUS_OK;
}

struct ranked {
    float score;
    uint32_t item;
};

/* Descending by score, then input order. */
static int by_score(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->item < y->item ? -1 : x->item > y->item;
}

static int by_item(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* which (room for top) = the `top` best by score, in input order. */
static enum status best(struct tape *t, const float *score, size_t K, size_t top, uint32_t *which, struct err *e)
{
    struct ranked *order = tape_host(t, K, sizeof *order);
    if (order == NULL) return tape_status(t, e);
    for (size_t i = 0; i < K; i++) order[i] = (struct ranked){isnan(score[i]) ? -INFINITY : score[i], (uint32_t)i};
    qsort(order, K, sizeof *order, by_score);
    for (size_t i = 0; i < top; i++) which[i] = order[i].item;
    qsort(which, top, sizeof *which, by_item);
    return STATUS_OK;
}

/* One part with a bounded number of rows per candidate, over the best by what is summed so far. */
static enum status score_joint(struct model_run *r, size_t part, struct part_slate *ps, const float *summed, size_t top,
                               float *out, struct err *e)
{
    uint32_t *which = tape_host(&r->tape, top, sizeof *which);
    float *some = tape_host(&r->tape, top, sizeof *some);
    if (which == NULL || some == NULL) return tape_status(&r->tape, e);
    TRY(best(&r->tape, summed, ps->slate->n_items, top, which, e));
    TRY(score_part(r, part, ps, which, top, some, e));
    for (size_t i = 0; i < top; i++) out[which[i]] = some[i];
    return STATUS_OK;
}

/* sum (K) = the given parts' logits, in order, those with rows left out when `cheap`. */
static void sum_parts(const struct model *m, const float *z, size_t K, bool cheap, float *sum)
{
    memset(sum, 0, K * sizeof *sum);
    for (size_t p = 0; p < m->n_parts; p++) {
        if (cheap && m->parts[p]->ops->rows != NULL) continue;
        for (size_t i = 0; i < K; i++) sum[i] += z[p * K + i];
    }
}

/* z (parts with bias, K) */
static enum status score_all(struct model_run *r, struct part_slate *ps, const uint32_t *all, uint32_t joint_top,
                             float *z, struct err *e)
{
    const struct model *m = r->m;
    const size_t K = ps->slate->n_items;
    const bool joint = joint_top > 0 && joint_top < K && m->n_parts > 2;
    float *summed = tape_host(&r->tape, K + 1, sizeof *summed);
    if (summed == NULL) return tape_status(&r->tape, e);
    for (size_t p = 0; p < m->n_parts; p++) {
        if (joint && m->parts[p]->ops->rows != NULL) continue;
        TRY(score_part(r, p, ps, all, K, z + p * K, e));
    }
    if (!joint) return STATUS_OK;
    sum_parts(m, z, K, true, summed);
    for (size_t p = 0; p < m->n_parts; p++) {
        if (m->parts[p]->ops->rows != NULL) TRY(score_joint(r, p, ps, summed, joint_top, z + p * K, e));
    }
    return STATUS_OK;
}

enum status model_score(struct model_run *r, const struct slate *s, uint32_t joint_top, float *logits,
                        float *part_logits, struct err *e)
{
    struct part_slate ps;
    uint32_t *all;
    tape_reset(&r->tape);
    TRY(model_open_slate(r, s, false, &ps, &all, e));
    const size_t K = s->n_items;
    if (K == 0) return STATUS_OK;
    float *z = tape_host(&r->tape, r->m->n_parts * K, sizeof *z);
    if (z == NULL) return tape_status(&r->tape, e);
    r->kern->ops->begin(r->kern);
    const enum status st = score_all(r, &ps, all, joint_top, z, e);
    r->kern->ops->end(r->kern);
    part_states_release(&ps);
    if (st != STATUS_OK) return st;
    sum_parts(r->m, z, K, false, logits);
    if (part_logits != NULL) memcpy(part_logits, z + K, (r->m->n_parts - 1) * K * sizeof *z);
    return STATUS_OK;
}

/* --- gradients, statistics, baseline ----------------------------------------------------------------------------------------- */

struct model_grads *model_grads(struct model_run *r)
{
    r->grads.rows = r->rows.rows;
    r->grads.row_grads = r->rows.grads;
    r->grads.n_rows = r->rows.n;
    r->grads.matrices = r->packed.m;
    r->grads.n_matrices = r->packed.n;
    return &r->grads;
}

void model_grads_clear(struct model_run *r)
{
    if (r->grads.dense != NULL) r->kern->ops->zero(r->kern, r->grads.dense, r->m->table.group_first[PARAM_STAT]);
    part_rows_clear(&r->rows);
}

void model_apply_stats(struct model_run *r, struct param_set *p)
{
    for (size_t i = 0; i < r->m->n_parts; i++) {
        if (r->m->parts[i]->ops->apply != NULL) r->m->parts[i]->ops->apply(r->parts[i], &r->m->table, p->w);
    }
    param_touch(p);
}

void model_run_encode(struct buf *b, const struct model_run *r)
{
    for (size_t i = 0; i < r->m->n_parts; i++) {
        if (r->m->parts[i]->ops->encode != NULL) r->m->parts[i]->ops->encode(b, r->parts[i]);
    }
}

enum status model_run_decode(struct model_run *r, struct buf_reader *rd, struct err *e)
{
    for (size_t i = 0; i < r->m->n_parts; i++) {
        if (r->m->parts[i]->ops->decode != NULL) TRY(r->m->parts[i]->ops->decode(r->parts[i], rd, e));
    }
    return STATUS_OK;
}

static enum status cosines(struct model_run *r, struct part_slate *ps, const uint32_t *all, float *cosine,
                           struct err *e)
{
    const size_t C = r->m->C, K = ps->slate->n_items;
    TRY(part_states(ps, NULL, ps->n_events, e));
    TRY(part_states(ps, all, K, e));
    float *taste = tape_host(&r->tape, C, sizeof *taste);
    if (taste == NULL) return tape_status(&r->tape, e);
    part_taste(ps, taste, C);
    const struct tape_value items = part_state_rows(ps, PART_STATE_FINAL, all, K, C);
    const struct tape_value z = op_dot(&r->tape, items, tape_constant(&r->tape, taste, 1, C));
    if (r->tape.oom) return tape_status(&r->tape, e);
    r->kern->ops->download(r->kern, cosine, z.x, K * sizeof *cosine);
    return STATUS_OK;
}

enum status model_frozen_cosine(struct model_run *r, const struct slate *s, float *cosine, struct err *e)
{
    struct part_slate ps;
    uint32_t *all;
    if (s->n_items == 0) return STATUS_OK;
    memset(cosine, 0, s->n_items * sizeof *cosine);
    if (r->states == NULL || s->n_events == 0) return STATUS_OK;
    tape_reset(&r->tape);
    TRY(model_open_slate(r, s, false, &ps, &all, e));
    r->kern->ops->begin(r->kern);
    const enum status st = ps.n_events > 0 ? cosines(r, &ps, all, cosine, e) : STATUS_OK;
    r->kern->ops->end(r->kern);
    part_states_release(&ps);
    return st;
}

/* eval_state.c - the evaluator as part of a checkpoint: every sum and count, so that a resumed run reports the same. */
#include "trainer/eval_private.h"
#include <string.h>

/* 1 ended at the buckets of the self-check, 2 at the segments; 3: cohorts without conversions; 4: without cut_off */
#define EVAL_FORMAT 5

static void meter_encode(struct buf *b, const struct eval_meter *m)
{
    for (int y = 0; y < 2; y++)
        for (size_t i = 0; i < EVAL_BINS; i++) buf_varint(b, m->bins[y][i]);
    buf_f64(b, m->gauc_sum);
    buf_f64(b, m->logloss_sum);
    buf_f64(b, m->predicted_sum);
    buf_u64(b, m->gauc_slates);
    buf_u64(b, m->examples);
    buf_u64(b, m->positives);
}

static void meter_decode(struct eval_meter *m, struct buf_reader *r)
{
    for (int y = 0; y < 2; y++)
        for (size_t i = 0; i < EVAL_BINS; i++) m->bins[y][i] = buf_get_varint(r);
    m->gauc_sum = buf_get_f64(r);
    m->logloss_sum = buf_get_f64(r);
    m->predicted_sum = buf_get_f64(r);
    m->gauc_slates = buf_get_u64(r);
    m->examples = buf_get_u64(r);
    m->positives = buf_get_u64(r);
}

/* Those of the first format, in one fixed order: later ones (more_meters) follow at the end of the state. */
static size_t eval_meters(struct eval *ev, struct eval_meter *out[EVAL_METERS_MAX])
{
    size_t n = 0;
    out[n++] = &ev->model;
    out[n++] = &ev->recent;
    for (int i = 0; i <= REPORT_CONSTANT; i++) out[n++] = &ev->baselines[i];
    for (int i = 0; i <= REPORT_FIRST_TIME; i++) out[n++] = &ev->slices[i];
    for (size_t i = 0; i < ev->setup.n_parts; i++) out[n++] = &ev->without[i];
    return n;
}

static size_t more_meters(struct eval *ev, struct eval_meter *out[EVAL_METERS_MAX])
{
    size_t n = 0;
    for (int i = REPORT_CHEAP; i < REPORT_BASELINES; i++) out[n++] = &ev->baselines[i];
    for (int i = REPORT_REPEATED; i < REPORT_SLICES; i++) out[n++] = &ev->slices[i];
    for (size_t i = 0; i < ev->setup.n_tasks; i++) out[n++] = &ev->tasks[i];
    return n;
}

static struct report_bucket *bucket(struct eval *ev, int i)
{
    return i < 8 ? &ev->by_age[i] : &ev->by_popularity[i - 8];
}

/* ---- what the second format added ---- */

static void ranked_encode(struct buf *b, const struct eval_ranked *r, uint32_t n_k)
{
    buf_varint(b, r->slates);
    for (uint32_t i = 0; i < n_k; i++) {
        buf_f64(b, r->ndcg[i]);
        buf_f64(b, r->recall[i]);
    }
}

static void ranked_decode(struct eval_ranked *r, uint32_t n_k, struct buf_reader *from)
{
    r->slates = buf_get_varint(from);
    for (uint32_t i = 0; i < n_k; i++) {
        r->ndcg[i] = buf_get_f64(from);
        r->recall[i] = buf_get_f64(from);
    }
}

/* What the pieces' sums are of: where it differs from today's, those begin anew. */
static void setup_encode(struct buf *b, const struct eval_setup *o)
{
    buf_varint(b, o->n_k);
    for (uint32_t i = 0; i < o->n_k; i++) buf_varint(b, o->k[i]);
    buf_i64(b, o->window_ms);
    buf_i64(b, o->half_life_ms);
    buf_varint(b, o->n_segments);
}

static void rankings_encode(struct buf *b, const struct eval *ev)
{
    ranked_encode(b, &ev->model_ranked, ev->cut.n);
    for (int i = 0; i < REPORT_BASELINES; i++) ranked_encode(b, &ev->ranked[i], ev->cut.n);
    eval_time_encode(b, &ev->time);
    eval_segments_encode(b, &ev->segments);
    ranked_encode(b, &ev->unsampled.model, ev->cut.n);
    ranked_encode(b, &ev->unsampled.popularity, ev->cut.n);
    buf_f64(b, ev->unsampled.items);
    eval_served_encode(b, &ev->served);
}

static void more_encode(struct buf *b, struct eval *ev)
{
    struct eval_meter *meters[EVAL_METERS_MAX];
    const size_t n = more_meters(ev, meters);
    buf_varint(b, EVAL_FORMAT);
    for (size_t i = 0; i < n; i++) meter_encode(b, meters[i]);
    eval_boot_encode(b, &ev->boot);
    eval_lists_encode(b, &ev->lists);
    buf_varint(b, ev->cut_off);
    setup_encode(b, &ev->setup);
    rankings_encode(b, ev);
}

/* True: the sums that follow are of this setup. */
static bool setup_is(struct buf_reader *r, const struct eval_setup *o)
{
    bool same = buf_get_varint(r) == o->n_k;
    for (uint32_t i = 0; i < o->n_k && same; i++) same = buf_get_varint(r) == o->k[i];
    return same && buf_get_i64(r) == o->window_ms && buf_get_i64(r) == o->half_life_ms &&
           buf_get_varint(r) == o->n_segments;
}

static enum status rankings_decode(struct eval *ev, struct buf_reader *r, uint64_t format, struct err *e)
{
    ranked_decode(&ev->model_ranked, ev->cut.n, r);
    for (int i = 0; i < REPORT_BASELINES; i++) ranked_decode(&ev->ranked[i], ev->cut.n, r);
    eval_time_decode(&ev->time, format > 3, r);
    if (!r->bad) TRY(eval_segments_decode(&ev->segments, r, e));
    if (format < 3) return STATUS_OK;
    ranked_decode(&ev->unsampled.model, ev->cut.n, r);
    ranked_decode(&ev->unsampled.popularity, ev->cut.n, r);
    ev->unsampled.items = buf_get_f64(r);
    eval_served_decode(&ev->served, r);
    return STATUS_OK;
}

static enum status more_decode(struct eval *ev, struct buf_reader *r, struct err *e)
{
    struct eval_meter *meters[EVAL_METERS_MAX];
    const size_t n = more_meters(ev, meters);
    const uint64_t format = buf_get_varint(r);
    if (format < 2 || format > EVAL_FORMAT)
        return ERR_SET(e, STATUS_UNSUPPORTED, "evaluator state of format %llu, this program reads 1 to %d",
                       (unsigned long long)format, EVAL_FORMAT);
    for (size_t i = 0; i < n; i++) meter_decode(meters[i], r);
    eval_boot_decode(&ev->boot, r);
    eval_lists_decode(&ev->lists, r);
    if (format > 4) ev->cut_off = buf_get_varint(r);
    return setup_is(r, &ev->setup) ? rankings_decode(ev, r, format, e) : STATUS_OK;
}

/* ---- the whole ---- */

void eval_encode(struct buf *b, const struct eval *ev)
{
    struct eval_meter *meters[EVAL_METERS_MAX];
    struct eval *open = (struct eval *)(uintptr_t)ev; /* only read below */
    const size_t n = eval_meters(open, meters);
    b->oom = eval_behind_wait(ev->behind) != STATUS_OK || b->oom;
    buf_varint(b, ev->setup.n_parts);
    buf_u64(b, ev->slates);
    buf_u64(b, ev->base_examples);
    buf_u64(b, ev->base_positives);
    for (size_t i = 0; i < n; i++) meter_encode(b, meters[i]);
    for (int i = 0; i < REPORT_CONSTANT; i++) {
        const struct calibrate *c = &ev->calibrators[i];
        const double v[4] = {c->a, c->b, c->acc_a, c->acc_b};
        for (int k = 0; k < 4; k++) buf_f64(b, v[k]);
    }
    for (int i = 0; i < 18; i++) {
        buf_u64(b, bucket(open, i)->examples);
        buf_u64(b, bucket(open, i)->positives);
    }
    more_encode(b, open);
}

enum status eval_decode(struct eval *ev, struct buf_reader *r, struct err *e)
{
    struct eval_meter *meters[EVAL_METERS_MAX];
    const size_t n = eval_meters(ev, meters), parts = (size_t)buf_get_varint(r);
    if (parts != ev->setup.n_parts)
        return ERR_SET(e, STATUS_CORRUPT, "evaluator state has %zu parts, the model %zu", parts, ev->setup.n_parts);
    ev->slates = buf_get_u64(r);
    ev->base_examples = buf_get_u64(r);
    ev->base_positives = buf_get_u64(r);
    for (size_t i = 0; i < n; i++) meter_decode(meters[i], r);
    for (int i = 0; i < REPORT_CONSTANT; i++) {
        struct calibrate *c = &ev->calibrators[i];
        c->a = buf_get_f64(r);
        c->b = buf_get_f64(r);
        c->acc_a = buf_get_f64(r);
        c->acc_b = buf_get_f64(r);
    }
    for (int i = 0; i < 18; i++) {
        bucket(ev, i)->examples = buf_get_u64(r);
        bucket(ev, i)->positives = buf_get_u64(r);
    }
    if (!r->bad && buf_left(r) > 0) TRY(more_decode(ev, r, e)); /* the first format ended here */
    return r->bad ? ERR_SET(e, STATUS_CORRUPT, "evaluator state is cut short") : STATUS_OK;
}

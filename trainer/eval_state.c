/* eval_state.c - the evaluator as part of a checkpoint: every sum and count, so that a resumed run reports the same. */
#include "trainer/eval_private.h"
#include <string.h>

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

/* Every meter in one fixed order. */
static size_t eval_meters(struct eval *ev, struct eval_meter *out[EVAL_METERS_MAX])
{
    size_t n = 0;
    out[n++] = &ev->model;
    out[n++] = &ev->recent;
    for (int i = 0; i < EVAL_BASELINES; i++) out[n++] = &ev->baselines[i];
    for (int i = 0; i < EVAL_SLICES; i++) out[n++] = &ev->slices[i];
    for (size_t i = 0; i < ev->n_parts; i++) out[n++] = &ev->without[i];
    return n;
}

void eval_encode(struct buf *b, const struct eval *ev)
{
    struct eval_meter *meters[EVAL_METERS_MAX];
    struct eval *open = (struct eval *)(uintptr_t)ev; /* only read below */
    const size_t n = eval_meters(open, meters);
    buf_varint(b, ev->n_parts);
    buf_u64(b, ev->slates);
    buf_u64(b, ev->base_examples);
    buf_u64(b, ev->base_positives);
    for (size_t i = 0; i < n; i++) meter_encode(b, meters[i]);
    for (int i = 0; i < EVAL_CONSTANT; i++) {
        const struct calibrate *c = &ev->calibrators[i];
        const double v[4] = {c->a, c->b, c->acc_a, c->acc_b};
        for (int k = 0; k < 4; k++) buf_f64(b, v[k]);
    }
    for (int i = 0; i < 18; i++) {
        const struct report_bucket *k = i < 8 ? &ev->by_age[i] : &ev->by_popularity[i - 8];
        buf_u64(b, k->examples);
        buf_u64(b, k->positives);
    }
}

enum status eval_decode(struct eval *ev, struct buf_reader *r, struct err *e)
{
    struct eval_meter *meters[EVAL_METERS_MAX];
    const size_t n = eval_meters(ev, meters), parts = (size_t)buf_get_varint(r);
    if (parts != ev->n_parts)
        return ERR_SET(e, STATUS_CORRUPT, "evaluator state has %zu parts, the model %zu", parts, ev->n_parts);
    ev->slates = buf_get_u64(r);
    ev->base_examples = buf_get_u64(r);
    ev->base_positives = buf_get_u64(r);
    for (size_t i = 0; i < n; i++) meter_decode(meters[i], r);
    for (int i = 0; i < EVAL_CONSTANT; i++) {
        struct calibrate *c = &ev->calibrators[i];
        c->a = buf_get_f64(r);
        c->b = buf_get_f64(r);
        c->acc_a = buf_get_f64(r);
        c->acc_b = buf_get_f64(r);
    }
    for (int i = 0; i < 18; i++) {
        struct report_bucket *k = i < 8 ? &ev->by_age[i] : &ev->by_popularity[i - 8];
        k->examples = buf_get_u64(r);
        k->positives = buf_get_u64(r);
    }
    return r->bad ? ERR_SET(e, STATUS_CORRUPT, "evaluator state is cut short") : STATUS_OK;
}

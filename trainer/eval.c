/* eval.c - the evaluator: model, baselines, slices and left-out parts over the same slates. */
#include "base/mem.h"
#include "trainer/eval_private.h"
#include <math.h>
#include <stdio.h>

/* Age and popularity buckets of the sampler's self-check: upper bounds. */
static const double age_days_below[] = {1, 3, 7, 14, 28, 56, 112, INFINITY};
static const double popularity_below[] = {0.5, 1, 2, 4, 8, 16, 32, 64, 128, INFINITY};

enum status eval_new(struct eval **out, size_t n_parts, struct eval_warmup warmup, struct err *e)
{
    *out = NULL;
    if (n_parts > EVAL_PARTS_MAX)
        return ERR_SET(e, STATUS_INVALID, "evaluator: %zu parts, at most %d", n_parts, EVAL_PARTS_MAX);
    struct eval *ev = mem_calloc(1, sizeof *ev);
    if (ev == NULL) return ERR_SET(e, STATUS_OOM, "evaluator: %zu bytes", sizeof *ev);
    ev->n_parts = n_parts;
    ev->warmup = warmup;
    for (int i = 0; i < EVAL_CONSTANT; i++) calibrate_init(&ev->calibrators[i]);
    *out = ev;
    return STATUS_OK;
}

void eval_free(struct eval *ev)
{
    if (ev == NULL) return;
    mem_free(ev->scratch);
    mem_free(ev->mask);
    mem_free(ev);
}

static enum status make_room(struct eval *ev, size_t n, struct err *e)
{
    if (n <= ev->cap) return STATUS_OK;
    float *scratch = mem_calloc(n, sizeof *scratch);
    uint8_t *mask = mem_calloc(n, 1);
    if (scratch == NULL || mask == NULL) {
        mem_free(scratch);
        mem_free(mask);
        return ERR_SET(e, STATUS_OOM, "evaluator: slate of %zu examples", n);
    }
    mem_free(ev->scratch);
    mem_free(ev->mask);
    ev->scratch = scratch;
    ev->mask = mask;
    ev->cap = n;
    return STATUS_OK;
}

static void labels_of(const struct slate *s, float *y)
{
    for (uint32_t i = 0; i < s->n_items; i++) y[i] = s->items[i].label;
}

static float baseline_score(const struct slate_item *it, enum eval_baseline which, float frozen)
{
    return which == EVAL_POPULARITY ? log1pf(it->popularity) : which == EVAL_REPEAT ? log1pf(it->repeat) : frozen;
}

/* Scores of one baseline and their calibrated logits; the calibrator learns afterwards. */
static void eval_baseline_add(struct eval *ev, enum eval_baseline which, const struct slate *s, const float *y,
                              const float *frozen, float *score, float *z, bool counted)
{
    struct calibrate *c = &ev->calibrators[which];
    for (uint32_t i = 0; i < s->n_items; i++) {
        score[i] = baseline_score(&s->items[i], which, frozen[i]);
        z[i] = calibrate_logit(c, score[i]);
    }
    if (counted) eval_meter_add(&ev->baselines[which], z, score, y, NULL, s->n_items);
    calibrate_learn(c, score, y, s->n_items);
}

static void eval_constant_add(struct eval *ev, const float *y, float *z, size_t n, bool counted)
{
    const double p = ((double)ev->base_positives + 0.5) / ((double)ev->base_examples + 1.0);
    const float logit = (float)log(p / (1.0 - p));
    for (size_t i = 0; i < n; i++) z[i] = logit;
    if (counted) eval_meter_add(&ev->baselines[EVAL_CONSTANT], z, NULL, y, NULL, n);
    for (size_t i = 0; i < n; i++) ev->base_positives += y[i] > 0.5f;
    ev->base_examples += n;
}

/* The model's own figures: recent ones always; all and the slices where the slate counts. */
static void eval_model_add(struct eval *ev, const struct slate *s, const float *logits, const float *y, bool counted)
{
    static const uint32_t flag_of[EVAL_SLICES] = {0, SLATE_ITEM_COLD, SLATE_ITEM_FIRST_TIME};
    const uint32_t n = s->n_items;
    struct eval_meter_mask to[2 + EVAL_SLICES] = {{&ev->recent, NULL}, {&ev->model, NULL}};
    for (uint32_t k = 0; k < EVAL_SLICES && counted; k++) {
        uint8_t *mask = ev->mask + (size_t)k * n;
        for (uint32_t i = 0; i < n; i++)
            mask[i] = k == EVAL_COLD_USER ? s->cold_user : (s->items[i].flags & flag_of[k]) != 0;
        to[2 + k] = (struct eval_meter_mask){&ev->slices[k], mask};
    }
    eval_meters_add(to, counted ? 2 + EVAL_SLICES : 1, logits, NULL, y, n);
}

static void bucket_add(struct report_bucket *b, const double *below, size_t n, double x, bool positive)
{
    size_t i = 0;
    while (i + 1 < n && !(x < below[i])) i++;
    b[i].examples++;
    b[i].positives += positive;
}

static void eval_buckets_add(struct eval *ev, const struct slate *s)
{
    for (uint32_t i = 0; i < s->n_items; i++) {
        const struct slate_item *it = &s->items[i];
        bucket_add(ev->by_age, age_days_below, 8, (double)it->age_days, it->label > 0.5f);
        bucket_add(ev->by_popularity, popularity_below, 10, (double)it->popularity, it->label > 0.5f);
    }
}

/* The slate's intercept and all parts but p, added up anew: taking p away from the sum would break ties by its rounding. */
static void without_part(const struct eval *ev, size_t p, size_t n, const float *logits, const float *part_logits,
                         float *z)
{
    float intercept = n > 0 ? logits[0] : 0.0f;
    for (size_t q = 0; q < ev->n_parts && n > 0; q++) intercept -= part_logits[q * n];
    for (size_t i = 0; i < n; i++) {
        z[i] = intercept;
        for (size_t q = 0; q < ev->n_parts; q++)
            if (q != p) z[i] += part_logits[q * n + i];
    }
}

enum status eval_slate(struct eval *ev, const struct slate *s, const float *logits, const float *part_logits,
                       const float *frozen, int64_t first_ms, struct err *e)
{
    const size_t n = s->n_items;
    TRY(make_room(ev, 3 * n, e));
    float *y = ev->scratch, *z = y + n, *score = z + n;
    const bool counted = ev->slates >= ev->warmup.slates && s->time_ms - first_ms >= ev->warmup.ms;
    ev->slates++;
    labels_of(s, y);
    for (int k = 0; k < EVAL_CONSTANT; k++)
        eval_baseline_add(ev, (enum eval_baseline)k, s, y, frozen, score, z, counted);
    eval_constant_add(ev, y, z, n, counted);
    eval_model_add(ev, s, logits, y, counted);
    if (!counted) return STATUS_OK;
    eval_buckets_add(ev, s);
    for (size_t p = 0; p < ev->n_parts; p++) {
        without_part(ev, p, n, logits, part_logits, z);
        eval_meter_add(&ev->without[p], z, NULL, y, NULL, n);
    }
    return STATUS_OK;
}

static void report_buckets(struct report_bucket *out, const struct report_bucket *in, const double *below, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = in[i];
        if (isinf(below[i]))
            (void)snprintf(out[i].name, sizeof out[i].name, ">=%g", below[i - 1]);
        else
            (void)snprintf(out[i].name, sizeof out[i].name, "<%g", below[i]);
    }
}

void eval_report(const struct eval *ev, const char *const *part_names, struct report *out)
{
    eval_meter_figures(&ev->model, &out->progressive);
    eval_meter_figures(&ev->baselines[EVAL_POPULARITY], &out->popularity);
    eval_meter_figures(&ev->baselines[EVAL_REPEAT], &out->repeat);
    eval_meter_figures(&ev->baselines[EVAL_FROZEN], &out->frozen);
    eval_meter_figures(&ev->baselines[EVAL_CONSTANT], &out->constant);
    eval_meter_figures(&ev->slices[EVAL_COLD_USER], &out->cold_user);
    eval_meter_figures(&ev->slices[EVAL_COLD_ITEM], &out->cold_item);
    eval_meter_figures(&ev->slices[EVAL_FIRST_TIME], &out->first_time);
    out->n_parts = (uint32_t)ev->n_parts;
    for (size_t p = 0; p < ev->n_parts; p++) {
        struct report_figures f;
        eval_meter_figures(&ev->without[p], &f);
        (void)snprintf(out->parts[p].name, sizeof out->parts[p].name, "%s", part_names[p]);
        out->parts[p].gauc_without = f.gauc;
        out->parts[p].auc_without = f.auc;
        out->parts[p].logloss_without = f.logloss;
    }
    report_buckets(out->by_age, ev->by_age, age_days_below, 8);
    report_buckets(out->by_popularity, ev->by_popularity, popularity_below, 10);
}

void eval_recent(const struct eval *ev, struct report_figures *out)
{
    eval_meter_figures(&ev->recent, out);
}

void eval_recent_clear(struct eval *ev)
{
    eval_meter_clear(&ev->recent);
}

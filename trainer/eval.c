/* eval.c - the evaluator: model, baselines, slices and left-out parts over the same slates. */
#include "base/hash.h"
#include "base/mem.h"
#include "trainer/eval_private.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS INT64_C(86400000)
#define YOUNG_DAYS 14.0f

const double eval_popularity_below[10] = {0.5, 1, 2, 4, 8, 16, 32, 64, 128, INFINITY};

/* ---- opening ---- */

enum status eval_setup_of(struct eval_setup *out, const struct conf *c, struct err *e)
{
    double k[REPORT_K_MAX];
    uint32_t n = 1;
    for (const char *p = c->eval_k; *p != '\0'; p++) n += *p == ',';
    *out = (struct eval_setup){.n_k = n, .window_ms = c->eval_window_ms, .half_life_ms = c->eval_half_life_ms};
    if (n > REPORT_K_MAX)
        return ERR_SET(e, STATUS_INVALID, "eval.k=%s: %u numbers, at most %d", c->eval_k, n, REPORT_K_MAX);
    TRY(conf_numbers(c->eval_k, k, n, "eval.k", e));
    for (uint32_t i = 0; i < n; i++) {
        if (!(k[i] >= 1.0 && k[i] <= EVAL_K_LARGEST) || k[i] != floor(k[i]))
            return ERR_SET(e, STATUS_INVALID, "eval.k=%s: %g is not a whole number from 1 to %d", c->eval_k, k[i],
                           EVAL_K_LARGEST);
        out->k[i] = (uint32_t)k[i];
    }
    return STATUS_OK;
}

static void begin(struct eval *ev)
{
    static const uint32_t usual[] = {5, 10, 20};
    struct eval_setup *o = &ev->setup;
    if (o->n_k == 0)
        for (o->n_k = 0; o->n_k < 3; o->n_k++) o->k[o->n_k] = usual[o->n_k];
    if (o->window_ms == 0) o->window_ms = DAY_MS;
    if (o->half_life_ms == 0) o->half_life_ms = DAY_MS;
    for (size_t p = 0; o->part_names != NULL && p < o->n_parts; p++)
        ev->dear[p] = strcmp(o->part_names[p], "text") == 0 || strcmp(o->part_names[p], "match") == 0;
    o->part_names = NULL; /* read at the call only */
    for (int i = 0; i < REPORT_CONSTANT; i++) calibrate_init(&ev->calibrators[i]);
    eval_cut_init(&ev->cut, o->k, o->n_k);
    eval_boot_init(&ev->boot, (uint32_t)(EVAL_SERIES_WITHOUT + o->n_parts));
    eval_time_init(&ev->time, o->window_ms, o->half_life_ms);
    ev->segments.n_configured = o->n_segments;
}

static enum status open_behind(struct eval *ev, struct err *e)
{
    return ev->setup.pool != NULL
               ? eval_behind_new(&ev->behind, ev, ev->setup.pool, ev->setup.n_parts + ev->setup.n_tasks, e)
               : STATUS_OK;
}

enum status eval_new(struct eval **out, const struct eval_setup *setup, struct err *e)
{
    *out = NULL;
    if (setup->n_parts > EVAL_PARTS_MAX)
        return ERR_SET(e, STATUS_INVALID, "evaluator: %zu parts, at most %d", setup->n_parts, EVAL_PARTS_MAX);
    struct eval *ev = mem_calloc(1, sizeof *ev);
    if (ev == NULL) return ERR_SET(e, STATUS_OOM, "evaluator: %zu bytes", sizeof *ev);
    ev->setup = *setup;
    begin(ev);
    const enum status st = open_behind(ev, e);
    if (st == STATUS_OK)
        *out = ev;
    else
        eval_free(ev);
    return st;
}

void eval_free(struct eval *ev)
{
    if (ev == NULL) return;
    eval_behind_free(ev->behind);
    eval_segments_free(&ev->segments);
    arena_fini(&ev->scratch);
    mem_free(ev);
}

/* ---- one slate ---- */

struct seen { /* one slate on its way through */
    const struct slate *s;
    const float *logits, *part_logits, *frozen;
    size_t n;
    bool counted;
    uint64_t ordinal;
    float *y, *z, *score;      /* (n) labels; a series' logits and what orders it */
    uint8_t *masks;            /* (REPORT_SLICES, n) */
    struct eval_place *places; /* (n) */
    struct eval_terms terms;   /* the model's */
    struct eval_term *shown;   /* (n) scratch */
    struct eval_boot_slate boot;
};

static enum status make_room(struct eval *ev, struct seen *v, struct err *e)
{
    struct arena *a = &ev->scratch;
    arena_reset(a);
    float *floats = arena_alloc(a, 3 * v->n, sizeof *floats);
    v->masks = arena_alloc(a, REPORT_SLICES * v->n, 1);
    v->places = arena_alloc(a, v->n, sizeof *v->places);
    v->terms.terms = arena_alloc(a, v->n, sizeof *v->terms.terms);
    v->shown = arena_alloc(a, v->n, sizeof *v->shown);
    if (floats == NULL || v->shown == NULL || v->masks == NULL || v->places == NULL || v->terms.terms == NULL)
        return ERR_SET(e, STATUS_OOM, "evaluator: slate of %zu examples", v->n);
    v->y = floats;
    v->z = floats + v->n;
    v->score = v->z + v->n;
    for (size_t i = 0; i < v->n; i++) v->y[i] = v->s->items[i].label;
    return STATUS_OK;
}

static void sort_by(struct seen *v, const float *score)
{
    for (size_t i = 0; i < v->n; i++)
        v->places[i] = (struct eval_place){score[i], (uint32_t)i, (uint32_t)v->s->items[i].item, v->y[i]};
    eval_sort(v->places, v->n);
}

/* A series' figures: meter where the slate counts, its place in the bootstrap, and its ranking (NULL: none). */
static void add_series(struct eval *ev, struct seen *v, uint32_t series, struct eval_meter *m, struct eval_ranked *r,
                       const float *z, const float *score)
{
    const struct eval_meter_mask to = {m, NULL};
    const struct eval_added a = eval_meters_add(&to, v->counted ? 1 : 0, z, score, v->y, v->n);
    v->boot.auc[series] = a.auc;
    v->boot.loss[series] = a.loss;
    if (!v->counted || r == NULL) return;
    sort_by(v, score);
    eval_ranked_add(r, &ev->cut, v->places, v->n);
}

static void add_baseline(struct eval *ev, struct seen *v, enum report_baseline which)
{
    add_series(ev, v, EVAL_SERIES_BASELINE + (uint32_t)which, &ev->baselines[which], &ev->ranked[which], v->z,
               v->score);
}

static float baseline_score(const struct slate_item *it, enum report_baseline which, float frozen)
{
    return which == REPORT_POPULARITY ? log1pf(it->popularity) : which == REPORT_REPEAT ? log1pf(it->repeat) : frozen;
}

/* Scores of one baseline and their calibrated logits; the calibrator learns afterwards. */
static void add_scored(struct eval *ev, struct seen *v, enum report_baseline which)
{
    struct calibrate *c = &ev->calibrators[which];
    for (size_t i = 0; i < v->n; i++) {
        v->score[i] = baseline_score(&v->s->items[i], which, v->frozen[i]);
        v->z[i] = calibrate_logit(c, v->score[i]);
    }
    add_baseline(ev, v, which);
    calibrate_learn(c, v->score, v->y, v->n);
}

static void add_constant(struct eval *ev, struct seen *v)
{
    const double p = ((double)ev->base_positives + 0.5) / ((double)ev->base_examples + 1.0);
    const float logit = (float)log(p / (1.0 - p));
    for (size_t i = 0; i < v->n; i++) v->z[i] = v->score[i] = logit;
    add_baseline(ev, v, REPORT_CONSTANT);
    for (size_t i = 0; i < v->n; i++) ev->base_positives += v->y[i] > 0.5f;
    ev->base_examples += v->n;
}

/* What of the logit is no part's (intercepts, offsets, the sampling's shift) and the parts but those left out, added up anew:
 * taking a part away from the sum would break ties by its rounding; the grid keeps equal what was equal before. */
static void without(const struct eval *ev, const struct seen *v, const bool *left_out, float *z)
{
    const size_t n = v->n, parts = ev->setup.n_parts;
    for (size_t i = 0; i < n; i++) {
        float rest = v->logits[i];
        for (size_t q = 0; q < parts; q++) rest -= v->part_logits[q * n + i];
        z[i] = rintf(rest * 65536.0f) / 65536.0f;
        for (size_t q = 0; q < parts; q++)
            if (!left_out[q]) z[i] += v->part_logits[q * n + i];
    }
}

static void add_cheap(struct eval *ev, struct seen *v)
{
    bool all = true; /* then it is the sum as it was scored, to the bit */
    for (size_t p = 0; p < ev->setup.n_parts; p++) all = all && !ev->dear[p];
    if (all)
        memcpy(v->z, v->logits, v->n * sizeof *v->z);
    else
        without(ev, v, ev->dear, v->z);
    memcpy(v->score, v->z, v->n * sizeof *v->z);
    add_baseline(ev, v, REPORT_CHEAP);
}

static void add_without_part(struct eval *ev, struct seen *v, size_t p)
{
    bool left_out[EVAL_PARTS_MAX] = {false};
    left_out[p] = true;
    without(ev, v, left_out, v->z);
    add_series(ev, v, EVAL_SERIES_WITHOUT + (uint32_t)p, &ev->without[p], NULL, v->z, v->z);
}

static bool in_slice(const struct slate *s, const struct slate_item *it, enum report_slice which)
{
    switch (which) {
    case REPORT_COLD_USER: return s->cold_user;
    case REPORT_COLD_ITEM: return (it->flags & SLATE_ITEM_COLD) != 0;
    case REPORT_FIRST_TIME: return (it->flags & SLATE_ITEM_FIRST_TIME) != 0;
    case REPORT_REPEATED: return (it->flags & SLATE_ITEM_FIRST_TIME) == 0;
    case REPORT_YOUNG_ITEM: return it->age_days <= YOUNG_DAYS;
    case REPORT_IMPRESSION: return s->source == SLATE_IMPRESSION;
    case REPORT_ORGANIC: return s->source == SLATE_ORGANIC;
    case REPORT_SLICES: break;
    }
    return false;
}

/* The model's own figures: recent ones always; all and the slices where the slate counts. */
static void add_model(struct eval *ev, struct seen *v)
{
    struct eval_meter_mask to[2 + REPORT_SLICES] = {{&ev->recent, NULL}, {&ev->model, NULL}};
    for (size_t k = 0; k < REPORT_SLICES && v->counted; k++) {
        uint8_t *mask = v->masks + k * v->n;
        for (size_t i = 0; i < v->n; i++) mask[i] = in_slice(v->s, &v->s->items[i], (enum report_slice)k);
        to[2 + k] = (struct eval_meter_mask){&ev->slices[k], mask};
    }
    const struct eval_added a = eval_meters_add(to, v->counted ? 2 + REPORT_SLICES : 1, v->logits, NULL, v->y, v->n);
    v->boot.auc[EVAL_SERIES_MODEL] = a.auc;
    v->boot.loss[EVAL_SERIES_MODEL] = a.loss;
    v->terms.z = v->logits;
    v->terms.y = v->y;
    v->terms.n = v->n;
    eval_terms_fill(&v->terms);
}

static void add_ranking(struct eval *ev, struct seen *v, float vectors)
{
    sort_by(v, v->logits);
    eval_ranked_add(&ev->model_ranked, &ev->cut, v->places, v->n);
    eval_lists_add(&ev->lists, v->s, &v->terms, v->places, vectors);
}

static void bucket_add(struct report_bucket *b, size_t i, bool positive)
{
    b[i].examples++;
    b[i].positives += positive;
}

static void add_buckets(struct eval *ev, const struct slate *s)
{
    for (uint32_t i = 0; i < s->n_items; i++) {
        const struct slate_item *it = &s->items[i];
        size_t p = 0;
        while (p + 1 < 10 && !((double)it->popularity < eval_popularity_below[p])) p++;
        bucket_add(ev->by_age, slate_age_group((double)it->age_days), it->label > 0.5f);
        bucket_add(ev->by_popularity, p, it->label > 0.5f);
    }
}

/* A slate without a user is a cluster of its own. */
static uint64_t cluster_of(const struct slate *s)
{
    return str_has(s->user) ? hash_str(s->user) : hash_mix(s->id, s->at.offset);
}

/* Each task's probability against what its behaviour said; an order's slate has one type by construction. */
static void add_tasks(struct eval *ev, struct seen *v)
{
    if (v->s->source != SLATE_IMPRESSION) return;
    for (size_t t = 0; t < ev->setup.n_tasks; t++) {
        const float *z = v->part_logits + (ev->setup.n_parts + t) * v->n;
        for (size_t i = 0; i < v->n; i++) v->score[i] = (float)(v->s->items[i].tasks >> t & 1);
        eval_meters_add(&(struct eval_meter_mask){&ev->tasks[t], NULL}, 1, z, NULL, v->score, v->n);
    }
}

static enum status add_counted(struct eval *ev, struct seen *v, struct err *e)
{
    add_tasks(ev, v);
    add_buckets(ev, v->s);
    for (size_t p = 0; p < ev->setup.n_parts; p++) add_without_part(ev, v, p);
    add_ranking(ev, v, v->s->spread);
    eval_unsampled_add(&ev->unsampled, &ev->cut, v->s);
    if (v->s->source == SLATE_IMPRESSION) {
        const struct eval_served_room room = {v->z, v->masks, v->shown};
        eval_served_echoed(v->s, &room);
        eval_served_add(&ev->served, &v->terms, &room);
    }
    v->boot.ranked = !isnan(v->terms.auc);
    v->boot.examples = (double)v->n;
    eval_boot_add(&ev->boot, cluster_of(v->s), &v->boot);
    return eval_segments_add(&ev->segments, v->s, &v->terms, v->masks, v->ordinal, e);
}

enum status eval_add(struct eval *ev, const struct eval_seen *seen, struct err *e)
{
    const struct slate *s = seen->s;
    struct seen v = {.s = s,
                     .logits = seen->logits,
                     .part_logits = seen->part_logits,
                     .frozen = seen->frozen,
                     .n = s->n_items,
                     .counted = seen->counted,
                     .ordinal = seen->ordinal};
    TRY(make_room(ev, &v, e));
    for (int k = 0; k < REPORT_CONSTANT; k++) add_scored(ev, &v, (enum report_baseline)k);
    add_constant(ev, &v);
    add_cheap(ev, &v);
    add_model(ev, &v);
    eval_time_add(&ev->time, s, &v.terms, &v.boot.auc[EVAL_SERIES_BASELINE], v.counted);
    return v.counted ? add_counted(ev, &v, e) : STATUS_OK;
}

enum status eval_slate(struct eval *ev, const struct slate *s, const float *logits, const float *part_logits,
                       const float *frozen, int64_t first_ms, struct err *e)
{
    if (s->cut_off) {
        ev->slates++;
        ev->cut_off++;
        return STATUS_OK;
    }
    const bool counted = eval_next_counts(ev, s, first_ms);
    const struct eval_seen seen = {s, logits, part_logits, frozen, counted, ++ev->slates};
    return ev->behind != NULL ? eval_behind_put(ev->behind, &seen, e) : eval_add(ev, &seen, e);
}

bool eval_next_counts(const struct eval *ev, const struct slate *s, int64_t first_ms)
{
    return eval_counts(&ev->setup.warmup, ev->slates, s->time_ms - first_ms);
}

void eval_recent(const struct eval *ev, struct report_figures *out)
{
    (void)eval_behind_wait(ev->behind);
    eval_meter_figures(&ev->recent, out);
}

void eval_recent_clear(struct eval *ev)
{
    (void)eval_behind_wait(ev->behind);
    eval_meter_clear(&ev->recent);
}

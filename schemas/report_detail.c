/* report_detail.c - the part of the report that only its end has: rankings, intervals, curves, segments. */
#include "schemas/event_json.h"
#include "schemas/report_put.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static void put_list(struct buf *b, int depth, const char *key, bool *first)
{
    report_put_key(b, depth, key, first);
    buf_u8(b, '[');
}

static void end_list(struct buf *b, int depth, bool empty)
{
    if (!empty) buf_printf(b, "\n%*s", depth * 2, "");
    buf_u8(b, ']');
}

static void put_inline(struct buf *b, const char *key, double v, const char *after)
{
    buf_printf(b, "\"%s\": ", key);
    event_json_number(b, v);
    buf_printf(b, "%s", after);
}

/* {"5": …, "10": …} */
static void put_cuts(struct buf *b, const struct report_detail *d, const char *key, const double *v, const char *after)
{
    buf_printf(b, "\"%s\": {", key);
    for (uint32_t i = 0; i < d->n_k; i++) {
        buf_printf(b, "%s\"%u\": ", i > 0 ? ", " : "", d->k[i]);
        event_json_number(b, v[i]);
    }
    buf_printf(b, "}%s", after);
}

static void put_ranked(struct buf *b, const struct report_detail *d, const char *key, const struct report_ranked *r,
                       bool *first)
{
    report_put_key(b, 2, key, first);
    buf_printf(b, "{\"slates\": %" PRIu64 ", ", r->slates);
    put_cuts(b, d, "ndcg", r->ndcg, ", ");
    put_cuts(b, d, "recall", r->recall, "}");
}

static void put_ranking(struct buf *b, const struct report_detail *d, bool *first)
{
    bool inner = report_put_open(b, 1, "ranking", first);
    put_ranked(b, d, "model", &d->model_ranked, &inner);
    for (int i = 0; i < REPORT_BASELINES; i++) put_ranked(b, d, report_baseline_names[i], &d->ranked[i], &inner);
    report_put_close(b, 1, inner);
}

static void put_intervals(struct buf *b, const struct report_detail *d, const struct report *r, bool *first)
{
    bool inner = report_put_open(b, 1, "intervals", first);
    report_put_count(b, 2, "replicates", d->replicates, &inner);
    report_put_interval(b, 2, "gauc", &d->gauc, &inner);
    report_put_interval(b, 2, "logloss", &d->logloss, &inner);
    bool each = report_put_open(b, 2, "gauc_over", &inner);
    for (int i = 0; i < REPORT_BASELINES; i++)
        report_put_interval(b, 3, report_baseline_names[i], &d->gauc_over[i], &each);
    report_put_close(b, 2, each);
    each = report_put_open(b, 2, "logloss_under", &inner);
    for (int i = 0; i < REPORT_BASELINES; i++)
        report_put_interval(b, 3, report_baseline_names[i], &d->logloss_under[i], &each);
    report_put_close(b, 2, each);
    each = report_put_open(b, 2, "gauc_over_without", &inner);
    for (uint32_t p = 0; p < r->n_parts; p++) report_put_interval(b, 3, r->parts[p].name, &d->part_gauc[p], &each);
    report_put_close(b, 2, each);
    report_put_close(b, 1, inner);
}

static void put_reliability(struct buf *b, const struct report_detail *d, bool *first)
{
    bool inner = report_put_open(b, 1, "reliability", first);
    report_put_number(b, 2, "error", d->calibration_error, &inner);
    put_list(b, 2, "bins", &inner);
    for (uint32_t i = 0; i < d->n_reliability; i++) {
        const struct report_reliability *x = &d->reliability[i];
        buf_printf(b, "%s\n      {", i > 0 ? "," : "");
        put_inline(b, "predicted", x->predicted, ", ");
        put_inline(b, "observed", x->observed, ", ");
        put_inline(b, "low", x->low, ", ");
        put_inline(b, "high", x->high, ", ");
        buf_printf(b, "\"examples\": %" PRIu64 "}", x->examples);
    }
    end_list(b, 2, d->n_reliability == 0);
    report_put_close(b, 1, inner);
}

static void put_windows(struct buf *b, const struct report_detail *d, bool *first)
{
    bool inner = report_put_open(b, 1, "windows", first);
    report_put_count(b, 2, "window_ms", (uint64_t)d->window_ms, &inner);
    for (int i = 0; i < REPORT_WINDOWS; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "last_%u", d->window_counts[i]);
        report_put_figures(b, 2, key, &d->windows[i], &inner);
    }
    report_put_close(b, 1, inner);
    inner = report_put_open(b, 1, "decayed", first);
    report_put_count(b, 2, "half_life_ms", (uint64_t)d->half_life_ms, &inner);
    report_put_figures(b, 2, "figures", &d->decayed, &inner);
    report_put_close(b, 1, inner);
}

static void put_point(struct buf *b, const struct report_point *p)
{
    bool first = true;
    buf_u8(b, '{');
    report_put_count(b, 3, "from_ms", (uint64_t)p->cohort.from_ms, &first);
    report_put_count(b, 3, "to_ms", (uint64_t)p->cohort.to_ms, &first);
    report_put_figures(b, 3, "model", &p->model, &first);
    report_put_key(b, 3, "gauc", &first);
    buf_u8(b, '{');
    for (int i = 0; i < REPORT_BASELINES; i++)
        put_inline(b, report_baseline_names[i], p->baselines[i], i + 1 < REPORT_BASELINES ? ", " : "}");
    report_put_key(b, 3, "cohort", &first);
    struct report_cohort counts = p->cohort;
    counts.from_ms = counts.to_ms = 0; /* the point's */
    report_put_cohort(b, &counts);
    report_put_close(b, 2, false);
}

static void put_curve(struct buf *b, const struct report_detail *d, bool *first)
{
    put_list(b, 1, "curve", first);
    for (uint32_t i = 0; i < d->n_curve; i++) {
        buf_printf(b, "%s\n    ", i > 0 ? "," : "");
        put_point(b, &d->curve[i]);
    }
    end_list(b, 1, d->n_curve == 0);
}

/* All lists whose window is over. */
static void put_shown(struct buf *b, const struct report_detail *d, bool *first)
{
    struct report_cohort all = {0};
    for (uint32_t i = 0; i < d->n_curve; i++) {
        const struct report_cohort *c = &d->curve[i].cohort;
        if (c->lists == 0) continue;
        if (all.lists == 0) all.from_ms = c->from_ms;
        all.to_ms = c->to_ms;
        report_cohort_add(&all, c);
    }
    report_put_key(b, 1, "shown", first);
    report_put_cohort(b, &all);
}

static void put_group(struct buf *b, int depth, const struct report_group *g, bool *first)
{
    report_put_key(b, depth, g->name, first);
    buf_printf(b, "{\"candidates\": %" PRIu64 ", \"positives\": %" PRIu64 ", \"top\": %" PRIu64 ", ", g->candidates,
               g->positives, g->top);
    put_inline(b, "calibration", g->positives > 0 ? g->predicted / (double)g->positives : NAN, "}");
}

static void put_lists(struct buf *b, const struct report_detail *d, bool *first)
{
    bool inner = report_put_open(b, 1, "lists", first);
    report_put_count(b, 2, "top", REPORT_TOP, &inner);
    report_put_count(b, 2, "lists", d->lists, &inner);
    report_put_number(b, 2, "items", round(d->list_items), &inner);
    report_put_number(b, 2, "items_at_top", round(d->list_top), &inner);
    report_put_number(b, 2, "coverage", d->list_items > 0.0 ? fmin(1.0, d->list_top / d->list_items) : NAN, &inner);
    report_put_number(b, 2, "diversity_categories", d->categories_diversity, &inner);
    report_put_number(b, 2, "diversity_vectors", d->vectors_diversity, &inner);
    bool groups = report_put_open(b, 2, "by_item_age", &inner);
    for (int i = 0; i < REPORT_AGES; i++) put_group(b, 3, &d->ages[i], &groups);
    report_put_close(b, 2, groups);
    groups = report_put_open(b, 2, "by_popularity_decile", &inner);
    for (uint32_t i = 0; i < d->n_deciles; i++) put_group(b, 3, &d->deciles[i], &groups);
    report_put_close(b, 2, groups);
    report_put_close(b, 1, inner);
}

static void put_unsampled(struct buf *b, const struct report_detail *d, bool *first)
{
    bool inner = report_put_open(b, 1, "unsampled", first);
    report_put_number(b, 2, "items", d->unsampled_items, &inner);
    put_ranked(b, d, "model", &d->unsampled, &inner);
    put_ranked(b, d, "popularity", &d->unsampled_popularity, &inner);
    report_put_close(b, 1, inner);
}

static void put_skew(struct buf *b, int depth, const char *key, const struct report_skew *x, bool *first)
{
    bool skew = report_put_open(b, depth, key, first);
    report_put_number(b, depth + 1, "mean", x->mean, &skew);
    report_put_number(b, depth + 1, "deviation", x->deviation, &skew);
    report_put_number(b, depth + 1, "p50", x->p50, &skew);
    report_put_number(b, depth + 1, "p99", x->p99, &skew);
    report_put_number(b, depth + 1, "most", x->most, &skew);
    report_put_close(b, depth, skew);
}

/* The fields of an object that is open, at this depth. */
static void put_one_served(struct buf *b, int depth, const struct report_served *x, bool *inner)
{
    report_put_count(b, depth, "lists", x->lists, inner);
    report_put_figures(b, depth, "figures", &x->figures, inner);
    report_put_figures(b, depth, "learner", &x->learner, inner);
    put_skew(b, depth, "skew", &x->skew, inner);
}

static void put_named_served(struct buf *b, const char *name, const struct report_served *x, bool *first)
{
    bool inner = report_put_open(b, 4, name, first);
    put_one_served(b, 5, x, &inner);
    report_put_close(b, 4, inner);
}

/* What was made again and scored by the version that answered. */
static void put_checked(struct buf *b, const struct report_logged *x, bool *first)
{
    bool inner = report_put_open(b, 3, "checked", first);
    report_put_count(b, 4, "lists", x->checked, &inner);
    report_put_count(b, 4, "items", x->items, &inner);
    report_put_number(b, 4, "features_equal", x->items > 0 ? (double)x->equal / (double)x->items : NAN, &inner);
    report_put_count(b, 4, "same_version_items", x->same.items, &inner);
    put_skew(b, 4, "same_version_skew", &x->same, &inner);
    report_put_close(b, 3, inner);
}

static void put_logged(struct buf *b, const struct report_logged *x, bool *first)
{
    bool inner = report_put_open(b, 2, "log", first);
    report_put_count(b, 3, "answers", x->answers, &inner);
    report_put_count(b, 3, "joined", x->joined, &inner);
    report_put_count(b, 3, "unmatched", x->unmatched, &inner);
    put_one_served(b, 3, &x->all, &inner);
    bool each = report_put_open(b, 3, "by_variant", &inner);
    for (uint32_t i = 0; i < x->n_lines; i++) put_named_served(b, x->line_names[i], &x->lines[i], &each);
    report_put_close(b, 3, each);
    each = report_put_open(b, 3, "by_version", &inner);
    for (uint32_t i = 0; i < x->n_versions; i++) {
        char name[24];
        (void)snprintf(name, sizeof name, "%" PRIu64, x->version_numbers[i]);
        put_named_served(b, name, &x->versions[i], &each);
    }
    report_put_close(b, 3, each);
    put_checked(b, x, &inner);
    report_put_close(b, 2, inner);
}

static void put_served(struct buf *b, const struct report_detail *d, bool *first)
{
    bool inner = report_put_open(b, 1, "served", first);
    put_one_served(b, 2, &d->served, &inner);
    put_logged(b, &d->logged, &inner);
    report_put_close(b, 1, inner);
}

static void put_segments(struct buf *b, const struct report_detail *d, bool *first)
{
    bool inner = report_put_open(b, 1, "segments", first);
    for (uint32_t i = 0; i < d->n_segments;) {
        const char *column = d->segments[i].column;
        bool values = report_put_open(b, 2, column, &inner);
        for (; i < d->n_segments && strcmp(d->segments[i].column, column) == 0; i++)
            report_put_figures(b, 3, d->segments[i].value, &d->segments[i].figures, &values);
        report_put_close(b, 2, values);
    }
    report_put_close(b, 1, inner);
}

void report_put_detail(struct buf *b, const struct report_detail *d, const struct report *r, bool *first)
{
    put_ranking(b, d, first);
    put_intervals(b, d, r, first);
    put_reliability(b, d, first);
    put_windows(b, d, first);
    put_curve(b, d, first);
    put_shown(b, d, first);
    put_lists(b, d, first);
    put_unsampled(b, d, first);
    put_served(b, d, first);
    put_segments(b, d, first);
}

/* eval_time.c - see eval_time.h. */
#include "trainer/eval_time.h"
#include <math.h>
#include <string.h>

#define MINUTE INT64_C(60000)
#define DAY (1440 * MINUTE)
#define RESCALE 1e60 /* of a decayed weight: far from the end of a double's range */

/* Each is a multiple of the one before, so that aligned spans merge into aligned ones; days double after the last. */
static const int64_t widths_ms[] = {MINUTE,       5 * MINUTE,   15 * MINUTE,  60 * MINUTE,
                                    180 * MINUTE, 360 * MINUTE, 720 * MINUTE, DAY};
enum { WIDTHS = sizeof widths_ms / sizeof *widths_ms, WIDTHS_MAX = WIDTHS + 32 };

static int64_t width_of(uint32_t i)
{
    return i < WIDTHS ? widths_ms[i] : DAY << (i - WIDTHS + 1);
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

void eval_time_init(struct eval_time *t, int64_t window_ms, int64_t half_life_ms)
{
    memset(t, 0, sizeof *t);
    t->window_ms = window_ms;
    t->half_life_ms = half_life_ms;
    t->newest_window = t->first_span = t->decay_base_ms = t->newest_ms = INT64_MIN;
}

/* ---- windows ---- */

static size_t window_place(int64_t w)
{
    return (size_t)((w % EVAL_WINDOWS + EVAL_WINDOWS) % EVAL_WINDOWS);
}

/* NULL: older than the oldest that is kept. */
static struct eval_light *window_for(struct eval_time *t, int64_t time_ms)
{
    const int64_t w = floor_div(time_ms, t->window_ms);
    if (t->newest_window == INT64_MIN) t->newest_window = w;
    if (w - t->newest_window >= EVAL_WINDOWS) {
        memset(t->windows, 0, sizeof t->windows);
        t->newest_window = w;
    }
    while (t->newest_window < w) t->windows[window_place(++t->newest_window)] = (struct eval_light){0};
    return w > t->newest_window - EVAL_WINDOWS ? &t->windows[window_place(w)] : NULL;
}

/* ---- decayed ---- */

static double decayed_weight(struct eval_time *t, int64_t time_ms)
{
    if (t->decay_base_ms == INT64_MIN) t->decay_base_ms = time_ms;
    const double w = exp2((double)(time_ms - t->decay_base_ms) / (double)t->half_life_ms);
    if (w < RESCALE) return w;
    eval_light_scale(&t->decayed, 1.0 / w); /* what is left of it may be nothing */
    t->decay_base_ms = time_ms;
    return 1.0;
}

/* ---- spans ---- */

static void span_merge(struct eval_span *into, const struct eval_span *from)
{
    eval_light_merge(&into->model, &from->model);
    for (int i = 0; i < REPORT_BASELINES; i++) into->baselines[i] += from->baselines[i];
    report_cohort_add(&into->cohort, &from->cohort);
}

/* The next coarser width: in place, as no span moves up. */
static void widen(struct eval_time *t)
{
    const int64_t times = width_of(t->width + 1) / width_of(t->width), first = floor_div(t->first_span, times);
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->n_spans; i++) {
        const uint32_t to = (uint32_t)(floor_div(t->first_span + i, times) - first);
        const struct eval_span moved = t->spans[i];
        if (to == n)
            t->spans[to] = moved;
        else
            span_merge(&t->spans[to], &moved);
        n = to + 1;
    }
    memset(&t->spans[n], 0, (EVAL_SPANS - n) * sizeof t->spans[0]);
    t->n_spans = n;
    t->first_span = first;
    t->width++;
}

/* What is older than the first is counted there. */
static struct eval_span *span_for(struct eval_time *t, int64_t time_ms)
{
    int64_t at = floor_div(time_ms, width_of(t->width));
    if (t->first_span == INT64_MIN) t->first_span = at;
    while (at - t->first_span >= EVAL_SPANS && t->width + 1 < WIDTHS_MAX) {
        widen(t);
        at = floor_div(time_ms, width_of(t->width));
    }
    at = at < t->first_span ? 0 : at - t->first_span;
    if (at >= EVAL_SPANS) at = EVAL_SPANS - 1;
    if ((uint32_t)at >= t->n_spans) t->n_spans = (uint32_t)at + 1;
    return &t->spans[at];
}

/* Warm-up is left out of what says how good the model is, not of its course over time. */
static void add_newest(struct eval_time *t, const struct slate *s, const struct eval_terms *terms)
{
    struct eval_light *window = window_for(t, s->time_ms);
    if (window != NULL) eval_light_add(window, terms, NULL, 1.0);
    eval_light_add(&t->decayed, terms, NULL, decayed_weight(t, s->time_ms));
}

void eval_time_add(struct eval_time *t, const struct slate *s, const struct eval_terms *terms,
                   const double baselines[REPORT_BASELINES], bool counted)
{
    struct eval_span *span = span_for(t, s->time_ms);
    const struct report_cohort list = eval_cohort_of(s);
    if (s->time_ms > t->newest_ms) t->newest_ms = s->time_ms;
    if (counted) add_newest(t, s, terms);
    eval_light_add(&span->model, terms, NULL, 1.0);
    for (int i = 0; i < REPORT_BASELINES && !isnan(terms->auc); i++) span->baselines[i] += baselines[i];
    report_cohort_add(&span->cohort, &list);
}

/* ---- report ---- */

static void report_windows(const struct eval_time *t, struct report_detail *out)
{
    static const int newest[REPORT_WINDOWS] = {1, 7, 28};
    struct eval_light sum = {0};
    out->window_ms = t->window_ms;
    for (int n = 0, k = 0; n < EVAL_WINDOWS; n++) {
        if (t->newest_window != INT64_MIN) eval_light_merge(&sum, &t->windows[window_place(t->newest_window - n)]);
        if (k < REPORT_WINDOWS && n == newest[k]) {
            out->window_counts[k] = (uint32_t)newest[k];
            eval_light_figures(&sum, &out->windows[k++]);
        }
    }
}

static void report_decayed(const struct eval_time *t, struct report_detail *out)
{
    struct eval_light m = t->decayed;
    if (t->decay_base_ms != INT64_MIN) /* the newest slate weighs 1 */
        eval_light_scale(&m, exp2(-(double)(t->newest_ms - t->decay_base_ms) / (double)t->half_life_ms));
    out->half_life_ms = t->half_life_ms;
    eval_light_figures(&m, &out->decayed);
}

static void report_span(const struct eval_time *t, uint32_t i, struct report_point *p)
{
    const struct eval_span *s = &t->spans[i];
    const int64_t width = width_of(t->width);
    *p = (struct report_point){.cohort = s->cohort};
    p->cohort.from_ms = (t->first_span + i) * width;
    p->cohort.to_ms = (t->first_span + i + 1) * width;
    eval_light_figures(&s->model, &p->model);
    for (int k = 0; k < REPORT_BASELINES; k++)
        p->baselines[k] = s->model.gauc_slates > 0.0 ? s->baselines[k] / s->model.gauc_slates : NAN;
}

void eval_time_report(const struct eval_time *t, struct report_detail *out)
{
    report_windows(t, out);
    report_decayed(t, out);
    out->n_curve = 0;
    for (uint32_t i = 0; i < t->n_spans; i++)
        if (t->spans[i].model.examples > 0.0) report_span(t, i, &out->curve[out->n_curve++]);
}

/* ---- state ---- */

static void span_encode(struct buf *b, const struct eval_span *s)
{
    eval_light_encode(b, &s->model);
    for (int i = 0; i < REPORT_BASELINES; i++) buf_f64(b, s->baselines[i]);
    eval_cohort_encode(b, &s->cohort);
}

static void span_decode(struct eval_span *s, bool converted, struct buf_reader *r)
{
    eval_light_decode(&s->model, r);
    for (int i = 0; i < REPORT_BASELINES; i++) s->baselines[i] = buf_get_f64(r);
    if (converted) {
        eval_cohort_decode(&s->cohort, r);
        return;
    }
    s->cohort.shown = buf_get_varint(r);
    s->cohort.taken = buf_get_varint(r);
    s->cohort.lists = buf_get_varint(r);
}

void eval_time_encode(struct buf *b, const struct eval_time *t)
{
    buf_i64(b, t->newest_window);
    for (int i = 0; i < EVAL_WINDOWS; i++) eval_light_encode(b, &t->windows[i]);
    buf_i64(b, t->decay_base_ms);
    buf_i64(b, t->newest_ms);
    eval_light_encode(b, &t->decayed);
    buf_varint(b, t->width);
    buf_i64(b, t->first_span);
    buf_varint(b, t->n_spans);
    for (uint32_t i = 0; i < t->n_spans; i++) span_encode(b, &t->spans[i]);
}

/* A time or an index of one: no sum or difference of two overflows. */
static int64_t get_time(struct buf_reader *r)
{
    const int64_t x = buf_get_i64(r);
    if (x != INT64_MIN && (x > INT64_C(1) << 60 || x < -(INT64_C(1) << 60))) r->bad = true;
    return r->bad ? INT64_MIN : x;
}

void eval_time_decode(struct eval_time *t, bool converted, struct buf_reader *r)
{
    t->newest_window = get_time(r);
    for (int i = 0; i < EVAL_WINDOWS; i++) eval_light_decode(&t->windows[i], r);
    t->decay_base_ms = get_time(r);
    t->newest_ms = get_time(r);
    eval_light_decode(&t->decayed, r);
    const uint64_t width = buf_get_varint(r);
    t->first_span = get_time(r);
    const uint64_t n = buf_get_varint(r);
    if (width >= WIDTHS_MAX || n > EVAL_SPANS) r->bad = true;
    t->width = r->bad ? 0 : (uint32_t)width;
    t->n_spans = r->bad ? 0 : (uint32_t)n;
    for (uint32_t i = 0; i < t->n_spans && !r->bad; i++) span_decode(&t->spans[i], converted, r);
}

/* eval_cohort.c - see eval_cohort.h. */
#include "trainer/eval_cohort.h"
#include <string.h>

struct report_cohort eval_cohort_of(const struct slate *s)
{
    struct report_cohort c = {0};
    if (s->source != SLATE_IMPRESSION || s->n_items == 0 || s->cut_off) return c;
    c.lists = 1;
    c.shown = s->n_items + s->n_unseen;
    for (uint32_t i = 0; i < s->n_items; i++) {
        c.taken += s->items[i].label > 0.5f;
        c.converted += (s->items[i].tasks & SLATE_CONVERTED) != 0;
    }
    c.converted_lists = c.converted > 0;
    return c;
}

void eval_cohort_encode(struct buf *b, const struct report_cohort *c)
{
    const uint64_t counts[] = {c->lists, c->shown, c->taken, c->converted, c->converted_lists};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) buf_varint(b, counts[i]);
}

void eval_cohort_decode(struct report_cohort *c, struct buf_reader *r)
{
    uint64_t *const counts[] = {&c->lists, &c->shown, &c->taken, &c->converted, &c->converted_lists};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) *counts[i] = buf_get_varint(r);
}

/* ---- the newest ones ---- */

static int64_t number_of(const struct eval_cohorts *c, int64_t ms)
{
    return ms / c->width_ms - (ms % c->width_ms < 0);
}

static struct report_cohort *place_of(struct eval_cohorts *c, int64_t n)
{
    return &c->at[(n % REPORT_COHORTS + REPORT_COHORTS) % REPORT_COHORTS];
}

void eval_cohorts_init(struct eval_cohorts *c, int64_t width_ms)
{
    memset(c, 0, sizeof *c);
    c->width_ms = width_ms;
    c->newest = INT64_MIN;
}

void eval_cohorts_add(struct eval_cohorts *c, int64_t shown_ms, const struct report_cohort *list)
{
    const int64_t n = number_of(c, shown_ms);
    if (c->newest == INT64_MIN) c->newest = n;
    if (n <= c->newest - REPORT_COHORTS) return;
    const int64_t fresh = n - c->newest < REPORT_COHORTS ? n - c->newest : REPORT_COHORTS;
    for (int64_t i = 0; i < fresh; i++) *place_of(c, n - i) = (struct report_cohort){0};
    if (n > c->newest) c->newest = n;
    report_cohort_add(place_of(c, n), list);
}

uint32_t eval_cohorts_report(const struct eval_cohorts *c, struct report_cohort out[REPORT_COHORTS])
{
    uint32_t k = 0;
    for (int i = REPORT_COHORTS - 1; c->newest != INT64_MIN && i >= 0; i--) {
        const int64_t n = c->newest - i;
        const struct report_cohort *at = place_of((struct eval_cohorts *)(uintptr_t)c, n);
        if (at->lists == 0) continue;
        out[k] = *at;
        out[k].from_ms = n * c->width_ms;
        out[k++].to_ms = (n + 1) * c->width_ms;
    }
    return k;
}

void eval_cohorts_encode(struct buf *b, const struct eval_cohorts *c)
{
    buf_i64(b, c->width_ms);
    buf_i64(b, c->newest);
    for (int i = 0; i < REPORT_COHORTS; i++) eval_cohort_encode(b, &c->at[i]);
}

void eval_cohorts_decode(struct eval_cohorts *c, struct buf_reader *r)
{
    const int64_t width_ms = c->width_ms, then = buf_get_i64(r);
    c->newest = buf_get_i64(r);
    for (int i = 0; i < REPORT_COHORTS; i++) eval_cohort_decode(&c->at[i], r);
    const int64_t most = INT64_C(1) << 60; /* no sum or product of a number overflows */
    if (c->newest != INT64_MIN && (c->newest > most / width_ms || c->newest < -(most / width_ms))) r->bad = true;
    if (then != width_ms || r->bad) eval_cohorts_init(c, width_ms);
}

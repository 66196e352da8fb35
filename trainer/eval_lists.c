/* eval_lists.c - see eval_lists.h. */
#include "trainer/eval_lists.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

_Static_assert(REPORT_AGES == SLATE_AGES, "a report has a place for each group");

static size_t popularity_bin(double popularity)
{
    const double x = popularity > 0.0 ? 8.0 * log2(1.0 + popularity) : 0.0;
    return x >= EVAL_POPULARITY_BINS ? EVAL_POPULARITY_BINS - 1 : (size_t)x;
}

static double popularity_from(size_t bin)
{
    return exp2((double)bin / 8.0) - 1.0;
}

static void count(struct eval_group *g, const struct eval_term *t, bool top)
{
    g->candidates++;
    g->positives += t->label;
    g->predicted += t->p;
    g->top += top;
}

uint32_t eval_lists_top(const struct slate *s)
{
    if (s->n_items > EVAL_TOP) return EVAL_TOP;
    return s->source == SLATE_IMPRESSION ? s->n_items : 0;
}

static void add_categories(struct eval_lists *l, const struct slate *s, const struct eval_place *sorted, uint32_t top)
{
    uint32_t pairs = 0, differ = 0;
    for (uint32_t a = 0; a < top; a++)
        for (uint32_t b = 0; b < a; b++) {
            const uint32_t x = s->items[sorted[a].item].category, y = s->items[sorted[b].item].category;
            pairs += x != 0 && y != 0;
            differ += x != 0 && y != 0 && x != y;
        }
    if (pairs == 0) return;
    l->categories_sum += (double)differ / (double)pairs;
    l->categories_lists++;
}

void eval_lists_add(struct eval_lists *l, const struct slate *s, const struct eval_terms *t,
                    const struct eval_place *sorted, float vectors)
{
    const uint32_t top = eval_lists_top(s);
    if (top == 0) return;
    l->lists++;
    for (uint32_t r = 0; r < s->n_items; r++) {
        const uint32_t i = sorted[r].item;
        const struct slate_item *it = &s->items[i];
        eval_distinct_add(&l->candidates, it->item);
        if (r < top) eval_distinct_add(&l->top, it->item);
        count(&l->age[slate_age_group((double)it->age_days)], &t->terms[i], r < top);
        count(&l->popularity[popularity_bin((double)it->popularity)], &t->terms[i], r < top);
    }
    add_categories(l, s, sorted, top);
    if (isnan(vectors)) return;
    l->vectors_sum += (double)vectors;
    l->vectors_lists++;
}

/* ---- report ---- */

static void group_add(struct report_group *to, const struct eval_group *g)
{
    to->candidates += g->candidates;
    to->positives += g->positives;
    to->top += g->top;
    to->predicted += g->predicted;
}

/* As near to tenths of the candidates as the bins allow: a bin is never parted, so there may be fewer than ten. */
static void report_deciles(const struct eval_lists *l, struct report_detail *out)
{
    uint64_t total = 0, sum = 0;
    size_t from = 0;
    for (size_t i = 0; i < EVAL_POPULARITY_BINS; i++) total += l->popularity[i].candidates;
    for (size_t i = 0; i < EVAL_POPULARITY_BINS && out->n_deciles < REPORT_DECILES; i++) {
        struct report_group *g = &out->deciles[out->n_deciles];
        const uint64_t tenths = REPORT_DECILES * sum / (total + !total);
        group_add(g, &l->popularity[i]);
        sum += l->popularity[i].candidates;
        if (total == 0 || REPORT_DECILES * sum / total == tenths) continue;
        (void)snprintf(g->name, sizeof g->name, "%.3g-%.3g", popularity_from(from), popularity_from(i + 1));
        out->n_deciles++;
        from = i + 1;
    }
}

static void report_ages(const struct eval_lists *l, struct report_detail *out)
{
    for (size_t i = 0; i < REPORT_AGES; i++) {
        struct report_group *g = &out->ages[i];
        group_add(g, &l->age[i]);
        if (isinf(slate_age_below[i]))
            (void)snprintf(g->name, sizeof g->name, ">=%gd", slate_age_below[i - 1]);
        else
            (void)snprintf(g->name, sizeof g->name, "<%gd", slate_age_below[i]);
    }
}

void eval_lists_report(const struct eval_lists *l, struct report_detail *out)
{
    out->lists = l->lists;
    out->list_items = eval_distinct_count(&l->candidates);
    out->list_top = eval_distinct_count(&l->top);
    out->vectors_diversity = l->vectors_lists > 0 ? l->vectors_sum / (double)l->vectors_lists : NAN;
    out->categories_diversity = l->categories_lists > 0 ? l->categories_sum / (double)l->categories_lists : NAN;
    report_ages(l, out);
    report_deciles(l, out);
}

/* ---- state ---- */

static void groups_encode(struct buf *b, const struct eval_group *g, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        buf_varint(b, g[i].candidates);
        if (g[i].candidates == 0) continue;
        buf_varint(b, g[i].positives);
        buf_varint(b, g[i].top);
        buf_f64(b, g[i].predicted);
    }
}

static void groups_decode(struct eval_group *g, size_t n, struct buf_reader *r)
{
    for (size_t i = 0; i < n; i++) {
        g[i] = (struct eval_group){.candidates = buf_get_varint(r)};
        if (g[i].candidates == 0) continue;
        g[i].positives = buf_get_varint(r);
        g[i].top = buf_get_varint(r);
        g[i].predicted = buf_get_f64(r);
    }
}

static void registers_decode(struct eval_distinct *d, struct buf_reader *r)
{
    const uint8_t *p = buf_get(r, EVAL_REGISTERS);
    for (int i = 0; p != NULL && i < EVAL_REGISTERS; i++) {
        d->registers[i] = p[i];
        if (p[i] > 64) r->bad = true;
    }
}

void eval_lists_encode(struct buf *b, const struct eval_lists *l)
{
    buf_put(b, l->candidates.registers, EVAL_REGISTERS);
    buf_put(b, l->top.registers, EVAL_REGISTERS);
    groups_encode(b, l->age, REPORT_AGES);
    groups_encode(b, l->popularity, EVAL_POPULARITY_BINS);
    buf_f64(b, l->vectors_sum);
    buf_varint(b, l->lists);
    buf_varint(b, l->vectors_lists);
    buf_f64(b, l->categories_sum);
    buf_varint(b, l->categories_lists);
}

void eval_lists_decode(struct eval_lists *l, struct buf_reader *r)
{
    registers_decode(&l->candidates, r);
    registers_decode(&l->top, r);
    groups_decode(l->age, REPORT_AGES, r);
    groups_decode(l->popularity, EVAL_POPULARITY_BINS, r);
    l->vectors_sum = buf_get_f64(r);
    l->lists = buf_get_varint(r);
    l->vectors_lists = buf_get_varint(r);
    l->categories_sum = buf_get_f64(r);
    l->categories_lists = buf_get_varint(r);
}

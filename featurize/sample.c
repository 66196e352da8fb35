/* sample.c - the trees, drawing by rejection, and the probability of a row. */
#include "featurize/sample.h"
#include "base/mem.h"
#include "featurize/counter.h"
#include <math.h>
#include <string.h>

#define WEIGHT_ONE 65536.0 /* fixed point of a weight: one take a day */
#define TRIES_PER_DRAW 50

void sample_init(struct sample *s, const struct conf *c)
{
    *s = (struct sample){.uniform_frac = c->join_negatives_uniform, .days = c->join_negatives_days, .day = INT64_MIN};
}

void sample_fini(struct sample *s)
{
    mem_free(s->active);
    mem_free(s->excluded);
    mem_free(s->weights);
    mem_free(s->ones);
    mem_free(s->sums);
    mem_free(s->excluded_rows);
    *s = (struct sample){0};
}

/* ---- Fenwick trees (Fenwick 1994): tree[i] holds the sum of the last (i & -i) leaves up to i ---- */

static void tree_add(uint64_t *tree, size_t cap, size_t row, uint64_t delta) /* delta may be a wrapped negative */
{
    for (size_t i = row + 1; i <= cap; i += i & (~i + 1)) tree[i] += delta;
}

/* The row whose run of the sum holds `at` (< total). */
static size_t tree_find(const uint64_t *tree, size_t cap, uint64_t at)
{
    size_t row = 0;
    for (size_t step = cap; step > 0; step /= 2) {
        if (row + step > cap || tree[row + step] > at) continue;
        row += step;
        at -= tree[row];
    }
    return row;
}

/* Leaves are in tree[1 … cap]; makes the tree of them in one pass. */
static void tree_build(uint64_t *tree, size_t cap)
{
    for (size_t i = 1; i <= cap; i++) {
        const size_t up = i + (i & (~i + 1));
        if (up <= cap) tree[up] += tree[i];
    }
}

/* ---- rows ---- */

static enum status grow(struct sample *s, size_t need, struct err *e)
{
    if (need <= s->cap) return STATUS_OK;
    size_t cap = s->cap ? s->cap : 64;
    while (cap < need) cap *= 2;
    struct sample b = *s;
    b.active = mem_calloc(cap, sizeof *b.active);
    b.excluded = mem_calloc(cap, sizeof *b.excluded);
    b.weights = mem_calloc(cap, sizeof *b.weights);
    b.ones = mem_calloc(cap + 1, sizeof *b.ones);
    b.sums = mem_calloc(cap + 1, sizeof *b.sums);
    const bool ok = b.active && b.excluded && b.weights && b.ones && b.sums;
    for (size_t i = 0; ok && i < s->n; i++) {
        b.active[i] = s->active[i];
        b.excluded[i] = s->excluded[i];
        b.weights[i] = s->weights[i];
        b.ones[i + 1] = s->active[i];
        b.sums[i + 1] = s->weights[i];
    }
    struct sample *gone = ok ? s : &b;
    mem_free(gone->active);
    mem_free(gone->excluded);
    mem_free(gone->weights);
    mem_free(gone->ones);
    mem_free(gone->sums);
    if (!ok) return ERR_SET(e, STATUS_OOM, "sample: out of memory for %zu items; lower catalogue.items", need);
    tree_build(b.ones, cap);
    tree_build(b.sums, cap);
    b.cap = cap;
    *s = b;
    return STATUS_OK;
}

bool sample_move(struct sample *s, int64_t time_ms)
{
    const int64_t day = counter_day(time_ms);
    if (day <= s->day) return false;
    s->day = day;
    return true;
}

static uint32_t weight_of(const struct sample *s, const struct record_item *i, double takes)
{
    const int64_t age = s->day - counter_day(i->first_ms);
    const double w = pow(takes / (double)(age > 1 ? age : 1), 0.75) * WEIGHT_ONE;
    return w >= (double)UINT32_MAX ? UINT32_MAX : (uint32_t)(w + 0.5);
}

enum status sample_set(struct sample *s, struct record_item *i, double takes, struct err *e)
{
    TRY(grow(s, (size_t)i->row + 1, e));
    if (s->n <= i->row) s->n = (size_t)i->row + 1;
    const bool active = !i->deleted && counter_day(i->last_ms) > s->day - s->days;
    const uint32_t weight = active && takes > 0 ? weight_of(s, i, takes) : 0;
    const uint32_t row = i->row;
    if (active != s->active[row]) {
        tree_add(s->ones, s->cap, row, active ? 1 : ~UINT64_C(0));
        s->n_active = active ? s->n_active + 1 : s->n_active - 1;
        s->active[row] = active;
    }
    if (weight != s->weights[row]) {
        const uint64_t delta = (uint64_t)weight - s->weights[row];
        tree_add(s->sums, s->cap, row, delta);
        s->total += delta;
        s->weights[row] = weight;
    }
    i->sample_weight = weight;
    return STATUS_OK;
}

/* ---- drawing ---- */

static double mass(const struct sample *s, uint32_t row)
{
    if (row >= s->n || s->n_active == 0 || !s->active[row]) return 0;
    const double uniform = s->total > 0 ? s->uniform_frac : 1.0;
    double m = uniform / (double)s->n_active;
    if (s->total > 0) m += (1 - uniform) * (double)s->weights[row] / (double)s->total;
    return m;
}

enum status sample_exclude(struct sample *s, uint32_t row, struct err *e)
{
    if (row >= s->n || s->excluded[row]) return STATUS_OK;
    if (mem_grow((void **)&s->excluded_rows, &s->cap_excluded, s->n_excluded + 1, sizeof *s->excluded_rows) != 0)
        return ERR_SET(e, STATUS_OOM, "sample: out of memory for excluded items");
    s->excluded_rows[s->n_excluded++] = row;
    s->excluded[row] = 1;
    s->excluded_mass += mass(s, row);
    s->n_excluded_active += s->active[row];
    return STATUS_OK;
}

void sample_allow_all(struct sample *s)
{
    for (size_t i = 0; i < s->n_excluded; i++) s->excluded[s->excluded_rows[i]] = 0;
    s->n_excluded = 0;
    s->n_excluded_active = 0;
    s->excluded_mass = 0;
}

static size_t draw_one(const struct sample *s, struct rand *r)
{
    const bool uniform = s->total == 0 || rand_unit(r) < s->uniform_frac;
    if (uniform) return tree_find(s->ones, s->cap, rand_below(r, s->n_active));
    return tree_find(s->sums, s->cap, rand_below(r, s->total));
}

/* Everything that may be drawn, in row order: the catalogue is that small. */
static size_t draw_all(const struct sample *s, uint32_t *rows)
{
    size_t n = 0;
    for (uint64_t k = 0; k < s->n_active; k++) {
        const size_t row = tree_find(s->ones, s->cap, k);
        if (!s->excluded[row]) rows[n++] = (uint32_t)row;
    }
    return n;
}

size_t sample_draw(struct sample *s, struct rand *r, size_t want, uint32_t *rows)
{
    const uint64_t there = s->n_active - s->n_excluded_active;
    if (want >= there) return draw_all(s, rows);
    size_t n = 0;
    for (size_t tries = want * TRIES_PER_DRAW; n < want && tries > 0; tries--) {
        const size_t row = draw_one(s, r);
        if (s->excluded[row]) continue;
        rows[n++] = (uint32_t)row;
        s->excluded[row] = 2; /* taken in this slate: set back below */
    }
    for (size_t i = 0; i < n; i++) s->excluded[rows[i]] = 0;
    return n;
}

double sample_q(const struct sample *s, uint32_t row)
{
    if (s->n_active == 0) return 1;
    const double left = 1 - s->excluded_mass, least = 1 / (double)s->n_active;
    const double q = left > 1e-9 ? mass(s, row) / left : 0;
    return q < least ? least : q > 1 ? 1 : q;
}

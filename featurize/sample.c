/* sample.c - the trees, drawing by rejection, and the probability of a row. */
#include "featurize/sample.h"
#include "base/mem.h"
#include "featurize/counter.h"
#include <math.h>
#include <string.h>

#define WEIGHT_ONE 65536.0 /* fixed point of a weight: one take a day */
#define TRIES_PER_DRAW 50
#define BLOCK 64 /* rows */

void sample_init(struct sample *s, const struct conf *c)
{
    *s = (struct sample){.uniform_frac = c->join_negatives_uniform,
                         .days = c->join_negatives_days,
                         .day = INT64_MIN,
                         .max_age = c->join_max_item_age,
                         .from_day = c->join_items_from == 0 ? INT64_MIN : counter_day(c->join_items_from)};
}

static void free_rows(struct sample *s)
{
    mem_free(s->active);
    mem_free(s->excluded);
    mem_free(s->weights);
    mem_free(s->rows);
    mem_free(s->ones);
    mem_free(s->sums);
    s->active = s->excluded = NULL;
    s->weights = NULL;
    s->rows = NULL;
    s->ones = s->sums = NULL;
}

void sample_fini(struct sample *s)
{
    free_rows(s);
    mem_free(s->excluded_rows);
    *s = (struct sample){0};
}

/* ---- Fenwick trees over blocks (Fenwick 1994): tree[i] holds the sum of the last (i & -i) blocks up to i ---- */

static void tree_add(uint64_t *tree, size_t n_blocks, size_t row, uint64_t delta) /* delta may be a wrapped negative */
{
    for (size_t i = row / BLOCK + 1; i <= n_blocks; i += i & (~i + 1)) tree[i] += delta;
}

/* The first row of the block whose run of the sum holds *at (< total); *at is then counted from that block's start. */
static size_t tree_find(const uint64_t *tree, size_t n_blocks, uint64_t *at)
{
    size_t block = 0;
    for (size_t step = n_blocks; step > 0; step /= 2) {
        if (block + step > n_blocks || tree[block + step] > *at) continue;
        block += step;
        *at -= tree[block];
    }
    return block * BLOCK;
}

/* Sums of single blocks are in tree[1 … n_blocks]; makes the tree of them in one pass. */
static void tree_build(uint64_t *tree, size_t n_blocks)
{
    for (size_t i = 1; i <= n_blocks; i++) {
        const size_t up = i + (i & (~i + 1));
        if (up <= n_blocks) tree[up] += tree[i];
    }
}

/* ---- rows ---- */

/* Twice the blocks: all that is there is under the new root. */
static bool grow_tree(uint64_t **tree, size_t n_old, size_t n_blocks)
{
    uint64_t *t = mem_realloc(*tree, n_blocks + 1, sizeof *t);
    if (t == NULL) return false;
    memset(t + (n_old > 0 ? n_old + 1 : 0), 0, (n_blocks - n_old + (n_old == 0)) * sizeof *t);
    for (size_t root = n_old; root > 0 && root < n_blocks; root *= 2) t[2 * root] = t[n_old];
    *tree = t;
    return true;
}

static bool grow_arrays(struct sample *s, size_t cap)
{
    uint8_t *active = mem_realloc(s->active, cap, sizeof *active);
    if (active != NULL) s->active = active;
    uint8_t *excluded = mem_realloc(s->excluded, cap, sizeof *excluded);
    if (excluded != NULL) s->excluded = excluded;
    uint32_t *weights = mem_realloc(s->weights, cap, sizeof *weights);
    if (weights != NULL) s->weights = weights;
    struct sample_row *rows = mem_realloc(s->rows, cap, sizeof *rows);
    if (rows != NULL) s->rows = rows;
    return active != NULL && excluded != NULL && weights != NULL && rows != NULL;
}

static enum status grow(struct sample *s, size_t need, struct err *e)
{
    size_t cap = s->cap ? s->cap : BLOCK, n_blocks = s->n_blocks ? s->n_blocks : 1;
    while (cap < need) cap *= 2;
    while (n_blocks * BLOCK < cap) n_blocks *= 2;
    bool ok = cap == s->cap || grow_arrays(s, cap);
    if (ok && n_blocks > s->n_blocks) {
        ok = grow_tree(&s->ones, s->n_blocks, n_blocks) && grow_tree(&s->sums, s->n_blocks, n_blocks);
    }
    if (!ok && s->cap == 0) free_rows(s);
    if (!ok) return ERR_SET(e, STATUS_OOM, "sample: out of memory for %zu items; lower catalogue.items", need);
    s->n_blocks = n_blocks;
    s->cap = cap;
    for (; s->n < need; s->n++) { /* a row that nothing was said of can't be drawn */
        s->active[s->n] = s->excluded[s->n] = 0;
        s->weights[s->n] = 0;
        s->rows[s->n] = (struct sample_row){.last_day = INT32_MIN};
    }
    return STATUS_OK;
}

static int32_t day_of(int64_t time_ms)
{
    const int64_t day = counter_day(time_ms);
    return day <= INT32_MIN ? INT32_MIN + 1 : day > INT32_MAX ? INT32_MAX : (int32_t)day;
}

static uint32_t weight_of(const struct sample *s, const struct sample_row *r)
{
    const int64_t age = s->day - r->first_day;
    const double w = pow(r->takes / (double)(age > 1 ? age : 1), 0.75) * WEIGHT_ONE;
    return w >= (double)UINT32_MAX ? UINT32_MAX : (uint32_t)(w + 0.5);
}

static bool young(const struct sample *s, int64_t first_day)
{
    return first_day >= s->from_day && (s->max_age == 0 || first_day > s->day - s->max_age);
}

static bool is_active(const struct sample *s, const struct sample_row *r)
{
    return r->last_day != INT32_MIN && r->last_day > s->day - s->days && young(s, r->first_day);
}

bool sample_young(const struct sample *s, int64_t first_ms)
{
    return young(s, counter_day(first_ms));
}

static void weigh_all(struct sample *s)
{
    if (s->n_blocks == 0) return;
    memset(s->ones, 0, (s->n_blocks + 1) * sizeof *s->ones);
    memset(s->sums, 0, (s->n_blocks + 1) * sizeof *s->sums);
    s->n_active = s->total = 0;
    for (size_t row = 0; row < s->n; row++) {
        const struct sample_row *r = &s->rows[row];
        s->active[row] = is_active(s, r);
        s->weights[row] = s->active[row] && r->takes > 0 ? weight_of(s, r) : 0;
        s->ones[row / BLOCK + 1] += s->active[row];
        s->sums[row / BLOCK + 1] += s->weights[row];
        s->n_active += s->active[row];
        s->total += s->weights[row];
    }
    tree_build(s->ones, s->n_blocks);
    tree_build(s->sums, s->n_blocks);
}

bool sample_move(struct sample *s, int64_t time_ms)
{
    const int64_t day = counter_day(time_ms);
    if (day <= s->day) return false;
    s->day = day;
    weigh_all(s);
    return true;
}

enum status sample_set(struct sample *s, const struct record_item *i, double takes, struct err *e)
{
    const uint32_t row = i->row;
    TRY(grow(s, (size_t)row + 1, e));
    const struct sample_row r = {takes, day_of(i->first_ms), i->deleted ? INT32_MIN : day_of(i->last_ms)};
    const bool active = is_active(s, &r);
    const uint32_t weight = active && takes > 0 ? weight_of(s, &r) : 0;
    s->rows[row] = r;
    if (active != s->active[row]) {
        tree_add(s->ones, s->n_blocks, row, active ? 1 : ~UINT64_C(0));
        s->n_active = active ? s->n_active + 1 : s->n_active - 1;
        s->active[row] = active;
    }
    if (weight != s->weights[row]) {
        const uint64_t delta = (uint64_t)weight - s->weights[row];
        tree_add(s->sums, s->n_blocks, row, delta);
        s->total += delta;
        s->weights[row] = weight;
    }
    return STATUS_OK;
}

uint32_t sample_weight(const struct sample *s, uint32_t row)
{
    return row < s->n ? s->weights[row] : 0;
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
    if (MEM_GROW(s->excluded_rows, &s->cap_excluded, s->n_excluded + 1) != 0)
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

/* The active row that so many active ones come before. */
static size_t find_active(const struct sample *s, uint64_t at)
{
    size_t row = tree_find(s->ones, s->n_blocks, &at);
    while (s->active[row] <= at) at -= s->active[row++];
    return row;
}

static size_t find_weight(const struct sample *s, uint64_t at)
{
    size_t row = tree_find(s->sums, s->n_blocks, &at);
    while (s->weights[row] <= at) at -= s->weights[row++];
    return row;
}

static size_t draw_one(const struct sample *s, struct rand *r)
{
    const bool uniform = s->total == 0 || rand_unit(r) < s->uniform_frac;
    return uniform ? find_active(s, rand_below(r, s->n_active)) : find_weight(s, rand_below(r, s->total));
}

/* Everything that may be drawn, in row order: the catalogue is that small. */
static size_t draw_all(const struct sample *s, uint32_t *rows)
{
    size_t n = 0;
    for (uint64_t k = 0; k < s->n_active; k++) {
        const size_t row = find_active(s, k);
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

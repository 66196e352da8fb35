/* group.c - sets of GROUP_PLACES places, saved by pages of PAGE_SETS sets under STORE_META "groups/<page>". */
#include "featurize/group.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/mem.h"
#include <math.h>
#include <stdio.h>

#define PAGE_SETS 64
#define PAGE_FORMAT 1
#define NAME_MAX_BYTES 32

struct tally {
    uint64_t key; /* 0: free */
    struct record_rate rate;
};
struct group {
    double halvings_per_ms;
    size_t n_sets;        /* a power of two, at least PAGE_SETS */
    struct tally *places; /* (n_sets, GROUP_PLACES) */
    bool *changed;        /* (n_sets / PAGE_SETS) */
};

static size_t sets_for(size_t limit)
{
    size_t n = PAGE_SETS;
    while (n * GROUP_PLACES < limit) n *= 2;
    return n;
}

size_t group_bytes(size_t limit)
{
    return sizeof(struct group) + sets_for(limit) * (GROUP_PLACES * sizeof(struct tally) + 1);
}

enum status group_new(struct group **out, size_t limit, double halvings_per_ms, struct err *e)
{
    const size_t n_sets = sets_for(limit);
    *out = NULL;
    struct group *g = mem_calloc(1, sizeof *g);
    if (g != NULL) {
        g->halvings_per_ms = halvings_per_ms;
        g->n_sets = n_sets;
        g->places = mem_calloc(n_sets * GROUP_PLACES, sizeof *g->places);
        g->changed = mem_calloc(n_sets / PAGE_SETS, sizeof *g->changed);
    }
    if (g == NULL || g->places == NULL || g->changed == NULL) {
        group_free(g);
        return ERR_SET(e, STATUS_OOM, "groups: out of memory for %zu; lower counter.groups", n_sets * GROUP_PLACES);
    }
    *out = g;
    return STATUS_OK;
}

void group_free(struct group *g)
{
    if (g == NULL) return;
    mem_free(g->places);
    mem_free(g->changed);
    mem_free(g);
}

uint64_t group_key(enum record_rate_kind kind, uint64_t value)
{
    const uint64_t key = hash_mix((uint64_t)kind, value);
    return key != 0 ? key : 1;
}

/* ---- counting ---- */

static double left(const struct group *g, int64_t passed_ms)
{
    return passed_ms > 0 ? exp2(-(double)passed_ms * g->halvings_per_ms) : 1.0;
}

/* r as of a time that is no earlier than its own. */
static struct record_rate as_of(const struct group *g, struct record_rate r, int64_t time_ms)
{
    const double keep = left(g, time_ms - r.time_ms);
    return (struct record_rate){time_ms, (float)((double)r.shown * keep), (float)((double)r.taken * keep)};
}

struct record_rate group_sum(const struct group *g, struct record_rate a, struct record_rate b)
{
    if (!(a.shown > 0)) return b;
    if (!(b.shown > 0)) return a;
    const int64_t time_ms = a.time_ms > b.time_ms ? a.time_ms : b.time_ms;
    const struct record_rate x = as_of(g, a, time_ms), y = as_of(g, b, time_ms);
    return (struct record_rate){time_ms, x.shown + y.shown, x.taken + y.taken};
}

static struct tally *set_of(const struct group *g, uint64_t key)
{
    return g->places + (key & (g->n_sets - 1)) * GROUP_PLACES;
}

static struct tally *find(const struct group *g, uint64_t key)
{
    struct tally *set = set_of(g, key);
    for (int i = 0; i < GROUP_PLACES; i++)
        if (set[i].key == key) return &set[i];
    return NULL;
}

/* Its place, made if need be: a free one, else that of the group shown least by then. */
static struct tally *claim(struct group *g, uint64_t key, int64_t time_ms)
{
    struct tally *t = find(g, key), *set = set_of(g, key);
    if (t != NULL) return t;
    t = set;
    for (int i = 0; i < GROUP_PLACES && t->key != 0; i++)
        if (set[i].key == 0 || as_of(g, set[i].rate, time_ms).shown < as_of(g, t->rate, time_ms).shown) t = &set[i];
    *t = (struct tally){.key = key, .rate = {.time_ms = time_ms}};
    return t;
}

static void mark(struct group *g, uint64_t key)
{
    g->changed[(key & (g->n_sets - 1)) / PAGE_SETS] = true;
}

void group_count(struct group *g, uint64_t key, int64_t time_ms, double shown, double taken)
{
    struct tally *t = claim(g, key, time_ms);
    t->rate = group_sum(g, t->rate, (struct record_rate){time_ms, (float)shown, (float)taken});
    mark(g, key);
}

struct record_rate group_rate(const struct group *g, uint64_t key)
{
    const struct tally *t = find(g, key);
    return t != NULL ? t->rate : (struct record_rate){0};
}

void group_put(struct group *g, uint64_t key, const struct record_rate *r)
{
    if (!(r->shown > 0)) return;
    struct tally *t = claim(g, key, r->time_ms);
    if (t->rate.shown > 0 && t->rate.time_ms >= r->time_ms) return;
    t->rate = *r;
    mark(g, key);
}

/* ---- in the store ---- */

static struct str page_name(char out[NAME_MAX_BYTES], size_t page)
{
    return (struct str){out, (size_t)snprintf(out, NAME_MAX_BYTES, "groups/%zu", page)};
}

static void encode_page(struct buf *b, const struct group *g, size_t page)
{
    buf_clear(b);
    buf_u8(b, PAGE_FORMAT);
    buf_u64(b, g->n_sets);
    for (size_t i = 0; i < PAGE_SETS * GROUP_PLACES; i++) {
        const struct tally *t = &g->places[page * PAGE_SETS * GROUP_PLACES + i];
        buf_u64(b, t->key);
        if (t->key == 0) continue;
        buf_i64(b, t->rate.time_ms);
        buf_f32(b, t->rate.shown);
        buf_f32(b, t->rate.taken);
    }
}

enum status group_save(struct group *g, struct store_txn *t, struct err *e)
{
    struct buf b = {0};
    char name[NAME_MAX_BYTES];
    enum status st = STATUS_OK;
    for (size_t page = 0; page < g->n_sets / PAGE_SETS && st == STATUS_OK; page++) {
        if (!g->changed[page]) continue;
        encode_page(&b, g, page);
        st = buf_status(&b, e);
        if (st == STATUS_OK)
            st = store_put(t, STORE_META, page_name(name, page), (struct str){(const char *)b.p, b.n}, e);
    }
    buf_fini(&b);
    return st;
}

void group_saved(struct group *g)
{
    for (size_t page = 0; page < g->n_sets / PAGE_SETS; page++) g->changed[page] = false;
}

static enum status decode_page(struct group *g, size_t page, struct str value, struct err *e)
{
    struct buf_reader r = buf_reader(value.p, value.n);
    bool bad = buf_get_u8(&r) != PAGE_FORMAT || buf_get_u64(&r) != g->n_sets;
    for (size_t i = 0; i < PAGE_SETS * GROUP_PLACES && !bad; i++) {
        struct tally *t = &g->places[page * PAGE_SETS * GROUP_PLACES + i];
        t->key = buf_get_u64(&r);
        if (t->key == 0) continue;
        t->rate.time_ms = buf_get_i64(&r);
        t->rate.shown = buf_get_f32(&r);
        t->rate.taken = buf_get_f32(&r);
        bad = r.bad || !record_rate_valid(&t->rate) || (t->key & (g->n_sets - 1)) / PAGE_SETS != page;
    }
    if (!bad && !r.bad && buf_left(&r) == 0) return STATUS_OK;
    return ERR_SET(e, STATUS_CORRUPT, "groups: the stored page %zu is damaged, or of another counter.groups", page);
}

enum status group_load(struct group *g, struct store_txn *t, struct err *e)
{
    char name[NAME_MAX_BYTES];
    struct str value;
    for (size_t page = 0; page < g->n_sets / PAGE_SETS; page++) {
        const enum status st = store_get(t, STORE_META, page_name(name, page), &value, e);
        if (st == STATUS_NOT_FOUND) continue;
        TRY(st);
        TRY(decode_page(g, page, value, e));
    }
    return STATUS_OK;
}

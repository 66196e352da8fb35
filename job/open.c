/* open.c - see open.h: an open-addressing table of packed slates. */
#include "job/open.h"
#include "base/hash.h"
#include "base/mem.h"
#include <math.h>
#include <string.h>

#define SPARES 32
#define BLOCK_STEP 1024 /* blocks are so many bytes, or a multiple */

struct block {
    unsigned char *bytes;
    size_t cap;
};
struct entry {
    uint64_t id; /* 0: free */
    struct block at;
    size_t n;
    bool saved;  /* already in the store as it is */
    bool stored; /* in the store, perhaps otherwise */
};
struct open_slates {
    size_t n_parts, count, cap; /* cap: a power of two */
    struct entry *entries;
    size_t bytes, unsaved;
    uint64_t *gone; /* in the store, settled since */
    size_t n_gone, cap_gone;
    struct buf pack;
    struct block spare[SPARES]; /* of settled slates, for the next: in the steady state none is made */
    size_t n_spare;
};

static const size_t first_cap = 256;

enum status open_new(struct open_slates **out, size_t n_parts, struct err *e)
{
    *out = NULL;
    struct open_slates *o = mem_calloc(1, sizeof *o);
    if (o == NULL) return ERR_SET(e, STATUS_OOM, "open slates: %zu bytes", sizeof *o);
    o->n_parts = n_parts;
    o->cap = first_cap;
    o->entries = mem_calloc(o->cap, sizeof *o->entries);
    if (o->entries == NULL) {
        open_free(o);
        return ERR_SET(e, STATUS_OOM, "open slates: table of %zu", first_cap);
    }
    *out = o;
    return STATUS_OK;
}

void open_free(struct open_slates *o)
{
    if (o == NULL) return;
    for (size_t i = 0; o->entries != NULL && i < o->cap; i++) mem_free(o->entries[i].at.bytes);
    while (o->n_spare > 0) mem_free(o->spare[--o->n_spare].bytes);
    mem_free(o->entries);
    mem_free(o->gone);
    buf_fini(&o->pack);
    mem_free(o);
}

static struct entry *slot_of(struct entry *entries, size_t cap, uint64_t id)
{
    size_t i = (size_t)hash_mix(id, 1) & (cap - 1);
    while (entries[i].id != 0 && entries[i].id != id) i = (i + 1) & (cap - 1);
    return &entries[i];
}

static enum status make_room(struct open_slates *o, struct err *e)
{
    if (2 * (o->count + 1) <= o->cap) return STATUS_OK;
    struct entry *bigger = mem_calloc(2 * o->cap, sizeof *bigger);
    if (bigger == NULL) return ERR_SET(e, STATUS_OOM, "open slates: table of %zu", 2 * o->cap);
    for (size_t i = 0; i < o->cap; i++)
        if (o->entries[i].id != 0) *slot_of(bigger, 2 * o->cap, o->entries[i].id) = o->entries[i];
    mem_free(o->entries);
    o->entries = bigger;
    o->cap *= 2;
    return STATUS_OK;
}

/* Linear probing without tombstones: later entries of the run move up. */
static void remove_entry(struct open_slates *o, struct entry *gone)
{
    size_t hole = (size_t)(gone - o->entries), i = hole;
    for (;;) {
        i = (i + 1) & (o->cap - 1);
        if (o->entries[i].id == 0) break;
        const size_t home = (size_t)hash_mix(o->entries[i].id, 1) & (o->cap - 1);
        if (((i - home) & (o->cap - 1)) < ((i - hole) & (o->cap - 1))) continue;
        o->entries[hole] = o->entries[i];
        hole = i;
    }
    o->entries[hole] = (struct entry){0};
    o->count--;
}

/* The newest spare that fits and is not an eighth too large, or a new one; bytes NULL: out of memory. */
static struct block take_block(struct open_slates *o, size_t n)
{
    const size_t cap = (n + BLOCK_STEP - 1) / BLOCK_STEP * BLOCK_STEP;
    for (size_t i = o->n_spare; i-- > 0;) {
        const struct block b = o->spare[i];
        if (b.cap < n || b.cap > cap + cap / 8 + BLOCK_STEP) continue;
        o->spare[i] = o->spare[--o->n_spare];
        return b;
    }
    return (struct block){mem_calloc(cap, 1), cap};
}

static void give_block(struct open_slates *o, struct block b)
{
    if (o->n_spare == SPARES)
        mem_free(b.bytes);
    else
        o->spare[o->n_spare++] = b;
}

static enum status put_bytes(struct open_slates *o, uint64_t id, const void *p, size_t n, bool saved, struct err *e)
{
    TRY(make_room(o, e));
    struct entry *en = slot_of(o->entries, o->cap, id);
    if (en->id != 0) return ERR_SET(e, STATUS_CORRUPT, "slate %llu is open twice", (unsigned long long)id);
    const struct block at = take_block(o, n);
    if (at.bytes == NULL) return ERR_SET(e, STATUS_OOM, "open slate %llu: %zu bytes", (unsigned long long)id, n);
    memcpy(at.bytes, p, n);
    *en = (struct entry){.id = id, .at = at, .n = n, .saved = saved, .stored = saved};
    o->count++;
    o->bytes += n;
    if (!saved) o->unsaved += n;
    return STATUS_OK;
}

enum status open_put(struct open_slates *o, const struct slate *s, const struct open_predictions *p, struct err *e)
{
    const size_t k = s->n_items;
    buf_clear(&o->pack);
    slate_encode(&o->pack, s);
    for (size_t i = 0; i < k; i++) buf_f32(&o->pack, p->logits[i]);
    for (size_t i = 0; i < k * o->n_parts; i++) buf_f32(&o->pack, p->part_logits[i]);
    for (size_t i = 0; i < k; i++) buf_f32(&o->pack, p->frozen[i]);
    TRY(buf_status(&o->pack, e));
    return put_bytes(o, s->id, o->pack.p, o->pack.n, false, e);
}

static enum status unpack(const struct entry *en, struct slate *s, struct open_predictions *p, struct err *e)
{
    struct buf_reader r = buf_reader(en->at.bytes, en->n);
    TRY(slate_decode(s, &r, e));
    if (s->id != en->id)
        return ERR_SET(e, STATUS_CORRUPT, "open slate %llu says that it is %llu", (unsigned long long)en->id,
                       (unsigned long long)s->id);
    const size_t k = s->n_items;
    p->logits = arena_alloc(s->arena, k, sizeof(float));
    p->part_logits = arena_alloc(s->arena, k * p->n_parts, sizeof(float));
    p->frozen = arena_alloc(s->arena, k, sizeof(float));
    if (p->logits == NULL || p->part_logits == NULL || p->frozen == NULL)
        return ERR_SET(e, STATUS_OOM, "slate of %zu candidates", k);
    for (size_t i = 0; i < k; i++) p->logits[i] = buf_get_f32(&r);
    for (size_t i = 0; i < k * p->n_parts; i++) p->part_logits[i] = buf_get_f32(&r);
    for (size_t i = 0; i < k; i++) p->frozen[i] = buf_get_f32(&r);
    if (r.bad) return ERR_SET(e, STATUS_CORRUPT, "open slate %llu is cut short", (unsigned long long)en->id);
    return STATUS_OK;
}

enum status open_look(const struct open_slates *o, uint64_t id, struct slate *s, struct open_predictions *p,
                      struct err *e)
{
    const struct entry *en = slot_of(o->entries, o->cap, id);
    p->n_parts = o->n_parts;
    return en->id != 0 ? unpack(en, s, p, e) : STATUS_NOT_FOUND;
}

void open_predictions_cut(struct open_predictions *p, size_t k, size_t n)
{
    for (size_t i = 1; i < p->n_parts; i++) /* the first stays where it is */
        memmove(p->part_logits + i * n, p->part_logits + i * k, n * sizeof *p->part_logits);
}

enum status open_take(struct open_slates *o, uint64_t id, struct slate *s, struct open_predictions *p, struct err *e)
{
    struct entry *en = slot_of(o->entries, o->cap, id);
    if (en->id == 0) return STATUS_NOT_FOUND;
    p->n_parts = o->n_parts;
    TRY(unpack(en, s, p, e));
    if (en->stored) {
        if (MEM_GROW(o->gone, &o->cap_gone, o->n_gone + 1) != 0)
            return ERR_SET(e, STATUS_OOM, "settled slates: %zu", o->n_gone + 1);
        o->gone[o->n_gone++] = id;
    }
    o->bytes -= en->n;
    if (!en->saved) o->unsaved -= en->n;
    give_block(o, en->at);
    remove_entry(o, en);
    return STATUS_OK;
}

size_t open_count(const struct open_slates *o)
{
    return o->count;
}

size_t open_bytes(const struct open_slates *o)
{
    return o->bytes;
}

size_t open_unsaved(const struct open_slates *o)
{
    return o->unsaved;
}

static struct str key_of(uint64_t id, unsigned char key[8])
{
    for (int i = 0; i < 8; i++) key[i] = (unsigned char)(id >> (56 - 8 * i));
    return (struct str){(const char *)key, 8};
}

enum status open_save(struct open_slates *o, struct store_txn *t, struct err *e)
{
    unsigned char key[8];
    for (size_t i = 0; i < o->n_gone; i++) TRY(store_delete(t, STORE_SLATE, key_of(o->gone[i], key), e));
    for (size_t i = 0; i < o->cap; i++) {
        const struct entry *en = &o->entries[i];
        if (en->id == 0 || en->saved) continue;
        TRY(store_put(t, STORE_SLATE, key_of(en->id, key), (struct str){(const char *)en->at.bytes, en->n}, e));
    }
    return STATUS_OK;
}

void open_saved(struct open_slates *o)
{
    o->n_gone = 0;
    o->unsaved = 0;
    for (size_t i = 0; i < o->cap; i++) o->entries[i].saved = o->entries[i].stored = o->entries[i].id != 0;
}

static enum status load_one(void *user, struct str key, struct str value, struct err *e)
{
    uint64_t id = 0;
    if (key.n != 8) return ERR_SET(e, STATUS_CORRUPT, "open slate with a key of %zu bytes", key.n);
    for (size_t i = 0; i < 8; i++) id = id << 8 | (unsigned char)key.p[i];
    if (id == 0) return ERR_SET(e, STATUS_CORRUPT, "open slate 0: slates are counted from 1");
    return put_bytes(user, id, value.p, value.n, true, e);
}

enum status open_load(struct open_slates *o, struct store_txn *t, struct err *e)
{
    return store_each(t, STORE_SLATE, load_one, o, e);
}

/* ---- another layout ---- */

/* The slate as it is, and then its rows in their new places. */
static enum status repack(struct open_slates *o, const struct entry *en, size_t rows_then, const size_t *map,
                          struct slate *s, struct err *e)
{
    struct open_predictions p = {.n_parts = rows_then};
    TRY(unpack(en, s, &p, e));
    buf_clear(&o->pack);
    slate_encode(&o->pack, s);
    for (size_t i = 0; i < s->n_items; i++) buf_f32(&o->pack, p.logits[i]);
    for (size_t row = 0; row < o->n_parts; row++)
        for (size_t i = 0; i < s->n_items; i++)
            buf_f32(&o->pack, map[row] == SIZE_MAX ? NAN : p.part_logits[map[row] * s->n_items + i]);
    for (size_t i = 0; i < s->n_items; i++) buf_f32(&o->pack, p.frozen[i]);
    return buf_status(&o->pack, e);
}

static enum status replace_bytes(struct open_slates *o, struct entry *en, struct err *e)
{
    const struct block at = take_block(o, o->pack.n);
    if (at.bytes == NULL) return ERR_SET(e, STATUS_OOM, "open slate %llu", (unsigned long long)en->id);
    memcpy(at.bytes, o->pack.p, o->pack.n);
    give_block(o, en->at);
    o->bytes += o->pack.n - en->n;
    o->unsaved += o->pack.n;
    en->at = at;
    en->n = o->pack.n;
    en->saved = false;
    return STATUS_OK;
}

enum status open_relayout(struct open_slates *o, size_t rows_then, const size_t *map, struct err *e)
{
    struct slate *s = NULL;
    enum status st;
    bool same = rows_then == o->n_parts;
    for (size_t i = 0; i < o->n_parts; i++) same = same && map[i] == i;
    if (same || o->count == 0) return STATUS_OK;
    TRY(slate_new(&s, e));
    for (size_t i = 0; i < o->cap; i++) {
        if (o->entries[i].id == 0) continue;
        slate_reset(s);
        TRY_OUT(st, repack(o, &o->entries[i], rows_then, map, s, e));
        TRY_OUT(st, replace_bytes(o, &o->entries[i], e));
    }
    st = STATUS_OK;
out:
    slate_free(s);
    return st;
}

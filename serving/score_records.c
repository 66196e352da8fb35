/* score_records.c - chained hash table and a ring swept for the unused (CLOCK), under one mutex; decoding happens outside it. */
#include "serving/score_records.h"
#include "base/hash.h"
#include "base/mem.h"
#include <assert.h>
#include <pthread.h>
#include <string.h>

#define BUCKETS 65536
#define BYTES_PER_PACKED 3 /* decoded arrays and heap blocks against packed bytes: measured 2 to 3 */

struct entry {
    struct score_record record; /* first: a record is its entry */
    uint64_t key, bytes_hash;
    size_t bytes;
    unsigned readers;
    bool in_table;
    struct entry *next;          /* in its bucket */
    struct entry *older, *newer; /* on the ring */
    bool used;                   /* since the sweep passed */
};
struct score_records {
    pthread_mutex_t lock;
    struct entry *buckets[BUCKETS];
    struct entry *oldest, *newest;
    size_t max_bytes;
    struct score_records_stats stats;
};

enum status score_records_new(struct score_records **out, size_t max_bytes, struct err *e)
{
    *out = mem_calloc(1, sizeof **out);
    if (*out == NULL) return ERR_SET(e, STATUS_OOM, "records: no memory for the table");
    (*out)->max_bytes = max_bytes;
    if (pthread_mutex_init(&(*out)->lock, NULL) == 0) return STATUS_OK;
    mem_free(*out);
    *out = NULL;
    return ERR_SET(e, STATUS_OOM, "records: no lock can be made");
}

static void entry_free(struct entry *x)
{
    if (x->record.kind == SCORE_USER)
        record_user_fini(&x->record.u.user);
    else
        record_item_fini(&x->record.u.item);
    mem_free(x);
}

static uint64_t key_of(enum score_kind kind, struct str id)
{
    return hash_seeded(id.p, id.n, (uint64_t)kind + 1);
}

/* --- under the lock ----------------------------------------------------------------------------------------------- */

static struct entry **place(struct score_records *r, uint64_t key, enum score_kind kind, struct str id)
{
    struct entry **at = &r->buckets[key % BUCKETS];
    while (*at != NULL && ((*at)->key != key || (*at)->record.kind != kind || !str_eq((*at)->record.id, id)))
        at = &(*at)->next;
    return at;
}

static void unlink_ring(struct score_records *r, struct entry *x)
{
    *(x->older ? &x->older->newer : &r->oldest) = x->newer;
    *(x->newer ? &x->newer->older : &r->newest) = x->older;
    x->older = x->newer = NULL;
}

static void link_ring(struct score_records *r, struct entry *x)
{
    x->older = r->newest;
    x->newer = NULL;
    *(r->newest ? &r->newest->newer : &r->oldest) = x;
    r->newest = x;
}

/* Out of the table; freed now or by its last reader. */
static void remove_entry(struct score_records *r, struct entry *x)
{
    struct entry **at = &r->buckets[x->key % BUCKETS];
    while (*at != x) at = &(*at)->next;
    *at = x->next;
    unlink_ring(r, x);
    x->in_table = false;
    r->stats.entries--;
    r->stats.bytes -= x->bytes;
    if (x->readers == 0) entry_free(x);
}

/* Room for `bytes` more: the oldest leaves, unless it was used since it was looked at last. */
static void make_room(struct score_records *r, size_t bytes)
{
    while (r->oldest != NULL && r->stats.bytes + bytes > r->max_bytes) {
        struct entry *x = r->oldest;
        if (!x->used) {
            remove_entry(r, x);
            continue;
        }
        x->used = false;
        unlink_ring(r, x);
        link_ring(r, x);
    }
}

static void insert(struct score_records *r, struct entry *x)
{
    struct entry **at = place(r, x->key, x->record.kind, x->record.id);
    if (*at != NULL) remove_entry(r, *at);
    make_room(r, x->bytes);
    x->next = r->buckets[x->key % BUCKETS];
    r->buckets[x->key % BUCKETS] = x;
    link_ring(r, x);
    x->in_table = true;
    r->stats.entries++;
    r->stats.bytes += x->bytes;
}

/* --- calls -------------------------------------------------------------------------------------------------------- */

void score_records_free(struct score_records *r)
{
    if (r == NULL) return;
    while (r->oldest != NULL) {
        assert(r->oldest->readers == 0);
        remove_entry(r, r->oldest);
    }
    (void)pthread_mutex_destroy(&r->lock);
    mem_free(r);
}

static enum status decode(struct entry *x, enum score_kind kind, struct str id, struct str packed, struct err *e)
{
    struct buf_reader rd = buf_reader(packed.p, packed.n);
    x->record.kind = kind;
    TRY(kind == SCORE_USER ? record_user_decode(&x->record.u.user, &rd, e)
                           : record_item_decode(&x->record.u.item, &rd, e));
    x->record.id = kind == SCORE_USER ? x->record.u.user.id : x->record.u.item.id;
    if (str_eq(x->record.id, id)) return STATUS_OK;
    return ERR_SET(e, STATUS_CORRUPT, "the record of " STR_FMT " is that of " STR_FMT, STR_ARG(id),
                   STR_ARG(x->record.id));
}

static struct entry *hold(struct score_records *r, const struct score_wanted *w, bool as_known)
{
    struct entry *x = *place(r, w->key, w->kind, w->id);
    if (x == NULL || (!as_known && x->bytes_hash != w->bytes_hash)) return NULL;
    x->readers++;
    x->used = true;
    r->stats.hits++;
    return x;
}

void score_records_find(struct score_records *r, struct score_wanted *w, size_t n, bool as_known)
{
    for (size_t i = 0; i < n; i++) {
        w[i].key = key_of(w[i].kind, w[i].id);
        __builtin_prefetch(&r->buckets[w[i].key % BUCKETS]);
        w[i].bytes_hash = w[i].packed.p ? hash_bytes(w[i].packed.p, w[i].packed.n) : 0;
    }
    (void)pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < n; i++) {
        const struct entry *x = w[i].packed.p != NULL || as_known ? hold(r, &w[i], as_known) : NULL;
        *w[i].out = x ? &x->record : NULL;
    }
    (void)pthread_mutex_unlock(&r->lock);
}

enum status score_records_take(struct score_records *r, const struct score_wanted *w, struct err *e)
{
    *w->out = NULL;
    struct entry *x = mem_calloc(1, sizeof *x);
    if (x == NULL) return ERR_SET(e, STATUS_OOM, "records: no memory for " STR_FMT, STR_ARG(w->id));
    const enum status st = decode(x, w->kind, w->id, w->packed, e);
    if (st != STATUS_OK) {
        entry_free(x);
        return st;
    }
    x->key = w->key;
    x->bytes_hash = w->bytes_hash;
    x->bytes = sizeof *x + w->packed.n * BYTES_PER_PACKED;
    x->readers = 1;
    (void)pthread_mutex_lock(&r->lock);
    r->stats.decoded++;
    insert(r, x);
    (void)pthread_mutex_unlock(&r->lock);
    *w->out = &x->record;
    return STATUS_OK;
}

void score_records_drop(struct score_records *r, enum score_kind kind, struct str id)
{
    (void)pthread_mutex_lock(&r->lock);
    struct entry *x = *place(r, key_of(kind, id), kind, id);
    if (x != NULL) remove_entry(r, x);
    (void)pthread_mutex_unlock(&r->lock);
}

void score_records_release(struct score_records *r, const struct score_record *const *held, size_t n)
{
    (void)pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < n; i++) {
        struct entry *x = (struct entry *)(uintptr_t)held[i];
        assert(x->readers > 0);
        if (--x->readers == 0 && !x->in_table) entry_free(x);
    }
    (void)pthread_mutex_unlock(&r->lock);
}

void score_records_stats(struct score_records *r, struct score_records_stats *out)
{
    (void)pthread_mutex_lock(&r->lock);
    *out = r->stats;
    (void)pthread_mutex_unlock(&r->lock);
}

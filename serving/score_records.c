/* score_records.c - chained hash table and a ring in order of use, under one mutex; decoding happens outside it. */
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
    struct entry *older, *newer; /* in order of use */
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

static void unlink_use(struct score_records *r, struct entry *x)
{
    *(x->older ? &x->older->newer : &r->oldest) = x->newer;
    *(x->newer ? &x->newer->older : &r->newest) = x->older;
    x->older = x->newer = NULL;
}

static void link_use(struct score_records *r, struct entry *x)
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
    unlink_use(r, x);
    x->in_table = false;
    r->stats.entries--;
    r->stats.bytes -= x->bytes;
    if (x->readers == 0) entry_free(x);
}

static void insert(struct score_records *r, struct entry *x)
{
    struct entry **at = place(r, x->key, x->record.kind, x->record.id);
    if (*at != NULL) remove_entry(r, *at);
    while (r->oldest != NULL && r->stats.bytes + x->bytes > r->max_bytes) remove_entry(r, r->oldest);
    x->next = r->buckets[x->key % BUCKETS];
    r->buckets[x->key % BUCKETS] = x;
    link_use(r, x);
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

static struct entry *hold(struct score_records *r, enum score_kind kind, struct str id, const uint64_t *bytes_hash)
{
    (void)pthread_mutex_lock(&r->lock);
    struct entry *x = *place(r, key_of(kind, id), kind, id);
    if (x != NULL && bytes_hash != NULL && x->bytes_hash != *bytes_hash) x = NULL;
    if (x != NULL) {
        x->readers++;
        r->stats.hits++;
        unlink_use(r, x);
        link_use(r, x);
    }
    (void)pthread_mutex_unlock(&r->lock);
    return x;
}

enum status score_records_take(struct score_records *r, enum score_kind kind, struct str id, struct str packed,
                               const struct score_record **out, struct err *e)
{
    const uint64_t bytes_hash = hash_bytes(packed.p, packed.n);
    struct entry *x = hold(r, kind, id, &bytes_hash);
    *out = x ? &x->record : NULL;
    if (x != NULL) return STATUS_OK;
    x = mem_calloc(1, sizeof *x);
    if (x == NULL) return ERR_SET(e, STATUS_OOM, "records: no memory for " STR_FMT, STR_ARG(id));
    const enum status st = decode(x, kind, id, packed, e);
    if (st != STATUS_OK) {
        entry_free(x);
        return st;
    }
    x->key = key_of(kind, id);
    x->bytes_hash = bytes_hash;
    x->bytes = sizeof *x + packed.n * BYTES_PER_PACKED;
    x->readers = 1;
    (void)pthread_mutex_lock(&r->lock);
    r->stats.decoded++;
    insert(r, x);
    (void)pthread_mutex_unlock(&r->lock);
    *out = &x->record;
    return STATUS_OK;
}

const struct score_record *score_records_find(struct score_records *r, enum score_kind kind, struct str id)
{
    const struct entry *x = hold(r, kind, id, NULL);
    return x ? &x->record : NULL;
}

void score_records_drop(struct score_records *r, enum score_kind kind, struct str id)
{
    (void)pthread_mutex_lock(&r->lock);
    struct entry *x = *place(r, key_of(kind, id), kind, id);
    if (x != NULL) remove_entry(r, x);
    (void)pthread_mutex_unlock(&r->lock);
}

void score_records_release(struct score_records *r, const struct score_record *record)
{
    if (record == NULL) return;
    struct entry *x = (struct entry *)(uintptr_t)record;
    (void)pthread_mutex_lock(&r->lock);
    assert(x->readers > 0);
    x->readers--;
    const bool gone = !x->in_table && x->readers == 0;
    (void)pthread_mutex_unlock(&r->lock);
    if (gone) entry_free(x);
}

void score_records_stats(struct score_records *r, struct score_records_stats *out)
{
    (void)pthread_mutex_lock(&r->lock);
    *out = r->stats;
    (void)pthread_mutex_unlock(&r->lock);
}

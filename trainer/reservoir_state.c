/* reservoir_state.c - the reservoir in and out of the store: a record a place, so that a checkpoint writes what changed. */
#include "base/mem.h"
#include "trainer/reservoir_private.h"
#include <stdio.h>
#include <string.h>

#define FORMAT 1
enum { KEY_ROOM = 80 };

static struct str key_of(char key[KEY_ROOM], const char *name, size_t i)
{
    return (struct str){key, (size_t)snprintf(key, KEY_ROOM, "%.56s/%zu", name, i)};
}

static enum status put_head(struct reservoir *r, struct store_txn *t, const char *name, struct err *e)
{
    buf_clear(&r->pack);
    buf_u32(&r->pack, FORMAT);
    buf_u64(&r->pack, r->n);
    buf_u64(&r->pack, r->cap);
    buf_u64(&r->pack, r->offered);
    buf_u64(&r->pack, r->asked);
    buf_u64(&r->pack, r->replayed);
    TRY(buf_status(&r->pack, e));
    return store_put(t, STORE_LEARNER, str_from(name), (struct str){(const char *)r->pack.p, r->pack.n}, e);
}

static enum status put_place(struct reservoir *r, struct store_txn *t, struct str key, size_t i, struct err *e)
{
    const struct reservoir_place *p = &r->places[i];
    buf_clear(&r->pack);
    buf_u64(&r->pack, p->order);
    buf_put(&r->pack, p->bytes, p->n);
    TRY(buf_status(&r->pack, e));
    return store_put(t, STORE_LEARNER, key, (struct str){(const char *)r->pack.p, r->pack.n}, e);
}

enum status reservoir_save(struct reservoir *r, struct store_txn *t, const char *name, struct err *e)
{
    char key[KEY_ROOM];
    if (r == NULL) return STATUS_OK;
    TRY(put_head(r, t, name, e));
    for (size_t i = 0; i < r->n; i++)
        if (r->places[i].changed) TRY(put_place(r, t, key_of(key, name, i), i, e));
    for (size_t i = r->n; i < r->stored; i++) TRY(store_delete(t, STORE_LEARNER, key_of(key, name, i), e));
    return STATUS_OK;
}

void reservoir_saved(struct reservoir *r)
{
    if (r == NULL) return;
    for (size_t i = 0; i < r->n; i++) r->places[i].changed = false;
    r->stored = r->n;
}

enum status reservoir_forget(struct store_txn *t, const char *name, struct err *e)
{
    char key[KEY_ROOM];
    struct str value;
    const enum status st = store_get(t, STORE_LEARNER, str_from(name), &value, e);
    if (st == STATUS_NOT_FOUND) return STATUS_OK;
    TRY(st);
    struct buf_reader in = buf_reader(value.p, value.n);
    const uint32_t format = buf_get_u32(&in);
    const uint64_t n = buf_get_u64(&in);
    if (in.bad || format != FORMAT) return ERR_SET(e, STATUS_CORRUPT, "reservoir: the head of '%s' is damaged", name);
    for (size_t i = 0; i < (size_t)n; i++) TRY(store_delete(t, STORE_LEARNER, key_of(key, name, i), e));
    return store_delete(t, STORE_LEARNER, str_from(name), e);
}

static void clear(struct reservoir *r)
{
    for (size_t i = 0; i < r->n; i++) {
        mem_free(r->places[i].bytes);
        r->places[i] = (struct reservoir_place){.bytes = NULL};
    }
    r->n = r->bytes = r->stored = 0;
    r->cap = (size_t)r->conf->train_reservoir_slates;
    r->offered = r->asked = r->replayed = 0;
}

static enum status get_place(struct reservoir *r, struct store_txn *t, struct str key, struct err *e)
{
    struct str value;
    struct reservoir_place *p = &r->places[r->n];
    const enum status st = store_get(t, STORE_LEARNER, key, &value, e);
    if (st == STATUS_NOT_FOUND || (st == STATUS_OK && value.n <= sizeof(uint64_t)))
        return ERR_SET(e, STATUS_CORRUPT, "reservoir: record '" STR_FMT "' is not whole", STR_ARG(key));
    TRY(st);
    struct buf_reader in = buf_reader(value.p, value.n);
    p->order = buf_get_u64(&in);
    p->n = buf_left(&in);
    p->bytes = mem_calloc(p->n, 1);
    if (p->bytes == NULL) return ERR_SET(e, STATUS_OOM, "reservoir: a slate of %zu bytes", p->n);
    memcpy(p->bytes, buf_get(&in, p->n), p->n);
    r->bytes += p->n;
    r->n++;
    return STATUS_OK;
}

enum status reservoir_load(struct reservoir *r, struct store_txn *t, const char *name, struct err *e)
{
    char key[KEY_ROOM];
    struct str value;
    if (r == NULL) return STATUS_OK;
    clear(r);
    const enum status st = store_get(t, STORE_LEARNER, str_from(name), &value, e);
    if (st == STATUS_NOT_FOUND) return STATUS_OK;
    TRY(st);
    struct buf_reader in = buf_reader(value.p, value.n);
    const uint32_t format = buf_get_u32(&in);
    const uint64_t n = buf_get_u64(&in), cap = buf_get_u64(&in);
    r->offered = buf_get_u64(&in);
    r->asked = buf_get_u64(&in);
    r->replayed = buf_get_u64(&in);
    if (in.bad || format != FORMAT || n > cap || cap > r->cap || n > r->offered)
        return ERR_SET(e, STATUS_CORRUPT, "reservoir: its head does not fit %zu places", r->cap);
    r->cap = (size_t)cap;
    for (size_t i = 0; i < (size_t)n; i++) TRY(get_place(r, t, key_of(key, name, i), e));
    r->stored = r->n;
    return STATUS_OK;
}

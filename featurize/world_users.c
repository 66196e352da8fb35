/* world_users.c - users in memory: look-up, reading back, the lists they are on, and leaving. */
#include "base/hash.h"
#include "base/mem.h"
#include "featurize/world_private.h"

#define REST_STEP 64   /* blocks at rest are so many bytes, or a multiple */
#define EVICT_STEPS 16 /* dirty users that one look for a clean one passes over */

/* ---- lists ---- */

void world_user_remove(struct world *w, struct world_user *u, enum world_list list)
{
    struct world_link *l = &u->links[list];
    if (!u->on[list]) return;
    if (l->prev != NULL)
        l->prev->links[list].next = l->next;
    else
        w->users.first[list] = l->next;
    if (l->next != NULL)
        l->next->links[list].prev = l->prev;
    else
        w->users.last[list] = l->prev;
    *l = (struct world_link){NULL, NULL};
    u->on[list] = false;
}

static void append(struct world *w, struct world_user *u, enum world_list list)
{
    u->links[list] = (struct world_link){w->users.last[list], NULL};
    if (w->users.last[list] != NULL)
        w->users.last[list]->links[list].next = u;
    else
        w->users.first[list] = u;
    w->users.last[list] = u;
    u->on[list] = true;
}

static void prepend(struct world *w, struct world_user *u, enum world_list list)
{
    u->links[list] = (struct world_link){NULL, w->users.first[list]};
    if (w->users.first[list] != NULL)
        w->users.first[list]->links[list].prev = u;
    else
        w->users.last[list] = u;
    w->users.first[list] = u;
    u->on[list] = true;
}

void world_user_mark(struct world *w, struct world_user *u, enum world_list list)
{
    if (u->on[list]) return;
    append(w, u, list);
    if (list == WORLD_DIRTY) w->counts.dirty_bytes += world_user_bytes(u);
}

/* ---- at rest and open ---- */

static enum status oom(struct err *e)
{
    return ERR_SET(e, STATUS_OOM, "world: out of memory for a user; lower history.users");
}

size_t world_user_bytes(const struct world_user *u)
{
    return sizeof *u + u->cap_rest;
}

static void count_bytes(struct world *w, const struct world_user *u, size_t before)
{
    const size_t grown = world_user_bytes(u) - before; /* may wrap */
    w->counts.bytes += grown;
    w->users.bytes += grown;
    if (u->on[WORLD_DIRTY]) w->counts.dirty_bytes += grown;
}

/* A block for n bytes; what was in it is lost.  It shrinks only when less than half is used: sentences come and go. */
static enum status reserve_rest(struct world_user *u, size_t n, struct err *e)
{
    const size_t cap = (n + REST_STEP - 1) / REST_STEP * REST_STEP;
    if (n <= u->cap_rest && cap >= u->cap_rest / 2) return STATUS_OK;
    if (cap > UINT32_MAX) return ERR_SET(e, STATUS_FULL, "world: a user of %zu bytes; lower history.events", n);
    void *rest = mem_realloc(u->rest, cap, 1);
    if (rest == NULL) return oom(e);
    u->rest = rest;
    u->cap_rest = (uint32_t)cap;
    return STATUS_OK;
}

/* By way of a buffer: parts of the record may lie in the very block that it goes to. */
static enum status put_to_rest(struct world *w, struct world_user *u, const struct record_user *record, struct err *e)
{
    const size_t before = world_user_bytes(u), need = record_user_rest_bytes(record);
    if (mem_grow(&w->users.pack, &w->users.cap_pack, need, 1) != 0) return oom(e);
    const size_t n = record_user_rest(w->users.pack, record);
    w->users.opened = NULL;
    TRY(reserve_rest(u, n, e));
    memcpy(u->rest, w->users.pack, n);
    u->id = record_user_rest_id(u->rest);
    count_bytes(w, u, before);
    return STATUS_OK;
}

enum status world_user_open(struct world *w, struct world_user *u, struct err *e)
{
    if (w->users.opened == u) return STATUS_OK;
    arena_reset(&w->users.scratch);
    w->users.open.scratch = &w->users.scratch;
    w->users.opened = NULL;
    if (!record_user_open(&w->users.open, u->rest)) return oom(e);
    w->users.opened = u;
    return STATUS_OK;
}

enum status world_user_take(struct world *w, struct world_user *u, const struct record_user *record, struct err *e)
{
    TRY(put_to_rest(w, u, record, e));
    world_user_mark(w, u, WORLD_DIRTY);
    world_user_mark(w, u, WORLD_CHANGED);
    if (w->users.first[WORLD_RECENT] == u) return STATUS_OK;
    world_user_remove(w, u, WORLD_RECENT);
    prepend(w, u, WORLD_RECENT);
    return STATUS_OK;
}

enum status world_user_touch(struct world *w, struct world_user *u, struct err *e)
{
    return world_user_take(w, u, &w->users.open, e);
}

/* ---- coming and going ---- */

void world_user_drop(struct world *w, struct world_user *u)
{
    if (u->on[WORLD_DIRTY]) w->counts.dirty_bytes -= world_user_bytes(u);
    for (int l = 0; l < WORLD_LISTS; l++) world_user_remove(w, u, (enum world_list)l);
    world_table_remove(&w->users.table, u, u->hash);
    w->counts.bytes -= world_user_bytes(u);
    w->users.bytes -= world_user_bytes(u);
    if (w->users.opened == u) w->users.opened = NULL;
    mem_free(u->rest);
    mem_free(u);
}

void world_users_fini(struct world *w)
{
    for (struct world_user *u = w->users.first[WORLD_RECENT], *next; u != NULL; u = next) {
        next = u->links[WORLD_RECENT].next;
        mem_free(u->rest);
        mem_free(u);
    }
    world_table_fini(&w->users.table);
    arena_fini(&w->users.scratch);
    mem_free(w->users.pack);
}

/* Above one of both bounds, widened by a quarter for those that wait. */
static bool too_many(const struct world_users *u, bool wide)
{
    return u->table.n > u->limit + (wide ? u->limit / 4 : 0) || u->bytes > u->max_bytes + (wide ? u->max_bytes / 4 : 0);
}

/* Changed ones wait for their consumer, if there is one, until so many do that it seems to be away. */
void world_users_evict(struct world *w)
{
    struct world_user *u = w->users.last[WORLD_RECENT];
    if (w->store == NULL) return;
    for (int steps = 0; u != NULL && too_many(&w->users, false) && steps < EVICT_STEPS; steps++) {
        struct world_user *newer = u->links[WORLD_RECENT].prev;
        const bool waits = w->consumed && u->on[WORLD_CHANGED] && !too_many(&w->users, true);
        if (newer != NULL && !u->on[WORLD_DIRTY] && !waits) {
            w->counts.unconsumed += w->consumed && u->on[WORLD_CHANGED];
            world_user_drop(w, u);
            w->counts.evicted++;
            w->users.stored_elsewhere = true;
            steps--;
        }
        u = newer;
    }
}

/* Puts a record into memory as the most recently active user, and opens it. */
static enum status enter(struct world *w, const struct record_user *record, struct world_user **out, struct err *e)
{
    if (world_table_reserve(&w->users.table, w->users.table.n + 1) != 0) return oom(e);
    struct world_user *u = mem_calloc(1, sizeof *u);
    if (u == NULL) return oom(e);
    u->hash = hash_str(record->id);
    const enum status st = put_to_rest(w, u, record, e);
    if (st != STATUS_OK) {
        mem_free(u);
        return st;
    }
    w->counts.bytes += sizeof *u;
    w->users.bytes += sizeof *u;
    world_table_add(&w->users.table, u, u->hash);
    prepend(w, u, WORLD_RECENT);
    world_users_evict(w);
    TRY(world_user_open(w, u, e));
    *out = u;
    return STATUS_OK;
}

static enum status read_back(struct world *w, struct str id, struct world_user **out, struct err *e)
{
    struct store_txn *t = NULL;
    struct record_user record = {.scratch = &w->users.scratch};
    struct str value;
    arena_reset(&w->users.scratch);
    w->users.opened = NULL;
    TRY(store_begin(&t, w->store, false, e));
    enum status st = store_get(t, STORE_USER, id, &value, e);
    if (st == STATUS_OK) {
        struct buf_reader r = buf_reader(value.p, value.n);
        st = record_user_decode(&record, &r, e);
        if (st == STATUS_OK && !str_eq(record.id, id))
            st = ERR_SET(e, STATUS_CORRUPT, "world: user '" STR_FMT "' is stored under another id", STR_ARG(record.id));
    }
    store_abort(t);
    if (st == STATUS_OK) st = enter(w, &record, out, e);
    return st == STATUS_NOT_FOUND ? STATUS_OK : st;
}

enum status world_user_find(struct world *w, struct str id, struct world_user **out, struct err *e)
{
    *out = NULL;
    if (!str_has(id)) return STATUS_OK;
    *out = world_table_find(&w->users.table, id, hash_str(id));
    if (*out != NULL) return world_user_open(w, *out, e);
    if (w->store == NULL || !w->users.stored_elsewhere || world_erased_unsaved(w, id)) return STATUS_OK;
    return read_back(w, id, out, e);
}

enum status world_user_get(struct world *w, struct str id, int64_t time_ms, struct world_user **out, struct err *e)
{
    const struct record_user record = {.id = id};
    *out = NULL;
    if (world_erased_since(w, id, time_ms)) return STATUS_OK;
    TRY(world_user_find(w, id, out, e));
    if (*out != NULL) return STATUS_OK;
    TRY(enter(w, &record, out, e));
    world_erased_back(w, id);
    w->counts.users++;
    return STATUS_OK;
}

/* world_users.c - users in memory: look-up, reading back, the lists they are on, and leaving. */
#include "base/hash.h"
#include "base/mem.h"
#include "featurize/world_private.h"

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
    if (list == WORLD_DIRTY) w->counts.dirty_bytes += u->bytes;
}

void world_user_touch(struct world *w, struct world_user *u)
{
    const size_t bytes = sizeof *u - sizeof u->record + history_bytes(&u->record);
    w->counts.bytes += bytes - u->bytes;
    w->users.bytes += bytes - u->bytes;
    if (u->on[WORLD_DIRTY]) w->counts.dirty_bytes += bytes - u->bytes;
    u->bytes = bytes;
    world_user_mark(w, u, WORLD_DIRTY);
    world_user_mark(w, u, WORLD_CHANGED);
    if (w->users.first[WORLD_RECENT] == u) return;
    world_user_remove(w, u, WORLD_RECENT);
    prepend(w, u, WORLD_RECENT);
}

/* ---- coming and going ---- */

static void free_user(struct world *w, struct world_user *u)
{
    for (int l = 0; l < WORLD_LISTS; l++) world_user_remove(w, u, (enum world_list)l);
    world_table_remove(&w->users.table, u, u->hash);
    w->counts.bytes -= u->bytes;
    w->users.bytes -= u->bytes;
    record_user_fini(&u->record);
    mem_free(u);
}

void world_users_fini(struct world *w)
{
    for (struct world_user *u = w->users.first[WORLD_RECENT], *next; u != NULL; u = next) {
        next = u->links[WORLD_RECENT].next;
        record_user_fini(&u->record);
        mem_free(u);
    }
    world_table_fini(&w->users.table);
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
            free_user(w, u);
            w->counts.evicted++;
            w->users.stored_elsewhere = true;
            steps--;
        }
        u = newer;
    }
}

static enum status oom(struct err *e)
{
    return ERR_SET(e, STATUS_OOM, "world: out of memory for a user; lower history.users");
}

/* Puts a record (taken over, zeroed) into memory as the most recently active user. */
static enum status enter(struct world *w, struct record_user *take_record, struct world_user **out, struct err *e)
{
    if (world_table_reserve(&w->users.table, w->users.table.n + 1) != 0) return oom(e);
    struct world_user *u = mem_calloc(1, sizeof *u);
    if (u == NULL) return oom(e);
    u->record = *take_record;
    *take_record = (struct record_user){0};
    u->hash = hash_str(u->record.id);
    u->bytes = sizeof *u - sizeof u->record + history_bytes(&u->record);
    w->counts.bytes += u->bytes;
    w->users.bytes += u->bytes;
    world_table_add(&w->users.table, u, u->hash);
    prepend(w, u, WORLD_RECENT);
    *out = u;
    world_users_evict(w);
    return STATUS_OK;
}

static enum status read_back(struct world *w, struct str id, struct world_user **out, struct err *e)
{
    struct store_txn *t = NULL;
    struct record_user record = {0};
    struct str value;
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
    record_user_fini(&record);
    return st == STATUS_NOT_FOUND ? STATUS_OK : st;
}

static enum status find_any(struct world *w, struct str id, struct world_user **out, struct err *e)
{
    *out = NULL;
    if (!str_has(id)) return STATUS_OK;
    *out = world_table_find(&w->users.table, id, hash_str(id));
    if (*out != NULL || w->store == NULL || !w->users.stored_elsewhere) return STATUS_OK;
    return read_back(w, id, out, e);
}

enum status world_user_find(struct world *w, struct str id, struct world_user **out, struct err *e)
{
    TRY(find_any(w, id, out, e));
    if (*out != NULL && (*out)->gone) *out = NULL;
    return STATUS_OK;
}

enum status world_user_get(struct world *w, struct str id, struct world_user **out, struct err *e)
{
    struct record_user record = {0};
    TRY(find_any(w, id, out, e));
    if (*out != NULL) {
        if ((*out)->gone) w->counts.users++;
        (*out)->gone = false;
        return STATUS_OK;
    }
    record.id.p = mem_strndup(id.p, id.n);
    record.id.n = id.n;
    if (record.id.p == NULL) return oom(e);
    const enum status st = enter(w, &record, out, e);
    record_user_fini(&record);
    if (st == STATUS_OK) w->counts.users++;
    return st;
}

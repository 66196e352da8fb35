/* world_erased.c - users that were deleted: what store and Redis are still to be told, and how far back nothing is theirs.
 *
 * When a user is deleted, orders are being assembled, lists wait for their labels, and other partitions may be behind: what happened up to
 * the deletion never gets into the record of who comes back under that id.  An entry is live until nothing so old can come any more
 * (world_expire_erased), or until there are too many, which follows from the events alone; it goes once all were told.
 *
 * Under STORE_META "erased": the live ones.
 */
#include "base/hash.h"
#include "base/mem.h"
#include "featurize/world_private.h"

#define ENTRY_BYTES 384 /* with the longest id and places in the table */
#define META_FORMAT 1
#define META_KEY STR("erased")

struct world_erased {
    struct str id; /* first: the table reads it; lies in text */
    uint64_t hash;
    int64_t time_ms; /* of the newest deletion */
    struct world_erased *prev, *next;
    bool unsaved; /* the store may still have the user's record */
    bool untold;  /* so may Redis */
    bool back;    /* the user has a record again */
    bool live;
    char text[];
};

static struct world_erased *find(const struct world *w, struct str id)
{
    return w->erased.table.n > 0 ? world_table_find(&w->erased.table, id, hash_str(id)) : NULL;
}

static size_t bytes_of(const struct world_erased *x)
{
    return sizeof *x + x->id.n;
}

/* ---- the list, oldest deletion first: those that are no longer live, then from s->live on the live ones ---- */

static void unlink_entry(struct world_erasures *s, struct world_erased *x)
{
    *(x->prev != NULL ? &x->prev->next : &s->first) = x->next;
    *(x->next != NULL ? &x->next->prev : &s->last) = x->prev;
    if (s->live == x) s->live = x->next;
    s->n_live -= x->live;
}

static void append(struct world_erasures *s, struct world_erased *x)
{
    x->prev = s->last;
    x->next = NULL;
    *(s->last != NULL ? &s->last->next : &s->first) = x;
    s->last = x;
    if (s->live == NULL) s->live = x;
    s->n_live++;
    x->live = true;
}

static void retire(struct world_erasures *s)
{
    s->live->live = false;
    s->live = s->live->next;
    s->n_live--;
}

static void free_entry(struct world *w, struct world_erased *x)
{
    world_table_remove(&w->erased.table, x, x->hash);
    unlink_entry(&w->erased, x);
    w->counts.bytes -= bytes_of(x);
    w->erased.n_untold -= x->untold;
    mem_free(x);
}

size_t world_erased_most(const struct conf *c)
{
    return (size_t)c->history_max_bytes / WORLD_ERASED_PART / ENTRY_BYTES;
}

/* Whoever is away is not waited for when too many wait. */
static bool waits(const struct world *w, const struct world_erased *x)
{
    return (x->unsaved && w->store != NULL) || (x->untold && w->consumed && w->erased.table.n <= w->erased.most);
}

void world_expire_erased(struct world *w, int64_t before_ms)
{
    struct world_erasures *s = &w->erased;
    while (s->live != NULL && (s->live->time_ms < before_ms || s->n_live > w->erased.most)) retire(s);
    while (s->first != s->live && !waits(w, s->first)) free_entry(w, s->first);
}

/* ---- deletions ---- */

static enum status add_entry(struct world *w, struct str id, struct world_erased **out, struct err *e)
{
    struct world_erased *x = NULL;
    if (world_table_reserve(&w->erased.table, w->erased.table.n + 1) == 0) x = mem_calloc(1, sizeof *x + id.n);
    if (x == NULL) return ERR_SET(e, STATUS_OOM, "world: out of memory for a deleted user");
    memcpy(x->text, id.p, id.n);
    x->id = (struct str){x->text, id.n};
    x->hash = hash_str(id);
    x->time_ms = INT64_MIN;
    w->counts.bytes += bytes_of(x);
    world_table_add(&w->erased.table, x, x->hash);
    append(&w->erased, x);
    *out = x;
    return STATUS_OK;
}

static void tell(struct world *w, struct world_erased *x)
{
    if (x->untold) return;
    x->untold = true;
    w->erased.n_untold++;
}

enum status world_erase(struct world *w, struct str id, int64_t time_ms, struct err *e)
{
    struct world_erased *x = find(w, id);
    if (x == NULL) {
        TRY(add_entry(w, id, &x, e));
    } else {
        unlink_entry(&w->erased, x);
        append(&w->erased, x);
    }
    if (time_ms > x->time_ms) x->time_ms = time_ms;
    if (!x->unsaved) w->counts.dirty_bytes += bytes_of(x);
    x->unsaved = true;
    x->back = false;
    tell(w, x);
    return STATUS_OK;
}

bool world_erased_since(const struct world *w, struct str id, int64_t time_ms)
{
    const struct world_erased *x = find(w, id);
    return x != NULL && x->live && time_ms <= x->time_ms;
}

bool world_erased_unsaved(const struct world *w, struct str id)
{
    const struct world_erased *x = find(w, id);
    return x != NULL && x->unsaved;
}

void world_erased_back(struct world *w, struct str id)
{
    struct world_erased *x = find(w, id);
    if (x != NULL) x->back = true;
}

void world_erased_fini(struct world *w)
{
    for (struct world_erased *x = w->erased.first, *next; x != NULL; x = next) {
        next = x->next;
        mem_free(x);
    }
    world_table_fini(&w->erased.table);
}

/* ---- store and Redis ---- */

enum status world_erased_save(struct world *w, struct store_txn *t, struct err *e)
{
    struct buf *b = &w->buf;
    for (const struct world_erased *x = w->erased.first; x != NULL; x = x->next)
        if (x->unsaved) TRY(store_delete(t, STORE_USER, x->id, e));
    if (w->erased.live == NULL) return store_delete(t, STORE_META, META_KEY, e);
    buf_clear(b);
    buf_u8(b, META_FORMAT);
    buf_varint(b, w->erased.n_live);
    for (const struct world_erased *x = w->erased.live; x != NULL; x = x->next) {
        buf_str(b, x->id);
        buf_i64(b, x->time_ms);
        buf_u8(b, x->back);
    }
    TRY(buf_status(b, e));
    return store_put(t, STORE_META, META_KEY, (struct str){(const char *)b->p, b->n}, e);
}

void world_erased_saved(struct world *w)
{
    for (struct world_erased *x = w->erased.first; x != NULL; x = x->next) x->unsaved = false;
}

static enum status corrupt(struct err *e)
{
    return ERR_SET(e, STATUS_CORRUPT, "world: the stored deletions of users are damaged or of another format than %d",
                   META_FORMAT);
}

/* Redis is told again: the process before may have ended too early. */
static enum status load_entry(struct world *w, struct buf_reader *r, struct err *e)
{
    struct world_erased *x;
    const struct str id = buf_get_str(r);
    const int64_t time_ms = buf_get_i64(r);
    const uint8_t back = buf_get_u8(r);
    if (r->bad || !str_has(id) || back > 1 || find(w, id) != NULL) return corrupt(e);
    TRY(add_entry(w, id, &x, e));
    x->time_ms = time_ms;
    x->back = back;
    if (!back) tell(w, x);
    return STATUS_OK;
}

enum status world_erased_load(struct world *w, struct store_txn *t, struct err *e)
{
    struct str value;
    const enum status st = store_get(t, STORE_META, META_KEY, &value, e);
    if (st == STATUS_NOT_FOUND) return STATUS_OK;
    TRY(st);
    struct buf_reader r = buf_reader(value.p, value.n);
    if (buf_get_u8(&r) != META_FORMAT) return corrupt(e);
    const size_t n = buf_get_count(&r, 10);
    for (size_t i = 0; i < n; i++) TRY(load_entry(w, &r, e));
    return r.bad || buf_left(&r) != 0 ? corrupt(e) : STATUS_OK;
}

enum status world_erased_each(struct world *w, enum status (*user)(void *arg, const struct record_user *u), void *arg)
{
    for (struct world_erased *x = w->erased.first; x != NULL && w->erased.n_untold > 0; x = x->next) {
        if (!x->untold) continue;
        const enum status st = user(arg, &(struct record_user){.id = x->id});
        if (st != STATUS_OK) return st;
        x->untold = false;
        w->erased.n_untold--;
    }
    return STATUS_OK;
}

void world_erased_mark_all(struct world *w)
{
    for (struct world_erased *x = w->erased.first; x != NULL; x = x->next)
        if (!x->back) tell(w, x);
}

/* order.c - open compounds in a pool, found by user, closed through a heap of due times. */
#include "ingest/order.h"
#include "base/hash.h"
#include "base/mem.h"
#include "ingest/order_map.h"
#include <stdlib.h>

#define ORDER_FORMAT 1
#define ORDER_OPEN_MAX 1000000 /* beyond it the one that is due first closes early */
#define ORDER_LINES_MAX 10000  /* a longer order goes on as a new compound */
#define LINE_BLOCK 1024
#define POOL_KEEP 1024                    /* compounds whose memory is kept whatever its size */
#define KEEP_BYTES 16384                  /* what the others may keep */
#define KEEP_ALL_BYTES ((size_t)16 << 20) /* what all together may keep, and no more than may be open */

struct compound {
    struct arena arena;
    struct event *lines;
    size_t cap, bytes, kept; /* bytes: its share while open; kept: while spare */
    uint32_t n;
    bool has_id;
    int64_t last_ms, due_ms;
    uint64_t user, seq;
    size_t heap_at;
};
struct ready {
    int64_t last_ms;
    uint64_t seq;
    uint32_t index;
};
struct order {
    int64_t gap_ms;
    size_t open_bytes, max_bytes, kept_bytes, keep_bytes;
    struct compound *pool;
    size_t n_pool, pool_cap;
    uint32_t *spare, *heap; /* both have pool_cap places */
    size_t n_spare, n_heap;
    struct ready *ready; /* [ready_at..n_ready) */
    size_t n_ready, ready_at, ready_cap;
    uint32_t handed; /* given out last; ORDER_MAP_NONE: none */
    uint64_t seq;
    struct order_map with_id, without_id; /* user to open compound */
};

size_t order_max_bytes(const struct conf *c)
{
    return (size_t)c->join_max_bytes / 4;
}

size_t order_keep_bytes(const struct conf *c)
{
    const size_t open = order_max_bytes(c);
    return open < KEEP_ALL_BYTES ? open : KEEP_ALL_BYTES;
}

enum status order_new(struct order **out, const struct conf *c, struct err *e)
{
    struct order *o = mem_calloc(1, sizeof *o);
    *out = o;
    if (o == NULL) return ERR_SET(e, STATUS_OOM, "order assembly: no memory for its state");
    o->gap_ms = c->join_order_gap_ms;
    o->max_bytes = order_max_bytes(c);
    o->keep_bytes = order_keep_bytes(c);
    o->handed = ORDER_MAP_NONE;
    return STATUS_OK;
}

void order_free(struct order *o)
{
    if (o == NULL) return;
    for (size_t i = 0; i < o->n_pool; i++) {
        arena_fini(&o->pool[i].arena);
        mem_free(o->pool[i].lines);
    }
    mem_free(o->pool);
    mem_free(o->spare);
    mem_free(o->heap);
    mem_free(o->ready);
    order_map_fini(&o->with_id);
    order_map_fini(&o->without_id);
    mem_free(o);
}

static bool before(const struct order *o, uint32_t a, uint32_t b)
{
    const struct compound *x = &o->pool[a], *y = &o->pool[b];
    return x->due_ms != y->due_ms ? x->due_ms < y->due_ms : x->seq < y->seq;
}

static void heap_place(struct order *o, size_t at, uint32_t index)
{
    o->heap[at] = index;
    o->pool[index].heap_at = at;
}

static void heap_up(struct order *o, size_t at)
{
    const uint32_t index = o->heap[at];
    while (at > 0 && before(o, index, o->heap[(at - 1) / 2])) {
        heap_place(o, at, o->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_place(o, at, index);
}

static void heap_down(struct order *o, size_t at)
{
    const uint32_t index = o->heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= o->n_heap) break;
        if (child + 1 < o->n_heap && before(o, o->heap[child + 1], o->heap[child])) child++;
        if (!before(o, o->heap[child], index)) break;
        heap_place(o, at, o->heap[child]);
        at = child;
    }
    heap_place(o, at, index);
}

static void heap_remove(struct order *o, size_t at)
{
    const uint32_t last = o->heap[--o->n_heap];
    if (at == o->n_heap) return;
    heap_place(o, at, last);
    heap_up(o, at);
    heap_down(o, o->pool[last].heap_at);
}

static void recycle(struct order *o, uint32_t index)
{
    struct compound *c = &o->pool[index];
    c->kept = arena_bytes(&c->arena) + c->cap * sizeof *c->lines;
    if ((o->n_pool > POOL_KEEP && c->kept > KEEP_BYTES) || o->kept_bytes + c->kept > o->keep_bytes) {
        arena_fini(&c->arena);
        mem_free(c->lines);
        c->lines = NULL;
        c->cap = c->kept = 0;
    }
    o->kept_bytes += c->kept;
    arena_reset(&c->arena);
    c->n = 0;
    c->bytes = 0;
    o->spare[o->n_spare++] = index;
}

/* What was handed out dies with the next call. */
static void release_handed(struct order *o)
{
    if (o->handed != ORDER_MAP_NONE) recycle(o, o->handed);
    o->handed = ORDER_MAP_NONE;
}

/* Room for one more compound anywhere it may go, so that closing never fails. */
static enum status reserve(struct order *o, struct err *e)
{
    size_t pool_cap = o->pool_cap, spare_cap = o->pool_cap, heap_cap = o->pool_cap;
    bool ok = MEM_GROW(o->spare, &spare_cap, o->n_pool + 1) == 0;
    ok = ok && MEM_GROW(o->heap, &heap_cap, o->n_pool + 1) == 0;
    ok = ok && MEM_GROW(o->pool, &pool_cap, o->n_pool + 1) == 0;
    if (ok) o->pool_cap = pool_cap;
    ok = ok && MEM_GROW(o->ready, &o->ready_cap, o->n_ready + o->n_heap + 2) == 0;
    return ok ? STATUS_OK : ERR_SET(e, STATUS_OOM, "order assembly: no memory for %zu compounds", o->n_pool + 1);
}

/* An empty compound; reserve() was called. */
static uint32_t take_spare(struct order *o)
{
    if (o->n_spare > 0) {
        const uint32_t index = o->spare[--o->n_spare];
        o->kept_bytes -= o->pool[index].kept;
        return index;
    }
    struct compound *c = &o->pool[o->n_pool];
    *c = (struct compound){0};
    arena_init(&c->arena, LINE_BLOCK);
    return (uint32_t)o->n_pool++;
}

static struct order_map *map_of(struct order *o, bool has_id)
{
    return has_id ? &o->with_id : &o->without_id;
}

static int compare_ready(const void *a, const void *b)
{
    const struct ready *x = a, *y = b;
    if (x->last_ms != y->last_ms) return x->last_ms < y->last_ms ? -1 : 1;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static void make_ready(struct order *o, uint32_t index)
{
    const struct compound *c = &o->pool[index];
    o->ready[o->n_ready++] = (struct ready){c->last_ms, c->seq, index};
}

static void close_open(struct order *o, uint32_t index)
{
    struct compound *c = &o->pool[index];
    order_map_remove(map_of(o, c->has_id), c->user);
    heap_remove(o, c->heap_at);
    o->open_bytes -= c->bytes;
    make_ready(o, index);
}

static void sort_ready(struct order *o, size_t from)
{
    if (o->n_ready - from > 1) qsort(o->ready + from, o->n_ready - from, sizeof *o->ready, compare_ready);
}

static bool belongs(const struct compound *c, const struct event *ev)
{
    const struct event *first = &c->lines[0];
    if (c->n >= ORDER_LINES_MAX || first->type != ev->type || !str_eq(first->user, ev->user)) return false;
    return c->has_id ? str_eq(first->order, ev->order) : first->time_ms == ev->time_ms;
}

static size_t attrs_bytes(const struct event_attr *a, uint32_t n)
{
    size_t sum = n * sizeof *a;
    for (uint32_t i = 0; i < n; i++) {
        sum += a[i].name.n + a[i].text.n + a[i].n_list * sizeof *a[i].list;
        for (uint32_t k = 0; k < a[i].n_list; k++) sum += a[i].list[k].n;
    }
    return sum;
}

/* What a line takes, by its content alone: the same after a restart. */
static size_t line_bytes(const struct event *ev)
{
    return 2 * sizeof *ev + ev->id.n + ev->source.n + ev->user.n + ev->item.n + ev->session.n + ev->order.n +
           ev->request.n + attrs_bytes(ev->attrs, ev->n_attrs) + attrs_bytes(ev->context, ev->n_context);
}

static enum status add_line(struct compound *c, const struct event *ev, struct err *e)
{
    const struct arena_mark mark = arena_save(&c->arena);
    if (MEM_GROW(c->lines, &c->cap, (size_t)c->n + 1) == 0) {
        if (event_copy(&c->lines[c->n], ev, &c->arena) == STATUS_OK) {
            if (c->n == 0 || ev->time_ms > c->last_ms) c->last_ms = ev->time_ms;
            if (c->n == 0) c->bytes = sizeof *c + LINE_BLOCK;
            c->bytes += line_bytes(ev);
            c->n++;
            return STATUS_OK;
        }
        arena_rewind(&c->arena, mark);
    }
    return ERR_SET(e, STATUS_OOM, "order assembly: no memory for line %u of an order", c->n + 1);
}

static void set_due(struct order *o, struct compound *c)
{
    const int64_t gap = c->has_id ? o->gap_ms : 0;
    c->due_ms = c->last_ms > INT64_MAX - gap ? INT64_MAX : c->last_ms + gap;
}

/* Files a compound whose lines are in: open if it has a user and is not `done`, else ready.  Recycles it on failure. */
static enum status file_compound(struct order *o, uint32_t index, bool done, struct err *e)
{
    struct compound *c = &o->pool[index];
    const struct str user = c->lines[0].user;
    c->has_id = c->lines[0].order.p != NULL;
    c->seq = o->seq++;
    set_due(o, c);
    if (user.p == NULL || done) {
        make_ready(o, index);
        return STATUS_OK;
    }
    c->user = hash_str(user);
    if (!order_map_put(map_of(o, c->has_id), c->user, index)) {
        recycle(o, index);
        return ERR_SET(e, STATUS_OOM, "order assembly: no memory for %zu open orders", o->n_heap + 1);
    }
    heap_place(o, o->n_heap++, index);
    heap_up(o, c->heap_at);
    o->open_bytes += c->bytes;
    return STATUS_OK;
}

static enum status begin(struct order *o, const struct event *ev, struct err *e)
{
    const uint32_t index = take_spare(o);
    const enum status st = add_line(&o->pool[index], ev, e);
    if (st == STATUS_OK) return file_compound(o, index, false, e);
    recycle(o, index);
    return st;
}

/* Closes what a line of another key ends: any line ends a compound without an order id, only another order one with. */
static uint32_t close_others(struct order *o, const struct event *ev)
{
    const uint64_t user = hash_str(ev->user);
    const uint32_t with = order_map_get(&o->with_id, user), without = order_map_get(&o->without_id, user);
    const uint32_t own = ev->order.p != NULL ? with : without;
    const bool same = own != ORDER_MAP_NONE && belongs(&o->pool[own], ev);
    const size_t from = o->n_ready;
    if (without != ORDER_MAP_NONE && !(same && own == without)) close_open(o, without);
    if (with != ORDER_MAP_NONE && ev->order.p != NULL && !same) close_open(o, with);
    sort_ready(o, from);
    return same ? own : ORDER_MAP_NONE;
}

/* Those that are due first close early while all together are too large; room to do so was reserved. */
static void keep_bound(struct order *o)
{
    const size_t from = o->n_ready;
    while (o->open_bytes > o->max_bytes && o->n_heap > 0) close_open(o, o->heap[0]);
    sort_ready(o, from);
}

enum status order_push(struct order *o, const struct event *ev, struct err *e)
{
    release_handed(o);
    TRY(reserve(o, e));
    const uint32_t own = ev->user.p != NULL ? close_others(o, ev) : ORDER_MAP_NONE;
    if (own != ORDER_MAP_NONE) {
        struct compound *c = &o->pool[own];
        const size_t before = c->bytes;
        TRY(add_line(c, ev, e));
        o->open_bytes += c->bytes - before;
        set_due(o, c);
        heap_down(o, c->heap_at);
        keep_bound(o);
        return STATUS_OK;
    }
    if (o->n_heap >= ORDER_OPEN_MAX) close_open(o, o->heap[0]);
    TRY(begin(o, ev, e));
    keep_bound(o);
    return STATUS_OK;
}

enum status order_advance(struct order *o, int64_t watermark_ms, struct err *e)
{
    const size_t from = o->n_ready;
    release_handed(o);
    if (o->n_heap == 0 || o->pool[o->heap[0]].due_ms >= watermark_ms) return STATUS_OK;
    TRY(reserve(o, e));
    while (o->n_heap > 0 && o->pool[o->heap[0]].due_ms < watermark_ms) close_open(o, o->heap[0]);
    sort_ready(o, from);
    return STATUS_OK;
}

enum status order_flush(struct order *o, struct err *e)
{
    const size_t from = o->n_ready;
    release_handed(o);
    TRY(reserve(o, e));
    while (o->n_heap > 0) close_open(o, o->heap[0]);
    sort_ready(o, from);
    return STATUS_OK;
}

enum status order_ready(struct order *o, struct order_compound *out)
{
    release_handed(o);
    if (o->ready_at == o->n_ready) {
        o->ready_at = o->n_ready = 0;
        return STATUS_NOT_FOUND;
    }
    o->handed = o->ready[o->ready_at++].index;
    const struct compound *c = &o->pool[o->handed];
    *out = (struct order_compound){.lines = c->lines, .n = c->n, .time_ms = c->last_ms, .at = c->lines[0].at};
    return STATUS_OK;
}

size_t order_open(const struct order *o)
{
    return o->n_heap;
}

static void encode_compound(struct buf *b, const struct compound *c)
{
    buf_varint(b, c->n);
    for (uint32_t i = 0; i < c->n; i++) event_encode(b, &c->lines[i]);
}

void order_encode(struct buf *b, const struct order *o)
{
    struct ready *open = mem_calloc(o->n_heap, sizeof *open); /* in order of first line */
    if (open == NULL) {
        b->oom = true;
        return;
    }
    for (size_t i = 0; i < o->n_heap; i++) open[i] = (struct ready){0, o->pool[o->heap[i]].seq, o->heap[i]};
    if (o->n_heap > 1) qsort(open, o->n_heap, sizeof *open, compare_ready);
    buf_u8(b, ORDER_FORMAT);
    buf_varint(b, o->n_ready - o->ready_at);
    for (size_t i = o->ready_at; i < o->n_ready; i++) encode_compound(b, &o->pool[o->ready[i].index]);
    buf_varint(b, o->n_heap);
    for (size_t i = 0; i < o->n_heap; i++) encode_compound(b, &o->pool[open[i].index]);
    mem_free(open);
}

static enum status decode_lines(struct compound *c, size_t n, struct buf_reader *r, struct err *e)
{
    struct arena scratch = {.block_bytes = LINE_BLOCK};
    enum status st = STATUS_OK;
    for (size_t i = 0; i < n && st == STATUS_OK; i++) {
        struct event ev;
        arena_reset(&scratch);
        st = event_decode(&ev, r, &scratch, e);
        if (st == STATUS_OK && (ev.kind != EVENT_BEHAVIOUR || ev.item.p == NULL))
            st = ERR_SET(e, STATUS_CORRUPT, "orders: a stored line is no behaviour with an item");
        if (st == STATUS_OK) st = add_line(c, &ev, e);
    }
    arena_fini(&scratch);
    return st;
}

static enum status decode_compounds(struct order *o, struct buf_reader *r, bool done, struct err *e)
{
    const size_t n_compounds = buf_get_count(r, 4);
    for (size_t i = 0; i < n_compounds; i++) {
        const size_t n = buf_get_count(r, 4);
        if (n == 0 || n > ORDER_LINES_MAX)
            return ERR_SET(e, STATUS_CORRUPT, "order assembly: a stored order has %zu lines", n);
        TRY(reserve(o, e));
        const uint32_t index = take_spare(o);
        const enum status st = decode_lines(&o->pool[index], n, r, e);
        if (st != STATUS_OK) {
            recycle(o, index);
            return st;
        }
        TRY(file_compound(o, index, done, e));
    }
    return r->bad ? ERR_SET(e, STATUS_CORRUPT, "order assembly: the stored orders can't be read") : STATUS_OK;
}

enum status order_decode(struct order *o, struct buf_reader *r, struct err *e)
{
    if (buf_get_u8(r) != ORDER_FORMAT)
        return ERR_SET(e, STATUS_CORRUPT, "order assembly: unknown format of the stored orders");
    TRY(decode_compounds(o, r, true, e));
    return decode_compounds(o, r, false, e);
}

/* join.c - open slates in a pool; found by request or through their user's list, newest first; settled through a heap. */
#include "ingest/join.h"
#include "base/hash.h"
#include "base/mem.h"
#include "ingest/order_map.h"
#include <string.h>

#define JOIN_FORMAT 1
#define JOIN_SETTLED 65536 /* settled requests that are remembered, to tell a late behaviour from a foreign one */

enum mark_kind { MARK_NONE, MARK_NEGATIVE, MARK_POSITIVE };
struct open_slate {
    uint64_t slate, user, request; /* hashes; 0: absent */
    int64_t time_ms, due_ms;
    uint64_t *items; /* n hashes */
    float *labels, *weights;
    uint8_t *marks; /* enum mark_kind */
    uint32_t n, cap;
    uint32_t newer, older; /* the same user's */
    size_t heap_at;
};
struct join {
    const struct conf *conf;
    struct open_slate *pool;
    size_t n_pool, pool_cap, n_spare, n_heap;
    uint32_t *spare, *heap;              /* pool_cap places each */
    size_t forced;                       /* slates due at once: open ones beyond the bound */
    uint32_t handed;                     /* settled last */
    struct order_map by_request, newest; /* newest: user to its newest open slate */
    uint64_t *settled;                   /* ring of request hashes */
    size_t n_settled, settled_at;
    struct order_map settled_map;
    struct join_counts counts;
};

enum status join_new(struct join **out, const struct conf *c, struct err *e)
{
    *out = NULL;
    struct join *j = mem_calloc(1, sizeof *j);
    if (j != NULL) {
        j->conf = c;
        j->handed = ORDER_MAP_NONE;
        j->settled = mem_calloc(JOIN_SETTLED, sizeof *j->settled);
        if (j->settled != NULL && order_map_reserve(&j->settled_map, JOIN_SETTLED + 1)) {
            *out = j;
            return STATUS_OK;
        }
    }
    join_free(j);
    return ERR_SET(e, STATUS_OOM, "joiner: no memory for its state");
}

void join_free(struct join *j)
{
    if (j == NULL) return;
    for (size_t i = 0; i < j->n_pool; i++) {
        mem_free(j->pool[i].items);
        mem_free(j->pool[i].labels);
        mem_free(j->pool[i].weights);
        mem_free(j->pool[i].marks);
    }
    mem_free(j->pool);
    mem_free(j->spare);
    mem_free(j->heap);
    mem_free(j->settled);
    order_map_fini(&j->by_request);
    order_map_fini(&j->newest);
    order_map_fini(&j->settled_map);
    mem_free(j);
}

/* 0 means absent, so a text whose hash is 0 gets another. */
static uint64_t hash_of(struct str s)
{
    const uint64_t h = s.p != NULL ? hash_str(s) : 0;
    return s.p != NULL && h == 0 ? 1 : h;
}

static bool before(const struct join *j, uint32_t a, uint32_t b)
{
    const struct open_slate *x = &j->pool[a], *y = &j->pool[b];
    return x->due_ms != y->due_ms ? x->due_ms < y->due_ms : x->slate < y->slate;
}

static void heap_place(struct join *j, size_t at, uint32_t index)
{
    j->heap[at] = index;
    j->pool[index].heap_at = at;
}

static void heap_push(struct join *j, uint32_t index)
{
    size_t at = j->n_heap++;
    for (; at > 0 && before(j, index, j->heap[(at - 1) / 2]); at = (at - 1) / 2)
        heap_place(j, at, j->heap[(at - 1) / 2]);
    heap_place(j, at, index);
}

static uint32_t heap_pop(struct join *j)
{
    const uint32_t top = j->heap[0], last = j->heap[--j->n_heap];
    size_t at = 0;
    while (2 * at + 1 < j->n_heap) {
        size_t child = 2 * at + 1;
        if (child + 1 < j->n_heap && before(j, j->heap[child + 1], j->heap[child])) child++;
        if (!before(j, j->heap[child], last)) break;
        heap_place(j, at, j->heap[child]);
        at = child;
    }
    if (j->n_heap > 0) heap_place(j, at, last);
    return top;
}

static enum status reserve(struct join *j, struct err *e)
{
    void *pool = j->pool, *spare = j->spare, *heap = j->heap;
    size_t pool_cap = j->pool_cap, spare_cap = j->pool_cap, heap_cap = j->pool_cap;
    bool ok = mem_grow(&spare, &spare_cap, j->n_pool + 1, sizeof *j->spare) == 0;
    j->spare = spare;
    ok = ok && mem_grow(&heap, &heap_cap, j->n_pool + 1, sizeof *j->heap) == 0;
    j->heap = heap;
    ok = ok && mem_grow(&pool, &pool_cap, j->n_pool + 1, sizeof *j->pool) == 0;
    j->pool = pool;
    if (ok) j->pool_cap = pool_cap;
    return ok ? STATUS_OK : ERR_SET(e, STATUS_OOM, "joiner: no memory for %zu open slates", j->n_pool + 1);
}

static bool size_slate(struct open_slate *s, uint32_t n)
{
    if (n > s->cap) {
        void *items = mem_realloc(s->items, n, sizeof *s->items);
        if (items != NULL) s->items = items;
        void *labels = mem_realloc(s->labels, n, sizeof *s->labels);
        if (labels != NULL) s->labels = labels;
        void *weights = mem_realloc(s->weights, n, sizeof *s->weights);
        if (weights != NULL) s->weights = weights;
        void *marks = mem_realloc(s->marks, n, sizeof *s->marks);
        if (marks != NULL) s->marks = marks;
        if (items == NULL || labels == NULL || weights == NULL || marks == NULL) return false;
        s->cap = n;
    }
    s->n = n;
    return true;
}

/* An unused slate with room for n items. */
static enum status take_spare(struct join *j, uint32_t n, uint32_t *index, struct err *e)
{
    TRY(reserve(j, e));
    if (j->n_spare == 0) {
        j->pool[j->n_pool] = (struct open_slate){0};
        j->spare[j->n_spare++] = (uint32_t)j->n_pool++;
    }
    *index = j->spare[j->n_spare - 1];
    if (!size_slate(&j->pool[*index], n)) return ERR_SET(e, STATUS_OOM, "joiner: no memory for a slate of %u items", n);
    j->n_spare--;
    return STATUS_OK;
}

static void release_handed(struct join *j)
{
    if (j->handed != ORDER_MAP_NONE) j->spare[j->n_spare++] = j->handed;
    j->handed = ORDER_MAP_NONE;
}

static bool is_newer(const struct open_slate *a, const struct open_slate *b)
{
    return a->time_ms != b->time_ms ? a->time_ms > b->time_ms : a->slate > b->slate;
}

/* Puts the slate into its user's list, newest first by time, then by slate id; false: out of memory. */
static bool link_user(struct join *j, uint32_t index)
{
    struct open_slate *s = &j->pool[index];
    uint32_t older = order_map_get(&j->newest, s->user), newer = ORDER_MAP_NONE;
    while (older != ORDER_MAP_NONE && is_newer(&j->pool[older], s)) {
        newer = older;
        older = j->pool[older].older;
    }
    if (newer == ORDER_MAP_NONE && !order_map_put(&j->newest, s->user, index)) return false;
    if (newer != ORDER_MAP_NONE) j->pool[newer].older = index;
    if (older != ORDER_MAP_NONE) j->pool[older].newer = index;
    s->newer = newer;
    s->older = older;
    return true;
}

/* Takes the slate into the tables and the heap.  A request that is shown again belongs to the later slate. */
static enum status index_slate(struct join *j, uint32_t index, struct err *e)
{
    struct open_slate *s = &j->pool[index];
    const uint32_t again = s->request != 0 ? order_map_get(&j->by_request, s->request) : ORDER_MAP_NONE;
    s->newer = s->older = ORDER_MAP_NONE;
    if (s->request == 0 || order_map_put(&j->by_request, s->request, index)) {
        if (again != ORDER_MAP_NONE) j->pool[again].request = 0;
        if (s->user == 0 || link_user(j, index)) {
            heap_push(j, index);
            return STATUS_OK;
        }
        if (s->request != 0) order_map_remove(&j->by_request, s->request);
    }
    j->spare[j->n_spare++] = index;
    return ERR_SET(e, STATUS_OOM, "joiner: no memory for %zu open slates", j->n_heap + 1);
}

static void unindex_slate(struct join *j, uint32_t index)
{
    const struct open_slate *s = &j->pool[index];
    if (s->request != 0) order_map_remove(&j->by_request, s->request);
    if (s->user == 0) return;
    if (s->newer != ORDER_MAP_NONE)
        j->pool[s->newer].older = s->older;
    else if (s->older != ORDER_MAP_NONE)
        (void)order_map_put(&j->newest, s->user, s->older); /* replaces, so it can't fail */
    else
        order_map_remove(&j->newest, s->user);
    if (s->older != ORDER_MAP_NONE) j->pool[s->older].newer = s->newer;
}

enum status join_open(struct join *j, uint64_t slate, const struct event *ev, struct err *e)
{
    uint32_t index = 0;
    const int64_t window = j->conf->join_window_ms;
    release_handed(j);
    TRY(take_spare(j, ev->n_items, &index, e));
    struct open_slate *s = &j->pool[index];
    s->slate = slate;
    s->user = hash_of(ev->user);
    s->request = hash_of(ev->request);
    s->time_ms = ev->time_ms;
    s->due_ms = ev->time_ms > INT64_MAX - window ? INT64_MAX : ev->time_ms + window;
    for (uint32_t i = 0; i < ev->n_items; i++) {
        s->items[i] = hash_of(ev->items[i].item);
        s->labels[i] = 0;
        s->weights[i] = 1;
        s->marks[i] = MARK_NONE;
    }
    TRY(index_slate(j, index, e));
    if (j->n_heap - j->forced > (size_t)j->conf->join_open_slates) join_hurry(j);
    return STATUS_OK;
}

void join_hurry(struct join *j)
{
    if (j->forced == j->n_heap) return;
    j->forced++;
    j->counts.early_settled++;
}

static uint32_t place_of(const struct open_slate *s, uint64_t item)
{
    for (uint32_t i = 0; i < s->n; i++)
        if (s->items[i] == item) return i;
    return ORDER_MAP_NONE;
}

/* The slate and place that a behaviour marks.  With a request only that slate will do; it may name it before the list was
 * shown (clocks differ), but not after its window. */
static bool find(struct join *j, const struct event *ev, uint32_t *index, uint32_t *place, bool *late)
{
    const uint64_t item = hash_of(ev->item), request = hash_of(ev->request), user = hash_of(ev->user);
    *late = false;
    if (request != 0) {
        *index = order_map_get(&j->by_request, request);
        *late = *index != ORDER_MAP_NONE ? ev->time_ms > j->pool[*index].due_ms
                                         : order_map_get(&j->settled_map, request) != ORDER_MAP_NONE;
        if (*index == ORDER_MAP_NONE || *late) return false;
        *place = place_of(&j->pool[*index], item);
        return *place != ORDER_MAP_NONE;
    }
    for (*index = user != 0 ? order_map_get(&j->newest, user) : ORDER_MAP_NONE; *index != ORDER_MAP_NONE;
         *index = j->pool[*index].older) {
        const struct open_slate *s = &j->pool[*index];
        if (ev->time_ms < s->time_ms || ev->time_ms > s->due_ms) continue;
        *place = place_of(s, item);
        if (*place != ORDER_MAP_NONE) return true;
    }
    return false;
}

/* A positive type makes the label 1 for good; a negative one only weighs an item that no positive one took. */
static void mark(struct open_slate *s, uint32_t place, const struct conf_type *type)
{
    const float weight = (float)type->weight;
    const uint8_t kind = type->label == CONF_LABEL_POSITIVE   ? MARK_POSITIVE
                         : type->label == CONF_LABEL_NEGATIVE ? MARK_NEGATIVE
                                                              : MARK_NONE;
    if (kind == MARK_NONE || kind < s->marks[place]) return;
    if (kind > s->marks[place] || weight > s->weights[place]) s->weights[place] = weight;
    s->marks[place] = kind;
    s->labels[place] = kind == MARK_POSITIVE;
}

enum status join_mark(struct join *j, const struct event *ev, bool *matched, struct err *e)
{
    uint32_t index = 0, place = 0;
    bool late = false;
    release_handed(j);
    if (ev->kind != EVENT_BEHAVIOUR || ev->type >= j->conf->n_types)
        return ERR_SET(e, STATUS_INVALID, "joiner: event type %u is no behaviour of the configuration", ev->type);
    *matched = find(j, ev, &index, &place, &late);
    if (*matched) mark(&j->pool[index], place, &j->conf->types[ev->type]);
    j->counts.matched += *matched;
    j->counts.late += late;
    j->counts.unmatched += !*matched && !late;
    return STATUS_OK;
}

bool join_mark_early(struct join *j, const struct event *ev)
{
    uint32_t index = 0, place = 0;
    bool late = false;
    release_handed(j);
    if (ev->kind != EVENT_BEHAVIOUR || ev->type >= j->conf->n_types || !find(j, ev, &index, &place, &late))
        return false;
    mark(&j->pool[index], place, &j->conf->types[ev->type]);
    j->counts.matched++;
    return true;
}

static void remember_settled(struct join *j, uint64_t request)
{
    if (request == 0 || order_map_get(&j->settled_map, request) != ORDER_MAP_NONE) return;
    if (j->n_settled == JOIN_SETTLED)
        order_map_remove(&j->settled_map, j->settled[j->settled_at]);
    else
        j->n_settled++;
    j->settled[j->settled_at] = request;
    (void)order_map_put(&j->settled_map, request, 1); /* reserved */
    j->settled_at = (j->settled_at + 1) % JOIN_SETTLED;
}

enum status join_settle(struct join *j, int64_t watermark_ms, struct join_settled *out, struct err *e)
{
    (void)e;
    release_handed(j);
    if (j->n_heap == 0 || (j->forced == 0 && j->pool[j->heap[0]].due_ms >= watermark_ms)) return STATUS_NOT_FOUND;
    j->handed = heap_pop(j);
    j->forced -= j->forced > 0;
    unindex_slate(j, j->handed);
    const struct open_slate *s = &j->pool[j->handed];
    remember_settled(j, s->request);
    *out = (struct join_settled){s->slate, s->due_ms, s->n, s->labels, s->weights};
    return STATUS_OK;
}

size_t join_open_count(const struct join *j)
{
    return j->n_heap;
}

const struct join_counts *join_counts(const struct join *j)
{
    return &j->counts;
}

static void encode_slate(struct buf *b, const struct open_slate *s)
{
    buf_u64(b, s->slate);
    buf_u64(b, s->user);
    buf_u64(b, s->request);
    buf_i64(b, s->time_ms);
    buf_i64(b, s->due_ms);
    buf_varint(b, s->n);
    for (uint32_t i = 0; i < s->n; i++) {
        buf_u64(b, s->items[i]);
        buf_u8(b, s->marks[i]);
        buf_f32(b, s->weights[i]);
    }
}

/* Slates go in any order: (time, slate id) and (due time, slate id) put them back. */
void join_encode(struct buf *b, const struct join *j)
{
    buf_u8(b, JOIN_FORMAT);
    buf_u64(b, j->counts.matched);
    buf_u64(b, j->counts.unmatched);
    buf_u64(b, j->counts.late);
    buf_u64(b, j->counts.early_settled);
    buf_varint(b, j->forced);
    buf_varint(b, j->n_settled);
    const size_t oldest = j->n_settled == JOIN_SETTLED ? j->settled_at : 0;
    for (size_t i = 0; i < j->n_settled; i++) buf_u64(b, j->settled[(oldest + i) % JOIN_SETTLED]);
    buf_varint(b, j->n_heap);
    for (size_t i = 0; i < j->n_heap; i++) encode_slate(b, &j->pool[j->heap[i]]);
}

static enum status decode_slate(struct join *j, struct buf_reader *r, struct err *e)
{
    struct open_slate head = {0};
    uint32_t index = 0;
    head.slate = buf_get_u64(r);
    head.user = buf_get_u64(r);
    head.request = buf_get_u64(r);
    head.time_ms = buf_get_i64(r);
    head.due_ms = buf_get_i64(r);
    const size_t n = buf_get_count(r, 13);
    if (r->bad || n > UINT32_MAX) return ERR_SET(e, STATUS_CORRUPT, "joiner: a stored slate can't be read");
    TRY(take_spare(j, (uint32_t)n, &index, e));
    struct open_slate *s = &j->pool[index];
    s->slate = head.slate;
    s->user = head.user;
    s->request = head.request;
    s->time_ms = head.time_ms;
    s->due_ms = head.due_ms;
    for (size_t i = 0; i < n; i++) {
        s->items[i] = buf_get_u64(r);
        s->marks[i] = buf_get_u8(r);
        s->labels[i] = s->marks[i] == MARK_POSITIVE;
        s->weights[i] = buf_get_f32(r);
    }
    return index_slate(j, index, e);
}

enum status join_decode(struct join *j, struct buf_reader *r, struct err *e)
{
    if (buf_get_u8(r) != JOIN_FORMAT) return ERR_SET(e, STATUS_CORRUPT, "joiner: unknown format of the stored slates");
    j->counts.matched = buf_get_u64(r);
    j->counts.unmatched = buf_get_u64(r);
    j->counts.late = buf_get_u64(r);
    j->counts.early_settled = buf_get_u64(r);
    j->forced = (size_t)buf_get_varint(r);
    const size_t n_settled = buf_get_count(r, 8);
    for (size_t i = 0; i < n_settled; i++) remember_settled(j, buf_get_u64(r));
    const size_t n = buf_get_count(r, 41);
    for (size_t i = 0; i < n; i++) TRY(decode_slate(j, r, e));
    if (r->bad || j->forced > j->n_heap) return ERR_SET(e, STATUS_CORRUPT, "joiner: the stored slates can't be read");
    return STATUS_OK;
}

/* join.c - open slates in a pool; found through their request's or their user's list, newest first; settled through heaps. */
#include "base/hash.h"
#include "base/mem.h"
#include "ingest/join_private.h"
#include "schemas/slate.h"
#include <string.h>
enum status join_new(struct join **out, const struct conf *c, struct err *e)
{
    *out = NULL;
    struct join *j = mem_calloc(1, sizeof *j);
    if (j != NULL) {
        uint8_t types[CONF_TASKS_MAX];
        const uint32_t n_tasks = conf_tasks(c, types);
        for (uint32_t t = 0; t < n_tasks; t++) j->task_of[types[t]] = UINT32_C(1) << t;
        const int conversion = conf_type_find(c, str_from(c->eval_conversion));
        if (conversion >= 0) j->task_of[conversion] |= SLATE_CONVERTED;
        j->conf = c;
        j->early = strcmp(c->join_loss, "importance") == 0;
        j->handed = j->current = ORDER_MAP_NONE;
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
        mem_free(j->pool[i].early);
        mem_free(j->pool[i].tasks);
    }
    mem_free(j->pool);
    mem_free(j->spare);
    join_heap_fini(&j->ends);
    join_heap_fini(&j->waits);
    mem_free(j->settled);
    for (int of = 0; of < JOIN_COMMON; of++) order_map_fini(&j->newest[of]);
    order_map_fini(&j->settled_map);
    mem_free(j);
}

/* 0 means absent, so a text whose hash is 0 gets another. */
static uint64_t hash_of(struct str s)
{
    const uint64_t h = s.p != NULL ? hash_str(s) : 0;
    return s.p != NULL && h == 0 ? 1 : h;
}

static enum status reserve(struct join *j, struct err *e)
{
    size_t pool_cap = j->pool_cap, spare_cap = j->pool_cap;
    bool ok = MEM_GROW(j->spare, &spare_cap, j->n_pool + 1) == 0;
    ok = ok && join_heap_reserve(&j->ends, j->n_pool + 1);
    ok = ok && (!j->early || join_heap_reserve(&j->waits, j->waits.n + 1));
    ok = ok && MEM_GROW(j->pool, &pool_cap, j->n_pool + 1) == 0;
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
        void *early = mem_realloc(s->early, n, sizeof *s->early);
        if (early != NULL) s->early = early;
        void *tasks = mem_realloc(s->tasks, n, sizeof *s->tasks);
        if (tasks != NULL) s->tasks = tasks;
        if (items == NULL || labels == NULL || weights == NULL || marks == NULL || early == NULL || tasks == NULL)
            return false;
        s->cap = n;
    }
    s->n = n;
    return true;
}

/* An unused slate with room for n items. */
enum status join_take_spare(struct join *j, uint32_t n, uint32_t *index, struct err *e)
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

/* Puts the slate into its list, newest first by time, then by slate id; false: out of memory. */
static bool link_slate(struct join *j, uint32_t index, enum join_common of)
{
    struct open_slate *s = &j->pool[index];
    s->newer[of] = s->older[of] = ORDER_MAP_NONE;
    if (s->of[of] == 0) return true;
    uint32_t older = order_map_get(&j->newest[of], s->of[of]), newer = ORDER_MAP_NONE;
    while (older != ORDER_MAP_NONE && is_newer(&j->pool[older], s)) {
        newer = older;
        older = j->pool[older].older[of];
    }
    if (newer == ORDER_MAP_NONE && !order_map_put(&j->newest[of], s->of[of], index)) return false;
    if (newer != ORDER_MAP_NONE) j->pool[newer].older[of] = index;
    if (older != ORDER_MAP_NONE) j->pool[older].newer[of] = index;
    s->newer[of] = newer;
    s->older[of] = older;
    return true;
}

static void unlink_slate(struct join *j, uint32_t index, enum join_common of)
{
    const struct open_slate *s = &j->pool[index];
    const uint32_t newer = s->newer[of], older = s->older[of];
    if (s->of[of] == 0) return;
    if (newer != ORDER_MAP_NONE)
        j->pool[newer].older[of] = older;
    else if (older != ORDER_MAP_NONE)
        (void)order_map_put(&j->newest[of], s->of[of], older); /* replaces, so it can't fail */
    else
        order_map_remove(&j->newest[of], s->of[of]);
    if (older != ORDER_MAP_NONE) j->pool[older].newer[of] = newer;
}

static int64_t later(int64_t time_ms, int64_t ms)
{
    return time_ms > INT64_MAX - ms ? INT64_MAX : time_ms + ms;
}

static bool waits_still(const struct join *j, const struct join_due *d)
{
    return j->pool[d->index].slate == d->slate && !j->pool[d->index].waited;
}

/* Entries of slates that were closed before their time go, once they are the larger part. */
static void drop_left_behind(struct join *j)
{
    const size_t n = j->waits.n;
    if (n < 64 || n < 2 * j->ends.n) return;
    j->waits.n = 0;
    for (size_t i = 0; i < n; i++) {
        const struct join_due d = j->waits.at[i];
        if (waits_still(j, &d)) join_heap_push(&j->waits, d);
    }
}

static void heap_slate(struct join *j, uint32_t index)
{
    const struct open_slate *s = &j->pool[index];
    join_heap_push(&j->ends, (struct join_due){s->due_ms, s->slate, index});
    if (!j->early || s->waited) return;
    drop_left_behind(j);
    join_heap_push(&j->waits, (struct join_due){later(s->time_ms, j->conf->join_wait_ms), s->slate, index});
}

enum status join_index_slate(struct join *j, uint32_t index, struct err *e)
{
    struct open_slate *s = &j->pool[index];
    if (link_slate(j, index, JOIN_REQUEST)) {
        if (link_slate(j, index, JOIN_USER)) {
            heap_slate(j, index);
            return STATUS_OK;
        }
        unlink_slate(j, index, JOIN_REQUEST);
    }
    s->slate = 0;
    j->spare[j->n_spare++] = index;
    return ERR_SET(e, STATUS_OOM, "joiner: no memory for %zu open slates", j->ends.n + 1);
}

static void unindex_slate(struct join *j, uint32_t index)
{
    for (int of = 0; of < JOIN_COMMON; of++) unlink_slate(j, index, (enum join_common)of);
}

enum status join_open(struct join *j, uint64_t slate, const struct event *ev, struct err *e)
{
    uint32_t index = 0;
    release_handed(j);
    TRY(join_take_spare(j, ev->n_items, &index, e));
    struct open_slate *s = &j->pool[index];
    s->slate = slate;
    s->of[JOIN_USER] = hash_of(ev->user);
    s->of[JOIN_REQUEST] = hash_of(ev->request);
    s->time_ms = ev->time_ms;
    s->due_ms = later(ev->time_ms, j->conf->join_window_ms);
    s->waited = s->learnt = false;
    for (uint32_t i = 0; i < ev->n_items; i++) {
        s->items[i] = hash_of(ev->items[i].item);
        s->labels[i] = 0;
        s->weights[i] = 1;
        s->marks[i] = MARK_NONE;
        s->early[i] = 0;
        s->tasks[i] = 0;
    }
    TRY(join_index_slate(j, index, e));
    j->current = index;
    if (j->ends.n - j->forced > (size_t)j->conf->join_open_slates) join_hurry(j);
    return STATUS_OK;
}

void join_hurry(struct join *j)
{
    if (j->forced == j->ends.n) return;
    j->forced++;
    j->counts.early_settled++;
}

static uint32_t place_of(const struct open_slate *s, uint64_t item)
{
    for (uint32_t i = 0; i < s->n; i++)
        if (s->items[i] == item) return i;
    return ORDER_MAP_NONE;
}

/* The slate and place that a behaviour marks: the newest that shows the item and whose window it is in.  With a request only that
 * one's will do (it may be shown in several lists, page by page); it may name it before the list was shown (clocks differ). */
static bool find(struct join *j, const struct event *ev, uint32_t *index, uint32_t *place, bool *late)
{
    const uint64_t item = hash_of(ev->item), request = hash_of(ev->request), user = hash_of(ev->user);
    const enum join_common of = request != 0 ? JOIN_REQUEST : JOIN_USER;
    const uint64_t key = request != 0 ? request : user;
    *late = request != 0 && order_map_get(&j->settled_map, request) != ORDER_MAP_NONE;
    for (*index = key != 0 ? order_map_get(&j->newest[of], key) : ORDER_MAP_NONE; *index != ORDER_MAP_NONE;
         *index = j->pool[*index].older[of]) {
        const struct open_slate *s = &j->pool[*index];
        const bool over = ev->time_ms > s->due_ms;
        *late = *late || (over && request != 0);
        if (over || (request == 0 && ev->time_ms < s->time_ms)) continue;
        *place = place_of(s, item);
        if (*place != ORDER_MAP_NONE) {
            *late = false;
            return true;
        }
    }
    return false;
}

/* What the mark adds to what the item weighed as an example of its kind before: an unmarked one was a negative of 1. */
static void note_copy(struct join *j, const struct open_slate *s, uint32_t place, uint8_t kind, float weight)
{
    const float before = kind == s->marks[place] ? s->weights[place] : kind == MARK_NEGATIVE ? 1.0f : 0.0f;
    if (!s->learnt || !(weight > before)) return;
    j->copy = (struct join_copy){s->slate, place, weight - before, kind == MARK_POSITIVE,
                                 kind == MARK_POSITIVE && s->marks[place] != MARK_POSITIVE};
}

/* A positive type makes the label 1 for good; a negative one only weighs an item that no positive one took.  Each is an
 * example of its own task besides. */
static void mark(struct join *j, struct open_slate *s, uint32_t place, uint8_t which)
{
    const struct conf_type *type = &j->conf->types[which];
    const float weight = (float)type->weight;
    const uint8_t kind = type->label == CONF_LABEL_POSITIVE   ? MARK_POSITIVE
                         : type->label == CONF_LABEL_NEGATIVE ? MARK_NEGATIVE
                                                              : MARK_NONE;
    const bool new_task = (j->task_of[which] & ~s->tasks[place]) != 0;
    s->tasks[place] |= j->task_of[which];
    if (kind == MARK_NONE || kind < s->marks[place]) return;
    if (kind == s->marks[place] && weight <= s->weights[place]) {
        j->counts.duplicate += !new_task;
        return;
    }
    note_copy(j, s, place, kind, weight);
    s->weights[place] = weight;
    s->marks[place] = kind;
    s->labels[place] = kind == MARK_POSITIVE;
}

void join_learnt(struct join *j)
{
    if (j->current != ORDER_MAP_NONE) j->pool[j->current].learnt = true;
}

bool join_copy(const struct join *j, struct join_copy *out)
{
    *out = j->copy;
    return j->copy.weight > 0.0f;
}

enum status join_mark(struct join *j, const struct event *ev, bool *matched, struct err *e)
{
    uint32_t index = 0, place = 0;
    bool late = false;
    release_handed(j);
    j->copy.weight = 0.0f;
    if (ev->kind != EVENT_BEHAVIOUR || ev->type >= j->conf->n_types)
        return ERR_SET(e, STATUS_INVALID, "joiner: event type %u is no behaviour of the configuration", ev->type);
    *matched = find(j, ev, &index, &place, &late);
    if (*matched) mark(j, &j->pool[index], place, ev->type);
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
    j->copy.weight = 0.0f;
    if (ev->kind != EVENT_BEHAVIOUR || ev->type >= j->conf->n_types || !find(j, ev, &index, &place, &late))
        return false;
    mark(j, &j->pool[index], place, ev->type);
    j->counts.matched++;
    return true;
}

void join_remember_settled(struct join *j, uint64_t request)
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

/* The slate has waited join.wait_ms, and its window does not end first. */
static bool next_waited(struct join *j, int64_t watermark_ms, uint32_t *index)
{
    struct join_heap *w = &j->waits;
    while (w->n > 0 && !waits_still(j, &w->at[0])) (void)join_heap_pop(w);
    if (w->n == 0 || j->forced > 0 || w->at[0].ms >= watermark_ms || join_due_before(&j->ends.at[0], &w->at[0]))
        return false;
    *index = join_heap_pop(w).index;
    return true;
}

static void hand_waited(struct join *j, uint32_t index, struct join_settled *out)
{
    struct open_slate *s = &j->pool[index];
    s->waited = true;
    j->current = index;
    for (uint32_t i = 0; i < s->n; i++) s->early[i] = s->marks[i] == MARK_POSITIVE;
    *out = (struct join_settled){.slate = s->slate,
                                 .due_ms = later(s->time_ms, j->conf->join_wait_ms),
                                 .n = s->n,
                                 .n_seen = s->n,
                                 .labels = s->labels,
                                 .weights = s->weights,
                                 .tasks = s->tasks};
}

/* Leading items that were looked at: up to the last that a label or a task (it may convert without one) met, all when none was. */
static uint32_t seen_of(const struct open_slate *s)
{
    uint32_t n = s->n;
    while (n > 0 && s->marks[n - 1] == MARK_NONE && s->tasks[n - 1] == 0) n--;
    return n > 0 ? n : s->n;
}

static bool is_marked(const struct open_slate *s)
{
    for (uint32_t i = 0; i < s->n; i++)
        if (s->marks[i] != MARK_NONE) return true;
    return false;
}

static void hand_ended(struct join *j, uint32_t index, struct join_settled *out)
{
    struct open_slate *s = &j->pool[index];
    unindex_slate(j, index);
    join_remember_settled(j, s->of[JOIN_REQUEST]);
    j->counts.expired += !is_marked(s);
    *out = (struct join_settled){.slate = s->slate,
                                 .due_ms = s->due_ms,
                                 .n = s->n,
                                 .n_seen = j->conf->join_cascade ? seen_of(s) : s->n,
                                 .labels = s->labels,
                                 .weights = s->weights,
                                 .tasks = s->tasks,
                                 .early = s->waited ? s->early : NULL,
                                 .learnt = s->learnt,
                                 .ended = true};
    s->slate = 0;
    j->handed = index;
}

enum status join_settle(struct join *j, int64_t watermark_ms, struct join_settled *out, struct err *e)
{
    uint32_t index;
    (void)e;
    release_handed(j);
    if (next_waited(j, watermark_ms, &index)) {
        hand_waited(j, index, out);
        return STATUS_OK;
    }
    if (j->ends.n == 0 || (j->forced == 0 && j->ends.at[0].ms >= watermark_ms)) return STATUS_NOT_FOUND;
    j->forced -= j->forced > 0;
    hand_ended(j, join_heap_pop(&j->ends).index, out);
    return STATUS_OK;
}

size_t join_open_count(const struct join *j)
{
    return j->ends.n;
}

const struct join_counts *join_counts(const struct join *j)
{
    return &j->counts;
}

/* watermark.c - a sorted table of partitions, each with its greatest time and the few events it holds. */
#include "ingest/watermark.h"
#include "base/mem.h"
#include <string.h>

#define MARK_FORMAT 1
enum { FLAG_IDLE = 1 << 0, FLAG_LEFT = 1 << 1 }; /* as stored */
#define HELD_MAX (1 + WATERMARK_AGREE)
#define HELD_BLOCK 1024

struct held {
    struct arena arena;
    struct source_record *records; /* HELD_MAX, once needed */
    uint32_t n;
};
struct part {
    uint32_t topic, partition;
    int64_t time_ms; /* greatest so far; INT64_MIN: no event yet */
    bool idle, left; /* left: not read by us now */
    struct held held;
};
struct watermark {
    int64_t max_jump_ms;
    struct part *parts;              /* by (topic, partition) */
    size_t n_parts, cap_parts, last; /* last: found last */
    int64_t watermark_ms;
    struct held decided; /* being handed out */
    uint32_t decided_at;
    bool accepted;
};

enum status watermark_new(struct watermark **out, const struct conf *c, struct err *e)
{
    struct watermark *w = mem_calloc(1, sizeof *w);
    *out = w;
    if (w == NULL) return ERR_SET(e, STATUS_OOM, "watermark: no memory for its state");
    w->max_jump_ms = c->ingest_max_jump_ms;
    w->watermark_ms = INT64_MIN;
    arena_init(&w->decided.arena, HELD_BLOCK);
    return STATUS_OK;
}

void watermark_free(struct watermark *w)
{
    if (w == NULL) return;
    for (size_t i = 0; i < w->n_parts; i++) {
        arena_fini(&w->parts[i].held.arena);
        mem_free(w->parts[i].held.records);
    }
    arena_fini(&w->decided.arena);
    mem_free(w->decided.records);
    mem_free(w->parts);
    mem_free(w);
}

static int64_t place(uint32_t topic, uint32_t partition, const struct part *p)
{
    if (topic != p->topic) return topic < p->topic ? -1 : 1;
    return (int64_t)partition - (int64_t)p->partition;
}

/* The partition's entry, made if it is new. */
static enum status find(struct watermark *w, uint32_t topic, uint32_t partition, struct part **out, struct err *e)
{
    size_t at = 0;
    if (w->last < w->n_parts && place(topic, partition, &w->parts[w->last]) == 0) {
        *out = &w->parts[w->last];
        return STATUS_OK;
    }
    while (at < w->n_parts && place(topic, partition, &w->parts[at]) > 0) at++;
    if (at == w->n_parts || place(topic, partition, &w->parts[at]) != 0) {
        if (w->n_parts == WATERMARK_PARTITIONS)
            return ERR_SET(e, STATUS_INVALID, "watermark: more than %d partitions", WATERMARK_PARTITIONS);
        if (MEM_GROW(w->parts, &w->cap_parts, w->n_parts + 1) != 0)
            return ERR_SET(e, STATUS_OOM, "watermark: no memory for %zu partitions", w->n_parts + 1);
        memmove(w->parts + at + 1, w->parts + at, (w->n_parts - at) * sizeof *w->parts);
        w->n_parts++;
        w->parts[at] = (struct part){.topic = topic, .partition = partition, .time_ms = INT64_MIN};
        arena_init(&w->parts[at].held.arena, HELD_BLOCK);
    }
    w->last = at;
    *out = &w->parts[at];
    return STATUS_OK;
}

/* The slowest of those that are read and not idle; when all that are read are idle nothing holds the fastest of them
 * back.  What is not read moves nothing. */
static void update(struct watermark *w)
{
    int64_t slowest = INT64_MAX, fastest = INT64_MIN;
    bool live = false;
    for (size_t i = 0; i < w->n_parts; i++) {
        const struct part *p = &w->parts[i];
        if (p->left) continue;
        if (p->time_ms > fastest) fastest = p->time_ms;
        if (p->idle) continue;
        live = true;
        if (p->time_ms < slowest) slowest = p->time_ms;
    }
    const int64_t now = live ? slowest : fastest;
    if (now > w->watermark_ms) w->watermark_ms = now;
}

enum status watermark_expect(struct watermark *w, struct event_position at, struct err *e)
{
    struct part *p = NULL;
    TRY(find(w, at.topic, at.partition, &p, e));
    p->idle = p->left = false;
    return STATUS_OK;
}

static void move(struct watermark *w, struct part *p, int64_t time_ms)
{
    p->idle = false;
    if (time_ms > p->time_ms) p->time_ms = time_ms;
    update(w);
}

static bool copy_str(struct arena *a, struct str *s)
{
    if (s->p == NULL) return true;
    *s = arena_str(a, *s);
    return s->p != NULL;
}

static enum status hold(struct part *p, const struct source_record *rec, struct err *e)
{
    struct held *h = &p->held;
    if (h->records == NULL) h->records = mem_calloc(HELD_MAX, sizeof *h->records);
    if (h->records == NULL) return ERR_SET(e, STATUS_OOM, "watermark: no memory to hold an event");
    struct source_record *to = &h->records[h->n];
    *to = *rec;
    if (event_copy(&to->event, &rec->event, &h->arena) != STATUS_OK || !copy_str(&h->arena, &to->raw.topic) ||
        !copy_str(&h->arena, &to->raw.key) || !copy_str(&h->arena, &to->raw.value) ||
        !copy_str(&h->arena, &to->raw.headers))
        return ERR_SET(e, STATUS_OOM, "watermark: no memory to hold an event");
    h->n++;
    return STATUS_OK;
}

/* What p holds becomes what is handed out; p holds nothing (and gets the other's memory). */
static void decide(struct watermark *w, struct part *p, bool accepted)
{
    const struct held spent = w->decided;
    w->decided = p->held;
    p->held = spent;
    p->held.n = 0;
    arena_reset(&p->held.arena);
    w->decided_at = 0;
    w->accepted = accepted;
}

static bool jumps(const struct watermark *w, const struct part *p, int64_t time_ms)
{
    return p->time_ms != INT64_MIN && time_ms > p->time_ms && time_ms - p->time_ms > w->max_jump_ms;
}

static bool agrees(const struct watermark *w, const struct part *p, int64_t time_ms)
{
    const int64_t first = p->held.records[0].event.time_ms;
    return (time_ms > first ? time_ms - first : first - time_ms) <= w->max_jump_ms;
}

enum status watermark_take(struct watermark *w, const struct source_record *rec, bool *held, struct err *e)
{
    struct part *p;
    w->decided.n = 0;
    TRY(find(w, rec->at.topic, rec->at.partition, &p, e));
    *held = jumps(w, p, rec->event.time_ms);
    if (p->held.n > 0 && (!*held || !agrees(w, p, rec->event.time_ms))) decide(w, p, false); /* contradicted */
    p->idle = p->left = false;
    if (!*held) {
        move(w, p, rec->event.time_ms);
        return STATUS_OK;
    }
    TRY(hold(p, rec, e));
    if (p->held.n == HELD_MAX) decide(w, p, true);
    return STATUS_OK;
}

enum status watermark_decided(struct watermark *w, const struct source_record **out)
{
    struct part *p;
    if (w->decided_at >= w->decided.n) return STATUS_NOT_FOUND;
    struct source_record *rec = &w->decided.records[w->decided_at++];
    *out = rec;
    if (w->accepted) {
        if (find(w, rec->at.topic, rec->at.partition, &p, NULL) == STATUS_OK)
            move(w, p, rec->event.time_ms); /* it is there */
        return STATUS_OK;
    }
    rec->kind = SOURCE_REJECT;
    (void)reject_set(&rec->reject, REJECT_TIME_JUMP,
                     "time %lld lies more than ingest.max_jump_ms=%lld ahead, and no %d later events agreed",
                     (long long)rec->event.time_ms, (long long)w->max_jump_ms, WATERMARK_AGREE);
    return STATUS_OK;
}

void watermark_flush(struct watermark *w)
{
    w->decided.n = 0;
    for (size_t i = 0; i < w->n_parts; i++) {
        if (w->parts[i].held.n == 0) continue;
        decide(w, &w->parts[i], false);
        return;
    }
}

enum status watermark_idle(struct watermark *w, struct event_position at, struct err *e)
{
    struct part *p;
    TRY(find(w, at.topic, at.partition, &p, e));
    p->idle = true;
    update(w);
    return STATUS_OK;
}

enum status watermark_leave(struct watermark *w, struct event_position at, struct err *e)
{
    struct part *p = NULL;
    TRY(find(w, at.topic, at.partition, &p, e));
    p->left = true;
    update(w);
    return STATUS_OK;
}

void watermark_leave_all(struct watermark *w)
{
    for (size_t i = 0; i < w->n_parts; i++) w->parts[i].left = true;
}

int64_t watermark_ms(const struct watermark *w)
{
    return w->watermark_ms;
}

size_t watermark_held(const struct watermark *w)
{
    size_t n = 0;
    for (size_t i = 0; i < w->n_parts; i++) n += w->parts[i].held.n;
    return n;
}

static void encode_record(struct buf *b, const struct source_record *rec)
{
    buf_u64(b, rec->at.offset);
    event_encode(b, &rec->event);
    buf_str(b, rec->raw.topic);
    buf_str(b, rec->raw.key);
    buf_str(b, rec->raw.value);
    buf_str(b, rec->raw.headers);
}

void watermark_encode(struct buf *b, const struct watermark *w)
{
    buf_u8(b, MARK_FORMAT);
    buf_i64(b, w->watermark_ms);
    buf_varint(b, w->n_parts);
    for (size_t i = 0; i < w->n_parts; i++) {
        const struct part *p = &w->parts[i];
        buf_u32(b, p->topic);
        buf_u32(b, p->partition);
        buf_i64(b, p->time_ms);
        buf_u8(b, (uint8_t)((p->idle ? FLAG_IDLE : 0) | (p->left ? FLAG_LEFT : 0)));
        buf_varint(b, p->held.n);
        for (uint32_t k = 0; k < p->held.n; k++) encode_record(b, &p->held.records[k]);
    }
}

static enum status decode_record(struct part *p, struct buf_reader *r, struct err *e)
{
    struct arena scratch = {.block_bytes = HELD_BLOCK};
    struct source_record *rec = mem_calloc(1, sizeof *rec);
    enum status st = STATUS_OK;
    if (rec == NULL) return ERR_SET(e, STATUS_OOM, "watermark: no memory to hold an event");
    rec->kind = SOURCE_EVENT;
    rec->at = (struct event_position){p->topic, p->partition, buf_get_u64(r)};
    TRY_OUT(st, event_decode(&rec->event, r, &scratch, e));
    rec->event.at = rec->at;
    rec->raw.topic = buf_get_str(r);
    rec->raw.key = buf_get_str(r);
    rec->raw.value = buf_get_str(r);
    rec->raw.headers = buf_get_str(r);
    if (!r->bad) TRY_OUT(st, hold(p, rec, e));
out:
    arena_fini(&scratch);
    mem_free(rec);
    return st;
}

static enum status decode_part(struct watermark *w, struct buf_reader *r, struct err *e)
{
    struct part *p;
    const uint32_t topic = buf_get_u32(r), partition = buf_get_u32(r);
    TRY(find(w, topic, partition, &p, e));
    p->time_ms = buf_get_i64(r);
    const uint8_t flags = buf_get_u8(r);
    if (flags > (FLAG_IDLE | FLAG_LEFT))
        return ERR_SET(e, STATUS_CORRUPT, "watermark: a partition has flags %u", flags);
    p->idle = (flags & FLAG_IDLE) != 0;
    p->left = (flags & FLAG_LEFT) != 0;
    const size_t n = buf_get_count(r, 8);
    if (n >= HELD_MAX) return ERR_SET(e, STATUS_CORRUPT, "watermark: a partition holds %zu events", n);
    for (size_t i = 0; i < n; i++) TRY(decode_record(p, r, e));
    return STATUS_OK;
}

enum status watermark_decode(struct watermark *w, struct buf_reader *r, struct err *e)
{
    if (buf_get_u8(r) != MARK_FORMAT)
        return ERR_SET(e, STATUS_CORRUPT, "watermark: unknown format of the stored state");
    w->watermark_ms = buf_get_i64(r);
    const size_t n = buf_get_count(r, 18);
    for (size_t i = 0; i < n && !r->bad; i++) TRY(decode_part(w, r, e));
    return r->bad ? ERR_SET(e, STATUS_CORRUPT, "watermark: the stored state can't be read") : STATUS_OK;
}

/* slate_pack.c - slates as bytes, and back with every check.
 *
 * Sentences are packed without their hashes and offsets: both follow from the ids, so a decoded slate cannot disagree with
 * itself there.
 */
#include "base/hash.h"
#include "schemas/slate_private.h"
#include <math.h>

/* What 1 to 5 had not (see get_…_rest, get_ranks, get_copy) is 0, `examples` 1; all are still read. */
#define SLATE_FORMAT 6

/* ---- packing ---- */

static void put_item(struct buf *b, const struct slate_item *i)
{
    buf_str(b, i->id);
    buf_varint(b, i->sentence);
    buf_f32(b, i->label);
    buf_f32(b, i->weight);
    buf_f32(b, i->log_kq);
    buf_varint(b, i->flags);
    buf_f32(b, i->popularity);
    buf_f32(b, i->repeat);
    buf_f32(b, i->age_days);
    buf_f32(b, i->cooccur[0]);
    buf_f32(b, i->cooccur[1]);
    buf_f32(b, i->propensity);
    buf_varint(b, i->position);
    buf_varint(b, i->tasks);
    buf_u32(b, i->category);
    buf_f32(b, i->served);
    buf_f32(b, i->examples);
}

static void put_events(struct buf *b, const struct slate *s)
{
    buf_varint(b, s->n_events);
    for (uint32_t i = 0; i < s->n_events; i++) {
        const struct slate_event *ev = &s->events[i];
        buf_varint(b, ev->sentence);
        buf_u64(b, ev->item);
        buf_i64(b, ev->time_ms);
        buf_f32(b, ev->age_minutes);
        buf_u8(b, ev->type);
    }
}

static void put_features(struct buf *b, const struct slate *s)
{
    buf_varint(b, s->n_numeric);
    const size_t n = (size_t)s->n_items * s->n_numeric;
    for (size_t i = 0; i < n; i++) buf_f32(b, s->numeric[i]);
    buf_u8(b, s->hashed_off != NULL);
    if (s->hashed_off == NULL) return;
    for (uint32_t k = 0; k < s->n_items; k++) buf_varint(b, s->hashed_off[k + 1] - s->hashed_off[k]);
    const uint32_t n_hashed = s->hashed_off[s->n_items];
    for (uint32_t i = 0; i < n_hashed; i++) {
        buf_u32(b, s->hashed_idx[i]);
        buf_f32(b, s->hashed_val[i]);
    }
}

static void put_segments(struct buf *b, const struct slate *s)
{
    buf_u8(b, s->type);
    buf_varint(b, s->n_segments);
    const size_t n = (size_t)s->n_segments * s->n_items;
    for (size_t i = 0; i < n; i++) buf_varint(b, s->segments[i]);
}

static void put_ranks(struct buf *b, const struct slate *s)
{
    const size_t n = s->ranks != NULL ? (size_t)SLATE_RANKS * s->n_items : 0;
    buf_f32(b, s->spread);
    buf_u8(b, s->ranks != NULL);
    if (s->ranks != NULL) buf_varint(b, s->n_ranked);
    for (size_t i = 0; i < n; i++) buf_varint(b, s->ranks[i]);
}

static void put_copy(struct buf *b, const struct slate *s)
{
    buf_u8(b, (uint8_t)s->copy);
    for (uint32_t i = 0; s->copy > SLATE_EARLY && i < s->n_items; i++) buf_f32(b, s->items[i].apart);
}

void slate_encode(struct buf *b, const struct slate *s)
{
    buf_u8(b, SLATE_FORMAT);
    buf_varint(b, s->id);
    buf_u8(b, (uint8_t)s->source);
    buf_varint(b, s->at.topic);
    buf_varint(b, s->at.partition);
    buf_varint(b, s->at.offset);
    buf_i64(b, s->time_ms);
    buf_i64(b, s->settled_ms);
    buf_str(b, s->user);
    buf_str(b, s->request);
    buf_str(b, s->version);
    buf_str(b, s->variant);
    buf_u64(b, s->origin);
    buf_u8(b, s->cold_user);
    buf_varint(b, s->n_sentences);
    for (uint32_t i = 0; i < s->n_sentences; i++) {
        const struct slate_sentence *t = &s->sentences[i];
        buf_varint(b, t->n);
        for (uint32_t j = 0; j < t->n; j++) buf_varint(b, (uint32_t)s->tokens[t->first + j]);
    }
    put_events(b, s);
    buf_varint(b, s->n_items);
    for (uint32_t i = 0; i < s->n_items; i++) put_item(b, &s->items[i]);
    put_features(b, s);
    put_segments(b, s);
    put_ranks(b, s);
    put_copy(b, s);
}

/* ---- taking apart ---- */

static enum status oom(const struct slate *s, struct err *e)
{
    return ERR_SET(e, STATUS_OOM, "slate %llu: out of memory while decoding", (unsigned long long)s->id);
}

static enum status corrupt(const struct slate *s, struct err *e, const char *what)
{
    return ERR_SET(e, STATUS_CORRUPT, "slate %llu: %s; the record is damaged", (unsigned long long)s->id, what);
}

/* An optional string of at most EVENT_ID_MAX bytes, copied. */
static enum status get_id(struct slate *s, struct buf_reader *r, struct str *out, struct err *e)
{
    const struct str t = buf_get_str(r);
    *out = (struct str){NULL, 0};
    if (r->bad || t.n > EVENT_ID_MAX) return corrupt(s, e, "an id is cut off or too long");
    if (t.p == NULL) return STATUS_OK;
    *out = arena_str(s->arena, t);
    return out->p != NULL ? STATUS_OK : oom(s, e);
}

static enum status get_head(struct slate *s, struct buf_reader *r, uint8_t *format, struct err *e)
{
    *format = buf_get_u8(r);
    if (*format < 1 || *format > SLATE_FORMAT) return corrupt(s, e, "not a slate of format 1 to 6");
    s->id = buf_get_varint(r);
    const uint8_t source = buf_get_u8(r);
    const uint64_t topic = buf_get_varint(r), partition = buf_get_varint(r);
    s->at.offset = buf_get_varint(r);
    s->time_ms = buf_get_i64(r);
    s->settled_ms = buf_get_i64(r);
    if (r->bad || source >= SLATE_SOURCES || topic > UINT32_MAX || partition > UINT32_MAX)
        return corrupt(s, e, "its head is cut off or out of range");
    s->source = (enum slate_source)source;
    s->at.topic = (uint32_t)topic;
    s->at.partition = (uint32_t)partition;
    TRY(get_id(s, r, &s->user, e));
    TRY(get_id(s, r, &s->request, e));
    if (*format >= 2) TRY(get_id(s, r, &s->version, e));
    if (*format >= 2) TRY(get_id(s, r, &s->variant, e));
    if (*format >= 2) s->origin = buf_get_u64(r);
    const uint8_t cold = buf_get_u8(r);
    if (r->bad || cold > 1) return corrupt(s, e, "its head is cut off or out of range");
    s->cold_user = cold != 0;
    return STATUS_OK;
}

static enum status get_sentence(struct slate *s, struct buf_reader *r, struct err *e)
{
    struct slate_holder *h = slate_holder_of(s);
    const size_t n = buf_get_count(r, 1);
    if (r->bad) return corrupt(s, e, "a sentence is cut off");
    if (!slate_grow_tokens(h, (uint64_t)s->n_tokens + n)) return oom(s, e);
    int32_t *ids = n > 0 ? s->tokens + s->n_tokens : s->tokens; /* the first may be empty: then there is no block yet */
    for (size_t j = 0; j < n; j++) {
        const uint64_t id = buf_get_varint(r);
        if (r->bad || id > INT32_MAX) return corrupt(s, e, "a token id is cut off or out of range");
        ids[j] = (int32_t)id;
    }
    const uint64_t hash = slate_ids_hash(ids, (uint32_t)n);
    if (slate_find_sentence(h, ids, (uint32_t)n, hash) != SLATE_NO_INDEX)
        return corrupt(s, e, "the same sentence twice");
    s->sentences[s->n_sentences] = (struct slate_sentence){.hash = hash, .first = s->n_tokens, .n = (uint32_t)n};
    s->n_tokens += (uint32_t)n;
    slate_index_put(h, s->n_sentences++);
    return STATUS_OK;
}

static enum status get_sentences(struct slate *s, struct buf_reader *r, struct err *e)
{
    const size_t n = buf_get_count(r, 1);
    if (r->bad || n >= SLATE_NO_INDEX) return corrupt(s, e, "its sentences are cut off");
    if (n > 0 && !slate_grow_sentences(slate_holder_of(s), (uint32_t)n)) return oom(s, e);
    for (size_t i = 0; i < n; i++) TRY(get_sentence(s, r, e));
    return STATUS_OK;
}

static enum status get_events(struct slate *s, struct buf_reader *r, struct err *e)
{
    const size_t n = buf_get_count(r, 22);
    if (r->bad || n > UINT32_MAX) return corrupt(s, e, "its events are cut off");
    s->events = arena_alloc(s->arena, n, sizeof *s->events);
    if (s->events == NULL) return oom(s, e);
    for (size_t i = 0; i < n; i++) {
        struct slate_event *ev = &s->events[i];
        const uint64_t sentence = buf_get_varint(r);
        ev->item = buf_get_u64(r);
        ev->time_ms = buf_get_i64(r);
        ev->age_minutes = buf_get_f32(r);
        ev->type = buf_get_u8(r);
        if (r->bad || sentence >= s->n_sentences || ev->type >= EVENT_TYPES_MAX || !isfinite(ev->age_minutes) ||
            ev->age_minutes < 0)
            return corrupt(s, e, "an event is cut off or out of range");
        ev->sentence = (uint32_t)sentence;
    }
    s->n_events = (uint32_t)n;
    return STATUS_OK;
}

static bool item_valid(const struct slate_item *i)
{
    const bool label = isnan(i->label) || i->label == 0.0f || i->label == 1.0f;
    const bool numbers = isfinite(i->weight) && isfinite(i->log_kq) && isfinite(i->popularity) && isfinite(i->repeat) &&
                         isfinite(i->age_days) && isfinite(i->cooccur[0]) && isfinite(i->cooccur[1]) &&
                         isfinite(i->examples) && i->examples >= 0;
    const bool propensity = i->propensity >= 0 && i->propensity <= 1, served = i->served >= 0 && i->served <= 1;
    return label && numbers && propensity && served && i->weight >= 0 && i->id.p != NULL;
}

/* What formats 2 to 4 added. */
static void get_item_rest(struct buf_reader *r, uint8_t format, struct slate_item *i)
{
    i->cooccur[0] = buf_get_f32(r);
    i->cooccur[1] = buf_get_f32(r);
    i->propensity = buf_get_f32(r);
    i->position = (uint32_t)buf_get_varint(r);
    i->tasks = (uint32_t)buf_get_varint(r);
    if (format < 3) return;
    i->category = buf_get_u32(r);
    i->served = buf_get_f32(r);
    if (format >= 4) i->examples = buf_get_f32(r);
}

static enum status get_item(struct slate *s, struct buf_reader *r, uint8_t format, struct slate_item *i, struct err *e)
{
    const uint32_t known = SLATE_ITEM_KNOWN | SLATE_ITEM_COLD | SLATE_ITEM_FIRST_TIME | SLATE_ITEM_SAMPLED;
    TRY(get_id(s, r, &i->id, e));
    i->item = hash_str(i->id);
    const uint64_t sentence = buf_get_varint(r);
    i->label = buf_get_f32(r);
    i->weight = buf_get_f32(r);
    i->log_kq = buf_get_f32(r);
    const uint64_t flags = buf_get_varint(r);
    i->popularity = buf_get_f32(r);
    i->repeat = buf_get_f32(r);
    i->age_days = buf_get_f32(r);
    i->examples = 1;
    i->taught = i->apart = 0;
    if (format >= 2) get_item_rest(r, format, i);
    if (r->bad || sentence >= s->n_sentences || flags > known || !item_valid(i))
        return corrupt(s, e, "an item is cut off or out of range");
    i->sentence = (uint32_t)sentence;
    i->flags = (uint32_t)flags;
    return STATUS_OK;
}

static enum status get_items(struct slate *s, struct buf_reader *r, uint8_t format, struct err *e)
{
    const size_t n = buf_get_count(r, 28);
    if (r->bad || n >= UINT32_MAX) return corrupt(s, e, "its items are cut off");
    s->items = arena_alloc(s->arena, n, sizeof *s->items);
    if (s->items == NULL) return oom(s, e);
    for (size_t i = 0; i < n; i++) TRY(get_item(s, r, format, &s->items[i], e));
    s->n_items = (uint32_t)n;
    return STATUS_OK;
}

static enum status get_numeric(struct slate *s, struct buf_reader *r, struct err *e)
{
    const uint64_t f = buf_get_varint(r);
    if (r->bad || f > UINT32_MAX || (s->n_items > 0 && f > buf_left(r) / 4 / s->n_items))
        return corrupt(s, e, "its numeric features are cut off");
    const size_t n = (size_t)f * s->n_items;
    s->numeric = arena_aligned(s->arena, n, sizeof *s->numeric);
    if (s->numeric == NULL) return oom(s, e);
    for (size_t i = 0; i < n; i++) {
        s->numeric[i] = buf_get_f32(r);
        if (!isfinite(s->numeric[i])) return corrupt(s, e, "a numeric feature is not finite");
    }
    s->n_numeric = (uint32_t)f;
    return STATUS_OK;
}

static enum status get_hashed(struct slate *s, struct buf_reader *r, struct err *e)
{
    const uint8_t has = buf_get_u8(r);
    if (r->bad || has > 1) return corrupt(s, e, "its hashed features are cut off");
    if (has == 0) return STATUS_OK;
    s->hashed_off = arena_alloc(s->arena, (size_t)s->n_items + 1, sizeof *s->hashed_off);
    if (s->hashed_off == NULL) return oom(s, e);
    for (uint32_t k = 0; k < s->n_items; k++) {
        const uint64_t n = buf_get_varint(r);
        const uint64_t sum = s->hashed_off[k] + n;
        if (r->bad || n > UINT32_MAX || sum > buf_left(r) / 8 || sum > UINT32_MAX)
            return corrupt(s, e, "its hashed features are cut off");
        s->hashed_off[k + 1] = (uint32_t)sum;
    }
    const uint32_t n = s->hashed_off[s->n_items];
    s->hashed_idx = arena_alloc(s->arena, n, sizeof *s->hashed_idx);
    s->hashed_val = arena_alloc(s->arena, n, sizeof *s->hashed_val);
    if (s->hashed_idx == NULL || s->hashed_val == NULL) return oom(s, e);
    for (uint32_t i = 0; i < n; i++) {
        s->hashed_idx[i] = buf_get_u32(r);
        s->hashed_val[i] = buf_get_f32(r);
        if (r->bad || !isfinite(s->hashed_val[i])) return corrupt(s, e, "a hashed feature is cut off or not finite");
    }
    return STATUS_OK;
}

/* What format 3 added at the end. */
static enum status get_segments(struct slate *s, struct buf_reader *r, uint8_t format, struct err *e)
{
    s->type = s->source == SLATE_ORGANIC ? EVENT_PURCHASE : EVENT_TYPES_MAX;
    if (format < 3) return STATUS_OK;
    s->type = buf_get_u8(r);
    const uint64_t n = buf_get_varint(r), most = buf_left(r);
    if (r->bad || s->type > EVENT_TYPES_MAX || n > SLATE_SEGMENTS_MAX || n * s->n_items > most)
        return corrupt(s, e, "its segments are cut off or out of range");
    s->segments = arena_alloc(s->arena, (size_t)n * s->n_items, sizeof *s->segments);
    if (s->segments == NULL) return oom(s, e);
    for (size_t i = 0; i < n * s->n_items; i++) {
        const uint64_t v = buf_get_varint(r);
        if (r->bad || v > UINT16_MAX) return corrupt(s, e, "a segment is cut off or out of range");
        s->segments[i] = (uint16_t)v;
    }
    s->n_segments = (uint32_t)n;
    return STATUS_OK;
}

/* What format 5 added after it. */
static enum status get_ranks(struct slate *s, struct buf_reader *r, struct err *e)
{
    s->spread = buf_get_f32(r);
    const uint8_t has = buf_get_u8(r);
    if (r->bad || has > 1 || isinf(s->spread)) return corrupt(s, e, "its ranks are cut off");
    if (has == 0) return STATUS_OK;
    const uint64_t n_ranked = buf_get_varint(r);
    const size_t n = (size_t)SLATE_RANKS * s->n_items;
    if (r->bad || n_ranked > UINT32_MAX || n > buf_left(r)) return corrupt(s, e, "its ranks are cut off");
    s->ranks = arena_alloc(s->arena, n, sizeof *s->ranks);
    if (s->ranks == NULL) return oom(s, e);
    for (size_t i = 0; i < n; i++) {
        const uint64_t v = buf_get_varint(r);
        if (r->bad || v > UINT32_MAX) return corrupt(s, e, "a rank is cut off or out of range");
        s->ranks[i] = (uint32_t)v;
    }
    s->n_ranked = (uint32_t)n_ranked;
    return STATUS_OK;
}

/* What format 6 added after that. */
static enum status get_copy(struct slate *s, struct buf_reader *r, struct err *e)
{
    const uint8_t copy = buf_get_u8(r);
    if (r->bad || copy >= SLATE_COPIES) return corrupt(s, e, "it does not say what is learnt of it");
    s->copy = (enum slate_copy)copy;
    for (uint32_t i = 0; copy > SLATE_EARLY && i < s->n_items; i++) {
        s->items[i].apart = buf_get_f32(r);
        if (r->bad || !isfinite(s->items[i].apart)) return corrupt(s, e, "a logit is cut off or not finite");
    }
    return STATUS_OK;
}

enum status slate_decode(struct slate *s, struct buf_reader *r, struct err *e)
{
    enum status st;
    uint8_t format;
    slate_reset(s);
    TRY_OUT(st, get_head(s, r, &format, e));
    TRY_OUT(st, get_sentences(s, r, e));
    TRY_OUT(st, get_events(s, r, e));
    TRY_OUT(st, get_items(s, r, format, e));
    TRY_OUT(st, get_numeric(s, r, e));
    TRY_OUT(st, get_hashed(s, r, e));
    TRY_OUT(st, get_segments(s, r, format, e));
    s->spread = NAN;
    if (format >= 5) TRY_OUT(st, get_ranks(s, r, e));
    if (format >= 6) TRY_OUT(st, get_copy(s, r, e));
out:
    if (st != STATUS_OK) slate_reset(s);
    return st;
}

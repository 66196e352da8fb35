/* record_decode.c - packed users, items and sentence states back into structs, with every field checked.
 *
 * Bytes come from the store or from Redis, so nothing is believed: counts are bounded by the bytes that are left,
 * numbers must be finite where the header allows no NaN, and whatever was built is freed again on any failure.
 */
#include "base/hash.h"
#include "schemas/event.h"
#include "schemas/record.h"
#include <math.h>

#define STATE_WIDTH_MAX 65536

/* One decoding: what it reads, where it complains. */
struct taking {
    struct buf_reader *r;
    struct err *e;
    const char *what; /* "user record" */
    const unsigned char *start;
    struct arena *scratch;
    uint8_t format;
};

static struct taking begin(struct buf_reader *r, struct arena *scratch, struct err *e, const char *what)
{
    return (struct taking){.r = r, .e = e, .what = what, .start = r->p, .scratch = scratch};
}

static enum status corrupt(const struct taking *t, const char *why)
{
    return ERR_SET(t->e, STATUS_CORRUPT, "%s: %s; the record is damaged", t->what, why);
}

static enum status oom(const struct taking *t)
{
    return ERR_SET(t->e, STATUS_OOM, "%s: out of memory while decoding", t->what);
}

static enum status get_text(const struct taking *t, size_t max, struct str *out)
{
    const struct str s = buf_get_str(t->r);
    if (t->r->bad || s.n > max) return corrupt(t, "a string is cut off or too long");
    if (s.p == NULL) return STATUS_OK;
    const struct str copy = record_part_text(t->scratch, s);
    if (copy.p == NULL) return oom(t);
    *out = copy;
    return STATUS_OK;
}

static enum status get_count(const struct taking *t, size_t least, size_t max, const char *of, size_t *n)
{
    *n = buf_get_count(t->r, least);
    if (!t->r->bad && *n <= max) return STATUS_OK;
    return ERR_SET(t->e, STATUS_CORRUPT, "%s: its %s are cut off or too many; the record is damaged", t->what, of);
}

static enum status get_id(const struct taking *t, struct str *id)
{
    TRY(get_text(t, EVENT_ID_MAX, id));
    return str_has(*id) ? STATUS_OK : corrupt(t, "it has no id");
}

static enum status get_format(struct taking *t)
{
    t->format = buf_get_u8(t->r);
    if (t->r->bad) return corrupt(t, "it is empty");
    if (t->format != RECORD_FORMAT && t->format != RECORD_FORMAT_ALONE && t->format != RECORD_FORMAT_UNCHECKED)
        return ERR_SET(t->e, STATUS_CORRUPT, "%s: format %u, expected %d; written by another version of freshet",
                       t->what, t->format, RECORD_FORMAT);
    return STATUS_OK;
}

/* After the last field: the bytes read so far must be the ones that were written. */
static enum status get_check(const struct taking *t)
{
    if (t->format == RECORD_FORMAT_UNCHECKED) return STATUS_OK;
    const uint64_t want = hash_bytes(t->start, (size_t)(t->r->p - t->start)), check = buf_get_u64(t->r);
    return !t->r->bad && check == want ? STATUS_OK : corrupt(t, "its check fails");
}

static enum status get_attrs(const struct taking *t, struct record_attr **attrs, uint32_t *n_attrs)
{
    size_t n;
    TRY(get_count(t, 10, EVENT_ATTRS_MAX, "attributes", &n));
    if (n == 0) return STATUS_OK;
    *attrs = record_part(t->scratch, n, sizeof **attrs);
    if (*attrs == NULL) return oom(t);
    *n_attrs = (uint32_t)n;
    for (size_t i = 0; i < n; i++) {
        TRY(get_text(t, EVENT_TEXT_MAX, &(*attrs)[i].name));
        TRY(get_text(t, (size_t)EVENT_LIST_MAX * (EVENT_TEXT_MAX + 1), &(*attrs)[i].text));
        const double number = buf_get_f64(t->r);
        if (t->r->bad || isinf(number) || !str_has((*attrs)[i].name))
            return corrupt(t, "an attribute is cut off or out of range");
        (*attrs)[i].number = number;
    }
    return STATUS_OK;
}

static enum status get_tally(const struct taking *t, struct record_tally *tally, uint64_t *seen)
{
    tally->type = buf_get_u8(t->r);
    tally->time_ms = buf_get_i64(t->r);
    tally->total = buf_get_f64(t->r);
    bool finite = isfinite(tally->total);
    for (int h = 0; h < RECORD_HALF_LIVES; h++) {
        tally->decayed[h] = buf_get_f64(t->r);
        finite = finite && isfinite(tally->decayed[h]);
    }
    if (t->r->bad || !finite || tally->type >= RECORD_TALLY_TYPES || (*seen >> tally->type & 1) != 0)
        return corrupt(t, "a count is cut off, not finite or there twice");
    *seen |= UINT64_C(1) << tally->type;
    return STATUS_OK;
}

static enum status get_tallies(const struct taking *t, struct record_tally **tallies, uint32_t *n_tallies)
{
    size_t n;
    uint64_t seen = 0;
    TRY(get_count(t, 17 + 8 * RECORD_HALF_LIVES, RECORD_TALLY_TYPES, "counts", &n));
    if (n == 0) return STATUS_OK;
    *tallies = record_part(t->scratch, n, sizeof **tallies);
    if (*tallies == NULL) return oom(t);
    *n_tallies = (uint32_t)n;
    for (size_t i = 0; i < n; i++) TRY(get_tally(t, &(*tallies)[i], &seen));
    return STATUS_OK;
}

static enum status get_ids(const struct taking *t, int32_t **ids, uint16_t *n_ids, uint64_t *hash)
{
    size_t n;
    TRY(get_count(t, 1, UINT16_MAX, "token ids", &n));
    if (n == 0) return STATUS_OK;
    *ids = record_part(t->scratch, n, sizeof **ids);
    if (*ids == NULL) return oom(t);
    for (size_t i = 0; i < n; i++) {
        const uint64_t id = buf_get_varint(t->r);
        if (t->r->bad || id > INT32_MAX) return corrupt(t, "a token id is cut off or out of range");
        (*ids)[i] = (int32_t)id;
    }
    *n_ids = (uint16_t)n;
    *hash = hash_bytes(*ids, n * sizeof **ids);
    return STATUS_OK;
}

static enum status get_event(const struct taking *t, struct record_event *ev)
{
    ev->item = buf_get_u64(t->r);
    ev->time_ms = buf_get_i64(t->r);
    TRY(get_ids(t, &ev->ids, &ev->n_ids, &ev->sentence));
    ev->type = buf_get_u8(t->r);
    ev->price = buf_get_f32(t->r);
    ev->category = buf_get_u64(t->r);
    ev->brand = buf_get_u64(t->r);
    TRY(get_text(t, EVENT_TEXT_MAX, &ev->words));
    if (ev->type >= EVENT_TYPES_MAX || isinf(ev->price)) return corrupt(t, "an event is out of range");
    return STATUS_OK;
}

static enum status get_events(const struct taking *t, struct record_user *u)
{
    size_t n;
    TRY(get_count(t, 39, UINT32_MAX / 2, "events", &n));
    if (n == 0) return STATUS_OK;
    u->events = record_part(t->scratch, n, sizeof *u->events);
    if (u->events == NULL) return oom(t);
    u->n_events = u->cap_events = (uint32_t)n;
    for (size_t i = 0; i < n; i++) TRY(get_event(t, &u->events[i]));
    return STATUS_OK;
}

static bool pair_before(const struct record_pair *a, const struct record_pair *b)
{
    return a->item < b->item || (a->item == b->item && a->type < b->type);
}

static enum status get_pairs(const struct taking *t, struct record_user *u)
{
    size_t n;
    TRY(get_count(t, 18, UINT32_MAX / 2, "pairs", &n));
    if (n == 0) return STATUS_OK;
    u->pairs = record_part(t->scratch, n, sizeof *u->pairs);
    if (u->pairs == NULL) return oom(t);
    u->n_pairs = u->cap_pairs = (uint32_t)n;
    for (size_t i = 0; i < n; i++) {
        struct record_pair *p = &u->pairs[i];
        p->item = buf_get_u64(t->r);
        p->last_ms = buf_get_i64(t->r);
        const uint64_t count = buf_get_varint(t->r);
        p->type = buf_get_u8(t->r);
        if (t->r->bad || count > UINT32_MAX || p->type >= EVENT_TYPES_MAX || (i > 0 && !pair_before(p - 1, p)))
            return corrupt(t, "a pair is cut off, out of range or out of order");
        p->count = (uint32_t)count;
    }
    return STATUS_OK;
}

static enum status get_user(struct taking *t, struct record_user *u)
{
    TRY(get_format(t));
    TRY(get_id(t, &u->id));
    u->first_ms = buf_get_i64(t->r);
    u->last_ms = buf_get_i64(t->r);
    const uint64_t n_slates = buf_get_varint(t->r);
    u->price_sum = buf_get_f64(t->r);
    u->price_n = buf_get_f64(t->r);
    if (t->r->bad || n_slates > UINT32_MAX || !isfinite(u->price_sum) || !isfinite(u->price_n))
        return corrupt(t, "its head is cut off or out of range");
    u->n_slates = (uint32_t)n_slates;
    TRY(get_attrs(t, &u->attrs, &u->n_attrs));
    TRY(get_tallies(t, &u->tallies, &u->n_tallies));
    TRY(get_events(t, u));
    return get_pairs(t, u);
}

enum status record_user_decode(struct record_user *u, struct buf_reader *r, struct err *e)
{
    struct taking t = begin(r, u->scratch, e, "user record");
    enum status st = get_user(&t, u);
    if (st == STATUS_OK) st = get_check(&t);
    if (st != STATUS_OK) record_user_fini(u);
    return st;
}

bool record_rate_valid(const struct record_rate *r)
{
    return isfinite(r->shown) && isfinite(r->taken) && r->shown >= 0 && r->taken >= 0;
}

static enum status get_rates(const struct taking *t, struct record_item *i)
{
    const uint8_t there = buf_get_u8(t->r);
    if (there >> RECORD_RATES != 0) return corrupt(t, "its rates are out of range");
    for (int k = 0; k < RECORD_RATES; k++) {
        struct record_rate *r = &i->rates[k];
        if ((there >> k & 1) == 0) continue;
        r->time_ms = buf_get_i64(t->r);
        r->shown = buf_get_f32(t->r);
        r->taken = buf_get_f32(t->r);
        if (t->r->bad || !record_rate_valid(r) || !(r->shown > 0))
            return corrupt(t, "a rate is cut off or out of range");
    }
    return STATUS_OK;
}

static bool counts_right(const struct record_neighbour *n)
{
    return isfinite(n->together + n->orders + n->chances) && n->together >= 0 && n->orders >= 0 && n->chances >= 0;
}

static enum status get_neighbours(const struct taking *t, struct record_item *i)
{
    size_t n;
    i->orders_ms = buf_get_i64(t->r);
    i->orders = buf_get_f64(t->r);
    TRY(get_count(t, 16, RECORD_NEIGHBOURS_MAX, "neighbours", &n));
    if (!isfinite(i->orders) || i->orders < 0) return corrupt(t, "its count of orders is out of range");
    if (n == 0) return STATUS_OK;
    i->neighbours = record_part(t->scratch, n, sizeof *i->neighbours);
    if (i->neighbours == NULL) return oom(t);
    i->n_neighbours = (uint32_t)n;
    for (size_t k = 0; k < n; k++) {
        struct record_neighbour *x = &i->neighbours[k];
        x->item = buf_get_u32(t->r);
        x->together = buf_get_f32(t->r);
        x->orders = buf_get_f32(t->r);
        x->chances = buf_get_f32(t->r);
        if (!counts_right(x) || (k > 0 && x[-1].item >= x->item))
            return corrupt(t, "a neighbour is out of range or out of order");
    }
    return STATUS_OK;
}

static enum status get_item(struct taking *t, struct record_item *i)
{
    TRY(get_format(t));
    TRY(get_id(t, &i->id));
    i->hash = hash_str(i->id);
    const uint64_t row = buf_get_varint(t->r);
    i->first_ms = buf_get_i64(t->r);
    i->last_ms = buf_get_i64(t->r);
    const uint8_t flags = buf_get_u8(t->r);
    if (t->r->bad || row > UINT32_MAX || flags > 3) return corrupt(t, "its head is cut off or out of range");
    i->row = (uint32_t)row;
    i->announced = (flags & 1) != 0;
    i->deleted = (flags & 2) != 0;
    TRY(get_attrs(t, &i->attrs, &i->n_attrs));
    TRY(get_tallies(t, &i->tallies, &i->n_tallies));
    i->positives = buf_get_varint(t->r);
    const uint64_t weight = buf_get_varint(t->r);
    TRY(get_ids(t, &i->ids, &i->n_ids, &i->sentence));
    i->category = buf_get_u64(t->r);
    i->brand = buf_get_u64(t->r);
    i->price = buf_get_f32(t->r);
    if (t->r->bad || weight > UINT32_MAX || isinf(i->price)) return corrupt(t, "its end is cut off or out of range");
    i->sample_weight = (uint32_t)weight;
    if (t->format <= RECORD_FORMAT_ALONE) return STATUS_OK;
    TRY(get_rates(t, i));
    return get_neighbours(t, i);
}

enum status record_item_decode(struct record_item *i, struct buf_reader *r, struct err *e)
{
    struct taking t = begin(r, i->scratch, e, "item record");
    enum status st = get_item(&t, i);
    if (st == STATUS_OK) st = get_check(&t);
    if (st != STATUS_OK) record_item_fini(i);
    return st;
}

enum status record_state_decode(struct record_state *s, struct buf_reader *r, struct err *e)
{
    struct taking t = begin(r, NULL, e, "sentence state");
    *s = (struct record_state){0};
    TRY(get_format(&t));
    const uint8_t zero = buf_get_u8(r);
    const uint32_t width = buf_get_u32(r), n_tokens = buf_get_u32(r);
    if (r->bad || zero != 0 || width == 0 || width > STATE_WIDTH_MAX)
        return corrupt(&t, "its head is cut off or out of range");
    const size_t row = (size_t)width * sizeof(uint16_t);
    if (buf_left(r) / row < (size_t)n_tokens + 2) return corrupt(&t, "its vectors are cut off");
    const uint16_t *pooled = buf_get(r, row), *final = buf_get(r, row),
                   *tokens = n_tokens > 0 ? buf_get(r, row * n_tokens) : NULL;
    TRY(get_check(&t));
    *s = (struct record_state){n_tokens, width, pooled, final, tokens};
    return STATUS_OK;
}

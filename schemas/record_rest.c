/* record_rest.c - a user's record at rest: one block of a learner's table, half the size of the struct with its parts.
 *
 * Not a stored format: it lives and dies with the process.  Counts and pairs are read where they lie; events and attributes
 * are unfolded when the record is opened.  Token ids take two bytes where all of a record's fit.
 */
#include "schemas/record.h"
#include <string.h>

struct rest_head {
    int64_t first_ms, last_ms;
    double price_sum, price_n;
    uint32_t n_slates, n_events, n_pairs, n_ids, n_attrs, n_tallies, id_bytes;
    uint32_t wide; /* ids take four bytes */
};
struct rest_event {
    uint64_t item, sentence, category, brand;
    int64_t time_ms;
    float price;
    uint16_t n_ids;
    uint8_t type, has_words; /* words: a 16-bit length and the bytes, after the ids of all */
};
#define ABSENT UINT32_MAX /* in place of a length: no text, not even an empty one */
struct rest_attr {
    double number;
    uint32_t name_bytes, text_bytes;
};
_Static_assert(EVENT_TEXT_MAX <= UINT16_MAX, "words have a 16-bit length");

/* Where the parts of a block begin; ids come last of what is aligned, then the id, words and the attributes' texts. */
struct rest_parts {
    struct record_tally *tallies;
    struct record_pair *pairs;
    struct rest_event *events;
    struct rest_attr *attrs;
    unsigned char *ids, *text;
};

static struct rest_parts parts_of(void *block, const struct rest_head *h)
{
    struct rest_parts p;
    p.tallies = (void *)((unsigned char *)block + sizeof *h);
    p.pairs = (void *)(p.tallies + h->n_tallies);
    p.events = (void *)(p.pairs + h->n_pairs);
    p.attrs = (void *)(p.events + h->n_events);
    p.ids = (void *)(p.attrs + h->n_attrs);
    p.text = p.ids + (size_t)h->n_ids * (h->wide ? sizeof(int32_t) : sizeof(uint16_t));
    return p;
}

static struct rest_head head_of(const struct record_user *u, size_t *text_bytes)
{
    struct rest_head h = {u->first_ms, u->last_ms, u->price_sum, u->price_n,   u->n_slates,       u->n_events,
                          u->n_pairs,  0,          u->n_attrs,   u->n_tallies, (uint32_t)u->id.n, 0};
    uint32_t high = 0;
    *text_bytes = u->id.n + 1;
    for (uint32_t i = 0; i < u->n_events; i++) {
        const struct record_event *ev = &u->events[i];
        for (uint16_t t = 0; t < ev->n_ids; t++) high |= (uint32_t)ev->ids[t];
        h.n_ids += ev->n_ids;
        *text_bytes += ev->words.p != NULL ? ev->words.n + sizeof(uint16_t) : 0;
    }
    for (uint32_t i = 0; i < u->n_attrs; i++) *text_bytes += u->attrs[i].name.n + u->attrs[i].text.n + 2;
    h.wide = high > UINT16_MAX;
    return h;
}

size_t record_user_rest_bytes(const struct record_user *u)
{
    size_t text;
    const struct rest_head h = head_of(u, &text);
    return sizeof h + h.n_tallies * sizeof(struct record_tally) + h.n_pairs * sizeof(struct record_pair) +
           h.n_events * sizeof(struct rest_event) + h.n_attrs * sizeof(struct rest_attr) +
           (size_t)h.n_ids * (h.wide ? sizeof(int32_t) : sizeof(uint16_t)) + text;
}

static unsigned char *put_bytes(unsigned char *to, const void *p, size_t n)
{
    if (n > 0) memcpy(to, p, n);
    return to + n;
}

static unsigned char *put_text(unsigned char *to, struct str s)
{
    if (s.p == NULL) return to;
    to = put_bytes(to, s.p, s.n);
    *to = 0;
    return to + 1;
}

static unsigned char *put_ids(unsigned char *to, const struct record_event *ev, bool wide)
{
    if (wide) return put_bytes(to, ev->ids, ev->n_ids * sizeof *ev->ids);
    for (uint16_t t = 0; t < ev->n_ids; t++) {
        const uint16_t id = (uint16_t)ev->ids[t];
        memcpy(to + t * sizeof id, &id, sizeof id);
    }
    return to + ev->n_ids * sizeof(uint16_t);
}

static void put_events(struct rest_parts *p, const struct record_user *u, bool wide)
{
    for (uint32_t i = 0; i < u->n_events; i++) {
        const struct record_event *ev = &u->events[i];
        p->events[i] = (struct rest_event){ev->item,  ev->sentence, ev->category, ev->brand,          ev->time_ms,
                                           ev->price, ev->n_ids,    ev->type,     ev->words.p != NULL};
        p->ids = put_ids(p->ids, ev, wide);
        if (ev->words.p == NULL) continue;
        const uint16_t n = (uint16_t)ev->words.n;
        p->text = put_bytes(put_bytes(p->text, &n, sizeof n), ev->words.p, n);
    }
}

size_t record_user_rest(void *block, const struct record_user *u)
{
    size_t text;
    const struct rest_head h = head_of(u, &text);
    struct rest_parts p = parts_of(block, &h);
    put_bytes(block, &h, sizeof h);
    put_bytes((void *)p.tallies, u->tallies, u->n_tallies * sizeof *u->tallies);
    put_bytes((void *)p.pairs, u->pairs, u->n_pairs * sizeof *u->pairs);
    p.text = put_text(p.text, u->id);
    put_events(&p, u, h.wide);
    for (uint32_t i = 0; i < u->n_attrs; i++) {
        const struct record_attr *a = &u->attrs[i];
        p.attrs[i] = (struct rest_attr){a->number, (uint32_t)a->name.n, a->text.p ? (uint32_t)a->text.n : ABSENT};
        p.text = put_text(put_text(p.text, a->name), a->text);
    }
    return (size_t)(p.text - (unsigned char *)block);
}

static int32_t *get_ids(int32_t *to, const struct rest_parts *p, uint32_t n, bool wide)
{
    if (wide)
        memcpy(to, p->ids, n * sizeof *to);
    else
        for (uint32_t t = 0; t < n; t++) {
            uint16_t id;
            memcpy(&id, p->ids + t * sizeof id, sizeof id);
            to[t] = id;
        }
    return to;
}

static void get_events(struct record_user *u, struct rest_parts *p, int32_t *ids)
{
    for (uint32_t i = 0; i < u->n_events; i++) {
        const struct rest_event *ev = &p->events[i];
        u->events[i] = (struct record_event){.item = ev->item,
                                             .time_ms = ev->time_ms,
                                             .sentence = ev->sentence,
                                             .ids = ev->n_ids > 0 ? ids : NULL,
                                             .n_ids = ev->n_ids,
                                             .type = ev->type,
                                             .price = ev->price,
                                             .category = ev->category,
                                             .brand = ev->brand};
        ids += ev->n_ids;
        if (!ev->has_words) continue;
        uint16_t n;
        memcpy(&n, p->text, sizeof n);
        u->events[i].words = (struct str){(char *)p->text + sizeof n, n};
        p->text += sizeof n + n;
    }
}

static struct str get_text(struct rest_parts *p, uint32_t n)
{
    const struct str s = {n != ABSENT ? (char *)p->text : NULL, n != ABSENT ? n : 0};
    p->text += n != ABSENT ? n + 1 : 0;
    return s;
}

struct str record_user_rest_id(void *block)
{
    struct rest_head h;
    memcpy(&h, block, sizeof h);
    struct rest_parts p = parts_of(block, &h);
    return get_text(&p, h.id_bytes);
}

static void get_head(struct record_user *u, const struct rest_head *h, const struct rest_parts *p)
{
    *u = (struct record_user){.scratch = u->scratch,
                              .first_ms = h->first_ms,
                              .last_ms = h->last_ms,
                              .n_slates = h->n_slates,
                              .price_sum = h->price_sum,
                              .price_n = h->price_n,
                              .tallies = p->tallies,
                              .n_tallies = h->n_tallies,
                              .n_events = h->n_events,
                              .cap_events = h->n_events,
                              .pairs = p->pairs,
                              .n_pairs = h->n_pairs,
                              .cap_pairs = h->n_pairs,
                              .n_attrs = h->n_attrs};
}

bool record_user_open(struct record_user *u, void *block)
{
    struct rest_head h;
    memcpy(&h, block, sizeof h);
    struct rest_parts p = parts_of(block, &h);
    struct record_event *events = arena_raw(u->scratch, h.n_events, sizeof *events);
    struct record_attr *attrs = arena_raw(u->scratch, h.n_attrs, sizeof *attrs);
    int32_t *ids = arena_raw(u->scratch, h.n_ids, sizeof *ids);
    if (events == NULL || attrs == NULL || ids == NULL) return false;
    get_head(u, &h, &p);
    u->events = events;
    u->attrs = attrs;
    u->id = get_text(&p, h.id_bytes);
    get_events(u, &p, get_ids(ids, &p, h.n_ids, h.wide));
    for (uint32_t i = 0; i < h.n_attrs; i++) {
        attrs[i].number = p.attrs[i].number;
        attrs[i].name = get_text(&p, p.attrs[i].name_bytes);
        attrs[i].text = get_text(&p, p.attrs[i].text_bytes);
    }
    return true;
}

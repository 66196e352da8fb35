/* record.c - what both records share, and the packing of users, items and sentence states.
 *
 * Order of bytes: format, the fields as in the header, XXH3-64.  Hashes that follow from the content (an item's own hash,
 * a sentence's hash) are not packed but computed again.  Taking apart lies in record_decode.c.
 */
#include "schemas/record.h"
#include "base/hash.h"
#include "base/mem.h"
#include <string.h>

void *record_part(struct arena *scratch, size_t n, size_t size)
{
    return scratch != NULL ? arena_alloc(scratch, n, size) : mem_calloc(n, size);
}

void *record_part_grow(struct arena *scratch, void *p, size_t n_old, size_t n, size_t size)
{
    if (scratch == NULL) return mem_realloc(p, n, size);
    void *q = arena_alloc(scratch, n, size);
    if (q != NULL && n_old > 0) memcpy(q, p, n_old * size);
    return q;
}

void record_part_drop(struct arena *scratch, void *p)
{
    if (scratch == NULL) mem_free(p);
}

struct str record_part_text(struct arena *scratch, struct str s)
{
    return scratch != NULL ? arena_str(scratch, s) : (struct str){mem_strndup(s.p, s.n), s.n};
}

static void str_free(struct str *s)
{
    mem_free((void *)s->p);
    *s = (struct str){NULL, 0};
}

static void attrs_free(struct record_attr *attrs, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        str_free(&attrs[i].name);
        str_free(&attrs[i].text);
    }
    mem_free(attrs);
}

void record_user_fini(struct record_user *u)
{
    if (u->scratch != NULL) {
        *u = (struct record_user){.scratch = u->scratch};
        return;
    }
    str_free(&u->id);
    attrs_free(u->attrs, u->n_attrs);
    mem_free(u->tallies);
    for (uint32_t i = 0; i < u->n_events; i++) {
        mem_free(u->events[i].ids);
        str_free(&u->events[i].words);
    }
    mem_free(u->events);
    mem_free(u->pairs);
    *u = (struct record_user){0};
}

void record_item_fini(struct record_item *i)
{
    if (i->scratch != NULL) {
        *i = (struct record_item){.scratch = i->scratch};
        return;
    }
    str_free(&i->id);
    attrs_free(i->attrs, i->n_attrs);
    mem_free(i->tallies);
    mem_free(i->ids);
    mem_free(i->neighbours);
    *i = (struct record_item){0};
}

const struct record_attr *record_attr(const struct record_attr *attrs, uint32_t n, const char *name)
{
    for (uint32_t i = 0; i < n; i++)
        if (str_is(attrs[i].name, name)) return &attrs[i];
    return NULL;
}

bool record_user_is_empty(const struct record_user *u)
{
    return u->first_ms == 0 && u->n_slates == 0 && u->n_attrs == 0 && u->n_tallies == 0 && u->n_events == 0 &&
           u->n_pairs == 0;
}

static void put_attrs(struct buf *b, const struct record_attr *attrs, uint32_t n)
{
    buf_varint(b, n);
    for (uint32_t i = 0; i < n; i++) {
        buf_str(b, attrs[i].name);
        buf_str(b, attrs[i].text);
        buf_f64(b, attrs[i].number);
    }
}

static void put_tallies(struct buf *b, const struct record_tally *tallies, uint32_t n)
{
    buf_varint(b, n);
    for (uint32_t i = 0; i < n; i++) {
        buf_u8(b, tallies[i].type);
        buf_i64(b, tallies[i].time_ms);
        buf_f64(b, tallies[i].total);
        for (int h = 0; h < RECORD_HALF_LIVES; h++) buf_f64(b, tallies[i].decayed[h]);
    }
}

static void put_ids(struct buf *b, const int32_t *ids, uint16_t n)
{
    buf_varint(b, n);
    for (uint16_t i = 0; i < n; i++) buf_varint(b, (uint32_t)ids[i]);
}

static void put_event(struct buf *b, const struct record_event *ev)
{
    buf_u64(b, ev->item);
    buf_i64(b, ev->time_ms);
    put_ids(b, ev->ids, ev->n_ids);
    buf_u8(b, ev->type);
    buf_f32(b, ev->price);
    buf_u64(b, ev->category);
    buf_u64(b, ev->brand);
    buf_str(b, ev->words);
}

/* The record that began at `from` ends here. */
static void put_check(struct buf *b, size_t from)
{
    if (!b->oom) buf_u64(b, hash_bytes(b->p + from, b->n - from));
}

void record_user_encode(struct buf *b, const struct record_user *u)
{
    const size_t from = b->n;
    buf_u8(b, RECORD_FORMAT);
    buf_str(b, u->id);
    buf_i64(b, u->first_ms);
    buf_i64(b, u->last_ms);
    buf_varint(b, u->n_slates);
    buf_f64(b, u->price_sum);
    buf_f64(b, u->price_n);
    put_attrs(b, u->attrs, u->n_attrs);
    put_tallies(b, u->tallies, u->n_tallies);
    buf_varint(b, u->n_events);
    for (uint32_t i = 0; i < u->n_events; i++) put_event(b, &u->events[i]);
    buf_varint(b, u->n_pairs);
    for (uint32_t i = 0; i < u->n_pairs; i++) {
        buf_u64(b, u->pairs[i].item);
        buf_i64(b, u->pairs[i].last_ms);
        buf_varint(b, u->pairs[i].count);
        buf_u8(b, u->pairs[i].type);
    }
    put_check(b, from);
}

static void put_rates(struct buf *b, const struct record_item *i)
{
    uint8_t there = 0;
    for (int k = 0; k < RECORD_RATES; k++) there |= (uint8_t)((i->rates[k].shown > 0) << k);
    buf_u8(b, there);
    for (int k = 0; k < RECORD_RATES; k++) {
        if (!(i->rates[k].shown > 0)) continue;
        buf_i64(b, i->rates[k].time_ms);
        buf_f32(b, i->rates[k].shown);
        buf_f32(b, i->rates[k].taken);
    }
}

static void put_neighbours(struct buf *b, const struct record_item *i)
{
    buf_i64(b, i->orders_ms);
    buf_f64(b, i->orders);
    buf_varint(b, i->n_neighbours);
    for (uint32_t k = 0; k < i->n_neighbours; k++) {
        buf_u32(b, i->neighbours[k].item);
        buf_f32(b, i->neighbours[k].together);
        buf_f32(b, i->neighbours[k].orders);
        buf_f32(b, i->neighbours[k].chances);
    }
}

void record_item_encode(struct buf *b, const struct record_item *i)
{
    const size_t from = b->n;
    buf_u8(b, RECORD_FORMAT);
    buf_str(b, i->id);
    buf_varint(b, i->row);
    buf_i64(b, i->first_ms);
    buf_i64(b, i->last_ms);
    buf_u8(b, (uint8_t)(i->announced | i->deleted << 1));
    put_attrs(b, i->attrs, i->n_attrs);
    put_tallies(b, i->tallies, i->n_tallies);
    buf_varint(b, i->positives);
    buf_varint(b, i->sample_weight);
    put_ids(b, i->ids, i->n_ids);
    buf_u64(b, i->category);
    buf_u64(b, i->brand);
    buf_f32(b, i->price);
    put_rates(b, i);
    put_neighbours(b, i);
    put_check(b, from);
}

void record_state_encode(struct buf *b, const struct record_state *s)
{
    const size_t row = (size_t)s->width * sizeof *s->pooled, from = b->n;
    buf_u8(b, RECORD_FORMAT);
    buf_u8(b, 0); /* an even head: states in an aligned buffer are aligned */
    buf_u32(b, s->width);
    buf_u32(b, s->n_tokens);
    buf_put(b, s->pooled, row);
    buf_put(b, s->final, row);
    buf_put(b, s->tokens, row * s->n_tokens);
    put_check(b, from);
}

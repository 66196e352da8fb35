/* catalogue_parts.c - see catalogue_parts.h.  Order: attributes, tallies, neighbours, token ids, texts. */
#include "featurize/catalogue_parts.h"
#include "base/mem.h"
#include <string.h>

#define STEP 64 /* blocks are so many bytes, or a multiple */
#define TALLIES                                                                                                        \
    3 /* room from the first: a list that is settled brings two, a click one, and a block that grows leaves a hole */
#define LINE 64
#define LINES_AHEAD 12 /* of a block; more come by themselves */

static size_t text_bytes(struct str s)
{
    return s.p != NULL ? s.n + 1 : 0;
}

size_t catalogue_parts_bytes(const struct record_item *i)
{
    size_t n = i->n_tallies * sizeof *i->tallies + i->n_attrs * sizeof *i->attrs + i->n_ids * sizeof *i->ids +
               i->n_neighbours * sizeof *i->neighbours;
    for (uint32_t a = 0; a < i->n_attrs; a++) n += text_bytes(i->attrs[a].name) + text_bytes(i->attrs[a].text);
    return n + text_bytes(i->id);
}

/* More than is needed now. */
static size_t room(const struct record_item *i)
{
    const size_t more = i->n_tallies < TALLIES ? TALLIES - i->n_tallies : 0;
    return catalogue_parts_bytes(i) + more * sizeof *i->tallies;
}

/* Writes at *at of the buffer; gives the place in the block that it will have. */
struct writer {
    unsigned char *pack, *block;
    size_t at;
};

static void *put(struct writer *w, const void *p, size_t n)
{
    void *to = w->block + w->at;
    if (n > 0) memcpy(w->pack + w->at, p, n);
    w->at += n;
    return to;
}

static struct str put_text(struct writer *w, struct str s)
{
    if (s.p == NULL) return s;
    const struct str copy = {put(w, s.p, s.n), s.n};
    w->pack[w->at++] = 0;
    return copy;
}

static bool reserve(struct catalogue_item *i, const struct record_item *from, void **old)
{
    const size_t cap = (room(from) + STEP - 1) / STEP * STEP;
    *old = NULL;
    if (catalogue_parts_bytes(from) <= i->cap_parts && cap >= i->cap_parts / 2) return true;
    void *block = cap <= UINT32_MAX ? mem_calloc(cap, 1) : NULL;
    if (block == NULL) return false;
    *old = i->parts;
    i->parts = block;
    i->cap_parts = (uint32_t)cap;
    return true;
}

bool catalogue_parts_put(struct catalogue_item *i, const struct record_item *from, void *pack)
{
    void *old;
    struct record_item r = *from;
    if (!reserve(i, from, &old)) return false;
    struct writer w = {pack, i->parts, 0};
    r.attrs = put(&w, from->attrs, from->n_attrs * sizeof *from->attrs);
    r.tallies = put(&w, from->tallies, from->n_tallies * sizeof *from->tallies);
    r.neighbours = put(&w, from->neighbours, from->n_neighbours * sizeof *from->neighbours);
    r.ids = put(&w, from->ids, from->n_ids * sizeof *from->ids);
    struct record_attr *attrs = pack;
    for (uint32_t a = 0; a < from->n_attrs; a++) {
        attrs[a].name = put_text(&w, attrs[a].name);
        attrs[a].text = put_text(&w, attrs[a].text);
    }
    r.id = put_text(&w, from->id);
    memcpy(i->parts, pack, w.at);
    mem_free(old);
    i->record = r;
    return true;
}

void catalogue_parts_ahead(const struct catalogue_item *i)
{
    const char *p = i->parts;
    for (size_t n = 0; n < LINES_AHEAD && n * LINE < i->cap_parts; n++) __builtin_prefetch(p + n * LINE);
    if (i->cap_parts > 0)
        __builtin_prefetch(p + i->cap_parts - 1); /* where the block ends is in a line of its own, mostly */
}

void catalogue_ahead(const struct catalogue *c, const uint32_t *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) __builtin_prefetch(&c->rows[rows[i]]);
    for (size_t i = 0; i < n; i++)
        for (size_t at = 0; at < sizeof(struct catalogue_item); at += LINE)
            __builtin_prefetch((const char *)c->rows[rows[i]] + at);
    for (size_t i = 0; i < n; i++) catalogue_parts_ahead(catalogue_of(c->rows[rows[i]]));
}

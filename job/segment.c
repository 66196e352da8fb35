/* segment.c - see segment.h. */
#include "job/segment.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/utf8.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum of { OF_USER, OF_ITEM, OF_CONTEXT, OF_WHAT };
enum { VALUE_NONE, VALUE_OTHER, VALUE_FIRST };
static const char *const prefixes[OF_WHAT] = {"user.", "item.", "context."};

struct column {
    char name[64];
    const char *attr; /* in name */
    enum of of;
    char values[EVAL_VALUES][64];
    uint32_t n_values;
};
struct segment {
    const struct conf *conf;
    struct column columns[SLATE_SEGMENTS_MAX];
    uint32_t n_columns;
};

static enum status add_column(struct segment *g, const char *list, const char *name, size_t n, struct err *e)
{
    struct column *c = &g->columns[g->n_columns];
    if (g->n_columns == SLATE_SEGMENTS_MAX)
        return ERR_SET(e, STATUS_INVALID, "eval.segments=%s: at most %d attributes", list, SLATE_SEGMENTS_MAX);
    for (int of = 0; of < OF_WHAT; of++) {
        const size_t head = strlen(prefixes[of]);
        if (n <= head || n >= sizeof c->name || strncmp(name, prefixes[of], head) != 0) continue;
        *c = (struct column){.attr = c->name + head, .of = (enum of)of, .n_values = VALUE_FIRST};
        (void)snprintf(c->name, sizeof c->name, "%.*s", (int)n, name);
        (void)snprintf(c->values[VALUE_NONE], sizeof c->values[0], "(none)");
        (void)snprintf(c->values[VALUE_OTHER], sizeof c->values[0], "(other)");
        g->n_columns++;
        return STATUS_OK;
    }
    return ERR_SET(e, STATUS_INVALID,
                   "eval.segments=%s: '%.*s' is not user.NAME, item.NAME or context.NAME (shorter than 64 bytes)", list,
                   (int)n, name);
}

static enum status parse(struct segment *g, const char *list, struct err *e)
{
    struct str word;
    for (const char *at = list; str_next_word(&at, &word);) TRY(add_column(g, list, word.p, word.n, e));
    return STATUS_OK;
}

enum status segment_new(struct segment **out, const struct conf *c, struct err *e)
{
    *out = NULL;
    struct segment *g = mem_calloc(1, sizeof *g);
    if (g == NULL) return ERR_SET(e, STATUS_OOM, "segments: %zu bytes", sizeof *g);
    g->conf = c;
    const enum status st = parse(g, c->eval_segments, e);
    if (st == STATUS_OK) *out = g;
    if (st != STATUS_OK) mem_free(g);
    return st;
}

void segment_free(struct segment *g)
{
    mem_free(g);
}

size_t segment_count(const char *list)
{
    size_t n = 0;
    struct str word;
    while (str_next_word(&list, &word)) n++;
    return n;
}

/* Hash of the columns' names, in order. */
static uint64_t meaning_of(const struct segment *g)
{
    uint64_t h = g->n_columns;
    for (uint32_t i = 0; i < g->n_columns; i++) h = hash_mix(h, hash_str(str_from(g->columns[i].name)));
    return h;
}

/* ---- filling ---- */

/* Cut to what is kept of one. */
static uint16_t number_of(struct column *c, struct str text)
{
    char value[64];
    if (!str_has(text)) return VALUE_NONE;
    utf8_copy(value, sizeof value, text);
    for (uint32_t v = 0; v < c->n_values; v++)
        if (strcmp(c->values[v], value) == 0) return (uint16_t)v;
    if (c->n_values == EVAL_VALUES) return VALUE_OTHER;
    memcpy(c->values[c->n_values], value, sizeof value);
    return (uint16_t)c->n_values++;
}

/* Of a list its first value. */
static uint16_t of_record(struct column *c, const struct record_attr *attrs, uint32_t n)
{
    char text[32];
    const struct record_attr *a = record_attr(attrs, n, c->attr);
    if (a == NULL) return VALUE_NONE;
    if (str_has(a->text)) {
        const char *end = memchr(a->text.p, '\x1f', a->text.n);
        return number_of(c, (struct str){a->text.p, end != NULL ? (size_t)(end - a->text.p) : a->text.n});
    }
    if (isnan(a->number)) return VALUE_NONE;
    (void)snprintf(text, sizeof text, "%g", a->number);
    return number_of(c, str_from(text));
}

static uint16_t of_context(struct column *c, const struct event_attr *context, uint32_t n)
{
    const struct event_attr *a = event_attr(context, n, c->attr);
    if (a == NULL) return VALUE_NONE;
    if (a->kind == EVENT_ATTR_LIST) return number_of(c, a->n_list > 0 ? a->list[0] : (struct str){NULL, 0});
    if (a->kind == EVENT_ATTR_BOOL) return number_of(c, str_from(a->number > 0.0 ? "true" : "false"));
    return number_of(c, a->text);
}

static void fill_column(struct column *c, struct world *w, struct slate *s, const struct event_attr *context,
                        uint32_t n, uint16_t *out)
{
    uint16_t all = VALUE_NONE;
    if (c->of == OF_USER) {
        const struct record_user *u = str_has(s->user) ? world_find_user(w, s->user) : NULL;
        if (u != NULL) all = of_record(c, u->attrs, u->n_attrs);
    }
    if (c->of == OF_CONTEXT) all = of_context(c, context, n);
    for (uint32_t k = 0; k < s->n_items; k++) {
        const struct record_item *i = c->of == OF_ITEM ? world_find_item(w, s->items[k].id) : NULL;
        out[k] = i != NULL ? of_record(c, i->attrs, i->n_attrs) : all;
    }
}

enum status segment_fill(struct segment *g, struct world *w, struct slate *s, const struct event_attr *context,
                         uint32_t n, struct err *e)
{
    if (g->n_columns == 0) return STATUS_OK;
    s->segments = arena_alloc(s->arena, (size_t)g->n_columns * s->n_items, sizeof *s->segments);
    if (s->segments == NULL) return ERR_SET(e, STATUS_OOM, "segments of %u candidates", s->n_items);
    s->n_segments = g->n_columns;
    for (uint32_t c = 0; c < g->n_columns; c++)
        fill_column(&g->columns[c], w, s, context, n, s->segments + (size_t)c * s->n_items);
    return STATUS_OK;
}

/* ---- names ---- */

static const char *name_column(void *user, size_t column)
{
    return ((struct segment *)user)->columns[column].name;
}

static const char *name_value(void *user, size_t column, size_t value)
{
    const struct column *c = &((struct segment *)user)->columns[column];
    return value < c->n_values ? c->values[value] : NULL;
}

static const char *name_type(void *user, uint8_t type)
{
    const struct conf *c = ((struct segment *)user)->conf;
    return type < c->n_types ? c->types[type].name : "?";
}

struct eval_names segment_names(struct segment *g)
{
    return (struct eval_names){g, name_column, name_value, name_type};
}

/* ---- state ---- */

void segment_encode(struct buf *b, const struct segment *g)
{
    buf_u64(b, meaning_of(g));
    for (uint32_t i = 0; i < g->n_columns; i++) {
        const struct column *c = &g->columns[i];
        buf_varint(b, c->n_values);
        for (uint32_t v = VALUE_FIRST; v < c->n_values; v++) buf_str(b, str_from(c->values[v]));
    }
}

static void column_decode(struct column *c, struct buf_reader *r)
{
    const uint64_t n = buf_get_varint(r);
    if (n < VALUE_FIRST || n > EVAL_VALUES) r->bad = true;
    for (c->n_values = VALUE_FIRST; c->n_values < n && !r->bad; c->n_values++) {
        const struct str text = buf_get_str(r);
        if (text.n >= sizeof c->values[0]) r->bad = true;
        utf8_copy(c->values[c->n_values], sizeof c->values[0], text);
    }
}

enum status segment_decode(struct segment *g, struct buf_reader *r, struct err *e)
{
    if (buf_get_u64(r) != meaning_of(g))
        return r->bad ? ERR_SET(e, STATUS_CORRUPT, "segments are cut short") : STATUS_OK;
    for (uint32_t i = 0; i < g->n_columns; i++) column_decode(&g->columns[i], r);
    return r->bad ? ERR_SET(e, STATUS_CORRUPT, "segments are cut short or out of range") : STATUS_OK;
}

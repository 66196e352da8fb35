/* eval_segments.c - see eval_segments.h. */
#include "trainer/eval_segments.h"
#include "base/mem.h"
#include "base/utf8.h"
#include <stdio.h>
#include <string.h>

void eval_segments_free(struct eval_segments *g)
{
    for (int c = 0; c < EVAL_COLUMNS; c++)
        for (int v = 0; v < EVAL_VALUES; v++) {
            mem_free(g->meters[c][v]);
            g->meters[c][v] = NULL;
        }
}

static enum status meter_for(struct eval_segments *g, size_t column, size_t value, struct eval_light **out,
                             struct err *e)
{
    struct eval_light **m = &g->meters[column][value];
    if (*m == NULL) *m = mem_calloc(1, sizeof **m);
    *out = *m;
    return *m != NULL ? STATUS_OK : ERR_SET(e, STATUS_OOM, "evaluator: a segment of %zu bytes", sizeof **m);
}

/* ---- adding ---- */

/* 1 … 10 as they are, then 11-20, 21-50 and beyond. */
static size_t position_value(uint32_t position)
{
    return position <= 10 ? position : position <= 20 ? 11 : position <= 50 ? 12 : 13;
}

static const char *position_name(size_t value, char out[64])
{
    static const char *const ranges[] = {"11-20", "21-50", ">50"};
    if (value > 10) return ranges[value - 11];
    (void)snprintf(out, 64, "%zu", value);
    return out;
}

static size_t value_of(const struct slate *s, size_t column, size_t i)
{
    size_t v = 0;
    switch (column) {
    case EVAL_COLUMN_TYPE: return s->type < EVENT_TYPES_MAX ? s->type : EVENT_TYPES_MAX;
    case EVAL_COLUMN_POSITION: return position_value(s->items[i].position);
    default: v = s->segments[(column - EVAL_COLUMN_CONFIGURED) * s->n_items + i];
    }
    return v < EVAL_VALUES ? v : 1;
}

/* Each value that the slate's candidates have once, in order of the first that has it. */
static enum status add_column(struct eval_segments *g, size_t column, const struct slate *s, const struct eval_terms *t,
                              uint8_t *mask, struct err *e)
{
    struct eval_light *m;
    bool done[EVAL_VALUES] = {false};
    for (size_t i = 0; i < t->n; i++) {
        const size_t v = value_of(s, column, i);
        size_t n = 0;
        if (done[v]) continue;
        done[v] = true;
        for (size_t k = 0; k < t->n; k++) n += mask[k] = value_of(s, column, k) == v;
        TRY(meter_for(g, column, v, &m, e));
        eval_light_add(m, t, n == t->n ? NULL : mask, 1.0);
    }
    return STATUS_OK;
}

static struct eval_echo *echo_for(struct eval_echoes *all, const char *name)
{
    struct eval_echo *oldest = &all->newest[0];
    for (int i = 0; i < EVAL_ECHOES; i++) {
        struct eval_echo *x = &all->newest[i];
        if (strcmp(x->name, name) == 0) return x;
        if (x->seen < oldest->seen) oldest = x;
    }
    if (oldest->name[0] != '\0') eval_light_merge(&all->older, &oldest->model);
    *oldest = (struct eval_echo){.seen = 0};
    (void)snprintf(oldest->name, sizeof oldest->name, "%s", name);
    return oldest;
}

static void add_echo(struct eval_echoes *all, struct str said, const struct eval_terms *t, uint64_t ordinal)
{
    char name[64];
    if (!str_has(said)) return;
    utf8_copy(name, sizeof name, said);
    struct eval_echo *x = echo_for(all, name);
    x->seen = ordinal;
    eval_light_add(&x->model, t, NULL, 1.0);
}

enum status eval_segments_add(struct eval_segments *g, const struct slate *s, const struct eval_terms *t, uint8_t *mask,
                              uint64_t ordinal, struct err *e)
{
    TRY(add_column(g, EVAL_COLUMN_TYPE, s, t, mask, e));
    if (s->source == SLATE_IMPRESSION) TRY(add_column(g, EVAL_COLUMN_POSITION, s, t, mask, e));
    for (size_t c = 0; c < g->n_configured && c < s->n_segments; c++)
        TRY(add_column(g, EVAL_COLUMN_CONFIGURED + c, s, t, mask, e));
    add_echo(&g->versions, s->version, t, ordinal);
    add_echo(&g->variants, s->variant, t, ordinal);
    return STATUS_OK;
}

/* ---- report ---- */

static void report_one(struct report_detail *out, const char *column, const char *value, const struct eval_light *m)
{
    if (out->n_segments == REPORT_SEGMENTS_MAX || m == NULL || !(m->examples > 0.0)) return;
    struct report_segment *s = &out->segments[out->n_segments++];
    (void)snprintf(s->column, sizeof s->column, "%s", column);
    (void)snprintf(s->value, sizeof s->value, "%s", value);
    eval_light_figures(m, &s->figures);
}

static void report_echoes(struct report_detail *out, const char *column, const struct eval_echoes *all)
{
    for (int i = 0; i < EVAL_ECHOES; i++) report_one(out, column, all->newest[i].name, &all->newest[i].model);
    report_one(out, column, "older", &all->older);
}

void eval_segments_report(const struct eval_segments *g, const struct eval_names *names, struct report_detail *out)
{
    char text[64];
    out->n_segments = 0;
    for (size_t v = 0; v < EVENT_TYPES_MAX; v++)
        report_one(out, "event.type", names->type(names->user, (uint8_t)v), g->meters[EVAL_COLUMN_TYPE][v]);
    report_one(out, "event.type", "impression", g->meters[EVAL_COLUMN_TYPE][EVENT_TYPES_MAX]);
    for (size_t v = 1; v <= 13; v++)
        report_one(out, "position", position_name(v, text), g->meters[EVAL_COLUMN_POSITION][v]);
    report_echoes(out, "version", &g->versions);
    report_echoes(out, "variant", &g->variants);
    for (size_t c = 0; c < g->n_configured; c++)
        for (size_t v = 0; v < EVAL_VALUES; v++) {
            const char *value = names->value(names->user, c, v);
            if (value != NULL)
                report_one(out, names->column(names->user, c), value, g->meters[EVAL_COLUMN_CONFIGURED + c][v]);
        }
}

/* ---- state ---- */

static void echoes_encode(struct buf *b, const struct eval_echoes *all)
{
    for (int i = 0; i < EVAL_ECHOES; i++) {
        const struct eval_echo *x = &all->newest[i];
        buf_str(b, str_from(x->name));
        buf_varint(b, x->seen);
        eval_light_encode(b, &x->model);
    }
    eval_light_encode(b, &all->older);
}

static void echoes_decode(struct eval_echoes *all, struct buf_reader *r)
{
    for (int i = 0; i < EVAL_ECHOES; i++) {
        struct eval_echo *x = &all->newest[i];
        const struct str name = buf_get_str(r);
        if (name.n >= sizeof x->name) r->bad = true;
        utf8_copy(x->name, sizeof x->name, name);
        x->seen = buf_get_varint(r);
        eval_light_decode(&x->model, r);
    }
    eval_light_decode(&all->older, r);
}

void eval_segments_encode(struct buf *b, const struct eval_segments *g)
{
    for (size_t c = 0; c < EVAL_COLUMN_CONFIGURED + g->n_configured; c++)
        for (size_t v = 0; v < EVAL_VALUES; v++) {
            if (g->meters[c][v] == NULL) continue;
            buf_u8(b, (uint8_t)(c + 1));
            buf_u8(b, (uint8_t)v);
            eval_light_encode(b, g->meters[c][v]);
        }
    buf_u8(b, 0);
    echoes_encode(b, &g->versions);
    echoes_encode(b, &g->variants);
}

enum status eval_segments_decode(struct eval_segments *g, struct buf_reader *r, struct err *e)
{
    for (uint8_t c; (c = buf_get_u8(r)) != 0 && !r->bad;) {
        struct eval_light *m;
        const uint8_t v = buf_get_u8(r);
        if (c > EVAL_COLUMN_CONFIGURED + g->n_configured || v >= EVAL_VALUES) r->bad = true;
        if (r->bad) return STATUS_OK;
        TRY(meter_for(g, c - 1u, v, &m, e));
        eval_light_decode(m, r);
    }
    echoes_decode(&g->versions, r);
    echoes_decode(&g->variants, r);
    return STATUS_OK;
}

/* guard_state.c - the guard's figures, and the guard in and out of a state folder. */
#include "trainer/guard_private.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define FORMAT 3 /* 1: without taught_ms; 2: without doubt_ms and judged_ms */

void guard_report(const struct guard *g, struct report_guard *out)
{
    *out = g->counts;
    out->paused = g->paused;
    if (g->paused) out->paused_ms += (uint64_t)(g->now_ms - g->paused_ms);
    for (size_t i = 0; i < GUARD_SOURCES; i++) out->quarantined += g->sources[i].until_ms != 0;
    for (int i = 0; i < GUARD_MONITORS; i++) out->out += g->monitors[i].drift.out;
}

static void counts_encode(struct buf *b, const struct report_guard *c)
{
    buf_varint(b, c->alarms);
    for (int i = 0; i < MONITOR_GROUPS; i++) buf_varint(b, c->alarms_of[i]);
    buf_varint(b, c->pauses);
    buf_varint(b, c->accepted);
    buf_varint(b, c->paused_ms);
    buf_varint(b, c->paused_slates);
    buf_varint(b, c->paused_examples);
    for (int i = 0; i < GUARD_CAPS; i++) buf_varint(b, c->capped[i]);
    buf_varint(b, c->quarantines);
    buf_varint(b, c->quarantined_events);
    buf_varint(b, c->quarantined_examples);
    buf_varint(b, c->restarts);
}

static void counts_decode(struct report_guard *c, struct buf_reader *r)
{
    c->alarms = buf_get_varint(r);
    for (int i = 0; i < MONITOR_GROUPS; i++) c->alarms_of[i] = buf_get_varint(r);
    c->pauses = buf_get_varint(r);
    c->accepted = buf_get_varint(r);
    c->paused_ms = buf_get_varint(r);
    c->paused_slates = buf_get_varint(r);
    c->paused_examples = buf_get_varint(r);
    for (int i = 0; i < GUARD_CAPS; i++) c->capped[i] = buf_get_varint(r);
    c->quarantines = buf_get_varint(r);
    c->quarantined_events = buf_get_varint(r);
    c->quarantined_examples = buf_get_varint(r);
    c->restarts = buf_get_varint(r);
}

static void monitors_encode(struct buf *b, const struct guard *g)
{
    uint32_t used = 0;
    for (uint32_t i = 0; i < GUARD_MONITORS; i++) used += g->monitors[i].name[0] != '\0';
    buf_varint(b, used);
    for (uint32_t i = 0; i < GUARD_MONITORS; i++) {
        if (g->monitors[i].name[0] == '\0') continue;
        buf_varint(b, i);
        monitor_encode(b, &g->monitors[i]);
    }
    for (int i = 0; i < GUARD_BINS; i++) buf_varint(b, g->bins[i]);
}

/* Attributes fill their places from the first on. */
static void monitors_decode(struct guard *g, struct buf_reader *r)
{
    const size_t used = buf_get_count(r, 20);
    for (size_t i = 0; i < used && !r->bad; i++) {
        const uint64_t at = buf_get_varint(r);
        if (at >= GUARD_MONITORS || (at >= GUARD_ATTRIBUTES && at != GUARD_ATTRIBUTES + g->n_attributes)) r->bad = true;
        if (r->bad) return;
        g->n_attributes += at >= GUARD_ATTRIBUTES;
        monitor_decode(&g->monitors[at], r);
    }
    for (int i = 0; i < GUARD_BINS; i++) g->bins[i] = (uint32_t)buf_get_varint(r);
}

static void sources_encode(struct buf *b, const struct guard *g)
{
    for (size_t i = 0; i < GUARD_SOURCES; i++) {
        const struct guard_source *s = &g->sources[i];
        buf_u64(b, s->source);
        if (s->source == 0) continue;
        buf_str(b, str_from(s->name));
        buf_i64(b, s->seen_ms);
        buf_i64(b, s->until_ms);
    }
}

static void sources_decode(struct guard *g, struct buf_reader *r)
{
    for (size_t i = 0; i < GUARD_SOURCES; i++) {
        struct guard_source *s = &g->sources[i];
        s->source = buf_get_u64(r);
        if (s->source == 0) continue;
        const struct str name = buf_get_str(r);
        if (name.n >= sizeof s->name) r->bad = true;
        if (r->bad) return;
        (void)snprintf(s->name, sizeof s->name, STR_FMT, STR_ARG(name));
        s->seen_ms = buf_get_i64(r);
        s->until_ms = buf_get_i64(r);
    }
}

void guard_encode(struct buf *b, const struct guard *g)
{
    buf_u8(b, FORMAT);
    buf_i64(b, g->now_ms);
    buf_u8(b, g->paused);
    buf_u8(b, (uint8_t)(g->restart | g->undone << 1 | g->line_new << 2));
    buf_i64(b, g->taught_ms);
    buf_i64(b, g->doubt_ms);
    buf_i64(b, g->judged_ms);
    buf_i64(b, g->paused_ms);
    buf_i64(b, g->from_ms);
    buf_i64(b, g->to_ms);
    buf_i64(b, g->good_ms);
    buf_str(b, str_from(g->trouble));
    buf_i64(b, g->window_ms);
    buf_varint(b, g->window_examples);
    for (int i = 0; i < GUARD_CAPS; i++) {
        buf_u8(b, g->cap_said[i]);
        quota_encode(b, g->used[i]);
    }
    counts_encode(b, &g->counts);
    sources_encode(b, g);
    monitors_encode(b, g);
}

enum status guard_decode(struct guard *g, struct buf_reader *r, struct err *e)
{
    const uint8_t format = buf_get_u8(r);
    if (format < 1 || format > FORMAT) r->bad = true;
    g->now_ms = buf_get_i64(r);
    g->paused = buf_get_u8(r) != 0;
    const uint8_t flags = buf_get_u8(r);
    g->restart = (flags & 1) != 0;
    g->undone = (flags & 2) != 0;
    g->line_new = (flags & 4) != 0;
    if (format > 1) g->taught_ms = buf_get_i64(r);
    if (format > 2) g->doubt_ms = buf_get_i64(r);
    if (format > 2) g->judged_ms = buf_get_i64(r);
    g->paused_ms = buf_get_i64(r);
    g->from_ms = buf_get_i64(r);
    g->to_ms = buf_get_i64(r);
    g->good_ms = buf_get_i64(r);
    const struct str trouble = buf_get_str(r);
    if (trouble.n >= sizeof g->trouble) r->bad = true;
    if (!r->bad) (void)snprintf(g->trouble, sizeof g->trouble, STR_FMT, STR_ARG(trouble));
    g->window_ms = buf_get_i64(r);
    g->window_examples = buf_get_varint(r);
    for (int i = 0; i < GUARD_CAPS; i++) {
        g->cap_said[i] = buf_get_u8(r) != 0;
        TRY(quota_decode(g->used[i], r, e));
    }
    counts_decode(&g->counts, r);
    sources_decode(g, r);
    monitors_decode(g, r);
    return r->bad ? ERR_SET(e, STATUS_CORRUPT, "guard: the stored monitors can't be read") : STATUS_OK;
}

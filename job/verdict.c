/* verdict.c - see verdict.h. */
#include "job/verdict.h"
#include "base/mem.h"
#include <stdio.h>
#include <string.h>

static const char *const names[VERDICT_KINDS] = {"bless", "rollback", "refuse",   "promote",
                                                 "pin",   "unpin",    "champion", "variant"};

const char *verdict_name(enum verdict_kind k)
{
    return names[k];
}

void verdict_fini(struct verdict_log *g)
{
    for (size_t i = 0; i < g->n; i++) mem_free(g->items[i].ranges);
    *g = (struct verdict_log){0};
}

static const struct source_offset *find(const struct source_offset *o, size_t n, const struct source_offset *like)
{
    for (size_t i = 0; i < n; i++)
        if (o[i].topic == like->topic && o[i].partition == like->partition) return &o[i];
    return NULL;
}

/* A partition that came since was learnt from wherever it begins. */
static enum status fill_ranges(struct verdict *v, const struct source_offset *from, size_t n_from,
                               const struct source_offset *now, size_t n_now, struct err *e)
{
    v->ranges = mem_calloc(n_now, sizeof *v->ranges);
    if (v->ranges == NULL) return ERR_SET(e, STATUS_OOM, "version log: ranges of %zu partitions", n_now);
    for (size_t i = 0; i < n_now && n_from > 0; i++) {
        const struct source_offset *then = find(from, n_from, &now[i]);
        const uint64_t first = then != NULL ? then->next : 0;
        if (first < now[i].next)
            v->ranges[v->n_ranges++] = (struct verdict_range){now[i].topic, now[i].partition, first, now[i].next};
    }
    return STATUS_OK;
}

enum status verdict_add(struct verdict_log *g, const struct verdict *v, const struct source_offset *from, size_t n_from,
                        const struct source_offset *now, size_t n_now, struct err *e)
{
    struct verdict copy = *v;
    copy.ranges = NULL;
    copy.n_ranges = 0;
    TRY(fill_ranges(&copy, from, n_from, now, n_now, e));
    if (g->n == VERDICTS_MAX) {
        mem_free(g->items[0].ranges);
        memmove(&g->items[0], &g->items[1], --g->n * sizeof g->items[0]);
    }
    g->items[g->n++] = copy;
    g->total++;
    return STATUS_OK;
}

const struct verdict *verdict_of(const struct verdict_log *g, uint64_t version)
{
    for (size_t i = g->n; i-- > 0 && version > 0;) {
        const struct verdict *v = &g->items[i];
        const bool about =
            v->kind != VERDICT_REFUSE && v->kind != VERDICT_UNPIN && v->kind != VERDICT_CHAMPION && v->about == version;
        if (about || (v->kind == VERDICT_REFUSE && v->version == version)) return v;
    }
    return NULL;
}

bool verdict_discards(const struct verdict_log *g, uint64_t version)
{
    for (size_t i = 0; i < g->n; i++) {
        const struct verdict *v = &g->items[i];
        if (v->kind == VERDICT_ROLLBACK && v->about > 0 && version > v->about && version <= v->version) return true;
    }
    return false;
}

void verdict_encode(struct buf *b, const struct verdict_log *g)
{
    buf_varint(b, g->n);
    buf_varint(b, g->total);
    for (size_t i = 0; i < g->n; i++) {
        const struct verdict *v = &g->items[i];
        buf_u8(b, (uint8_t)v->kind);
        buf_u64(b, v->version);
        buf_u64(b, v->about);
        buf_u64(b, v->examples);
        buf_i64(b, v->time_ms);
        buf_i64(b, v->wall_ms);
        buf_str(b, str_from(v->who));
        buf_str(b, str_from(v->reason));
        buf_varint(b, v->n_ranges);
        for (size_t k = 0; k < v->n_ranges; k++) {
            buf_u32(b, v->ranges[k].topic);
            buf_u32(b, v->ranges[k].partition);
            buf_u64(b, v->ranges[k].from);
            buf_u64(b, v->ranges[k].to);
        }
    }
}

static void get_text(struct buf_reader *r, char *out, size_t size)
{
    const struct str s = buf_get_str(r);
    (void)snprintf(out, size, STR_FMT, STR_ARG(s));
}

static enum status get_one(struct verdict *v, struct buf_reader *r, struct err *e)
{
    const uint8_t kind = buf_get_u8(r);
    v->kind = (enum verdict_kind)kind;
    v->version = buf_get_u64(r);
    v->about = buf_get_u64(r);
    v->examples = buf_get_u64(r);
    v->time_ms = buf_get_i64(r);
    v->wall_ms = buf_get_i64(r);
    get_text(r, v->who, sizeof v->who);
    get_text(r, v->reason, sizeof v->reason);
    const size_t n = buf_get_count(r, 24);
    if (r->bad || kind >= VERDICT_KINDS) return ERR_SET(e, STATUS_CORRUPT, "version log: an entry is damaged");
    v->ranges = mem_calloc(n, sizeof *v->ranges);
    if (v->ranges == NULL) return ERR_SET(e, STATUS_OOM, "version log: ranges of %zu partitions", n);
    for (v->n_ranges = 0; v->n_ranges < n; v->n_ranges++) {
        struct verdict_range *x = &v->ranges[v->n_ranges];
        x->topic = buf_get_u32(r);
        x->partition = buf_get_u32(r);
        x->from = buf_get_u64(r);
        x->to = buf_get_u64(r);
    }
    return STATUS_OK;
}

enum status verdict_decode(struct verdict_log *g, struct buf_reader *r, struct err *e)
{
    verdict_fini(g);
    const size_t n = buf_get_count(r, 40);
    g->total = buf_get_varint(r);
    if (r->bad || n > VERDICTS_MAX) return ERR_SET(e, STATUS_CORRUPT, "version log: %zu entries", n);
    for (size_t i = 0; i < n; i++) {
        g->n = i + 1; /* also freed when it is damaged */
        TRY(get_one(&g->items[i], r, e));
    }
    return r->bad ? ERR_SET(e, STATUS_CORRUPT, "version log: cut short") : STATUS_OK;
}

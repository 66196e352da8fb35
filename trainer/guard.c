/* guard.c - the monitors: what of the stream goes into which. */
#include "base/auc.h"
#include "base/hash.h"
#include "base/mem.h"
#include "trainer/guard_private.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* What the line says … */
static void watch_scores(struct guard *g)
{
    monitor_init(&g->monitors[GUARD_SCORES], STR("mean logit"), 0, MONITOR_SCORES, MONITOR_MEAN);
    monitor_init(&g->monitors[GUARD_SCORES_HIGH], STR("logit's 90 % quantile"), 0, MONITOR_SCORES, MONITOR_MEAN);
    memset(g->bins, 0, sizeof g->bins);
}

/* … and how right it is. */
static void watch_loss(struct guard *g)
{
    monitor_init(&g->monitors[GUARD_LOSS], STR("progressive log-loss"), 0, MONITOR_LOSS, MONITOR_MEAN);
}

/* In a pause the fault is still there, and what comes is no level to learn. */
static bool watches_line(const struct guard *g)
{
    return !(g->paused && g->line_new);
}

void guard_line_changed(struct guard *g)
{
    watch_scores(g);
    g->line_new = g->paused;
    guard_judge(g);
    if (g->judged_ms == INT64_MIN) watch_loss(g);
    guard_calm(g);
}

enum status guard_new(struct guard **out, const struct conf *c, struct err *e)
{
    enum status st = STATUS_OK;
    *out = NULL;
    struct guard *g = mem_calloc(1, sizeof *g);
    if (g == NULL) return ERR_SET(e, STATUS_OOM, "guard: %zu bytes", sizeof *g);
    g->conf = c;
    g->now_ms = INT64_MIN;
    g->undo_ms = g->taught_ms = g->judged_ms = INT64_MIN;
    g->from_ms = g->doubt_ms = INT64_MAX;
    g->to_ms = INT64_MIN;
    g->window_ms = INT64_MIN;
    for (int i = 0; i < GUARD_CAPS; i++) TRY_OUT(st, quota_new(&g->used[i], e));
    monitor_init(&g->monitors[GUARD_LABELS], STR("positives of shown items"), 0, MONITOR_LABELS, MONITOR_SHARE);
    monitor_init(&g->monitors[GUARD_VOLUME], STR("events an hour"), 0, MONITOR_VOLUME, MONITOR_RATE);
    watch_scores(g);
    watch_loss(g);
    monitor_init(&g->monitors[GUARD_REJECTS], STR("rejected records"), 0, MONITOR_REJECTS, MONITOR_SHARE);
    monitor_init(&g->monitors[GUARD_IMPRESSIONS], STR("share of impression"), 0, MONITOR_SCHEMA, MONITOR_SHARE);
    *out = g;
    g = NULL;
out:
    guard_free(g);
    return st;
}

void guard_free(struct guard *g)
{
    if (g == NULL) return;
    for (int i = 0; i < GUARD_CAPS; i++) quota_free(g->used[i]);
    mem_free(g);
}

bool guard_off(const struct guard *g)
{
    return strcmp(g->conf->guard_mode, "off") == 0;
}

struct monitor_limits guard_limits(const struct guard *g, enum monitor_group group)
{
    const struct conf *c = g->conf;
    const double shift[MONITOR_GROUPS] = {
        [MONITOR_LABELS] = c->guard_label_shift,   [MONITOR_VOLUME] = log(c->guard_volume_factor),
        [MONITOR_SCORES] = c->guard_score_shift,   [MONITOR_SCHEMA] = c->guard_schema_shift,
        [MONITOR_REJECTS] = c->guard_reject_shift, [MONITOR_LOSS] = c->guard_loss_shift};
    return (struct monitor_limits){.bucket_ms = c->guard_bucket_ms,
                                   .bucket_events = (uint64_t)c->guard_bucket_events,
                                   .warmup = (uint32_t)c->guard_warmup,
                                   .shift = shift[group]};
}

/* One observation more, and the bucket's end if that was its last. */
static void observe(struct guard *g, struct monitor *m, uint64_t source, double n, double sum, double squares)
{
    enum drift_change c = DRIFT_NONE;
    if (m->filling && g->now_ms - m->since_ms >= g->conf->guard_bucket_ms) {
        const struct monitor_limits l = guard_limits(g, m->group);
        c = monitor_close(m, g->now_ms, &l);
    }
    monitor_add(m, g->now_ms, source, n, sum, squares);
    if (c != DRIFT_NONE) guard_changed(g, m, c);
}

/* Behaviours by type, then the other kinds. */
static uint32_t kind_of(const struct event *ev)
{
    return ev->kind == EVENT_BEHAVIOUR ? ev->type : EVENT_TYPES_MAX + (uint32_t)ev->kind;
}

static const char *kind_name(const struct guard *g, const struct event *ev)
{
    static const char *const names[] = {"item", "user", "impression"};
    return ev->kind == EVENT_BEHAVIOUR ? g->conf->types[ev->type].name : names[ev->kind];
}

/* Shares of types are among impressions and behaviours: a catalogue that is sent again is no change of these. */
static void observe_types(struct guard *g, const struct event *ev, uint64_t source)
{
    if (ev->kind != EVENT_IMPRESSION && ev->kind != EVENT_BEHAVIOUR) return;
    struct monitor *own = &g->monitors[ev->kind == EVENT_IMPRESSION ? GUARD_IMPRESSIONS : GUARD_TYPES + ev->type];
    if (own->name[0] == '\0') {
        char name[MONITOR_NAME];
        (void)snprintf(name, sizeof name, "share of %.40s", kind_name(g, ev));
        monitor_init(own, str_from(name), 0, MONITOR_SCHEMA, MONITOR_SHARE);
    }
    observe(g, &g->monitors[GUARD_VOLUME], source, 1.0, 0.0, 0.0);
    for (int i = GUARD_IMPRESSIONS; i < GUARD_ATTRIBUTES; i++) {
        struct monitor *m = &g->monitors[i];
        if (m->name[0] != '\0') observe(g, m, source, 1.0, m == own ? 1.0 : 0.0, 0.0);
    }
}

/* The monitor of an attribute of a kind of event; NULL: not met before, and no room or not worth it. */
static struct monitor *attribute_monitor(struct guard *g, const struct event *ev, struct str attribute)
{
    const uint64_t key = hash_seeded(attribute.p, attribute.n, kind_of(ev) + 1);
    for (uint32_t i = 0; i < g->n_attributes; i++)
        if (g->monitors[GUARD_ATTRIBUTES + i].key == key) return &g->monitors[GUARD_ATTRIBUTES + i];
    if (g->n_attributes == GUARD_MONITORS - GUARD_ATTRIBUTES) return NULL;
    struct monitor *m = &g->monitors[GUARD_ATTRIBUTES + g->n_attributes++];
    char name[MONITOR_NAME];
    (void)snprintf(name, sizeof name, "%.*s of %.20s", (int)(attribute.n < 30 ? attribute.n : 30), attribute.p,
                   kind_name(g, ev));
    monitor_init(m, str_from(name), key, MONITOR_SCHEMA, MONITOR_SHARE);
    m->of = kind_of(ev);
    return m;
}

/* Which attributes an event of this kind brings, out of those that its kind ever brought; and whether its price is one. */
static void observe_attributes(struct guard *g, const struct event *ev, uint64_t source)
{
    uint8_t met[GUARD_MONITORS - GUARD_ATTRIBUTES] = {0};
    const uint32_t kind = kind_of(ev);
    for (uint32_t i = 0; i < ev->n_attrs; i++) {
        const struct monitor *m = attribute_monitor(g, ev, ev->attrs[i].name);
        if (m != NULL) met[m - &g->monitors[GUARD_ATTRIBUTES]] = 1;
    }
    if (isfinite(ev->price)) {
        const struct monitor *m = attribute_monitor(g, ev, STR("price of 0"));
        if (m != NULL && ev->price <= 0.0) met[m - &g->monitors[GUARD_ATTRIBUTES]] = 1;
    }
    for (uint32_t i = 0; i < g->n_attributes; i++) {
        struct monitor *m = &g->monitors[GUARD_ATTRIBUTES + i];
        if (m->of == kind) observe(g, m, source, 1.0, met[i], 0.0);
    }
}

void guard_event(struct guard *g, const struct event *ev, int64_t now_ms)
{
    if (now_ms == INT64_MIN || guard_off(g)) return;
    guard_tick(g, now_ms);
    const uint64_t source = guard_source_of(g, ev->source);
    observe(g, &g->monitors[GUARD_REJECTS], 0, 1.0, 0.0, 0.0);
    observe_types(g, ev, source);
    observe_attributes(g, ev, source);
}

void guard_rejected(struct guard *g, int64_t now_ms)
{
    if (now_ms == INT64_MIN || guard_off(g)) return;
    guard_tick(g, now_ms);
    observe(g, &g->monitors[GUARD_REJECTS], 0, 1.0, 1.0, 0.0);
}

/* The logit below which a share of the bucket lies, by its bin's middle. */
static double quantile(const uint32_t *bins, double share)
{
    double n = 0.0, below = 0.0;
    for (int i = 0; i < GUARD_BINS; i++) n += bins[i];
    for (int i = 0; i < GUARD_BINS; i++) {
        if (below + bins[i] >= share * n && bins[i] > 0)
            return (i + (share * n - below) / bins[i]) * (2.0 * GUARD_LOGIT / GUARD_BINS) - GUARD_LOGIT;
        below += bins[i];
    }
    return GUARD_LOGIT;
}

/* The bucket of scores ends for the mean and the quantile at once.  Variance of a quantile: p(1-p)/(n f²), f the normal
 * density there: 2.9 times the mean's at 90 %. */
static void close_scores(struct guard *g)
{
    struct monitor *mean = &g->monitors[GUARD_SCORES], *high = &g->monitors[GUARD_SCORES_HIGH];
    const struct monitor_limits l = guard_limits(g, MONITOR_SCORES);
    const double n = mean->n, variance = n > 0.0 ? fmax(mean->squares / n - mean->sum / n * (mean->sum / n), 0.0) : 0.0;
    const int64_t since_ms = mean->since_ms;
    const bool filling = mean->filling;
    const enum drift_change c = monitor_close(mean, g->now_ms, &l);
    if (!filling || mean->filling) return;
    high->scale = mean->scale;
    if (c != DRIFT_NONE) guard_changed(g, mean, c);
    const enum drift_change h =
        monitor_judge(high, since_ms, g->now_ms, quantile(g->bins, 0.9), 2.9 * variance / n, &l);
    if (h != DRIFT_NONE) guard_changed(g, high, h);
    memset(g->bins, 0, sizeof g->bins);
}

/* Orders with sampled negatives count where nothing else does: their scores and losses are of another kind. */
static bool foreign(const struct guard *g, const struct slate *s)
{
    const struct monitor *labels = &g->monitors[GUARD_LABELS];
    return s->source != SLATE_IMPRESSION && (labels->filling || labels->drift.buckets > 0);
}

void guard_scored(struct guard *g, const struct slate *s, const float *logits, int64_t now_ms)
{
    double sum = 0.0, squares = 0.0;
    const uint32_t n = s->n_items;
    if (now_ms == INT64_MIN || guard_off(g) || n == 0 || foreign(g, s)) return;
    guard_tick(g, now_ms);
    if (!watches_line(g)) return;
    close_scores(g);
    for (uint32_t i = 0; i < n; i++) {
        const double z = fmin(fmax((double)logits[i], -GUARD_LOGIT), GUARD_LOGIT); /* NaN: the lower end */
        sum += z;
        squares += z * z;
        g->bins[auc_bin((double)logits[i], GUARD_BINS, GUARD_LOGIT)]++;
    }
    monitor_add(&g->monitors[GUARD_SCORES], g->now_ms, 0, (double)n, sum, squares);
}

/* In a pause that the loss decides, what was shown before was predicted by another line, or is not of the fault. */
static bool tells(const struct guard *g, const struct slate *s)
{
    return g->judged_ms == INT64_MIN ? watches_line(g) : g->line_new && s->time_ms >= g->judged_ms;
}

/* Log-loss of what was predicted, an example. */
static void observe_loss(struct guard *g, const struct slate *s, const float *logits)
{
    double sum = 0.0, squares = 0.0;
    for (uint32_t i = 0; i < s->n_items; i++) {
        const double z = fmin(fmax((double)logits[i], -30.0), 30.0);
        const double loss = log1p(exp(-fabs(z))) + fmax(z, 0.0) - (s->items[i].label > 0.5f ? z : 0.0);
        sum += loss;
        squares += loss * loss;
    }
    observe(g, &g->monitors[GUARD_LOSS], 0, s->n_items, sum, squares);
}

void guard_settled(struct guard *g, const struct slate *s, const float *logits, int64_t now_ms)
{
    double positives = 0.0;
    if (now_ms == INT64_MIN || guard_off(g) || s->n_items == 0) return;
    guard_tick(g, now_ms);
    if (guard_shuts_out(g, s)) return; /* what such a source had open changes no level */
    if (!foreign(g, s) && tells(g, s)) observe_loss(g, s, logits);
    if (s->source != SLATE_IMPRESSION) return; /* of a sampled slate the share is the sampler's */
    for (uint32_t i = 0; i < s->n_items; i++) positives += s->items[i].label > 0.5f;
    observe(g, &g->monitors[GUARD_LABELS], s->origin, s->n_items, positives, 0.0);
}

bool guard_doubts(const struct guard *g, int64_t *since_ms)
{
    *since_ms = g->doubt_ms;
    return g->paused && g->doubt_ms != INT64_MAX && !g->line_new && !guard_off(g);
}

void guard_sound(struct guard *g, const struct slate *s, const float *logits)
{
    int64_t since_ms;
    if (!guard_doubts(g, &since_ms) || s->n_items == 0 || foreign(g, s) || guard_shuts_out(g, s)) return;
    if (g->judged_ms == INT64_MIN) guard_judge(g);
    if (g->judged_ms != INT64_MIN && s->time_ms >= g->judged_ms) observe_loss(g, s, logits);
}

/* guard_breaker.c - alarms, who is to blame, and when learning pauses and resumes. */
#include "base/hash.h"
#include "trainer/guard_private.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *guard_said_name(enum guard_said what)
{
    static const char *const names[] = {"alarm",    "back",   "paused",      "resumed",
                                        "accepted", "capped", "quarantined", "released"};
    return (unsigned)what < sizeof names / sizeof *names ? names[what] : "?";
}

void guard_tell(struct guard *g, enum guard_said what, const char *fmt, ...)
{
    va_list ap;
    if (g->n_notes == GUARD_NOTES) {
        g->first_note = (g->first_note + 1) % GUARD_NOTES;
        g->n_notes--;
    }
    struct guard_note *n = &g->notes[(g->first_note + g->n_notes++) % GUARD_NOTES];
    n->what = what;
    n->at_ms = g->now_ms;
    va_start(ap, fmt);
    (void)vsnprintf(n->text, sizeof n->text, fmt, ap);
    va_end(ap);
}

bool guard_say(struct guard *g, struct guard_note *out)
{
    if (g->n_notes == 0) return false;
    *out = g->notes[g->first_note];
    g->first_note = (g->first_note + 1) % GUARD_NOTES;
    g->n_notes--;
    return true;
}

const char *guard_trouble(const struct guard *g)
{
    return g->paused ? g->trouble : "";
}

bool guard_paused(const struct guard *g)
{
    return g->paused;
}

bool guard_counts(const struct guard *g)
{
    return !g->paused || g->conf->guard_counts;
}

bool guard_restart(struct guard *g)
{
    const bool now = g->restart;
    g->restart = false;
    g->counts.restarts += now;
    return now;
}

uint32_t guard_in_quarantine(const struct guard *g, const char **name, int64_t *until_ms)
{
    uint32_t n = 0;
    *name = "";
    *until_ms = 0;
    for (size_t i = 0; g != NULL && i < GUARD_SOURCES; i++) {
        const struct guard_source *s = &g->sources[i];
        if (s->until_ms == 0) continue;
        n++;
        if (s->until_ms <= *until_ms) continue;
        *name = s->name;
        *until_ms = s->until_ms;
    }
    return n;
}

bool guard_undo(struct guard *g, int64_t *since_ms, char why[GUARD_WHY])
{
    if (g->undo_ms == INT64_MIN) return false;
    *since_ms = g->undo_ms;
    memcpy(why, g->undo_why, GUARD_WHY);
    g->undo_ms = INT64_MIN;
    return true;
}

/* --- sources ------------------------------------------------------------------------------------------------------ */

struct guard_source *guard_source_find(const struct guard *g, uint64_t source)
{
    for (size_t i = 0; source != 0 && i < GUARD_SOURCES; i++)
        if (g->sources[i].source == source) return (struct guard_source *)&g->sources[i];
    return NULL;
}

/* A new one takes the place of the one that is silent longest and not in quarantine. */
static struct guard_source *source_place(struct guard *g)
{
    struct guard_source *oldest = NULL;
    for (size_t i = 0; i < GUARD_SOURCES; i++) {
        struct guard_source *s = &g->sources[i];
        if (s->source == 0) return s;
        if (s->until_ms == 0 && (oldest == NULL || s->seen_ms < oldest->seen_ms)) oldest = s;
    }
    return oldest;
}

uint64_t guard_source_key(struct str source)
{
    const uint64_t h = str_has(source) ? hash_str(source) : 0;
    return str_has(source) && h == 0 ? 1 : h;
}

uint64_t guard_source_of(struct guard *g, struct str name)
{
    const uint64_t source = guard_source_key(name);
    if (source == 0) return 0;
    struct guard_source *s = guard_source_find(g, source);
    if (s == NULL && (s = source_place(g)) != NULL) {
        *s = (struct guard_source){.source = source};
        (void)snprintf(s->name, sizeof s->name, "%.*s", (int)(name.n < 63 ? name.n : 63), name.p);
    }
    if (s != NULL) s->seen_ms = g->now_ms;
    return source;
}

bool guard_quarantined(const struct guard *g, const struct event *ev)
{
    if (guard_off(g)) return false;
    const struct guard_source *s = guard_source_find(g, guard_source_key(ev->source));
    return s != NULL && s->until_ms != 0;
}

static void quarantine(struct guard *g, const struct monitor *m, uint64_t source)
{
    struct guard_source *s = guard_source_find(g, source);
    if (s == NULL || s->until_ms != 0) return;
    s->until_ms = g->now_ms + g->conf->guard_quarantine_ms;
    g->counts.quarantines++;
    guard_tell(g, GUARD_QUARANTINED, "source=\"%s\" monitor=\"%s\" value=%.6g usual=%.6g until_ms=%" PRId64, s->name,
               m->name, m->value, monitor_level(m), s->until_ms);
}

static void release_due(struct guard *g)
{
    for (size_t i = 0; i < GUARD_SOURCES; i++) {
        struct guard_source *s = &g->sources[i];
        if (s->until_ms == 0 || g->now_ms < s->until_ms) continue;
        s->until_ms = 0;
        guard_tell(g, GUARD_RELEASED, "source=\"%s\" next=\"a change that it explains alone sends it back\"", s->name);
    }
}

/* --- the breaker -------------------------------------------------------------------------------------------------- */

/* Where little comes little can be learnt wrongly. */
static bool fell_silent(const struct monitor *m)
{
    return m->group == MONITOR_VOLUME && m->value < monitor_level(m);
}

static bool pauses(const struct guard *g, const struct monitor *m)
{
    return !fell_silent(m) && strcmp(g->conf->guard_mode, "pause") == 0 &&
           conf_list_has(g->conf->guard_pause_on, monitor_group_name(m->group));
}

static bool is_line(const struct monitor *m)
{
    return m->group == MONITOR_SCORES || m->group == MONITOR_LOSS;
}

static bool holds(const struct guard *g, const struct monitor *m)
{
    return is_line(m) && g->judged_ms != INT64_MIN ? m->group == MONITOR_LOSS : pauses(g, m);
}

static const struct monitor *first_out(const struct guard *g)
{
    for (int i = 0; i < GUARD_MONITORS; i++)
        if (g->monitors[i].drift.out && holds(g, &g->monitors[i])) return &g->monitors[i];
    return NULL;
}

/* The level that there was is proven again before it counts as there. */
void guard_judge(struct guard *g)
{
    struct monitor *m = &g->monitors[GUARD_LOSS];
    if (!g->paused || g->doubt_ms == INT64_MAX || m->drift.buckets < (uint32_t)g->conf->guard_warmup) return;
    if (!m->drift.out) m->out_ms = g->now_ms;
    m->drift.out = true;
    m->drift.calm = 0;
    m->filling = false;
    g->judged_ms = g->now_ms;
}

/* Labels and losses are met when a list's window ends; what they are of was shown before it. */
static int64_t shown_ms(const struct guard *g, const struct monitor *m, int64_t met_ms)
{
    return m->group == MONITOR_LABELS || m->group == MONITOR_LOSS ? met_ms - g->conf->join_window_ms : met_ms;
}

/* Labels wait for their list's window, so that often nothing that was shown since has been learnt yet.  Scores are no part of
 * what is learnt: that they move may be what came of it. */
static void want_undo(struct guard *g, const struct monitor *m, int64_t from_ms)
{
    const bool taught = g->taught_ms != INT64_MIN && (m->group == MONITOR_SCORES || g->taught_ms >= from_ms);
    if (!taught || g->undone || !conf_list_has(g->conf->guard_rollback_on, monitor_group_name(m->group))) return;
    g->undone = true;
    g->undo_ms = monitor_began_ms(m);
    (void)snprintf(g->undo_why, sizeof g->undo_why, "%s (%s) left %.4g for %.4g at event_ms=%" PRId64, m->name,
                   monitor_group_name(m->group), monitor_level(m), m->value, g->undo_ms);
}

static void pause(struct guard *g, const struct monitor *m)
{
    const int64_t began = shown_ms(g, m, monitor_began_ms(m)), window = g->conf->join_window_ms;
    if (!g->paused) g->undone = false;
    /* slates of an earlier change may still be open: one stretch then covers both */
    if (g->to_ms < g->now_ms - window || g->from_ms > began) g->from_ms = began;
    g->to_ms = INT64_MAX;
    if (is_line(m) && monitor_began_ms(m) < g->doubt_ms) g->doubt_ms = monitor_began_ms(m);
    want_undo(g, m, g->from_ms);
    if (g->paused) return;
    g->good_ms = INT64_MIN;
    g->paused = true;
    g->paused_ms = g->now_ms;
    g->counts.pauses++;
    (void)snprintf(g->trouble, sizeof g->trouble, "learning is paused: %s (%s) is %.4g, usual is %.4g", m->name,
                   monitor_group_name(m->group), m->value, monitor_level(m));
    guard_tell(g, GUARD_PAUSED,
               "monitor=\"%s\" group=%s shown_since_ms=%" PRId64
               " next=\"resumes when it is back; at once with guard.mode=warn\"",
               m->name, monitor_group_name(m->group), g->from_ms);
}

/* True: the change is that of some sources alone, which are out of the way now, and what was learnt of them too; the others are
 * learnt on. */
static bool blame(struct guard *g, struct monitor *m)
{
    uint64_t sources[MONITOR_SOURCES];
    const struct monitor_limits l = guard_limits(g, m->group);
    if (g->conf->guard_quarantine_ms == 0) return false;
    const size_t n = monitor_blame(m, &l, sources, MONITOR_SOURCES);
    for (size_t i = 0; i < n; i++) {
        quarantine(g, m, sources[i]);
    }
    if (n > 0 && !g->paused) g->undone = false;
    if (n > 0 && pauses(g, m)) want_undo(g, m, shown_ms(g, m, monitor_began_ms(m)));
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < GUARD_MONITORS; k++) monitor_excuse(&g->monitors[k], sources[i]);
    return n > 0;
}

/* A loss that falls is what learning is for; where labels bring it about (all are 0), their own monitors say so. */
static bool better(const struct monitor *m)
{
    return m->group == MONITOR_LOSS && m->value < monitor_level(m);
}

void guard_changed(struct guard *g, struct monitor *m, enum drift_change c)
{
    if (c == DRIFT_BACK) {
        guard_tell(g, GUARD_BACK, "monitor=\"%s\" value=%.6g usual=%.6g after_ms=%" PRId64, m->name, m->value,
                   monitor_level(m), g->now_ms - m->out_ms);
        const int64_t good_ms = shown_ms(g, m, g->now_ms);
        if (good_ms > g->good_ms) g->good_ms = good_ms;
        if (g->paused && first_out(g) == NULL) g->to_ms = g->good_ms;
        return;
    }
    if (better(m)) {
        drift_adopt(&m->drift);
        return;
    }
    g->counts.alarms++;
    g->counts.alarms_of[m->group]++;
    guard_tell(g, GUARD_ALARM, "monitor=\"%s\" group=%s value=%.6g usual=%.6g since_ms=%" PRId64, m->name,
               monitor_group_name(m->group), m->value, monitor_level(m), monitor_began_ms(m));
    if (m->group == MONITOR_LOSS && strcmp(g->conf->guard_restart, "none") != 0) g->restart = true;
    if (blame(g, m)) return;
    if (pauses(g, m)) pause(g, m);
}

void guard_calm(struct guard *g)
{
    if (g->paused && g->to_ms == INT64_MAX && first_out(g) == NULL)
        g->to_ms = g->good_ms > g->now_ms ? g->good_ms : g->now_ms;
}

static void resume(struct guard *g, const char *why)
{
    g->paused = g->line_new = false;
    g->doubt_ms = INT64_MAX;
    g->judged_ms = INT64_MIN;
    if (g->to_ms == INT64_MAX) g->to_ms = INT64_MIN; /* the new level is right: so is what is still open */
    g->counts.paused_ms += (uint64_t)(g->now_ms - g->paused_ms);
    g->restart = g->restart || strcmp(g->conf->guard_restart, "none") != 0;
    guard_tell(g, GUARD_RESUMED, "why=\"%s\" paused_ms=%" PRId64 " not_learnt_slates_total=%" PRIu64, why,
               g->now_ms - g->paused_ms, g->counts.paused_slates);
}

/* Levels that stayed are levels: watched from there. */
static void accept_due(struct guard *g)
{
    const int64_t most = g->conf->guard_accept_ms;
    for (int i = 0; i < GUARD_MONITORS && most > 0; i++) {
        struct monitor *m = &g->monitors[i];
        if (!m->drift.out || g->now_ms - m->out_ms < most) continue;
        guard_tell(g, GUARD_ACCEPTED, "monitor=\"%s\" value=%.6g usual=%.6g after_ms=%" PRId64, m->name, m->value,
                   monitor_level(m), g->now_ms - m->out_ms);
        drift_adopt(&m->drift);
        g->counts.accepted++;
    }
}

void guard_tick(struct guard *g, int64_t now_ms)
{
    if (now_ms <= g->now_ms) return;
    const bool same_second = g->now_ms != INT64_MIN && now_ms / 1000 == g->now_ms / 1000;
    g->now_ms = now_ms;
    if (same_second) return;
    release_due(g);
    accept_due(g);
    if (!g->paused) return;
    if (strcmp(g->conf->guard_mode, "pause") != 0)
        resume(g, "guard.mode");
    else if (now_ms - g->paused_ms >= g->conf->guard_pause_ms && first_out(g) == NULL)
        resume(g, "all monitors are back");
}

/* guard_caps.c - which settled slates may be learnt: pauses, quarantine, and caps on one user, item or source. */
#include "base/hash.h"
#include "trainer/guard_private.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void next_window(struct guard *g, int64_t now_ms)
{
    const int64_t length = g->conf->guard_window_ms, window = now_ms / length - (now_ms % length < 0);
    if (window == g->window_ms) return;
    g->window_ms = window;
    g->window_examples = 0;
    for (int i = 0; i < GUARD_CAPS; i++) {
        quota_clear(g->used[i]);
        g->cap_said[i] = false;
    }
}

static void capped(struct guard *g, enum guard_cap cap, struct str who, const char *key, double limit, uint32_t n)
{
    static const char *const names[GUARD_CAPS] = {"user", "item", "source"};
    g->counts.capped[cap] += n;
    if (g->cap_said[cap]) return;
    g->cap_said[cap] = true; /* the first of a window is named, all are counted */
    guard_tell(g, GUARD_CAPPED, "%s=\"%.*s\" limit=%s=%g window_ms=%" PRId64, names[cap],
               (int)(who.n < 64 ? who.n : 64), who.p != NULL ? who.p : "", key, limit, g->conf->guard_window_ms);
}

/* The first slate of a key is learnt whatever its size. */
static bool within(const struct guard *g, enum guard_cap cap, uint64_t key, uint32_t n, double limit)
{
    const double used = (double)quota_count(g->used[cap], key);
    return used <= 0.0 || used + n <= limit;
}

static bool user_admitted(struct guard *g, const struct slate *s)
{
    const int64_t limit = g->conf->guard_user_examples;
    if (limit == 0 || !str_has(s->user)) return true;
    if (!within(g, GUARD_CAP_USER, hash_str(s->user), s->n_items, (double)limit)) {
        capped(g, GUARD_CAP_USER, s->user, "guard.user_examples", (double)limit, s->n_items);
        return false;
    }
    return true;
}

/* A source's share of all that was settled in the window, once that is something. */
static bool source_admitted(struct guard *g, const struct slate *s)
{
    const double share = g->conf->guard_source_share;
    g->window_examples += s->n_items;
    if (share >= 1.0 || s->origin == 0) return true;
    const struct guard_source *from = guard_source_find(g, s->origin);
    const double most = share * (double)g->window_examples;
    if (g->window_examples > GUARD_SHARE_LEAST && !within(g, GUARD_CAP_SOURCE, s->origin, s->n_items, most)) {
        capped(g, GUARD_CAP_SOURCE, from != NULL ? str_from(from->name) : STR("?"), "guard.source_share", share,
               s->n_items);
        return false;
    }
    return true;
}

/* Items beyond their cap are left out; false: none is left. */
static bool items_admitted(struct guard *g, const struct slate *s, uint8_t *keep)
{
    const int64_t limit = g->conf->guard_item_examples;
    uint32_t left = 0;
    for (uint32_t i = 0; limit > 0 && i < s->n_items; i++) {
        const struct slate_item *it = &s->items[i];
        if (!keep[i]) continue;
        if (quota_count(g->used[GUARD_CAP_ITEM], it->item) < (uint64_t)limit) {
            quota_add(g->used[GUARD_CAP_ITEM], it->item, 1);
            left++;
            continue;
        }
        keep[i] = 0;
        capped(g, GUARD_CAP_ITEM, it->id, "guard.item_examples", (double)limit, 1);
    }
    return limit == 0 || left > 0;
}

/* What is refused in the end has used nothing up. */
static void count_admitted(struct guard *g, const struct slate *s)
{
    if (g->conf->guard_user_examples > 0 && str_has(s->user))
        quota_add(g->used[GUARD_CAP_USER], hash_str(s->user), s->n_items);
    if (g->conf->guard_source_share < 1.0 && s->origin != 0)
        quota_add(g->used[GUARD_CAP_SOURCE], s->origin, s->n_items);
}

/* Shown while something was wrong, or settled while nobody knows yet whether it still is. */
static bool in_pause(const struct guard *g, const struct slate *s)
{
    return g->paused || (s->time_ms >= g->from_ms && s->time_ms <= g->to_ms);
}

bool guard_shuts_out(const struct guard *g, const struct slate *s)
{
    const struct guard_source *from = guard_source_find(g, s->origin);
    return from != NULL && from->until_ms != 0;
}

bool guard_lets(const struct guard *g, const struct slate *s)
{
    return guard_off(g) || (!in_pause(g, s) && !guard_shuts_out(g, s));
}

/* false: nothing is counted, and all is admitted. */
static bool counts_at(struct guard *g, int64_t now_ms)
{
    if (guard_off(g) || now_ms == INT64_MIN) return false;
    guard_tick(g, now_ms);
    next_window(g, g->now_ms);
    return true;
}

bool guard_admits(struct guard *g, const struct slate *s, uint8_t *keep, int64_t now_ms)
{
    if (!counts_at(g, now_ms)) return true;
    if (in_pause(g, s)) {
        g->counts.paused_slates++;
        g->counts.paused_examples += s->n_items;
        return false;
    }
    if (guard_shuts_out(g, s)) {
        g->counts.quarantined_examples += s->n_items;
        return false;
    }
    if (!user_admitted(g, s) || !source_admitted(g, s) || !items_admitted(g, s, keep)) return false;
    count_admitted(g, s);
    if (s->time_ms > g->taught_ms) g->taught_ms = s->time_ms;
    return true;
}

bool guard_admits_copy(struct guard *g, const struct slate *s, uint8_t *keep, int64_t now_ms)
{
    return !counts_at(g, now_ms) || items_admitted(g, s, keep);
}

void guard_dropped(struct guard *g)
{
    g->counts.quarantined_events++;
}

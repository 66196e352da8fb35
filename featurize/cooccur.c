/* cooccur.c - lists by item: merged with an order's items, cut to the strongest, searched by halving. */
#include "featurize/cooccur.h"
#include "base/mem.h"
#include <math.h>

#define SHRINK 3.0
#define SCALE 20.0
#define TRUST_SHARE 0.5f /* of cooccur.neighbours */
#define DAY_MS 86400000.0

struct cooccur cooccur_of(const struct conf *c)
{
    return (struct cooccur){.on = conf_list_has(c->model_parts, "cooccur"),
                            .neighbours = (uint32_t)c->cooccur_neighbours,
                            .halvings_per_ms =
                                c->cooccur_half_life_days > 0 ? 1.0 / (c->cooccur_half_life_days * DAY_MS) : 0.0};
}

/* ---- counting ---- */

/* Share of what was counted at `from` that is left at `to`; 1 when that is no later. */
static double left(const struct cooccur *c, int64_t from_ms, int64_t to_ms)
{
    if (c->halvings_per_ms == 0 || to_ms <= from_ms) return 1.0;
    return exp2(-((double)to_ms - (double)from_ms) * c->halvings_per_ms);
}

/* The record's counts move on to a later time; returns what an order of time_ms weighs then. */
static double move_to(struct record_item *i, const struct cooccur *c, int64_t time_ms)
{
    if (time_ms <= i->orders_ms && i->orders > 0) return left(c, time_ms, i->orders_ms);
    const double keep = left(c, i->orders_ms, time_ms);
    i->orders *= keep;
    for (uint32_t k = 0; k < i->n_neighbours && keep < 1; k++) {
        i->neighbours[k].together = (float)((double)i->neighbours[k].together * keep);
        i->neighbours[k].orders = (float)((double)i->neighbours[k].orders * keep);
        i->neighbours[k].chances = (float)((double)i->neighbours[k].chances * keep);
    }
    i->orders_ms = time_ms;
    return 1.0;
}

float cooccur_count(struct record_item *i, const struct cooccur *c, int64_t time_ms)
{
    i->orders += move_to(i, c, time_ms);
    return (float)(i->orders * left(c, i->orders_ms, time_ms));
}

/* Neighbours from `from` on, up to the first whose item is not below `item`, once more had the chance to come. */
static struct record_neighbour *pass_on(const struct record_neighbour **from, const struct record_neighbour *end,
                                        uint64_t item, float weight, struct record_neighbour *to)
{
    const struct record_neighbour *old = *from;
    for (; old < end && old->item < item; old++, to++) {
        *to = *old;
        to->chances += weight;
    }
    *from = old;
    return to;
}

/* Both sides are by item.  to: room for all; returns how many. */
static uint32_t merge(const struct record_item *i, const struct cooccur_member *members, uint32_t n, double weight,
                      struct record_neighbour *to)
{
    const struct record_neighbour *old = i->neighbours, *const end = old + i->n_neighbours;
    struct record_neighbour *at = to;
    for (uint32_t b = 0; b < n; b++) {
        const struct cooccur_member *other = &members[b];
        at = pass_on(&old, end, other->item, (float)weight, at);
        const bool known = old < end && old->item == other->item;
        const struct record_neighbour was = known ? *old : (struct record_neighbour){.item = other->item};
        old += known;
        if (other->item == (uint32_t)i->hash) continue;
        *at = was;
        at->chances += (float)weight;
        at->together += (float)weight;
        at->orders = (float)((double)other->orders * weight);
        at++;
    }
    return (uint32_t)(pass_on(&old, end, UINT64_MAX, (float)weight, at) - to);
}

/* How often a neighbour comes, by what is known of it.  A newcomer counts as one of `trust` orders: so it may stay a while where the
 * weakest come more seldom than that, and what has been there for long without coming again makes room.  By plain counts old lists
 * would be closed to new items; by similarity they would fill with what is rare (0.004 GAUC less). */
static float worth(const struct record_neighbour *n, float trust)
{
    return n->together / (n->chances + trust);
}

/* Moves what is below `pivot` (or, with `same`, no more than it) of x[from..to) to its front; returns where the rest begins.  Without a
 * branch, as no predictor could guess it (Lomuto's partition). */
static uint32_t partition(float *x, uint32_t from, uint32_t to, float pivot, bool same)
{
    uint32_t front = from;
    for (uint32_t i = from; i < to; i++) {
        const float v = x[i];
        x[i] = x[front];
        x[front] = v;
        front += same ? v <= pivot : v < pivot;
    }
    return front;
}

/* The k-th least of x (k < n), x reordered (Hoare 1961, in three ways, since many are equal): a full sort would cost what the rest
 * does. */
static float kth_least(float *x, uint32_t n, uint32_t k)
{
    uint32_t from = 0, to = n;
    for (;;) {
        const float pivot = x[k];
        const uint32_t below = partition(x, from, to, pivot, false);
        if (k < below) {
            to = below;
            continue;
        }
        from = partition(x, below, to, pivot, true);
        if (k < from) return pivot;
    }
}

/* Keeps the `most` of list (n) that are worth most, in place and by item.  Which of equals go turns with `turn`: no item is always the
 * one that finds no place.  x: room for 2 n. */
static void cut(struct record_neighbour *list, uint32_t n, uint32_t most, float trust, uint32_t turn, float *x)
{
    uint32_t below = 0, equal = 0, kept = 0, met = 0;
    const uint32_t drop = n - most;
    float *of = x + n;
    for (uint32_t k = 0; k < n; k++) x[k] = of[k] = worth(&list[k], trust);
    const float least = kth_least(x, n, drop - 1);
    for (uint32_t k = 0; k < n; k++) {
        below += of[k] < least;
        equal += of[k] == least;
    }
    for (uint32_t k = 0; k < n; k++) {
        const bool goes = of[k] < least || (of[k] == least && (met++ + turn) % equal < drop - below);
        if (!goes) list[kept++] = list[k];
    }
}

uint32_t cooccur_merge(const struct record_item *i, const struct cooccur *c, const struct cooccur_member *members,
                       uint32_t n, int64_t time_ms, uint32_t most, struct record_neighbour *list, float *worths)
{
    const uint32_t made = merge(i, members, n, left(c, time_ms, i->orders_ms), list);
    if (made <= most) return made;
    cut(list, made, most, TRUST_SHARE * (float)c->neighbours, (uint32_t)i->orders, worths);
    return most;
}

/* ---- features ---- */

/* Halves without a branch: which way to go no predictor knows, and the searches of a slate's events overlap so. */
static const struct record_neighbour *find(const struct record_item *i, uint32_t item)
{
    const struct record_neighbour *at = i->neighbours;
    for (uint32_t n = i->n_neighbours, half; n > 1; n -= half) {
        half = n / 2;
        at += half & -(uint32_t)(at[half].item <= item);
    }
    return at->item == item ? at : NULL;
}

/* keep: what is left of i's counts by now; it falls out of c/sqrt(n n), not out of what it is shrunk by. */
static double similarity(const struct record_item *i, const struct record_neighbour *n, double keep)
{
    const double both = keep * (double)n->together, own = keep * sqrt(i->orders * (double)n->orders);
    return both / (own + SHRINK);
}

void cooccur_fill(const struct record_item *i, const struct cooccur *c, const struct slate *s,
                  float out[COOCCUR_FEATURES])
{
    double sum = 0, max = 0;
    out[0] = out[1] = 0;
    if (i == NULL || i->n_neighbours == 0 || s->n_events == 0) return;
    const double keep = left(c, i->orders_ms, s->time_ms);
    for (uint32_t k = 0; k < s->n_events; k++) {
        const struct record_neighbour *n = find(i, (uint32_t)s->events[k].item);
        if (n == NULL) continue;
        const double sim = similarity(i, n, keep);
        sum += sim;
        max = sim > max ? sim : max;
    }
    out[0] = (float)log1p(SCALE * sum / s->n_events);
    out[1] = (float)log1p(SCALE * max);
}

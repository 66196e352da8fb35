/* shop.c - see shop.h. */
#include "simulate/shop.h"
#include "base/mem.h"
#include "base/rand.h"
#include "simulate/fault.h"
#include <math.h>

struct taste {
    float words[SHOP_WORDS];
    int64_t time_ms;
};
struct shop {
    struct shop_options o;
    struct shop_item *items;
    struct taste *tastes; /* (users), then those of the odd seasons */
    uint64_t lists;
    double clock_ms; /* fractional, so that rates come out right */
};

/* Streams of random numbers inside the simulator, by partition. */
enum { STREAM_ITEM, STREAM_USER, STREAM_LIST };

static void stream(struct rand *r, const struct shop *s, uint32_t which, uint64_t n)
{
    rand_init(r, (struct rand_key){.seed = s->o.seed, .partition = which, .offset = n, .purpose = RAND_SIMULATE});
}

void shop_defaults(struct shop_options *o)
{
    *o = (struct shop_options){.users = 1000,
                               .items = 500,
                               .slate = 10,
                               .events = 100000,
                               .seed = 1,
                               .drift = 0.02,
                               .new_items = 0.3,
                               .lists_per_s = 1.0,
                               .delay_ms = 60000.0,
                               .buy = 0.2,
                               .word_taste = 0.9,
                               .item_quality = 0.5,
                               .bias = -2.0,
                               .start_ms = INT64_C(1767225600000),
                               .window_ms = 1800000,
                               .fault_at_ms = 14400000,
                               .fault_ms = 3600000};
}

static double log_span_ms(const struct shop_options *o)
{
    const double lists = (double)(o->events > o->items ? o->events - o->items : 1) / 2.0;
    return lists / o->lists_per_s * 1000.0;
}

static void make_items(struct shop *s)
{
    const uint32_t later = (uint32_t)(s->o.new_items * (double)s->o.items), first = s->o.items - later;
    const double gap = later > 0 ? log_span_ms(&s->o) / (double)(later + 1) : 0.0;
    for (uint32_t i = 0; i < s->o.items; i++) {
        struct rand r;
        struct shop_item *it = &s->items[i];
        stream(&r, s, STREAM_ITEM, i);
        it->noun = (uint32_t)rand_below(&r, SHOP_NOUNS);
        it->colour = (uint32_t)rand_below(&r, SHOP_COLOURS);
        it->material = (uint32_t)rand_below(&r, SHOP_MATERIALS);
        it->quality[0] = (float)(rand_normal(&r) * s->o.item_quality);
        it->price = (float)(round(exp(rand_normal(&r) * 0.7 + 2.0) * 100.0) / 100.0);
        it->quality[1] = (float)(rand_normal(&r) * s->o.item_quality);
        it->since_ms = s->o.start_ms + (i < first ? 0 : (int64_t)(gap * (double)(i - first + 1)));
    }
}

static size_t n_tastes(const struct shop_options *o)
{
    return (size_t)o->users * (o->season_ms > 0 ? 2 : 1);
}

static void make_users(struct shop *s)
{
    for (size_t u = 0; u < n_tastes(&s->o); u++) {
        struct rand r;
        stream(&r, s, STREAM_USER, u);
        for (int w = 0; w < SHOP_WORDS; w++) s->tastes[u].words[w] = (float)(rand_normal(&r) * s->o.word_taste);
        s->tastes[u].time_ms = s->o.start_ms;
    }
}

enum status shop_new(struct shop **out, const struct shop_options *o, struct err *e)
{
    *out = NULL;
    struct shop *s = mem_calloc(1, sizeof *s);
    if (s == NULL) return ERR_SET(e, STATUS_OOM, "shop: %zu bytes", sizeof *s);
    s->o = *o;
    s->clock_ms = (double)o->start_ms;
    s->items = mem_calloc(o->items, sizeof *s->items);
    s->tastes = mem_calloc(n_tastes(o), sizeof *s->tastes);
    if (s->items == NULL || s->tastes == NULL) {
        shop_free(s);
        return ERR_SET(e, STATUS_OOM, "shop of %u users and %u items", o->users, o->items);
    }
    make_items(s);
    make_users(s);
    *out = s;
    return STATUS_OK;
}

void shop_free(struct shop *s)
{
    if (s == NULL) return;
    mem_free(s->items);
    mem_free(s->tastes);
    mem_free(s);
}

const struct shop_item *shop_item(const struct shop *s, uint32_t i)
{
    return &s->items[i];
}

double shop_price(const struct shop *s, uint32_t i, int64_t time_ms, uint32_t source)
{
    const bool lost = s->o.fault == SHOP_FAULT_PRICES0 && source <= 1 && fault_is_on(&s->o, time_ms);
    return lost ? 0.0 : (double)s->items[i].price;
}

bool shop_is_chinese(const struct shop *s)
{
    return s->o.chinese;
}

void shop_words(const struct shop_item *i, uint32_t out[3])
{
    out[0] = i->noun;
    out[1] = SHOP_NOUNS + i->colour;
    out[2] = SHOP_NOUNS + SHOP_COLOURS + i->material;
}

uint32_t shop_items_at(const struct shop *s, int64_t time_ms)
{
    uint32_t lo = 0, hi = s->o.items;
    while (lo < hi) {
        const uint32_t mid = lo + (hi - lo) / 2;
        if (s->items[mid].since_ms <= time_ms)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Keeps share^days of the old taste and renews the rest: the spread stays word_taste. */
static void drift_taste(struct shop *s, struct taste *t, int64_t time_ms, struct rand *r)
{
    const double days = (double)(time_ms - t->time_ms) / 86400000.0;
    const double keep = sqrt(pow(1.0 - s->o.drift, days)), fresh = sqrt(1.0 - keep * keep) * s->o.word_taste;
    t->time_ms = time_ms;
    if (s->o.drift <= 0.0) return;
    for (int w = 0; w < SHOP_WORDS; w++) t->words[w] = (float)(keep * (double)t->words[w] + fresh * rand_normal(r));
}

static double click_probability(const struct shop *s, const struct taste *t, const struct shop_item *it, int season)
{
    uint32_t w[3];
    shop_words(it, w);
    const double z = s->o.bias + (double)it->quality[season] + (double)t->words[w[0]] + (double)t->words[w[1]] +
                     (double)t->words[w[2]];
    return 1.0 / (1.0 + exp(-z));
}

/* Distinct items: popular ones more often (the square of a uniform number, over items by number mixed), one in five of the
 * newest, so that new items are shown at all. */
static uint32_t draw_item(const struct shop_list *l, uint32_t have, struct rand *r)
{
    for (;;) {
        const double u = rand_unit(r);
        uint32_t i = rand_unit(r) < 0.2 ? have - 1 - (uint32_t)(u * u * (double)have) : (uint32_t)(u * (double)have);
        bool again = false;
        if (i >= have) i = have - 1;
        for (uint32_t k = 0; k < l->n; k++) again |= l->items[k] == i;
        if (!again) return i;
    }
}

bool shop_clicked(const struct shop_options *o, const struct shop_list *l, uint32_t k)
{
    return l->click_ms[k] > 0 && l->click_ms[k] <= l->time_ms + o->window_ms;
}

uint32_t shop_looked(const struct shop_options *o, const struct shop_list *l)
{
    uint32_t n = o->stop > 0.0 ? l->n : 0;
    while (n > 0 && !shop_clicked(o, l, n - 1)) n--;
    return n > 0 ? n : l->n;
}

/* 0 or 1: which tastes are in force. */
static int season_at(const struct shop_options *o, int64_t time_ms)
{
    return o->season_ms > 0 ? (int)((time_ms - o->start_ms) / o->season_ms % 2) : 0;
}

static struct taste *taste_of(const struct shop *s, uint32_t user, int season)
{
    return &s->tastes[user + (season == 1 ? s->o.users : 0u)];
}

static void show_item(const struct shop *s, int season, struct shop_list *l, uint32_t have, struct rand *r)
{
    const uint32_t i = draw_item(l, have, r), k = l->n++;
    const struct taste *t = taste_of(s, l->user, season);
    l->items[k] = i;
    l->p[k] = click_probability(s, t, &s->items[i], season);
    const bool clicked = rand_unit(r) < l->p[k] && !l->left;
    const double delay = -log(1.0 - rand_unit(r)) * s->o.delay_ms;
    const bool bought = rand_unit(r) < s->o.buy;
    l->click_ms[k] = clicked ? l->time_ms + 1 + (int64_t)delay : 0;
    l->bought[k] = clicked && bought;
    l->left = l->left || (clicked && s->o.stop > 0.0 && rand_unit(r) < s->o.stop);
}

void shop_next(struct shop *s, struct shop_list *out)
{
    struct rand r;
    stream(&r, s, STREAM_LIST, s->lists);
    s->clock_ms += -log(1.0 - rand_unit(&r)) / s->o.lists_per_s * 1000.0;
    out->number = ++s->lists;
    out->time_ms = (int64_t)s->clock_ms;
    out->user = (uint32_t)(rand_unit(&r) * rand_unit(&r) * (double)s->o.users);
    out->source = s->o.sources > 0 ? 1 + out->user % s->o.sources : 0;
    out->n = 0;
    out->left = false;
    const int season = season_at(&s->o, out->time_ms);
    drift_taste(s, taste_of(s, out->user, season), out->time_ms, &r);
    const uint32_t have = shop_items_at(s, out->time_ms), n = s->o.slate < have ? s->o.slate : have;
    while (out->n < n) show_item(s, season, out, have, &r);
}

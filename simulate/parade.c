/* parade.c - see parade.h. */
#include "simulate/parade.h"
#include "base/mem.h"
#include "base/rand.h"
#include <math.h>
#include <string.h>

enum { KINDS = 16, COLOURS = 8, MATERIALS = 8, STYLES = 6, OCCASIONS = 6, CHARACTERS = 24, ANDS = 4, LIST_MAX = 100 };
enum { LIFE_LEAST = 5, LIFE_MOST = 50, STREAM_ITEM = 16, STREAM_LIST, STREAM_CHARACTER, STREAM_FITS };
enum attribute { KIND, COLOUR, MATERIAL, STYLE, OCCASION, ATTRIBUTES };
#include "simulate/parade_words.inc"

static const uint8_t values_of[ATTRIBUTES] = {KINDS, COLOURS, MATERIALS, STYLES, OCCASIONS};
#define BIAS (-2.2)
#define AND_WEIGHT 2.6  /* both attributes are as wanted */
#define LIKE_WEIGHT 0.6 /* a colour that is liked ... */
#define NOT_WEIGHT 2.2  /* ... unless the style is the one that is not */
#define FIT_WEIGHT 1.6

struct item {
    uint64_t number;
    uint8_t value[ATTRIBUTES], order; /* order: of the title's words */
    uint32_t left;                    /* times it is still shown */
};
/* What a character wants: a set of values (bit mask) of one attribute together with a set of another's. */
struct wish {
    uint8_t a, b;
    uint32_t in_a, in_b;
};
struct character {
    struct wish wishes[ANDS];
    uint32_t likes; /* colours */
    uint8_t avoids; /* a style */
};
struct parade {
    const struct parade_options *o;
    enum status (*line)(void *user, int64_t time_ms, struct str text);
    void *user;
    struct parade_truth *truth;
    struct item *items;
    uint8_t *last_kind; /* of each user's last click; KINDS: none yet */
    struct character characters[CHARACTERS];
    uint32_t fits[KINDS]; /* bit k: goes with kind k */
    uint64_t lists, lines;
    double auc[PARADE_PHASES];
    uint64_t auc_lists[PARADE_PHASES];
    struct buf buf;
};

void parade_defaults(struct parade_options *o)
{
    *o = (struct parade_options){.users = 500,
                                 .items = 200,
                                 .slate = 10,
                                 .events = 100000,
                                 .seed = 1,
                                 .lists_per_s = 1,
                                 .split = 0.5,
                                 .flip = 1,
                                 .start_ms = INT64_C(1767225600000)};
}

static void stream(struct rand *r, const struct parade *p, uint32_t which, uint64_t n)
{
    rand_init(r, (struct rand_key){.seed = p->o->seed, .partition = which, .offset = n, .purpose = RAND_SIMULATE});
}

/* `n` of the first `of` bits. */
static uint32_t some_of(struct rand *r, uint32_t n, uint32_t of)
{
    uint32_t set = 0;
    for (uint32_t i = 0; i < of && n > 0; i++) {
        const bool take = rand_below(r, of - i) < n;
        set |= (uint32_t)take << i;
        n -= take;
    }
    return set;
}

static void make_characters(struct parade *p)
{
    for (uint32_t c = 0; c < CHARACTERS; c++) {
        struct rand r;
        struct character *x = &p->characters[c];
        stream(&r, p, STREAM_CHARACTER, c);
        for (int i = 0; i < ANDS; i++) {
            struct wish *w = &x->wishes[i];
            w->a = (uint8_t)rand_below(&r, ATTRIBUTES);
            w->b = (uint8_t)((w->a + 1 + rand_below(&r, ATTRIBUTES - 1)) % ATTRIBUTES);
            w->in_a = some_of(&r, values_of[w->a] / 3u + 1, values_of[w->a]);
            w->in_b = some_of(&r, values_of[w->b] / 3u + 1, values_of[w->b]);
        }
        x->likes = some_of(&r, COLOURS / 2, COLOURS);
        x->avoids = (uint8_t)rand_below(&r, STYLES);
    }
    for (uint32_t k = 0; k < KINDS; k++) {
        struct rand r;
        stream(&r, p, STREAM_FITS, k);
        p->fits[k] = some_of(&r, 4, KINDS);
    }
}

static double utility(const struct parade *p, const struct character *c, uint8_t last, const struct item *i)
{
    double u = 0;
    for (int w = 0; w < ANDS; w++) {
        const struct wish *x = &c->wishes[w];
        if ((x->in_a >> i->value[x->a] & 1) != 0 && (x->in_b >> i->value[x->b] & 1) != 0) u += AND_WEIGHT;
    }
    if ((c->likes >> i->value[COLOUR] & 1) != 0) u += LIKE_WEIGHT;
    if (i->value[STYLE] == c->avoids) u = -NOT_WEIGHT;
    if (last < KINDS && (p->fits[last] >> i->value[KIND] & 1) != 0) u += FIT_WEIGHT;
    return u;
}

/* ---- the log ---- */

static double done(const struct parade *p)
{
    return (double)p->lines / (double)p->o->events;
}

static int phase(const struct parade *p)
{
    return done(p) >= p->o->flip ? 2 : done(p) >= p->o->split ? 1 : 0;
}

static enum status put_line(struct parade *p, int64_t time_ms, struct err *e)
{
    TRY(buf_status(&p->buf, e));
    p->lines++;
    return p->line(p->user, time_ms, (struct str){(const char *)p->buf.p, p->buf.n});
}

static void put_title(struct buf *b, const struct item *i, int late)
{
    const char *kind = kinds[i->value[KIND]][late], *colour = colours[i->value[COLOUR]][late],
               *material = materials[i->value[MATERIAL]][late], *style = styles[i->value[STYLE]][late],
               *occasion = occasions[i->value[OCCASION]][late];
    switch (i->order) {
    case 0: buf_printf(b, "%s %s %s %s for %s", style, colour, material, kind, occasion); break;
    case 1: buf_printf(b, "%s %s in %s, %s, for %s", material, kind, colour, style, occasion); break;
    default: buf_printf(b, "%s %s for %s, %s and %s", colour, kind, occasion, material, style); break;
    }
}

/* A new item takes the place of one that was shown often enough. */
static enum status new_item(struct parade *p, struct item *i, int64_t time_ms, struct err *e)
{
    struct rand r;
    stream(&r, p, STREAM_ITEM, ++p->truth->items);
    i->number = p->truth->items;
    for (int a = 0; a < ATTRIBUTES; a++) i->value[a] = (uint8_t)rand_below(&r, values_of[a]);
    i->order = (uint8_t)rand_below(&r, 3);
    i->left = LIFE_LEAST + (uint32_t)rand_below(&r, LIFE_MOST - LIFE_LEAST + 1);
    buf_clear(&p->buf);
    buf_printf(&p->buf, "{\"type\":\"item\",\"time\":%lld,\"item\":\"p%llu\",\"title\":\"", (long long)time_ms,
               (unsigned long long)i->number);
    put_title(&p->buf, i, phase(p) > 0);
    buf_printf(&p->buf, "\"}\n");
    return put_line(p, time_ms, e);
}

static double auc(const double *u, const bool *clicked, uint32_t n)
{
    double wins = 0, pairs = 0;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < n; k++) {
            if (!clicked[i] || clicked[k]) continue;
            pairs++;
            wins += u[i] > u[k] ? 1 : u[i] == u[k] ? 0.5 : 0;
        }
    return pairs > 0 ? wins / pairs : NAN;
}

static enum status put_list(struct parade *p, uint32_t user, const uint32_t *shown, int64_t time_ms, struct err *e)
{
    buf_clear(&p->buf);
    buf_printf(&p->buf, "{\"type\":\"impression\",\"time\":%lld,\"request\":\"r%llu\",\"user\":\"u%u\",\"items\":[",
               (long long)time_ms, (unsigned long long)p->lists, user);
    for (uint32_t k = 0; k < p->o->slate; k++)
        buf_printf(&p->buf, "%s\"p%llu\"", k > 0 ? "," : "", (unsigned long long)p->items[shown[k]].number);
    buf_printf(&p->buf, "]}\n");
    return put_line(p, time_ms, e);
}

static enum status put_click(struct parade *p, uint32_t user, const struct item *i, int64_t time_ms, struct err *e)
{
    buf_clear(&p->buf);
    buf_printf(&p->buf,
               "{\"type\":\"click\",\"time\":%lld,\"request\":\"r%llu\",\"user\":\"u%u\",\"item\":\"p%llu\"}\n",
               (long long)time_ms, (unsigned long long)p->lists, user, (unsigned long long)i->number);
    p->truth->clicks++;
    return put_line(p, time_ms, e);
}

/* Distinct places of the pool (selection by retry: the pool is at least as large as a list). */
static void draw(const struct parade *p, struct rand *r, uint32_t *shown)
{
    for (uint32_t n = 0; n < p->o->slate;) {
        const uint32_t at = (uint32_t)rand_below(r, p->o->items);
        bool again = false;
        for (uint32_t k = 0; k < n; k++) again |= shown[k] == at;
        if (!again) shown[n++] = at;
    }
}

/* One list, what is clicked in it, and new items for those that have had their time. */
static enum status next_list(struct parade *p, struct err *e)
{
    struct rand r;
    uint32_t shown[LIST_MAX];
    double u[LIST_MAX];
    bool clicked[LIST_MAX];
    const double gap_ms = 1000.0 / p->o->lists_per_s;
    const int64_t time_ms = p->o->start_ms + (int64_t)((double)++p->lists * gap_ms);
    stream(&r, p, STREAM_LIST, p->lists);
    const uint32_t user = (uint32_t)rand_below(&r, p->o->users), n = p->o->slate;
    const int at = phase(p);
    const uint8_t last = p->last_kind[user];
    draw(p, &r, shown);
    for (uint32_t k = 0; k < n; k++) {
        const double x = utility(p, &p->characters[user % CHARACTERS], last, &p->items[shown[k]]);
        u[k] = at == 2 ? -x : x;
        clicked[k] = rand_unit(&r) < 1.0 / (1.0 + exp(-(BIAS + u[k])));
    }
    p->truth->lists++;
    p->truth->lists_of[at]++;
    p->truth->shown += n;
    const double one = auc(u, clicked, n);
    if (!isnan(one)) p->auc[at] += one, p->auc_lists[at]++;
    TRY(put_list(p, user, shown, time_ms, e));
    for (uint32_t k = 0; k < n; k++) {
        struct item *i = &p->items[shown[k]];
        if (!clicked[k]) continue;
        TRY(put_click(p, user, i, time_ms + 1 + (int64_t)(gap_ms * 0.9 * (k + 1.0) / (n + 1.0)), e));
        p->last_kind[user] = i->value[KIND];
    }
    for (uint32_t k = 0; k < n; k++)
        if (--p->items[shown[k]].left == 0)
            TRY(new_item(p, &p->items[shown[k]], time_ms + (int64_t)(gap_ms * 0.95), e));
    return STATUS_OK;
}

static enum status run(struct parade *p, struct err *e)
{
    make_characters(p);
    memset(p->last_kind, KINDS, p->o->users);
    for (uint32_t i = 0; i < p->o->items; i++) TRY(new_item(p, &p->items[i], p->o->start_ms, e));
    while (p->lines < p->o->events) TRY(next_list(p, e));
    return STATUS_OK;
}

enum status parade_run(const struct parade_options *o,
                       enum status (*line)(void *user, int64_t time_ms, struct str text), void *user,
                       struct parade_truth *truth, struct err *e)
{
    *truth = (struct parade_truth){0};
    if (o->slate < 1 || o->slate > LIST_MAX || o->items < o->slate || o->users < 1)
        return ERR_SET(e, STATUS_INVALID, "a list of %u items from a pool of %u: 1 to %d, and no more than the pool",
                       o->slate, o->items, LIST_MAX);
    struct parade p = {.o = o, .line = line, .user = user, .truth = truth};
    p.items = mem_calloc(o->items, sizeof *p.items);
    p.last_kind = mem_calloc(o->users, 1);
    enum status st = p.items != NULL && p.last_kind != NULL
                         ? run(&p, e)
                         : ERR_SET(e, STATUS_OOM, "parade of %u users and %u items", o->users, o->items);
    for (int i = 0; i < PARADE_PHASES; i++)
        truth->gauc[i] = p.auc_lists[i] > 0 ? p.auc[i] / (double)p.auc_lists[i] : NAN;
    mem_free(p.items);
    mem_free(p.last_kind);
    buf_fini(&p.buf);
    return st;
}

void parade_write_truth(struct buf *b, const struct parade_options *o, const struct parade_truth *t)
{
    static const char *const names[PARADE_PHASES] = {"first_words", "second_words", "flipped"};
    buf_printf(b, "{\"scenario\":\"parade\",\"seed\":%llu,\"lists\":%llu,\"shown\":%llu,\"clicks\":%llu,\"items\":%llu",
               (unsigned long long)o->seed, (unsigned long long)t->lists, (unsigned long long)t->shown,
               (unsigned long long)t->clicks, (unsigned long long)t->items);
    buf_printf(b, ",\"phase_lists\":{");
    for (int i = 0; i < PARADE_PHASES; i++)
        buf_printf(b, "%s\"%s\":%llu", i > 0 ? "," : "", names[i], (unsigned long long)t->lists_of[i]);
    buf_printf(b, "},\"oracle_gauc\":{");
    for (int i = 0; i < PARADE_PHASES; i++) {
        buf_printf(b, "%s\"%s\":", i > 0 ? "," : "", names[i]);
        if (isnan(t->gauc[i]))
            buf_printf(b, "null");
        else
            buf_printf(b, "%.6f", t->gauc[i]);
    }
    buf_printf(b, "}}\n");
}

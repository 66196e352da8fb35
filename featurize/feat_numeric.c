/* feat_numeric.c - the numeric features: a table of families, the names it makes, and their values.
 *
 * A name is a family with its blanks filled in: "item.TYPE.WINDOW" → item.purchase.24h.  TYPE is a behaviour of the
 * config or `shown`; WINDOW a half-life of counter.half_lives_hours in hours (24h) or `all`; KAPPA the impressions that a rate's
 * parent counts for.  Counts and times enter as
 * log1p, so that a linear part can use them; what is unknown is 0 with a flag of its own beside it.
 */
#include "base/hash.h"
#include "featurize/feat_private.h"
#include "featurize/feat_rate.h"
#include <math.h>
#include <stdio.h>

#define NEW_DAYS 14
#define KAPPA_MOST 1000

/* X(enum value, name pattern, text) */
#define FAMILIES(X)                                                                                                    \
    X(ITEM_COUNT, "item.TYPE.WINDOW", "log1p of the item's decayed count of the behaviour")                            \
    X(ITEM_RECENCY, "item.TYPE.recency", "log1p of days since the item's last such behaviour; 0: never")               \
    X(PAIR_COUNT, "user_item.TYPE.count", "log1p of how often this user did it with this item")                        \
    X(PAIR_HAD, "user_item.TYPE.had", "1 when this user ever did it with this item")                                   \
    X(PAIR_RECENCY, "user_item.TYPE.recency", "log1p of days since; 0: never")                                         \
    X(USER_COUNT, "user.TYPE.WINDOW", "log1p of the user's decayed count of the behaviour")                            \
    X(USER_KNOWN, "user.known", "1 when anything is remembered of the user")                                           \
    X(USER_SLATES, "user.slates", "log1p of the user's settled orders and lists")                                      \
    X(USER_EVENTS, "user.events", "log1p of the user's remembered events")                                             \
    X(USER_RECENCY, "user.recency", "log1p of days since the user's last event")                                       \
    X(USER_RATE, "user.rate", "shrunk log-odds of being taken when shown, of this user, less that of all (KAPPA 20)")  \
    X(USER_RATE_BY, "user.rate.KAPPA", "the same with another KAPPA")                                                  \
    X(ITEM_KNOWN, "item.known", "1 when the item is in the catalogue")                                                 \
    X(ITEM_AGE, "item.age", "log1p of days since the item was announced or first taken")                               \
    X(ITEM_NEW, "item.is_new", "1 when the item is known and at most 14 days old")                                     \
    X(ITEM_ACTIVITY, "item.recency", "log1p of days since the item was announced or taken")                            \
    X(ITEM_HAS_PRICE, "item.has_price", "1 when the catalogue knows a price")                                          \
    X(ITEM_PRICE, "item.price", "log1p of the catalogue's price; 0: unknown")                                          \
    X(PRICE_DIFF, "item.price_vs_user", "log price less the mean of what this user took; 0: unknown")                  \
    X(PRICE_GAP, "item.price_gap", "size of that difference")                                                          \
    X(ITEM_RATE, "item.rate", "of this item, shrunk to its category's or brand's rate (KAPPA 20)")                     \
    X(ITEM_RATE_BY, "item.rate.KAPPA", "the same with another KAPPA")                                                  \
    X(CATEGORY_RATE, "category.rate", "of the items of its category together (KAPPA 20)")                              \
    X(CATEGORY_RATE_BY, "category.rate.KAPPA", "the same with another KAPPA")                                          \
    X(BRAND_RATE, "brand.rate", "of the items of its brand (KAPPA 20)")                                                \
    X(BRAND_RATE_BY, "brand.rate.KAPPA", "the same with another KAPPA")                                                \
    X(TAG_RATE, "tag.rate", "of the items that have its tags (KAPPA 20)")                                              \
    X(TAG_RATE_BY, "tag.rate.KAPPA", "the same with another KAPPA")                                                    \
    X(SAME_CATEGORY, "history.category", "share of the user's remembered events with the item's category")             \
    X(SAME_BRAND, "history.brand", "share with the item's brand")                                                      \
    X(SAME_TAGS, "history.tags", "share with at least one tag of the item")

enum family {
#define X(name, pattern, text) name,
    FAMILIES(X)
#undef X
        N_FAMILIES
};
static const struct {
    const char *pattern, *text;
} families[N_FAMILIES] = {
#define X(name, pattern, text) {pattern, text},
    FAMILIES(X)
#undef X
};

/* The default set; rows with TYPE go over the types listed, those with WINDOW over all windows. */
static const struct {
    enum family family;
    const char *types;
    bool all_time_only;
} defaults[] = {
    {ITEM_COUNT, "purchase,click,cart,like,view", false},
    {ITEM_COUNT, "shown,refund,dislike", true},
    {ITEM_RECENCY, "purchase,click", false},
    {PAIR_COUNT, "purchase,click,cart,like,view,refund,dislike", false},
    {PAIR_HAD, "purchase,click,view", false},
    {PAIR_RECENCY, "purchase,click,view", false},
    {USER_COUNT, "purchase,click,view", true},
    {USER_KNOWN, "", false},
    {USER_SLATES, "", false},
    {USER_EVENTS, "", false},
    {USER_RECENCY, "", false},
    {USER_RATE, "", false},
    {ITEM_KNOWN, "", false},
    {ITEM_AGE, "", false},
    {ITEM_NEW, "", false},
    {ITEM_ACTIVITY, "", false},
    {ITEM_HAS_PRICE, "", false},
    {ITEM_PRICE, "", false},
    {PRICE_DIFF, "", false},
    {PRICE_GAP, "", false},
    {ITEM_RATE, "", false},
    {CATEGORY_RATE, "", false},
    {BRAND_RATE, "", false},
    {TAG_RATE, "", false},
    {SAME_CATEGORY, "", false},
    {SAME_BRAND, "", false},
    {SAME_TAGS, "", false},
};

/* ---- names ---- */

static int type_find(const struct conf *c, struct str name)
{
    return str_is(name, "shown") ? RECORD_SHOWN : conf_type_find(c, name);
}

static size_t window_name(const struct feat *f, unsigned window, char out[FEAT_NAME_MAX])
{
    if (window == COUNTER_ALL) return (size_t)snprintf(out, FEAT_NAME_MAX, "all");
    return (size_t)snprintf(out, FEAT_NAME_MAX, "%gh", f->decay.hours[window]);
}

static int window_find(const struct feat *f, struct str name)
{
    char text[FEAT_NAME_MAX];
    for (unsigned w = 0; w <= COUNTER_ALL; w++) {
        const size_t n = window_name(f, w, text);
        if (str_eq(name, (struct str){text, n})) return (int)w;
    }
    return -1;
}

/* A whole number from 1 to KAPPA_MOST; -1: none. */
static int kappa_of(struct str name)
{
    int k = 0;
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] < '0' || name.p[i] > '9') return -1;
        k = 10 * k + name.p[i] - '0';
        if (k == 0 || k > KAPPA_MOST) return -1;
    }
    return name.n > 0 ? k : -1;
}

static struct str next_word(struct str *rest)
{
    size_t n = 0;
    while (n < rest->n && rest->p[n] != '.') n++;
    const struct str word = {rest->p, n};
    const size_t step = n < rest->n ? n + 1 : n;
    rest->p += step;
    rest->n -= step;
    return word;
}

/* Does the name fit the family's pattern?  Fills type and window on the way. */
static bool family_fits(const struct feat *f, const struct conf *c, const char *pattern, struct str name,
                        struct feat_numeric *out)
{
    struct str rest = str_from(pattern);
    while (rest.n > 0 && name.n > 0) {
        const struct str want = next_word(&rest), word = next_word(&name);
        int found = 0;
        if (str_is(want, "TYPE"))
            out->type = (uint8_t)(found = type_find(c, word));
        else if (str_is(want, "WINDOW"))
            out->window = (uint8_t)(found = window_find(f, word));
        else if (str_is(want, "KAPPA"))
            out->kappa = (uint16_t)(found = kappa_of(word));
        else if (!str_eq(want, word))
            return false;
        if (found < 0) return false;
    }
    return rest.n == 0 && name.n == 0;
}

static enum status add(struct feat *f, const struct conf *c, struct str name, struct err *e)
{
    struct feat_numeric made = {.kind = N_FAMILIES, .kappa = FEAT_RATE_KAPPA};
    for (uint32_t i = 0; i < f->n_numeric; i++)
        if (str_is(name, f->numeric[i].name)) return STATUS_OK; /* named twice, or part of the default */
    if (f->n_numeric >= FEAT_NUMERIC_MAX)
        return ERR_SET(e, STATUS_INVALID, "model.features: more than %d features; name fewer", FEAT_NUMERIC_MAX);
    for (uint8_t k = 0; k < N_FAMILIES && name.n < FEAT_NAME_MAX && made.kind == N_FAMILIES; k++)
        if (family_fits(f, c, families[k].pattern, name, &made)) made.kind = k;
    if (made.kind == N_FAMILIES)
        return ERR_SET(e, STATUS_INVALID,
                       "model.features: no feature '" STR_FMT "'; names look like item.purchase.%gh, "
                       "user_item.purchase.count, item.price, history.category (model.features in CONFIG.md)",
                       STR_ARG(name), f->decay.hours[0]);
    memcpy(made.name, name.p, name.n);
    f->numeric[f->n_numeric++] = made;
    return STATUS_OK;
}

/* One family with one type: the pattern's words filled in. */
static enum status add_filled(struct feat *f, const struct conf *c, const char *pattern, struct str type,
                              unsigned window, struct err *e)
{
    char name[2 * FEAT_NAME_MAX] = "", text[FEAT_NAME_MAX];
    size_t n = 0;
    for (struct str rest = str_from(pattern); rest.n > 0;) {
        struct str word = next_word(&rest);
        if (str_is(word, "TYPE")) word = type;
        if (str_is(word, "WINDOW")) word = (struct str){text, window_name(f, window, text)};
        n += (size_t)snprintf(name + n, sizeof name - n, "%s" STR_FMT, n > 0 ? "." : "", STR_ARG(word));
        if (n >= sizeof name) n = sizeof name - 1;
    }
    return add(f, c, (struct str){name, n}, e);
}

static enum status add_windows(struct feat *f, const struct conf *c, const char *pattern, struct str type,
                               bool all_time_only, struct err *e)
{
    if (strstr(pattern, "WINDOW") == NULL) return add_filled(f, c, pattern, type, 0, e);
    for (unsigned w = all_time_only ? COUNTER_ALL : 0; w <= COUNTER_ALL; w++)
        TRY(add_filled(f, c, pattern, type, w, e));
    return STATUS_OK;
}

static enum status add_default(struct feat *f, const struct conf *c, struct err *e)
{
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++) {
        const char *pattern = families[defaults[i].family].pattern;
        const char *types = defaults[i].types;
        if (*types == '\0') TRY(add_filled(f, c, pattern, (struct str){NULL, 0}, 0, e));
        while (*types != '\0') {
            const size_t n = strcspn(types, ",");
            TRY(add_windows(f, c, pattern, (struct str){types, n}, defaults[i].all_time_only, e));
            types += types[n] == ',' ? n + 1 : n;
        }
    }
    /* The user's own types with a positive label count like the built-in ones. */
    for (uint32_t t = EVENT_TYPES_BUILTIN; t < c->n_types; t++) {
        if (c->types[t].label != CONF_LABEL_POSITIVE || f->n_numeric + 6 > FEAT_NUMERIC_MAX) continue;
        const struct str type = str_from(c->types[t].name);
        if (type.n > 32 || memchr(type.p, '.', type.n) != NULL) continue;
        TRY(add_windows(f, c, families[ITEM_COUNT].pattern, type, false, e));
        TRY(add_windows(f, c, families[PAIR_COUNT].pattern, type, false, e));
    }
    return STATUS_OK;
}

enum status feat_numeric_init(struct feat *f, const struct conf *c, struct err *e)
{
    for (const char *p = c->model_features; *p != '\0';) {
        const size_t n = strcspn(p, ",");
        struct str name = {p, n};
        while (name.n > 0 && name.p[0] == ' ') name.p++, name.n--;
        while (name.n > 0 && name.p[name.n - 1] == ' ') name.n--;
        if (str_is(name, "default"))
            TRY(add_default(f, c, e));
        else if (name.n > 0)
            TRY(add(f, c, name, e));
        p += p[n] == ',' ? n + 1 : n;
    }
    return STATUS_OK;
}

void feat_document(struct buf *b)
{
    buf_printf(
        b, "\n## model.features\n\nNumeric features by name, comma-separated; TYPE is a behaviour type or `shown` "
           "(recorded impressions, counted\nwhen settled), WINDOW a half-life of `counter.half_lives_hours` (`24h`) or "
           "`all`, KAPPA how many impressions\na rate's parent counts for (1 to 1000). `default` stands for the "
           "default set and\nmay be followed by others.\n\n"
           "| feature | value |\n|---|---|\n");
    for (int k = 0; k < N_FAMILIES; k++) buf_printf(b, "| `%s` | %s |\n", families[k].pattern, families[k].text);
}

/* ---- values ---- */

/* log1p of n >= 0 to a float's precision, in a third of its time.  Most counts are 0. */
static double log_1_plus(double n)
{
    return n < 1e-7 ? n : log(1 + n);
}

static double log_days(int64_t from_ms, int64_t to_ms)
{
    return log_1_plus(feat_days(from_ms, to_ms));
}

static double pair_value(const struct feat_view *v, const struct feat_numeric *n)
{
    uint32_t i = 0;
    while (i < v->n_pairs && v->pairs[i].type != n->type) i++;
    if (i == v->n_pairs) return 0;
    const struct record_pair *p = &v->pairs[i];
    if (n->kind == PAIR_COUNT) return log_1_plus((double)p->count);
    return n->kind == PAIR_HAD ? 1 : log_days(p->last_ms, v->s->time_ms);
}

static double user_value(const struct feat_view *v, const struct feat_numeric *n)
{
    const struct record_user *u = v->user;
    if (u == NULL) return 0;
    switch (n->kind) {
    case USER_COUNT:
        return log_1_plus(
            counter_at(counter_find(u->tallies, u->n_tallies, n->type), &v->f->decay, n->window, v->s->time_ms));
    case USER_KNOWN: return 1;
    case USER_SLATES: return log_1_plus(u->n_slates);
    case USER_EVENTS: return log_1_plus(u->n_events);
    case USER_RECENCY: return u->n_events > 0 ? log_days(u->last_ms, v->s->time_ms) : 0;
    case USER_RATE:
    case USER_RATE_BY: return feat_rate_user(v, n->kappa);
    default: return 0;
    }
}

static double price_diff(const struct feat_view *v)
{
    if (v->user == NULL || !(v->user->price_n > 0) || isnan(v->item->price)) return 0;
    return log1p((double)v->item->price) - v->user->price_sum / v->user->price_n;
}

static bool shares_tag(const struct record_event *ev, const uint32_t *tags, uint32_t n)
{
    uint32_t theirs[HISTORY_TAGS_MAX];
    const uint32_t m = history_tags(ev, theirs);
    for (uint32_t i = 0; i < m; i++)
        for (uint32_t j = 0; j < n; j++)
            if (theirs[i] == tags[j]) return true;
    return false;
}

static double history_share(const struct feat_view *v, uint8_t kind)
{
    uint32_t tags[HISTORY_TAGS_MAX], n_tags = 0, hits = 0;
    const struct record_user *u = v->user;
    if (u == NULL || u->n_events == 0) return 0;
    if (kind == SAME_TAGS && (n_tags = catalogue_tags(v->item, tags)) == 0) return 0;
    if ((kind == SAME_CATEGORY && v->item->category == 0) || (kind == SAME_BRAND && v->item->brand == 0)) return 0;
    for (uint32_t i = 0; i < u->n_events; i++) {
        const struct record_event *ev = &u->events[i];
        if (kind == SAME_CATEGORY) hits += ev->category == v->item->category;
        if (kind == SAME_BRAND) hits += ev->brand == v->item->brand;
        if (kind == SAME_TAGS) hits += shares_tag(ev, tags, n_tags);
    }
    return (double)hits / u->n_events;
}

static double item_value(const struct feat_view *v, const struct feat_numeric *n)
{
    const struct record_item *i = v->item;
    const int64_t now = v->s->time_ms;
    if (i == NULL) return 0;
    const struct record_tally *t = counter_find(i->tallies, i->n_tallies, n->type);
    switch (n->kind) {
    case ITEM_COUNT: return log_1_plus(counter_at(t, &v->f->decay, n->window, now));
    case ITEM_RECENCY: return t ? log_days(t->time_ms, now) : 0;
    case ITEM_KNOWN: return v->known;
    case ITEM_AGE: return v->known ? log_days(i->first_ms, now) : 0;
    case ITEM_NEW: return v->known && feat_days(i->first_ms, now) <= NEW_DAYS;
    case ITEM_ACTIVITY: return v->known ? log_days(i->last_ms, now) : 0;
    case ITEM_HAS_PRICE: return !isnan(i->price);
    case ITEM_PRICE: return isnan(i->price) ? 0 : log1p((double)i->price);
    case PRICE_DIFF: return price_diff(v);
    case PRICE_GAP: return fabs(price_diff(v));
    case ITEM_RATE:
    case ITEM_RATE_BY: return feat_rate_item(v, n->kappa);
    case CATEGORY_RATE:
    case CATEGORY_RATE_BY: return feat_rate_group(v, RECORD_RATE_CATEGORY, n->kappa);
    case BRAND_RATE:
    case BRAND_RATE_BY: return feat_rate_group(v, RECORD_RATE_BRAND, n->kappa);
    case TAG_RATE:
    case TAG_RATE_BY: return feat_rate_group(v, RECORD_RATE_TAGS, n->kappa);
    default: return history_share(v, n->kind);
    }
}

static bool is_pair(uint8_t kind)
{
    return kind == PAIR_COUNT || kind == PAIR_HAD || kind == PAIR_RECENCY;
}

static bool is_user(uint8_t kind)
{
    return kind >= USER_COUNT && kind <= USER_RATE_BY;
}

static float as_feature(double x)
{
    return isfinite(x) ? (float)x : 0;
}

void feat_numeric_user(const struct feat_view *v)
{
    for (uint32_t i = 0; i < v->f->n_numeric; i++)
        if (is_user(v->f->numeric[i].kind)) v->f->user_values[i] = as_feature(user_value(v, &v->f->numeric[i]));
}

void feat_numeric_fill(const struct feat_view *v, float *out)
{
    for (uint32_t i = 0; i < v->f->n_numeric; i++) {
        const struct feat_numeric *n = &v->f->numeric[i];
        if (is_user(n->kind))
            out[i] = v->f->user_values[i];
        else
            out[i] = as_feature(is_pair(n->kind) ? pair_value(v, n) : item_value(v, n));
    }
}

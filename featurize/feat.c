/* feat.c - sentences as token ids, and the filling of a slate: events, candidates, their features and baselines. */
#include "featurize/feat.h"
#include "base/hash.h"
#include "base/mem.h"
#include "featurize/feat_private.h"
#include <math.h>

#define COLD_SLATES 2
#define COLD_POSITIVES 4
#define POPULARITY_HOURS 672
#define IDS_MAX 65535   /* what a record can hold */
#define TOGETHER 8      /* candidates that one worker fills at a time: some ten microseconds */
#define SHARED_LEAST 73 /* to be worth another's waking */

/* ---- making ---- */

static void set_types(struct feat *f, const struct conf *c)
{
    f->n_types = c->n_types;
    for (uint32_t i = 0; i < c->n_types; i++) f->positive[i] = c->types[i].label == CONF_LABEL_POSITIVE;
}

enum status feat_new(struct feat **out, const struct conf *c, const struct token_vocab *vocab,
                     const struct describe *templates, struct err *e)
{
    enum status st = STATUS_OK;
    *out = NULL;
    struct feat *f = mem_calloc(1, sizeof *f);
    if (f == NULL) return ERR_SET(e, STATUS_OOM, "feat: out of memory");
    f->vocab = vocab;
    f->templates = templates;
    f->limits = history_limits(c);
    f->cooccur = cooccur_of(c);
    f->n_events = (uint32_t)c->model_events;
    f->max_tokens = (size_t)c->model_max_tokens;
    if (vocab != NULL && f->max_tokens > token_max_length(vocab)) f->max_tokens = token_max_length(vocab);
    if (f->max_tokens > IDS_MAX) f->max_tokens = IDS_MAX;
    set_types(f, c);
    TRY_OUT(st, counter_init(&f->decay, c, e));
    f->popularity_window = counter_nearest(&f->decay, POPULARITY_HOURS);
    f->rate_window = counter_nearest(&f->decay, COUNTER_RATE_HOURS);
    TRY_OUT(st, feat_numeric_init(f, c, e));
    f->ids = mem_calloc(f->max_tokens, sizeof *f->ids);
    f->kept = feat_sentences_new();
    if (f->ids == NULL || f->kept == NULL) st = ERR_SET(e, STATUS_OOM, "feat: out of memory");
out:
    if (st == STATUS_OK)
        *out = f;
    else
        feat_free(f);
    return st;
}

void feat_free(struct feat *f)
{
    if (f == NULL) return;
    feat_sentences_free(f->kept);
    mem_free(f->ids);
    mem_free(f->hashed_idx);
    mem_free(f->hashed_val);
    mem_free(f->views);
    mem_free(f);
}

void feat_use_pool(struct feat *f, struct pool *p)
{
    f->pool = p;
}

uint32_t feat_count(const struct feat *f)
{
    return f->n_numeric;
}
const char *feat_name(const struct feat *f, uint32_t i)
{
    return i < f->n_numeric ? f->numeric[i].name : "?";
}
const struct describe *feat_templates(const struct feat *f)
{
    return f->templates;
}
uint64_t feat_tokens_seen(const struct feat *f)
{
    return f->tokens_seen;
}
uint64_t feat_tokens_unknown(const struct feat *f)
{
    return f->tokens_unknown;
}

uint64_t feat_fingerprint(const struct feat *f)
{
    uint64_t h = hash_mix(describe_fingerprint(f->templates), f->vocab ? token_fingerprint(f->vocab) : 0);
    h = hash_mix(h, f->max_tokens);
    for (uint32_t i = 0; i < f->n_numeric; i++) h = hash_mix(h, hash_str(str_from(f->numeric[i].name)));
    return h;
}

uint64_t feat_recipe(const struct feat *f)
{
    uint64_t h = hash_mix(feat_fingerprint(f), f->n_events);
    h = hash_mix(hash_mix(h, f->limits.events), f->limits.pairs);
    h = hash_mix(h, hash_bytes(f->decay.hours, sizeof f->decay.hours));
    h = hash_mix(h, hash_bytes(&f->cooccur.halvings_per_ms, sizeof f->cooccur.halvings_per_ms));
    for (uint32_t i = 0; i < f->n_types; i++) h = hash_mix(h, f->positive[i]);
    return h;
}

double feat_days(int64_t from_ms, int64_t to_ms)
{
    const double days = ((double)to_ms - (double)from_ms) / (double)COUNTER_DAY_MS;
    return days > 0 ? days : 0;
}

/* ---- sentences ---- */

/* text's ids into f->ids: from what was cut before, or cut now. */
static enum status tokens(struct feat *f, struct str text, uint32_t *n, struct err *e)
{
    size_t made = 0;
    const int32_t *kept = feat_sentences_get(f->kept, text, n);
    if (kept != NULL) {
        memcpy(f->ids, kept, *n * sizeof *kept);
        return STATUS_OK;
    }
    const struct token_opts o = {.special_in_text = false, .add_special = true, .max_length = f->max_tokens};
    TRY(token_encode(f->vocab, text, o, f->ids, f->max_tokens, &made, e));
    *n = (uint32_t)made;
    feat_sentences_put(f->kept, text, f->ids, *n);
    return STATUS_OK;
}

static enum status sentence(struct feat *f, uint8_t type, const char *type_name, const struct record_attr *attrs,
                            uint32_t n_attrs, const int32_t **ids, uint32_t *n, struct err *e)
{
    *ids = f->ids;
    *n = 0;
    if (f->vocab == NULL) return STATUS_OK;
    const size_t bytes = describe_render(f->templates, type, type_name, attrs, n_attrs, f->text, sizeof f->text);
    TRY(tokens(f, (struct str){f->text, bytes}, n, e));
    f->tokens_seen += *n;
    f->tokens_unknown += token_count_unknown(f->vocab, f->ids, *n);
    return STATUS_OK;
}

void feat_on_sentence(struct feat *f, feat_sentence_fn *fn, void *user)
{
    f->sentence = fn;
    f->sentence_user = user;
}

static void announce(const struct feat *f, const int32_t *ids, uint32_t n)
{
    if (f->sentence != NULL && n > 0) f->sentence(f->sentence_user, ids, n);
}

enum status feat_item_sentence(struct feat *f, const struct record_attr *attrs, uint32_t n_attrs, const int32_t **ids,
                               uint32_t *n, struct err *e)
{
    return sentence(f, DESCRIBE_ITEM, NULL, attrs, n_attrs, ids, n, e);
}

enum status feat_event_sentence(struct feat *f, uint8_t type, const char *type_name,
                                const struct record_attr *item_attrs, uint32_t n_attrs, const int32_t **ids,
                                uint32_t *n, struct err *e)
{
    return sentence(f, type, type_name, item_attrs, n_attrs, ids, n, e);
}

/* ---- records from outside ---- */

enum status feat_item_from_attrs(struct feat *f, struct record_item *out, struct str id, const struct event_attr *attrs,
                                 uint32_t n, int64_t time_ms, struct err *e)
{
    enum status st = STATUS_OK;
    unsigned changed;
    *out = (struct record_item){.scratch = out->scratch,
                                .id = record_part_text(out->scratch, id.n > 0 ? id : STR("")),
                                .hash = hash_str(id),
                                .row = FEAT_ROW_NONE,
                                .first_ms = time_ms,
                                .last_ms = time_ms,
                                .price = NAN};
    if (out->id.p == NULL)
        st = ERR_SET(e, STATUS_OOM, "feat: out of memory for an item");
    else
        st = catalogue_set_attrs(out, f->templates, false, attrs, n, &changed, e);
    if (st != STATUS_OK) record_item_fini(out);
    return st;
}

enum status feat_user_take(struct feat *f, struct record_user *u, const struct record_item *item, struct str item_id,
                           uint8_t type, const char *type_name, double price, int64_t time_ms, struct err *e)
{
    uint32_t n_ids, tags[HISTORY_TAGS_MAX];
    const int32_t *ids;
    if (type >= EVENT_TYPES_MAX)
        return ERR_SET(e, STATUS_INVALID, "feat: behaviour type %u of at most %d", type, EVENT_TYPES_MAX - 1);
    TRY(feat_event_sentence(f, type, type_name, item ? item->attrs : NULL, item ? item->n_attrs : 0, &ids, &n_ids, e));
    announce(f, ids, n_ids);
    if (item != NULL) announce(f, item->ids, item->n_ids);
    struct history_event ev = {.item = hash_str(item_id),
                               .time_ms = time_ms,
                               .type = type,
                               .positive = f->positive[type],
                               .price = price,
                               .ids = ids,
                               .n_ids = (uint16_t)n_ids,
                               .tags = tags};
    if (item != NULL) {
        if (isnan(price)) ev.price = (double)item->price;
        ev.category = item->category;
        ev.brand = item->brand;
        ev.n_tags = catalogue_tags(item, tags);
    }
    return history_take(u, &ev, &f->decay, f->limits, e);
}

/* ---- filling ---- */

static enum status oom(const struct slate *s, struct err *e)
{
    return ERR_SET(e, STATUS_OOM, "feat: out of memory for a slate of %u items", s->n_items);
}

static enum status fill_events(const struct feat *f, struct slate *s, const struct record_user *u, struct err *e)
{
    const uint32_t n = u == NULL ? 0 : u->n_events < f->n_events ? u->n_events : f->n_events;
    s->n_events = n;
    s->events = arena_alloc(s->arena, n, sizeof *s->events);
    if (s->events == NULL && n > 0) return oom(s, e);
    for (uint32_t i = 0; i < n; i++) {
        const struct record_event *r = &u->events[i];
        const double minutes = feat_days(r->time_ms, s->time_ms) * 24 * 60;
        s->events[i] = (struct slate_event){.sentence = slate_add_sentence(s, r->ids, r->n_ids),
                                            .item = r->item,
                                            .time_ms = r->time_ms,
                                            .age_minutes = (float)minutes,
                                            .type = r->type};
        if (s->events[i].sentence == UINT32_MAX) return oom(s, e);
    }
    return STATUS_OK;
}

static double popularity(const struct feat_view *v)
{
    double sum = 0;
    for (uint32_t i = 0; v->item != NULL && i < v->item->n_tallies; i++) {
        const struct record_tally *t = &v->item->tallies[i];
        if (t->type < EVENT_TYPES_MAX && v->f->positive[t->type])
            sum += counter_at(t, &v->f->decay, v->f->popularity_window, v->s->time_ms);
    }
    return sum;
}

/* How often the user took the item, by behaviours with a positive label; *any: had it by any behaviour. */
static double times_taken(const struct feat_view *v, bool *any)
{
    double n = 0;
    *any = false;
    for (uint32_t i = 0; i < v->n_pairs; i++) {
        const struct record_pair *p = &v->pairs[i];
        if (p->type >= v->f->n_types || !v->f->positive[p->type]) continue;
        n += p->count;
        *any = true;
    }
    return n;
}

static void fill_item(const struct feat_view *v, const struct feat_candidate *c, struct slate_item *out)
{
    bool had;
    const double pop = popularity(v), times = times_taken(v, &had);
    out->label = c->label;
    out->weight = c->weight;
    out->examples = 1;
    out->log_kq = c->log_kq;
    out->flags = c->flags & SLATE_ITEM_SAMPLED;
    if (v->known) out->flags |= SLATE_ITEM_KNOWN;
    if (v->item == NULL || v->item->positives < COLD_POSITIVES) out->flags |= SLATE_ITEM_COLD;
    if (!had) out->flags |= SLATE_ITEM_FIRST_TIME;
    out->popularity = (float)pop;
    out->repeat = (float)(times + 1e-3 * pop / (1 + pop));
    out->category = v->item != NULL ? (uint32_t)v->item->category : 0;
    out->age_days = v->known ? (float)feat_days(v->item->first_ms, v->s->time_ms) : 0;
}

/* What must be done in order: sentence, id and hashed features. */
static enum status begin_candidate(struct feat_view *v, struct slate *s, const struct feat_candidate *c, uint32_t k,
                                   struct err *e)
{
    v->item = c->item;
    v->known = c->item != NULL && c->item->row != FEAT_ROW_NONE;
    v->item_hash = c->item != NULL ? c->item->hash : hash_str(c->id);
    if (c->item != NULL && c->item->n_ids > 0) {
        v->ids = c->item->ids;
        v->n_ids = c->item->n_ids;
    } else {
        TRY(feat_item_sentence(v->f, c->item ? c->item->attrs : NULL, c->item ? c->item->n_attrs : 0, &v->ids,
                               &v->n_ids, e));
    }
    s->items[k] = (struct slate_item){
        .id = arena_str(s->arena, c->id), .item = v->item_hash, .sentence = slate_add_sentence(s, v->ids, v->n_ids)};
    if (s->items[k].id.p == NULL || s->items[k].sentence == UINT32_MAX) return oom(s, e);
    TRY(feat_hashed_add(v, e));
    s->hashed_off[k + 1] = (uint32_t)v->f->n_hashed;
    return STATUS_OK;
}

/* What depends on the candidate alone. */
static void end_candidate(struct feat_view *v, struct slate *s, const struct feat_candidate *c, uint32_t k)
{
    if (v->user != NULL) v->pairs = history_pairs(v->user, v->item_hash, &v->n_pairs);
    fill_item(v, c, &s->items[k]);
    feat_numeric_fill(v, s->numeric + (size_t)k * s->n_numeric);
    if (v->f->cooccur.on) cooccur_fill(v->item, &v->f->cooccur, s, s->items[k].cooccur);
}

struct filling {
    struct feat_view *views;
    struct slate *s;
    const struct feat_candidate *items;
};

static void end_some(void *filling, size_t from, size_t to)
{
    const struct filling *g = filling;
    for (size_t k = from; k < to; k++) end_candidate(&g->views[k], g->s, &g->items[k], (uint32_t)k);
}

static enum status fill_candidates(const struct feat_view *all, struct slate *s, const struct feat_candidate *items,
                                   struct err *e)
{
    struct feat *f = all->f;
    if (MEM_GROW(f->views, &f->cap_views, s->n_items) != 0) return oom(s, e);
    for (uint32_t k = 0; k < s->n_items; k++) {
        f->views[k] = *all;
        TRY(begin_candidate(&f->views[k], s, &items[k], k, e));
    }
    pool_run_ranges(f->pool, end_some, &(struct filling){f->views, s, items}, s->n_items, TOGETHER, SHARED_LEAST);
    return STATUS_OK;
}

static enum status make_arrays(struct slate *s, struct err *e)
{
    const size_t k = s->n_items;
    s->items = arena_raw(s->arena, k, sizeof *s->items);
    s->numeric = arena_raw(s->arena, k * s->n_numeric, sizeof *s->numeric);
    s->hashed_off = arena_alloc(s->arena, k + 1, sizeof *s->hashed_off);
    return s->items && s->numeric && s->hashed_off ? STATUS_OK : oom(s, e);
}

static enum status keep_hashed(const struct feat *f, struct slate *s, struct err *e)
{
    s->hashed_idx = arena_raw(s->arena, f->n_hashed, sizeof *s->hashed_idx);
    s->hashed_val = arena_raw(s->arena, f->n_hashed, sizeof *s->hashed_val);
    if (s->hashed_idx == NULL || s->hashed_val == NULL) return oom(s, e);
    if (f->n_hashed == 0) return STATUS_OK;
    memcpy(s->hashed_idx, f->hashed_idx, f->n_hashed * sizeof *s->hashed_idx);
    memcpy(s->hashed_val, f->hashed_val, f->n_hashed * sizeof *s->hashed_val);
    return STATUS_OK;
}

enum status feat_fill(struct feat *f, struct slate *s, const struct record_user *user,
                      const struct feat_candidate *items, uint32_t n, const struct event_attr *context,
                      uint32_t n_context, struct err *e)
{
    struct feat_view v = {.f = f, .s = s, .user = user, .context = context, .n_context = n_context};
    v.user_hash = str_has(s->user) ? hash_str(s->user) : 0;
    s->cold_user = user == NULL || user->n_slates < COLD_SLATES;
    s->n_items = n;
    s->n_numeric = f->n_numeric;
    f->n_hashed = 0;
    TRY(fill_events(f, s, user, e));
    TRY(make_arrays(s, e));
    feat_numeric_user(&v);
    TRY(fill_candidates(&v, s, items, e));
    return keep_hashed(f, s, e);
}

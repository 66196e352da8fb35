/* score_hand.c - one request through one pair of hands: overlay, slate, model, ranking, reply. */
#include "base/mem.h"
#include "base/sort.h"
#include "featurize/catalogue.h"
#include "schemas/conf_live.h"
#include "serving/score_private.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

enum status score_hand_init(struct score_hand *h, struct score *s, struct err *e)
{
    uint64_t seed = 0;
    h->s = s;
    arena_init(&h->arena, 0);
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed) seed = (uint64_t)s->clock->mono_us(s->clock);
    rand_init(&h->rand, (struct rand_key){seed, 0, 0, (uint64_t)(h - s->hands), RAND_REQUEST});
    TRY(redis_open(&h->redis, s->conf, s->clock, e));
    TRY(feat_new(&h->feat, s->world, s->vocab, s->templates, e));
    return slate_new(&h->slate, e);
}

/* The last request's answer and all that was made for it. */
static void forget(struct score_hand *h)
{
    memset(&h->answer, 0, sizeof h->answer);
    h->user = (struct record_user){.scratch = &h->arena};
    arena_reset(&h->arena);
}

void score_hand_rest(struct score_hand *h)
{
    score_request_clear(&h->request);
    forget(h);
    if (arena_bytes(&h->arena) > SCORE_HAND_KEPT) arena_fini(&h->arena);
}

void score_hand_fini(struct score_hand *h)
{
    if (h->s == NULL) return;
    score_let_go(h);
    mem_free(h->held);
    buf_fini(&h->pack);
    score_request_fini(&h->request);
    if (h->version != NULL) slot_release(h->line->slot, h->version);
    slate_free(h->slate);
    feat_free(h->feat);
    redis_close(h->redis);
    arena_fini(&h->arena);
}

struct score_request *score_request_of(struct score_hand *h)
{
    return &h->request;
}

/* --- the request's own attributes and history --------------------------------------------------------------------- */

static enum status no_memory(struct err *e)
{
    return ERR_SET(e, STATUS_OOM, "scorer: no memory for the request");
}

static enum status copy_item(struct score_hand *h, const struct record_item *from, struct record_item *to,
                             struct err *e)
{
    buf_clear(&h->pack);
    record_item_encode(&h->pack, from);
    TRY(buf_status(&h->pack, e));
    struct buf_reader r = buf_reader(h->pack.p, h->pack.n);
    return record_item_decode(to, &r, e);
}

/* The record that stands for an item of the request: as known, as known with its attributes laid over, or made of them. */
static enum status item_record(struct score_hand *h, const struct score_item *q, const struct score_record *known,
                               int64_t time_ms, const struct record_item **out, struct err *e)
{
    unsigned changed = 0;
    *out = known ? &known->u.item : NULL;
    if (q->n_attrs == 0) return STATUS_OK;
    struct record_item *own = arena_alloc(&h->arena, 1, sizeof *own);
    if (own == NULL) return no_memory(e);
    own->scratch = &h->arena;
    *out = own;
    if (known == NULL) return feat_item_from_attrs(h->feat, own, q->id, q->attrs, q->n_attrs, time_ms, e);
    TRY(copy_item(h, &known->u.item, own, e));
    TRY(catalogue_set_attrs(own, feat_templates(h->feat), false, q->attrs, q->n_attrs, &changed, e));
    if (changed & CATALOGUE_SENTENCE) { /* made anew by feat_fill */
        own->ids = NULL;
        own->n_ids = 0;
        own->sentence = 0;
    }
    return STATUS_OK;
}

static enum status lay_user(struct score_hand *h, const struct score_found *f, int64_t time_ms, struct err *e)
{
    const struct score_request *q = &h->request;
    bool changed;
    if (f->user != NULL) {
        buf_clear(&h->pack);
        record_user_encode(&h->pack, &f->user->u.user);
        TRY(buf_status(&h->pack, e));
        struct buf_reader r = buf_reader(h->pack.p, h->pack.n);
        TRY(record_user_decode(&h->user, &r, e));
    }
    for (uint32_t i = 0; i < q->n_attributes; i++)
        TRY(catalogue_set_attr(&h->arena, &h->user.attrs, &h->user.n_attrs, &q->attributes[i], &changed, e));
    for (uint32_t i = 0; i < q->n_history; i++) {
        const struct score_past *p = &q->history[i];
        const struct record_item *item;
        const int64_t at = p->time_ms == INT64_MIN ? time_ms : p->time_ms;
        TRY(item_record(h, &p->item, f->history[i], at, &item, e));
        TRY(feat_user_take(h->feat, &h->user, item, p->item.id, p->type, h->s->conf->types[p->type].name, p->price, at,
                           e));
    }
    return STATUS_OK;
}

/* --- slate and model ---------------------------------------------------------------------------------------------- */

static int64_t request_time(const struct score_hand *h)
{
    if (h->request.time_ms != INT64_MIN) return h->request.time_ms;
    const struct publish_manifest *m = &h->version->manifest;
    return m->live || m->watermark_ms == 0 ? h->s->clock->wall_ms(h->s->clock) : m->watermark_ms;
}

static enum status fill(struct score_hand *h, const struct score_found *f, struct err *e)
{
    const struct score_request *q = &h->request;
    const int64_t time_ms = request_time(h);
    const bool own_user = q->n_history > 0 || q->n_attributes > 0;
    struct feat_candidate *c = arena_alloc(&h->arena, q->n_items, sizeof *c);
    if (c == NULL) return no_memory(e);
    if (own_user) TRY(lay_user(h, f, time_ms, e));
    for (uint32_t i = 0; i < q->n_items; i++) {
        c[i] = (struct feat_candidate){q->items[i].id, NULL, NAN, 1, 0, 0};
        TRY(item_record(h, &q->items[i], f->items[i], time_ms, &c[i].item, e));
    }
    slate_reset(h->slate);
    h->slate->id = 1;
    h->slate->source = SLATE_REQUEST;
    h->slate->time_ms = time_ms;
    h->slate->user = q->user;
    h->slate->request = q->request;
    const struct record_user *u = own_user ? &h->user : f->user ? &f->user->u.user : NULL;
    return feat_fill(h->feat, h->slate, u, c, q->n_items, q->context, q->n_context, e);
}

/* --- ranking ------------------------------------------------------------------------------------------------------ */

/* Those that all parts saw first, then by key; ties keep input order. */
static int by_rank(const void *a, const void *b)
{
    const struct score_order *x = a, *y = b;
    if (x->staged != y->staged) return x->staged ? -1 : 1;
    if (x->key < y->key || x->key > y->key) return x->key > y->key ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static float sigmoid(float z)
{
    return (float)(1.0 / (1.0 + exp(-(double)z)));
}

static enum status rank(struct score_hand *h, const float *logits, const float *parts, struct err *e)
{
    struct score_answer *a = &h->answer;
    const struct model *model = h->line->model;
    const uint32_t K = h->request.n_items;
    const float *text = h->line->text_part != SIZE_MAX ? parts + h->line->text_part * K : NULL;
    const bool staged = text != NULL && h->joint_top < K;
    struct score_order *o = arena_alloc(&h->arena, K, sizeof *o),
                       *scratch = arena_raw(&h->arena, K / 2, sizeof *scratch);
    a->n = h->request.limit;
    a->items = arena_alloc(&h->arena, a->n, sizeof *a->items);
    if (o == NULL || scratch == NULL || a->items == NULL) return no_memory(e);
    for (uint32_t i = 0; i < K; i++) {
        if (!isfinite(logits[i]))
            return ERR_SET(e, STATUS_CORRUPT, "item " STR_FMT " has no finite score", STR_ARG(h->request.items[i].id));
        o[i] = (struct score_order){(double)model_rank_key(model, logits, parts, K, i), logits[i], i,
                                    !staged || text[i] != 0.0f};
    }
    if (a->explored) TRY(score_explore_keys(h, o, e));
    sort_stable(o, K, sizeof *o, by_rank, scratch);
    for (uint32_t i = 0; i < a->n; i++)
        a->items[i] = (struct score_ranked){.index = o[i].index,
                                            .score = model_by_utility(model) ? (float)o[i].key : sigmoid(o[i].logit),
                                            .logit = o[i].logit,
                                            .known = (h->slate->items[o[i].index].flags & SLATE_ITEM_KNOWN) != 0};
    if (a->explored) score_explore_propensities(h, o);
    return STATUS_OK;
}

static void name_request(struct score_hand *h)
{
    struct score_answer *a = &h->answer;
    if (str_has(h->request.request))
        (void)snprintf(a->request, sizeof a->request, STR_FMT, STR_ARG(h->request.request));
    else
        (void)snprintf(a->request, sizeof a->request, "r-%016llx%016llx", (unsigned long long)rand_u64(&h->rand),
                       (unsigned long long)rand_u64(&h->rand));
}

enum status score_run_line(struct score_hand *h, struct err *e)
{
    struct score_answer *a = &h->answer;
    const uint32_t K = h->request.n_items;
    const size_t n_parts = model_n_parts(h->line->model);
    float *logits = arena_alloc(&h->arena, K, sizeof *logits),
          *parts = arena_alloc(&h->arena, model_n_rows(h->line->model) * K, sizeof *parts);
    if (logits == NULL || parts == NULL) return no_memory(e);
    if (h->line->states != NULL) TRY(score_gather_states(h, e));
    const enum status st = score_pass(h, logits, parts, e);
    score_let_states_go(h);
    if (st != STATUS_OK) return st;
    a->part_logits = parts;
    a->n_parts = (uint32_t)n_parts;
    a->version = h->version;
    return rank(h, logits, parts, e);
}

static enum status run(struct score_hand *h, struct err *e)
{
    struct score_found f = {0};
    struct score_answer *a = &h->answer;
    h->joint_top = (uint32_t)conf_now(&h->s->conf->serving_joint_top); /* one value for the whole request */
    TRY(score_gather(h, &f, e));
    TRY(fill(h, &f, e));
    a->features = arena_alloc(&h->arena, h->slate->n_items, sizeof *a->features);
    if (a->features == NULL) return no_memory(e);
    slate_features(h->slate, a->features);
    a->user_known = f.user != NULL;
    a->degraded = f.away;
    a->time_ms = h->slate->time_ms;
    name_request(h);
    a->explored = score_explores(h);
    return score_run_line(h, e);
}

enum status score_rank(struct score_hand *h, const struct score_answer **out, struct err *e)
{
    *out = NULL;
    forget(h);
    h->answered = false;
    if (!score_pass_begin(h)) {
        score_why_not(h->s, e);
        return STATUS_NOT_FOUND;
    }
    const enum status st = run(h, e);
    redis_clear(h->redis);
    score_let_go(h);
    if (st == STATUS_OK) *out = &h->answer;
    return st;
}

/* --- afterwards --------------------------------------------------------------------------------------------------- */

void score_answered(struct score_hand *h, const struct score_answer *a)
{
    struct metric *m = h->s->metric;
    uint64_t unknown = 0;
    for (uint32_t i = 0; i < h->slate->n_items; i++) unknown += (h->slate->items[i].flags & SLATE_ITEM_KNOWN) == 0;
    metric_add(m, METRIC_CANDIDATES, h->request.n_items);
    metric_add(m, METRIC_UNKNOWN_ITEMS, unknown);
    metric_add(m, METRIC_UNKNOWN_USERS, !a->user_known);
    metric_add(m, METRIC_DEGRADED, a->degraded);
    const struct publish_manifest *v = &a->version->manifest;
    const bool swapped_in =
        v->settled_wall_ms > 0 && v->published_wall_ms >= h->s->opened_wall_ms; /* not found at start */
    if (!atomic_exchange(&h->version->answered, true) && swapped_in)
        metric_freshness(m, (double)(h->s->clock->wall_ms(h->s->clock) - v->settled_wall_ms));
    score_served_put(h, a, false);
    h->answered = true;
}

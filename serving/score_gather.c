/* score_gather.c - what a request needs from Redis: records in one round trip, frozen states in a second if any is missing. */
#include "base/log.h"
#include "base/mem.h"
#include "schemas/key.h"
#include "serving/score_private.h"
#include <string.h>

static enum status no_memory(struct err *e)
{
    return ERR_SET(e, STATUS_OOM, "scorer: no memory for the request's records");
}

void score_let_go(struct score_hand *h)
{
    if (h->n_held > 0) score_records_release(h->s->records, h->held, h->n_held);
    h->n_held = 0;
}

/* --- records ------------------------------------------------------------------------------------------------------ */

static struct score_wanted want(enum score_kind kind, struct str id, const struct score_record **out)
{
    return (struct score_wanted){.kind = kind, .id = id, .out = out};
}

static enum status list_wanted(struct score_hand *h, struct score_found *f, struct score_wanted **out, size_t *n,
                               struct err *e)
{
    const struct score_request *q = &h->request;
    const size_t most = 1 + (size_t)q->n_items + q->n_history;
    struct score_wanted *w = arena_alloc(&h->arena, most, sizeof *w);
    f->items = arena_alloc(&h->arena, q->n_items, sizeof *f->items);
    f->history = arena_alloc(&h->arena, q->n_history, sizeof *f->history);
    if (w == NULL || f->items == NULL || (f->history == NULL && q->n_history > 0) ||
        MEM_GROW(h->held, &h->cap_held, most) != 0)
        return no_memory(e);
    *n = 0;
    if (str_has(q->user)) w[(*n)++] = want(SCORE_USER, q->user, &f->user);
    for (uint32_t i = 0; i < q->n_items; i++) w[(*n)++] = want(SCORE_ITEM, q->items[i].id, &f->items[i]);
    for (uint32_t i = 0; i < q->n_history; i++) w[(*n)++] = want(SCORE_ITEM, q->history[i].item.id, &f->history[i]);
    *out = w;
    return STATUS_OK;
}

/* prefix and id, copied. */
static struct str key_of(struct arena *a, struct str prefix, struct str id)
{
    char *p = arena_raw(a, prefix.n + id.n, 1);
    if (p == NULL) return (struct str){NULL, 0};
    memcpy(p, prefix.p, prefix.n);
    memcpy(p + prefix.n, id.p, id.n);
    return (struct str){p, prefix.n + id.n};
}

static enum status ask(struct score_hand *h, struct score_wanted *w, size_t n, struct err *e)
{
    char user[KEY_MAX], item[KEY_MAX];
    const char *model = h->s->conf->model_name;
    const struct redis_reply *reply;
    const struct str prefix[] = {
        [SCORE_USER] = {user, key_user(user, model, STR(""))}, [SCORE_ITEM] = {item, key_item(item, model, STR(""))}};
    struct str *args = arena_alloc(&h->arena, n + 1, sizeof *args);
    if (args == NULL) return no_memory(e);
    args[0] = STR("MGET");
    for (size_t i = 0; i < n; i++) {
        args[i + 1] = key_of(&h->arena, prefix[w[i].kind], w[i].id);
        if (args[i + 1].p == NULL) return no_memory(e);
    }
    TRY(redis_call(h->redis, e, &reply, args, n + 1));
    if (reply->kind != REDIS_ARRAY || reply->n != n)
        return ERR_SET(e, STATUS_IO, "redis %s: MGET of %zu keys answered something else", redis_name(h->redis), n);
    for (size_t i = 0; i < n; i++)
        if (reply->items[i].kind == REDIS_TEXT) w[i].packed = reply->items[i].text;
    return STATUS_OK;
}

static bool may_ask(const struct score_hand *h)
{
    return !atomic_load(&h->s->away);
}

/* One record that is not at hand; a damaged one counts as unknown, with a line in the log. */
static enum status take(struct score_hand *h, const struct score_wanted *w)
{
    struct err why;
    if (w->packed.p == NULL) {
        score_records_drop(h->s->records, w->kind, w->id);
        return STATUS_OK;
    }
    const enum status st = score_records_take(h->s->records, w, &why);
    if (st != STATUS_OK) log_limited(LOG_WARN, "record", "id=" STR_FMT " %s", STR_ARG(w->id), why.text);
    return st == STATUS_OOM ? st : STATUS_OK;
}

/* What is found is held until score_let_go, whatever else fails. */
static enum status take_all(struct score_hand *h, struct score_wanted *w, size_t n, bool away, struct err *e)
{
    size_t decoded = 0;
    enum status st = STATUS_OK;
    score_records_find(h->s->records, w, n, away);
    for (size_t i = 0; i < n; i++) {
        if (*w[i].out == NULL && !away && st == STATUS_OK) {
            st = take(h, &w[i]);
            decoded += *w[i].out != NULL;
        }
        if (*w[i].out != NULL) h->held[h->n_held++] = *w[i].out; /* room was made before */
    }
    metric_add(h->s->metric, METRIC_RECORDS_HITS, h->n_held - decoded);
    metric_add(h->s->metric, METRIC_RECORDS_DECODED, decoded);
    return st == STATUS_OK ? STATUS_OK : no_memory(e);
}

/* Who was deleted counts as unknown, and so does what was: as to the learner. */
static void leave_deleted(const struct score_hand *h, struct score_found *f)
{
    if (f->user != NULL && record_user_is_empty(&f->user->u.user)) f->user = NULL;
    for (uint32_t i = 0; i < h->request.n_items; i++)
        if (f->items[i] != NULL && f->items[i]->u.item.deleted) f->items[i] = NULL;
}

enum status score_gather(struct score_hand *h, struct score_found *f, struct err *e)
{
    struct score_wanted *w = NULL;
    size_t n = 0;
    TRY(list_wanted(h, f, &w, &n, e));
    const bool tries = may_ask(h) && redis_retry_ms(h->redis) == 0;
    const enum status st =
        may_ask(h) ? ask(h, w, n, e) : ERR_SET(e, STATUS_IO, "redis %s is away", redis_name(h->redis));
    if (st == STATUS_OOM) return st;
    f->away = st != STATUS_OK;
    if (f->away && tries) atomic_store(&h->s->away, true); /* others need not find out too: it may take a time-out */
    if (f->away) log_limited(LOG_WARN, "degraded", "%s", e ? e->text : status_text(st));
    TRY(take_all(h, w, n, f->away, e));
    leave_deleted(h, f);
    return STATUS_OK;
}

/* --- frozen states ------------------------------------------------------------------------------------------------ */

static enum status ask_states(struct score_hand *h, const uint64_t *hashes, size_t n, const struct redis_reply **reply,
                              struct err *e)
{
    char key[KEY_MAX];
    struct str *args = arena_alloc(&h->arena, n + 1, sizeof *args);
    if (args == NULL) return no_memory(e);
    args[0] = STR("MGET");
    for (size_t i = 0; i < n; i++) {
        const size_t bytes = key_state(key, h->s->conf->model_name, state_key(h->line->states, hashes[i]));
        args[i + 1] = arena_str(&h->arena, (struct str){key, bytes});
        if (args[i + 1].p == NULL) return no_memory(e);
    }
    TRY(redis_call(h->redis, e, reply, args, n + 1));
    return (*reply)->kind == REDIS_ARRAY && (*reply)->n == n ? STATUS_OK : STATUS_IO;
}

/* A state that is damaged or of another shape is left out: it is computed here then. */
static bool take_state(struct score_hand *h, uint64_t hash, const struct redis_reply *value)
{
    struct record_state rec;
    struct err why;
    if (value->kind != REDIS_TEXT) return false;
    struct buf_reader r = buf_reader(value->text.p, value->text.n);
    enum status st = record_state_decode(&rec, &r, &why);
    if (st == STATUS_OK) st = state_put(h->line->states, hash, &rec, &why);
    if (st != STATUS_OK) log_limited(LOG_WARN, "state", "hash=%016llx %s", (unsigned long long)hash, why.text);
    return st == STATUS_OK;
}

/* missing[0..n): hashes of the slate's sentences that are not in memory; *left: so many of them Redis does not have. */
static enum status fetch_states(struct score_hand *h, const uint64_t *missing, size_t n, size_t *left, struct err *e)
{
    const struct redis_reply *reply;
    size_t fetched = 0;
    const enum status st =
        redis_connected(h->redis) && may_ask(h) ? ask_states(h, missing, n, &reply, NULL) : STATUS_IO;
    if (st == STATUS_OOM) return no_memory(e);
    for (size_t i = 0; i < n && st == STATUS_OK; i++) fetched += take_state(h, missing[i], &reply->items[i]);
    metric_add(h->s->metric, METRIC_STATES_FETCHED, fetched);
    metric_add(h->s->metric, METRIC_STATES_COMPUTED, n - fetched);
    *left = n - fetched;
    return STATUS_OK;
}

static void ask_for(struct state_request *req, size_t *n, const struct slate *s, uint32_t sentence)
{
    const struct slate_sentence *q = &s->sentences[sentence];
    req[(*n)++] = (struct state_request){q->hash, s->tokens + q->first, q->n};
}

/* Which candidates of a cut list text will see is known in the pass alone: these it asks for itself. */
static enum status pin_states(struct score_hand *h, struct err *e)
{
    const struct slate *s = h->slate;
    const bool all = h->joint_top >= s->n_items || model_wants_all_states(h->line->model);
    const size_t most = (size_t)s->n_events + (all ? s->n_items : 0);
    struct state_request *req = arena_alloc(&h->arena, most, sizeof *req);
    h->states = arena_alloc(&h->arena, most, sizeof *h->states);
    if (most > 0 && (req == NULL || h->states == NULL)) return no_memory(e);
    size_t n = 0;
    for (uint32_t i = 0; i < s->n_events; i++) ask_for(req, &n, s, s->events[i].sentence);
    for (uint32_t i = 0; i < s->n_items && all; i++) ask_for(req, &n, s, s->items[i].sentence);
    TRY(state_acquire(h->line->states, req, n, h->states, e));
    h->n_states = n;
    return STATUS_OK;
}

enum status score_gather_states(struct score_hand *h, struct err *e)
{
    const struct slate *s = h->slate;
    size_t n = 0, left = 0;
    uint64_t *missing = arena_alloc(&h->arena, s->n_sentences, sizeof *missing);
    if (missing == NULL && s->n_sentences > 0) return no_memory(e);
    for (uint32_t i = 0; i < s->n_sentences; i++)
        if (!state_has(h->line->states, s->sentences[i].hash)) missing[n++] = s->sentences[i].hash;
    if (n == 0) return STATUS_OK;
    TRY(fetch_states(h, missing, n, &left, e));
    if (left > 0) score_pass_put_off(h);
    return pin_states(h, e);
}

void score_let_states_go(struct score_hand *h)
{
    if (h->n_states > 0) state_release(h->line->states, h->states, h->n_states);
    h->n_states = 0;
}

/* score_pass.c - passes over the model: which slates go through which pass, together or alone, and which weights a pass has.
 *
 * A request that is ready to be scored stands in a queue.  While a pass is free, the request's own thread leads it at once
 * and takes along who stands in the queue by then; else it waits until it was taken along or a pass comes free.  A request
 * that is alone in the house borrows the pool and so has all processors.  Logits do not depend on any of this (model_score).
 */
#include "base/mem.h"
#include "base/pool.h"
#include "kernels/kern.h"
#include "schemas/conf_live.h"
#include "serving/score_private.h"
#include <time.h>

/* One more than are at work at a time, so that there is always one to bind to the next version. */
enum status score_passes_open(struct score_line *l, struct err *e)
{
    const size_t n = l->s->at_a_time + 1;
    l->passes = mem_calloc(n, sizeof *l->passes);
    if (l->passes == NULL) return ERR_SET(e, STATUS_OOM, "scorer: no memory for %zu passes", n);
    l->n_passes = n;
    for (size_t i = 0; i < n; i++) TRY(model_run_new(&l->passes[i].run, l->model, l->states, false, e));
    return STATUS_OK;
}

void score_passes_close(struct score_line *l)
{
    for (size_t i = 0; i < l->n_passes; i++) {
        slot_release(l->slot, l->passes[i].version);
        model_run_free(l->passes[i].run);
    }
    slot_release(l->slot, l->bound);
    mem_free(l->passes);
}

/* --- the queue; under the lock ------------------------------------------------------------------------------------- */

static void enqueue(struct score *s, struct score_ticket *t)
{
    struct score_ticket **at = &s->waiting;
    while (*at != NULL) at = &(*at)->next;
    *at = t;
}

/* Oldest first; more than one only as long as they are small together: a large slate fills a pass by itself. */
static size_t take_along(struct score *s, const struct slot_version *v, struct score_ticket **out)
{
    size_t n = 0, items = 0;
    for (struct score_ticket **at = &s->waiting; *at != NULL && n < SCORE_TOGETHER;) {
        struct score_ticket *t = *at;
        if (t->version != v || (n > 0 && items + t->slate->n_items > SCORE_TOGETHER_ITEMS)) {
            at = &t->next;
            continue;
        }
        *at = t->next;
        t->taken = true;
        items += t->slate->n_items;
        out[n++] = t;
    }
    return n;
}

static struct score_pass *free_pass(const struct score_line *l, const struct slot_version *v)
{
    if (l->s->n_scoring >= l->s->at_a_time) return NULL;
    for (size_t i = 0; i < l->n_passes; i++)
        if (!l->passes[i].out && l->passes[i].version == v) return &l->passes[i];
    return NULL;
}

/* Waits for requests that are on their way here, unless another pass is free for them: not at all when this is the only
 * request in the house. */
static void wait_for_company(const struct score_line *l, const struct slot_version *v)
{
    struct score *s = l->s;
    const int64_t wait_us = conf_now(&s->conf->serving_batch_wait_us);
    int rc = 0;
    if (wait_us == 0) return;
    const struct timespec t = clock_until(wait_us);
    while (rc == 0 && s->n_coming > 0 && free_pass(l, v) == NULL) rc = pthread_cond_timedwait(&s->moved, &s->lock, &t);
}

/* --- a pass --------------------------------------------------------------------------------------------------------- */

/* All together; when that fails each alone, so that only the bad ones fail. */
static void score_tickets(struct model_run *r, struct score_ticket *const *t, size_t n)
{
    const struct slate *slates[SCORE_TOGETHER];
    uint32_t top[SCORE_TOGETHER];
    float *logits[SCORE_TOGETHER], *parts[SCORE_TOGETHER];
    struct err why = {0};
    for (size_t i = 0; i < n; i++) {
        slates[i] = t[i]->slate;
        top[i] = t[i]->joint_top;
        logits[i] = t[i]->logits;
        parts[i] = t[i]->part_logits;
    }
    const enum status st = model_score_many(r, slates, n, top, logits, parts, &why);
    for (size_t i = 0; i < n; i++) {
        if (st == STATUS_OK || n == 1)
            t[i]->status = st, t[i]->why = why;
        else
            t[i]->status = model_score_many(r, &slates[i], 1, &top[i], &logits[i], &parts[i], &t[i]->why);
    }
}

/* With the lock held before and after, let go meanwhile. */
static void lead(struct score_line *l, struct score_pass *p)
{
    struct score *s = l->s;
    struct score_ticket *batch[SCORE_TOGETHER];
    p->out = true;
    s->n_scoring++;
    wait_for_company(l, p->version);
    const size_t n = take_along(s, p->version, batch);
    const bool alone = s->n_scoring == 1 && s->n_coming == 0 && s->waiting == NULL;
    const int64_t now_us = s->clock->mono_us(s->clock);
    (void)pthread_mutex_unlock(&s->lock);
    for (size_t i = 0; i < n; i++) metric_hand_wait(s->metric, (double)(now_us - batch[i]->from_us) * 1e-6);
    if (alone) kern_use_pool(model_run_kern(p->run), s->pool); /* who comes meanwhile is not alone: never two */
    score_tickets(p->run, batch, n);
    if (alone) kern_use_pool(model_run_kern(p->run), NULL);
    metric_add(s->metric, METRIC_PASSES, n > 0);
    (void)pthread_mutex_lock(&s->lock);
    p->out = false;
    s->n_scoring--;
    for (size_t i = 0; i < n; i++) batch[i]->done = true;
    (void)pthread_cond_broadcast(&s->moved);
}

/* No longer on its way. */
static void arrive(struct score_hand *h)
{
    if (!h->coming) return;
    h->coming = false;
    h->s->n_coming--;
    (void)pthread_cond_broadcast(&h->s->moved);
}

void score_pass_put_off(struct score_hand *h)
{
    (void)pthread_mutex_lock(&h->s->lock);
    arrive(h);
    (void)pthread_mutex_unlock(&h->s->lock);
}

enum status score_pass(struct score_hand *h, float *logits, float *part_logits, struct err *e)
{
    struct score *s = h->s;
    struct score_ticket t = {.slate = h->slate,
                             .version = h->version,
                             .joint_top = h->joint_top,
                             .logits = logits,
                             .part_logits = part_logits,
                             .from_us = s->clock->mono_us(s->clock)};
    (void)pthread_mutex_lock(&s->lock);
    arrive(h);
    enqueue(s, &t);
    while (!t.done) {
        struct score_pass *p = t.taken ? NULL : free_pass(h->line, t.version);
        if (p != NULL)
            lead(h->line, p);
        else
            (void)pthread_cond_wait(&s->moved, &s->lock);
    }
    (void)pthread_mutex_unlock(&s->lock);
    if (t.status != STATUS_OK && e != NULL) *e = t.why;
    return t.status;
}

/* --- versions -------------------------------------------------------------------------------------------------------- */

static void change(struct slot *s, struct slot_version **from, struct slot_version *to)
{
    slot_release(s, *from);
    slot_share(s, to);
    *from = to;
}

/* With the lock held. */
static void take_line(struct score_hand *h, struct score_line *l)
{
    if (h->version != NULL) change(h->line->slot, &h->version, NULL);
    h->line = l;
    change(l->slot, &h->version, l->bound);
}

bool score_pass_begin(struct score_hand *h)
{
    (void)pthread_mutex_lock(&h->s->lock);
    take_line(h, score_line_of(h->s, h->request.user));
    (void)pthread_mutex_unlock(&h->s->lock);
    return h->version != NULL;
}

bool score_pass_begin_with(struct score_hand *h, struct score_line *l)
{
    (void)pthread_mutex_lock(&h->s->lock);
    take_line(h, l);
    (void)pthread_cond_broadcast(&h->s->moved); /* the watch may wait for the last request of a version */
    (void)pthread_mutex_unlock(&h->s->lock);
    return h->version != NULL;
}

void score_pass_end(struct score_hand *h)
{
    arrive(h);
    if (h->version != NULL) change(h->line->slot, &h->version, NULL);
    (void)pthread_cond_broadcast(&h->s->moved); /* the watch may wait for the last request of a version */
}

/* Can p be given other weights?  Requests that are under way, and those to come, keep one pass with theirs. */
static bool may_leave(const struct score_line *l, const struct score_pass *p)
{
    const struct score *s = l->s;
    bool asked = p->version == l->bound, another = false;
    if (p->version == NULL) return true;
    for (size_t i = 0; i < s->n_hands; i++) asked = asked || s->hands[i].version == p->version;
    for (size_t i = 0; i < l->n_passes; i++)
        another = another || (&l->passes[i] != p && l->passes[i].version == p->version);
    return !asked || another;
}

/* A pass that is in and not bound to v; NULL when there is none left, in or out. */
static struct score_pass *borrow_stale(struct score_line *l, const struct slot_version *v)
{
    struct score *s = l->s;
    struct score_pass *p = NULL;
    (void)pthread_mutex_lock(&s->lock);
    for (bool any = true; any && p == NULL;) {
        any = false;
        for (size_t i = 0; i < l->n_passes && p == NULL; i++) {
            struct score_pass *one = &l->passes[i];
            if (one->version == v) continue;
            any = true;
            if (!one->out && may_leave(l, one)) p = one;
        }
        if (any && p == NULL) (void)pthread_cond_wait(&s->moved, &s->lock);
    }
    if (p != NULL) p->out = true;
    (void)pthread_mutex_unlock(&s->lock);
    return p;
}

/* From the first pass on that has v, new requests take v. */
static void give_back(struct score_line *l, struct score_pass *p, struct slot_version *v)
{
    struct score *s = l->s;
    (void)pthread_mutex_lock(&s->lock);
    change(l->slot, &p->version, v);
    if (v != NULL && l->bound != v) change(l->slot, &l->bound, v);
    p->out = false;
    (void)pthread_cond_broadcast(&s->moved);
    (void)pthread_mutex_unlock(&s->lock);
}

enum status score_bind_all(struct score_line *l, struct err *e)
{
    struct score_pass *p;
    struct slot_version *v = slot_acquire(l->slot);
    enum status st = STATUS_OK;
    while (v != NULL && st == STATUS_OK && (p = borrow_stale(l, v)) != NULL) {
        st = model_bind(p->run, v->params, e);
        give_back(l, p, st == STATUS_OK ? v : NULL);
    }
    l->bind_again = st != STATUS_OK;
    slot_release(l->slot, v);
    (void)slot_reap(l->slot);
    return st;
}

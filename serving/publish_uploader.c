/* publish_uploader.c - the loop of the thread that alone talks to Redis.
 *
 * A turn: be connected, hold the lease, look whether Redis lost what we had put there, then upload the newest version, the
 * waiting batches, the newest metrics.  What fails stays and is tried again; a batch is only freed once it is in.  A version
 * for which Redis has no memory does not keep the smaller things out.
 */
#include "base/log.h"
#include "serving/publish_private.h"
#include <string.h>

#define FULL_LEAST_MS 1000 /* until a version that found no memory is tried again, doubling to … */
#define FULL_MOST_MS 8000

bool publish_has_work(const struct publish *p)
{
    return p->waiting != NULL || p->first != NULL || p->batch != NULL || p->metrics.full || publish_orders_work(p);
}

void publish_wait_on(struct publish *p, pthread_cond_t *c, int64_t ms)
{
    const struct timespec t = clock_until(ms * 1000);
    (void)pthread_cond_timedwait(c, &p->lock, &t);
}

static int64_t now_us(const struct publish *p)
{
    return p->clock->mono_us(p->clock);
}

static bool past_deadline(const struct publish *p)
{
    return p->closing && now_us(p) >= p->deadline_us;
}

/* --- the parts of a turn ------------------------------------------------------------------------------------------ */

static void remember_full(struct publish *p, enum status st, const struct err *e)
{
    if (st == STATUS_OK) p->weights_wait = 0;
    if (st != STATUS_FULL) return;
    p->full = *e;
    p->weights_wait = p->weights_wait == 0 ? FULL_LEAST_MS : 2 * p->weights_wait;
    if (p->weights_wait > FULL_MOST_MS) p->weights_wait = FULL_MOST_MS;
    p->weights_us = now_us(p) + p->weights_wait * 1000;
}

/* In force, or (failed) back to where it waited unless a newer one does. */
static void settle_weights(struct publish *p, struct publish_weights_job *j, enum status st)
{
    struct publish_weights_job *old = j;
    (void)pthread_mutex_lock(&p->lock);
    if (st == STATUS_OK) {
        old = p->current;
        p->current = j;
        p->state.version = p->state.in_force = j->manifest.version;
        memcpy(p->state.in_force_sha256, j->manifest.sha256, sizeof p->state.in_force_sha256);
        p->state.published_wall_ms = j->manifest.published_wall_ms;
        p->state.n_versions++;
    } else if (p->waiting == NULL) {
        p->waiting = j;
        old = NULL;
    }
    (void)pthread_mutex_unlock(&p->lock);
    publish_weights_job_free(old);
}

static enum status send_weights(struct publish *p, struct err *e)
{
    (void)pthread_mutex_lock(&p->lock);
    struct publish_weights_job *j = p->waiting;
    const bool later = j != NULL && p->weights_wait > 0 && now_us(p) < p->weights_us;
    if (!later) p->waiting = NULL;
    (void)pthread_mutex_unlock(&p->lock);
    if (later) *e = p->full;
    if (later || j == NULL) return later ? STATUS_FULL : STATUS_OK;
    if (j->rows != NULL) publish_rows_take(j->rows, &j->pages);
    const enum status st = publish_upload_weights(p, j, e);
    remember_full(p, st, e);
    settle_weights(p, j, st);
    return st;
}

/* The oldest batch; NULL when none waits or a newer version does, which goes first unless it is refused for now. */
static struct publish_batch *take_batch(struct publish *p)
{
    (void)pthread_mutex_lock(&p->lock);
    if (p->batch == NULL && p->first != NULL && (p->waiting == NULL || p->weights_wait > 0)) {
        p->batch = p->first;
        p->first = p->first->next;
        if (p->first == NULL) p->last = NULL;
    }
    struct publish_batch *b = p->batch;
    (void)pthread_mutex_unlock(&p->lock);
    return b;
}

/* Until none waits, or it is time to look after lease and content. */
static enum status send_batches(struct publish *p, struct err *e)
{
    struct publish_batch *b;
    while (now_us(p) < p->watch_us && !past_deadline(p) && (b = take_batch(p)) != NULL) {
        TRY(publish_lease_keep(p, e));
        TRY(publish_upload_batch(p, b, e));
        (void)pthread_mutex_lock(&p->lock);
        p->batch = NULL;
        p->n_batches--;
        p->state.n_batches++;
        buf_clear(&b->entries);
        b->n = 0;
        b->next = p->pool;
        p->pool = b;
        (void)pthread_mutex_unlock(&p->lock);
    }
    return STATUS_OK;
}

static enum status send_metrics(struct publish *p, struct err *e)
{
    (void)pthread_mutex_lock(&p->lock);
    const bool full = p->metrics.full;
    if (full) {
        const struct publish_metrics_job empty = p->sending;
        p->sending = p->metrics;
        p->metrics = empty;
        p->metrics.full = false;
    }
    (void)pthread_mutex_unlock(&p->lock);
    return full ? publish_upload_metrics(p, &p->sending, e) : STATUS_OK;
}

static enum status turn(struct publish *p, struct err *e)
{
    struct err later = {0};
    TRY(redis_connect(p->redis, e));
    TRY(publish_greet(p, e));
    TRY(publish_lease_keep(p, e));
    TRY(publish_watch(p, e));
    TRY(publish_read_orders(p, e));
    const enum status first = send_weights(p, e);
    if (first != STATUS_OK && first != STATUS_FULL) return first;
    enum status st = first == STATUS_OK ? publish_send_answers(p, &later) : STATUS_OK;
    if (st == STATUS_OK) st = send_batches(p, &later);
    if (st == STATUS_OK) st = send_metrics(p, &later);
    if (first == STATUS_FULL && (st == STATUS_OK || st == STATUS_FULL)) return first;
    if (st != STATUS_OK) *e = later;
    return st;
}

/* --- the loop ----------------------------------------------------------------------------------------------------- */

/* Says how full Redis is, what to do and what holds meanwhile. */
static void explain_full(struct publish *p, struct err *e)
{
    struct redis_info i;
    char text[REDIS_INFO_TEXT];
    if (redis_info(p->redis, &i, NULL) != STATUS_OK) return;
    p->server = i;
    redis_info_memory(&i, text);
    (void)ERR_SET(e, STATUS_FULL,
                  "redis %s: its memory is full: %s; raise maxmemory, or lower publish.keep or publish.feature_ttl_s; "
                  "version %llu stays in force",
                  redis_name(p->redis), text, (unsigned long long)p->state.in_force);
}

/* Mended, the turn is only one to take again. */
static enum status mend(struct publish *p, enum status st, struct err *e)
{
    struct err why = {0};
    if (!publish_is_wrong_type(st, e)) return st;
    if (publish_mend_types(p, &why) == STATUS_OK) return STATUS_AGAIN;
    log_limited(LOG_WARN, "publish", "keys of a wrong type stay: %s", why.text);
    return st;
}

/* A lease that was another's all along is the job's to speak of: it refuses to start, or stands by. */
static void report(struct publish *p, enum status st, const struct err *e)
{
    const bool waits = st == STATUS_CONFLICT && p->state.lease == PUBLISH_LEASE_FOREIGN;
    if (st != STATUS_OK && !waits) log_limited(LOG_WARN, "publish", "%s", e->text);
    (void)pthread_mutex_lock(&p->lock);
    p->state.connected = redis_connected(p->redis);
    p->state.n_turns++;
    if (st != STATUS_OK) {
        p->state.error = *e;
        p->state.n_failures++;
    } else {
        p->state.error = (struct err){0};
    }
    (void)pthread_mutex_unlock(&p->lock);
}

/* Milliseconds until the next turn is due anyway. */
static int64_t pause_ms(const struct publish *p, enum status st)
{
    if (st == STATUS_CONFLICT) return PUBLISH_FOREIGN_MS;
    if (st == STATUS_IO) return redis_retry_ms(p->redis) + 1;
    if (st != STATUS_OK) return PUBLISH_RETRY_MS;
    int64_t due_us = p->renew_us < p->watch_us ? p->renew_us : p->watch_us;
    if (p->orders_us < due_us) due_us = p->orders_us;
    const int64_t ms = (due_us - now_us(p)) / 1000 + 1;
    return ms < 1 ? 1 : ms;
}

/* No further turn: the lease is another's, or the job ends and would wait for a Redis that is away. */
static bool rests_for_good(const struct publish *p, enum status st)
{
    return p->state.lease == PUBLISH_LEASE_CONFLICT || (p->ending && st == STATUS_IO);
}

static bool is_over(const struct publish *p, enum status st)
{
    return p->closing && (rests_for_good(p, st) || !publish_has_work(p) || past_deadline(p));
}

/* True when the loop is over. */
static bool rest(struct publish *p, enum status st)
{
    const int64_t until_us = now_us(p) + pause_ms(p, st) * 1000;
    (void)pthread_mutex_lock(&p->lock);
    p->busy = false;
    (void)pthread_cond_broadcast(&p->idle);
    for (;;) {
        if (is_over(p, st)) break;
        if (st == STATUS_OK && publish_has_work(p)) break;
        const bool stay = rests_for_good(p, st);
        const int64_t left_ms = (until_us - now_us(p) + 999) / 1000;
        if (left_ms <= 0 && !stay) break;
        publish_wait_on(p, &p->wake, stay || left_ms > 1000 ? 1000 : left_ms);
    }
    const bool over = is_over(p, st);
    p->busy = !over;
    (void)pthread_mutex_unlock(&p->lock);
    return over;
}

void *publish_uploader(void *arg)
{
    struct publish *p = arg;
    enum status st;
    do {
        struct err e = {0};
        st = turn(p, &e);
        publish_fence_drop(p);
        redis_clear(p->redis);
        if (st == STATUS_FULL) explain_full(p, &e);
        st = mend(p, st, &e);
        redis_clear(p->redis);
        /* what answered is a replica now: whoever is asked next may be the master */
        if (st == STATUS_AGAIN && strstr(e.text, "READONLY") != NULL) redis_drop(p->redis);
        report(p, st, &e);
    } while (!rest(p, st));
    publish_lease_release(p);
    return NULL;
}

/* publish.c - the mailboxes between learner and uploader, and the uploader's loop.
 *
 * A turn of the loop: be connected, look whether Redis lost what we had put there, hold the lease, then upload the
 * newest version, the waiting batches, the newest metrics.  What fails stays and is tried again; a batch is only freed
 * once it is in.
 */
#include "serving/publish.h"
#include "base/log.h"
#include "base/mem.h"
#include "schemas/key.h"
#include "serving/publish_private.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define CLOSE_MS 1000
#define RETRY_MS 200 /* after a fault that is not the connection's */
#define RETRY_FOREIGN_MS 1000

const char *publish_lease_name(enum publish_lease l)
{
    static const char *const names[] = {"none", "held", "foreign", "conflict"};
    return (unsigned)l < sizeof names / sizeof *names ? names[l] : "?";
}

/* --- the uploader ------------------------------------------------------------------------------------------------- */

static bool has_work(const struct publish *p)
{
    return p->waiting != NULL || p->first != NULL || p->batch != NULL || p->metrics.full;
}

/* Waits on a condition for at most ms of real time, under the lock. */
static void wait_on(struct publish *p, pthread_cond_t *c, int64_t ms)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += (time_t)(ms / 1000);
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) t.tv_sec++, t.tv_nsec -= 1000000000;
    (void)pthread_cond_timedwait(c, &p->lock, &t);
}

static bool past_deadline(const struct publish *p)
{
    return p->closing && p->clock->mono_us(p->clock) >= p->deadline_us;
}

/* What we had put into Redis is gone: the learner is told, and the last version goes in again. */
static void lost(struct publish *p, const char *why)
{
    log_warn("publish", "redis=%s lost what was published (%s); publishing all again", redis_name(p->redis), why);
    publish_forget_kept(p);
    (void)pthread_mutex_lock(&p->lock);
    p->lost = true;
    if (p->waiting == NULL) {
        p->waiting = p->current;
        p->current = NULL;
    }
    (void)pthread_mutex_unlock(&p->lock);
}

/* After connecting: a server with another run id was restarted; whatever it still has may be old. */
static enum status greet(struct publish *p, struct err *e)
{
    const struct redis_reply *reply;
    char run_id[64] = "";
    if (p->connection == redis_connections(p->redis)) return STATUS_OK;
    const enum status st = redis_call(p->redis, e, &reply, REDIS_ARGS(STR("INFO"), STR("server")));
    if (st == STATUS_IO) return st;
    const char *at = st == STATUS_OK && reply->kind == REDIS_TEXT ? strstr(reply->text.p, "run_id:") : NULL;
    if (at != NULL) (void)snprintf(run_id, sizeof run_id, "%.*s", (int)strcspn(at + 7, "\r\n"), at + 7);
    if (p->run_id[0] != '\0' && strcmp(p->run_id, run_id) != 0) lost(p, "the server was restarted");
    memcpy(p->run_id, run_id, sizeof p->run_id);
    p->connection = redis_connections(p->redis);
    p->renew_us = 0;
    p->kept_known = false;
    return STATUS_OK;
}

/* The state "stopped" is written last of all by a learner that ended in order; ours says otherwise from now on. */
static void take_over(struct publish *p, const struct redis_reply *fields)
{
    const bool whole = fields->n == 3 && redis_is(&fields->items[1], "stopped") && fields->items[2].kind == REDIS_TEXT;
    (void)pthread_mutex_lock(&p->lock);
    if (whole)
        (void)snprintf(p->state.left_sha256, sizeof p->state.left_sha256, STR_FMT, STR_ARG(fields->items[2].text));
    (void)pthread_mutex_unlock(&p->lock);
}

/* fr:m:info carries our owner token for as long as the data beside it lives; gone means flushed. */
static enum status check_marker(struct publish *p, bool first, struct err *e)
{
    char key[KEY_MAX];
    const struct redis_reply *reply;
    (void)key_info(key, p->model);
    TRY(redis_call(p->redis, e, &reply,
                   REDIS_ARGS(STR("HMGET"), str_from(key), STR("owner"), STR("state"), STR("sha256"))));
    if (reply->n == 3 && redis_is(&reply->items[0], p->owner)) return STATUS_OK;
    if (first)
        take_over(p, reply);
    else
        lost(p, "it was flushed");
    return redis_call(
        p->redis, e, &reply,
        REDIS_ARGS(STR("HSET"), str_from(key), STR("owner"), str_from(p->owner), STR("state"), STR("starting")));
}

static enum status hold_lease(struct publish *p, struct err *e)
{
    const int64_t now_us = p->clock->mono_us(p->clock), alive_us = atomic_load(&p->alive_us);
    if (now_us < p->renew_us) return STATUS_OK;
    if (alive_us != 0 && now_us - alive_us > (int64_t)PUBLISH_HUNG_MS * 1000)
        return ERR_SET(e, STATUS_AGAIN, "model %s: the learner has hung for %lld s; its lease is not renewed", p->model,
                       (long long)((now_us - alive_us) / 1000000));
    const bool first = !p->ever_held;
    TRY(publish_lease_hold(p, e));
    return check_marker(p, first, e);
}

static enum status send_weights(struct publish *p, struct err *e)
{
    (void)pthread_mutex_lock(&p->lock);
    struct publish_weights_job *j = p->waiting;
    p->waiting = NULL;
    (void)pthread_mutex_unlock(&p->lock);
    if (j == NULL) return STATUS_OK;
    const enum status st = publish_upload_weights(p, j, e);
    (void)pthread_mutex_lock(&p->lock);
    struct publish_weights_job *old = j;
    if (st == STATUS_OK) {
        old = p->current;
        p->current = j;
        p->state.version = j->manifest.version;
        p->state.published_wall_ms = j->manifest.published_wall_ms;
        p->state.n_versions++;
    } else if (p->waiting == NULL) {
        p->waiting = j;
        old = NULL;
    }
    (void)pthread_mutex_unlock(&p->lock);
    publish_weights_job_free(old);
    return st;
}

/* The oldest batch; NULL when none waits or a newer version does, which goes first. */
static struct publish_batch *take_batch(struct publish *p)
{
    (void)pthread_mutex_lock(&p->lock);
    if (p->batch == NULL && p->first != NULL && p->waiting == NULL) {
        p->batch = p->first;
        p->first = p->first->next;
        if (p->first == NULL) p->last = NULL;
    }
    struct publish_batch *b = p->batch;
    (void)pthread_mutex_unlock(&p->lock);
    return b;
}

static enum status send_batches(struct publish *p, struct err *e)
{
    struct publish_batch *b;
    while ((b = take_batch(p)) != NULL && !past_deadline(p)) {
        TRY(hold_lease(p, e)); /* a refill may take longer than a lease lasts */
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
    TRY(redis_connect(p->redis, e));
    TRY(greet(p, e));
    TRY(hold_lease(p, e));
    TRY(send_weights(p, e));
    TRY(send_batches(p, e));
    return send_metrics(p, e);
}

static void report(struct publish *p, enum status st, const struct err *e)
{
    if (st != STATUS_OK) log_limited(LOG_WARN, "publish", "%s", e->text);
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
    if (st == STATUS_CONFLICT) return RETRY_FOREIGN_MS;
    if (st == STATUS_IO) return redis_retry_ms(p->redis) + 1;
    if (st != STATUS_OK) return RETRY_MS;
    const int64_t ms = (p->renew_us - p->clock->mono_us(p->clock)) / 1000 + 1;
    return ms < 1 ? 1 : ms;
}

/* True when the loop is over. */
static bool rest(struct publish *p, enum status st)
{
    const int64_t until_us = p->clock->mono_us(p->clock) + pause_ms(p, st) * 1000;
    (void)pthread_mutex_lock(&p->lock);
    const bool final = p->state.lease == PUBLISH_LEASE_CONFLICT;
    p->busy = false;
    (void)pthread_cond_broadcast(&p->idle);
    for (;;) {
        if (p->closing && (final || !has_work(p) || past_deadline(p))) break;
        if (st == STATUS_OK && has_work(p)) break;
        const int64_t left_ms = (until_us - p->clock->mono_us(p->clock) + 999) / 1000;
        if (left_ms <= 0 && !final) break;
        wait_on(p, &p->wake, final || left_ms > 1000 ? 1000 : left_ms);
    }
    const bool over = p->closing && (final || !has_work(p) || past_deadline(p));
    p->busy = !over;
    (void)pthread_mutex_unlock(&p->lock);
    return over;
}

static void *uploader(void *arg)
{
    struct publish *p = arg;
    enum status st;
    do {
        struct err e = {0};
        st = turn(p, &e);
        redis_clear(p->redis);
        report(p, st, &e);
    } while (!rest(p, st));
    publish_lease_release(p);
    return NULL;
}

/* --- the learner's side ------------------------------------------------------------------------------------------- */

static enum status make_owner(char out[33], struct err *e)
{
    unsigned char raw[16];
    if (getrandom(raw, sizeof raw, 0) != (ssize_t)sizeof raw)
        return ERR_SET(e, STATUS_IO, "publish: no random bytes: %s", strerror(errno));
    for (size_t i = 0; i < sizeof raw; i++) (void)snprintf(out + 2 * i, 3, "%02x", raw[i]);
    return STATUS_OK;
}

static enum status make_locks(struct publish *p, struct err *e)
{
    pthread_condattr_t attr;
    bool ok = pthread_mutex_init(&p->lock, NULL) == 0 && pthread_condattr_init(&attr) == 0;
    ok = ok && pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0 && pthread_cond_init(&p->wake, &attr) == 0 &&
         pthread_cond_init(&p->idle, &attr) == 0;
    return ok ? STATUS_OK : ERR_SET(e, STATUS_OOM, "publish: no lock can be made");
}

static void free_all(struct publish *p)
{
    publish_forget_kept(p);
    mem_free(p->kept);
    publish_weights_job_free(p->waiting);
    publish_weights_job_free(p->current);
    publish_batch_free(p->batch);
    for (struct publish_batch *b = p->first, *next; b != NULL; b = next) next = b->next, publish_batch_free(b);
    for (struct publish_batch *b = p->pool, *next; b != NULL; b = next) next = b->next, publish_batch_free(b);
    buf_fini(&p->metrics.text);
    buf_fini(&p->sending.text);
    redis_close(p->redis);
    mem_free(p->seen);
    mem_free(p);
}

enum status publish_open(struct publish **out, const struct conf *c, struct clock *clock, uint64_t epoch, struct err *e)
{
    enum status st;
    *out = NULL;
    if (c->redis_url[0] == '\0') return STATUS_OK;
    struct publish *p = mem_calloc(1, sizeof *p);
    if (p == NULL) return ERR_SET(e, STATUS_OOM, "publish: no memory");
    (void)snprintf(p->model, sizeof p->model, "%.64s", c->model_name);
    p->keep = c->publish_keep;
    p->ttl_s = c->publish_feature_ttl_s;
    p->clock = clock;
    p->state.epoch = epoch;
    p->seen = mem_calloc(PUBLISH_SEEN, sizeof *p->seen);
    if (p->seen == NULL) {
        st = ERR_SET(e, STATUS_OOM, "publish: no memory for the states handed over");
        goto fail;
    }
    st = redis_open(&p->redis, c, clock, e);
    if (st == STATUS_OK) st = make_owner(p->owner, e);
    if (st == STATUS_OK) st = make_locks(p, e);
    if (st != STATUS_OK) goto fail;
    p->busy = true;
    if (pthread_create(&p->thread, NULL, uploader, p) != 0) {
        st = ERR_SET(e, STATUS_OOM, "publish: no thread can be started");
        goto fail;
    }
    *out = p;
    return STATUS_OK;
fail:
    free_all(p);
    return st;
}

void publish_alive(struct publish *p)
{
    if (p != NULL) atomic_store(&p->alive_us, p->clock->mono_us(p->clock));
}

void publish_reload(struct publish *p, const struct conf *c)
{
    if (p == NULL) return;
    (void)pthread_mutex_lock(&p->lock);
    p->keep = c->publish_keep;
    p->ttl_s = c->publish_feature_ttl_s;
    (void)pthread_mutex_unlock(&p->lock);
}

void publish_close(struct publish *p)
{
    if (p == NULL) return;
    (void)pthread_mutex_lock(&p->lock);
    p->closing = true;
    p->deadline_us = p->clock->mono_us(p->clock) + (p->state.connected ? (int64_t)CLOSE_MS * 1000 : 0);
    (void)pthread_cond_signal(&p->wake);
    (void)pthread_mutex_unlock(&p->lock);
    (void)pthread_join(p->thread, NULL);
    (void)pthread_mutex_destroy(&p->lock);
    (void)pthread_cond_destroy(&p->wake);
    (void)pthread_cond_destroy(&p->idle);
    free_all(p);
}

enum status publish_flush(struct publish *p, int64_t timeout_ms, struct err *e)
{
    if (p == NULL) return STATUS_OK;
    const int64_t until_us = p->clock->mono_us(p->clock) + timeout_ms * 1000;
    enum status st = STATUS_OK;
    (void)pthread_mutex_lock(&p->lock);
    while (has_work(p) || p->busy) {
        const int64_t left_ms = (until_us - p->clock->mono_us(p->clock) + 999) / 1000;
        if (p->state.lease == PUBLISH_LEASE_CONFLICT || left_ms <= 0) {
            const enum status code = p->state.error.code;
            st = ERR_SET(e, code ? code : STATUS_AGAIN, "%s",
                         code ? p->state.error.text : "publish: Redis did not take everything in time");
            break;
        }
        wait_on(p, &p->idle, left_ms > 1000 ? 1000 : left_ms);
    }
    (void)pthread_mutex_unlock(&p->lock);
    return st;
}

static enum status copy_version(struct publish_manifest *m, const struct publish_version *v, struct err *e)
{
    m->version = v->version, m->parent = v->parent, m->examples = v->examples;
    m->watermark_ms = v->watermark_ms, m->settled_ms = v->settled_ms, m->settled_wall_ms = v->settled_wall_ms;
    m->live = v->live;
    memcpy(m->sha256, v->sha256, sizeof m->sha256);
    memcpy(m->base, v->base, sizeof m->base);
    (void)snprintf(m->reason, sizeof m->reason, "%s", v->reason ? v->reason : "");
    (void)snprintf(m->verdict, sizeof m->verdict, "%s", v->verdict ? v->verdict : "accepted");
    m->offsets = mem_calloc(v->n_offsets, sizeof *m->offsets);
    if (m->offsets == NULL) return ERR_SET(e, STATUS_OOM, "publish: no memory for %zu offsets", v->n_offsets);
    if (v->n_offsets > 0) memcpy(m->offsets, v->offsets, v->n_offsets * sizeof *m->offsets);
    m->n_offsets = v->n_offsets;
    return STATUS_OK;
}

enum status publish_weights(struct publish *p, const struct publish_version *v, struct buf *take_file, struct err *e)
{
    struct publish_weights_job *j = p ? mem_calloc(1, sizeof *j) : NULL, *old;
    enum status st = STATUS_OK;
    if (p != NULL && j == NULL)
        st = ERR_SET(e, STATUS_OOM, "publish: no memory for version %llu", (unsigned long long)v->version);
    if (j == NULL) {
        buf_fini(take_file);
        return st;
    }
    j->file = *take_file;
    *take_file = (struct buf){0};
    st = j->file.n == 0 ? ERR_SET(e, STATUS_INVALID, "publish: the weight file is empty")
                        : copy_version(&j->manifest, v, e);
    if (st != STATUS_OK) {
        publish_weights_job_free(j);
        return st;
    }
    (void)pthread_mutex_lock(&p->lock);
    old = p->waiting;
    p->waiting = j;
    (void)pthread_cond_signal(&p->wake);
    (void)pthread_mutex_unlock(&p->lock);
    publish_weights_job_free(old);
    return STATUS_OK;
}

bool publish_lost(struct publish *p)
{
    if (p == NULL) return false;
    (void)pthread_mutex_lock(&p->lock);
    const bool was = p->lost;
    p->lost = false;
    (void)pthread_mutex_unlock(&p->lock);
    if (was) memset(p->seen, 0, PUBLISH_SEEN * sizeof *p->seen);
    return was;
}

void publish_state(struct publish *p, struct publish_state *out)
{
    memset(out, 0, sizeof *out);
    if (p == NULL) return;
    (void)pthread_mutex_lock(&p->lock);
    *out = p->state;
    out->waiting = p->n_batches + (p->waiting != NULL) + p->metrics.full;
    (void)pthread_mutex_unlock(&p->lock);
}

/* publish.c - the learner's side: mailboxes that the uploader (publish_uploader.c) empties.
 *
 * Nothing here waits for Redis but publish_flush and publish_close, which say for how long.
 */
#include "serving/publish.h"
#include "base/mem.h"
#include "serving/publish_private.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

const char *publish_lease_name(enum publish_lease l)
{
    static const char *const names[] = {"none", "held", "foreign", "conflict"};
    return (unsigned)l < sizeof names / sizeof *names ? names[l] : "?";
}

/* 128 random bits in hex: never two alike. */
static enum status make_owner(char *out, struct err *e)
{
    unsigned char raw[16];
    if (getrandom(raw, sizeof raw, 0) != (ssize_t)sizeof raw)
        return ERR_SET(e, STATUS_IO, "publish: no random bytes: %s", strerror(errno));
    for (size_t i = 0; i < sizeof raw; i++) (void)snprintf(out + 2 * i, 3, "%02x", raw[i]);
    return STATUS_OK;
}

static enum status make_locks(struct publish *p, struct err *e)
{
    const bool locked = pthread_mutex_init(&p->lock, NULL) == 0, wakes = locked && clock_cond_init(&p->wake);
    if (wakes && clock_cond_init(&p->idle)) return STATUS_OK;
    if (wakes) (void)pthread_cond_destroy(&p->wake);
    if (locked) (void)pthread_mutex_destroy(&p->lock);
    return ERR_SET(e, STATUS_OOM, "publish: no lock can be made");
}

static void free_locks(struct publish *p)
{
    (void)pthread_mutex_destroy(&p->lock);
    (void)pthread_cond_destroy(&p->wake);
    (void)pthread_cond_destroy(&p->idle);
}

static void free_all(struct publish *p)
{
    publish_forget_kept(p);
    mem_free(p->kept);
    publish_weights_job_free(p->waiting);
    publish_weights_job_free(p->current);
    publish_rows_free(p->rows);
    publish_batch_free(p->batch);
    for (struct publish_batch *b = p->first, *next; b != NULL; b = next) next = b->next, publish_batch_free(b);
    for (struct publish_batch *b = p->pool, *next; b != NULL; b = next) next = b->next, publish_batch_free(b);
    buf_fini(&p->metrics.text);
    buf_fini(&p->sending.text);
    redis_close(p->redis);
    mem_free(p->seen);
    mem_free(p);
}

/* The uploader starts at once. */
static enum status open_one(struct publish **out, const struct conf *c, struct clock *clock, uint64_t epoch,
                            struct publish *leader, struct err *e)
{
    enum status st;
    struct publish *p = mem_calloc(1, sizeof *p);
    if (p == NULL) return ERR_SET(e, STATUS_OOM, "publish: no memory");
    (void)snprintf(p->model, sizeof p->model, "%.97s", c->model_name);
    p->keep = c->publish_keep;
    p->ttl_s = c->publish_feature_ttl_s;
    p->clock = clock;
    p->leader = leader;
    publish_need(c, 0, 0, false, &p->need);
    publish_holder_self(&p->self);
    p->self.epoch = p->state.epoch = epoch;
    if (leader == NULL) p->seen = mem_calloc(PUBLISH_SEEN, sizeof *p->seen); /* features are the leader's */
    if (leader == NULL && p->seen == NULL) {
        st = ERR_SET(e, STATUS_OOM, "publish: no memory for the states handed over");
        goto fail;
    }
    st = redis_open(&p->redis, c, clock, e);
    if (st == STATUS_OK) st = make_owner(p->self.owner, e);
    if (st == STATUS_OK) st = make_locks(p, e);
    if (st != STATUS_OK) goto fail;
    p->busy = true;
    if (pthread_create(&p->thread, NULL, publish_uploader, p) != 0) {
        st = ERR_SET(e, STATUS_OOM, "publish: no thread can be started");
        free_locks(p);
        goto fail;
    }
    *out = p;
    return STATUS_OK;
fail:
    free_all(p);
    return st;
}

enum status publish_open(struct publish **out, const struct conf *c, struct clock *clock, uint64_t epoch, struct err *e)
{
    *out = NULL;
    return c->redis_url[0] == '\0' ? STATUS_OK : open_one(out, c, clock, epoch, NULL, e);
}

enum status publish_open_variant(struct publish **out, struct publish *leader, const struct conf *c, struct err *e)
{
    *out = NULL;
    return leader == NULL ? STATUS_OK : open_one(out, c, leader->clock, 0, leader, e);
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

void publish_ending(struct publish *p)
{
    if (p == NULL) return;
    (void)pthread_mutex_lock(&p->lock);
    p->ending = true;
    (void)pthread_mutex_unlock(&p->lock);
}

void publish_close(struct publish *p)
{
    if (p == NULL) return;
    (void)pthread_mutex_lock(&p->lock);
    p->deadline_us = p->clock->mono_us(p->clock) + (p->state.connected ? (int64_t)PUBLISH_CLOSE_MS * 1000 : 0);
    p->ending = true;
    p->closing = true;
    (void)pthread_cond_signal(&p->wake);
    (void)pthread_mutex_unlock(&p->lock);
    (void)pthread_join(p->thread, NULL);
    free_locks(p);
    free_all(p);
}

enum status publish_flush(struct publish *p, int64_t timeout_ms, struct err *e)
{
    if (p == NULL) return STATUS_OK;
    const int64_t until_us = p->clock->mono_us(p->clock) + timeout_ms * 1000;
    enum status st = STATUS_OK;
    (void)pthread_mutex_lock(&p->lock);
    while (publish_has_work(p) || p->busy) {
        const int64_t left_ms = (until_us - p->clock->mono_us(p->clock) + 999) / 1000;
        if (p->state.lease == PUBLISH_LEASE_CONFLICT || left_ms <= 0) {
            const enum status code = p->state.error.code;
            st = ERR_SET(e, code ? code : STATUS_AGAIN, "%s",
                         code ? p->state.error.text : "publish: Redis did not take everything in time");
            break;
        }
        publish_wait_on(p, &p->idle, left_ms > 1000 ? 1000 : left_ms);
    }
    (void)pthread_mutex_unlock(&p->lock);
    return st;
}

static enum status copy_version(struct publish_manifest *m, const struct publish_version *v, struct err *e)
{
    m->version = v->version, m->parent = v->parent, m->examples = v->examples;
    m->watermark_ms = v->watermark_ms == INT64_MIN ? 0 : v->watermark_ms, m->settled_ms = v->settled_ms,
    m->settled_wall_ms = v->settled_wall_ms;
    m->consumed_wall_ms = v->consumed_wall_ms, m->learnt_wall_ms = v->learnt_wall_ms;
    m->live = v->live, m->rounded = v->rounded, m->features = v->features;
    memcpy(m->sha256, v->sha256, sizeof m->sha256);
    memcpy(m->base, v->base, sizeof m->base);
    (void)snprintf(m->reason, sizeof m->reason, "%s", v->reason ? v->reason : "");
    (void)snprintf(m->verdict, sizeof m->verdict, "%s", v->verdict ? v->verdict : "accepted");
    (void)snprintf(m->topics, sizeof m->topics, "%s", v->topics ? v->topics : "");
    m->offsets = mem_calloc(v->n_offsets, sizeof *m->offsets);
    if (m->offsets == NULL) return ERR_SET(e, STATUS_OOM, "publish: no memory for %zu offsets", v->n_offsets);
    if (v->n_offsets > 0) memcpy(m->offsets, v->offsets, v->n_offsets * sizeof *m->offsets);
    m->n_offsets = v->n_offsets;
    return STATUS_OK;
}

void publish_touch(struct publish *p, size_t page)
{
    if (p != NULL && p->rows != NULL) publish_rows_mark(p->rows, page);
}

static enum status make_job(struct publish *p, struct publish_weights_job *j, const struct publish_version *v,
                            const struct publish_hashed *hashed, struct err *e)
{
    if (j->file.n == 0) return ERR_SET(e, STATUS_INVALID, "publish: the weight file is empty");
    TRY(copy_version(&j->manifest, v, e));
    if (hashed == NULL || hashed->n == 0) return STATUS_OK;
    j->manifest.has_rows = true;
    j->manifest.rows_xxh3 = hash_bytes(hashed->rows, hashed->n * sizeof *hashed->rows);
    if (p->rows == NULL) TRY(publish_rows_new(&p->rows, hashed->n, e));
    if (p->rows->n != hashed->n)
        return ERR_SET(e, STATUS_INVALID, "publish: %zu hashed rows, the versions before had %zu", hashed->n,
                       p->rows->n);
    j->rows = p->rows;
    return STATUS_OK;
}

/* In place of the one that waits, with its pages, and under the lock: the uploader puts back what it could not send. */
static enum status replace_waiting(struct publish *p, struct publish_weights_job *j,
                                   const struct publish_hashed *hashed, struct publish_weights_job **old, struct err *e)
{
    *old = p->waiting;
    if (*old != NULL && (*old)->rows != NULL) publish_rows_again(p->rows, &(*old)->pages);
    const enum status st = j->rows != NULL ? publish_rows_collect(p->rows, hashed->rows, &j->pages, e) : STATUS_OK;
    if (st != STATUS_OK) {
        *old = NULL;
        return st;
    }
    p->waiting = j;
    (void)pthread_cond_signal(&p->wake);
    return STATUS_OK;
}

enum status publish_weights(struct publish *p, const struct publish_version *v, struct buf *take_file,
                            const struct publish_hashed *hashed, struct err *e)
{
    struct publish_weights_job *j = p ? mem_calloc(1, sizeof *j) : NULL, *old = NULL;
    enum status st = STATUS_OK;
    if (p != NULL && j == NULL)
        st = ERR_SET(e, STATUS_OOM, "publish: no memory for version %llu", (unsigned long long)v->version);
    if (j == NULL) {
        buf_fini(take_file);
        return st;
    }
    j->says_champion = v->champion != NULL;
    (void)snprintf(j->champion, sizeof j->champion, "%s", v->champion != NULL ? v->champion : "");
    j->file = *take_file;
    *take_file = (struct buf){0};
    st = make_job(p, j, v, hashed, e);
    if (st == STATUS_OK) {
        (void)pthread_mutex_lock(&p->lock);
        st = replace_waiting(p, j, hashed, &old, e);
        (void)pthread_mutex_unlock(&p->lock);
    }
    publish_weights_job_free(st == STATUS_OK ? old : j);
    return st;
}

bool publish_lost(struct publish *p)
{
    if (p == NULL) return false;
    (void)pthread_mutex_lock(&p->lock);
    const bool was = p->lost;
    p->lost = false;
    (void)pthread_mutex_unlock(&p->lock);
    if (was && p->seen != NULL) memset(p->seen, 0, PUBLISH_SEEN * sizeof *p->seen);
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

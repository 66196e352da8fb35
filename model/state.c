/* state.c - the cache itself: what callers ask for, and the queue between them and the workers. */
#include "model/state.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "model/state_cache.h"
#include "model/state_file.h"
#include <math.h>
#include <string.h>

#define WANTED_MOST 256 /* sentences that may wait when one more is only wanted */

/* --- workers ----------------------------------------------------------------------------------------------------- */

/* What somebody waits for goes to the front. */
static void queue_add(struct state_cache *c, struct state_slot *s)
{
    if (s->own_ids == NULL) {
        s->queued = c->queue_first;
        c->queue_first = s;
        if (c->queue_last == NULL) c->queue_last = s;
    } else {
        *(c->queue_last != NULL ? &c->queue_last->queued : &c->queue_first) = s;
        c->queue_last = s;
    }
    c->queue_length++;
    (void)pthread_cond_signal(&c->work);
}

/* A worker's fair share of the queue, as many as fill one pass through the encoder; 0: the cache is closing. */
static size_t queue_take(struct state_cache *c, struct state_slot **out)
{
    while (c->queue_first == NULL && !c->stop) (void)pthread_cond_wait(&c->work, &c->lock);
    if (c->stop) return 0; /* what is left was only wanted */
    const size_t share = (c->queue_length + c->n_workers - 1) / c->n_workers;
    size_t n = 0, tokens = 0;
    while (c->queue_first != NULL && n < STATE_TOGETHER && (n == 0 || n < share)) {
        struct state_slot *s = c->queue_first;
        if (n > 0 && tokens + s->n_ids > encoder_run_chunk(c->workers[0].run)) break;
        tokens += s->n_ids;
        out[n++] = s;
        c->queue_first = s->queued;
        if (c->queue_first == NULL) c->queue_last = NULL;
        c->queue_length--;
    }
    return n;
}

static void finish(struct state_cache *c, struct state_slot *s, enum status st, const struct err *why)
{
    struct state_job *job = s->job;
    s->job = NULL;
    s->ids = NULL;
    s->phase = st == STATUS_OK ? STATE_READY : STATE_FAILED;
    if (st != STATUS_OK) {
        state_take_out(c, s);
        if (job != NULL && job->status == STATUS_OK) job->status = st, job->why = *why;
    }
    if (job != NULL) job->pending--;
    if (s->own_ids != NULL) {
        mem_free(s->own_ids);
        s->own_ids = NULL;
        state_unpin(c, s);
    }
}

/* Slots taken together; when that fails each is tried alone, so that only the bad ones fail. */
static void encode(struct state_worker *w, struct state_slot *const *slots, size_t n)
{
    struct state_cache *c = w->cache;
    struct err why = {0};
    (void)pthread_mutex_unlock(&c->lock);
    const enum status st = state_worker_encode(w, slots, n, &why);
    (void)pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < n; i++) {
        c->stats.encoded += st == STATUS_OK;
        if (st == STATUS_OK || n == 1)
            finish(c, slots[i], st, &why);
        else
            encode(w, &slots[i], 1);
    }
    (void)pthread_cond_broadcast(&c->done);
}

static void *worker_main(void *arg)
{
    struct state_worker *w = arg;
    struct state_slot *slots[STATE_TOGETHER];
    size_t n;
    (void)pthread_mutex_lock(&w->cache->lock);
    while ((n = queue_take(w->cache, slots)) > 0) encode(w, slots, n);
    (void)pthread_mutex_unlock(&w->cache->lock);
    return NULL;
}

/* --- making and freeing ------------------------------------------------------------------------------------------ */

static enum status start_workers(struct state_cache *c, unsigned threads, const char *backend, struct err *e)
{
    c->workers = mem_calloc(threads, sizeof *c->workers);
    if (c->workers == NULL) return ERR_SET(e, STATUS_OOM, "frozen states: no memory for %u workers", threads);
    c->n_workers = threads;
    for (unsigned i = 0; i < threads; i++) TRY(state_worker_init(&c->workers[i], c, backend, e));
    TRY(state_worker_measure(&c->workers[0], &c->scale, e));
    for (unsigned i = 0; i < threads; i++) {
        struct state_worker *w = &c->workers[i];
        const int failed = pthread_create(&w->thread, NULL, worker_main, w);
        if (failed)
            return ERR_SET(e, STATUS_IO, "frozen states: worker %u of %u cannot start: %s; lower kernels.threads",
                           i + 1, threads, strerror(failed));
        w->started = true;
    }
    return STATUS_OK;
}

enum status state_cache_new(struct state_cache **out, const struct encoder *m, size_t mid, bool keep_tokens,
                            size_t max_bytes, unsigned threads, const char *backend, struct err *e)
{
    enum status st;
    const struct encoder_shape *s = encoder_shape(m);
    *out = NULL;
    if (mid > s->L || threads == 0)
        return ERR_SET(e, STATUS_INVALID, "frozen states: after layer %zu of %zu, by %u workers", mid, s->L, threads);
    struct state_cache *c = mem_calloc(1, sizeof *c);
    if (c == NULL) return ERR_SET(e, STATUS_OOM, "frozen states: no memory");
    c->m = m;
    c->C = s->C;
    c->mid = mid;
    c->keep_tokens = keep_tokens;
    c->salt = hash_mix(hash_mix(encoder_fingerprint(m), mid), keep_tokens ? 2 : 1); /* the precision is in it */
    (void)pthread_mutex_init(&c->lock, NULL);
    (void)pthread_cond_init(&c->work, NULL);
    (void)pthread_cond_init(&c->done, NULL);
    TRY_OUT(st, state_make_table(c, max_bytes, e));
    TRY_OUT(st, start_workers(c, threads, backend, e));
    *out = c;
    c = NULL;
out:
    state_cache_free(c);
    return st;
}

enum status state_cache_open(struct state_cache **out, const struct encoder *m, size_t mid, bool keep_tokens,
                             const struct conf *c, struct err *e)
{
    char backend[KERN_NAME_MAX];
    kern_name(c, backend);
    return state_cache_new(out, m, mid, keep_tokens, (size_t)c->kernels_cache_bytes, (unsigned)c->kernels_threads,
                           backend, e);
}

void state_cache_free(struct state_cache *c)
{
    if (c == NULL) return;
    (void)pthread_mutex_lock(&c->lock);
    c->stop = true;
    (void)pthread_cond_broadcast(&c->work);
    (void)pthread_mutex_unlock(&c->lock);
    for (unsigned i = 0; i < c->n_workers; i++) {
        if (c->workers[i].started) (void)pthread_join(c->workers[i].thread, NULL);
        state_worker_fini(&c->workers[i]);
    }
    state_free_slots(c);
    state_file_close(c->file);
    (void)pthread_cond_destroy(&c->done);
    (void)pthread_cond_destroy(&c->work);
    (void)pthread_mutex_destroy(&c->lock);
    mem_free(c->workers);
    mem_free(c);
}

/* --- use --------------------------------------------------------------------------------------------------------- */

static struct state_slot *slot_of(const struct state_entry *e)
{
    return (struct state_slot *)(uintptr_t)e; /* its first member */
}

static bool in_file(const struct state_cache *c, uint64_t hash)
{
    return c->file != NULL && state_file_has(c->file, hash);
}

/* Finds or orders one sentence; pinned either way. */
static enum status want(struct state_cache *c, const struct state_request *q, struct state_job *job,
                        const struct state_entry **out, struct err *e)
{
    struct state_slot *s = *state_place(c, q->hash);
    if (s == NULL && (q->n == 0 || q->n > encoder_shape(c->m)->P))
        return ERR_SET(e, STATUS_INVALID, "frozen states: a sentence of %u tokens, the model has %zu positions", q->n,
                       encoder_shape(c->m)->P);
    if (s != NULL) {
        c->stats.hits++;
        state_pin(c, s);
    } else {
        c->stats.misses++;
        /* a list is answered and learnt however little room there is */
        TRY(state_add(c, q->hash, c->keep_tokens ? q->n : 0, true, &s, e));
        s->phase = STATE_PENDING;
        s->ids = q->ids;
        s->n_ids = q->n;
        s->job = job;
        job->pending++;
        if (in_file(c, q->hash)) {
            s->queued = job->filed;
            job->filed = s;
        } else {
            queue_add(c, s);
        }
    }
    *out = &s->entry;
    return STATUS_OK;
}

/* What the file knows is read by the caller itself, which takes less than handing it to a worker; a damaged record's
 * sentence is computed. */
static void read_filed(struct state_cache *c, struct state_job *job)
{
    struct state_slot *good = NULL, *bad = NULL;
    if (job->filed == NULL) return;
    (void)pthread_mutex_unlock(&c->lock);
    for (struct state_slot *s = job->filed, *next; s != NULL; s = next) {
        struct err why;
        const enum status st = state_file_read(c->file, s->entry.hash, s->entry.n_tokens, s->numbers, &why);
        struct state_slot **list = st == STATUS_OK ? &good : &bad;
        if (st != STATUS_OK) log_limited(LOG_WARN, "states", "%s", why.text);
        next = s->queued;
        s->queued = *list;
        *list = s;
    }
    (void)pthread_mutex_lock(&c->lock);
    for (struct state_slot *s = good, *next; s != NULL; s = next, c->stats.file_hits++) {
        next = s->queued;
        finish(c, s, STATUS_OK, NULL);
    }
    for (struct state_slot *s = bad, *next; s != NULL; s = next, c->stats.file_damaged++) {
        next = s->queued;
        queue_add(c, s);
    }
    (void)pthread_cond_broadcast(&c->done); /* others may share them */
}

static void let_go(struct state_cache *c, const struct state_entry *const *entries, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (entries[i] != NULL) state_unpin(c, slot_of(entries[i]));
}

/* Until nothing of ours is pending, nor what we share with others. */
static void wait_for(struct state_cache *c, const struct state_job *job, const struct state_entry *const *out, size_t n)
{
    while (job->pending > 0) (void)pthread_cond_wait(&c->done, &c->lock);
    for (size_t i = 0; i < n; i++)
        while (slot_of(out[i])->phase == STATE_PENDING) (void)pthread_cond_wait(&c->done, &c->lock);
}

enum status state_acquire(struct state_cache *c, const struct state_request *req, size_t n,
                          const struct state_entry **out, struct err *e)
{
    struct state_job job = {.status = STATUS_OK};
    enum status st = STATUS_OK;
    size_t got = 0;
    (void)pthread_mutex_lock(&c->lock);
    for (; got < n && st == STATUS_OK; got += st == STATUS_OK) st = want(c, &req[got], &job, &out[got], e);
    read_filed(c, &job);
    wait_for(c, &job, out, got);
    if (st == STATUS_OK && job.status != STATUS_OK) {
        st = job.status;
        if (e != NULL) *e = job.why;
    }
    for (size_t i = 0; st == STATUS_OK && i < got; i++)
        if (slot_of(out[i])->phase == STATE_FAILED)
            st = ERR_SET(e, STATUS_INVALID, "frozen states: sentence %zu failed in the request that asked first", i);
    if (st != STATUS_OK) {
        let_go(c, out, got);
        for (size_t i = 0; i < n; i++) out[i] = NULL;
    }
    (void)pthread_mutex_unlock(&c->lock);
    return st;
}

void state_want(struct state_cache *c, uint64_t hash, const int32_t *ids, uint32_t n)
{
    struct state_slot *s = NULL;
    (void)pthread_mutex_lock(&c->lock);
    const bool fits = n > 0 && n <= encoder_shape(c->m)->P && c->queue_length < WANTED_MOST;
    const bool take = fits && *state_place(c, hash) == NULL && !in_file(c, hash);
    int32_t *copy = take ? mem_calloc(n, sizeof *copy) : NULL;
    if (copy != NULL && state_add(c, hash, c->keep_tokens ? n : 0, false, &s, NULL) == STATUS_OK) {
        memcpy(copy, ids, n * sizeof *copy);
        s->phase = STATE_PENDING;
        s->own_ids = copy;
        s->ids = copy;
        s->n_ids = n;
        c->stats.wanted++;
        queue_add(c, s);
        copy = NULL;
    }
    (void)pthread_mutex_unlock(&c->lock);
    mem_free(copy);
}

void state_release(struct state_cache *c, const struct state_entry *const *entries, size_t n)
{
    (void)pthread_mutex_lock(&c->lock);
    let_go(c, entries, n);
    (void)pthread_mutex_unlock(&c->lock);
}

static bool all_finite(const uint16_t *x, size_t n)
{
    bool good = true;
    for (size_t i = 0; i < n; i++) good = good && (x[i] & 0x7f80u) != 0x7f80u;
    return good;
}

enum status state_put(struct state_cache *c, uint64_t hash, const struct record_state *r, struct err *e)
{
    enum status st = STATUS_OK;
    struct state_slot *s;
    const size_t C = c->C, n = c->keep_tokens ? r->n_tokens : 0;
    if (r->width != C || (c->keep_tokens && n == 0) || n > encoder_shape(c->m)->P)
        return ERR_SET(e, STATUS_INVALID,
                       "frozen states: a record of width %u with %u tokens; the model has width %zu%s", r->width,
                       r->n_tokens, C, c->keep_tokens ? " and wants token states" : "");
    if (!all_finite(r->pooled, C) || !all_finite(r->final, C) || (n > 0 && !all_finite(r->tokens, n * C)))
        return ERR_SET(e, STATUS_INVALID, "frozen states: a record has numbers that are not finite");
    (void)pthread_mutex_lock(&c->lock);
    if (*state_place(c, hash) == NULL) {
        st = state_add(c, hash, n, false, &s, e);
        if (st == STATUS_OK) {
            memcpy(s->numbers, r->pooled, C * sizeof *s->numbers);
            memcpy(s->numbers + C, r->final, C * sizeof *s->numbers);
            if (n > 0) memcpy(s->numbers + 2 * C, r->tokens, n * C * sizeof *s->numbers);
            s->phase = STATE_READY;
            c->stats.put++;
            state_unpin(c, s);
        }
    }
    (void)pthread_mutex_unlock(&c->lock);
    return st;
}

bool state_fits(const struct state_cache *c, size_t n, size_t n_tokens)
{
    return n * state_bytes(c, 0) + (c->keep_tokens ? 2 * n_tokens * c->C : 0) <= c->stats.max_bytes / 4 * 3;
}

bool state_has(struct state_cache *c, uint64_t hash)
{
    (void)pthread_mutex_lock(&c->lock);
    const bool there = *state_place(c, hash) != NULL;
    (void)pthread_mutex_unlock(&c->lock);
    return there || in_file(c, hash);
}

void state_cache_attach(struct state_cache *c, struct state_file *take_file)
{
    (void)pthread_mutex_lock(&c->lock); /* the workers are there already */
    c->file = take_file;
    c->stats.bytes += state_file_index_bytes(take_file);
    (void)pthread_mutex_unlock(&c->lock);
}

struct record_state state_record(const struct state_entry *entry)
{
    return (struct record_state){.n_tokens = entry->n_tokens,
                                 .width = entry->width,
                                 .pooled = entry->pooled,
                                 .final = entry->final,
                                 .tokens = entry->tokens};
}

uint64_t state_key(const struct state_cache *c, uint64_t hash)
{
    return hash_mix(hash, c->salt);
}

float state_scale(const struct state_cache *c)
{
    return c->scale;
}

void state_stats(struct state_cache *c, struct state_stats *out)
{
    (void)pthread_mutex_lock(&c->lock);
    *out = c->stats;
    (void)pthread_mutex_unlock(&c->lock);
}

/* eval_behind.c - see eval_behind.h: a ring of copies between the learner and whoever evaluates. */
#include "trainer/eval_behind.h"
#include "base/arena.h"
#include "base/mem.h"
#include <pthread.h>
#include <string.h>

#define AHEAD 64    /* slates that may wait */
#define TOGETHER 16 /* that are worth waking a worker */

struct copy {
    struct slate slate; /* of it, what the evaluator reads */
    struct eval_seen seen;
    struct arena arena;
};
struct eval_behind {
    struct eval *ev;
    struct pool *pool;
    struct pool_job job;
    size_t rows;
    struct copy ring[AHEAD];
    pthread_mutex_t lock;
    pthread_cond_t moved;
    uint64_t given, done; /* [done, given) wait; ring[done] is whose turn it is, while busy */
    bool busy;
    enum status status; /* the first failure */
    struct err why;
};

/* --- whoever evaluates -------------------------------------------------------------------------------------------- */

/* The oldest that waits; with the lock held before and after, let go meanwhile. */
static void evaluate(struct eval_behind *b)
{
    struct err why = {0};
    b->busy = true;
    (void)pthread_mutex_unlock(&b->lock);
    const enum status st = eval_add(b->ev, &b->ring[b->done % AHEAD].seen, &why);
    (void)pthread_mutex_lock(&b->lock);
    if (st != STATUS_OK && b->status == STATUS_OK) b->status = st, b->why = why;
    b->busy = false;
    b->done++;
    (void)pthread_cond_signal(&b->moved);
}

static bool evaluate_one(void *behind)
{
    struct eval_behind *b = behind;
    (void)pthread_mutex_lock(&b->lock);
    if (!b->busy && b->given > b->done) evaluate(b);
    const bool more = !b->busy && b->given > b->done;
    (void)pthread_mutex_unlock(&b->lock);
    return more;
}

/* Until at most `left` wait; the learner does it itself where nobody else does. */
static void catch_up(struct eval_behind *b, uint64_t left)
{
    while (b->given - b->done > left) {
        if (b->busy)
            (void)pthread_cond_wait(&b->moved, &b->lock);
        else
            evaluate(b);
    }
}

enum status eval_behind_new(struct eval_behind **out, struct eval *ev, struct pool *pool, size_t rows, struct err *e)
{
    struct eval_behind *b = mem_calloc(1, sizeof *b);
    *out = b;
    if (b == NULL) return ERR_SET(e, STATUS_OOM, "evaluator: no memory for slates that wait");
    b->ev = ev;
    b->pool = pool;
    b->job = (struct pool_job){.fn = evaluate_one, .user = b};
    b->rows = rows;
    (void)pthread_mutex_init(&b->lock, NULL);
    (void)pthread_cond_init(&b->moved, NULL);
    return STATUS_OK;
}

void eval_behind_free(struct eval_behind *b)
{
    if (b == NULL) return;
    pool_withdraw(b->pool, &b->job);
    for (size_t i = 0; i < AHEAD; i++) arena_fini(&b->ring[i].arena);
    (void)pthread_cond_destroy(&b->moved);
    (void)pthread_mutex_destroy(&b->lock);
    mem_free(b);
}

/* --- copies ------------------------------------------------------------------------------------------------------- */

/* NULL stays NULL; *good: false: out of memory. */
static void *copy_of(struct arena *a, const void *p, size_t n, size_t size, bool *good)
{
    if (p == NULL) return NULL;
    void *out = arena_raw(a, n + 1, size);
    *good = *good && out != NULL;
    return out != NULL ? memcpy(out, p, n * size) : NULL;
}

static void copy_str(struct arena *a, struct str *s, bool *good)
{
    if (str_has(*s)) s->p = copy_of(a, s->p, s->n, 1, good);
}

/* Sentences, events and features are the model's alone, and ids are known by their hashes. */
static bool copy_slate(struct copy *c, const struct slate *from)
{
    struct slate *s = &c->slate;
    struct arena *a = &c->arena;
    const size_t K = from->n_items;
    bool good = true;
    *s = *from;
    copy_str(a, &s->user, &good);
    copy_str(a, &s->version, &good);
    copy_str(a, &s->variant, &good);
    s->items = copy_of(a, from->items, K, sizeof *s->items, &good);
    s->segments = copy_of(a, from->segments, from->n_segments * K, sizeof *s->segments, &good);
    s->ranks = copy_of(a, from->ranks, SLATE_RANKS * K, sizeof *s->ranks, &good);
    for (size_t i = 0; good && i < K; i++) s->items[i].id = (struct str){NULL, 0};
    s->request = (struct str){NULL, 0};
    s->n_sentences = s->n_tokens = s->n_events = s->n_numeric = 0;
    s->sentences = NULL;
    s->tokens = NULL;
    s->events = NULL;
    s->numeric = s->hashed_val = NULL;
    s->hashed_off = s->hashed_idx = NULL;
    s->arena = NULL;
    return good;
}

static bool copy_seen(struct copy *c, const struct eval_seen *from, size_t rows)
{
    struct arena *a = &c->arena;
    const size_t K = from->s->n_items;
    arena_reset(a);
    bool good = copy_slate(c, from->s);
    c->seen = *from;
    c->seen.s = &c->slate;
    c->seen.logits = copy_of(a, from->logits, K, sizeof(float), &good);
    c->seen.part_logits = copy_of(a, from->part_logits, rows * K, sizeof(float), &good);
    c->seen.frozen = copy_of(a, from->frozen, K, sizeof(float), &good);
    return good;
}

/* --- the learner's side ------------------------------------------------------------------------------------------- */

enum status eval_behind_put(struct eval_behind *b, const struct eval_seen *seen, struct err *e)
{
    (void)pthread_mutex_lock(&b->lock);
    catch_up(b, AHEAD - 1);
    const enum status st = b->status;
    if (st != STATUS_OK && e != NULL) *e = b->why;
    (void)pthread_mutex_unlock(&b->lock);
    if (st != STATUS_OK) return st;
    if (!copy_seen(&b->ring[b->given % AHEAD], seen, b->rows))
        return ERR_SET(e, STATUS_OOM, "evaluator: slate of %u examples", seen->s->n_items);
    (void)pthread_mutex_lock(&b->lock);
    const bool worth = ++b->given - b->done >= TOGETHER && !b->busy;
    (void)pthread_mutex_unlock(&b->lock);
    if (worth) pool_post(b->pool, &b->job);
    return STATUS_OK;
}

enum status eval_behind_wait(struct eval_behind *b)
{
    if (b == NULL) return STATUS_OK;
    (void)pthread_mutex_lock(&b->lock);
    catch_up(b, 0);
    const enum status st = b->status;
    (void)pthread_mutex_unlock(&b->lock);
    return st;
}

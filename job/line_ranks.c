/* line_ranks.c - see line_ranks.h. */
#include "job/line_ranks.h"
#include "base/hash.h"
#include "base/mem.h"
#include "job/line.h"
#include "trainer/ranks_grads.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

struct line_ranks {
    struct ranks *ranks;
    struct ranks_grads *grads;
    struct line_stop stop;
    uint64_t batches;         /* that were learnt together, those refused among them */
    const struct slate **own; /* (train.batch_slates) */
    double *own_losses;       /* of them */
    float *z, *dz;            /* of own slates, then of the whole batch; (cap) */
    size_t cap;
    struct buf record, batch;
};
/* The head of a step's record. */
struct head {
    uint64_t batch;  /* its number */
    uint64_t slates; /* hash of what is in it */
    uint64_t params; /* hash of the parameters before it; 0: not made */
    bool stop;
};

void line_ranks_free(struct line_ranks *q)
{
    if (q == NULL) return;
    ranks_grads_free(q->grads);
    mem_free(q->own);
    mem_free(q->own_losses);
    mem_free(q->z);
    mem_free(q->dz);
    buf_fini(&q->record);
    buf_fini(&q->batch);
    mem_free(q);
}

enum status line_join(struct line *l, struct ranks *ranks, struct line_stop stop, struct err *e)
{
    const size_t batch = (size_t)l->conf->train_batch_slates;
    struct line_ranks *q = mem_calloc(1, sizeof *q);
    if (q == NULL) return ERR_SET(e, STATUS_OOM, "line: %zu bytes for its ranks", sizeof *q);
    q->ranks = ranks;
    q->stop = stop;
    q->own = mem_calloc(batch, sizeof *q->own);
    q->own_losses = mem_calloc(batch, sizeof *q->own_losses);
    enum status st = STATUS_OK;
    if (q->own == NULL || q->own_losses == NULL) st = ERR_SET(e, STATUS_OOM, "line: shares of %zu slates", batch);
    if (st == STATUS_OK)
        st = ranks_grads_new(&q->grads, ranks, l->run, model_table(l->model), l->conf->train_ranks_reduce, e);
    if (st == STATUS_OK)
        l->ranks = q;
    else
        line_ranks_free(q);
    return st;
}

const char *line_ranks_by(const struct line_ranks *q)
{
    return ranks_grads_by(q->grads);
}

/* --- this rank's share --------------------------------------------------------------------------------------------- */

static enum status room(struct line_ranks *q, size_t n, struct err *e)
{
    size_t cap = q->cap;
    if (MEM_GROW(q->z, &cap, n) == 0 &&
        MEM_GROW(q->dz, &q->cap, n) == 0)
        return STATUS_OK;
    return ERR_SET(e, STATUS_OOM, "line: logits of %zu candidates", n);
}

static enum status learn_own(struct line_ranks *q, struct line *l, uint32_t *n_own, struct err *e)
{
    const uint32_t n = (uint32_t)ranks_count(q->ranks), rank = (uint32_t)ranks_rank(q->ranks);
    size_t items = 1;
    *n_own = 0;
    for (uint32_t i = 0; i < l->n_pending; i++) items += l->pending[i]->n_items;
    for (uint32_t i = rank; i < l->n_pending; i += n) q->own[(*n_own)++] = l->pending[i];
    TRY(room(q, items, e));
    const struct model_share share = {q->z, q->dz, ranks_grads_ready, q->grads};
    return model_learn_share(l->run, q->own, *n_own, (uint64_t)l->conf->train_seed, q->own_losses, &share, e);
}

/* --- the record ---------------------------------------------------------------------------------------------------- */

/* Everything of the batch that a step depends on, as the state would keep it. */
static enum status hash_batch(struct line_ranks *q, const struct line *l, uint64_t *out, struct err *e)
{
    buf_clear(&q->batch);
    line_batch_encode(&q->batch, l);
    TRY(buf_status(&q->batch, e));
    *out = hash_bytes(q->batch.p, q->batch.n);
    return STATUS_OK;
}

static enum status pack(struct line_ranks *q, const struct line *l, uint32_t n_own, struct err *e)
{
    struct buf *b = &q->record;
    uint64_t slates;
    size_t items = 0;
    TRY(hash_batch(q, l, &slates, e));
    for (uint32_t i = 0; i < n_own; i++) items += q->own[i]->n_items;
    buf_clear(b);
    buf_u64(b, q->batches);
    buf_u64(b, slates);
    buf_u64(b, q->batches % RANKS_CHECK == 0 ? param_hash(l->params) : 0);
    buf_u8(b, atomic_load(q->stop.asked));
    for (uint32_t i = 0; i < n_own; i++) buf_f64(b, q->own_losses[i]);
    buf_put(b, q->z, items * sizeof *q->z);
    buf_put(b, q->dz, items * sizeof *q->dz);
    ranks_rows_encode(b, q->grads);
    return buf_status(b, e);
}

static struct head get_head(struct buf_reader *r)
{
    struct head h;
    h.batch = buf_get_u64(r);
    h.slates = buf_get_u64(r);
    h.params = buf_get_u64(r);
    h.stop = buf_get_u8(r) != 0;
    return h;
}

static enum status differs(const struct line_ranks *q, int rank, const char *what, uint64_t theirs, uint64_t first,
                           const char *next, struct err *e)
{
    return ERR_SET(e, STATUS_CONFLICT,
                   "rank %d has another %s than rank 0 at step %" PRIu64 ": %" PRIx64 " against %" PRIx64 "; %s", rank,
                   what, q->batches, theirs, first, next);
}

static enum status compare(const struct line_ranks *q, int rank, const struct head *h, const struct head *first,
                           struct err *e)
{
    static const char logs[] = "give all ranks the same logs in the same order, and start them again";
    static const char weights[] =
        "they run different programs, processors or devices, or a machine is faulty; start all "
        "again from rank 0's last checkpoint";
    if (h->batch != first->batch) return differs(q, rank, "batch", h->batch, first->batch, logs, e);
    if (h->slates != first->slates) return differs(q, rank, "content of the batch", h->slates, first->slates, logs, e);
    if (h->params != first->params)
        return differs(q, rank, "hash of the weights", h->params, first->params, weights, e);
    return STATUS_OK;
}

/* One rank's part: losses and logits to their slates' places, rows added. */
static enum status unpack(struct line_ranks *q, struct line *l, int rank, struct buf_reader *r, struct err *e)
{
    const uint32_t n = (uint32_t)ranks_count(q->ranks);
    float *const to[] = {q->z, q->dz};
    for (uint32_t i = (uint32_t)rank; i < l->n_pending; i += n) l->losses[i] = buf_get_f64(r);
    for (size_t k = 0; k < 2; k++) {
        size_t at = 0;
        for (uint32_t i = 0; i < l->n_pending; at += l->pending[i++]->n_items) {
            const size_t bytes = l->pending[i]->n_items * sizeof(float);
            if (i % n != (uint32_t)rank || bytes == 0) continue;
            const void *x = buf_get(r, bytes);
            if (x != NULL) memcpy(to[k] + at, x, bytes);
        }
    }
    if (r->bad)
        return ERR_SET(e, STATUS_CORRUPT, "rank %d: its record of a step is cut short: start all from one build", rank);
    return ranks_rows_add(q->grads, r, e);
}

static enum status unpack_all(struct line_ranks *q, struct line *l, struct err *e)
{
    struct head first = {0};
    bool stop = false;
    model_rows_clear(l->run);
    for (int k = 0; k < ranks_count(q->ranks); k++) {
        struct buf_reader r = ranks_part(q->ranks, k);
        const struct head h = get_head(&r);
        if (k == 0) first = h;
        TRY(compare(q, k, &h, &first, e));
        TRY(unpack(q, l, k, &r, e));
        stop = stop || h.stop;
    }
    if (stop) atomic_store(q->stop.stop, true);
    return STATUS_OK;
}

enum status line_ranks_learn(struct line *l, struct err *e)
{
    struct line_ranks *q = l->ranks;
    uint32_t n_own;
    size_t at = 0;
    TRY(learn_own(q, l, &n_own, e));
    TRY(pack(q, l, n_own, e));
    TRY(ranks_grads_finish(q->grads, e));
    TRY(ranks_gather(q->ranks, q->record.p, q->record.n, e));
    TRY(unpack_all(q, l, e));
    q->batches++;
    for (uint32_t i = 0; i < l->n_pending; at += l->pending[i++]->n_items)
        if (!isnan(l->losses[i]) && l->pending[i]->n_items > 0)
            model_learnt(l->run, l->pending[i], q->z + at, q->dz + at);
    return STATUS_OK;
}

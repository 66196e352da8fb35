/* ranks_grads.c - see ranks_grads.h. */
#include "trainer/ranks_grads.h"
#include "base/log.h"
#include "base/mem.h"
#include <string.h>

struct ranks_grads {
    struct ranks *ranks;
    struct model_run *run;
    const struct param_table *t;
    const struct kern_together *together; /* NULL: sums go through host memory */
    float *dense;                         /* of the run, where sums have been begun */
    float *copy;          /* (group_first[PARAM_STAT]) in host memory; NULL: the host sees the run's own */
    struct buf idx, rows; /* scratch: of one tensor, aligned */
};

/* --- what carries dense sums --------------------------------------------------------------------------------------- */

/* One rank's word: can it, else why not; rank 0's name for all of them. */
static void put_word(struct buf *b, struct ranks_grads *g, bool wanted)
{
    unsigned char id[KERN_TOGETHER_ID] = {0};
    struct err why = {0};
    struct kern *k = model_run_kern(g->run);
    enum status st = STATUS_UNSUPPORTED;
    if (wanted && k->ops->together == NULL)
        (void)ERR_SET(&why, st, "its backend is %s, and NCCL sums on devices of backend cuda", k->ops->name);
    else if (wanted)
        st = k->ops->together->name(k, id, &why);
    buf_u8(b, st == STATUS_OK);
    buf_put(b, id, sizeof id);
    buf_str(b, (struct str){why.text, strlen(why.text)});
}

/* *able: all can.  Else why says of the first that cannot. */
static enum status hear_all(struct ranks_grads *g, bool *able, unsigned char id[KERN_TOGETHER_ID], struct err *why,
                            struct err *e)
{
    *able = true;
    for (int k = ranks_count(g->ranks); k-- > 0;) {
        struct buf_reader r = ranks_part(g->ranks, k);
        const bool can = buf_get_u8(&r) != 0;
        const void *name = buf_get(&r, KERN_TOGETHER_ID);
        const struct str text = buf_get_str(&r);
        if (r.bad) return ERR_SET(e, STATUS_CORRUPT, "rank %d: no word on NCCL: start all ranks from one build", k);
        if (k == 0) memcpy(id, name, KERN_TOGETHER_ID);
        if (can) continue;
        *able = false;
        (void)ERR_SET(why, STATUS_UNSUPPORTED, "train.ranks_reduce = nccl: rank %d cannot: %.*s", k, (int)text.n,
                      text.p);
    }
    return STATUS_OK;
}

/* Two ranks on one device, for example, have the library and still cannot: then nobody does. */
static enum status join_all(struct ranks_grads *g, const unsigned char *id, bool *able, struct err *why, struct err *e)
{
    struct kern *k = model_run_kern(g->run);
    struct err own = {0};
    const enum status st =
        k->ops->together->join(k, id, ranks_rank(g->ranks), ranks_count(g->ranks), ranks_timeout_ms(g->ranks), &own);
    TRY(ranks_gather(g->ranks, own.text, st == STATUS_OK ? 0 : strlen(own.text), e));
    for (int i = ranks_count(g->ranks); i-- > 0;) {
        const struct buf_reader r = ranks_part(g->ranks, i);
        if (buf_left(&r) == 0) continue;
        *able = false;
        (void)ERR_SET(why, STATUS_UNSUPPORTED, "train.ranks_reduce = nccl: rank %d cannot: %.*s", i, (int)buf_left(&r),
                      (const char *)r.p);
    }
    if (*able)
        g->together = k->ops->together;
    else
        k->ops->together->leave(k);
    if (!*able && ranks_rank(g->ranks) == 0) log_warn("ranks", "sums=sockets reason=\"%s\"", why->text);
    return STATUS_OK;
}

static enum status choose(struct ranks_grads *g, const char *reduce, struct err *e)
{
    unsigned char id[KERN_TOGETHER_ID];
    struct buf b = {0};
    struct err why = {0};
    bool able = false;
    put_word(&b, g, strcmp(reduce, "sockets") != 0);
    enum status st = buf_status(&b, e);
    if (st == STATUS_OK) st = ranks_gather(g->ranks, b.p, b.n, e);
    if (st == STATUS_OK) st = hear_all(g, &able, id, &why, e);
    buf_fini(&b);
    TRY(st);
    if (able) TRY(join_all(g, id, &able, &why, e));
    if (able || strcmp(reduce, "nccl") != 0) return STATUS_OK;
    if (e != NULL) *e = why;
    return STATUS_UNSUPPORTED;
}

enum status ranks_grads_new(struct ranks_grads **out, struct ranks *ranks, struct model_run *run,
                            const struct param_table *t, const char *reduce, struct err *e)
{
    const size_t n = t->group_first[PARAM_STAT];
    struct ranks_grads *g = mem_calloc(1, sizeof *g);
    *out = NULL;
    if (g == NULL) return ERR_SET(e, STATUS_OOM, "gradients of all ranks: %zu bytes", sizeof *g);
    g->ranks = ranks;
    g->run = run;
    g->t = t;
    enum status st = choose(g, reduce, e);
    if (st == STATUS_OK && g->together == NULL && !model_run_kern(run)->ops->host_visible) {
        g->copy = mem_aligned(n, sizeof *g->copy);
        if (g->copy == NULL) st = ERR_SET(e, STATUS_OOM, "gradients of all ranks: %zu numbers", n);
    }
    if (st == STATUS_OK)
        *out = g;
    else
        ranks_grads_free(g);
    return st;
}

const char *ranks_grads_by(const struct ranks_grads *g)
{
    return g->together != NULL ? "nccl" : "sockets";
}

void ranks_grads_free(struct ranks_grads *g)
{
    if (g == NULL) return;
    buf_fini(&g->idx);
    buf_fini(&g->rows);
    mem_free(g->copy);
    mem_free(g);
}

/* --- dense --------------------------------------------------------------------------------------------------------- */

void ranks_grads_ready(void *user, float *dense, size_t n)
{
    struct ranks_grads *g = user;
    struct kern *k = model_run_kern(g->run);
    g->dense = model_dense_grads(g->run);
    if (g->together != NULL) {
        g->together->sum(k, dense, n);
        return;
    }
    if (g->copy == NULL) {
        ranks_sum(g->ranks, dense, n);
        return;
    }
    float *to = g->copy + (dense - g->dense);
    k->ops->download(k, to, dense, n * sizeof *dense);
    ranks_sum(g->ranks, to, n);
}

enum status ranks_grads_finish(struct ranks_grads *g, struct err *e)
{
    struct kern *k = model_run_kern(g->run);
    if (g->together != NULL) return g->together->wait(k, ranks_timeout_ms(g->ranks), e);
    TRY(ranks_finish(g->ranks, e));
    if (g->copy != NULL && g->dense != NULL)
        k->ops->upload(k, g->dense, g->copy, g->t->group_first[PARAM_STAT] * sizeof *g->copy);
    return STATUS_OK;
}

/* --- sparse rows --------------------------------------------------------------------------------------------------- */

void ranks_rows_encode(struct buf *b, const struct ranks_grads *g)
{
    const struct model_grads *own = model_grads(g->run);
    for (size_t i = 0; i < own->n_sparse; i++) {
        const struct model_rows *rows = &own->sparse[i];
        const size_t width = param_width(param_sparse(g->t, i));
        buf_varint(b, rows->n);
        if (rows->n == 0) continue;
        buf_put(b, rows->rows, rows->n * sizeof *rows->rows);
        buf_put(b, rows->grads, rows->n * width * sizeof *rows->grads);
    }
}

static enum status cut_short(struct err *e)
{
    return ERR_SET(e, STATUS_CORRUPT,
                   "the rows of another rank's gradients are cut short: start all ranks from one build");
}

/* Bytes of a record have no alignment: *out is in b. */
static enum status aligned(const void **out, struct buf *b, struct buf_reader *r, size_t n, struct err *e)
{
    const void *from = buf_get(r, n);
    if (from == NULL) return cut_short(e);
    buf_clear(b);
    buf_put(b, from, n);
    *out = b->p;
    return buf_status(b, e);
}

enum status ranks_rows_add(struct ranks_grads *g, struct buf_reader *r, struct err *e)
{
    for (size_t i = 0; i < param_sparse_count(g->t); i++) {
        const struct param *q = param_sparse(g->t, i);
        const size_t width = param_width(q), n = buf_get_count(r, (1 + width) * sizeof(float));
        if (r->bad) return cut_short(e);
        const void *idx = NULL, *grads = NULL;
        if (n == 0) continue;
        TRY(aligned(&idx, &g->idx, r, n * sizeof(uint32_t), e));
        TRY(aligned(&grads, &g->rows, r, n * width * sizeof(float), e));
        const struct model_rows rows = {idx, grads, n};
        for (size_t k = 0; k < n; k++)
            if (rows.rows[k] >= q->shape[0])
                return ERR_SET(e, STATUS_CORRUPT, "row %u of another rank's gradients of %s, which has %u",
                               rows.rows[k], q->name, q->shape[0]);
        TRY(model_rows_put(g->run, i, &rows, e));
    }
    return STATUS_OK;
}

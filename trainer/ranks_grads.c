/* ranks_grads.c - see ranks_grads.h. */
#include "trainer/ranks_grads.h"
#include "base/mem.h"
#include <string.h>

struct ranks_grads {
    struct ranks *ranks;
    struct model_run *run;
    const struct param_table *t;
    float *dense;         /* of the run, where sums have been begun */
    float *copy;          /* (group_first[PARAM_STAT]) in host memory; NULL: the host sees the run's own */
    struct buf idx, rows; /* scratch: of one tensor, aligned */
};

enum status ranks_grads_new(struct ranks_grads **out, struct ranks *ranks, struct model_run *run,
                            const struct param_table *t, struct err *e)
{
    const size_t n = t->group_first[PARAM_STAT];
    struct ranks_grads *g = mem_calloc(1, sizeof *g);
    *out = NULL;
    if (g == NULL) return ERR_SET(e, STATUS_OOM, "gradients of all ranks: %zu bytes", sizeof *g);
    g->ranks = ranks;
    g->run = run;
    g->t = t;
    if (!model_run_kern(run)->ops->host_visible) g->copy = mem_aligned(n, sizeof *g->copy);
    if (g->copy == NULL && !model_run_kern(run)->ops->host_visible) {
        mem_free(g);
        return ERR_SET(e, STATUS_OOM, "gradients of all ranks: %zu numbers", n);
    }
    *out = g;
    return STATUS_OK;
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

/* Bytes of a record have no alignment. */
static const void *aligned(struct buf *b, struct buf_reader *r, size_t n)
{
    const void *from = buf_get(r, n);
    buf_clear(b);
    if (from != NULL) buf_put(b, from, n);
    return from != NULL && !b->oom ? b->p : NULL;
}

enum status ranks_rows_add(struct ranks_grads *g, struct buf_reader *r, struct err *e)
{
    for (size_t i = 0; i < param_sparse_count(g->t); i++) {
        const struct param *q = param_sparse(g->t, i);
        const size_t width = param_width(q), n = buf_get_count(r, (1 + width) * sizeof(float));
        if (r->bad) return cut_short(e);
        if (n == 0) continue;
        const struct model_rows rows = {aligned(&g->idx, r, n * sizeof(uint32_t)),
                                        aligned(&g->rows, r, n * width * sizeof(float)), n};
        if (rows.rows == NULL || rows.grads == NULL) return r->bad ? cut_short(e) : buf_status(&g->rows, e);
        for (size_t k = 0; k < n; k++)
            if (rows.rows[k] >= q->shape[0])
                return ERR_SET(e, STATUS_CORRUPT, "row %u of another rank's gradients of %s, which has %u",
                               rows.rows[k], q->name, q->shape[0]);
        TRY(model_rows_put(g->run, i, &rows, e));
    }
    return STATUS_OK;
}

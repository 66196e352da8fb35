/* optim_far.c - the optimiser's step where the backend's memory is not the host's: copies of moments and anchor, and touched
 * sparse rows there and back.
 *
 * What AdamW learns, and its moments, stay there until somebody asks for them (param_here: checkpoint, publishing, gate;
 * optim_encode).  AdaGrad's tensors and sums are small, parts read them on the host, and they forget there: they come back after
 * every step.
 */
#include "base/mem.h"
#include "trainer/optim_private.h"
#include <string.h>

struct optim_far {
    struct kern *kern;
    float *block, *m, *v, *acc, *anchor, *sums; /* backend memory, one block; anchor NULL: none */
    bool stale;                                 /* the host's moments or anchor are newer */
    bool ahead;                                 /* the host's moments are older */
    struct param_set *learnt;                   /* whose values are newer in w, held until then; NULL: none */
    const float *w;
    size_t n_adamw; /* floats of it, from the first */
    /* Touched rows packed one behind the other: on the host, and in the backend's memory. */
    float *rows_w, *rows_acc, *there;
    int32_t *idx;
    size_t w_cap, acc_cap, idx_cap, there_cap;
};

static enum status make(struct optim *o, struct kern *k, struct err *e)
{
    const size_t n = 2 * o->n_adamw + o->n_adagrad + (o->anchor != NULL ? o->n_adamw : 0) + 2;
    struct optim_far *f = o->far = mem_calloc(1, sizeof *f);
    if (f == NULL) return ERR_SET(e, STATUS_OOM, "optimiser: %zu bytes", sizeof *f);
    f->kern = k;
    f->block = k->ops->alloc(k, n * sizeof *f->block);
    if (f->block == NULL) {
        optim_far_free(o);
        return ERR_SET(e, STATUS_OOM, "optimiser: moments of %zu parameters in the memory of backend %s", o->n_adamw,
                       k->ops->name);
    }
    f->m = f->block;
    f->v = f->m + o->n_adamw;
    f->acc = f->v + o->n_adamw;
    f->sums = f->acc + o->n_adagrad;
    f->anchor = o->anchor != NULL ? f->sums + 2 : NULL;
    f->stale = true;
    return STATUS_OK;
}

void optim_far_free(struct optim *o)
{
    struct optim_far *f = o->far;
    if (f == NULL) return;
    if (f->learnt != NULL) param_here(f->learnt);
    f->kern->ops->release(f->kern, f->block);
    f->kern->ops->release(f->kern, f->there);
    mem_free(f->rows_w);
    mem_free(f->rows_acc);
    mem_free(f->idx);
    mem_free(f);
    o->far = NULL;
}

enum status optim_far_open(struct optim *o, struct kern *k, const struct model_grads *g, struct optim_place *out,
                           struct err *e)
{
    if (o->far != NULL && o->far->kern != k) {
        optim_far_fetch(o);
        optim_far_free(o);
    }
    if (o->far == NULL) TRY(make(o, k, e));
    struct optim_far *f = o->far;
    if (f->stale) {
        k->ops->upload(k, f->m, o->m, 2 * o->n_adamw * sizeof *o->m);
        if (f->anchor != NULL) k->ops->upload(k, f->anchor, o->anchor, o->n_adamw * sizeof *o->anchor);
        f->stale = false;
    }
    *out = (struct optim_place){g->w, f->m, f->v, f->acc, f->anchor, f->sums};
    return STATUS_OK;
}

static void fetch_params(void *from, struct param_set *p)
{
    struct optim_far *f = from;
    f->kern->ops->download(f->kern, p->w, f->w, f->n_adamw * sizeof *p->w);
    p->fetch = NULL;
    f->learnt = NULL;
    param_set_release(p);
}

void optim_far_dense_done(struct optim *o, struct param_set *p, const struct model_grads *g)
{
    struct optim_far *f = o->far;
    f->kern->ops->download(f->kern, o->acc, f->acc, o->n_adagrad * sizeof *o->acc);
    f->kern->ops->download(f->kern, p->w + o->n_adamw, g->w + o->n_adamw, o->n_adagrad * sizeof *p->w);
    f->ahead = true;
    if (f->learnt != NULL && f->learnt != p) param_here(f->learnt);
    if (f->learnt == NULL) param_set_acquire(p);
    f->learnt = p;
    f->w = g->w;
    f->n_adamw = o->n_adamw;
    p->fetch = fetch_params;
    p->from = f;
}

void optim_far_fetch(const struct optim *o)
{
    struct optim_far *f = o->far;
    if (f == NULL || !f->ahead) return;
    f->kern->ops->download(f->kern, o->m, f->m, 2 * o->n_adamw * sizeof *o->m);
    f->ahead = false;
}

/* Moments and anchor go up together: whoever changes only one of them has fetched the other before. */
void optim_far_stale(struct optim *o)
{
    if (o->far == NULL) return;
    o->far->ahead = false;
    o->far->stale = true;
}

static enum status need_rows(struct optim_far *f, size_t n, size_t width, struct err *e)
{
    const size_t floats = n * (2 * width + 1) + 2 * n;
    if (MEM_GROW(f->rows_w, &f->w_cap, n * width) != 0 ||
        MEM_GROW(f->rows_acc, &f->acc_cap, n) != 0 ||
        MEM_GROW(f->idx, &f->idx_cap, 2 * n) != 0)
        return ERR_SET(e, STATUS_OOM, "optimiser: %zu sparse rows", n);
    if (floats <= f->there_cap) return STATUS_OK;
    f->kern->ops->release(f->kern, f->there);
    f->there_cap = 0;
    f->there = f->kern->ops->alloc(f->kern, 2 * floats * sizeof *f->there);
    if (f->there == NULL)
        return ERR_SET(e, STATUS_OOM, "optimiser: %zu sparse rows in the memory of backend %s", n, f->kern->ops->name);
    f->there_cap = 2 * floats;
    return STATUS_OK;
}

static void pack_rows(const struct optim *o, const float *w, const struct optim_tensor *t, const struct model_rows *g)
{
    struct optim_far *f = o->far;
    for (size_t i = 0; i < g->n; i++) {
        memcpy(f->rows_w + i * t->width, w + t->first + g->rows[i] * t->width, t->width * sizeof *w);
        f->rows_acc[i] = o->sparse[t->row + g->rows[i]];
        f->idx[i] = (int32_t)i;
        f->idx[g->n + i] = (int32_t)g->rows[i];
    }
}

static void unpack_rows(struct optim *o, float *w, const struct optim_tensor *t, const struct model_rows *g)
{
    const struct optim_far *f = o->far;
    for (size_t i = 0; i < g->n; i++) {
        memcpy(w + t->first + g->rows[i] * t->width, f->rows_w + i * t->width, t->width * sizeof *w);
        o->sparse[t->row + g->rows[i]] = f->rows_acc[i];
    }
}

/* The touched rows alone are put together, stepped over as a small tensor, and put back on both sides. */
enum status optim_far_sparse(struct optim *o, float *w, const struct optim_tensor *t, const struct model_grads *all,
                             const struct model_rows *g, struct err *e)
{
    struct optim_far *f = o->far;
    struct kern *k = f->kern;
    const size_t n = g->n, floats = n * t->width;
    TRY(need_rows(f, n, t->width, e));
    pack_rows(o, w, t, g);
    float *rows = f->there, *grads = rows + floats, *acc = grads + floats;
    int32_t *idx = (int32_t *)(void *)(acc + n);
    k->ops->upload(k, rows, f->rows_w, floats * sizeof *rows);
    k->ops->upload(k, grads, g->grads, floats * sizeof *grads);
    k->ops->upload(k, acc, f->rows_acc, n * sizeof *acc);
    k->ops->upload(k, idx, f->idx, 2 * n * sizeof *idx);
    k->ops->sparse_adagrad(k, rows, acc, (const uint32_t *)(const void *)idx, grads, t->rate, n, t->width);
    k->ops->put_rows(k, all->w + o->t->group_first[PARAM_SPARSE] + t->first, rows, idx + n, n, t->width);
    k->ops->download(k, f->rows_w, rows, floats * sizeof *rows);
    k->ops->download(k, f->rows_acc, acc, n * sizeof *acc);
    unpack_rows(o, w, t, g);
    return STATUS_OK;
}

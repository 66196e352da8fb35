/* optim_far.c - the optimiser's step where the backend's memory is not the host's: copies of moments and anchor there.
 *
 * What AdamW learns, and its moments, stay there until somebody asks for them (param_here: checkpoint, publishing, gate;
 * optim_encode).  AdaGrad's tensors and sparse rows are small, parts read them on the host, their sums forget there, and their
 * gradients have come there: so their steps are made there, by `ref`, and the rows go up again.  A step waits for nothing then.
 */
#include "base/mem.h"
#include "trainer/optim_private.h"
#include <string.h>

struct optim_far {
    struct kern *kern, *here;
    float *block, *m, *v, *anchor; /* backend memory, one block; anchor NULL: none */
    float *sums;                   /* in it, too: squares of group ADAMW, then what is to be known of group ADAGRAD */
    float *known;                  /* (1 + n_adagrad) the same on the host */
    bool stale;                    /* the host's moments or anchor are newer */
    bool ahead;                    /* the host's moments are older */
    struct param_set *learnt;      /* whose values are newer in w, held until then; NULL: none */
    const float *w;
    size_t n_adamw; /* floats of it, from the first */
    /* Touched rows packed one behind the other: on the host, and in the backend's memory. */
    float *rows_w, *there;
    int32_t *idx;
    size_t w_cap, idx_cap, there_cap;
};

static enum status make(struct optim *o, struct kern *k, struct err *e)
{
    const size_t n = (o->anchor != NULL ? 3 : 2) * o->n_adamw + 1 + o->n_adagrad;
    struct optim_far *f = o->far = mem_calloc(1, sizeof *f);
    if (f == NULL) return ERR_SET(e, STATUS_OOM, "optimiser: %zu bytes", sizeof *f);
    f->kern = k;
    f->block = k->ops->alloc(k, n * sizeof *f->block);
    f->known = mem_calloc(1 + o->n_adagrad, sizeof *f->known);
    const enum status st = kern_new(&f->here, "ref", e);
    if (f->block == NULL || f->known == NULL || st != STATUS_OK) {
        optim_far_free(o);
        return ERR_SET(e, STATUS_OOM, "optimiser: moments of %zu parameters in the memory of backend %s", o->n_adamw,
                       k->ops->name);
    }
    f->m = f->block;
    f->v = f->m + o->n_adamw;
    f->sums = f->v + o->n_adamw;
    f->anchor = o->anchor != NULL ? f->sums + 1 + o->n_adagrad : NULL;
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
    kern_free(f->here);
    mem_free(f->known);
    mem_free(f->rows_w);
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
    *out = (struct optim_place){g->w, f->m, f->v, f->anchor, f->here, NULL};
    return STATUS_OK;
}

/* In one piece, since each download is a wait. */
void optim_far_learn(const struct optim *o, const struct model_grads *g, struct optim_place *at, float *squares)
{
    struct optim_far *f = o->far;
    const size_t *first = o->t->group_first;
    *squares = g->squares;
    at->adagrad = g->adagrad;
    if (g->told) return;
    f->kern->ops->zero(f->kern, f->sums, 1);
    optim_add_squares(o, f->kern, g, f->sums);
    f->kern->ops->copy(f->kern, f->sums + 1, g->dense + first[PARAM_ADAGRAD], o->n_adagrad);
    f->kern->ops->download(f->kern, f->known, f->sums, (1 + o->n_adagrad) * sizeof *f->known);
    *squares = f->known[0];
    at->adagrad = f->known + 1;
}

bool optim_far_finite(const struct optim *o, const struct model_grads *g)
{
    struct optim_far *f = o->far;
    float all = 1.0f;
    for (size_t at = o->t->group_first[PARAM_ADAMW], n; all == 1.0f && (n = optim_next_run(o, g, PARAM_ADAMW, &at)) > 0;
         at += n) {
        f->kern->ops->all_finite(f->kern, f->sums, g->dense + at, n);
        f->kern->ops->download(f->kern, &all, f->sums, sizeof all);
    }
    return all == 1.0f;
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
    const size_t floats = n * (width + 1);
    if (MEM_GROW(f->rows_w, &f->w_cap, n * width) != 0 || MEM_GROW(f->idx, &f->idx_cap, n) != 0)
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

enum status optim_far_put_rows(struct optim *o, const float *w, const struct optim_tensor *t,
                               const struct model_grads *all, const struct model_rows *g, struct err *e)
{
    struct optim_far *f = o->far;
    struct kern *k = f->kern;
    const size_t n = g->n, floats = n * t->width;
    TRY(need_rows(f, n, t->width, e));
    for (size_t i = 0; i < n; i++) {
        memcpy(f->rows_w + i * t->width, w + t->first + g->rows[i] * t->width, t->width * sizeof *w);
        f->idx[i] = (int32_t)g->rows[i];
    }
    int32_t *idx = (int32_t *)(void *)(f->there + floats);
    k->ops->upload(k, f->there, f->rows_w, floats * sizeof *f->rows_w);
    k->ops->upload(k, idx, f->idx, n * sizeof *idx);
    k->ops->put_rows(k, all->w + o->t->group_first[PARAM_SPARSE] + t->first, f->there, idx, n, t->width);
    return STATUS_OK;
}

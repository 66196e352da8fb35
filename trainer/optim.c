/* optim.c - see optim.h.  The dense groups are updated tensor by tensor (rates differ), the sparse one by touched
 * row. */
#include "trainer/optim.h"
#include "base/mem.h"
#include <assert.h>
#include <math.h>
#include <string.h>

#define FORMAT 2 /* 1: no restart; it is still read */

struct optim {
    const struct param_table *t;
    double clip_norm;
    uint64_t warmup, steps, refused;
    uint64_t restarted;                  /* steps at the last restart */
    size_t n_adamw, n_adagrad, n_sparse; /* floats of the groups */
    float *m, *v, *acc;                  /* (n_adamw) (n_adamw) (n_adagrad): one block */
    float *sparse;                       /* (n_sparse) accumulators; NULL until a sparse gradient comes */
    uint64_t *dirty;                     /* one bit a page */
    size_t n_dirty;
};

static void fill(float *x, size_t n, float value)
{
    for (size_t i = 0; i < n; i++) x[i] = value;
}

enum status optim_new(struct optim **out, const struct param_table *t, const struct conf *c, struct err *e)
{
    *out = NULL;
    struct optim *o = mem_calloc(1, sizeof *o);
    if (o == NULL) return ERR_SET(e, STATUS_OOM, "optimiser: %zu bytes", sizeof *o);
    *o = (struct optim){.t = t, .clip_norm = c->train_clip_norm, .warmup = (uint64_t)c->train_warmup_steps};
    o->n_adamw = t->group_first[PARAM_ADAGRAD] - t->group_first[PARAM_ADAMW];
    o->n_adagrad = t->group_first[PARAM_STAT] - t->group_first[PARAM_ADAGRAD];
    o->n_sparse = t->total - t->group_first[PARAM_SPARSE];
    o->m = mem_aligned(2 * o->n_adamw + o->n_adagrad, sizeof *o->m);
    o->dirty = mem_calloc(optim_pages(o) / 64 + 1, sizeof *o->dirty);
    if (o->m == NULL || o->dirty == NULL) {
        const size_t n = o->n_adamw;
        optim_free(o);
        return ERR_SET(e, STATUS_OOM, "optimiser: moments of %zu parameters", n);
    }
    o->v = o->m + o->n_adamw;
    o->acc = o->v + o->n_adamw;
    fill(o->acc, o->n_adagrad, 1.0f);
    *out = o;
    return STATUS_OK;
}

void optim_free(struct optim *o)
{
    if (o == NULL) return;
    mem_free(o->m);
    mem_free(o->sparse);
    mem_free(o->dirty);
    mem_free(o);
}

uint64_t optim_steps(const struct optim *o)
{
    return o->steps;
}

uint64_t optim_refused(const struct optim *o)
{
    return o->refused;
}

/* --- the step ----------------------------------------------------------------------------------------------------- */

/* squares: sum over the AdamW gradients, read once for both its uses: where it is finite, so are they all. */
static bool finite_grads(const struct optim *o, struct kern *k, const struct model_grads *g, float *squares)
{
    float ok = 1.0f, rest = 0.0f;
    *squares = 0.0f;
    k->ops->sum_squares(k, squares, g->dense, o->n_adamw);
    k->ops->sum_squares(k, &rest, g->dense + o->n_adamw, o->n_adagrad);
    if (!isfinite(*squares) || !isfinite(rest)) k->ops->all_finite(k, &ok, g->dense, o->n_adamw + o->n_adagrad);
    if (ok != 1.0f) return false;
    for (size_t i = 0; i < g->n_rows; i++) {
        if (!isfinite(g->row_grads[i])) return false;
    }
    return true;
}

/* 1/examples, and less where the mean gradient is longer than the limit. */
static float scale_of(const struct optim *o, float squares, uint64_t n_examples)
{
    const double mean = 1.0 / (double)n_examples;
    if (o->clip_norm <= 0 || o->n_adamw == 0) return (float)mean;
    const double norm = sqrt((double)squares) * mean;
    return (float)(norm > o->clip_norm ? mean * o->clip_norm / norm : mean);
}

/* One tensor: the matrices that the run keeps of it, which together are all of it; else its values alone. */
static void step_adamw(struct optim *o, struct kern *k, float *w, size_t at, size_t n, const struct model_grads *g,
                       const struct kern_adamw *a)
{
    size_t done = 0;
    for (size_t i = 0; i < g->n_matrices && done < n; i++) {
        const struct kern_matrix *m = &g->matrices[i]->m;
        if (m->w < w + at || m->w >= w + at + n) continue;
        const size_t from = (size_t)(m->w - w);
        k->ops->adamw_matrix(k, m, o->m + from, o->v + from, g->dense + from, a);
        done += m->out * m->in;
    }
    assert(done == 0 || done == n);
    if (done == 0) k->ops->adamw(k, w + at, o->m + at, o->v + at, g->dense + at, n, a);
}

static void step_dense(struct optim *o, struct kern *k, struct param_set *p, const struct model_grads *g, float scale)
{
    const double warm = o->warmup > o->steps ? (double)o->steps / (double)o->warmup : 1.0;
    const size_t first = o->t->group_first[PARAM_ADAGRAD];
    for (size_t i = 0; i < o->t->n; i++) {
        const struct param *q = &o->t->params[i];
        const size_t at = q->offset;
        if (q->group == PARAM_ADAMW) {
            const struct kern_adamw a = {.lr = (float)(q->rate * warm),
                                         .beta1 = OPTIM_BETA1,
                                         .beta2 = OPTIM_BETA2,
                                         .eps = OPTIM_EPS,
                                         .weight_decay = q->weight_decay,
                                         .grad_scale = scale,
                                         .t = o->steps - o->restarted};
            step_adamw(o, k, p->w, at, q->n, g, &a);
        } else if (q->group == PARAM_ADAGRAD) {
            k->ops->adagrad(k, p->w + at, o->acc + (at - first), g->dense + at, q->rate, q->n);
        }
    }
}

static enum status need_sparse(struct optim *o, struct err *e)
{
    if (o->sparse != NULL) return STATUS_OK;
    o->sparse = mem_aligned(o->n_sparse, sizeof *o->sparse);
    if (o->sparse == NULL) return ERR_SET(e, STATUS_OOM, "optimiser: accumulators of %zu hashed weights", o->n_sparse);
    fill(o->sparse, o->n_sparse, 1.0f);
    return STATUS_OK;
}

static void mark_dirty(struct optim *o, size_t page)
{
    const uint64_t bit = (uint64_t)1 << (page % 64);
    if ((o->dirty[page / 64] & bit) == 0) o->n_dirty++;
    o->dirty[page / 64] |= bit;
}

/* All sparse tensors share one rate: that of the group's first. */
static void step_sparse(struct optim *o, struct kern *k, struct param_set *p, const struct model_grads *g)
{
    float rate = 0;
    for (size_t i = 0; i < o->t->n && rate == 0; i++) {
        if (o->t->params[i].group == PARAM_SPARSE) rate = o->t->params[i].rate;
    }
    float *w = p->w + o->t->group_first[PARAM_SPARSE];
    k->ops->sparse_adagrad(k, w, o->sparse, g->rows, g->row_grads, rate, g->n_rows);
    for (size_t i = 0; i < g->n_rows; i++) mark_dirty(o, g->rows[i] / OPTIM_PAGE);
}

enum status optim_step(struct optim *o, struct kern *k, struct param_set *p, const struct model_grads *g,
                       uint64_t n_examples, struct err *e)
{
    if (!k->ops->host_visible)
        return ERR_SET(e, STATUS_UNSUPPORTED, "optimiser: backend %s keeps weights where the host cannot see them",
                       k->ops->name);
    if (n_examples == 0) return STATUS_OK;
    if (g->n_rows > 0) TRY(need_sparse(o, e));
    float squares;
    if (!finite_grads(o, k, g, &squares)) {
        o->refused++;
        return STATUS_OK;
    }
    o->steps++;
    step_dense(o, k, p, g, scale_of(o, squares, n_examples));
    if (g->n_rows > 0) step_sparse(o, k, p, g);
    param_touch(p);
    return STATUS_OK;
}

void optim_restart(struct optim *o)
{
    o->restarted = o->steps;
    memset(o->m, 0, 2 * o->n_adamw * sizeof *o->m);
    fill(o->acc, o->n_adagrad, 1.0f);
    if (o->sparse == NULL) return;
    for (size_t row = 0; row < o->n_sparse; row++) {
        if (o->sparse[row] > 1.0f) mark_dirty(o, row / OPTIM_PAGE);
        o->sparse[row] = 1.0f;
    }
}

/* --- what a checkpoint keeps -------------------------------------------------------------------------------------- */

void optim_encode(struct buf *b, const struct optim *o)
{
    buf_u32(b, FORMAT);
    buf_u64(b, o->steps);
    buf_u64(b, o->refused);
    buf_u64(b, o->restarted);
    buf_u64(b, o->n_adamw);
    buf_u64(b, o->n_adagrad);
    buf_put(b, o->m, (2 * o->n_adamw + o->n_adagrad) * sizeof *o->m);
}

enum status optim_decode(struct optim *o, struct buf_reader *r, struct err *e)
{
    const uint32_t format = buf_get_u32(r);
    const uint64_t steps = buf_get_u64(r), refused = buf_get_u64(r), restarted = format >= 2 ? buf_get_u64(r) : 0;
    const uint64_t n_adamw = buf_get_u64(r), n_adagrad = buf_get_u64(r);
    const size_t size = (2 * o->n_adamw + o->n_adagrad) * sizeof *o->m;
    if (r->bad || format < 1 || format > FORMAT || restarted > steps || n_adamw != o->n_adamw ||
        n_adagrad != o->n_adagrad || buf_left(r) < size)
        return ERR_SET(e, STATUS_CORRUPT, "optimiser state: %zu bytes do not fit %zu + %zu parameters", buf_left(r),
                       o->n_adamw, o->n_adagrad);
    o->steps = steps;
    o->refused = refused;
    o->restarted = restarted;
    memcpy(o->m, buf_get(r, size), size);
    return STATUS_OK;
}

size_t optim_pages(const struct optim *o)
{
    return (o->n_sparse + OPTIM_PAGE - 1) / OPTIM_PAGE;
}

size_t optim_dirty_page(const struct optim *o, size_t from)
{
    const size_t n = optim_pages(o);
    for (size_t page = from; page < n; page++) {
        const uint64_t rest = o->dirty[page / 64] >> (page % 64);
        if (rest != 0) return page + (size_t)__builtin_ctzll(rest);
        page |= 63; /* on to the next word */
    }
    return SIZE_MAX;
}

size_t optim_dirty_count(const struct optim *o)
{
    return o->n_dirty;
}

void optim_page_touch(struct optim *o, size_t page)
{
    mark_dirty(o, page);
}

void optim_sparse_saved(struct optim *o)
{
    memset(o->dirty, 0, (optim_pages(o) / 64 + 1) * sizeof *o->dirty);
    o->n_dirty = 0;
}

void optim_page_get(const struct optim *o, const struct param_set *p, size_t page, struct optim_page *out)
{
    const float *w = p->w + o->t->group_first[PARAM_SPARSE];
    for (size_t i = 0; i < OPTIM_PAGE; i++) {
        const size_t row = page * OPTIM_PAGE + i;
        out->w[i] = row < o->n_sparse ? w[row] : 0.0f;
        out->acc[i] = row < o->n_sparse && o->sparse != NULL ? o->sparse[row] : 1.0f;
    }
}

enum status optim_page_put(struct optim *o, struct param_set *p, size_t page, const struct optim_page *in,
                           struct err *e)
{
    if (page >= optim_pages(o))
        return ERR_SET(e, STATUS_INVALID, "hashed weights: page %zu, there are %zu", page, optim_pages(o));
    for (size_t i = 0; i < OPTIM_PAGE; i++) {
        if (!isfinite(in->w[i]) || !isfinite(in->acc[i]) || in->acc[i] < 1.0f)
            return ERR_SET(e, STATUS_CORRUPT, "hashed weights: page %zu, row %zu holds %g with accumulator %g", page, i,
                           (double)in->w[i], (double)in->acc[i]);
    }
    TRY(need_sparse(o, e));
    float *w = p->w + o->t->group_first[PARAM_SPARSE];
    for (size_t i = 0; i < OPTIM_PAGE && page * OPTIM_PAGE + i < o->n_sparse; i++) {
        w[page * OPTIM_PAGE + i] = in->w[i];
        o->sparse[page * OPTIM_PAGE + i] = in->acc[i];
    }
    param_touch(p);
    return STATUS_OK;
}

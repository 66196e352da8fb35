/* optim.c - see optim.h.  The dense groups are updated tensor by tensor (rates differ), the sparse one by touched
 * row. */
#include "base/clock.h"
#include "base/mem.h"
#include "model/op.h"
#include "trainer/optim_private.h"
#include <assert.h>
#include <math.h>
#include <string.h>

#define FORMAT 3 /* 1: before schedules, forgetting and an anchor; 2: before steps within a batch */

static void fill(float *x, size_t n, float value)
{
    for (size_t i = 0; i < n; i++) x[i] = value;
}

static enum optim_schedule schedule_of(const char *word)
{
    if (strcmp(word, "inverse_sqrt") == 0) return OPTIM_INVERSE_SQRT;
    return strcmp(word, "cosine_restart") == 0 ? OPTIM_COSINE_RESTART : OPTIM_CONSTANT;
}

static enum status list_sparse(struct optim *o, struct err *e)
{
    const size_t n = param_sparse_count(o->t);
    o->tensors = mem_calloc(n, sizeof *o->tensors);
    if (o->tensors == NULL) return ERR_SET(e, STATUS_OOM, "optimiser: a list of %zu sparse tensors", n);
    for (o->n_tensors = 0; o->n_tensors < n; o->n_tensors++) {
        const struct param *p = param_sparse(o->t, o->n_tensors);
        o->tensors[o->n_tensors] = (struct optim_tensor){.first = p->offset - o->t->group_first[PARAM_SPARSE],
                                                         .n = p->n,
                                                         .width = param_width(p),
                                                         .row = o->n_rows,
                                                         .rate = p->rate};
        o->n_rows += p->shape[0];
    }
    return STATUS_OK;
}

static enum status need_anchor(struct optim *o, struct err *e)
{
    o->anchor = mem_aligned(o->n_adamw, sizeof *o->anchor);
    return o->anchor != NULL ? STATUS_OK : ERR_SET(e, STATUS_OOM, "optimiser: an anchor of %zu parameters", o->n_adamw);
}

enum status optim_new(struct optim **out, const struct param_table *t, const struct conf *c, struct err *e)
{
    *out = NULL;
    struct optim *o = mem_calloc(1, sizeof *o);
    if (o == NULL) return ERR_SET(e, STATUS_OOM, "optimiser: %zu bytes", sizeof *o);
    *o = (struct optim){.t = t,
                        .clip_norm = c->train_clip_norm,
                        .half_life = (double)c->train_half_life,
                        .l2_sp = c->train_l2_sp,
                        .to_blessed = strcmp(c->train_l2_sp_anchor, "blessed") == 0,
                        .schedule = schedule_of(c->train_schedule),
                        .warmup = (uint64_t)c->train_warmup_steps,
                        .period = (uint64_t)c->train_schedule_steps,
                        .scale = 1.0};
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
    enum status st = list_sparse(o, e);
    if (st == STATUS_OK && o->l2_sp > 0) st = need_anchor(o, e);
    if (st != STATUS_OK) {
        optim_free(o);
        return st;
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
    optim_far_free(o);
    mem_free(o->m);
    mem_free(o->anchor);
    mem_free(o->tensors);
    mem_free(o->sparse);
    mem_free(o->dirty);
    mem_free(o);
}

void optim_anchor(struct optim *o, const struct param_set *p)
{
    if (o->anchor == NULL) return;
    param_here(p);
    optim_far_fetch(o);
    memcpy(o->anchor, p->w, o->n_adamw * sizeof *o->anchor);
    optim_far_stale(o);
}

void optim_blessed(struct optim *o, const struct param_set *p)
{
    if (o->to_blessed) optim_anchor(o, p);
}

uint64_t optim_steps(const struct optim *o)
{
    return o->clock[0].steps;
}

uint64_t optim_refused(const struct optim *o)
{
    return o->refused;
}

/* --- the step ----------------------------------------------------------------------------------------------------- */

/* x: of the group's first float on, in the host's memory. */
static bool group_finite(const struct optim *o, const struct model_grads *g, enum param_group group, const float *x)
{
    const size_t first = o->t->group_first[group];
    for (size_t at = first, n; (n = optim_next_run(o, g, group, &at)) > 0; at += n)
        if (param_first_not_finite(x + (at - first), n) < n) return false;
    return true;
}

/* squares: sum over the AdamW gradients, read once for both its uses: where it is finite, so are they all. */
static bool finite_grads(const struct optim *o, const struct optim_place *at, const struct model_grads *g,
                         float squares)
{
    if (!isfinite(squares) && g->w == NULL && !group_finite(o, g, PARAM_ADAMW, g->dense)) return false;
    if (!isfinite(squares) && g->w != NULL && !optim_far_finite(o, g)) return false;
    if (!group_finite(o, g, PARAM_ADAGRAD, at->adagrad)) return false;
    for (size_t i = 0; i < g->n_sparse; i++) {
        const size_t n = g->sparse[i].n * o->tensors[i].width;
        if (param_first_not_finite(g->sparse[i].grads, n) < n) return false;
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
static void step_adamw(const struct optim_place *p, struct kern *k, size_t at, size_t n, const struct model_grads *g,
                       const struct kern_adamw *a)
{
    size_t done = 0;
    for (size_t i = 0; i < g->n_matrices && done < n; i++) {
        const struct kern_matrix *m = &g->matrices[i]->m;
        const struct op_owed *owed = g->matrices[i]->owed;
        if (m->w < p->w + at || m->w >= p->w + at + n) continue;
        const size_t from = (size_t)(m->w - p->w);
        float *grad = g->dense + from;
        if (owed->stale)
            k->ops->adamw_product(k, m, p->m + from, p->v + from, grad, owed->of, owed->n, a);
        else
            k->ops->adamw_matrix(k, m, p->m + from, p->v + from, grad, a);
        done += m->out * m->in;
    }
    assert(done == 0 || done == n);
    if (done == 0) k->ops->adamw(k, p->w + at, p->m + at, p->v + at, g->dense + at, n, a);
}

static uint64_t time_now(const struct model_grads *g)
{
    return g->tensor_ns != NULL ? clock_cost_ns() : 0;
}

static uint64_t time_add(const struct model_grads *g, size_t tensor, uint64_t since)
{
    if (g->tensor_ns == NULL) return 0;
    const uint64_t now = clock_cost_ns();
    g->tensor_ns[tensor] += now - since;
    return now;
}

/* With train.l2_sp first L2-SP (Li, Grandvalet and Davoine 2018), decoupled from the gradient as AdamW's decay is.  w: the host's
 * block. */
static void step_dense(struct optim *o, struct kern *k, const struct optim_place *p, const struct model_grads *g,
                       float *w, float scale)
{
    const double warm[] = {optim_schedule_factor(o, &o->clock[0]), optim_schedule_factor(o, &o->clock[1])};
    const size_t first = o->t->group_first[PARAM_ADAGRAD];
    uint64_t since = time_now(g);
    for (size_t i = 0; i < o->t->n; i++) {
        const struct param *q = &o->t->params[i];
        const size_t at = q->offset;
        if (!model_at_pace(g, q->slow) || (g->idle != NULL && g->idle[i])) continue;
        if (q->group == PARAM_ADAMW) {
            const struct kern_adamw a = {.lr = (float)(q->rate * warm[q->slow]),
                                         .beta1 = OPTIM_BETA1,
                                         .beta2 = OPTIM_BETA2,
                                         .eps = OPTIM_EPS,
                                         .weight_decay = q->weight_decay,
                                         .grad_scale = scale,
                                         .t = o->clock[q->slow].steps};
            if (p->anchor != NULL) k->ops->pull(k, p->w + at, p->anchor + at, a.lr * (float)o->l2_sp, q->n);
            step_adamw(p, k, at, q->n, g, &a);
        } else if (q->group == PARAM_ADAGRAD) {
            p->here->ops->adagrad(p->here, w + at, o->acc + (at - first), p->adagrad + (at - first), q->rate, q->n);
        }
        since = time_add(g, i, since);
    }
}

enum status optim_need_sparse(struct optim *o, struct err *e)
{
    if (o->sparse != NULL) return STATUS_OK;
    o->sparse = mem_aligned(o->n_rows, sizeof *o->sparse);
    if (o->sparse == NULL) return ERR_SET(e, STATUS_OOM, "optimiser: accumulators of %zu sparse rows", o->n_rows);
    fill(o->sparse, o->n_rows, 1.0f);
    return STATUS_OK;
}

void optim_page_touch(struct optim *o, size_t page)
{
    o->dirty[page / 64] |= (uint64_t)1 << (page % 64);
}

void optim_mark_dirty(struct optim *o, const struct optim_tensor *t, size_t row)
{
    const size_t from = t->first + row * t->width;
    for (size_t page = from / OPTIM_PAGE; page <= (from + t->width - 1) / OPTIM_PAGE; page++) optim_page_touch(o, page);
}

static enum status step_sparse(struct optim *o, struct kern *here, float *w, const struct optim_tensor *t,
                               const struct model_grads *all, const struct model_rows *g, struct err *e)
{
    optim_rows_unscale(o, t, g);
    here->ops->sparse_adagrad(here, w + t->first, o->sparse + t->row, g->rows, g->grads, t->rate, g->n, t->width);
    optim_rows_scale(o, t, g);
    for (size_t i = 0; i < g->n; i++) optim_mark_dirty(o, t, g->rows[i]);
    return all->w != NULL ? optim_far_put_rows(o, w, t, all, g, e) : STATUS_OK;
}

static bool any_sparse(const struct model_grads *g)
{
    for (size_t i = 0; i < g->n_sparse; i++)
        if (g->sparse[i].n > 0) return true;
    return false;
}

static enum status step_sparse_all(struct optim *o, struct kern *here, struct param_set *p, const struct model_grads *g,
                                   struct err *e)
{
    uint64_t since = time_now(g);
    for (size_t i = 0; i < g->n_sparse; i++) {
        float *w = p->w + o->t->group_first[PARAM_SPARSE];
        if (g->sparse[i].n > 0) TRY(step_sparse(o, here, w, &o->tensors[i], g, &g->sparse[i], e));
        since = time_add(g, o->t->n - o->n_tensors + i, since);
    }
    return STATUS_OK;
}

/* What is known of the gradients does not forbid it: all groups, and the counts of steps. */
static enum status take_step(struct optim *o, struct kern *k, const struct optim_place *at, struct param_set *p,
                             const struct model_grads *g, float scale, struct err *e)
{
    k->ops->begin(k);
    step_dense(o, k, at, g, p->w, scale);
    k->ops->end(k);
    if (g->w != NULL) optim_far_dense_done(o, p, g);
    TRY(step_sparse_all(o, at->here, p, g, e));
    param_touch(p);
    return STATUS_OK;
}

enum status optim_step(struct optim *o, struct kern *k, struct param_set *p, const struct model_grads *g,
                       uint64_t n_examples, struct err *e)
{
    float squares = 0;
    struct optim_place at = {p->w, o->m, o->v, o->anchor, k, g->dense + o->t->group_first[PARAM_ADAGRAD]};
    if (n_examples == 0) return STATUS_OK;
    if (any_sparse(g)) TRY(optim_need_sparse(o, e));
    if (g->w != NULL) {
        TRY(optim_far_open(o, k, g, &at, e));
        optim_far_learn(o, g, &at, &squares);
    } else {
        squares = optim_squares(o, k, g, n_examples);
    }
    if (!finite_grads(o, &at, g, squares)) {
        o->refused++;
        return STATUS_OK;
    }
    if (g->pace != MODEL_SLOW) o->clock[0].steps++;
    if (g->pace != MODEL_QUICK) o->clock[1].steps++;
    if (o->half_life > 0 && g->pace != MODEL_SLOW) optim_forget(o, exp2(-(double)n_examples / o->half_life));
    return take_step(o, k, &at, p, g, scale_of(o, squares, n_examples), e);
}

const float *optim_moments(const struct optim *o, size_t *n)
{
    optim_far_fetch(o);
    *n = 2 * o->n_adamw + o->n_adagrad;
    return o->m;
}

/* --- what a checkpoint keeps -------------------------------------------------------------------------------------- */

void optim_encode(struct buf *b, const struct optim *o)
{
    optim_far_fetch(o);
    buf_u32(b, FORMAT);
    buf_u64(b, o->clock[0].steps);
    buf_u64(b, o->refused);
    buf_u64(b, o->n_adamw);
    buf_u64(b, o->n_adagrad);
    buf_put(b, o->m, (2 * o->n_adamw + o->n_adagrad) * sizeof *o->m);
    buf_u64(b, o->clock[0].since);
    buf_f64(b, o->scale);
    buf_u64(b, o->clock[1].steps);
    buf_u64(b, o->clock[1].since);
    if (o->anchor != NULL) buf_put(b, o->anchor, o->n_adamw * sizeof *o->anchor);
}

/* What format 1 has not: those versions had a constant schedule and forgot nothing.  The caller's anchor stays then. */
static enum status decode_since_2(struct optim *o, struct buf_reader *r, uint32_t format, struct err *e)
{
    const uint64_t since = buf_get_u64(r);
    const double scale = buf_get_f64(r);
    struct optim_clock slow = {o->clock[0].steps, since};
    if (format > 2) slow.steps = buf_get_u64(r), slow.since = buf_get_u64(r);
    const size_t size = o->anchor != NULL ? o->n_adamw * sizeof *o->anchor : 0;
    if (r->bad || since > o->clock[0].steps || slow.since > slow.steps || !(scale > 0 && scale <= 1) ||
        buf_left(r) < size)
        return ERR_SET(e, STATUS_CORRUPT, "optimiser state: its schedule, sums or anchor are cut off or out of range");
    o->clock[0].since = since;
    o->clock[1] = slow;
    o->scale = scale;
    if (size > 0) memcpy(o->anchor, buf_get(r, size), size);
    return STATUS_OK;
}

enum status optim_decode(struct optim *o, struct buf_reader *r, struct err *e)
{
    const uint32_t format = buf_get_u32(r);
    const uint64_t steps = buf_get_u64(r), refused = buf_get_u64(r), n_adamw = buf_get_u64(r),
                   n_adagrad = buf_get_u64(r);
    const size_t size = (2 * o->n_adamw + o->n_adagrad) * sizeof *o->m;
    if (r->bad || format < 1 || format > FORMAT || n_adamw != o->n_adamw || n_adagrad != o->n_adagrad ||
        buf_left(r) < size)
        return ERR_SET(e, STATUS_CORRUPT, "optimiser state: %zu bytes do not fit %zu + %zu parameters", buf_left(r),
                       o->n_adamw, o->n_adagrad);
    o->clock[0] = o->clock[1] = (struct optim_clock){.steps = steps};
    o->refused = refused;
    memcpy(o->m, buf_get(r, size), size);
    optim_far_stale(o);
    o->scale = 1.0;
    return format == 1 ? STATUS_OK : decode_since_2(o, r, format, e);
}

enum status optim_decode_dense(struct optim *o, struct buf_reader *r, struct err *e)
{
    const double scale = o->scale; /* of the rows' accumulators, which are not among these bytes */
    const enum status st = optim_decode(o, r, e);
    o->scale = scale;
    return st;
}

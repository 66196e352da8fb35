/* model_run.c - one thread's hands: what it owns, binding of parameters, the baseline.  model_score.c scores, model_learn.c
 * learns. */
#include "base/mem.h"
#include "model/model_inside.h"
#include <math.h>
#include <string.h>

void model_run_free(struct model_run *r)
{
    if (r == NULL) return;
    for (size_t i = 0; i < r->m->n_parts; i++) {
        if (r->parts[i] != NULL) r->m->parts[i]->ops->run_destroy(r->parts[i]);
    }
    tape_fini(&r->tape);
    for (size_t i = 0; i < r->grads.n_sparse; i++) part_rows_fini(&r->rows[i]);
    mem_free(r->rows);
    mem_free(r->grads.sparse);
    mem_free(r->times.tensor_ns);
    mem_free(r->grads.idle);
    mem_free(r->grads.adagrad);
    mem_free(r->packed.m);
    if (r->kern != NULL) {
        r->kern->ops->release(r->kern, r->grads.dense);
        r->kern->ops->release(r->kern, r->w);
    }
    kern_free(r->kern);
    mem_free(r);
}

static enum status allocate_sparse(struct model_run *r, struct err *e)
{
    const struct param_table *t = &r->m->table;
    const size_t n = param_sparse_count(t);
    r->rows = mem_calloc(n, sizeof *r->rows);
    r->grads.sparse = mem_calloc(n, sizeof *r->grads.sparse);
    if (r->rows == NULL || r->grads.sparse == NULL)
        return ERR_SET(e, STATUS_OOM, "model: gradients of %zu sparse tensors", n);
    for (r->grads.n_sparse = 0; r->grads.n_sparse < n; r->grads.n_sparse++)
        r->rows[r->grads.n_sparse].width = param_width(param_sparse(t, r->grads.n_sparse));
    return STATUS_OK;
}

void model_part_idle(struct model_run *r, size_t part, bool idle)
{
    const struct param_table *t = &r->m->table;
    for (size_t i = r->m->first_tensor[part]; i < r->m->first_tensor[part + 1]; i++)
        r->grads.idle[param_at(t, i) - t->params] = idle;
}

static enum status allocate_told(struct model_run *r, struct err *e)
{
    const size_t *first = r->m->table.group_first, n = first[PARAM_STAT] - first[PARAM_ADAGRAD];
    r->grads.adagrad = mem_calloc(n + 1, sizeof *r->grads.adagrad);
    return r->grads.adagrad != NULL ? STATUS_OK : ERR_SET(e, STATUS_OOM, "model: %zu gradients", n);
}

static enum status allocate(struct model_run *r, struct err *e)
{
    const struct param_table *t = &r->m->table;
    TRY(kern_new(&r->kern, r->m->backend, e));
    if (r->learn) TRY(allocate_sparse(r, e));
    r->times.tensor_ns = mem_calloc(t->n, sizeof *r->times.tensor_ns);
    r->grads.idle = mem_calloc(t->n, sizeof *r->grads.idle);
    if (r->times.tensor_ns == NULL || r->grads.idle == NULL) return ERR_SET(e, STATUS_OOM, "model: %zu tensors", t->n);
    for (size_t i = 0; i < r->m->n_parts; i++) model_part_idle(r, i, true);
    tape_init(&r->tape, r->kern, false);
    const size_t n = t->group_first[PARAM_STAT];
    if (r->learn) r->grads.dense = r->kern->ops->alloc(r->kern, n * sizeof(float));
    r->untouched = r->learn;
    if (r->learn && !r->kern->ops->host_visible) TRY(allocate_told(r, e));
    if (!r->kern->ops->host_visible) r->w = r->kern->ops->alloc(r->kern, t->total * sizeof(float));
    if ((r->learn && r->grads.dense == NULL) || (!r->kern->ops->host_visible && r->w == NULL))
        return ERR_SET(e, STATUS_OOM, "model: %zu parameters", t->total);
    for (size_t i = 0; i < r->m->n_parts; i++) {
        TRY(r->m->parts[i]->ops->run_create(&r->parts[i], r->m->parts[i], r->kern, e));
        for (size_t k = 0; k < i; k++)
            if (r->m->parts[k] == r->m->parts[i]->under) r->parts[i]->under = r->parts[k];
    }
    return STATUS_OK;
}

enum status model_run_new(struct model_run **out, const struct model *m, struct state_cache *states, bool learn,
                          struct err *e)
{
    *out = NULL;
    if (m->wants_states && states == NULL)
        return ERR_SET(e, STATUS_INVALID, "model: text and match need a state cache");
    struct model_run *r = mem_calloc(1, sizeof *r);
    if (r == NULL) return ERR_SET(e, STATUS_OOM, "model run: %zu bytes", sizeof *r);
    r->m = m;
    r->states = states;
    r->learn = learn;
    r->recal.c = &m->recal;
    r->tasks.c = &m->tasks;
    const enum status st = allocate(r, e);
    if (st == STATUS_OK)
        *out = r;
    else
        model_run_free(r);
    return st;
}

/* The backend's copy of the parameters; fresh: the optimiser has changed it as well as p, but for group ADAGRAD and what parts
 * gather beside it. */
static void upload(struct model_run *r, const struct param_set *p, bool fresh)
{
    const size_t *first = r->m->table.group_first;
    const size_t from = fresh ? first[PARAM_ADAGRAD] : 0, to = fresh ? first[PARAM_SPARSE] : p->n;
    r->kern->ops->upload(r->kern, r->w + from, p->w + from, (to - from) * sizeof *p->w);
}

/* fresh: the backend's copy and the matrices' packed forms are up to date. */
static enum status bind(struct model_run *r, const struct param_set *p, bool fresh, struct err *e)
{
    r->bound = NULL;
    if (!fresh) {
        param_here(p);
        r->packed.n = 0;
    }
    if (r->w != NULL) upload(r, p, fresh);
    const struct part_params pp = {.table = &r->m->table,
                                   .prec = r->m->prec,
                                   .fresh = fresh,
                                   .packed = &r->packed,
                                   .host = p->w,
                                   .w = r->w != NULL ? r->w : p->w,
                                   .dense = r->grads.dense,
                                   .rows = r->rows};
    for (size_t i = 0; i < r->m->n_parts; i++) TRY(r->m->parts[i]->ops->bind(r->parts[i], &pp, e));
    model_recal_bind(&r->recal, &r->m->recal, &r->m->table, p->w);
    model_tasks_bind(&r->tasks, &r->m->tasks, &pp, r->m->numeric_part > 0 ? r->parts[r->m->numeric_part] : NULL);
    r->bound = p;
    r->generation = p->generation;
    return STATUS_OK;
}

enum status model_bind(struct model_run *r, const struct param_set *p, struct err *e)
{
    if (p->n != r->m->table.total)
        return ERR_SET(e, STATUS_INVALID, "parameters: %zu floats, the model has %zu", p->n, r->m->table.total);
    if (r->bound == p && r->generation == p->generation) return STATUS_OK;
    return bind(r, p, false, e);
}

enum status model_stepped(struct model_run *r, const struct param_set *p, struct err *e)
{
    if (r->bound != p)
        return ERR_SET(e, STATUS_INVALID, "model: a step was made on other parameters than those that are bound");
    return bind(r, p, true, e);
}

struct kern *model_run_kern(struct model_run *r)
{
    return r->kern;
}

/* --- a slate ------------------------------------------------------------------------------------------------------ */

static enum status check_slate(const struct model_run *r, const struct slate *s, struct err *e)
{
    if (r->bound == NULL) return ERR_SET(e, STATUS_INVALID, "model: no parameters are bound");
    if (s->n_items > 0 && s->n_numeric != r->m->n_numeric && r->m->n_numeric > 0)
        return ERR_SET(e, STATUS_INVALID, "slate %llu: %u numeric features, the model has %u",
                       (unsigned long long)s->id, s->n_numeric, r->m->n_numeric);
    for (uint32_t i = 0; i < s->n_events; i++) {
        if (s->events[i].type >= EVENT_TYPES_MAX)
            return ERR_SET(e, STATUS_INVALID, "slate %llu: event type %u, the limit is %d", (unsigned long long)s->id,
                           s->events[i].type, EVENT_TYPES_MAX - 1);
    }
    return STATUS_OK;
}

enum status model_open_slate(struct model_run *r, const struct slate *s, bool record, struct part_slate *ps,
                             uint32_t **all, struct err *e)
{
    if (r->bound != NULL) TRY(model_bind(r, r->bound, e));
    TRY(check_slate(r, s, e));
    r->tape.record = record;
    const size_t E = s->n_events < r->m->max_events ? s->n_events : r->m->max_events;
    *ps = (struct part_slate){.slate = s, .tape = &r->tape, .states = r->states, .n_events = E};
    ps->entries = tape_host(&r->tape, s->n_sentences + 1u, sizeof *ps->entries);
    *all = tape_host(&r->tape, s->n_items + 1u, sizeof **all);
    TRY(tape_status(&r->tape, e));
    for (uint32_t i = 0; i < s->n_items; i++) (*all)[i] = i;
    return STATUS_OK;
}

size_t model_chunk(const struct model_run *r, size_t part, const struct part_slate *ps, const uint32_t *which, size_t n,
                   size_t limit)
{
    const struct part_ops *o = r->m->parts[part]->ops;
    if (o->rows == NULL) return n;
    size_t total = 0, k = 0;
    for (; k < n; k++) {
        total += o->rows(r->parts[part], ps, which[k]);
        if (total > limit && k > 0) break;
    }
    return k;
}

/* --- gradients, statistics, baseline ----------------------------------------------------------------------------------------- */

void model_settle(struct model_run *r, const float *at, size_t n)
{
    for (size_t i = 0; i < r->packed.n; i++) {
        const struct op_matrix *m = r->packed.m[i];
        if (m->dw >= at && m->dw < at + n) op_settle(r->kern, m);
    }
}

static void multiply_out(struct model_run *r)
{
    for (size_t i = 0; i < r->packed.n; i++)
        if (r->packed.m[i]->owed->n > 0) op_settle(r->kern, r->packed.m[i]);
}

void model_tape_reset(struct model_run *r)
{
    multiply_out(r);
    tape_reset(&r->tape);
}

void model_tape_rewind(struct model_run *r, struct tape_mark m)
{
    multiply_out(r);
    tape_rewind(&r->tape, m);
}

static void settle_at_pace(struct model_run *r)
{
    const struct param_table *t = &r->m->table;
    for (size_t i = 0; i < t->n && r->grads.dense != NULL; i++) {
        const struct param *p = &t->params[i];
        if (p->offset < t->group_first[PARAM_STAT] && model_at_pace(&r->grads, p->slow))
            model_settle(r, r->grads.dense + p->offset, p->n);
    }
}

static struct model_grads *grads_of(struct model_run *r)
{
    for (size_t i = 0; i < r->grads.n_sparse; i++)
        r->grads.sparse[i] = (struct model_rows){r->rows[i].rows, r->rows[i].grads, r->rows[i].n};
    r->grads.w = r->w;
    r->grads.tensor_ns = r->times.now ? r->times.tensor_ns : NULL;
    r->grads.matrices = r->packed.m;
    r->grads.n_matrices = r->packed.n;
    return &r->grads;
}

struct model_grads *model_grads(struct model_run *r)
{
    settle_at_pace(r);
    return grads_of(r);
}

struct model_grads *model_grads_owed(struct model_run *r)
{
    return r->kern->ops->adamw_product != NULL ? grads_of(r) : model_grads(r);
}

float *model_dense_grads(struct model_run *r)
{
    return r->grads.dense;
}

/* Marks the packed matrices that lie in dense[at … at+n) stale; whether they are all of it. */
static bool stale_matrices(struct model_run *r, size_t at, size_t n)
{
    size_t done = 0;
    for (size_t i = 0; i < r->packed.n; i++) {
        const struct op_matrix *m = r->packed.m[i];
        if (m->dw < r->grads.dense + at || m->dw >= r->grads.dense + at + n) continue;
        *m->owed = (struct op_owed){.stale = true};
        done += m->m.out * m->m.in;
    }
    return done == n;
}

enum status model_rows_put(struct model_run *r, size_t tensor, const struct model_rows *rows, struct err *e)
{
    struct part_rows *to = &r->rows[tensor];
    r->untouched = false;
    TRY(part_rows_reserve(to, rows->n, e));
    for (size_t i = 0; i < rows->n; i++) part_rows_add(to, rows->rows[i], rows->grads + i * to->width);
    return STATUS_OK;
}

void model_rows_clear(struct model_run *r)
{
    for (size_t i = 0; i < r->grads.n_sparse; i++) part_rows_clear(&r->rows[i]);
}

/* Tensors that lie one behind the other are cleared in one piece, as each piece is a launch on a device. */
static void clear_dense(struct model_run *r)
{
    const struct param_table *t = &r->m->table;
    size_t from = 0, to = 0;
    for (size_t i = 0; i < t->n; i++) {
        const struct param *p = &t->params[i];
        if (p->offset >= t->group_first[PARAM_STAT] || !model_at_pace(&r->grads, p->slow)) continue;
        if (stale_matrices(r, p->offset, p->n)) continue;
        if (to < p->offset) {
            if (from < to) r->kern->ops->zero(r->kern, r->grads.dense + from, to - from);
            from = p->offset;
        }
        to = param_end(p);
    }
    if (to > t->group_first[PARAM_STAT]) to = t->group_first[PARAM_STAT];
    if (from < to) r->kern->ops->zero(r->kern, r->grads.dense + from, to - from);
}

void model_grads_clear(struct model_run *r)
{
    if (r->grads.dense != NULL) clear_dense(r);
    model_rows_clear(r);
    for (size_t i = 0; i < r->m->n_parts; i++)
        if (model_at_pace(&r->grads, r->m->parts[i]->slow)) model_part_idle(r, i, true);
    r->untouched = r->grads.pace != MODEL_QUICK;
    r->grads.told = false;
    if (r->grads.pace == MODEL_SLOW) r->grads.pace = MODEL_WHOLE;
}

void model_apply_stats(struct model_run *r, struct param_set *p)
{
    for (size_t i = 0; i < r->m->n_parts; i++) {
        if (r->m->parts[i]->ops->apply != NULL) r->m->parts[i]->ops->apply(r->parts[i], &r->m->table, p->w);
    }
    model_recal_apply(&r->recal, &r->m->table, p->w);
    model_tasks_apply(&r->tasks, &r->m->table, p->w);
    param_touch(p);
}

void model_drop_stats(struct model_run *r)
{
    for (size_t i = 0; i < r->m->n_parts; i++)
        if (r->m->parts[i]->ops->drop != NULL) r->m->parts[i]->ops->drop(r->parts[i]);
    model_recal_drop(&r->recal);
    model_tasks_drop(&r->tasks);
}

void model_run_encode(struct buf *b, const struct model_run *r)
{
    for (size_t i = 0; i < r->m->n_parts; i++) {
        if (r->m->parts[i]->ops->encode != NULL) r->m->parts[i]->ops->encode(b, r->parts[i]);
    }
    model_recal_encode(b, &r->recal);
}

enum status model_run_decode(struct model_run *r, struct buf_reader *rd, struct err *e)
{
    for (size_t i = 0; i < r->m->n_parts; i++) {
        if (r->m->parts[i]->ops->decode != NULL) TRY(r->m->parts[i]->ops->decode(r->parts[i], rd, e));
    }
    return model_recal_decode(&r->recal, rd, e);
}

static enum status cosines(struct model_run *r, struct part_slate *ps, const uint32_t *all, float *cosine,
                           struct err *e)
{
    const size_t C = r->m->C, K = ps->slate->n_items;
    TRY(part_states(ps, NULL, ps->n_events, e));
    TRY(part_states(ps, all, K, e));
    float *taste = tape_host(&r->tape, C, sizeof *taste);
    if (taste == NULL) return tape_status(&r->tape, e);
    part_taste(ps, taste, C);
    const struct tape_value items = part_state_rows(ps, PART_STATE_FINAL, all, K, C);
    const struct tape_value z = op_dot(&r->tape, items, tape_constant(&r->tape, taste, 1, C));
    if (r->tape.oom) return tape_status(&r->tape, e);
    r->kern->ops->download(r->kern, cosine, z.x, K * sizeof *cosine);
    return STATUS_OK;
}

/* Of unit vectors v: the mean of 1 - v_i·v_j over the pairs, out of the length of their sum. */
static enum status spread(struct model_run *r, struct part_slate *ps, const uint32_t *which, size_t n, float *out,
                          struct err *e)
{
    const size_t C = r->m->C;
    double squares = 0.0;
    TRY(part_states(ps, which, n, e));
    float *v = tape_host(&r->tape, n * C, sizeof *v);
    const struct tape_value rows = part_state_rows(ps, PART_STATE_FINAL, which, n, C);
    if (v == NULL || r->tape.oom) return tape_status(&r->tape, e);
    r->kern->ops->download(r->kern, v, rows.x, n * C * sizeof *v);
    for (size_t c = 0; c < C; c++) {
        double sum = 0.0;
        for (size_t i = 0; i < n; i++) sum += (double)v[i * C + c];
        squares += sum * sum;
    }
    *out = (float)fmax(0.0, 1.0 - (squares - (double)n) / ((double)n * (double)(n - 1)));
    return STATUS_OK;
}

enum status model_spread(struct model_run *r, const struct slate *s, const uint32_t *which, size_t n, float *out,
                         struct err *e)
{
    struct part_slate ps;
    uint32_t *all;
    *out = NAN;
    if (r->states == NULL || n < 2) return STATUS_OK;
    model_tape_reset(r);
    TRY(model_open_slate(r, s, false, &ps, &all, e));
    r->kern->ops->begin(r->kern);
    const enum status st = spread(r, &ps, which, n, out, e);
    r->kern->ops->end(r->kern);
    part_states_release(&ps);
    return st;
}

enum status model_frozen_cosine(struct model_run *r, const struct slate *s, float *cosine, struct err *e)
{
    struct part_slate ps;
    uint32_t *all;
    if (s->n_items == 0) return STATUS_OK;
    memset(cosine, 0, s->n_items * sizeof *cosine);
    if (r->states == NULL || s->n_events == 0) return STATUS_OK;
    model_tape_reset(r);
    TRY(model_open_slate(r, s, false, &ps, &all, e));
    r->kern->ops->begin(r->kern);
    const enum status st = ps.n_events > 0 ? cosines(r, &ps, all, cosine, e) : STATUS_OK;
    r->kern->ops->end(r->kern);
    part_states_release(&ps);
    return st;
}

/* line.c - see line.h. */
#include "job/line.h"
#include "base/clock.h"
#include "base/mem.h"
#include "job/segment.h"
#include "model/state_file.h"
#include <math.h>
#include <string.h>

static struct state_cache *states_of_another(const struct line *l, const struct line_shared *shared)
{
    for (size_t i = 0; shared->first != NULL && i <= shared->n_others; i++) {
        const struct line *o = i == 0 ? shared->first : shared->others[i - 1];
        if (o->owns_states && model_states_alike(o->model, l->model)) return o->states;
    }
    return NULL;
}

static enum status open_states(struct line *l, const struct encoder *enc, const struct line_shared *shared,
                               struct err *e)
{
    const struct conf *c = l->conf;
    if (!model_wants_states(l->model)) return STATUS_OK;
    l->states = states_of_another(l, shared);
    if (l->states != NULL) return STATUS_OK;
    TRY(state_cache_open(&l->states, enc, model_frozen_layers(l->model), model_wants_tokens(l->model), c, e));
    l->owns_states = true;
    return state_file_attach(l->states, c->kernels_states_dir, true, e);
}

static enum status open_model(struct line *l, const struct encoder *enc, uint32_t n_numeric,
                              const struct line_shared *shared, struct err *e)
{
    const struct conf *c = l->conf;
    TRY(model_new(&l->model, c, enc, n_numeric, e));
    TRY(open_states(l, enc, shared, e));
    TRY(param_set_new(&l->params, model_table(l->model), e));
    TRY(model_init_params(l->model, (uint64_t)c->train_seed, l->params, e));
    TRY(optim_new(&l->optim, model_table(l->model), c, e));
    optim_anchor(l->optim, l->params);
    TRY(model_run_new(&l->run, l->model, l->states, true, e));
    l->pool = shared->first != NULL ? shared->first->pool : NULL;
    l->owns_pool = l->pool == NULL;
    if (l->owns_pool) TRY(pool_new(&l->pool, (unsigned)c->kernels_threads, c->kernels_pin, e));
    kern_use_pool(model_run_kern(l->run), l->pool);
    l->predictions.n_parts = model_n_rows(l->model);
    return model_bind(l->run, l->params, e);
}

static enum status open_batch(struct line *l, size_t n, struct err *e)
{
    l->pending = mem_calloc(n, sizeof(struct slate *));
    l->losses = mem_calloc(n, sizeof *l->losses);
    if (l->pending == NULL || l->losses == NULL) return ERR_SET(e, STATUS_OOM, "batch of %zu slates", n);
    for (size_t i = 0; i < n; i++) TRY(slate_new(&l->pending[i], e));
    return STATUS_OK;
}

static enum status open_eval(struct line *l, struct eval_warmup warmup, struct err *e)
{
    const char *names[MODEL_PARTS_MAX];
    struct eval_setup o;
    TRY(eval_setup_of(&o, l->conf, e));
    for (size_t i = 0; i < model_n_parts(l->model); i++) names[i] = model_part_name(l->model, i);
    o.n_segments = (uint32_t)segment_count(l->conf->eval_segments);
    o.n_parts = model_n_parts(l->model);
    o.n_tasks = model_n_tasks(l->model);
    o.part_names = names;
    o.no_frozen = !model_wants_states(l->model);
    o.warmup = warmup;
    o.pool = pool_threads(l->pool) > 1 ? l->pool : NULL;
    return eval_new(&l->eval, &o, e);
}

enum status line_new(struct line **out, const struct conf *c, const struct encoder *enc, uint32_t n_numeric, bool learn,
                     struct eval_warmup warmup, struct err *e)
{
    return line_new_beside(out, c, enc, n_numeric, learn, warmup, &(struct line_shared){0}, e);
}

enum status line_new_beside(struct line **out, const struct conf *c, const struct encoder *enc, uint32_t n_numeric,
                            bool learn, struct eval_warmup warmup, const struct line_shared *shared, struct err *e)
{
    enum status st;
    *out = NULL;
    struct line *l = mem_calloc(1, sizeof *l);
    if (l == NULL) return ERR_SET(e, STATUS_OOM, "line: %zu bytes", sizeof *l);
    l->conf = c;
    l->learn = learn;
    loss_delay_init(&l->delay, c);
    TRY_OUT(st, open_model(l, enc, n_numeric, shared, e));
    TRY_OUT(st, open_eval(l, warmup, e));
    l->ope = mem_calloc(1, sizeof *l->ope);
    if (l->ope == NULL) {
        st = ERR_SET(e, STATUS_OOM, "line: off-policy estimates");
        goto out;
    }
    TRY_OUT(st, open_batch(l, (size_t)c->train_batch_slates, e));
    TRY_OUT(st, line_gate_new(&l->gate, c, l, e));
    TRY_OUT(st, reservoir_new(&l->reservoir, c, e));
    *out = l;
    l = NULL;
out:
    line_free(l);
    return st;
}

void line_free(struct line *l)
{
    if (l == NULL) return;
    for (int64_t i = 0; l->pending != NULL && i < l->conf->train_batch_slates; i++) slate_free(l->pending[i]);
    mem_free(l->pending);
    mem_free(l->losses);
    eval_free(l->eval);
    mem_free(l->ope);
    line_gate_free(l->gate);
    reservoir_free(l->reservoir);
    line_ranks_free(l->ranks);
    optim_free(l->optim); /* may hold memory of the run's kernels */
    model_run_free(l->run);
    if (l->owns_pool) pool_free(l->pool);
    param_set_release(l->params);
    if (l->owns_states) state_cache_free(l->states);
    model_free(l->model);
    mem_free(l->predictions.logits);
    mem_free(l->predictions.part_logits);
    mem_free(l->predictions.frozen);
    mem_free(l);
}

struct gate_line line_whole(const struct line *l)
{
    return (struct gate_line){.table = model_table(l->model), .params = l->params, .optim = l->optim, .run = l->run};
}

/* ---- scoring ---- */

static enum status room_for(struct line *l, size_t k, struct err *e)
{
    struct open_predictions *p = &l->predictions;
    if (k <= l->cap_items) return STATUS_OK;
    mem_free(p->logits);
    mem_free(p->part_logits);
    mem_free(p->frozen);
    l->cap_items = 0;
    p->logits = mem_calloc(k, sizeof(float));
    p->part_logits = mem_calloc(k * p->n_parts, sizeof(float));
    p->frozen = mem_calloc(k, sizeof(float));
    if (p->logits == NULL || p->part_logits == NULL || p->frozen == NULL)
        return ERR_SET(e, STATUS_OOM, "slate of %zu candidates", k);
    l->cap_items = k;
    return STATUS_OK;
}

/* A replay with --no-learn over a state that has learnt nothing: a fresh model's logits are 0 whatever it is shown, so it is
 * not asked (nor the frozen encoder for its baseline), unless somebody looks at what each part says. */
static bool knows_nothing(const struct line *l, bool whole)
{
    return !l->learn && l->counts.learnt_examples == 0 && !whole;
}

static enum status score(struct line *l, const struct slate *s, struct err *e)
{
    const double start = clock_cpu_s();
    TRY(model_bind(l->run, l->params, e));
    TRY(model_score(l->run, s, 0, l->predictions.logits, l->predictions.part_logits, e));
    l->score_core_s += clock_cpu_s() - start;
    return STATUS_OK;
}

enum status line_score(struct line *l, const struct slate *s, bool whole, struct err *e)
{
    TRY(room_for(l, s->n_items, e));
    if (knows_nothing(l, whole)) return STATUS_OK; /* room_for's zeroes */
    TRY(score(l, s, e));
    return model_frozen_cosine(l->run, s, l->predictions.frozen, e);
}

enum status line_score_beside(struct line *l, const struct slate *s, struct err *e)
{
    TRY(room_for(l, s->n_items, e));
    if (knows_nothing(l, false)) return STATUS_OK;
    return score(l, s, e);
}

/* ---- settling ---- */

void line_estimate(struct line *l, const struct slate *s, const float *logits, int64_t first_ms)
{
    if (!s->cut_off && eval_next_counts(l->eval, s, first_ms)) ope_list(l->ope, s, logits, l->conf->serving_explore_temperature);
}

enum status line_evaluate(struct line *l, const struct slate *s, const struct open_predictions *p, int64_t first_ms,
                          struct err *e)
{
    return eval_slate(l->eval, s, p->logits, p->part_logits, p->frozen, first_ms, e);
}

void line_report(const struct line *l, struct report *out)
{
    const char *names[MODEL_ROWS_MAX];
    const size_t n = model_n_parts(l->model);
    for (size_t i = 0; i < n; i++) names[i] = model_part_name(l->model, i);
    for (size_t i = 0; i < model_n_tasks(l->model); i++) names[n + i] = model_task_name(l->model, i);
    eval_report(l->eval, names, out);
    out->protocol = (struct report_protocol){l->conf->train_softmax_share, l->conf->train_sampling_correction,
                                             l->conf->train_recalibration};
}

void line_figures(const struct line *l, struct report_figures *out)
{
    struct report whole;
    memset(&whole, 0, sizeof whole);
    line_report(l, &whole);
    *out = whole.progressive;
}

enum status line_learn(struct line *l, struct slate **s, struct err *e)
{
    const uint32_t batch = (uint32_t)l->conf->train_batch_slates;
    if (!l->learn || !line_gate_lets(l->gate, *s)) return STATUS_OK;
    const bool first = l->n_pending == 0;
    TRY(line_replay(l, e));
    if (l->n_pending == batch) TRY(line_step(l, e));
    if (first || l->n_pending == 0) l->waits_since_ms = l->now_ms;
    struct slate *used = l->pending[l->n_pending];
    l->pending[l->n_pending++] = *s;
    *s = used;
    return l->n_pending == batch ? line_step(l, e) : STATUS_OK;
}

void line_early_logits(const struct line *l, const struct open_predictions *p, size_t K, float *z)
{
    memcpy(z, p->logits, K * sizeof *z);
    for (size_t part = 0; part < model_n_parts(l->model); part++)
        for (size_t i = 0; i < K && model_part_counts(l->model, part); i++) z[i] -= p->part_logits[part * K + i];
}

enum status line_advance(struct line *l, int64_t now_ms, struct err *e)
{
    const int64_t wait = l->conf->train_batch_wait_ms;
    l->now_ms = now_ms;
    if (wait == 0 || l->n_pending == 0 || now_ms < l->waits_since_ms + wait) return STATUS_OK;
    return line_step(l, e);
}

static void weigh(const struct line *l, struct slate *s, const struct line_copies *c)
{
    for (uint32_t i = 0; i < s->n_items; i++) {
        struct slate_item *it = &s->items[i];
        const float factor = loss_delay_factor(&l->delay, it->apart, it->label > 0.5f, c->copy == SLATE_AGAIN);
        it->examples *= factor;
        it->weight *= factor;
    }
}

/* What the parts that learn early said of each candidate. */
static enum status set_apart(const struct line *l, struct slate *s, const struct open_predictions *shown, struct err *e)
{
    float *z = arena_alloc(s->arena, s->n_items, sizeof *z);
    if (z == NULL) return ERR_SET(e, STATUS_OOM, "slate of %u candidates", s->n_items);
    line_early_logits(l, shown, s->n_items, z);
    for (uint32_t i = 0; i < s->n_items; i++) s->items[i].apart = isfinite(z[i]) ? z[i] : 0.0f;
    return STATUS_OK;
}

static bool learns_ends(const struct line *l, const struct slate *s)
{
    bool any = false;
    for (size_t i = 0; i < model_n_parts(l->model); i++) any |= model_part_counts(l->model, i);
    return any && s->time_ms >= l->delay.first_end_ms;
}

enum status line_learn_copies(struct line *l, struct slate **s, const struct line_copies *c, bool *learnt,
                              struct err *e)
{
    const struct slate *taken = *s;
    *learnt = false;
    if (c->copy == SLATE_ENDED && !learns_ends(l, *s)) return STATUS_OK;
    if (c->copy != SLATE_WHOLE) TRY(set_apart(l, *s, c->shown, e));
    if (c->copy == SLATE_EARLY || c->copy == SLATE_AGAIN) weigh(l, *s, c);
    (*s)->copy = c->copy;
    slate_keep(*s, c->keep);
    *learnt = true;
    if ((*s)->n_items == 0) return STATUS_OK;
    TRY(line_learn(l, s, e));
    *learnt = *s != taken;
    return STATUS_OK;
}

void line_let_learn(struct line *l)
{
    l->learn = true;
}

/* ---- the state ---- */

void line_batch_encode(struct buf *b, const struct line *l)
{
    buf_varint(b, l->n_pending);
    for (uint32_t i = 0; i < l->n_pending; i++) slate_encode(b, l->pending[i]);
    if (l->conf->train_batch_wait_ms > 0) buf_i64(b, l->waits_since_ms);
}

enum status line_batch_decode(struct line *l, struct buf_reader *r, struct err *e)
{
    const size_t n = (size_t)buf_get_varint(r);
    if (n >= (size_t)l->conf->train_batch_slates)
        return ERR_SET(e, STATUS_CORRUPT, "%zu pending slates in the state", n);
    for (l->n_pending = 0; l->n_pending < n; l->n_pending++) TRY(slate_decode(l->pending[l->n_pending], r, e));
    if (l->conf->train_batch_wait_ms > 0) l->waits_since_ms = buf_get_i64(r);
    return STATUS_OK;
}

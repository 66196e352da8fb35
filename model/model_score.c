/* model_score.c - scoring without a tape: cheap parts see all candidates, the dear ones the best by what those come to.
 *
 * Several slates are scored part by part: a part that is worth it takes the candidates of all of them in one pass, as far as
 * its rows are bounded.  A candidate's logit has the same bits alone and among others.
 */
#include "base/sort.h"
#include "model/model_inside.h"
#include <math.h>
#include <string.h>

#define SCORE_ROWS 2048   /* rows times layers of one chunk */
#define SCORE_TOGETHER 16 /* slates of one pass */

struct scoring {
    struct part_slate ps;
    uint32_t *all, *top; /* candidates; those that dear parts see (n_top of them, in input order) */
    uint32_t n_top;
    float *z;   /* (parts with bias, K) */
    float *raw; /* (K) their sum */
};

/* --- which candidates --------------------------------------------------------------------------------------------- */

struct ranked {
    float score;
    uint32_t item;
};

/* Descending by score, then input order. */
static int by_score(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->item < y->item ? -1 : x->item > y->item;
}

static int by_item(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* which (room for top) = the `top` best by score, in input order. */
static enum status best(struct tape *t, const float *score, size_t K, size_t top, uint32_t *which, struct err *e)
{
    struct ranked *order = tape_host(t, K, sizeof *order), *scratch = tape_host(t, K / 2, sizeof *scratch);
    if (order == NULL || scratch == NULL) return tape_status(t, e);
    for (size_t i = 0; i < K; i++) order[i] = (struct ranked){isnan(score[i]) ? -INFINITY : score[i], (uint32_t)i};
    sort_stable(order, K, sizeof *order, by_score, scratch);
    for (size_t i = 0; i < top; i++) which[i] = order[i].item;
    sort_stable(which, top, sizeof *which, by_item, scratch); /* top <= K, and smaller things */
    return STATUS_OK;
}

/* sum (K) = the given parts' logits, in order, those with rows left out when `cheap`. */
static void sum_parts(const struct model *m, const float *z, size_t K, bool cheap, float *sum)
{
    memset(sum, 0, K * sizeof *sum);
    for (size_t p = 0; p < m->n_parts; p++) {
        if (cheap && m->parts[p]->ops->rows != NULL) continue;
        for (size_t i = 0; i < K; i++) sum[i] += z[p * K + i];
    }
}

/* Who was not seen by a dear part gets the mean of what it said of those it saw: added to a sum that has it as 0. */
static void add_means(const struct model *m, const struct scoring *s, float *sum)
{
    const size_t K = s->ps.slate->n_items;
    float unseen = 0;
    if (s->n_top == K) return;
    for (size_t p = 0; p < m->n_parts; p++) {
        double said = 0;
        if (m->parts[p]->ops->rows == NULL) continue;
        for (uint32_t k = 0; k < s->n_top; k++) said += (double)s->z[p * K + s->top[k]];
        unseen += (float)(said / s->n_top);
    }
    for (uint32_t i = 0, k = 0; i < K; i++) {
        const bool seen = k < s->n_top && s->top[k] == i;
        k += seen;
        if (!seen) sum[i] += unseen;
    }
}

/* What s->raw comes to: logits (K) and tasks (n_tasks, K); parts (n_parts, K) are scaled with them.  NULL: not asked for. */
static void finish(const struct model_run *r, const struct scoring *s, float *logits, float *parts, float *tasks)
{
    const struct slate *slate = s->ps.slate;
    const int source = part_bias_source(r->parts[0], slate);
    memcpy(logits, s->raw, slate->n_items * sizeof *logits);
    model_recal_logits(&r->recal, slate, source, logits, parts, r->m->n_parts - 1);
    if (tasks != NULL) model_tasks_logits(&r->tasks, slate, s->raw, logits, tasks);
}

/* keys (K): what the candidates would be ranked by if there were the cheap parts alone. */
static enum status cheap_keys(struct model_run *r, const struct scoring *s, float *keys, struct err *e)
{
    const uint32_t K = s->ps.slate->n_items;
    const struct model_tasks *tasks = &r->m->tasks;
    float *of_tasks = tasks->by_utility ? tape_host(&r->tape, tasks->n * K, sizeof *of_tasks) : NULL;
    if (tasks->by_utility && of_tasks == NULL) return tape_status(&r->tape, e);
    sum_parts(r->m, s->z, K, true, s->raw);
    finish(r, s, keys, NULL, of_tasks);
    for (uint32_t i = 0; of_tasks != NULL && i < K; i++) keys[i] = model_tasks_utility(tasks, of_tasks, K, i);
    return STATUS_OK;
}

/* The candidates that dear parts see: all, or the best by the cheap ones. */
static enum status choose(struct model_run *r, struct scoring *s, uint32_t joint_top, struct err *e)
{
    const uint32_t K = s->ps.slate->n_items;
    const bool joint = joint_top > 0 && joint_top < K && r->m->n_parts > 2;
    s->top = s->all;
    s->n_top = K;
    if (!joint) return STATUS_OK;
    float *keys = tape_host(&r->tape, K, sizeof *keys);
    s->top = tape_host(&r->tape, joint_top, sizeof *s->top);
    s->n_top = joint_top;
    if (keys == NULL || s->top == NULL) return tape_status(&r->tape, e);
    TRY(cheap_keys(r, s, keys, e));
    return best(&r->tape, keys, K, joint_top, s->top, e);
}

/* --- one part ----------------------------------------------------------------------------------------------------- */

/* Where a part's logits of some candidates of one slate go. */
struct place {
    float *z; /* (K) */
    const uint32_t *which;
};

static void put(void *user, const float *x, size_t n)
{
    const struct place *p = user;
    for (size_t i = 0; i < n; i++) p->z[p->which[i]] = x[i];
}

static enum status ask(struct model_run *r, size_t part, const struct scoring *s, const uint32_t *which, size_t n,
                       const float *z, struct err *e)
{
    struct place *p = tape_host(&r->tape, 1, sizeof *p);
    TRY(tape_status(&r->tape, e));
    *p = (struct place){s->z + part * s->ps.slate->n_items, which};
    tape_ask(&r->tape, z, n, put, p);
    return tape_status(&r->tape, e);
}

/* What is asked for stays on the tape. */
static void rewind_to(struct model_run *r, struct tape_mark mark)
{
    if (!tape_is_asked(&r->tape)) tape_rewind(&r->tape, mark);
}

/* One slate, chunk by chunk. */
static enum status score_part(struct model_run *r, size_t part, struct scoring *s, const uint32_t *which, size_t n,
                              struct err *e)
{
    if (n == 0) return STATUS_OK;
    TRY(part_prepare(r->parts[part], &s->ps, e));
    for (size_t at = 0; at < n;) {
        const struct tape_mark mark = tape_save(&r->tape);
        const size_t k = model_chunk(r, part, &s->ps, which + at, n - at, SCORE_ROWS);
        struct tape_value z = {0};
        TRY(part_score(r->parts[part], &s->ps, which + at, k, &z, e));
        TRY(ask(r, part, s, which + at, k, z.x, e));
        at += k;
        if (at < n) TRY(tape_settle(&r->tape, e));
        rewind_to(r, mark);
    }
    return STATUS_OK;
}

static size_t rows_of(const struct model_run *r, size_t part, const struct scoring *s)
{
    size_t rows = 0;
    for (uint32_t i = 0; i < s->n_top; i++) rows += r->m->parts[part]->ops->rows(r->parts[part], &s->ps, s->top[i]);
    return rows;
}

/* Slates first … whose candidates fit into one pass; at least one. */
static size_t pass_of(const struct model_run *r, size_t part, const struct scoring *s, size_t n)
{
    size_t k = 0, rows = 0;
    for (; k < n && k < SCORE_TOGETHER; k++) {
        rows += rows_of(r, part, &s[k]);
        if (k > 0 && rows > SCORE_ROWS) break;
    }
    return k;
}

static enum status score_pass(struct model_run *r, size_t part, struct scoring *s, size_t n, struct err *e)
{
    struct part_list lists[SCORE_TOGETHER] = {0};
    struct tape_value z = {0};
    for (size_t i = 0; i < n; i++) lists[i] = (struct part_list){&s[i].ps, s[i].top, s[i].n_top};
    TRY(r->m->parts[part]->ops->score_together(r->parts[part], lists, n, &z, e));
    for (size_t i = 0, at = 0; i < n; at += s[i++].n_top) TRY(ask(r, part, &s[i], s[i].top, s[i].n_top, z.x + at, e));
    return STATUS_OK;
}

/* A dear part over the chosen candidates of all slates. */
static enum status score_dear(struct model_run *r, size_t part, struct scoring *s, size_t n, struct err *e)
{
    for (size_t i = 0, k; i < n; i += k) {
        const struct tape_mark mark = tape_save(&r->tape);
        k = r->m->parts[part]->together ? pass_of(r, part, s + i, n - i) : 1;
        if (k > 1)
            TRY(score_pass(r, part, s + i, k, e));
        else
            TRY(score_part(r, part, &s[i], s[i].top, s[i].n_top, e));
        if (i + k < n) TRY(tape_settle(&r->tape, e));
        rewind_to(r, mark);
    }
    return STATUS_OK;
}

/* Where not all candidates are for the dear parts, what the cheap ones say of them is waited for. */
static enum status choose_all(struct model_run *r, struct scoring *s, size_t n, const uint32_t *joint_top,
                              struct err *e)
{
    bool joint = false;
    for (size_t i = 0; i < n; i++) joint = joint || (joint_top[i] > 0 && joint_top[i] < s[i].ps.slate->n_items);
    if (joint) TRY(tape_settle(&r->tape, e));
    for (size_t i = 0; i < n; i++) TRY(choose(r, &s[i], joint_top[i], e));
    return STATUS_OK;
}

static enum status score_all(struct model_run *r, struct scoring *s, size_t n, const uint32_t *joint_top, struct err *e)
{
    const struct model *m = r->m;
    uint64_t since = model_times_now(r);
    for (size_t p = 0; p < m->n_parts; p++) {
        if (m->parts[p]->ops->rows != NULL) continue;
        for (size_t i = 0; i < n; i++) TRY(score_part(r, p, &s[i], s[i].all, s[i].ps.slate->n_items, e));
        since = model_times_add(r, MODEL_SCORED, p, since);
    }
    TRY(choose_all(r, s, n, joint_top, e));
    since = model_times_now(r);
    for (size_t p = 0; p < m->n_parts; p++) {
        if (m->parts[p]->ops->rows == NULL) continue;
        TRY(score_dear(r, p, s, n, e));
        since = model_times_add(r, MODEL_SCORED, p, since);
    }
    return tape_settle(&r->tape, e);
}

/* --- slates ------------------------------------------------------------------------------------------------------- */

static enum status open_slates(struct model_run *r, const struct slate *const *slates, size_t n, struct scoring *s,
                               struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        TRY(model_open_slate(r, slates[i], false, &s[i].ps, &s[i].all, e));
        s[i].z = tape_host(&r->tape, r->m->n_parts * slates[i]->n_items + 1, sizeof *s[i].z);
        s[i].raw = tape_host(&r->tape, slates[i]->n_items + 1u, sizeof *s[i].raw);
        if (s[i].z == NULL || s[i].raw == NULL) return tape_status(&r->tape, e);
    }
    return STATUS_OK;
}

static void hand_out(const struct model_run *r, const struct scoring *s, float *logits, float *part_logits)
{
    const size_t K = s->ps.slate->n_items;
    if (K == 0) return;
    const size_t n_parts = r->m->n_parts - 1;
    sum_parts(r->m, s->z, K, false, s->raw);
    add_means(r->m, s, s->raw);
    if (part_logits != NULL) memcpy(part_logits, s->z + K, n_parts * K * sizeof *s->z);
    finish(r, s, logits, part_logits, part_logits != NULL ? part_logits + n_parts * K : NULL);
}

/* At most SCORE_TOGETHER slates. */
static enum status score_some(struct model_run *r, const struct slate *const *slates, size_t n,
                              const uint32_t *joint_top, float *const *logits, float *const *part_logits, struct err *e)
{
    struct scoring s[SCORE_TOGETHER] = {{.all = NULL}};
    model_tape_reset(r);
    TRY(open_slates(r, slates, n, s, e));
    model_times_begin(r, MODEL_SCORED, slates, n);
    r->kern->ops->begin(r->kern);
    const enum status st = score_all(r, s, n, joint_top, e);
    r->kern->ops->end(r->kern);
    for (size_t i = 0; i < n; i++) part_states_release(&s[i].ps);
    for (size_t i = 0; i < n && st == STATUS_OK; i++)
        hand_out(r, &s[i], logits[i], part_logits ? part_logits[i] : NULL);
    return st;
}

enum status model_score_many(struct model_run *r, const struct slate *const *slates, size_t n,
                             const uint32_t *joint_top, float *const *logits, float *const *part_logits, struct err *e)
{
    for (size_t i = 0, k; i < n; i += k) {
        k = n - i < SCORE_TOGETHER ? n - i : SCORE_TOGETHER;
        TRY(score_some(r, slates + i, k, joint_top + i, logits + i, part_logits ? part_logits + i : NULL, e));
    }
    return STATUS_OK;
}

enum status model_score(struct model_run *r, const struct slate *s, uint32_t joint_top, float *logits,
                        float *part_logits, struct err *e)
{
    return score_some(r, &s, 1, &joint_top, &logits, &part_logits, e);
}

/* part_position.c - see part_position.h. */
#include "model/part_position.h"
#include <math.h>
#include <string.h>

enum status part_position_create(struct part_position *p, const struct part_env *env, struct param_table *t,
                                 struct err *e)
{
    const uint32_t shape[2] = {1, PART_PLACES};
    p->on = env->conf->model_position;
    if (!p->on) return STATUS_OK;
    const float rate = (float)env->conf->train_linear_rate;
    TRY(param_table_add(t, "position.weight", PARAM_ADAGRAD, 2, shape, rate, 0, &p->weight, e));
    return param_table_add(t, "position.share", PARAM_STAT, 1, shape + 1, 0, 0, &p->share, e);
}

void part_position_bind(struct part_position_run *r, const struct part_params *p)
{
    if (!r->of->on) return;
    part_matrix_of(&r->weight, p, r->of->weight, 0, 1, SIZE_MAX);
    r->share = p->host + param_at(p->table, r->of->share)->offset;
}

/* Of a place from 1. */
static size_t bucket_of(uint32_t place)
{
    size_t b = 0;
    while (place > 1 && b < PART_PLACES - 1) place /= 2, b++;
    return b;
}

/* x (list->n, PART_PLACES), which is cleared. */
static void put_places(const struct part_position_run *r, const struct part_list *list, float *x)
{
    for (size_t i = 0; i < list->n; i++, x += PART_PLACES) {
        const uint32_t place = list->s->slate->items[list->which[i]].position;
        if (place == 0) continue; /* not said: neutral */
        for (size_t b = 0; b < PART_PLACES; b++) x[b] = -r->share[b];
        x[bucket_of(place)] += 1.0f;
    }
}

struct tape_value part_position_add(struct part_position_run *r, const struct part_list *lists, size_t n,
                                    struct tape_value z)
{
    struct tape *t = lists[0].s->tape;
    bool any = false;
    for (size_t l = 0; l < n; l++) any = any || lists[l].s->slate->source == SLATE_IMPRESSION;
    if (!r->of->on || !t->record || !any) return z;
    const size_t K = part_listed(lists, n);
    float *x = tape_host(t, K * PART_PLACES + 1, sizeof *x);
    if (x == NULL) return (struct tape_value){0};
    for (size_t l = 0, at = 0; l < n; at += lists[l++].n)
        if (lists[l].s->slate->source == SLATE_IMPRESSION) put_places(r, &lists[l], x + at * PART_PLACES);
    return op_add(t, z, op_linear(t, tape_constant(t, x, K, PART_PLACES), &r->weight, KERN_ACT_NONE));
}

void part_position_learnt(struct part_position_run *r, const struct slate *s)
{
    if (!r->of->on || s->source != SLATE_IMPRESSION) return;
    for (uint32_t i = 0; i < s->n_items; i++)
        if (s->items[i].position > 0) r->recent[bucket_of(s->items[i].position)] += 1;
}

void part_position_apply(struct part_position_run *r, const struct param_table *t, float *w)
{
    double n = 0;
    if (!r->of->on) return;
    for (size_t b = 0; b < PART_PLACES; b++) {
        r->total[b] += r->recent[b];
        r->recent[b] = 0;
        n += r->total[b];
    }
    float *share = w + param_at(t, r->of->share)->offset;
    for (size_t b = 0; b < PART_PLACES && n > 0; b++) share[b] = (float)(r->total[b] / n);
}

void part_position_drop(struct part_position_run *r)
{
    memset(r->recent, 0, sizeof r->recent);
}

void part_position_encode(struct buf *b, const struct part_position_run *r)
{
    for (size_t i = 0; i < PART_PLACES && r->of->on; i++) {
        buf_f64(b, r->total[i]);
        buf_f64(b, r->recent[i]);
    }
}

enum status part_position_decode(struct part_position_run *r, struct buf_reader *rd, struct err *e)
{
    for (size_t i = 0; i < PART_PLACES && r->of->on; i++) {
        r->total[i] = buf_get_f64(rd);
        r->recent[i] = buf_get_f64(rd);
        if (rd->bad || !(r->total[i] >= 0) || !(r->recent[i] >= 0) || isinf(r->total[i] + r->recent[i]))
            return ERR_SET(e, STATUS_CORRUPT, "state of the places' shares: malformed");
    }
    return STATUS_OK;
}

/* eval_served.c - see eval_served.h. */
#include "trainer/eval_served.h"
#include <math.h>

void eval_served_echoed(const struct slate *s, const struct eval_served_room *room)
{
    for (size_t i = 0; i < s->n_items; i++) {
        const double p = fmin(fmax((double)s->items[i].served, 1e-7), 1.0 - 1e-7);
        room->mask[i] = s->items[i].served > 0.0f;
        room->z[i] = (float)log(p / (1.0 - p));
    }
}

void eval_served_add(struct eval_served *v, const struct eval_terms *t, const struct eval_served_room *room)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++) {
        if (!room->mask[i]) continue;
        n++;
        eval_skew_add(&v->skew, (double)t->z[i] - (double)room->z[i]);
    }
    if (n == 0) return;
    struct eval_terms shown = {.z = room->z, .y = t->y, .terms = room->terms, .n = t->n};
    eval_terms_fill(&shown);
    v->lists++;
    eval_light_add(&v->served, &shown, room->mask, 1.0);
    eval_light_add(&v->learner, t, room->mask, 1.0);
}

void eval_served_report(const struct eval_served *v, struct report_served *out)
{
    out->lists = v->lists;
    eval_light_figures(&v->served, &out->figures);
    eval_light_figures(&v->learner, &out->learner);
    eval_skew_report(&v->skew, &out->skew);
}

void eval_served_encode(struct buf *b, const struct eval_served *v)
{
    eval_light_encode(b, &v->served);
    eval_light_encode(b, &v->learner);
    eval_skew_encode(b, &v->skew);
    buf_varint(b, v->lists);
    buf_varint(b, v->skew.items); /* which the bins say too */
}

void eval_served_decode(struct eval_served *v, struct buf_reader *r)
{
    eval_light_decode(&v->served, r);
    eval_light_decode(&v->learner, r);
    eval_skew_decode(&v->skew, r);
    v->lists = buf_get_varint(r);
    if (buf_get_varint(r) != v->skew.items) r->bad = true;
}

/* paired.c - see paired.h. */
#include "trainer/paired.h"
#include "trainer/eval.h"
#include "trainer/eval_loss.h"
#include <math.h>

/* AUC of one list by the items' labels, ties half; NaN without both. */
static double auc_of(const struct slate *s, const float *z)
{
    uint64_t pairs = 0, halves = 0;
    for (uint32_t i = 0; i < s->n_items; i++) {
        if (!(s->items[i].label > 0.5f)) continue;
        for (uint32_t k = 0; k < s->n_items; k++) {
            if (s->items[k].label > 0.5f) continue;
            pairs++;
            halves += z[i] > z[k] ? 2 : z[i] == z[k];
        }
    }
    return pairs > 0 ? 0.5 * (double)halves / (double)pairs : NAN;
}

void paired_slate(struct paired *p, const struct slate *s, const float *champion, const float *challenger)
{
    const uint64_t user = cluster_user(str_has(s->user) ? s->user : s->request);
    double loss = 0.0;
    for (uint32_t i = 0; i < s->n_items; i++)
        loss += eval_log_loss((double)challenger[i], s->items[i].label > 0.5f) -
                eval_log_loss((double)champion[i], s->items[i].label > 0.5f);
    if (s->n_items == 0 || !isfinite(loss)) return;
    p->slates++;
    cluster_add(&p->loss, user, s->n_items, loss);
    const double auc = auc_of(s, challenger) - auc_of(s, champion);
    if (isfinite(auc)) cluster_add(&p->auc, user, 1.0, auc);
}

static struct report_interval interval(const struct cluster *c)
{
    struct cluster_interval x;
    cluster_mean(c, &x);
    return (struct report_interval){x.mean, x.lower, x.upper};
}

void paired_report(const struct paired *p, struct report_paired *out)
{
    out->slates = p->slates;
    out->logloss = interval(&p->loss);
    out->gauc = interval(&p->auc);
}

void paired_encode(struct buf *b, const struct paired *p)
{
    buf_u64(b, p->slates);
    cluster_encode(b, &p->loss);
    cluster_encode(b, &p->auc);
}

enum status paired_decode(struct paired *p, struct buf_reader *r, struct err *e)
{
    p->slates = buf_get_u64(r);
    cluster_decode(&p->loss, r);
    cluster_decode(&p->auc, r);
    return r->bad ? ERR_SET(e, STATUS_CORRUPT, "paired comparison of a variant is cut short") : STATUS_OK;
}

/* filter.c - see filter.h. */
#include "simulate/filter.h"
#include "base/mem.h"
#include <math.h>

struct belief { /* of one user */
    double mean[SHOP_WORDS], cov[SHOP_WORDS][SHOP_WORDS];
    int64_t time_ms;
};
struct filter {
    struct shop_options o;
    const struct shop *shop;
    struct belief **users; /* made at first sight */
    double *quality, *quality_var;
};

enum status filter_new(struct filter **out, const struct shop_options *o, const struct shop *s, struct err *e)
{
    *out = NULL;
    struct filter *f = mem_calloc(1, sizeof *f);
    if (f == NULL) return ERR_SET(e, STATUS_OOM, "filter: %zu bytes", sizeof *f);
    f->o = *o;
    f->shop = s;
    f->users = mem_calloc(o->users, sizeof *f->users);
    f->quality = mem_calloc(o->items, sizeof *f->quality);
    f->quality_var = mem_calloc(o->items, sizeof *f->quality_var);
    if (f->users == NULL || f->quality == NULL || f->quality_var == NULL) {
        filter_free(f);
        return ERR_SET(e, STATUS_OOM, "filter of %u users and %u items", o->users, o->items);
    }
    for (uint32_t i = 0; i < o->items; i++) f->quality_var[i] = o->item_quality * o->item_quality;
    *out = f;
    return STATUS_OK;
}

void filter_free(struct filter *f)
{
    if (f == NULL) return;
    for (uint32_t u = 0; f->users != NULL && u < f->o.users; u++) mem_free(f->users[u]);
    mem_free(f->users);
    mem_free(f->quality);
    mem_free(f->quality_var);
    mem_free(f);
}

/* Drift as the generator does it, in expectation: the mean shrinks, the covariance goes back towards the prior. */
static void forget(const struct filter *f, struct belief *b, int64_t time_ms)
{
    const double days = (double)(time_ms - b->time_ms) / 86400000.0, keep2 = pow(1.0 - f->o.drift, days),
                 keep = sqrt(keep2);
    const double fresh = (1.0 - keep2) * f->o.word_taste * f->o.word_taste;
    if (time_ms <= b->time_ms) return;
    b->time_ms = time_ms;
    if (f->o.drift <= 0.0) return;
    for (int i = 0; i < SHOP_WORDS; i++) {
        b->mean[i] *= keep;
        for (int j = 0; j < SHOP_WORDS; j++) b->cov[i][j] *= keep2;
        b->cov[i][i] += fresh;
    }
}

static struct belief *belief_of(struct filter *f, const struct shop_list *l)
{
    struct belief *b = f->users[l->user];
    if (b != NULL) return b;
    b = mem_calloc(1, sizeof *b);
    if (b == NULL) return NULL;
    b->time_ms = l->time_ms;
    for (int i = 0; i < SHOP_WORDS; i++) b->cov[i][i] = f->o.word_taste * f->o.word_taste;
    return f->users[l->user] = b;
}

/* Mean and variance of the logit of one item. */
static void predict(const struct filter *f, const struct belief *b, uint32_t item, double *mean, double *var)
{
    uint32_t w[3];
    shop_words(shop_item(f->shop, item), w);
    *mean = f->o.bias + f->quality[item];
    *var = f->quality_var[item];
    for (int i = 0; i < 3; i++) {
        *mean += b->mean[w[i]];
        for (int j = 0; j < 3; j++) *var += b->cov[w[i]][w[j]];
    }
}

enum status filter_score(struct filter *f, const struct shop_list *l, double *logit, struct err *e)
{
    struct belief *b = belief_of(f, l);
    if (b == NULL) return ERR_SET(e, STATUS_OOM, "filter: belief of user %u, %zu bytes", l->user, sizeof *b);
    forget(f, b, l->time_ms);
    for (uint32_t k = 0; k < l->n; k++) {
        double mean, var;
        predict(f, b, l->items[k], &mean, &var);
        logit[k] = mean / sqrt(1.0 + 3.14159265358979323846 * var / 8.0);
    }
    return STATUS_OK;
}

static void learn_one(struct filter *f, struct belief *b, uint32_t item, double y)
{
    uint32_t w[3];
    double mean, var, cross[SHOP_WORDS];
    predict(f, b, item, &mean, &var);
    shop_words(shop_item(f->shop, item), w);
    const double p = 1.0 / (1.0 + exp(-mean)), curvature = p * (1.0 - p), gain = 1.0 / (1.0 + curvature * var);
    for (int i = 0; i < SHOP_WORDS; i++) cross[i] = b->cov[i][w[0]] + b->cov[i][w[1]] + b->cov[i][w[2]];
    for (int i = 0; i < SHOP_WORDS; i++) {
        b->mean[i] += gain * cross[i] * (y - p);
        for (int j = 0; j < SHOP_WORDS; j++) b->cov[i][j] -= curvature * gain * cross[i] * cross[j];
    }
    const double q = f->quality_var[item];
    f->quality[item] += gain * q * (y - p);
    f->quality_var[item] -= curvature * gain * q * q;
}

void filter_learn(struct filter *f, const struct shop_list *l)
{
    struct belief *b = f->users[l->user];
    const uint32_t n = shop_looked(&f->o, l);
    for (uint32_t k = 0; k < n; k++) learn_one(f, b, l->items[k], shop_clicked(&f->o, l, k) ? 1.0 : 0.0);
}

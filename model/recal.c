/* recal.c - see recal.h. */
#include "model/recal.h"
#include <math.h>
#include <string.h>

#define RECAL_HALF_LIFE 20000.0  /* examples */
#define CENTRE_EXAMPLES 100000.0 /* behind the mean at most: it follows a catalogue that grows */
#define WEIGHT_MAX 3.0

/* Precision of the prior: what is known before a label was seen; ageing: of the step from one age to the next (deviation 0.25). */
static const double prior_slope = 2.0, prior_intercept = 0.3, prior_offset = 1.0, prior_ageing = 16.0;

static const float popularity_below[RECAL_POPULARITIES - 1] = {0.5f, 1, 2, 4, 8, 16, 32, 64, 128};

/* Whether parts and recalibration are after the same. */
static bool agree(const struct conf *c)
{
    for (uint32_t i = 0; i < c->n_types; i++)
        if (c->types[i].weight != 1.0) return false;
    return c->train_softmax_share < 1.0 && !(c->train_distill > 0.0) && !(c->train_replay_share > 0.0);
}

enum status model_recal_declare(struct model_recal *c, const struct conf *conf, struct param_table *t, struct err *e)
{
    const uint32_t centre[1] = {2}, weights[2] = {RECAL_SOURCES, RECAL_N};
    c->corrected = conf->train_sampling_correction;
    c->recalibrated = conf->train_recalibration;
    c->early = strcmp(conf->join_loss, "wait") != 0;
    c->beside = c->recalibrated && agree(conf);
    if (c->corrected) TRY(param_table_add(t, "sampling.centre", PARAM_STAT, 1, centre, 0, 0, &c->centre, e));
    if (c->recalibrated) TRY(param_table_add(t, "recalibration", PARAM_STAT, 2, weights, 0, 0, &c->weights, e));
    return STATUS_OK;
}

void model_recal_bind(struct model_recal_run *r, const struct model_recal *c, const struct param_table *t,
                      const float *w)
{
    r->c = c;
    r->centre = c->corrected ? w + param_at(t, c->centre)->offset : NULL;
    r->weights = c->recalibrated ? w + param_at(t, c->weights)->offset : NULL;
}

/* --- applying ----------------------------------------------------------------------------------------------------- */

/* The mean of log_kq where it is known, else that of the slate at hand. */
static double centre_of(const struct model_recal_run *r, const struct slate *s)
{
    double sum = 0;
    if (r->centre[1] > 0) return (double)r->centre[0];
    for (uint32_t i = 0; i < s->n_items; i++) sum += (double)s->items[i].log_kq;
    return s->n_items > 0 ? sum / s->n_items : 0.0;
}

/* *centre; whether labels of this slate are compared with logits that are shifted by it minus log_kq. */
static bool is_shifted(const struct model_recal_run *r, const struct slate *s, int source, double *centre)
{
    const bool drawn = r->centre != NULL && source == SLATE_ORGANIC;
    *centre = drawn ? centre_of(r, s) : 0.0;
    return drawn || s->source == SLATE_IMPRESSION; /* thinned out; 0 where it is whole */
}

static uint32_t bucket(const float *below, uint32_t n, float x)
{
    uint32_t i = 0;
    while (i < n && !(x < below[i])) i++;
    return i;
}

/* Places in the weights of the slices that candidate i is in; returns how many. */
static uint32_t slices(const struct slate *s, uint32_t i, uint32_t at[2 + RECAL_FLAGS])
{
    const struct slate_item *it = &s->items[i];
    const bool flags[RECAL_FLAGS] = {s->cold_user, (it->flags & SLATE_ITEM_COLD) != 0,
                                     (it->flags & SLATE_ITEM_FIRST_TIME) != 0};
    uint32_t n = 2;
    at[0] = RECAL_SLICES + (uint32_t)slate_age_group((double)it->age_days);
    at[1] = RECAL_SLICES + RECAL_AGES + bucket(popularity_below, RECAL_POPULARITIES - 1, it->popularity);
    for (uint32_t f = 0; f < RECAL_FLAGS; f++)
        if (flags[f]) at[n++] = RECAL_SLICES + RECAL_AGES + RECAL_POPULARITIES + f;
    return n;
}

static const float *weights_of(const struct model_recal_run *r, int source)
{
    return r->weights != NULL ? r->weights + (size_t)source * RECAL_N : NULL;
}

static double offset_of(const float *w, const uint32_t *at, uint32_t n)
{
    double z = (double)w[RECAL_INTERCEPT];
    for (uint32_t k = 0; k < n; k++) z += (double)w[at[k]];
    return z;
}

static bool is_beside(const struct model_recal_run *r, int source)
{
    return r->c->beside && source == SLATE_ORGANIC;
}

bool model_recal_shift(const struct model_recal_run *r, const struct slate *s, int source, float *shift)
{
    double centre;
    bool any = false;
    const bool shifted = is_shifted(r, s, source, &centre);
    const float *w = is_beside(r, source) ? weights_of(r, source) : NULL;
    if (!shifted && w == NULL) return false;
    for (uint32_t i = 0; i < s->n_items; i++) {
        uint32_t at[2 + RECAL_FLAGS];
        double z = w != NULL ? offset_of(w, at, slices(s, i, at)) : 0.0;
        if (shifted) z += centre - (double)s->items[i].log_kq;
        shift[i] = (float)z;
        any = any || shift[i] != 0.0f;
    }
    return any;
}

void model_recal_logits(const struct model_recal_run *r, const struct slate *s, int source, float *logits,
                        float *part_logits, size_t n_parts)
{
    const size_t K = s->n_items;
    const bool corrected = r->centre != NULL && source == SLATE_ORGANIC;
    const float *w = weights_of(r, source);
    const double slope = w != NULL ? exp((double)w[RECAL_SLOPE]) : 1.0, centre = corrected ? centre_of(r, s) : 0.0;
    for (uint32_t i = 0; i < K; i++) {
        uint32_t at[2 + RECAL_FLAGS];
        double z = slope * (double)logits[i];
        if (w != NULL) z += offset_of(w, at, slices(s, i, at));
        if (corrected) z += centre - (double)s->items[i].log_kq;
        logits[i] = (float)z;
    }
    for (size_t i = 0; w != NULL && part_logits != NULL && i < n_parts * K; i++)
        part_logits[i] = (float)(slope * (double)part_logits[i]);
}

/* --- learning ----------------------------------------------------------------------------------------------------- */

/* One example's share of the gradient and of the precision: x is sparse, its places and values are at[n], x[n]. */
static void gather(struct recal_sums *q, const uint32_t *at, const double *x, uint32_t n, double error, double weight)
{
    for (uint32_t j = 0; j < n; j++) {
        q->gradient[at[j]] += error * x[j];
        for (uint32_t k = 0; k < n; k++)
            if (at[k] <= at[j]) q->recent[at[j]][at[k]] += weight * x[j] * x[k];
    }
    q->n += 1;
}

static void recalibration_learnt(struct model_recal_run *r, const struct slate *s, int source, const float *raw)
{
    const float *w = weights_of(r, source);
    const uint32_t first = is_beside(r, source) ? 1 : 0; /* the slope is left out */
    const double slope = exp((double)w[RECAL_SLOPE]);
    double centre;
    const bool shifted = is_shifted(r, s, source, &centre);
    for (uint32_t i = 0; i < s->n_items; i++) {
        if (!(s->items[i].examples > 0.0f)) continue; /* learnt again: what is in force now says nothing of it */
        uint32_t at[4 + RECAL_FLAGS] = {RECAL_SLOPE, RECAL_INTERCEPT};
        double x[4 + RECAL_FLAGS] = {slope * (double)raw[i], 1, 1, 1, 1, 1, 1};
        const uint32_t n = slices(s, i, at + 2);
        double z = x[0] + offset_of(w, at + 2, n);
        if (shifted) z += centre - (double)s->items[i].log_kq;
        const double p = 1.0 / (1.0 + exp(-z)), weight = (double)s->items[i].examples;
        gather(&r->sums[source], at + first, x + first, n + 2 - first, weight * (p - (double)s->items[i].label), weight * p * (1 - p));
    }
}

void model_recal_learnt(struct model_recal_run *r, const struct slate *s, int source, const float *raw)
{
    const bool settled = !r->c->early || source != SLATE_IMPRESSION;
    if (r->weights != NULL && settled) recalibration_learnt(r, s, source, raw);
    if (r->centre == NULL || source != SLATE_ORGANIC) return;
    for (uint32_t i = 0; i < s->n_items; i++) {
        if (!(s->items[i].examples > 0.0f)) continue;
        r->shift_sum += (double)s->items[i].log_kq;
        r->shift_n += 1;
    }
}

/* x = a^-1 x for a symmetric and positive definite a (its lower triangle; overwritten by its Cholesky factor).  False:
 * it is not. */
static bool solve(double a[RECAL_N][RECAL_N], double x[RECAL_N])
{
    for (int i = 0; i < RECAL_N; i++) {
        for (int j = 0; j <= i; j++) {
            double sum = a[i][j];
            for (int k = 0; k < j; k++) sum -= a[i][k] * a[j][k];
            if (i == j && !(sum > 0)) return false;
            a[i][j] = i == j ? sqrt(sum) : sum / a[j][j];
        }
    }
    for (int i = 0; i < RECAL_N; i++) {
        for (int k = 0; k < i; k++) x[i] -= a[i][k] * x[k];
        x[i] /= a[i][i];
    }
    for (int i = RECAL_N - 1; i >= 0; i--) {
        for (int k = i + 1; k < RECAL_N; k++) x[i] -= a[k][i] * x[k];
        x[i] /= a[i][i];
    }
    return true;
}

/* Row i, column j of the prior's precision.  Offsets are each about 0, but those by age a walk that begins at the youngest. */
static double prior(int i, int j)
{
    const int youngest = RECAL_SLICES, oldest = RECAL_SLICES + RECAL_AGES - 1, low = i < j ? i : j, high = i < j ? j : i;
    const bool ages = low >= youngest && high <= oldest;
    if (i != j) return ages && high == low + 1 ? -prior_ageing : 0.0;
    if (ages) return (i == youngest ? prior_offset : prior_ageing) + (i == oldest ? 0.0 : prior_ageing);
    return i == RECAL_SLOPE ? prior_slope : i == RECAL_INTERCEPT ? prior_intercept : prior_offset;
}

/* One Newton step of this source; what is forgotten of the sums pulls back to the prior. */
static void step(struct recal_sums *q, float *w)
{
    const double keep = exp2(-q->n / RECAL_HALF_LIFE);
    double a[RECAL_N][RECAL_N], x[RECAL_N];
    if (q->n == 0) return;
    for (int i = 0; i < RECAL_N; i++) {
        double pull = 0;
        for (int j = 0; j < RECAL_N; j++) pull += prior(i, j) * (double)w[j];
        for (int j = 0; j <= i; j++) {
            q->precision[i][j] = keep * q->precision[i][j] + q->recent[i][j];
            a[i][j] = q->precision[i][j] + prior(i, j);
        }
        x[i] = q->gradient[i] + (1 - keep) * pull;
    }
    if (solve(a, x)) {
        for (int i = 0; i < RECAL_N; i++) w[i] = (float)fmax(-WEIGHT_MAX, fmin(WEIGHT_MAX, (double)w[i] - x[i]));
    }
    q->n = 0;
    memset(q->gradient, 0, sizeof q->gradient);
    memset(q->recent, 0, sizeof q->recent);
}

void model_recal_drop(struct model_recal_run *r)
{
    for (size_t s = 0; s < RECAL_SOURCES; s++) {
        struct recal_sums *q = &r->sums[s];
        q->n = 0;
        memset(q->gradient, 0, sizeof q->gradient);
        memset(q->recent, 0, sizeof q->recent);
    }
    r->shift_sum = r->shift_n = 0;
}

void model_recal_apply(struct model_recal_run *r, const struct param_table *t, float *w)
{
    for (size_t i = 0; i < RECAL_SOURCES && r->weights != NULL; i++)
        step(&r->sums[i], w + param_at(t, r->c->weights)->offset + i * RECAL_N);
    if (r->centre == NULL || r->shift_n == 0) return;
    float *centre = w + param_at(t, r->c->centre)->offset;
    r->shift_total = fmin(r->shift_total, CENTRE_EXAMPLES) + r->shift_n;
    centre[0] = (float)((double)centre[0] + (r->shift_sum - r->shift_n * (double)centre[0]) / r->shift_total);
    centre[1] = 1;
    r->shift_sum = r->shift_n = 0;
}

/* --- state -------------------------------------------------------------------------------------------------------- */

/* Between steps nothing is pending but precisions and one count (model_run_encode). */
void model_recal_encode(struct buf *b, const struct model_recal_run *r)
{
    if (!r->c->corrected && !r->c->recalibrated) return;
    buf_varint(b, RECAL_N);
    buf_f64(b, r->shift_total);
    for (size_t s = 0; s < RECAL_SOURCES; s++)
        for (size_t i = 0; i < RECAL_N; i++)
            for (size_t j = 0; j <= i; j++) buf_f64(b, r->sums[s].precision[i][j]);
}

enum status model_recal_decode(struct model_recal_run *r, struct buf_reader *rd, struct err *e)
{
    if (!r->c->corrected && !r->c->recalibrated) return STATUS_OK; /* as in folders of before */
    const uint64_t n = buf_get_varint(rd);
    if (rd->bad || n != RECAL_N)
        return ERR_SET(e, STATUS_CORRUPT, "state of the recalibration: %llu numbers, %d are expected",
                       (unsigned long long)n, RECAL_N);
    r->shift_total = buf_get_f64(rd);
    for (size_t s = 0; s < RECAL_SOURCES; s++)
        for (size_t i = 0; i < RECAL_N; i++)
            for (size_t j = 0; j <= i; j++) r->sums[s].precision[i][j] = buf_get_f64(rd);
    return rd->bad ? ERR_SET(e, STATUS_CORRUPT, "state of the recalibration: cut short") : STATUS_OK;
}

/* loss_delay.c - see loss_delay.h. */
#include "trainer/loss_delay.h"
#include <math.h>
#include <string.h>

#define LOSS_DELAY_FORMAT 2 /* 1: without first_end_ms */
#define LATER_AT_FIRST 0.5  /* S, before anything is known */

void loss_delay_init(struct loss_delay *d, const struct conf *c)
{
    *d = (struct loss_delay){.weights = {1.0, 1.0}, .examples = {1.0, 1.0}, .first_end_ms = INT64_MAX};
    d->kind = strcmp(c->join_loss, "fnw") == 0          ? LOSS_DELAY_FNW
              : strcmp(c->join_loss, "importance") == 0 ? LOSS_DELAY_IMPORTANCE
                                                        : LOSS_DELAY_WAIT;
    calibrate_init(&d->real_negative);
    calibrate_init(&d->delayed);
    d->real_negative.a = -1.0;
    d->real_negative.b = -log(LATER_AT_FIRST);
    d->delayed.a = 1.0;
    d->delayed.b = log(LATER_AT_FIRST);
}

static double sigmoid(double z)
{
    return 1.0 / (1.0 + exp(-z));
}

/* P(positive within the window): f with the types' weights taken out again. */
static double rate_of(const struct loss_delay *d, float z)
{
    const double positive = d->weights[1] / d->examples[1], negative = d->weights[0] / d->examples[0];
    return sigmoid((double)z - log(positive / negative));
}

float loss_delay_factor(const struct loss_delay *d, float z, bool positive, bool marked)
{
    if (d->kind == LOSS_DELAY_WAIT) return 1.0f;
    if (isnan(z)) z = 0.0f;
    if (d->kind == LOSS_DELAY_FNW) {
        const double p = rate_of(d, z);
        return (float)((1.0 + p) * (positive || marked ? 1.0 : 1.0 - p));
    }
    const double p_dp = sigmoid((double)calibrate_logit(&d->delayed, z));
    const double p_rn = sigmoid((double)calibrate_logit(&d->real_negative, z));
    return (float)((1.0 + p_dp) * (positive || marked ? 1.0 : p_rn));
}

/* One step of each estimator per example, in shown order. */
static void learn_delays(struct loss_delay *d, const struct loss_delay_settled *s)
{
    for (size_t i = 0; i < s->n; i++) {
        const float later = s->labels[i] > 0.5f && s->early[i] == 0 ? 1.0f : 0.0f, real = 1.0f - later;
        calibrate_learn(&d->delayed, &s->z[i], &later, 1);
        if (s->early[i] == 0) calibrate_learn(&d->real_negative, &s->z[i], &real, 1);
    }
}

void loss_delay_settle(struct loss_delay *d, const struct loss_delay_settled *s)
{
    if (d->kind == LOSS_DELAY_WAIT) return;
    for (size_t i = 0; i < s->n; i++) {
        const int label = s->labels[i] > 0.5f;
        d->weights[label] += (double)s->weights[i];
        d->examples[label] += 1.0;
    }
    if (s->early != NULL) learn_delays(d, s);
    if (s->end_ms < d->first_end_ms) d->first_end_ms = s->end_ms;
}

static void put_line(struct buf *b, const struct calibrate *c)
{
    buf_f64(b, c->a);
    buf_f64(b, c->b);
    buf_f64(b, c->acc_a);
    buf_f64(b, c->acc_b);
}

static void get_line(struct calibrate *c, struct buf_reader *r)
{
    c->a = buf_get_f64(r);
    c->b = buf_get_f64(r);
    c->acc_a = buf_get_f64(r);
    c->acc_b = buf_get_f64(r);
}

void loss_delay_encode(struct buf *b, const struct loss_delay *d)
{
    buf_u8(b, LOSS_DELAY_FORMAT);
    put_line(b, &d->real_negative);
    put_line(b, &d->delayed);
    for (int i = 0; i < 2; i++) {
        buf_f64(b, d->weights[i]);
        buf_f64(b, d->examples[i]);
    }
    buf_i64(b, d->first_end_ms);
}

static bool line_valid(const struct calibrate *c)
{
    return isfinite(c->a) && isfinite(c->b) && isfinite(c->acc_a) && isfinite(c->acc_b) && c->acc_a > 0 && c->acc_b > 0;
}

enum status loss_delay_decode(struct loss_delay *d, struct buf_reader *r, struct err *e)
{
    const uint8_t format = buf_get_u8(r);
    get_line(&d->real_negative, r);
    get_line(&d->delayed, r);
    bool valid = format >= 1 && format <= LOSS_DELAY_FORMAT && line_valid(&d->real_negative) && line_valid(&d->delayed);
    for (int i = 0; i < 2; i++) {
        d->weights[i] = buf_get_f64(r);
        d->examples[i] = buf_get_f64(r);
        valid =
            valid && isfinite(d->weights[i]) && isfinite(d->examples[i]) && d->weights[i] >= 0 && d->examples[i] > 0;
    }
    d->first_end_ms = format >= 2 ? buf_get_i64(r) : INT64_MIN;
    return valid && !r->bad ? STATUS_OK : ERR_SET(e, STATUS_CORRUPT, "state of the delayed labels' weights is damaged");
}

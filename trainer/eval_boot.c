/* eval_boot.c - see eval_boot.h. */
#include "trainer/eval_boot.h"
#include "base/rand.h"
#include <math.h>
#include <string.h>

/* A user is left out of a replicate with probability 1/e: where there is one alone 126 of 200 replicates have slates, give or take 7,
 * where there are two 173. */
#define DEFINED_LEAST (EVAL_BOOT * 3 / 4)

void eval_boot_init(struct eval_boot *b, uint32_t n_series)
{
    memset(b, 0, sizeof *b);
    b->n_series = n_series;
}

/* P(Poisson(1) <= k) in 65536ths: two draws out of each word. */
static uint8_t poisson(uint32_t x)
{
    static const uint32_t below[8] = {24109, 48219, 60273, 64291, 65296, 65497, 65531, 65535};
    uint8_t k = 0;
    while (k < 8 && x >= below[k]) k++;
    return k;
}

void eval_boot_weights(uint64_t user, uint8_t weights[EVAL_BOOT])
{
    struct rand r;
    rand_init(&r, (struct rand_key){.offset = user, .purpose = RAND_BOOTSTRAP});
    for (int b = 0; b < EVAL_BOOT; b += 2) {
        const uint32_t word = rand_u32(&r);
        weights[b] = poisson(word & 0xffff);
        weights[b + 1] = poisson(word >> 16);
    }
}

static void add_series(double *sums, const double *weights, double x)
{
    for (int b = 0; b < EVAL_BOOT; b++) sums[b] += weights[b] * x;
}

void eval_boot_add(struct eval_boot *b, uint64_t user, const struct eval_boot_slate *s)
{
    uint8_t drawn[EVAL_BOOT];
    double weights[EVAL_BOOT];
    eval_boot_weights(user, drawn);
    for (int k = 0; k < EVAL_BOOT; k++) weights[k] = drawn[k];
    add_series(b->examples, weights, s->examples);
    if (s->ranked) add_series(b->slates, weights, 1.0);
    for (uint32_t i = 0; i < b->n_series; i++) {
        if (s->ranked) add_series(b->auc[i], weights, s->auc[i]);
        add_series(b->loss[i], weights, s->loss[i]);
    }
}

/* Of the replicates' means that are defined. */
static double deviation(const double *sums, const double *minus, const double *weights)
{
    double n = 0.0, mean = 0.0, m2 = 0.0;
    for (int b = 0; b < EVAL_BOOT; b++) {
        if (!(weights[b] > 0.0)) continue;
        const double x = (sums[b] - (minus != NULL ? minus[b] : 0.0)) / weights[b], d = x - mean;
        n += 1.0;
        mean += d / n; /* Welford 1962 */
        m2 += d * (x - mean);
    }
    return n > DEFINED_LEAST ? sqrt(m2 / (n - 1.0)) : NAN;
}

double eval_boot_gauc(const struct eval_boot *b, uint32_t series, int minus)
{
    return deviation(b->auc[series], minus >= 0 ? b->auc[minus] : NULL, b->slates);
}

double eval_boot_loss(const struct eval_boot *b, uint32_t series, int minus)
{
    return deviation(b->loss[series], minus >= 0 ? b->loss[minus] : NULL, b->examples);
}

struct report_interval eval_boot_interval(double value, double sd)
{
    return (struct report_interval){value, value - 1.96 * sd, value + 1.96 * sd};
}

static void row_encode(struct buf *b, const double *row)
{
    for (int i = 0; i < EVAL_BOOT; i++) buf_f64(b, row[i]);
}

static void row_decode(double *row, struct buf_reader *r)
{
    for (int i = 0; i < EVAL_BOOT; i++) row[i] = buf_get_f64(r);
}

void eval_boot_encode(struct buf *b, const struct eval_boot *boot)
{
    buf_varint(b, boot->n_series);
    row_encode(b, boot->slates);
    row_encode(b, boot->examples);
    for (uint32_t i = 0; i < boot->n_series; i++) {
        row_encode(b, boot->auc[i]);
        row_encode(b, boot->loss[i]);
    }
}

void eval_boot_decode(struct eval_boot *boot, struct buf_reader *r)
{
    if (buf_get_varint(r) != boot->n_series) r->bad = true;
    row_decode(boot->slates, r);
    row_decode(boot->examples, r);
    for (uint32_t i = 0; i < boot->n_series && !r->bad; i++) {
        row_decode(boot->auc[i], r);
        row_decode(boot->loss[i], r);
    }
}

/* gate_tally.c - see gate_tally.h. */
#include "trainer/gate_tally.h"
#include <math.h>

void gate_tally_add(struct gate_tally *t, uint64_t user, const double value[GATE_FIGURES])
{
    for (int f = 0; f < GATE_FIGURES; f++) {
        if (isnan(value[f])) continue;
        t->sum[f][user % GATE_FOLDS] += value[f];
        t->n[f][user % GATE_FOLDS]++;
    }
}

struct gate_mean gate_tally_mean(const struct gate_tally *t, enum gate_figure f)
{
    double sum = 0.0, squares = 0.0;
    uint64_t n = 0, folds = 0;
    for (int i = 0; i < GATE_FOLDS; i++) {
        sum += t->sum[f][i];
        n += t->n[f][i];
        folds += t->n[f][i] > 0;
    }
    if (n == 0) return (struct gate_mean){NAN, NAN, 0};
    const double mean = sum / (double)n;
    for (int i = 0; i < GATE_FOLDS; i++) {
        if (t->n[f][i] == 0 || t->n[f][i] == n) continue;
        const double without = (sum - t->sum[f][i]) / (double)(n - t->n[f][i]);
        squares += (without - mean) * (without - mean);
    }
    const double m = (double)folds;
    return (struct gate_mean){mean, folds > 1 ? sqrt((m - 1.0) / m * squares) : NAN, n};
}

void gate_tally_encode(struct buf *b, const struct gate_tally *t)
{
    for (int f = 0; f < GATE_FIGURES; f++) {
        for (int i = 0; i < GATE_FOLDS; i++) {
            buf_f64(b, t->sum[f][i]);
            buf_varint(b, t->n[f][i]);
        }
    }
}

void gate_tally_decode(struct gate_tally *t, struct buf_reader *r)
{
    for (int f = 0; f < GATE_FIGURES; f++) {
        for (int i = 0; i < GATE_FOLDS; i++) {
            t->sum[f][i] = buf_get_f64(r);
            t->n[f][i] = buf_get_varint(r);
        }
    }
}

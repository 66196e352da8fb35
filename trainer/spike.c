/* spike.c - see spike.h. */
#include "trainer/spike.h"
#include <math.h>

#define STEP 0.02
#define STEP_DEVIATION 0.001 /* slower: it has to see what is rare */
#define DEVIATION_MIN 0.005  /* nats: a tenth above the median hurts nobody */
#define CUT 20.0 /* deviations that an observation counts for at most, where the owner has no bound of its own */

/* Steps are larger at first: the start is found within the warm-up. */
static void follow(struct spike *s, double loss, double deviations)
{
    const double n = (double)s->batches + 1.0, a = fmax(STEP, 1.0 / n), b = fmax(STEP_DEVIATION, 1.0 / n);
    if (s->batches == 0) {
        s->median = loss;
        s->deviation = fmax(0.1 * fabs(loss), DEVIATION_MIN);
    }
    const double most = (deviations > 0.0 ? deviations : CUT) * s->deviation, off = fmin(fabs(loss - s->median), most);
    s->median += (loss > s->median ? a : loss < s->median ? -a : 0.0) * s->deviation;
    s->deviation = fmax(sqrt(s->deviation * s->deviation * (1.0 - b) + off * off * b), DEVIATION_MIN);
    if (s->batches < UINT32_MAX) s->batches++;
}

double spike_bound(const struct spike *s, double deviations)
{
    if (s->batches < SPIKE_WARMUP || deviations <= 0.0) return HUGE_VAL;
    return s->median + deviations * s->deviation;
}

bool spike_is(struct spike *s, double loss, uint64_t examples, double deviations)
{
    const double n = (double)examples;
    if (!isfinite(loss)) return false;
    s->size += (n - s->size) * (s->size <= 0.0 ? 1.0 : STEP);
    if (n < 0.5 * s->size) return false;
    const double spare = SPIKE_FREE + (double)s->batches / (deviations * deviations);
    const bool beyond = loss > spike_bound(s, deviations) && s->row < SPIKE_IN_A_ROW && (double)s->skipped < spare;
    s->row = beyond ? s->row + 1 : 0;
    s->skipped += beyond;
    s->examples += beyond ? examples : 0;
    follow(s, loss, deviations);
    return beyond;
}

void spike_encode(struct buf *b, const struct spike *s)
{
    buf_f64(b, s->size);
    buf_f64(b, s->median);
    buf_f64(b, s->deviation);
    buf_varint(b, s->batches);
    buf_varint(b, s->row);
    buf_varint(b, s->skipped);
    buf_varint(b, s->examples);
}

void spike_decode(struct spike *s, struct buf_reader *r)
{
    *s = (struct spike){0};
    s->size = buf_get_f64(r);
    s->median = buf_get_f64(r);
    s->deviation = buf_get_f64(r);
    s->batches = (uint32_t)buf_get_varint(r);
    s->row = (uint32_t)buf_get_varint(r);
    s->skipped = buf_get_varint(r);
    s->examples = buf_get_varint(r);
    if (!isfinite(s->size) || !isfinite(s->median) || !isfinite(s->deviation) || s->deviation < 0.0) r->bad = true;
}

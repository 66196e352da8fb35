/* eval_distinct.c - see eval_distinct.h. */
#include "trainer/eval_distinct.h"
#include <math.h>

enum { INDEX_BITS = 12 };

void eval_distinct_add(struct eval_distinct *d, uint64_t hash)
{
    const uint64_t rest = hash << INDEX_BITS | UINT64_C(1) << (INDEX_BITS - 1); /* never 0 */
    uint8_t *reg = &d->registers[hash >> (64 - INDEX_BITS)];
    const uint8_t rank = (uint8_t)(__builtin_clzll(rest) + 1);
    if (rank > *reg) *reg = rank;
}

double eval_distinct_count(const struct eval_distinct *d)
{
    const double m = EVAL_REGISTERS;
    double sum = 0.0, empty = 0.0;
    for (int i = 0; i < EVAL_REGISTERS; i++) {
        sum += ldexp(1.0, -d->registers[i]);
        empty += d->registers[i] == 0;
    }
    const double raw = 0.7213 / (1.0 + 1.079 / m) * m * m / sum;
    return raw <= 2.5 * m && empty > 0.0 ? m * log(m / empty) : raw;
}

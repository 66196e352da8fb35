/* eval_distinct.h - how many different ones there were, within 2 %, in 4 KiB: HyperLogLog (Flajolet et al. 2007).
 *
 * Below 10,000 by counting empty registers, which is all but exact there.  Plain data: a zeroed one is empty.  Thread: the
 * learner's.
 */
#ifndef TRAINER_EVAL_DISTINCT_H
#define TRAINER_EVAL_DISTINCT_H
#include <stdint.h>

#define EVAL_REGISTERS 4096

struct eval_distinct {
    uint8_t registers[EVAL_REGISTERS];
};
void eval_distinct_add(struct eval_distinct *d, uint64_t hash); /* hash: all its bits are used */
double eval_distinct_count(const struct eval_distinct *d);
#endif

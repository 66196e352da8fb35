/* eval_private.h - the evaluator's insides, shared by eval.c and eval_state.c alone. */
#ifndef TRAINER_EVAL_PRIVATE_H
#define TRAINER_EVAL_PRIVATE_H
#include "trainer/calibrate.h"
#include "trainer/eval.h"
#include <stdint.h>

#define EVAL_METERS_MAX (2 + EVAL_BASELINES + EVAL_SLICES + EVAL_PARTS_MAX)

struct eval {
    struct eval_warmup warmup;
    size_t n_parts;
    uint64_t slates;
    struct eval_meter model, recent, baselines[EVAL_BASELINES], slices[EVAL_SLICES], without[EVAL_PARTS_MAX];
    struct calibrate calibrators[EVAL_CONSTANT];
    uint64_t base_examples, base_positives; /* what `constant` knows */
    struct report_bucket by_age[8], by_popularity[10];
    float *scratch; /* cap */
    uint8_t *mask;  /* cap */
    size_t cap;
};
#endif

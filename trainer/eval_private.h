/* eval_private.h - the evaluator's insides, shared by eval.c, eval_report.c and eval_state.c alone. */
#ifndef TRAINER_EVAL_PRIVATE_H
#define TRAINER_EVAL_PRIVATE_H
#include "base/arena.h"
#include "trainer/calibrate.h"
#include "trainer/eval.h"
#include "trainer/eval_behind.h"
#include "trainer/eval_boot.h"
#include "trainer/eval_lists.h"
#include "trainer/eval_rank.h"
#include "trainer/eval_segments.h"
#include "trainer/eval_served.h"
#include "trainer/eval_time.h"
#include "trainer/eval_unsampled.h"
#include <stdint.h>

#define EVAL_METERS_MAX (2 + REPORT_BASELINES + REPORT_SLICES + EVAL_PARTS_MAX + REPORT_TASKS_MAX)

/* Series of the bootstrap: the model, the baselines, the model without each part. */
enum { EVAL_SERIES_MODEL, EVAL_SERIES_BASELINE, EVAL_SERIES_WITHOUT = EVAL_SERIES_BASELINE + REPORT_BASELINES };

struct eval {
    struct eval_setup setup;
    bool dear[EVAL_PARTS_MAX]; /* parts that `cheap` leaves out */
    uint64_t slates, cut_off; /* cut_off: of these, in no figure */
    struct eval_meter model, recent, baselines[REPORT_BASELINES], slices[REPORT_SLICES], without[EVAL_PARTS_MAX];
    struct calibrate calibrators[REPORT_CONSTANT]; /* of the baselines before it */
    uint64_t base_examples, base_positives;        /* what `constant` knows */
    struct report_bucket by_age[8], by_popularity[10];
    struct eval_meter tasks[REPORT_TASKS_MAX]; /* of recorded lists */
    struct eval_cut cut;
    struct eval_ranked model_ranked, ranked[REPORT_BASELINES];
    struct eval_boot boot;
    struct eval_time time;
    struct eval_lists lists;
    struct eval_segments segments;
    struct eval_unsampled unsampled;
    struct eval_served served;
    struct arena scratch; /* of one slate */
    /* NULL: slates are evaluated at once.  Else all but `setup`, `slates` and `cut_off` is for who evaluates. */
    struct eval_behind *behind;
};
extern const double eval_popularity_below[10]; /* the sampler's self-check: upper bounds */
#endif

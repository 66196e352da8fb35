/* job_parts.h - whether each part of the model is worth what it takes.
 *
 * Both sides are measured online: what is lost without the part by the evaluator, what it takes by the model's own times.
 */
#ifndef JOB_JOB_PARTS_H
#define JOB_JOB_PARTS_H
#include "schemas/conf.h"
#include "schemas/report.h"
#include <stddef.h>

#define JOB_PARTS_SLATES 10000 /* with both labels: before, a gain says little */

/* Why part i costs more than it brings: its share of the parts' time is above eval.part_cost_share, and the GAUC that is
 * lost without it below eval.part_min_gain or, where the report has its interval, not proven to be above 0.  Writes one
 * sentence (cost, gain, what to do) to out; false: it does not, or too little was seen. */
bool job_part_is_dear(const struct conf *c, const struct report *r, uint32_t i, char *out, size_t n);
/* A warning for each such part. */
void job_warn_parts(const struct conf *c, const struct report *r);
#endif

/* progress.h - how a run shows itself on stderr: a bar on a terminal, lines (in the manner of Vowpal Wabbit) otherwise.
 *
 * A line gives the average so far and "since last", the progressive figures of the examples in between.
 */
#ifndef JOB_PROGRESS_H
#define JOB_PROGRESS_H
#include "schemas/report.h"
#include <stdbool.h>
#include <stdint.h>

struct progress {
    bool quiet, terminal, headed;
    int64_t next_us;
    uint64_t lines, next_examples;
    struct report_figures last; /* as progress_since saw them */
};
struct progress_now {
    uint64_t events, rejected, slates, examples, version;
    double done_frac; /* 0..1; < 0: unknown */
    double events_per_s;
    int64_t watermark_ms;
    struct report_figures all, since;
};
void progress_init(struct progress *p, bool quiet, int64_t now_us);
/* True when it is time for a line: every half second on a terminal; else when the examples have doubled or 10 s passed. */
bool progress_due(const struct progress *p, int64_t now_us, uint64_t examples);
/* Figures of the examples since the last call, out of the averages over all so far. */
void progress_since(struct progress *p, const struct report_figures *all, struct report_figures *since);
void progress_show(struct progress *p, int64_t now_us, const struct progress_now *now);
void progress_end(struct progress *p); /* leaves the bar's line */
/* What a run came to, in a few lines on stderr: figures, baselines, what each part brings, what was left out and why. */
void progress_summary(const struct progress *p, const struct report *r);
#endif

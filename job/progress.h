/* progress.h - how a run shows itself on stderr: a running table (in the manner of Vowpal Wabbit), on a terminal with a bar below.
 *
 * A line gives the average so far and "since the last line": the progressive figures of the examples in between.
 */
#ifndef JOB_PROGRESS_H
#define JOB_PROGRESS_H
#include "schemas/report.h"
#include <stdbool.h>
#include <stdint.h>

struct progress {
    bool quiet, terminal, headed;
    int64_t next_us, next_line_us;
    uint64_t lines, next_examples;
    struct report_figures last; /* as the last line had them */
};
struct progress_now {
    uint64_t events, rejected, slates, examples, version;
    double done_frac; /* 0..1; < 0: unknown */
    double events_per_s;
    int64_t watermark_ms;
    double popularity_gauc;
    bool last; /* a line whatever the time */
    struct report_figures all, since;
};
void progress_init(struct progress *p, bool quiet, int64_t now_us);
/* True when it is time for a line (the examples have doubled, or 10 s passed, a minute on a terminal) or for the bar. */
bool progress_due(const struct progress *p, int64_t now_us, uint64_t examples);
/* now->since is filled here. */
void progress_show(struct progress *p, int64_t now_us, struct progress_now *now);
/* What a run came to, in a few lines on stderr: figures, baselines, what each part brings, what was left out and why.  r->detail is set. */
void progress_summary(const struct progress *p, const struct report *r);
#endif

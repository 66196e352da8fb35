/* monitor.h - one figure of the stream, summed up in buckets of event time and watched for a change (trainer/drift.h).
 *
 * A bucket ends when it is `bucket_ms` long and holds `bucket_events`: quiet hours make it longer, not noisier.  Three kinds:
 * SHARE (k of n: on the scale 2·asin(√p), where a difference is Cohen's h and the variance 1/n), MEAN (in units of the usual
 * deviation inside a bucket), RATE (ln of events an hour; its level goes along with day and night, a jump it does not follow).
 * Beside it, what each source brought to the newest buckets, so that one that explains the change alone can be told.  Plain data
 * of fixed size, zeroed at first; part of the state.  Thread: one.
 */
#ifndef TRAINER_MONITOR_H
#define TRAINER_MONITOR_H
#include "base/buf.h"
#include "base/str.h"
#include "trainer/drift.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MONITOR_NAME 64
#define MONITOR_SOURCES 8 /* the newest sources of one monitor */

enum monitor_group {
    MONITOR_LABELS,
    MONITOR_VOLUME,
    MONITOR_SCORES,
    MONITOR_SCHEMA,
    MONITOR_REJECTS,
    MONITOR_LOSS,
    MONITOR_GROUPS
};
enum monitor_kind { MONITOR_SHARE, MONITOR_MEAN, MONITOR_RATE };
const char *monitor_group_name(enum monitor_group g); /* "labels", as guard.pause_on has them */

struct monitor {
    char name[MONITOR_NAME]; /* "" : not in use */
    uint64_t key;            /* what it watches, by hash */
    uint32_t of;             /* the kind of events whose attribute it is; for the owner */
    enum monitor_group group;
    enum monitor_kind kind;
    bool filling; /* a bucket is under way */
    int64_t since_ms;
    double n, sum, squares; /* of it */
    double value;           /* of the newest full bucket: a share, a mean, events an hour */
    double scale;           /* MEAN: usual deviation inside a bucket */
    struct drift drift;
    int64_t run_ms[2], out_ms; /* when a change upward or downward began; when it was an alarm */
    struct {
        uint64_t source; /* 0: free */
        double n, sum;
    } by[MONITOR_SOURCES];
};
struct monitor_limits {
    int64_t bucket_ms;
    uint64_t bucket_events;
    uint32_t warmup; /* buckets */
    double shift;    /* SHARE: Cohen's h; MEAN: deviations; RATE: ln of the factor */
};
void monitor_init(struct monitor *m, struct str name, uint64_t key, enum monitor_group group, enum monitor_kind kind);
/* n observations at now_ms that add up to sum and squares (SHARE: sum of them with the property; RATE: n alone counts).
 * source: hash, 0: none. */
void monitor_add(struct monitor *m, int64_t now_ms, uint64_t source, double n, double sum, double squares);
/* Ends the bucket if it is full.  now_ms never goes back. */
enum drift_change monitor_close(struct monitor *m, int64_t now_ms, const struct monitor_limits *l);
/* A value that is made elsewhere (a quantile) instead of a bucket's own, in its unit, with its sampling variance. */
enum drift_change monitor_judge(struct monitor *m, int64_t since_ms, int64_t now_ms, double value, double noise,
                                const struct monitor_limits *l);
double monitor_level(const struct monitor *m);     /* what is usual, in the unit of value */
int64_t monitor_began_ms(const struct monitor *m); /* while out: when the change began, as far as it can be told */
/* While out: the sources (at most cap) that explain the change, when the rest together is as usual; 0: no source does. */
size_t monitor_blame(const struct monitor *m, const struct monitor_limits *l, uint64_t *sources, size_t cap);
void monitor_excuse(struct monitor *m, uint64_t source); /* that source is out of the way from now on */
void monitor_encode(struct buf *b, const struct monitor *m);
void monitor_decode(struct monitor *m, struct buf_reader *r); /* r->bad when it is none */
#endif

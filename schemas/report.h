/* report.h - the figures of a run as JSON (DESIGN "Replay report").
 *
 * Structs that the evaluator and the job fill, and the one function that writes them.  What a key means stands in
 * schemas/json/report.schema.json; nothing is computed here.
 */
#ifndef SCHEMAS_REPORT_H
#define SCHEMAS_REPORT_H
#include "base/buf.h"
#include "base/hash.h"
#include <stdbool.h>
#include <stdint.h>

#define REPORT_REJECTS_MAX 72
#define REPORT_PARTS_MAX 16

struct report_figures { /* NaN where undefined; written as null */
    double auc, gauc, logloss, ne, calibration;
    uint64_t examples, slates; /* slates: those with both labels, that gauc is the mean of */
};
struct report_part {
    char name[32];
    double gauc_without, auc_without, logloss_without;
};
struct report_bucket { /* self-check of the sampler: share of positives by item age and popularity decile */
    char name[32];
    uint64_t examples, positives;
};
struct report_partition { /* what was read of it: next offset, how many records, and the hash chain over them */
    const char *topic;    /* borrowed; "" for log files */
    uint32_t partition;
    uint64_t next, records, chain;
};
struct report_estimate { /* a mean with its standard error, clustered by user */
    double mean, error;
    uint64_t slates;
};
struct report_gate { /* the judge of the line, and the users that are held out */
    bool on, rests;
    uint64_t judged, rollbacks, blessings, rested, blessed, blessed_examples, pinned, refused;
    double share, worse, loss_harm, auc_harm; /* harm: of the line against the blessed version since it was blessed */
    double holdout_frac;
    uint64_t held_out_slates;
    struct report_estimate held_out_loss, held_out_auc, taught_loss, taught_auc;
};
struct report_interval { /* of 95 %, clustered by user; NaN where undefined, written as null */
    double mean, lower, upper;
};
/* A variant less the one in charge, on the same slates, as both predicted them when they opened. */
struct report_paired {
    uint64_t slates;
    struct report_interval logloss, gauc;
};
#define REPORT_VARIANTS_MAX 8
struct report_variant {
    char name[33], sha256[HASH_SHA256_HEX];
    bool in_charge, shadow;
    double share; /* of the users, as configured */
    uint64_t learnt_examples;
    struct report_figures progressive;
    struct report_paired paired; /* not of the one in charge */
};
struct report_arm { /* what users did with the lists that one variant served */
    char name[33];
    double share;
    uint64_t lists, users;                                                         /* users: of the sample */
    struct report_interval ctr, conversion, ctr_difference, conversion_difference; /* against the one in charge */
};
struct report_arms {
    struct report_arm arms[REPORT_VARIANTS_MAX];
    uint32_t n;
    uint64_t sampled_users, moved;
    double sample_frac, chi_square, ratio_p; /* sample-ratio check; NaN: too few users */
    bool ratio_alarm;
};
struct report {
    uint64_t events, rejected, skipped, examples, slates, open, duplicates, late, unmatched, refused_jumps;
    uint64_t tokens, unknown_tokens;
    struct {
        char code[48];
        uint64_t n;
    } rejects[REPORT_REJECTS_MAX];
    uint32_t n_rejects;
    double seconds, examples_per_second, peak_rss_bytes;
    struct report_figures progressive, popularity, repeat, frozen, constant, cold_user, cold_item, first_time;
    struct report_part parts[REPORT_PARTS_MAX];
    uint32_t n_parts;
    struct report_bucket by_age[8], by_popularity[10];
    struct report_gate gate;
    uint64_t version;
    char sha256[HASH_SHA256_HEX];
    char backend[64];
    struct report_variant variants[REPORT_VARIANTS_MAX];
    uint32_t n_variants; /* 0: no challengers */
    struct report_arms arms;
    const struct report_partition *partitions; /* borrowed */
    size_t n_partitions;
};
void report_write_json(struct buf *b, const struct report *r); /* pretty, key order as in DESIGN, newline at the end */
#endif

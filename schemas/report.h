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
#define REPORT_TASKS_MAX 8
#define REPORT_K_MAX 4        /* cuts of NDCG and recall … */
#define REPORT_K_LARGEST 1000 /* … and the largest of them */
#define REPORT_TOP 10         /* places of a list that are its top */
#define REPORT_AGES 8         /* groups of items by age */
#define REPORT_DECILES 10
#define REPORT_WINDOWS 3
#define REPORT_CURVE_MAX 128
#define REPORT_RELIABILITY 20
#define REPORT_SEGMENTS_MAX 512

struct report_figures { /* NaN where undefined; written as null */
    double auc, gauc, logloss, ne, calibration;
    uint64_t examples, slates; /* slates: those with both labels, that gauc is the mean of */
    uint64_t positives;
};
enum report_baseline {
    REPORT_POPULARITY,
    REPORT_REPEAT,
    REPORT_FROZEN,
    REPORT_CONSTANT,
    REPORT_CHEAP, /* the model's own sum without text and match */
    REPORT_BASELINES
};
extern const char *const report_baseline_names[REPORT_BASELINES];
enum report_slice {
    REPORT_COLD_USER,  /* fewer than 2 earlier orders or lists */
    REPORT_COLD_ITEM,  /* fewer than 4 earlier positives */
    REPORT_FIRST_TIME, /* the user never had the item ... */
    REPORT_REPEATED,   /* ... and pairs where she did */
    REPORT_YOUNG_ITEM, /* 14 days old at most */
    REPORT_IMPRESSION, /* recorded lists */
    REPORT_ORGANIC,    /* orders with sampled negatives */
    REPORT_SLICES
};
extern const char *const report_slice_names[REPORT_SLICES];
struct report_ranked { /* at the report's cuts */
    double ndcg[REPORT_K_MAX], recall[REPORT_K_MAX];
    uint64_t slates;
};
struct report_interval { /* of 95 %, clustered by user; NaN where undefined, written as null */
    double mean, lower, upper;
};
struct report_group { /* items of one age or popularity; an empty name ends the list */
    char name[32];
    uint64_t candidates, positives, top;
    double predicted; /* summed probabilities */
};
#define REPORT_COHORTS 32
struct report_cohort { /* recorded lists shown in [from, to), their window over: items shown, taken, converted */
    int64_t from_ms, to_ms;
    uint64_t lists, shown, taken, converted, converted_lists;
};
void report_cohort_add(struct report_cohort *into, const struct report_cohort *from); /* counts alone */
struct report_point {            /* a span of the curve, by the time of showing */
    struct report_cohort cohort; /* its times, too */
    struct report_figures model;
    double baselines[REPORT_BASELINES]; /* gauc */
};
struct report_reliability {                /* examples of like prediction */
    double predicted, observed, low, high; /* means; low and high: of observed (Wilson 1927) */
    uint64_t examples;
};
struct report_segment {
    char column[64], value[64];
    struct report_figures figures;
};
struct report_skew { /* of two logits of the same items: p50, p99, most are of the absolute difference */
    uint64_t items;
    double mean, deviation, p50, p99, most;
};
struct report_served { /* lists as they were served, the learner on the same items, and its logit less the served one */
    uint64_t lists;
    struct report_figures figures, learner;
    struct report_skew skew;
};
#define REPORT_VARIANTS_MAX 8
#define REPORT_LOGGED_VERSIONS 16
struct report_logged { /* what the log of answers says of lists that came back (trainer/eval_logged.h) */
    uint64_t answers, joined, unmatched;
    struct report_served all, lines[REPORT_VARIANTS_MAX], versions[REPORT_LOGGED_VERSIONS];
    char line_names[REPORT_VARIANTS_MAX][33];
    uint64_t version_numbers[REPORT_LOGGED_VERSIONS]; /* the newest ones, ascending */
    uint32_t n_lines, n_versions;
    /* Lists made again at the request's time; their items, and those whose features are equal. */
    uint64_t checked, items, equal;
    struct report_skew same; /* the version that answered, scored by the learner, less the served one */
};
/* What only a report at the end shows.  About 180 KiB: on the heap. */
struct report_detail {
    uint32_t n_k, k[REPORT_K_MAX];
    struct report_ranked model_ranked, ranked[REPORT_BASELINES];
    uint32_t replicates; /* of the bootstrap behind the intervals */
    struct report_interval gauc, logloss;
    struct report_interval gauc_over[REPORT_BASELINES],
        logloss_under[REPORT_BASELINES];                /* model - baseline; baseline - model */
    struct report_interval part_gauc[REPORT_PARTS_MAX]; /* model - model without the part */
    double calibration_error;                           /* mean of |predicted - observed| over the bins, by examples */
    struct report_reliability reliability[REPORT_RELIABILITY];
    uint32_t n_reliability;
    int64_t window_ms, half_life_ms;
    uint32_t window_counts[REPORT_WINDOWS];
    struct report_figures windows[REPORT_WINDOWS], decayed;
    struct report_point curve[REPORT_CURVE_MAX];
    uint32_t n_curve;
    uint64_t lists;                                 /* that have a top: see trainer/eval_lists.h */
    double list_items, list_top;                    /* different ones among candidates, at the top */
    double vectors_diversity, categories_diversity; /* at the top; NaN: unknown */
    struct report_group ages[REPORT_AGES], deciles[REPORT_DECILES];
    uint32_t n_deciles;
    struct report_ranked unsampled, unsampled_popularity; /* among all active items */
    double unsampled_items;                               /* mean number of them */
    struct report_served served;                          /* of the scores that lists echo */
    struct report_logged logged;                          /* of the log of answers */
    struct report_segment segments[REPORT_SEGMENTS_MAX];  /* values of a column follow each other */
    uint32_t n_segments;
};
struct report_part {
    char name[32];
    double gauc_without, auc_without, logloss_without;
    double score_us, learn_us,
        cost_share; /* a candidate, an example; share of all parts: timed, so never twice the same */
};
struct report_task { /* a behaviour type of train.tasks: its own probability, over all that recorded lists showed */
    char name[64];
    struct report_figures figures;
};
struct report_protocol { /* what the logits behind the figures are */
    double softmax_share;
    bool sampling_correction, recalibration;
};
struct report_bucket { /* self-check of the sampler: share of positives by item age and popularity decile */
    char name[32];
    uint64_t examples, positives;
};
#define REPORT_GUARDS 6 /* groups of monitors: labels, volume, scores, schema, rejects, loss */
struct report_guard {   /* what the circuit breaker and the caps did */
    bool paused;        /* at the end */
    uint64_t alarms, alarms_of[REPORT_GUARDS], pauses, accepted, out; /* out: monitors that are away from their level */
    uint64_t paused_ms, paused_slates, paused_examples; /* event time; settled, evaluated and not learnt */
    uint64_t capped[3];                                 /* examples not learnt: user, item, source */
    uint64_t quarantines, quarantined, quarantined_events,
        quarantined_examples; /* quarantined: sources at the moment */
    uint64_t spikes, spike_examples, restarts;
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
/* A variant less the one in charge, on the same slates, as both predicted them when they opened. */
struct report_paired {
    uint64_t slates;
    struct report_interval logloss, gauc;
};
struct report_ope { /* off-policy estimates of the line's own drawn lists (trainer/ope.h) */
    uint64_t lists, partial;
    double effective; /* number of lists that weigh as much */
    struct report_interval logged, ips, snips, dr;
};
struct report_variant {
    char name[33], sha256[HASH_SHA256_HEX];
    bool in_charge, shadow;
    double share; /* of the users, as configured */
    uint64_t learnt_examples;
    double score_core_s, learn_core_s; /* processor seconds of this run that went into its scores, and into the steps behind its
                                          parameters: for one that follows (train.follow_ms) those of the first line */
    struct report_figures progressive;
    struct report_paired paired; /* not of the one in charge */
    struct report_ope ope;
};
struct report_arm { /* what users did with the lists that one variant served */
    char name[33];
    double share;
    uint64_t lists, users; /* users: of the sample */
    struct report_cohort cohorts[REPORT_COHORTS];
    uint32_t n_cohorts;
    struct report_interval ctr, conversion, ctr_difference, conversion_difference; /* against the one in charge */
};
struct report_arms {
    struct report_arm arms[REPORT_VARIANTS_MAX];
    uint32_t n;
    uint64_t sampled_users, moved;
    double sample_frac, chi_square, ratio_p; /* sample-ratio check; NaN: no two arms with a share */
    bool ratio_alarm;
};
struct report_join { /* what became of behaviours and recorded lists (ingest/join.h) */
    uint64_t matched, duplicate, expired, early_settled;
};
struct report_reservoir { /* slates that are learnt again (trainer/reservoir.h) */
    uint64_t offered, held, bytes, replayed;
};
struct report_hashed { /* weights of part hashed, and those that a feature has touched; 0, 0 without the part */
    uint64_t rows, used;
};
struct report {
    int64_t from_ms, to_ms; /* event time: of the first event, and how far it has come; INT64_MIN: no event yet */
    uint64_t events, rejected, skipped, examples, slates, open, duplicates, late, unmatched, refused_jumps;
    struct report_join join;
    struct report_reservoir reservoir;
    struct report_hashed hashed;
    uint64_t tokens, unknown_tokens;
    struct {
        char code[48];
        uint64_t n;
    } rejects[REPORT_REJECTS_MAX];
    uint32_t n_rejects;
    double seconds, examples_per_second, peak_rss_bytes;
    double score_core_s, learn_core_s; /* of the default line, as for a variant */
    double learn_s;                    /* its steps by the clock on the wall: forward, backward, optimiser */
    struct report_figures progressive, baselines[REPORT_BASELINES], slices[REPORT_SLICES];
    struct report_part parts[REPORT_PARTS_MAX];
    uint32_t n_parts;
    struct report_task tasks[REPORT_TASKS_MAX];
    uint32_t n_tasks;
    struct report_protocol protocol;
    struct report_bucket by_age[8], by_popularity[10];
    struct report_gate gate;
    struct report_guard guard;
    uint64_t version;
    char sha256[HASH_SHA256_HEX];
    char backend[64];
    struct report_variant variants[REPORT_VARIANTS_MAX];
    uint32_t n_variants; /* 0: no challengers */
    struct report_arms arms;
    struct report_ope ope;                     /* of the default line */
    const struct report_partition *partitions; /* borrowed */
    size_t n_partitions;
    const struct report_detail *detail; /* borrowed; NULL: not written */
};
void report_write_json(struct buf *b, const struct report *r); /* pretty, key order as in DESIGN, newline at the end */
#endif

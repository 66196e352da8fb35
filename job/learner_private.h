/* learner_private.h - the learner's insides, shared by learner*.c alone. */
#ifndef JOB_LEARNER_PRIVATE_H
#define JOB_LEARNER_PRIVATE_H
#include "ingest/reject_places.h"
#include "job/learner.h"

struct learner {
    const struct conf *conf;
    struct learner_options options;
    struct feat *feat;
    struct world *world;
    struct dedupe *dedupe;
    struct watermark *watermark;
    struct order *order;
    struct join *join;
    struct open_slates *open;
    struct model *model;
    struct state_cache *states;
    struct param_set *params;
    struct optim *optim;
    struct model_run *run;
    struct pool *pool; /* shares the run's products */
    struct eval *eval;
    struct slate *slate; /* scratch: the one being filled, or taken from the open ones */
    struct event *lines; /* scratch: a compound's, with what a shown list claims marked */
    size_t cap_lines;
    struct open_predictions predictions; /* scratch for cap_items candidates */
    size_t cap_items;
    struct slate **pending; /* train.batch_slates of them: settled, not yet learnt (part of the state) */
    uint32_t n_pending;
    double *losses;      /* of the slates of a step */
    uint64_t next_slate; /* id of the next slate, from 1 */
    int64_t first_ms, settled_ms;
    struct source_offset file;     /* a replay's */
    struct source_offset *offsets; /* Kafka's */
    size_t n_offsets, cap_offsets;
    struct learner_counts counts;
    struct reject_tally tally;
    struct reject_places retried; /* dead letters that were accepted when they were tried again */
    learner_seen_fn *seen;
    void *seen_user;
    learner_refused_fn *refused;
    void *refused_user;
};

/* Learns the pending slates as one batch, full or not: one optimiser step. */
enum status learner_step(struct learner *l, struct err *e) MUST_CHECK;
#endif

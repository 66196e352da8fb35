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
    struct line *line;
    struct slate *slate; /* scratch: the one being filled, or taken from the open ones */
    struct event *lines; /* scratch: a compound's, with what a shown list claims marked */
    size_t cap_lines;
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
#endif

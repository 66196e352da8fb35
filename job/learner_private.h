/* learner_private.h - the learner's insides, shared by learner*.c alone. */
#ifndef JOB_LEARNER_PRIVATE_H
#define JOB_LEARNER_PRIVATE_H
#include "ingest/reject_places.h"
#include "job/learner.h"
#include "job/verdict.h"
#include "job/variants.h"
#include "job/segment.h"

/* Where the stream stood when a snapshot was taken. */
struct learner_place {
    struct source_offset *o; /* (n) */
    size_t n, cap;
};
struct learner_verdicts { /* learner_gate.c's */
    struct verdict_log log;
    struct learner_place blessed, candidate;
    uint64_t pinned;  /* version that stays published; 0: none */
    uint64_t version; /* the newest one */
    const char *due;  /* reason for a checkpoint at once; NULL: none */
    bool refusing;    /* the newest version was refused */
    bool has_gate;    /* the state that was loaded has one */
};
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
    struct segment *segment;
    struct line *line;
    struct variants *variants; /* the lines beside it */
    struct conf *world_conf;   /* what features are made by: all parts that any line has */
    struct slate *slate;       /* scratch: the one being filled, or taken from the open ones */
    struct event *lines;       /* scratch: a compound's, with what a shown list claims marked */
    size_t cap_lines;
    uint64_t next_slate; /* id of the next slate, from 1 */
    int64_t first_ms, settled_ms;
    struct source_offset file;     /* a replay's */
    struct source_offset *offsets; /* Kafka's */
    size_t n_offsets, cap_offsets;
    struct learner_counts counts;
    struct reject_tally tally;
    struct reject_places retried; /* dead letters that were accepted when they were tried again */
    struct learner_verdicts said;
    learner_seen_fn *seen;
    void *seen_user;
    learner_settled_fn *settled; /* NULL: they are evaluated and learnt */
    void *settled_user;
    learner_refused_fn *refused;
    void *refused_user;
};

/* learner_gate.c.  Judges a settled slate before it is learnt. */
enum status learner_judge(struct learner *l, const struct slate *s, const struct open_predictions *p,
                          struct err *e) MUST_CHECK;
/* Between two records: snapshots that are due. */
enum status learner_settle_gate(struct learner *l, struct err *e) MUST_CHECK;
void learner_gate_fini(struct learner *l);
void learner_gate_encode(struct buf *b, const struct learner *l);
enum status learner_gate_decode(struct learner *l, struct buf_reader *r, struct err *e) MUST_CHECK;
#endif

/* learner_private.h - the learner's insides, shared by learner*.c alone. */
#ifndef JOB_LEARNER_PRIVATE_H
#define JOB_LEARNER_PRIVATE_H
#include "ingest/reject_places.h"
#include "job/answers.h"
#include "job/learner.h"
#include "job/segment.h"
#include "job/variants.h"
#include "job/verdict.h"
#include "trainer/eval_logged.h"
#include "trainer/guard.h"

/* Where the stream stood when a snapshot was taken, or the line last went back to it. */
struct learner_place {
    struct source_offset *o; /* (n) */
    size_t n, cap;
};
struct learner_verdicts { /* learner_gate.c's */
    struct verdict_log log;
    struct learner_place blessed, candidate;
    struct command_answer answers[LEARNER_ANSWERS]; /* newest last */
    uint32_t n_answers;
    uint64_t pinned;  /* version that stays published; 0: none */
    uint64_t version; /* the newest one */
    const char *due;  /* reason for a checkpoint at once; NULL: none */
    bool refusing;    /* the newest version was refused */
    bool has_gate;    /* the state that was loaded has one */
};
#define LEARNER_KEPT 2  /* versions of a line that stay to be compared with what scorers say */
struct learner_served { /* learner_served.c's: what the log of answers says */
    struct eval_logged figures;
    /* Entries of the stream: where a process that begins reads on; the newest ever taken, and by this process. */
    struct served_id from, newest, read;
    struct answers *answers; /* NULL: the log is not read */
    struct slate *again;     /* scratch */
    struct param_set *kept[CONF_LINES_MAX][LEARNER_KEPT]; /* newest first */
    struct model_run *runs[CONF_LINES_MAX];               /* made when they are first needed */
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
    struct unsampled *unsampled; /* learner_unsampled.c's scratch; NULL: not needed yet */
    struct line *line;
    struct guard *guard;
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
    struct learner_served served;
    learner_seen_fn *seen;
    void *seen_user;
    learner_settled_fn *settled; /* NULL: they are evaluated and learnt */
    void *settled_user;
    learner_refused_fn *refused;
    void *refused_user;
    learner_going_fn *going; /* NULL: nobody wants to know */
    void *going_user;
};

/* learner_unsampled.c.  Ranks the scratch slate, just filled, among all active items if it is one of eval.unsampled_frac: into
 * its `ranks`.  o: lines or context; at_most is set here. */
enum status learner_check_unsampled(struct learner *l, struct world_unsampled o, struct err *e) MUST_CHECK;
void learner_unsampled_free(struct learner *l);
/* learner_gate.c.  Judges a settled slate before it is learnt. */
enum status learner_judge(struct learner *l, const struct slate *s, const struct open_predictions *p,
                          struct err *e) MUST_CHECK;
/* Between two records: snapshots that are due. */
enum status learner_settle_gate(struct learner *l, struct err *e) MUST_CHECK;
void learner_gate_fini(struct learner *l);
void learner_gate_encode(struct buf *b, const struct learner *l);
enum status learner_gate_decode(struct learner *l, struct buf_reader *r, struct err *e) MUST_CHECK;
/* learner_served.c.  The scratch slate was opened by ev; s is settled, p as it was predicted, its figures wanted where counted. */
enum status learner_served_opened(struct learner *l, const struct event *ev, struct err *e) MUST_CHECK;
enum status learner_served_settled(struct learner *l, const struct slate *s, const struct open_predictions *p,
                                   bool counted, struct err *e) MUST_CHECK;
void learner_served_fini(struct learner *l);
void learner_served_encode(struct buf *b, const struct learner *l);
enum status learner_served_decode(struct learner *l, struct buf_reader *r, struct err *e) MUST_CHECK;
/* ---- learner_delay.c: each may take the scratch slate into the batch, and another takes its place ---- */

/* The scratch slate is of an order: labels and weights are there, and nothing was learnt of it. */
enum status learner_learn_whole(struct learner *l, struct err *e) MUST_CHECK;
/* The scratch slate was opened, with p predicted of it (loss fnw). */
enum status learner_learn_opened(struct learner *l, const struct open_predictions *p, struct err *e) MUST_CHECK;
/* join.wait_ms has passed (loss importance). */
enum status learner_learn_waited(struct learner *l, const struct join_settled *done, struct err *e) MUST_CHECK;
/* The joiner's last mark, of a list that was learnt from already; when_ms: the event's time. */
enum status learner_learn_mark(struct learner *l, int64_t when_ms, struct err *e) MUST_CHECK;
/* The scratch slate is settled: done->n_seen items of done->n, p the predictions of these. */
enum status learner_learn_ended(struct learner *l, const struct join_settled *done, const struct open_predictions *p,
                                struct err *e) MUST_CHECK;
/* Labels and weights of s, which has at most done->n items. */
void learner_label(struct slate *s, const struct join_settled *done);
/* Counts a refusal and tells of it. */
enum status learner_reject(struct learner *l, const struct source_record *rec, const char *stage,
                           struct err *e) MUST_CHECK;
/* learner_guard.c.  event: an event that is about to be taken; *refused: its source is in quarantine, and it went to the dead
 * letters.  admits: l->slate, settled and evaluated, may be learnt, but for the items that it clears in keep (K).  say: what there
 * is to say, to the log. */
enum status learner_guard_event(struct learner *l, const struct source_record *rec, bool *refused,
                                struct err *e) MUST_CHECK;
bool learner_guard_admits(struct learner *l, uint8_t *keep);
bool learner_guard_admits_copy(struct learner *l, uint8_t *keep); /* guard_admits_copy */
void learner_guard_scored(struct learner *l); /* l->slate was scored */
/* l->slate is settled, p what was predicted of it. */
enum status learner_guard_settled(struct learner *l, const struct open_predictions *p, struct err *e) MUST_CHECK;
void learner_guard_say(struct learner *l);
#endif

/* line_gate.h - the gate of a line: who judges it, what it goes back to, and when it rests.
 *
 *   blessed    the version that the line is measured against; it scores a seeded share of the slates (gate.share; all of them
 *              while there is suspicion) when they are settled, before anything is learnt from them, with the features
 *              that they were opened with
 *   candidate  the line as it was some time ago; it becomes blessed once what the line did since is shown to be no worse
 *              (trainer/gate.h), after gate.bless_slates judged slates and gate.bless_ms of event time.  What happened in the
 *              last moments before is thus never blessed with it
 *   rollback   when the line is worse: weights, moments, accumulators and running sums are the blessed ones again, the batch
 *              under way and the candidate are dropped, and the line rests: for gate.cooldown_ms of event time slates are
 *              evaluated but not learnt, twice as long when it was rolled back again before anything new was blessed
 *   hold-out   users by hash (gate.holdout_frac) whose labels never train parameters; counters and histories know them
 *
 * All of it follows from the stream alone, and is part of the state.  Thread: the learner's.
 */
#ifndef JOB_LINE_GATE_H
#define JOB_LINE_GATE_H
#include "base/store.h"
#include "job/open.h"
#include "model/model.h"
#include "schemas/report.h"
#include "trainer/gate_snapshot.h"
#include "trainer/gate_tally.h"

struct line;
struct line_mark {                               /* where in the stream a snapshot was taken */
    uint64_t version;                            /* the checkpoint that holds just this; 0: none */
    uint64_t slates, examples, steps, rollbacks; /* learnt by then */
    int64_t time_ms;                             /* event time that had settled the newest slate */
};
struct line_gate_counts {
    uint64_t judged, alarms, rollbacks, blessings, refused;
    uint64_t rested, held_out; /* slates that were not learnt */
};
#define LINE_PROBES 8
enum line_verdict { LINE_GOES_ON, LINE_MARKED, LINE_BLESSED, LINE_ROLLED_BACK };
struct line_gate { /* read from outside, changed by line_gate*.c alone */
    const struct conf *conf;
    struct gate_judge judge;
    struct gate_snapshot *blessed, *candidate;
    struct line_mark blessed_mark, candidate_mark;
    struct model_run *shadow;
    float *logits, *labels, *before; /* (cap) scratch: the blessed version's, the slate's; of a probe, the blessed version's */
    size_t cap;
    uint64_t judge_from;   /* slates that were opened before this one say nothing */
    int64_t now_ms;        /* event time that settled the newest slate; INT64_MIN: none yet */
    int64_t rest_until_ms; /* event time; INT64_MIN: it does not rest */
    uint32_t again;        /* rollbacks since the last blessing */
    bool want_bless, want_mark;
    struct gate_tally held_out, taught; /* figures of the line on both kinds of users */
    struct line_gate_counts counts;
    struct slate *probe[LINE_PROBES]; /* copies of slates judged lately, for line_gate_check; not part of the state */
    uint32_t n_probes, next_probe;
    struct buf pack;
};
/* c: borrowed.  *out NULL and OK when gate.share is 0 and nobody is held out. */
enum status line_gate_new(struct line_gate **out, const struct conf *c, struct line *l, struct err *e) MUST_CHECK;
void line_gate_free(struct line_gate *g);
/* A slate is settled: p is what the line predicted when it opened, next_slate the id that the next one to open will have.
 * *verdict: GOES_ON or ROLLED_BACK, which is done then. */
enum status line_gate_judge(struct line *l, const struct slate *s, const struct open_predictions *p,
                            uint64_t next_slate, enum line_verdict *verdict, struct err *e) MUST_CHECK;
/* Between two records: takes the snapshot that is due.  *verdict: GOES_ON, MARKED (a first blessed or a new candidate) or
 * BLESSED (the candidate is; a new one was taken). */
enum status line_gate_settle(struct line *l, uint64_t next_slate, enum line_verdict *verdict, struct err *e) MUST_CHECK;
/* May the line learn from it?  False while it rests, and of users that are held out; counted. */
bool line_gate_would_let(const struct line_gate *g, const struct slate *s); /* the same, uncounted */
bool line_gate_lets(struct line_gate *g, const struct slate *s);
bool line_gate_rests(const struct line_gate *g);
bool line_gate_holds_out(const struct line_gate *g, const struct slate *s); /* its user's labels teach nothing */
/* What the blessed version gives the candidates of a slate that is about to be learnt: slate_item.taught; 0 where nothing is
 * blessed yet. */
enum status line_gate_teach(struct line *l, struct slate *s, struct err *e) MUST_CHECK;
/* What the blessed version gives a slate, if it is older than since_ms (as line_gate_undo): *logits (K), until the next call that
 * judges; NULL: it is not. */
enum status line_gate_sound(struct line *l, const struct slate *s, int64_t since_ms, const float **logits,
                            struct err *e) MUST_CHECK;
/* Is the line as it is fit to be served?  why is "" or says what is wrong: a number that is not finite, a probe list (the newest
 * ones judged; none is known at first, and after a start) whose scores are not finite, beyond LINE_LOGIT_MAX, or all the same where
 * the blessed version tells its items apart, or scores of all of them further from the blessed version's than gate.max_drift.  How
 * far parameters are apart says nothing: what a small model lacks when it is first blessed it comes to many times over. */
#define LINE_WHY 200
#define LINE_LOGIT_MAX 50.0
enum status line_gate_check(struct line *l, char why[LINE_WHY], struct err *e) MUST_CHECK;
/* By order: back to the blessed version (NOT_FOUND: there is none), or the line as it is becomes the blessed one. */
enum status line_gate_rollback(struct line *l, uint64_t next_slate, struct err *e) MUST_CHECK;
enum status line_gate_bless(struct line *l, uint64_t next_slate, struct err *e) MUST_CHECK;
/* What was learnt since then (event time, as labels settled) goes: back to the candidate, or else the blessed version, whichever
 * is the newest that is older.  It does not rest: whoever asks for it keeps what comes from being learnt.  NOT_FOUND: neither is. */
enum status line_gate_undo(struct line *l, int64_t since_ms, uint64_t next_slate, bool *candidate,
                           struct err *e) MUST_CHECK;
/* Other weights were put into the line by order: they are the blessed ones, the batch under way is dropped, it rests. */
enum status line_gate_adopt(struct line *l, uint64_t next_slate, struct err *e) MUST_CHECK;
/* The line as it stands is durable as `version`: snapshots that are the same have this number. */
void line_gate_numbered(struct line *l, uint64_t version);
void line_gate_report(const struct line_gate *g, struct report_gate *out);

void line_gate_encode(struct buf *b, const struct line_gate *g);
enum status line_gate_decode(struct line_gate *g, struct buf_reader *r, struct err *e) MUST_CHECK;
/* Both snapshots; load after the line's own parameters.  name: the variant's; NULL: the default line.  forget: one that is gone. */
enum status line_gate_save(const struct line *l, const char *name, struct store_txn *t, struct err *e) MUST_CHECK;
void line_gate_saved(struct line *l);
enum status line_gate_load(struct line *l, const char *name, struct store_txn *t, struct err *e) MUST_CHECK;
enum status line_gate_forget(const char *name, struct store_txn *t, struct err *e) MUST_CHECK;
#endif

/* line.h - what learns: one model with its parameters, optimiser, evaluator and the batch under way.
 *
 * The world (histories, catalogue, counters, open slates) is shared and belongs to the learner; a line sees only slates: it
 * scores them when they open, and evaluates and learns them when they are settled.  Fields are read from outside and
 * changed by line.c alone.  Thread: the learner's.
 */
#ifndef JOB_LINE_H
#define JOB_LINE_H
#include "base/pool.h"
#include "job/line_gate.h"
#include "job/line_ranks.h"
#include "job/open.h"
#include "model/model.h"
#include "trainer/eval.h"
#include "trainer/loss_delay.h"
#include "trainer/ope.h"
#include "trainer/optim.h"
#include "trainer/reservoir.h"
#include "trainer/spike.h"

struct line_counts {
    uint64_t learnt_slates, learnt_examples, steps;
};
struct line {
    const struct conf *conf;
    bool learn;
    struct model *model;
    struct state_cache *states;  /* NULL when no part wants states */
    bool owns_states, owns_pool; /* else another line's */
    struct param_set *params;
    struct optim *optim;
    struct model_run *run;
    struct pool *pool; /* shares the run's products */
    struct eval *eval;
    struct ope *ope;             /* off-policy estimates from lists that were drawn */
    struct line_gate *gate;      /* NULL: none is configured */
    struct line_ranks *ranks;    /* NULL: it learns alone */
    struct reservoir *reservoir; /* NULL: none is configured (part of the state) */
    struct loss_delay delay;     /* weights of what is learnt before it is settled (part of the state) */
    struct slate **pending;      /* train.batch_slates of them: settled, not yet learnt (part of the state) */
    uint32_t n_pending;
    int64_t now_ms, waits_since_ms;      /* event time; when the first of the pending joined (part of the state) */
    double *losses;                      /* of the slates of a batch; NaN: not learnt */
    struct open_predictions predictions; /* scratch for cap_items candidates: what line_score said last */
    size_t cap_items;
    struct line_counts counts;
    double score_core_s, learn_core_s; /* processor seconds since the start: for figures, not part of the state */
    double learn_s;                    /* by the clock on the wall */
    struct spike spike; /* batches whose loss was beyond all bounds were not learnt (part of the state) */
};
/* conf and enc (NULL when no part needs it) are borrowed.  n_numeric: features of a candidate.  learn false: line_settle only
 * evaluates. */
enum status line_new(struct line **out, const struct conf *c, const struct encoder *enc, uint32_t n_numeric, bool learn,
                     struct eval_warmup warmup, struct err *e) MUST_CHECK;
/* The same beside others, which outlive it: it uses the frozen states of one where they fit, and the first one's workers. */
struct line_shared {
    const struct line *first;   /* NULL: there is none */
    struct line *const *others; /* (n_others) */
    size_t n_others;
};
enum status line_new_beside(struct line **out, const struct conf *c, const struct encoder *enc, uint32_t n_numeric,
                            bool learn, struct eval_warmup warmup, const struct line_shared *shared,
                            struct err *e) MUST_CHECK;
void line_free(struct line *l);
struct gate_line line_whole(const struct line *l); /* what a snapshot of it takes and puts back */
/* Into l->predictions, which stay until the next call.  whole: part logits are looked at even where nothing was learnt. */
enum status line_score(struct line *l, const struct slate *s, bool whole, struct err *e) MUST_CHECK;
/* The same without the frozen baseline, which another line has made of the same slate. */
enum status line_score_beside(struct line *l, const struct slate *s, struct err *e) MUST_CHECK;
void line_report(const struct line *l, struct report *out);          /* the evaluator's figures, and what they are of */
void line_figures(const struct line *l, struct report_figures *out); /* of all that it has evaluated */
/* The slate has its labels and all that was shown, with what nobody looked at (join.cascade); logits (K) as predicted when it opened:
 * off-policy estimates.  Before line_evaluate. */
void line_estimate(struct line *l, const struct slate *s, const float *logits, int64_t first_ms);
/* The slate has its labels; p is what was predicted when it opened: evaluate. */
enum status line_evaluate(struct line *l, const struct slate *s, const struct open_predictions *p, int64_t first_ms,
                          struct err *e) MUST_CHECK;
/* The slate joins the batch, and a used one takes its place in *s; a full batch is learnt.  Nothing is done with one that
 * the gate does not let the line learn from. */
enum status line_learn(struct line *l, struct slate **s, struct err *e) MUST_CHECK;
/* Event time has come so far, before anything else is done at it: a batch whose first slate has waited for
 * train.batch_wait_ms is learnt, full or not. */
enum status line_advance(struct line *l, int64_t now_ms, struct err *e) MUST_CHECK;
/* Of a slate with labels and weights the items with keep (K).  shown: what was predicted when it was shown, this line's own.
 * EARLY: copies that are learnt before the slate is settled; AGAIN: of an item that a behaviour has marked since; both are weighed
 * as the line's delays say, by the logit of the showing.  ENDED: it was learnt early, and is now by the parts that count.
 * *learnt: they joined the batch (and *s was taken), or none was kept; false: the gate does not let the line learn. */
struct line_copies {
    enum slate_copy copy;
    const struct open_predictions *shown;
    const uint8_t *keep;
};
/* z (K): what intercepts and the parts that learn early (SLATE_EARLY) said of each candidate, of the line's own predictions. */
void line_early_logits(const struct line *l, const struct open_predictions *p, size_t K, float *z);
enum status line_learn_copies(struct line *l, struct slate **s, const struct line_copies *c, bool *learnt,
                              struct err *e) MUST_CHECK;
void line_let_learn(struct line *l); /* from now on, where it was made to evaluate only */
/* Learns the pending slates as one batch, full or not: one optimiser step, or several (train.step_slates).  A slate whose numbers are
 * not finite is skipped (nothing of it was added), a step whose loss is a spike (guard.loss_spike) or whose gradients are not finite
 * whole. */
enum status line_step(struct line *l, struct err *e) MUST_CHECK;
/* line_replay.c, for line.c.  replay: an old slate may join the batch, which has room.  hold: the first n of the batch were just
 * learnt.  teach: says what the blessed version makes of the batch (train.distill). */
enum status line_replay(struct line *l, struct err *e) MUST_CHECK;
enum status line_hold_learnt(struct line *l, uint32_t n, struct err *e) MUST_CHECK;
enum status line_teach(struct line *l, struct err *e) MUST_CHECK;
/* The batch under way, for the state; CORRUPT: more of it than a batch holds.  How long it has waited is in it where
 * train.batch_wait_ms asks for it. */
void line_batch_encode(struct buf *b, const struct line *l);
enum status line_batch_decode(struct line *l, struct buf_reader *r, struct err *e) MUST_CHECK;
#endif

/* model.h - the model as trainer and scorer see it: a sum of parts over a slate.
 *
 * struct model is the architecture (immutable after model_new: base encoder, parts, parameter table).  struct model_run
 * is one thread's hands: kernels, tape, scratch, gradients.  Parameters come from outside (struct param_set), so that a
 * scorer can swap versions and a learner owns its own.  Without a recording tape the same code serves.
 *
 *   logit = bias + sum of parts: text, match, numeric, cooccur, hashed, idvec, itembias, deep   (MODEL.md; interface: model/part.h)
 *
 * what is handed out is that sum after sampling correction and recalibration (model/recal.h).
 *
 * bias: two intercepts, for recorded impressions and for organic slates; a request takes the impressions' if any
 * impression was ever learnt from, else the organic one.  It is no part: it is never left out.
 */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H
#include "base/buf.h"
#include "base/rand.h"
#include "base/status.h"
#include "model/encoder.h"
#include "model/op.h"
#include "model/param.h"
#include "model/state.h"
#include "schemas/conf.h"
#include "schemas/slate.h"

#define MODEL_PARTS_MAX 8
#define MODEL_ROWS_MAX (MODEL_PARTS_MAX + CONF_TASKS_MAX)

struct model;
/* c: read during the call only.  enc: borrowed for the life of the model; may be NULL when neither text nor match is
 * among model.parts.  n_numeric: F, numeric features per candidate (0 only without part numeric).
 * INVALID: more trainable layers than the encoder has, a part that lacks what it needs (encoder, features). */
enum status model_new(struct model **out, const struct conf *c, const struct encoder *enc, uint32_t n_numeric,
                      struct err *e) MUST_CHECK;
void model_free(struct model *m);
const struct param_table *model_table(const struct model *m);
size_t model_n_parts(const struct model *m); /* always in the order given above */
const char *model_part_name(const struct model *m, size_t i);
/* The precision (F,F) of numeric's weights in p, by the Laplace approximation (train.numeric_order=2): weights drawn from a
 * normal with it as their inverse covariance are what exploration tries.  In p's order of features, for standardised ones;
 * zero before anything was learnt.  NULL: the model has none. */
const float *model_precision(const struct model *m, const struct param_set *p, size_t *n);
bool model_part_counts(const struct model *m, size_t i); /* what it reads are counts (SLATE_ENDED) */
size_t model_n_tasks(const struct model *m);             /* train.tasks, in its order (model/tasks.h) */
const char *model_task_name(const struct model *m, size_t i);
size_t model_n_rows(const struct model *m); /* of part_logits: parts, then tasks */
/* out (K): what weights of part numeric that are drawn from that precision add to each candidate's logit, with mean 0.  INVALID:
 * there is none; CORRUPT: it is not positive definite; OOM. */
enum status model_draw(const struct model *m, const struct param_set *p, const struct slate *s, struct rand *r,
                       double *out, struct err *e) MUST_CHECK;
/* L - K, where frozen states are taken; L without text, 0 without encoder. */
size_t model_frozen_layers(const struct model *m);
bool model_wants_states(const struct model *m);    /* text (not concat) or match: needs a state cache */
bool model_wants_all_states(const struct model *m); /* of all candidates, however few text sees (joint_top) */
bool model_wants_tokens(const struct model *m);    /* token states after that layer are needed (`tokens` view) */
bool model_states_alike(const struct model *a, const struct model *b); /* one's state cache serves the other */
uint64_t model_fingerprint(const struct model *m); /* base weights, parts, views, shapes: versions must agree on it */
/* Initial values: pretrained layers, seeded small normals (RAND_INIT), zero heads.  p: as param_set_new made it. */
enum status model_init_params(const struct model *m, uint64_t seed, struct param_set *p, struct err *e) MUST_CHECK;
/* The encoder layers that are learnt, as p (borrowed) has them: what an exported folder replaces.  Writes at most max,
 * returns how many there are. */
size_t model_replaced_layers(const struct model *m, const struct param_set *p, struct encoder_replaced *out,
                             size_t max);

/* What learning left behind, for the optimiser: gradients ADDED to dense (groups ADAMW and ADAGRAD: the first
 * table.group_first[PARAM_STAT] floats of the block), and the touched sparse rows.  All are sums over examples. */
struct model_rows {       /* of one sparse tensor */
    const uint32_t *rows; /* distinct touched ones, in order of first touch */
    const float *grads;   /* (n, width of the tensor) */
    size_t n;
};
enum model_pace { MODEL_WHOLE, MODEL_QUICK, MODEL_SLOW };
struct model_grads {
    enum model_pace
        pace;     /* which tensors it is about: all, those that are not slow (struct param), or the slow ones alone */
    float *dense; /* group_first[PARAM_STAT] floats, backend memory */
    float *w;     /* the run's copy of the bound parameters in backend memory; NULL: it reads the host's */
    struct model_rows *sparse; /* one a sparse tensor, in table order (param_sparse) */
    size_t n_sparse;
    /* By place in the table: nothing was learnt of the tensor, whose gradient is 0 (SLATE_EARLY, SLATE_ENDED); NULL: none is so. */
    bool *idle;
    uint64_t *tensor_ns; /* by place in the table: time spent on each is added; NULL: nobody asks */
    /* Matrices that the run keeps packed: each lies in the block of parameters that is bound, within one tensor. */
    struct op_matrix *const *matrices;
    size_t n_matrices;
    /* Where told is set, the sum of squares of group ADAMW in dense, and what it has of group ADAGRAD, in the host's memory. */
    bool told;
    float squares, *adagrad;
};
/* Whether tensors that are slow, or those that are not, are among what g is about. */
bool model_at_pace(const struct model_grads *g, bool slow);
struct model_run;
/* states: shared cache (mid = model_frozen_layers), may be NULL when !model_wants_states.  learn: gradients too. */
enum status model_run_new(struct model_run **out, const struct model *m, struct state_cache *states, bool learn,
                          struct err *e) MUST_CHECK;
void model_run_free(struct model_run *r);
/* Uses p from now on (borrowed until the next bind); re-packs what changed since p->generation was last seen.  Later
 * changes of p in place (param_touch) are noticed by themselves at the next call. */
enum status model_bind(struct model_run *r, const struct param_set *p, struct err *e) MUST_CHECK;
/* p is what is bound, and was changed by nobody but an optimiser that made every one of the run's matrices new in both its
 * forms (kern_ops.adamw_matrix): nothing is packed again. */
enum status model_stepped(struct model_run *r, const struct param_set *p, struct err *e) MUST_CHECK;
/* logits (K) and, when not NULL, part_logits (model_n_rows, K) row-major: what each part adds, then the logit of each
 * task's probability.  A candidate's logit is that of the label its slate will
 * get: s, what is served, where nothing was sampled; s - log_kq (about its mean) in an organic slate whose negatives were
 * (train.sampling_correction), so that log-loss, calibration and order there are of the distribution they were drawn from.
 * Part logits are scaled by the recalibration's slope: logit = something of the slate and the item's slices + the parts.
 * joint_top: the text part sees only that many best by the other parts (by what is served, with recalibration and rank.utility;
 * ties: input order).  The others' text logit is 0, their logit has the mean of those that were seen in its place, and they
 * rank below by construction of the scorer; 0: all.
 * INVALID: the slate does not fit the model (F, event types, nothing bound); errors of state_acquire and the
 * encoder. */
enum status model_score(struct model_run *r, const struct slate *s, uint32_t joint_top, float *logits,
                        float *part_logits, struct err *e) MUST_CHECK;
/* What a scorer ranks candidate i of K by, as model_score left it: its logit, or its utility (rank.utility). */
bool model_by_utility(const struct model *m);
float model_rank_key(const struct model *m, const float *logits, const float *part_logits, size_t K, size_t i);
/* The same for n slates, as good as one after the other and with the same bits; dear parts take several in one pass. */
enum status model_score_many(struct model_run *r, const struct slate *const *slates, size_t n,
                             const uint32_t *joint_top, float *const *logits, float *const *part_logits,
                             struct err *e) MUST_CHECK;
/* Forward with tape, the loss of MODEL.md with labels and weights of s (train.softmax_share), backward; adds into the
 * run's gradients and standardiser sums.
 * loss_sum: sum over the slate's examples.  dropout (if configured) is keyed by (seed, s->at).  A slate whose
 * candidates bring more rows than LEARN_ROWS is learnt in chunks with the same result.  INVALID: as model_score, or a
 * label that is not a number.  CORRUPT: the loss is not finite; nothing was added then.  A gradient that overflows in
 * spite of a finite loss is the optimiser's to refuse (optim_step).  After any other error the gradients may hold a
 * part of the slate. */
enum status model_learn(struct model_run *r, const struct slate *s, uint64_t seed, double *loss_sum,
                        struct err *e) MUST_CHECK;
/* Several slates as one after the other, with the sum of their gradients in another order of rounding: what is large is
 * computed for all of them at once.  loss_sum (n); NaN: that slate's loss is not finite, and nothing of it was added. */
enum status model_learn_many(struct model_run *r, const struct slate *const *slates, size_t n, uint64_t seed,
                             double *loss_sum, struct err *e) MUST_CHECK;
/* The same with small steps within the batch (train.step_slates), at most 16 slates each: the tensors that are not slow (struct param)
 * are stepped by the caller after every `slates` of them, the slow ones when it returns; model_grads_clear ends each.  A batch is
 * cut at an empty slate. */
struct model_steps {
    size_t slates;
    /* Slates [at, at+n) of the batch have their losses, and the gradients that are there are of them.  *taken: false: the step was not
     * made, and the slow tensors learn nothing of them either. */
    enum status (*step)(void *user, size_t at, size_t n, bool *taken, struct err *e);
    void *user;
};
enum status model_learn_steps(struct model_run *r, const struct slate *const *slates, size_t n, uint64_t seed,
                              double *loss_sum, const struct model_steps *steps, struct err *e) MUST_CHECK;
/* A rank's share of a batch that several processes learn (trainer/ranks.h).  As model_learn_many, but what parts gather beside
 * gradients is left to model_learnt, which each rank calls for every slate of the batch that was learnt, in the batch's order, with
 * what its rank says here.  n may be 0. */
struct model_share {
    float *z,
        *dz; /* (sum of the slates' K) slate by slate: logits, and the loss's derivatives by them; 0: not learnt */
    /* Called for runs of dense gradients, backend memory, when nothing more is added to them: backwards through the parts, while
     * earlier ones are still to be walked back where that can be.  Always the same runs in the same order, whatever the slates
     * are; after an error some are missing. */
    void (*ready)(void *user, float *dense, size_t n);
    void *user;
};
enum status model_learn_share(struct model_run *r, const struct slate *const *slates, size_t n, uint64_t seed,
                              double *loss_sum, const struct model_share *share, struct err *e) MUST_CHECK;
void model_learnt(struct model_run *r, const struct slate *s, const float *z, const float *dz);
struct model_grads *model_grads(struct model_run *r); /* valid until the next learn or clear */
/* The same for an optimiser: matrices may owe (op_matrix.owed), until the next learn, score or clear. */
struct model_grads *model_grads_owed(struct model_run *r);
float *model_dense_grads(struct model_run *r);        /* where dense ones lie, always the same place */
void model_grads_clear(struct model_run *r);
/* Gradients of sparse rows that came from elsewhere: added to a tensor's (its place in model_grads.sparse), row by row. */
enum status model_rows_put(struct model_run *r, size_t tensor, const struct model_rows *rows, struct err *e) MUST_CHECK;
void model_rows_clear(struct model_run *r); /* those of sparse tensors alone */
/* Moves running statistics gathered by model_learn into p's STAT group (called once a step, after the update). */
void model_apply_stats(struct model_run *r, struct param_set *p);
void model_drop_stats(struct model_run *r); /* or not at all: the step is not made */
/* What is neither parameter nor moment but needed to go on in the same bits (exact sums behind the STAT group).
 * Between steps: gradients of a batch that is not applied yet are not in it. */
void model_run_encode(struct buf *b, const struct model_run *r);
enum status model_run_decode(struct model_run *r, struct buf_reader *rd, struct err *e) MUST_CHECK;
/* Baseline `frozen`: cosine of the candidate with the recency-weighted mean of the user's frozen sentence vectors, (K);
 * 0 without history or encoder. */
enum status model_frozen_cosine(struct model_run *r, const struct slate *s, float *cosine, struct err *e) MUST_CHECK;
/* Mean of 1 - cosine over the pairs of so many of the slate's candidates (which (n), indices), of their final frozen vectors;
 * NaN without encoder or pairs. */
enum status model_spread(struct model_run *r, const struct slate *s, const uint32_t *which, size_t n, float *out,
                         struct err *e) MUST_CHECK;
struct kern *model_run_kern(struct model_run *r); /* for the optimiser's arithmetic */
/* What a part costs, sampled: microseconds of the run's own thread (the pool's share in large products is beside it), means
 * over the passes that were timed.  Frozen states that had to be computed count for the first part that asked.  Never part of
 * a state, and of no influence on any number but these. */
struct model_cost {
    double score_us; /* a candidate */
    double learn_us; /* an example: forward, backward and the optimiser's step; NaN like score_us: none was timed */
    double share;    /* of the sum of both over all parts and the intercepts */
};
void model_costs(const struct model_run *r, struct model_cost *out); /* out (parts) */
#endif

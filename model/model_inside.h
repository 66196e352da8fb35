/* model_inside.h - struct model and struct model_run, for model.c (the architecture), model_run.c (one thread's hands) and
 * model_learn.c (learning with them).  Nobody else includes it.
 */
#ifndef MODEL_MODEL_INSIDE_H
#define MODEL_MODEL_INSIDE_H
#include "model/model.h"
#include "model/part.h"
#include "model/recal.h"
#include "model/tasks.h"

struct model {
    const struct encoder *enc; /* NULL: none */
    size_t C;                  /* 0 without encoder */
    size_t frozen, max_events;
    uint32_t n_numeric;
    enum kern_precision prec; /* of the learnt layers' operands */
    bool dropout, wants_states, wants_tokens;
    bool wants_all_states; /* by a part that sees all candidates */
    char backend[KERN_NAME_MAX];
    struct part *parts[MODEL_PARTS_MAX + 1];  /* [0]: the intercepts */
    size_t n_parts;                           /* with them */
    size_t first_tensor[MODEL_PARTS_MAX + 2]; /* of each part, as given by param_table_add */
    size_t numeric_part;                      /* among parts; 0: none */
    struct model_recal recal;
    struct model_tasks tasks;
    float softmax_share[SLATE_SOURCES]; /* by where a slate is from */
    float distill;
    struct param_table table;
    uint64_t fingerprint;
};
/* Times of the passes that are sampled: one in MODEL_TIMED_EVERY. */
#define MODEL_TIMED_EVERY 32
struct model_times {
    uint64_t passes[2];                              /* scored, learnt; all of them */
    bool now;                                        /* the pass under way is timed */
    uint64_t n[2];                                   /* candidates scored, examples learnt in timed passes */
    uint64_t ns[2][MODEL_PARTS_MAX + 1], *tensor_ns; /* by part; by tensor, of the optimiser */
};
enum { MODEL_SCORED, MODEL_LEARNT };
/* Whether the pass that begins is timed. */
void model_times_begin(struct model_run *r, int what, const struct slate *const *slates, size_t n);
uint64_t model_times_now(const struct model_run *r); /* 0 when it is not */
/* What passed since `since` was the part's; returns now. */
uint64_t model_times_add(struct model_run *r, int what, size_t part, uint64_t since);

/* Of model_learn_share, while it is under way (model_share.c). */
struct model_sharing {
    const struct model_share *to; /* NULL: all slates are learnt here */
    size_t kept;                  /* numbers of z and dz before the slate under way */
    size_t ready;                 /* parts from here on are; n_parts + 1: none yet */
    bool last;                    /* no slate comes after the one under way */
};

/* Of model_learn_steps, while it is under way (model_steps.c). */
struct model_stepping {
    const struct model_steps *to; /* NULL: the caller steps once, after all slates */
    size_t at;                    /* the first slate on the tape */
};

struct model_run {
    const struct model *m;
    struct state_cache *states;
    struct kern *kern;
    struct tape tape;
    struct part_run *parts[MODEL_PARTS_MAX + 1];
    const struct param_set *bound;
    uint64_t generation;
    float *w; /* the parameters in backend memory; NULL where the host's own are visible to it */
    bool learn;
    bool untouched; /* nothing has come to the gradients since they were cleared */
    struct model_grads grads;
    struct part_packed packed;
    struct model_times times;
    struct part_rows *rows; /* one a sparse tensor, as grads.sparse */
    struct model_recal_run recal;
    struct model_tasks_run tasks;
    struct model_sharing sharing;
    struct model_stepping steps;
};

/* Whether nothing is learnt of the part's tensors yet. */
void model_part_idle(struct model_run *r, size_t part, bool idle);
/* Nothing but where a share is learnt.  seek: slates[at] is next.  ready: all parts from this one on are walked back.  keep:
 * true: what parts gather is not for them yet. */
void model_share_seek(struct model_run *r, const struct slate *const *slates, size_t at, bool last);
void model_share_ready(struct model_run *r, size_t part);
bool model_share_keep(struct model_run *r, const float *z, const float *dz, size_t n);
/* dense[at … at+n) is what it is: nothing is owed there. */
void model_settle(struct model_run *r, const float *at, size_t n);
/* As tape_reset and tape_rewind, but that gradients may owe products of what is on the tape: they are multiplied out before. */
void model_tape_reset(struct model_run *r);
void model_tape_rewind(struct model_run *r, struct tape_mark m);

/* Nothing but where small steps are made.  even: so many of n slates as make whole steps.  walk: slates
 * on a tape, loss (n): where the caller's losses of them are; *bad: nothing was learnt, as what the slow part says is not finite. */
size_t model_steps_even(const struct model_run *r, size_t n);
struct walk;
enum status model_steps_walk(struct model_run *r, struct walk *l, size_t n, double *loss, bool *bad,
                             struct err *e) MUST_CHECK;

/* Opens s on the tape (reset by the caller), recording or not.  *all: 0 … K-1, on the tape's host side. */
enum status model_open_slate(struct model_run *r, const struct slate *s, bool record, struct part_slate *ps,
                             uint32_t **all, struct err *e) MUST_CHECK;
/* Candidates of the next chunk: as many of which[0..n) as bring the part at most `limit` rows, but at least one. */
size_t model_chunk(const struct model_run *r, size_t part, const struct part_slate *ps, const uint32_t *which, size_t n,
                   size_t limit);
#endif

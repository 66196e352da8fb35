/* optim_private.h - the optimiser's insides, shared by optim*.c alone. */
#ifndef TRAINER_OPTIM_PRIVATE_H
#define TRAINER_OPTIM_PRIVATE_H
#include "trainer/optim.h"

struct optim_tensor {       /* of group SPARSE */
    size_t first, n, width; /* floats of the group before it, floats of it, floats of a row */
    size_t row;             /* rows of the tensors before it: where its accumulators begin */
    float rate;
};
/* Where a step works: group ADAMW in the host's own arrays, or in their copies in backend memory; all else on the host. */
struct optim_place {
    float *w;             /* the whole block of parameters */
    float *m, *v;         /* of group ADAMW */
    const float *anchor;  /* NULL: none */
    struct kern *here;    /* for what is on the host */
    const float *adagrad; /* gradients of group ADAGRAD, there */
};
struct optim_clock {
    uint64_t steps, since; /* since: step at which the schedule began (again) */
};
struct optim_far;
enum optim_schedule { OPTIM_CONSTANT, OPTIM_INVERSE_SQRT, OPTIM_COSINE_RESTART };
struct optim {
    const struct param_table *t;
    double clip_norm, half_life, l2_sp;
    bool to_blessed; /* the anchor is the last blessed version */
    enum optim_schedule schedule;
    uint64_t warmup, period;             /* steps */
    struct optim_clock clock[2];         /* of the tensors that are not slow (struct param), and of those that are */
    uint64_t refused;
    size_t n_adamw, n_adagrad, n_sparse; /* floats of the groups */
    float *m, *v, *acc;                  /* (n_adamw) (n_adamw) (n_adagrad): one block */
    float *anchor;                       /* (n_adamw) what l2_sp pulls to; NULL: it is off */
    struct optim_tensor *tensors;        /* (n_tensors) of group SPARSE, in table order */
    size_t n_tensors, n_rows;            /* rows: of all of them */
    /* (n_rows) accumulators a of the sparse rows, whose sums of squares are 1 + scale*(a - 1): so forgetting touches no row.
     * NULL until a sparse gradient comes. */
    float *sparse;
    double scale;
    uint64_t *dirty; /* one bit a page */
    struct optim_far *far; /* NULL: no step was made in backend memory */
};

/* optim_far.c: steps where the host cannot see the backend's memory.  What AdamW learns, moments and anchor live there
 * between steps, and come back when somebody asks for them. */
enum status optim_far_open(struct optim *o, struct kern *k, const struct model_grads *g, struct optim_place *out,
                           struct err *e) MUST_CHECK; /* before a step: makes or refreshes the copies; OOM */
/* What the step must know of the gradients, with a wait where it was not told. */
void optim_far_learn(const struct optim *o, const struct model_grads *g, struct optim_place *at, float *squares);
bool optim_far_finite(const struct optim *o, const struct model_grads *g); /* all of group ADAMW, by looking at each */
void optim_far_dense_done(struct optim *o, struct param_set *p, const struct model_grads *g); /* after it */
/* The rows of g, which a step has changed in w (the host's group SPARSE), in the backend's memory too. */
enum status optim_far_put_rows(struct optim *o, const float *w, const struct optim_tensor *t,
                               const struct model_grads *all, const struct model_rows *g, struct err *e) MUST_CHECK;
void optim_far_fetch(const struct optim *o); /* o->m and o->v as they are now */
void optim_far_stale(struct optim *o);       /* they, or the anchor, were changed on the host */
void optim_far_free(struct optim *o);

/* optim_owed.c.  The next floats of a group that take part and whose gradients are known, from *at on: as far as they lie one
 * behind the other; 0: no more.  *sum (backend memory) += the squares of AdamW's among them.  And the sum of all of AdamW's, where
 * memory is the host's; some may be left out as long as all together are no longer than what is clipped, and are finite then. */
size_t optim_next_run(const struct optim *o, const struct model_grads *g, enum param_group group, size_t *at);
void optim_add_squares(const struct optim *o, struct kern *k, const struct model_grads *g, float *sum);
float optim_squares(const struct optim *o, struct kern *k, const struct model_grads *g, uint64_t n_examples);
enum status optim_need_sparse(struct optim *o, struct err *e) MUST_CHECK;         /* makes o->sparse; OOM */
void optim_mark_dirty(struct optim *o, const struct optim_tensor *t, size_t row); /* the pages of a row */
/* What a rate is multiplied with at the clock's step, from 1. */
double optim_schedule_factor(const struct optim *o, const struct optim_clock *c);
/* The accumulators of the touched rows as sums of squares, and back. */
void optim_rows_unscale(struct optim *o, const struct optim_tensor *t, const struct model_rows *g);
void optim_rows_scale(struct optim *o, const struct optim_tensor *t, const struct model_rows *g);
/* All AdaGrad sums count only `keep` of what they have beyond 1. */
void optim_forget(struct optim *o, double keep);
#endif

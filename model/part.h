/* part.h - the interface of a part: one term of the logit, with its own tensors, behind one table of functions.
 *
 * struct part is architecture (immutable, shared); struct part_run is one thread's hands.  A part declares its tensors,
 * gives them initial values, prepares the user once per slate or request, and scores candidates: its result is a (n, 1)
 * value, recorded on the tape if that records, so that backward is the tape's.  Running statistics are gathered beside
 * (learnt) and moved into the parameters between steps (apply).  Formulas: MODEL.md.  Letters as in schemas/slate.h.
 */
#ifndef MODEL_PART_H
#define MODEL_PART_H
#include "base/buf.h"
#include "model/op.h"
#include "model/param.h"
#include "model/state.h"
#include "schemas/conf.h"
#include "schemas/slate.h"

#define PART_NUMERIC_PRECISION "numeric.precision"
#define PART_AGES 16 /* buckets: min(15, floor(log2(1 + minutes) / 1.5)) */

struct part_env { /* what parts are built from; borrowed for the life of the model */
    const struct conf *conf;
    const struct encoder *enc;    /* NULL: none */
    uint32_t n_numeric;           /* F */
    struct part *match, *numeric; /* NULL: none, or not made yet */
};

/* Gradients of one sparse tensor by row, in order of first touch. */
struct part_rows {
    size_t width; /* C: floats of a row; set before the first use */
    uint32_t *rows;
    float *grads; /* (n, C) */
    size_t n, rows_cap, grads_cap;
    size_t promised; /* new rows that were asked for since the last clear */
    uint32_t *slots; /* open addressing: place + 1 in rows, 0 empty; n_slots is a power of two or 0 */
    size_t n_slots;
};
enum status part_rows_reserve(struct part_rows *r, size_t more,
                              struct err *e) MUST_CHECK;                  /* room for `more` new rows */
void part_rows_add(struct part_rows *r, uint32_t row, const float *grad); /* grad (C); within what was reserved */
void part_rows_clear(struct part_rows *r);
void part_rows_fini(struct part_rows *r);

/* Packed matrices of a run, which an optimiser makes new together with their values, and whose gradients may owe something. */
struct part_packed {
    struct op_matrix **m;
    size_t n, cap;
};
/* The parameters in force, as parts bind to them. */
struct part_params {
    const struct param_table *table;
    enum kern_precision prec;   /* of the operands of packed matrices */
    bool fresh;                 /* the packed forms are those of these values already */
    struct part_packed *packed; /* in which part_pack notes what it packs */
    const float *host;          /* the whole block in host memory */
    float *w;                   /* the same in backend memory */
    float *dense;               /* gradients of groups ADAMW and ADAGRAD in backend memory; NULL: nothing is learnt */
    struct part_rows *rows;     /* gradients of each tensor of group SPARSE, in table order; NULL likewise */
};
/* A tensor as a value: (shape[0], n/shape[0]), with its gradient when its group has one. */
struct tape_value part_value(const struct part_params *p, size_t index);
/* Where the gradients of a sparse tensor go; NULL: nothing is learnt. */
struct part_rows *part_rows_of(const struct part_params *p, size_t index);
/* The row of a table of mask + 1 (a power of two) that stands for an item, by the hash of its id. */
uint32_t part_item_row(uint64_t item, uint32_t mask);
/* Rows [first, first+out) of the matrix `weight` (·, in), with the same rows of `bias` (SIZE_MAX: none).  Keeps
 * m->packed. */
void part_matrix_of(struct op_matrix *m, const struct part_params *p, size_t weight, size_t first, size_t out,
                    size_t bias);
/* A matrix of a part's run that is packed. */
struct part_matrix {
    struct op_matrix op;
    struct op_owed owed; /* op.owed points here */
};
/* Puts m into the precision of p and packs it, unless that is done. */
enum status part_pack(struct part_matrix *m, const struct part_params *p, struct kern *k, struct err *e) MUST_CHECK;
/* Normal numbers, keyed by (seed, place in the table, RAND_INIT). */
void part_init_normal(const struct param_table *t, size_t index, double deviation, uint64_t seed, float *w);

/* One slate or request in one run's hands; lives from prepare to the last score of it. */
struct part_slate {
    const struct slate *slate;
    struct tape *tape;
    struct state_cache *states;
    const struct state_entry **entries; /* by sentence of the slate: NULL until asked for */
    size_t n_events;                    /* E: min(slate's, model.events) */
    float *match;                       /* (K, backend memory) part match's logits, where part idvec needs them */
    uint64_t dropout_seed;
    size_t dropout_chunk; /* ordinal of the candidates' chunk: names its random numbers */
    bool dropout;
};
/* Some candidates of one slate. */
struct part_list {
    struct part_slate *s;
    const uint32_t *which;
    size_t n;
};
size_t part_listed(const struct part_list *lists, size_t n); /* candidates of all */
enum part_state { PART_STATE_POOLED, PART_STATE_FINAL };
/* Makes the entries of the events (which NULL) or of the items which[0..n) present.  Errors as state_acquire. */
enum status part_states(struct part_slate *s, const uint32_t *which, size_t n, struct err *e) MUST_CHECK;
void part_states_release(struct part_slate *s);
/* States of the events (which NULL, n = s->n_events) or items as a constant (n, C). */
struct tape_value part_state_rows(struct part_slate *s, enum part_state what, const uint32_t *which, size_t n,
                                  size_t C);
/* The same into rows that are there; and one entry's token states. */
void part_state_put(struct part_slate *s, enum part_state what, const uint32_t *which, size_t n, struct tape_value to);
void part_state_put_tokens(struct part_slate *s, const struct state_entry *entry, struct tape_value to);
/* out (C) = unit(sum over e of 0.5^(e/10) v_e) of the final vectors; all 0 without events.  Entries must be present. */
void part_taste(const struct part_slate *s, float *out, size_t C);
void part_widen(float *out, const uint16_t *bf16, size_t n);
int32_t part_age_bucket(float minutes);

struct part;
struct part_run;
/* A zeroed run of so many bytes that begins with struct part_run; mem_free frees it.  OOM names the part. */
enum status part_run_alloc(struct part_run **out, const struct part *p, size_t bytes, struct err *e) MUST_CHECK;
/* Some candidates of one prepared slate, by whichever way the part has. */
enum status part_score(struct part_run *r, struct part_slate *s, const uint32_t *which, size_t n, struct tape_value *z,
                       struct err *e) MUST_CHECK;
struct part_ops {
    const char *name;
    /* Declares tensors in t.  INVALID: a configuration that this part cannot follow. */
    enum status (*create)(struct part **out, const struct part_env *env, struct param_table *t, struct err *e);
    void (*destroy)(struct part *p); /* NULL: it is its own memory alone */
    /* Writes initial values (w: the zeroed block in host memory); NULL: the zeros stay. */
    void (*init)(const struct part *p, const struct param_table *t, uint64_t seed, float *w);
    enum status (*run_create)(struct part_run **out, const struct part *p, struct kern *k, struct err *e);
    void (*run_destroy)(struct part_run *r);
    /* The parameters have changed; p's pointers stay valid until the next bind. */
    enum status (*bind)(struct part_run *r, const struct part_params *p, struct err *e);
    /* Rows that candidate `item` brings, times layers that keep them; NULL: few (score is given all at once). */
    size_t (*rows)(const struct part_run *r, const struct part_slate *s, uint32_t item);
    /* The user side, once per slate (and again per chunk when a large slate is learnt in chunks). */
    enum status (*prepare)(struct part_run *r, struct part_slate *s, struct err *e); /* NULL: it has none */
    /* z (n,1): the part's logits of items which[0..n).  NULL: by score_together alone. */
    enum status (*score)(struct part_run *r, struct part_slate *s, const uint32_t *which, size_t n,
                         struct tape_value *z, struct err *e);
    /* Prepares the slates of n lists, which share a tape, and scores all their candidates at once: z (part_listed, 1), list after
     * list.  For parts with `together` or `wide` set; the same numbers as one after the other, but for the order in which
     * gradients are summed. */
    enum status (*score_together)(struct part_run *r, const struct part_list *lists, size_t n, struct tape_value *z,
                                  struct err *e);
    /* Any of these may be NULL.  learnt: the slate was learnt from, with the logits z (K) that its labels were compared with and
     * the loss's derivatives dz (K) by them, host memory; apply: w is the block in host memory; drop: what was gathered since the last
     * apply is not to be applied. */
    void (*learnt)(struct part_run *r, const struct slate *s, const float *z, const float *dz);
    void (*apply)(struct part_run *r, const struct param_table *t, float *w);
    void (*drop)(struct part_run *r);
    void (*encode)(struct buf *b, const struct part_run *r);
    enum status (*decode)(struct part_run *r, struct buf_reader *rd, struct err *e);
    /* The encoder layers that w (host memory) replaces, at most max; returns how many there are. */
    size_t (*replaced)(const struct part *p, const struct param_table *t, const float *w, struct encoder_replaced *out,
                       size_t max);
};
struct part { /* first member of every part */
    const struct part_ops *ops;
    bool wants_states, wants_tokens; /* of a state cache: entries at all; token states in them */
    bool together;                   /* it is worth scoring several slates at once */
    bool wide;                       /* it is worth it for many, whose bits may differ from those of one by one */
    bool slow;                       /* its tensors are (struct param) */
    bool counts;                     /* what it reads are counts, which have moved on when a late label comes */
    bool changed;                    /* of match: idvec changes what it reads (model/part_match.h) */
    const struct part *under;        /* whose run this one's run works on; NULL: none.  Made before it */
};
struct part_run { /* first member of every part's run */
    const struct part *part;
    struct part_run *under; /* the run of part->under; set by whoever makes the runs */
};
void part_destroy(struct part *p);
enum status part_prepare(struct part_run *r, struct part_slate *s, struct err *e) MUST_CHECK;
extern const struct part_ops part_text, part_match, part_numeric, part_cooccur, part_hashed, part_idvec, part_itembias,
    part_deep;
/* Part numeric's features as it reads them: out (F) from raw (F), by the tensors numeric.mean and numeric.scale. */
void part_numeric_standardise(const float *mean, const float *scale, const float *raw, float *out, size_t F);
/* The intercepts: not listed in model.parts, always there, never left out. */
extern const struct part_ops part_bias;
/* What part_numeric makes of a candidate's features raw (F), for heads of others: x (F), standardised; their product with
 * w (F).  numeric: a bound run of part_numeric. */
void part_numeric_input(const struct part_run *numeric, const float *raw, float *x);
double part_numeric_dot(const struct part_run *numeric, const float *raw, const float *w);
/* Whose intercept the slate has: SLATE_IMPRESSION or SLATE_ORGANIC.  bias: a bound run of part_bias. */
int part_bias_source(const struct part_run *bias, const struct slate *s);
#endif

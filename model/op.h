/* op.h - the differentiable operations: thin over struct kern_ops, with the way back recorded on the tape.
 *
 * Each op allocates its result on the tape, computes it, and records its backward when the tape records and an input
 * wants a gradient.  After an out-of-memory it returns an empty value (x == NULL) and does nothing; see tape.h.
 * Index arrays are given in host memory and copied.  Letters as in kern.h: N rows, C columns, H heads, O and I outputs
 * and inputs, E events, K candidates, S segments.  Gradients are added, never assigned.  Thread: the tape's.
 */
#ifndef MODEL_OP_H
#define MODEL_OP_H
#include "base/rand.h"
#include "model/tape.h"

/* What a gradient still has to become, so that nobody zeroes a large one, or writes it only to read it once. */
#define OP_OWED 4
#define OP_OWED_ROWS 256 /* of all its products: with more of them multiplying is what costs, not memory */
struct op_owed {
    bool stale; /* what dw holds counts for nothing: the first gradient is written there instead of added */
    size_t n;   /* products that it is the sum of, in memory of the tape that made them; with stale alone */
    struct kern_product of[OP_OWED];
};
/* A linear layer as an op sees it: weight, packed form, bias; dw, db NULL when it is not learnt; owed NULL: dw is what it is. */
struct op_matrix {
    struct kern_matrix m;
    const float *b; /* (O) or NULL */
    float *dw, *db;
    struct op_owed *owed;
};
/* dw is what it is from now on.  Before the tape that made what is owed forgets it. */
void op_settle(struct kern *k, const struct op_matrix *w);

/* y (N,O) = act(x (N,I) w^T + b) */
struct tape_value op_linear(struct tape *t, struct tape_value x, const struct op_matrix *w, enum kern_act act);
/* The same of rows that are constants with `shared` (1,I) added to each: what comes back to them goes there as one sum, which takes
 * N times less, and x's own dx is left as it is.  shared.dx NULL: as op_linear. */
struct tape_value op_linear_shared(struct tape *t, struct tape_value x, const struct op_matrix *w, enum kern_act act,
                                   struct tape_value shared);
/* y (N,M) = a (N,C) b (M,C)^T */
struct tape_value op_dot(struct tape *t, struct tape_value a, struct tape_value b);
/* y = (s - mean)/deviation * gain + bias over each row of s = x + res; gain, bias (1,C) */
struct tape_value op_layernorm(struct tape *t, struct tape_value x, struct tape_value res, struct tape_value gain,
                               struct tape_value bias, float eps);

/* out (Nq,C): segments attend separately to their own keys and to their group's rows of prefix.
 *   q (Nq,C); own (Nk,2C), prefix (P,2C): keys in the first C columns, values in the rest; prefix may be empty (n = 0)
 *   seg and its offsets: host memory, copied; it covers every row of q */
struct tape_value op_attention(struct tape *t, struct tape_value q, struct tape_value own, struct tape_value prefix,
                               const struct kern_segments *seg, size_t heads);

/* y (N,C) = base + sum over i of table_i[idx_i[n]].  base.x NULL: starts from 0 (n and c still say the shape). */
struct op_lookup {
    struct tape_value table;
    const int32_t *idx; /* (N) host memory */
};
struct tape_value op_embed(struct tape *t, struct tape_value base, const struct op_lookup *lookups, size_t n_lookups);
/* rows of a, then rows of b */
struct tape_value op_concat(struct tape *t, struct tape_value a, struct tape_value b);
struct tape_value op_add(struct tape *t, struct tape_value a, struct tape_value b); /* y = a + b, equal shapes */
struct tape_value op_mul(struct tape *t, struct tape_value a,
                         struct tape_value b); /* y = a * b by element; may be the same */
/* x (n, backend memory) *= by (n, host), of which nothing is recorded. */
void op_scale(struct tape *t, float *x, const float *by, size_t n);
/* y = x * keep/(1-p), keep drawn from r (one number in 2^16 per element).  p = 0 or r NULL: x itself. */
struct tape_value op_dropout(struct tape *t, struct tape_value x, float p, struct rand *r);

/* feat (K,T+2) of MODEL.md `match` (kern.h has the formulas): s (K,E), b (E,1), tau (T,1), self (K*E) bytes, backend memory. */
struct tape_value op_match(struct tape *t, struct tape_value s, struct tape_value b, struct tape_value tau,
                           const uint8_t *self);
/* z (K,1) = sum over j in off[i]..off[i+1] of w[idx[j]]*val[j].  add_grads, when the tape records, is told dz (K floats) of
 * the backward walk (tape_ask): the caller keeps sparse gradients by row. */
struct op_sparse {
    const float *w;
    const uint32_t *off, *idx; /* host; off (K+1) */
    const float *val;
    size_t n; /* K */
    tape_told_fn *add_grads;
    void *user;
};
struct tape_value op_sparse(struct tape *t, const struct op_sparse *s);
/* y (N,C) = base (N,C) + w[rows[n]]: rows of a sparse tensor; base.x NULL: starts from 0.  add_grads, when the tape records, is told
 * dy (N*C floats), as above. */
struct op_sparse_rows {
    const float *w;
    const int32_t *rows; /* (N) host */
    tape_told_fn *add_grads;
    void *user;
};
struct tape_value op_sparse_rows(struct tape *t, struct tape_value base, const struct op_sparse_rows *s);
/* The loss of one slate with logits z (K,1): (1 - share)*BCE + share/4*softmax, both weighted (kern_ops.bce and
 * .slate_softmax).  loss: two floats of backend memory, to which the two terms are added as they are; op_loss_total sums
 * them.  dz gets the gradient of the total at once: this op is the outermost. */
struct op_loss {
    const float *y, *w; /* (K) backend memory, as soft */
    const float *soft;  /* (K) what the cross-entropy aims at; NULL: y */
    float share;        /* of the softmax, 0 … 1; 0: binary cross-entropy alone */
};
void op_loss(struct tape *t, float *loss, struct tape_value z, const struct op_loss *l);
float op_loss_total(const float *terms, float share);
/* The loss of the tasks beside it (kern_ops.task_bce): s (K,1), h (K,T); y (K,T) and chained (T) host.  loss: one float,
 * added to; ds and dh at once, as above. */
void op_task_loss(struct tape *t, float *loss, struct tape_value s, struct tape_value h, const float *y,
                  const uint8_t *chained);
#endif

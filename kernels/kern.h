/* kern.h - numbers only: every arithmetic operation of the model, behind one table of functions.
 *
 * Three fillings: `ref` (plain loops, the definition of correct), `cpu` (register tiles, OpenBLAS where there are
 * none, vector loops), `cuda` (a plug-in).  Nothing here knows of sentences, parts or events.  One idea: pointers
 * handed out by `alloc` are handles in the backend's memory; a caller does arithmetic on them but reads and writes
 * them only through `upload`, `download` or where `host_visible` is set.  Operations between `begin` and `end` may be
 * queued; none returns anything to the host inside a step: losses, norms and flags land in backend memory and are
 * downloaded at one point.  Every pointer that an operation takes is backend memory, but for the structs themselves and the
 * offsets in struct kern_segments.  Memory of one struct kern may be read through another of the same backend, once
 * a download has waited for what filled it.
 *
 * Matrices are row-major float32.  Letters: N rows, C hidden, H heads, D = C/H, F FFN width, O outputs, I inputs,
 * S segments, K candidates, E user events.  All N may be 0.  Backward functions ADD into gradients (d…), never assign.
 * Nothing allocates inside an operation; scratch is asked for by size.  Outputs must not overlap inputs unless said.
 * Determinism: a result depends on the arguments alone, not on thread count or history.  Thread: one user at a time per
 * struct kern; several struct kern may run in parallel.  Agreement with ref: within abs 1e-5 + 1e-5*|ref| per element
 * unless the op says otherwise.
 */
#ifndef KERNELS_KERN_H
#define KERNELS_KERN_H
#include "base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum kern_act { KERN_ACT_NONE, KERN_ACT_GELU, KERN_ACT_GELU_NEW, KERN_ACT_RELU }; /* GELU: erf form; NEW: tanh form */

/* How the operands of a linear layer are rounded before they are multiplied.  Sums, biases, gradients and what an optimiser
 * keeps are float32 always.
 *   BF16  weights and activations (and, on the way back, gradients) rounded to bfloat16, to nearest, ties to even
 *   INT8  w[o,:] = q * s_o and x[n,:] = q * s_n with integers |q| <= 127, s = max|.| / 127 of the row, q to nearest, ties to
 *         even; y = (sum of q q) * (s_o * s_n), the sum exact.  For layers that are not learnt. */
enum kern_precision { KERN_F32, KERN_BF16, KERN_INT8 };

/* A linear layer's weight (O, I) as Hugging Face stores it.  `packed` is the backend's own form (NULL: w as it is);
 * it must be refreshed by `pack` after w changes. */
struct kern_matrix {
    const float *w;
    size_t out, in;
    void *packed;
    enum kern_precision prec;
    bool learnt; /* the way back is wanted as well (linear_dx); not with INT8 */
};

/* Packed token rows cut into segments that attend separately.  Queries q_off[s]..q_off[s+1] see keys k_off[s]..k_off[s+1], and
 * before them a prefix that a group of neighbouring segments shares: segments s_off[g]..s_off[g+1], which are all S together, see
 * rows p_off[g]..p_off[g+1] of the prefix keys.  Offsets are host memory, read during the call, and never fall. */
struct kern_segments {
    size_t n;                     /* S */
    const int32_t *q_off, *k_off; /* (S+1) */
    size_t groups;                /* G; 0: there is no prefix, and the two below are not read */
    const int32_t *s_off, *p_off; /* (G+1) */
    enum kern_precision
        prec; /* BF16: a backend may round what attention multiplies to bfloat16, where that is faster */
};
/* Probabilities that attention of H heads keeps.  Inline, for plug-ins, which link nothing of the program. */
static inline size_t kern_attention_probs(const struct kern_segments *seg, size_t H)
{
    size_t n = 0;
    for (size_t s = 0, g = 0; s < seg->n; s++) {
        int32_t keys = seg->k_off[s + 1] - seg->k_off[s];
        while (g < seg->groups && s >= (size_t)seg->s_off[g + 1]) g++;
        if (seg->groups > 0) keys += seg->p_off[g + 1] - seg->p_off[g];
        n += (size_t)(seg->q_off[s + 1] - seg->q_off[s]) * H * (size_t)keys;
    }
    return n;
}

/* A layer of a post-LayerNorm encoder (Devlin et al. 2018), borrowed: matrices (O, I) and vectors as Hugging Face stores them.
 *   h = LN1(x + o(attention(qkv(x))));  y = LN2(h + down(act(up(h)))) */
struct kern_layer {
    struct kern_matrix qkv;                                 /* (3C, C): the rows of query, then key, then value */
    struct kern_matrix o;                                   /* (C, C) */
    struct kern_matrix up;                                  /* (F, C) */
    struct kern_matrix down;                                /* (C, F) */
    const float *qkv_b, *o_b, *up_b, *down_b;               /* (3C) (C) (F) (C) */
    const float *ln1_gain, *ln1_bias, *ln2_gain, *ln2_bias; /* (C) each */
};
/* Layers one after the other, in one precision. */
struct kern_stack {
    const struct kern_layer *layers;
    size_t n, C, H, F;
    float eps; /* of every LayerNorm */
    enum kern_act act;
};

/* One of the products whose sum is the gradient of a matrix (O, I): dy (N, O)^T x (N, I). */
struct kern_product {
    const float *dy, *x;
    size_t N;
};

/* AdamW (Loshchilov and Hutter 2019) with bias correction at step t (from 1). */
struct kern_adamw {
    float lr, beta1, beta2, eps, weight_decay, grad_scale; /* grad_scale multiplies g first (clipping) */
    uint64_t t;
};

struct kern;
struct kern_match;
/* Sums over several processes, each with a device of its own, that stay on the devices.  All do the same calls in the same
 * order.  `sum` adds up x (n) of all, in place, to the same bits on each, beside what is queued after it, which does not touch x;
 * what is queued after `wait` finds the sums.  Nobody waits longer than timeout_ms: IO, and the sums are given up. */
#define KERN_TOGETHER_ID 128 /* bytes */
struct kern_together {
    enum status (*name)(struct kern *k, void *id,
                        struct err *e); /* what rank 0 gives to all; UNSUPPORTED: no library */
    enum status (*join)(struct kern *k, const void *id, int rank, int n, int64_t timeout_ms, struct err *e);
    void (*sum)(struct kern *k, float *x, size_t n);
    enum status (*wait)(struct kern *k, int64_t timeout_ms, struct err *e);
    void (*leave)(struct kern *k); /* as if it had never joined */
};
/* Rows of bfloat16 that a device keeps, bounded, for who asks for them again: by a key that says all of what they are.  `find` says at
 * which place each of n rows is; what is missing goes up from row[i] (C numbers of the host's, which may be changed afterwards) beside
 * what is queued, and those that nobody asked for lately leave for it.  False: nothing is kept, or not so many at once.  `widen`, of
 * what was found last: out (n,C) = those rows; place in backend memory. */
struct kern_kept_stats {
    uint64_t hits, misses, left; /* rows found, brought, and gone for another */
};
struct kern_kept {
    bool (*find)(struct kern *k, int32_t *place, const uint64_t *key, const uint16_t *const *row, size_t n, size_t C);
    void (*widen)(struct kern *k, float *out, const int32_t *place, size_t n, size_t C);
    struct kern_kept_stats (*stats)(const struct kern *k);
};
struct kern_ops {
    const char *name; /* "ref", "cpu", "cuda" */
    bool host_visible;
    const struct kern_together *together; /* NULL: sums over processes go through the host's memory */
    const struct kern_kept *kept;         /* NULL: rows go up each time */
    bool rows_alone;                      /* a row of `linear` (packed) has the same bits however many rows there are */

    enum status (*open)(struct kern *k, struct err *e);
    void (*close)(struct kern *k);
    void *(*alloc)(struct kern *k, size_t bytes); /* 64-byte aligned, zeroed; NULL when out of memory */
    void (*release)(struct kern *k, void *p);
    void (*upload)(struct kern *k, void *dst, const void *host, size_t bytes);
    void (*download)(struct kern *k, void *host, const void *src, size_t bytes); /* waits for what was queued before */
    void (*begin)(struct kern *k);
    void (*end)(struct kern *k);
    enum status (*pack)(struct kern *k, struct kern_matrix *m, struct err *e); /* (re)makes m->packed from m->w */
    void (*unpack)(struct kern *k, struct kern_matrix *m);                     /* frees m->packed */

    void (*zero)(struct kern *k, float *x, size_t n);
    void (*copy)(struct kern *k, float *y, const float *x, size_t n);
    void (*axpy)(struct kern *k, float *y, float a, const float *x, size_t n); /* y += a*x */

    /* y (N,O) = act(x (N,I) w^T + b (O)) in w's precision.  b may be NULL.  pre (N,O), when not NULL, receives the sum
     * before act. */
    void (*linear)(struct kern *k, float *y, float *pre, const float *x, const struct kern_matrix *w, const float *b,
                   enum kern_act act, size_t N);
    void (*linear_dx)(struct kern *k, float *dx, const float *dy, const struct kern_matrix *w,
                      size_t N); /* dx += dy w */
    /* dw (O,I) += dy^T x, operands rounded as prec says (F32 or BF16); without `add` dw is written and what it held is not
     * read.  db (O) += column sums of dy.  Either may be NULL, and is not wanted then. */
    void (*linear_dw)(struct kern *k, float *dw, float *db, const float *dy, const float *x, size_t N, size_t O,
                      size_t I, enum kern_precision prec, bool add);
    /* c (M,N) = a (M,K) b^T (N,K) + beta*c ; leading dimensions in elements */
    void (*gemm_nt)(struct kern *k, float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb,
                    size_t M, size_t N, size_t K, float beta);
    /* c (M,N) = a (M,K) b (K,N) + beta*c */
    void (*gemm_nn)(struct kern *k, float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb,
                    size_t M, size_t N, size_t K, float beta);
    /* c (M,N) = a^T (K,M) b (K,N) + beta*c */
    void (*gemm_tn)(struct kern *k, float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb,
                    size_t M, size_t N, size_t K, float beta);

    void (*act)(struct kern *k, float *y, const float *x, enum kern_act act, size_t n);
    /* dx = dy * act'(x); dx may be dy */
    void (*act_backward)(struct kern *k, float *dx, const float *dy, const float *x, enum kern_act act, size_t n);

    /* out[r,c] = (x[r,c] - mean[r]) * rstd[r] * gain[c] + bias[c] (Ba et al. 2016); variance divides by C.
     * res, when not NULL, is added to x first and the sum is kept in `sum` (N,C), which may be x itself. */
    void (*layernorm)(struct kern *k, float *out, float *mean, float *rstd, float *sum, const float *x,
                      const float *res, const float *gain, const float *bias, float eps, size_t N, size_t C);
    void (*layernorm_backward)(struct kern *k, float *dx, float *dgain, float *dbias, const float *dout, const float *x,
                               const float *gain, const float *mean, const float *rstd, size_t N, size_t C);

    /* Multi-head scaled dot-product attention on segments (Vaswani et al. 2017), scale 1/sqrt(D).
     * q (Nq,·) k,v (Nk,·) pk,pv (P,·): row strides ldq, ldk (k and v), ldp (pk and pv) in elements; head h is columns
     * h*D..; out (Nq, H*D) dense.  prob, when not NULL, keeps the probabilities for backward: for segment s, query i
     * and head h a run of as many floats as it sees keys, in the order segment, query, head; size by kern_attention_probs.
     * With seg->prec BF16 its contents are the backend's own affair, and the way back takes the same arguments. */
    void (*attention)(struct kern *k, float *out, float *prob, const float *q, size_t ldq, const float *kk,
                      const float *vv, size_t ldk, const float *pk, const float *pv, size_t ldp,
                      const struct kern_segments *seg, size_t H, size_t D);
    void (*attention_backward)(struct kern *k, float *dq, size_t lddq, float *dk, float *dv, size_t lddk, float *dpk,
                               float *dpv, size_t lddp, const float *dout, const float *prob, const float *q,
                               size_t ldq, const float *kk, const float *vv, size_t ldk, const float *pk,
                               const float *pv, size_t ldp, const struct kern_segments *seg, size_t H, size_t D);

    /* x (N,C), read and written, through layers whose way back nobody wants; segments are sentences (k_off is q_off, no prefix).
     * room: backend memory of (6C + F) * N floats.  May be NULL; false: this stack is not for it, and nothing was done; then
     * the caller goes operation by operation.  In BF16 what passes between the operations is rounded to bfloat16 as well, and
     * GELU may have its tanh form, which is 5e-4 off at most: states keep a cosine of 0.999 to those of the operations. */
    bool (*stack)(struct kern *k, float *x, void *room, const struct kern_stack *s, const struct kern_segments *seg,
                  size_t N);

    /* out (N,C) row n = table[idx[n]]; scatter_add: dtable[idx[n]] += d[n], in order of n (deterministic). */
    void (*gather)(struct kern *k, float *out, const float *table, const int32_t *idx, size_t N, size_t C);
    void (*scatter_add)(struct kern *k, float *dtable, const float *d, const int32_t *idx, size_t N, size_t C);
    /* x (N,C) = word[id] + position[pos] + type[typ]: BERT's input before its LayerNorm */
    void (*embed)(struct kern *k, float *x, const float *word, const float *position, const float *type,
                  const int32_t *id, const int32_t *pos, const int32_t *typ, size_t N, size_t C);
    void (*widen)(struct kern *k, float *y, const uint16_t *x, size_t n); /* y = x, which are bfloat16 */
    /* table[idx[n]] = d[n]: the way back of gather; idx distinct */
    void (*put_rows)(struct kern *k, float *table, const float *d, const int32_t *idx, size_t N, size_t C);
    /* out (S,C) = mean of rows off[s]..off[s+1] */
    void (*mean_rows)(struct kern *k, float *out, const float *x, const int32_t *off, size_t S, size_t C);
    /* out row = x row * scale / max(|x row|, 1e-12); norm (N), when not NULL, keeps |x row| for backward */
    void (*unit_rows)(struct kern *k, float *out, float *norm, const float *x, float scale, size_t N, size_t C);
    void (*unit_rows_backward)(struct kern *k, float *dx, const float *dout, const float *out, const float *norm,
                               float scale, size_t N, size_t C);
    /* x *= keep ? 1/(1-p) : 0 ; mask (n) bytes given by the caller (counter-based random numbers are the host's) */
    void (*dropout)(struct kern *k, float *y, const float *x, const uint8_t *keep, float p, size_t n);

    /* Weighted BCE with logits: loss[0] += sum w*(max(z,0) - z*y + log1p(exp(-|z|)));
     * dz[i] += scale*w*(sigmoid(z)-y) */
    void (*bce)(struct kern *k, float *loss, float *dz, const float *z, const float *y, const float *w, float scale,
                size_t n);
    /* Each positive (y > 0.5) of one slate against all its negatives, never against another positive (MODEL.md, "Loss"):
     * with N = log(sum over negatives of w*exp(z)), P the positives' weight and W everybody's,
     *   loss[0] += W/P * sum over positives of w*log(1 + exp(N - z));   dz[i] += scale * its derivative
     * A weight w counts as w examples in the same place.  Without a positive or a negative: nothing. */
    void (*slate_softmax)(struct kern *k, float *loss, float *dz, const float *z, const float *y, const float *w,
                          float scale, size_t n);

    /* Tasks beside the main label: s (K) its logits, h (K,T) the tasks', y (K,T) their labels.  P = sigmoid(s)*sigmoid(h)
     * where chained[t] (Ma et al. 2018: conversion over everything shown, as a product), else sigmoid(h):
     *   loss[0] += sum of BCE(P, y);   ds[i], dh[i,t] += its derivatives */
    void (*task_bce)(struct kern *k, float *loss, float *ds, float *dh, const float *s, const float *h, const float *y,
                     const uint8_t *chained, size_t K, size_t T);

    /* Late interaction (MODEL.md, `match`): see kern_match below. */
    void (*match)(struct kern *k, float *feat, float *keep, const struct kern_match *m);
    void (*match_backward)(struct kern *k, float *ds, float *db, float *dtau, const float *dfeat, const float *keep,
                           const struct kern_match *m);

    /* out (K,3) = {taste[k], the greatest of cos[k,·] over events that are not the candidate itself (self (K,E) bytes, as in
     * kern_match; 0 when none is left), 1 where E > 0 and else 0} */
    void (*match_fixed)(struct kern *k, float *out, const float *taste, const float *cos, const uint8_t *self, size_t K,
                        size_t E);

    /* z[i] += sum_{j in off[i]..off[i+1]} w[idx[j]] * val[j]; an index may repeat */
    void (*sparse_forward)(struct kern *k, float *z, const float *w, const uint32_t *off, const uint32_t *idx,
                           const float *val, size_t n);
    /* Row idx[n] (N distinct ones) of w (·, C) has gradient g[n] (N, C) and one accumulator: acc += |g[n]|^2,
     * w -= lr*g[n]/sqrt(acc), on those rows alone. */
    void (*sparse_adagrad)(struct kern *k, float *w, float *acc, const uint32_t *idx, const float *g, float lr,
                           size_t N, size_t C);

    void (*adamw)(struct kern *k, float *w, float *m, float *v, const float *g, size_t n, const struct kern_adamw *o);
    /* The same for a whole matrix, whose values w->w (in the caller's hands, writable) and packed form are both made new in
     * one pass.  m, v, g as w. */
    void (*adamw_matrix)(struct kern *k, const struct kern_matrix *w, float *m, float *v, const float *g,
                         const struct kern_adamw *o);
    /* The same with a gradient that nobody has multiplied out: the sum of n products, to the bits that linear_dw makes of one after
     * the other.  room (O, I): where it would lie; undefined afterwards.  May be NULL: the caller goes by linear_dw. */
    void (*adamw_product)(struct kern *k, const struct kern_matrix *w, float *m, float *v, float *room,
                          const struct kern_product *of, size_t n, const struct kern_adamw *o);
    void (*adagrad)(struct kern *k, float *w, float *acc, const float *g, float lr, size_t n); /* acc starts at 1 */
    void (*pull)(struct kern *k, float *w, const float *to, float share, size_t n);            /* w -= share*(w - to) */
    void (*sum_squares)(struct kern *k, float *out, const float *x, size_t n); /* out[0] += sum x^2, in a fixed order */
    void (*all_finite)(struct kern *k, float *out, const float *x, size_t n);  /* out[0] = 1 if all finite, else 0 */
};

/* s (K,E): scores s_e of every candidate with every event; self (K,E) bytes: 1 where the event is the candidate itself;
 * b (E): rank and age bias; tau (T) sharpness.  feat (K, T+2) written: {m, a_tau..., has_others} where
 *   m = sum_e softmax(b)_e s_e over all events; a_t = sum_e softmax(b + tau_t*s)_e s_e over events that are not the
 *   candidate itself, 0 when none is left; has_others 1 or 0.  E may be 0: all zero.
 * keep (K*(T+1)*E floats) holds the softmax weights for backward, which adds into ds (K,E), db (E), dtau (T). */
struct kern_match {
    const float *s, *b, *tau;
    const uint8_t *self;
    size_t K, E, T;
};

struct pool;
struct kern {
    const struct kern_ops *ops;
    void *state;       /* the backend's */
    struct pool *pool; /* kern_use_pool; NULL: alone */
};
/* name: "ref", "cpu"; "cuda", alone or with its settings (kern_name), loads the plug-in (kern_plugin.h; UNSUPPORTED with the
 * reason where it or its device is absent, and CPU instead where fallback=cpu says so).  "cpu" takes the best
 * instruction set there is; "cpu-avx512bf16" (with VNNI), "cpu-avx512", "cpu-avx2" and "cpu-base" take that one (UNSUPPORTED
 * where it is not). */
enum status kern_new(struct kern **out, const char *name, struct err *e) MUST_CHECK;
void kern_free(struct kern *k);
/* Large operations are cut into tasks for p's threads from now on, with the same bits (p borrowed; NULL: alone again).  A
 * backend that has no use for it ignores it. */
void kern_use_pool(struct kern *k, struct pool *p);
#define KERN_NAME_MAX 1200
/* kernels.backend and what belongs to it (kernels.cpu; kernels.device_*, kernels.plugin, TF32) as one name for kern_new:
 * "cpu-avx2", "cuda:device=0,memory=0,kept=256,tf32=0,cudnn=1,fallback=none,plans=DIR,plugin=PATH". */
struct conf;
void kern_name(const struct conf *c, char out[KERN_NAME_MAX]);
enum kern_precision kern_precision_of(const char *word); /* "f32", "bf16", "int8" */
const char *kern_describe(const struct kern *k);         /* "cpu (avx512, register tiles)" */
#endif

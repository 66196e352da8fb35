/* kern_far.c - a plug-in whose memory the host cannot touch: the reference's arithmetic behind pointers that are none.
 *
 * Every pointer that alloc hands out has a bit set that no address has, so that the host faults when it follows one; and
 * every operation takes the bit away again, and ends the process, naming itself, when a pointer has none: the caller gave it
 * the host's own memory.  Pointer arithmetic works on both.  So code that trains and scores through this plug-in, to the
 * same bits as through `ref`, keeps to what kern.h says of backend memory.  Loaded as backend cuda through kernels.plugin.
 */
#include "kernels/kern_backend.h"
#include "kernels/kern_plugin.h"
#include "kernels/ref/ref.h"
#include <stdio.h>
#include <stdlib.h>

#define FAR ((uintptr_t)1 << 62)

static const void *near_of(const void *p, const char *op)
{
    if (p == NULL) return NULL;
    if (((uintptr_t)p & FAR) == 0) {
        (void)fprintf(stderr, "far: %s was given host memory\n", op);
        abort();
    }
    return (const void *)((uintptr_t)p & ~FAR);
}

/* The near form of a far pointer that an operation writes (W) or reads (R). */
#define W(p) ((void *)(uintptr_t)near_of((p), __func__))
#define R(p) near_of((p), __func__)

static void *far_alloc(struct kern *k, size_t bytes)
{
    char *p = kern_ref_alloc(k, bytes > 0 ? bytes : 1);
    return p != NULL ? (void *)((uintptr_t)p | FAR) : NULL;
}

static void far_release(struct kern *k, void *p)
{
    kern_ref_release(k, W(p));
}

static void far_upload(struct kern *k, void *dst, const void *host, size_t bytes)
{
    if (bytes > 0) kern_ref_upload(k, W(dst), host, bytes);
}

static void far_download(struct kern *k, void *host, const void *src, size_t bytes)
{
    if (bytes > 0) kern_ref_download(k, host, R(src), bytes);
}

/* Packed: the weight's near pointer, kept so that linear finds out when nobody packed. */
static enum status far_pack(struct kern *k, struct kern_matrix *m, struct err *e)
{
    (void)k, (void)e;
    m->packed = W(m->w);
    return STATUS_OK;
}

static void far_unpack(struct kern *k, struct kern_matrix *m)
{
    (void)k;
    m->packed = NULL;
}

static struct kern_matrix matrix(const struct kern_matrix *m, const char *op)
{
    struct kern_matrix near = *m;
    near.w = near_of(m->w, op);
    near.packed = NULL;
    return near;
}

static void far_zero(struct kern *k, float *x, size_t n)
{
    kern_ref_zero(k, W(x), n);
}

static void far_copy(struct kern *k, float *y, const float *x, size_t n)
{
    kern_ref_copy(k, W(y), R(x), n);
}

static void far_axpy(struct kern *k, float *y, float a, const float *x, size_t n)
{
    kern_ref_axpy(k, W(y), a, R(x), n);
}

static void far_linear(struct kern *k, float *y, float *pre, const float *x, const struct kern_matrix *w,
                       const float *b, enum kern_act act, size_t N)
{
    const struct kern_matrix near = matrix(w, __func__);
    kern_ref_linear(k, W(y), W(pre), R(x), &near, R(b), act, N);
}

static void far_linear_dx(struct kern *k, float *dx, const float *dy, const struct kern_matrix *w, size_t N)
{
    const struct kern_matrix near = matrix(w, __func__);
    kern_ref_linear_dx(k, W(dx), R(dy), &near, N);
}

static void far_linear_dw(struct kern *k, float *dw, float *db, const float *dy, const float *x, size_t N, size_t O,
                          size_t I, enum kern_precision prec, bool add)
{
    kern_ref_linear_dw(k, W(dw), W(db), R(dy), R(x), N, O, I, prec, add);
}

static void far_gemm_nt(struct kern *k, float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb,
                        size_t M, size_t N, size_t K, float beta)
{
    kern_ref_gemm_nt(k, W(c), ldc, R(a), lda, R(b), ldb, M, N, K, beta);
}

static void far_gemm_nn(struct kern *k, float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb,
                        size_t M, size_t N, size_t K, float beta)
{
    kern_ref_gemm_nn(k, W(c), ldc, R(a), lda, R(b), ldb, M, N, K, beta);
}

static void far_gemm_tn(struct kern *k, float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb,
                        size_t M, size_t N, size_t K, float beta)
{
    kern_ref_gemm_tn(k, W(c), ldc, R(a), lda, R(b), ldb, M, N, K, beta);
}

static void far_act(struct kern *k, float *y, const float *x, enum kern_act act, size_t n)
{
    kern_ref_act(k, W(y), R(x), act, n);
}

static void far_act_backward(struct kern *k, float *dx, const float *dy, const float *x, enum kern_act act, size_t n)
{
    kern_ref_act_backward(k, W(dx), R(dy), R(x), act, n);
}

static void far_layernorm(struct kern *k, float *out, float *mean, float *rstd, float *sum, const float *x,
                          const float *res, const float *gain, const float *bias, float eps, size_t N, size_t C)
{
    kern_ref_layernorm(k, W(out), W(mean), W(rstd), W(sum), R(x), R(res), R(gain), R(bias), eps, N, C);
}

static void far_layernorm_backward(struct kern *k, float *dx, float *dgain, float *dbias, const float *dout,
                                   const float *x, const float *gain, const float *mean, const float *rstd, size_t N,
                                   size_t C)
{
    kern_ref_layernorm_backward(k, W(dx), W(dgain), W(dbias), R(dout), R(x), R(gain), R(mean), R(rstd), N, C);
}

/* The offsets are the host's, as kern.h says. */
static void far_attention(struct kern *k, float *out, float *prob, const float *q, size_t ldq, const float *kk,
                          const float *vv, size_t ldk, const float *pk, const float *pv, size_t ldp,
                          const struct kern_segments *seg, size_t H, size_t D)
{
    kern_ref_attention(k, W(out), W(prob), R(q), ldq, R(kk), R(vv), ldk, R(pk), R(pv), ldp, seg, H, D);
}

static void far_attention_backward(struct kern *k, float *dq, size_t lddq, float *dk, float *dv, size_t lddk,
                                   float *dpk, float *dpv, size_t lddp, const float *dout, const float *prob,
                                   const float *q, size_t ldq, const float *kk, const float *vv, size_t ldk,
                                   const float *pk, const float *pv, size_t ldp, const struct kern_segments *seg,
                                   size_t H, size_t D)
{
    kern_ref_attention_backward(k, W(dq), lddq, W(dk), W(dv), lddk, W(dpk), W(dpv), lddp, R(dout), R(prob), R(q), ldq,
                                R(kk), R(vv), ldk, R(pk), R(pv), ldp, seg, H, D);
}

static void far_gather(struct kern *k, float *out, const float *table, const int32_t *idx, size_t N, size_t C)
{
    kern_ref_gather(k, W(out), R(table), R(idx), N, C);
}

static void far_scatter_add(struct kern *k, float *dtable, const float *d, const int32_t *idx, size_t N, size_t C)
{
    kern_ref_scatter_add(k, W(dtable), R(d), R(idx), N, C);
}

static void far_put_rows(struct kern *k, float *table, const float *d, const int32_t *idx, size_t N, size_t C)
{
    kern_ref_put_rows(k, W(table), R(d), R(idx), N, C);
}

static void far_embed(struct kern *k, float *x, const float *word, const float *position, const float *type,
                      const int32_t *id, const int32_t *pos, const int32_t *typ, size_t N, size_t C)
{
    kern_ref_embed(k, W(x), R(word), R(position), R(type), R(id), R(pos), R(typ), N, C);
}

static void far_mean_rows(struct kern *k, float *out, const float *x, const int32_t *off, size_t S, size_t C)
{
    kern_ref_mean_rows(k, W(out), R(x), R(off), S, C);
}

static void far_unit_rows(struct kern *k, float *out, float *norm, const float *x, float scale, size_t N, size_t C)
{
    kern_ref_unit_rows(k, W(out), W(norm), R(x), scale, N, C);
}

static void far_unit_rows_backward(struct kern *k, float *dx, const float *dout, const float *out, const float *norm,
                                   float scale, size_t N, size_t C)
{
    kern_ref_unit_rows_backward(k, W(dx), R(dout), R(out), R(norm), scale, N, C);
}

static void far_dropout(struct kern *k, float *y, const float *x, const uint8_t *keep, float p, size_t n)
{
    kern_ref_dropout(k, W(y), R(x), R(keep), p, n);
}

static void far_bce(struct kern *k, float *loss, float *dz, const float *z, const float *y, const float *w, float scale,
                    size_t n)
{
    kern_ref_bce(k, W(loss), W(dz), R(z), R(y), R(w), scale, n);
}

static void far_slate_softmax(struct kern *k, float *loss, float *dz, const float *z, const float *y, const float *w,
                              float scale, size_t n)
{
    kern_ref_slate_softmax(k, W(loss), W(dz), R(z), R(y), R(w), scale, n);
}

static void far_task_bce(struct kern *k, float *loss, float *ds, float *dh, const float *s, const float *h,
                         const float *y, const uint8_t *chained, size_t K, size_t T)
{
    kern_ref_task_bce(k, W(loss), W(ds), W(dh), R(s), R(h), R(y), R(chained), K, T);
}

static struct kern_match match_of(const struct kern_match *m, const char *op)
{
    struct kern_match near = *m;
    near.s = near_of(m->s, op);
    near.b = near_of(m->b, op);
    near.tau = near_of(m->tau, op);
    near.self = near_of(m->self, op);
    return near;
}

static void far_match(struct kern *k, float *feat, float *keep, const struct kern_match *m)
{
    const struct kern_match near = match_of(m, __func__);
    kern_ref_match(k, W(feat), W(keep), &near);
}

static void far_match_backward(struct kern *k, float *ds, float *db, float *dtau, const float *dfeat, const float *keep,
                               const struct kern_match *m)
{
    const struct kern_match near = match_of(m, __func__);
    kern_ref_match_backward(k, W(ds), W(db), W(dtau), R(dfeat), R(keep), &near);
}

static void far_widen(struct kern *k, float *y, const uint16_t *x, size_t n)
{
    kern_ref_widen(k, W(y), R(x), n);
}

static void far_match_fixed(struct kern *k, float *out, const float *taste, const float *cos, const uint8_t *self,
                            size_t K, size_t E)
{
    kern_ref_match_fixed(k, W(out), R(taste), R(cos), R(self), K, E);
}

static size_t sparse_calls;

/* FAR_SAYS: how often it was asked for sparse sums, which tells whether slates were taken together. */
static __attribute__((destructor)) void far_says(void)
{
    if (getenv("FAR_SAYS") != NULL) (void)fprintf(stderr, "far: %zu sparse sums\n", sparse_calls);
}

static void far_sparse_forward(struct kern *k, float *z, const float *w, const uint32_t *off, const uint32_t *idx,
                               const float *val, size_t n)
{
    sparse_calls++;
    kern_ref_sparse_forward(k, W(z), R(w), R(off), R(idx), R(val), n);
}

static void far_sparse_adagrad(struct kern *k, float *w, float *acc, const uint32_t *idx, const float *g, float lr,
                               size_t N, size_t C)
{
    kern_ref_sparse_adagrad(k, W(w), W(acc), R(idx), R(g), lr, N, C);
}

static void far_adamw(struct kern *k, float *w, float *m, float *v, const float *g, size_t n,
                      const struct kern_adamw *o)
{
    kern_ref_adamw(k, W(w), W(m), W(v), R(g), n, o);
}

static void far_adamw_matrix(struct kern *k, const struct kern_matrix *w, float *m, float *v, const float *g,
                             const struct kern_adamw *o)
{
    const struct kern_matrix near = matrix(w, __func__);
    kern_ref_adamw_matrix(k, &near, W(m), W(v), R(g), o);
}

static void far_adagrad(struct kern *k, float *w, float *acc, const float *g, float lr, size_t n)
{
    kern_ref_adagrad(k, W(w), W(acc), R(g), lr, n);
}

static void far_pull(struct kern *k, float *w, const float *to, float share, size_t n)
{
    kern_ref_pull(k, W(w), R(to), share, n);
}

static void far_sum_squares(struct kern *k, float *out, const float *x, size_t n)
{
    kern_ref_sum_squares(k, W(out), R(x), n);
}

static void far_all_finite(struct kern *k, float *out, const float *x, size_t n)
{
    kern_ref_all_finite(k, W(out), R(x), n);
}

static struct kern_ops ops;

/* open and close are the reference's own. */
static void fill(void)
{
    ops = kern_ref_ops;
    ops.name = "cuda";
    ops.host_visible = false;
    ops.alloc = far_alloc, ops.release = far_release, ops.upload = far_upload, ops.download = far_download;
    ops.pack = far_pack, ops.unpack = far_unpack;
    ops.zero = far_zero, ops.copy = far_copy, ops.axpy = far_axpy;
    ops.linear = far_linear, ops.linear_dx = far_linear_dx, ops.linear_dw = far_linear_dw;
    ops.gemm_nt = far_gemm_nt, ops.gemm_nn = far_gemm_nn, ops.gemm_tn = far_gemm_tn;
    ops.act = far_act, ops.act_backward = far_act_backward;
    ops.layernorm = far_layernorm, ops.layernorm_backward = far_layernorm_backward;
    ops.attention = far_attention, ops.attention_backward = far_attention_backward;
    ops.gather = far_gather, ops.scatter_add = far_scatter_add, ops.put_rows = far_put_rows, ops.embed = far_embed;
    ops.mean_rows = far_mean_rows, ops.unit_rows = far_unit_rows, ops.unit_rows_backward = far_unit_rows_backward;
    ops.dropout = far_dropout, ops.bce = far_bce, ops.slate_softmax = far_slate_softmax, ops.task_bce = far_task_bce;
    ops.match = far_match, ops.match_backward = far_match_backward, ops.match_fixed = far_match_fixed;
    ops.widen = far_widen;
    ops.sparse_forward = far_sparse_forward, ops.sparse_adagrad = far_sparse_adagrad;
    ops.adamw = far_adamw, ops.adamw_matrix = far_adamw_matrix, ops.adagrad = far_adagrad, ops.pull = far_pull;
    ops.sum_squares = far_sum_squares, ops.all_finite = far_all_finite;
}

__attribute__((visibility("default"))) const struct kern_plugin *freshet_kern_plugin(void);
const struct kern_plugin *freshet_kern_plugin(void)
{
    static const struct kern_plugin self = {KERN_PLUGIN_ABI, sizeof(struct kern_ops), KERN_PLUGIN_ARGS, &ops};
    if (ops.name == NULL) fill();
    return &self;
}

/* ref.h - the reference backend's functions, one per entry of struct kern_ops.
 *
 * Plain loops over the definition, summing in double: slow, and right by reading.  Other backends take from here what
 * they have no faster form of.  Contracts stand in kern.h; nothing here allocates except alloc.
 */
#ifndef KERNELS_REF_REF_H
#define KERNELS_REF_REF_H
#include "kernels/kern.h"

/* Host memory: what every backend that computes on the CPU shares. */
void *kern_ref_alloc(struct kern *k, size_t bytes);
void kern_ref_release(struct kern *k, void *p);
void kern_ref_upload(struct kern *k, void *dst, const void *host, size_t bytes);
void kern_ref_download(struct kern *k, void *host, const void *src, size_t bytes);
void kern_ref_begin(struct kern *k);
void kern_ref_end(struct kern *k);
void kern_ref_zero(struct kern *k, float *x, size_t n);
void kern_ref_copy(struct kern *k, float *y, const float *x, size_t n);
void kern_ref_axpy(struct kern *k, float *y, float a, const float *x, size_t n);

void kern_ref_linear(struct kern *k, float *y, float *pre, const float *x, const struct kern_matrix *w, const float *b,
                     enum kern_act act, size_t N);
void kern_ref_linear_dx(struct kern *k, float *dx, const float *dy, const struct kern_matrix *w, size_t N);
void kern_ref_linear_dw(struct kern *k, float *dw, float *db, const float *dy, const float *x, size_t N, size_t O,
                        size_t I, enum kern_precision prec, bool add);
void kern_ref_gemm_nt(struct kern *k, float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb,
                      size_t M, size_t N, size_t K, float beta);
void kern_ref_gemm_nn(struct kern *k, float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb,
                      size_t M, size_t N, size_t K, float beta);
void kern_ref_gemm_tn(struct kern *k, float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb,
                      size_t M, size_t N, size_t K, float beta);

void kern_ref_act(struct kern *k, float *y, const float *x, enum kern_act act, size_t n);
void kern_ref_act_backward(struct kern *k, float *dx, const float *dy, const float *x, enum kern_act act, size_t n);
void kern_ref_layernorm(struct kern *k, float *out, float *mean, float *rstd, float *sum, const float *x,
                        const float *res, const float *gain, const float *bias, float eps, size_t N, size_t C);
void kern_ref_layernorm_backward(struct kern *k, float *dx, float *dgain, float *dbias, const float *dout,
                                 const float *x, const float *gain, const float *mean, const float *rstd, size_t N,
                                 size_t C);
void kern_ref_attention(struct kern *k, float *out, float *prob, const float *q, size_t ldq, const float *kk,
                        const float *vv, size_t ldk, const float *pk, const float *pv, size_t ldp,
                        const struct kern_segments *seg, size_t H, size_t D);
void kern_ref_attention_backward(struct kern *k, float *dq, size_t lddq, float *dk, float *dv, size_t lddk, float *dpk,
                                 float *dpv, size_t lddp, const float *dout, const float *prob, const float *q,
                                 size_t ldq, const float *kk, const float *vv, size_t ldk, const float *pk,
                                 const float *pv, size_t ldp, const struct kern_segments *seg, size_t H, size_t D);

void kern_ref_gather(struct kern *k, float *out, const float *table, const int32_t *idx, size_t N, size_t C);
void kern_ref_scatter_add(struct kern *k, float *dtable, const float *d, const int32_t *idx, size_t N, size_t C);
void kern_ref_widen(struct kern *k, float *y, const uint16_t *x, size_t n);
void kern_ref_put_rows(struct kern *k, float *table, const float *d, const int32_t *idx, size_t N, size_t C);
void kern_ref_embed(struct kern *k, float *x, const float *word, const float *position, const float *type,
                    const int32_t *id, const int32_t *pos, const int32_t *typ, size_t N, size_t C);
void kern_ref_mean_rows(struct kern *k, float *out, const float *x, const int32_t *off, size_t S, size_t C);
void kern_ref_unit_rows(struct kern *k, float *out, float *norm, const float *x, float scale, size_t N, size_t C);
void kern_ref_unit_rows_backward(struct kern *k, float *dx, const float *dout, const float *out, const float *norm,
                                 float scale, size_t N, size_t C);
void kern_ref_dropout(struct kern *k, float *y, const float *x, const uint8_t *keep, float p, size_t n);

void kern_ref_bce(struct kern *k, float *loss, float *dz, const float *z, const float *y, const float *w, float scale,
                  size_t n);
void kern_ref_slate_softmax(struct kern *k, float *loss, float *dz, const float *z, const float *y, const float *w,
                            float scale, size_t n);
void kern_ref_task_bce(struct kern *k, float *loss, float *ds, float *dh, const float *s, const float *h,
                       const float *y, const uint8_t *chained, size_t K, size_t T);
void kern_ref_match(struct kern *k, float *feat, float *keep, const struct kern_match *m);
void kern_ref_match_backward(struct kern *k, float *ds, float *db, float *dtau, const float *dfeat, const float *keep,
                             const struct kern_match *m);
void kern_ref_match_fixed(struct kern *k, float *out, const float *taste, const float *cos, const uint8_t *self,
                          size_t K, size_t E);

void kern_ref_sparse_forward(struct kern *k, float *z, const float *w, const uint32_t *off, const uint32_t *idx,
                             const float *val, size_t n);
void kern_ref_sparse_adagrad(struct kern *k, float *w, float *acc, const uint32_t *idx, const float *g, float lr,
                             size_t N, size_t C);
void kern_ref_adamw(struct kern *k, float *w, float *m, float *v, const float *g, size_t n, const struct kern_adamw *o);
void kern_ref_adamw_matrix(struct kern *k, const struct kern_matrix *w, float *m, float *v, const float *g,
                           const struct kern_adamw *o);
void kern_ref_adagrad(struct kern *k, float *w, float *acc, const float *g, float lr, size_t n);
void kern_ref_pull(struct kern *k, float *w, const float *to, float share, size_t n);
void kern_ref_sum_squares(struct kern *k, float *out, const float *x, size_t n);
void kern_ref_all_finite(struct kern *k, float *out, const float *x, size_t n);
#endif

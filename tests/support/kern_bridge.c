/* kern_bridge.c - see kern_bridge.h.  Copies of one call are noted in a list, which `done` goes through. */
#include "tests/support/kern_bridge.h"
#include "base/mem.h"
#include "tests/support/check.h"
#include <stdint.h>
#include <string.h>

#define COPIES 64
#define GUARD 64 /* bytes behind each copy */

struct copy {
    char *far;
    void *host; /* NULL: read only */
    size_t rows, row_bytes, step_bytes, bytes;
};
static struct kern *far;
static struct kern_ops table;
static struct copy copies[COPIES];
static size_t n_copies;

/* Rows of row_bytes that begin step_bytes apart; NULL stays NULL. */
static void *take(const void *host, size_t rows, size_t row_bytes, size_t step_bytes, bool written)
{
    unsigned char guard[GUARD];
    if (host == NULL) return NULL;
    assert_true(n_copies < COPIES);
    const size_t bytes = rows > 0 ? (rows - 1) * step_bytes + row_bytes : 0;
    struct copy *c = &copies[n_copies++];
    *c = (struct copy){far->ops->alloc(far, bytes + GUARD),
                       written ? (void *)(uintptr_t)host : NULL,
                       rows,
                       row_bytes,
                       step_bytes,
                       bytes};
    assert_non_null(c->far);
    memset(guard, 0xa5, sizeof guard);
    if (bytes > 0) far->ops->upload(far, c->far, host, bytes);
    far->ops->upload(far, c->far + bytes, guard, GUARD);
    return c->far;
}

static void *in(const void *p, size_t n, size_t size)
{
    return take(p, n > 0, n * size, 0, false);
}

static void *out(void *p, size_t n, size_t size)
{
    return take(p, n > 0, n * size, 0, true);
}

static void give_back(const struct copy *c)
{
    unsigned char guard[GUARD];
    far->ops->download(far, guard, c->far + c->bytes, GUARD);
    for (size_t i = 0; i < GUARD; i++)
        if (guard[i] != 0xa5) fail_msg("written %zu bytes behind the end of %zu", i, c->bytes);
    for (size_t r = 0; r < c->rows && c->host != NULL; r++)
        far->ops->download(far, (char *)c->host + r * c->step_bytes, c->far + r * c->step_bytes, c->row_bytes);
}

static void done(void)
{
    for (size_t i = 0; i < n_copies; i++) {
        give_back(&copies[i]);
        far->ops->release(far, copies[i].far);
    }
    n_copies = 0;
}

#define IN(p, n) in((p), (n), sizeof *(p))
#define OUT(p, n) out((p), (n), sizeof *(p))
#define IN2(p, rows, cols, ld) take((p), (rows), (cols) * sizeof *(p), (ld) * sizeof *(p), false)
#define OUT2(p, rows, cols, ld) take((p), (rows), (cols) * sizeof *(p), (ld) * sizeof *(p), true)

static size_t past(const int32_t *idx, size_t n)
{
    int32_t most = -1;
    for (size_t i = 0; i < n; i++) most = idx[i] > most ? idx[i] : most;
    return (size_t)(most + 1);
}

/* --- memory ---------------------------------------------------------------------------------------------------------- */

static void b_close(struct kern *k)
{
    (void)k;
    kern_free(far);
    far = NULL;
}

static void *b_alloc(struct kern *k, size_t bytes)
{
    (void)k;
    return mem_aligned(bytes, 1);
}

static void b_release(struct kern *k, void *p)
{
    (void)k;
    mem_free(p);
}

static void b_copy_bytes(struct kern *k, void *to, const void *from, size_t bytes)
{
    (void)k;
    if (bytes > 0) memcpy(to, from, bytes);
}

static void b_begin(struct kern *k)
{
    (void)k;
    far->ops->begin(far);
}

static void b_end(struct kern *k)
{
    (void)k;
    far->ops->end(far);
}

/* What packed points to: the matrix over there, packed. */
static enum status b_pack(struct kern *k, struct kern_matrix *m, struct err *e)
{
    (void)k;
    struct kern_matrix *there = m->packed;
    if (there == NULL) {
        there = mem_calloc(1, sizeof *there);
        assert_non_null(there);
        there->w = far->ops->alloc(far, m->out * m->in * sizeof(float));
        assert_non_null(there->w);
        m->packed = there;
    }
    void *packed = there->packed;
    const float *w = there->w;
    *there = *m;
    there->w = w;
    there->packed = packed;
    far->ops->upload(far, (void *)(uintptr_t)there->w, m->w, m->out * m->in * sizeof(float));
    const enum status st = far->ops->pack(far, there, e);
    if (st != STATUS_OK) far->ops->release(far, (void *)(uintptr_t)there->w), mem_free(there), m->packed = NULL;
    return st;
}

static void b_unpack(struct kern *k, struct kern_matrix *m)
{
    (void)k;
    struct kern_matrix *there = m->packed;
    if (there == NULL) return;
    far->ops->unpack(far, there);
    far->ops->release(far, (void *)(uintptr_t)there->w);
    mem_free(there);
    m->packed = NULL;
}

static struct kern_matrix there(const struct kern_matrix *m)
{
    if (m->packed != NULL) return *(const struct kern_matrix *)m->packed;
    struct kern_matrix copy = *m;
    copy.w = IN(m->w, m->out * m->in);
    return copy;
}

/* --- operations ------------------------------------------------------------------------------------------------------ */

static void b_zero(struct kern *k, float *x, size_t n)
{
    (void)k;
    far->ops->zero(far, OUT(x, n), n);
    done();
}

static void b_copy(struct kern *k, float *y, const float *x, size_t n)
{
    (void)k;
    far->ops->copy(far, OUT(y, n), IN(x, n), n);
    done();
}

static void b_axpy(struct kern *k, float *y, float a, const float *x, size_t n)
{
    (void)k;
    far->ops->axpy(far, OUT(y, n), a, IN(x, n), n);
    done();
}

static void b_linear(struct kern *k, float *y, float *pre, const float *x, const struct kern_matrix *w, const float *b,
                     enum kern_act act, size_t N)
{
    (void)k;
    const struct kern_matrix m = there(w);
    far->ops->linear(far, OUT(y, N * w->out), OUT(pre, N * w->out), IN(x, N * w->in), &m, IN(b, w->out), act, N);
    done();
}

static void b_linear_dx(struct kern *k, float *dx, const float *dy, const struct kern_matrix *w, size_t N)
{
    (void)k;
    const struct kern_matrix m = there(w);
    far->ops->linear_dx(far, OUT(dx, N * w->in), IN(dy, N * w->out), &m, N);
    done();
}

static void b_linear_dw(struct kern *k, float *dw, float *db, const float *dy, const float *x, size_t N, size_t O,
                        size_t I, enum kern_precision prec, bool add)
{
    (void)k;
    far->ops->linear_dw(far, OUT(dw, O * I), OUT(db, O), IN(dy, N * O), IN(x, N * I), N, O, I, prec, add);
    done();
}

static void b_gemm_nt(struct kern *k, float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb,
                      size_t M, size_t N, size_t K, float beta)
{
    (void)k;
    far->ops->gemm_nt(far, OUT2(c, M, N, ldc), ldc, IN2(a, M, K, lda), lda, IN2(b, N, K, ldb), ldb, M, N, K, beta);
    done();
}

static void b_gemm_nn(struct kern *k, float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb,
                      size_t M, size_t N, size_t K, float beta)
{
    (void)k;
    far->ops->gemm_nn(far, OUT2(c, M, N, ldc), ldc, IN2(a, M, K, lda), lda, IN2(b, K, N, ldb), ldb, M, N, K, beta);
    done();
}

static void b_gemm_tn(struct kern *k, float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb,
                      size_t M, size_t N, size_t K, float beta)
{
    (void)k;
    far->ops->gemm_tn(far, OUT2(c, M, N, ldc), ldc, IN2(a, K, M, lda), lda, IN2(b, K, N, ldb), ldb, M, N, K, beta);
    done();
}

static void b_act(struct kern *k, float *y, const float *x, enum kern_act act, size_t n)
{
    (void)k;
    far->ops->act(far, OUT(y, n), IN(x, n), act, n);
    done();
}

static void b_act_backward(struct kern *k, float *dx, const float *dy, const float *x, enum kern_act act, size_t n)
{
    (void)k;
    far->ops->act_backward(far, OUT(dx, n), IN(dy, n), IN(x, n), act, n);
    done();
}

static void b_layernorm(struct kern *k, float *y, float *mean, float *rstd, float *sum, const float *x,
                        const float *res, const float *gain, const float *bias, float eps, size_t N, size_t C)
{
    (void)k;
    far->ops->layernorm(far, OUT(y, N * C), OUT(mean, N), OUT(rstd, N), OUT(sum, N * C), IN(x, N * C), IN(res, N * C),
                        IN(gain, C), IN(bias, C), eps, N, C);
    done();
}

static void b_layernorm_backward(struct kern *k, float *dx, float *dgain, float *dbias, const float *dout,
                                 const float *x, const float *gain, const float *mean, const float *rstd, size_t N,
                                 size_t C)
{
    (void)k;
    far->ops->layernorm_backward(far, OUT(dx, N * C), OUT(dgain, C), OUT(dbias, C), IN(dout, N * C), IN(x, N * C),
                                 IN(gain, C), IN(mean, N), IN(rstd, N), N, C);
    done();
}

static size_t rows_of(const int32_t *off, const struct kern_segments *seg)
{
    return seg->n > 0 ? (size_t)off[seg->n] : 0;
}

static size_t prefix_of(const struct kern_segments *seg)
{
    return seg->groups > 0 ? (size_t)seg->p_off[seg->groups] : 0;
}

static void b_attention(struct kern *k, float *y, float *prob, const float *q, size_t ldq, const float *kk,
                        const float *vv, size_t ldk, const float *pk, const float *pv, size_t ldp,
                        const struct kern_segments *seg, size_t H, size_t D)
{
    (void)k;
    const size_t Q = rows_of(seg->q_off, seg), K = rows_of(seg->k_off, seg), P = prefix_of(seg), C = H * D;
    far->ops->attention(far, OUT(y, Q * C), OUT(prob, kern_attention_probs(seg, H)), IN2(q, Q, C, ldq), ldq,
                        IN2(kk, K, C, ldk), IN2(vv, K, C, ldk), ldk, IN2(pk, P, C, ldp), IN2(pv, P, C, ldp), ldp, seg,
                        H, D);
    done();
}

static void b_attention_backward(struct kern *k, float *dq, size_t lddq, float *dk, float *dv, size_t lddk, float *dpk,
                                 float *dpv, size_t lddp, const float *dout, const float *prob, const float *q,
                                 size_t ldq, const float *kk, const float *vv, size_t ldk, const float *pk,
                                 const float *pv, size_t ldp, const struct kern_segments *seg, size_t H, size_t D)
{
    (void)k;
    const size_t Q = rows_of(seg->q_off, seg), K = rows_of(seg->k_off, seg), P = prefix_of(seg), C = H * D;
    far->ops->attention_backward(far, OUT2(dq, Q, C, lddq), lddq, OUT2(dk, K, C, lddk), OUT2(dv, K, C, lddk), lddk,
                                 OUT2(dpk, P, C, lddp), OUT2(dpv, P, C, lddp), lddp, IN(dout, Q * C),
                                 IN(prob, kern_attention_probs(seg, H)), IN2(q, Q, C, ldq), ldq, IN2(kk, K, C, ldk),
                                 IN2(vv, K, C, ldk), ldk, IN2(pk, P, C, ldp), IN2(pv, P, C, ldp), ldp, seg, H, D);
    done();
}

/* Room is lent, but what is in it is nobody's business. */
static bool b_stack(struct kern *k, float *x, void *room, const struct kern_stack *s, const struct kern_segments *seg,
                    size_t N)
{
    (void)k;
    struct kern_layer layers[4];
    struct kern_stack over = *s;
    assert_true(s->n <= sizeof layers / sizeof *layers);
    for (size_t l = 0; l < s->n; l++) {
        const struct kern_layer *w = &s->layers[l];
        layers[l] = (struct kern_layer){there(&w->qkv),        there(&w->o),           there(&w->up),
                                        there(&w->down),       IN(w->qkv_b, 3 * s->C), IN(w->o_b, s->C),
                                        IN(w->up_b, s->F),     IN(w->down_b, s->C),    IN(w->ln1_gain, s->C),
                                        IN(w->ln1_bias, s->C), IN(w->ln2_gain, s->C),  IN(w->ln2_bias, s->C)};
    }
    over.layers = layers;
    const bool taken = far->ops->stack(far, OUT(x, N * s->C), OUT((float *)room, (6 * s->C + s->F) * N), &over, seg, N);
    done();
    return taken;
}

static void b_gather(struct kern *k, float *y, const float *rows, const int32_t *idx, size_t N, size_t C)
{
    (void)k;
    far->ops->gather(far, OUT(y, N * C), IN(rows, past(idx, N) * C), IN(idx, N), N, C);
    done();
}

static void b_scatter_add(struct kern *k, float *rows, const float *d, const int32_t *idx, size_t N, size_t C)
{
    (void)k;
    far->ops->scatter_add(far, OUT(rows, past(idx, N) * C), IN(d, N * C), IN(idx, N), N, C);
    done();
}

static void b_put_rows(struct kern *k, float *rows, const float *d, const int32_t *idx, size_t N, size_t C)
{
    (void)k;
    far->ops->put_rows(far, OUT(rows, past(idx, N) * C), IN(d, N * C), IN(idx, N), N, C);
    done();
}

static void b_embed(struct kern *k, float *x, const float *word, const float *position, const float *type,
                    const int32_t *id, const int32_t *pos, const int32_t *typ, size_t N, size_t C)
{
    (void)k;
    far->ops->embed(far, OUT(x, N * C), IN(word, past(id, N) * C), IN(position, past(pos, N) * C),
                    IN(type, past(typ, N) * C), IN(id, N), IN(pos, N), IN(typ, N), N, C);
    done();
}

static void b_mean_rows(struct kern *k, float *y, const float *x, const int32_t *off, size_t S, size_t C)
{
    (void)k;
    far->ops->mean_rows(far, OUT(y, S * C), IN(x, (size_t)off[S] * C), IN(off, S + 1), S, C);
    done();
}

static void b_unit_rows(struct kern *k, float *y, float *norm, const float *x, float scale, size_t N, size_t C)
{
    (void)k;
    far->ops->unit_rows(far, OUT(y, N * C), OUT(norm, N), IN(x, N * C), scale, N, C);
    done();
}

static void b_unit_rows_backward(struct kern *k, float *dx, const float *dout, const float *y, const float *norm,
                                 float scale, size_t N, size_t C)
{
    (void)k;
    far->ops->unit_rows_backward(far, OUT(dx, N * C), IN(dout, N * C), IN(y, N * C), IN(norm, N), scale, N, C);
    done();
}

static void b_dropout(struct kern *k, float *y, const float *x, const uint8_t *keep, float p, size_t n)
{
    (void)k;
    far->ops->dropout(far, OUT(y, n), IN(x, n), IN(keep, n), p, n);
    done();
}

static void b_bce(struct kern *k, float *loss, float *dz, const float *z, const float *y, const float *w, float scale,
                  size_t n)
{
    (void)k;
    far->ops->bce(far, OUT(loss, 1), OUT(dz, n), IN(z, n), IN(y, n), IN(w, n), scale, n);
    done();
}

static void b_slate_softmax(struct kern *k, float *loss, float *dz, const float *z, const float *y, const float *w,
                            float scale, size_t n)
{
    (void)k;
    far->ops->slate_softmax(far, OUT(loss, 1), OUT(dz, n), IN(z, n), IN(y, n), IN(w, n), scale, n);
    done();
}

static void b_task_bce(struct kern *k, float *loss, float *ds, float *dh, const float *s, const float *h,
                       const float *y, const uint8_t *chained, size_t K, size_t T)
{
    (void)k;
    far->ops->task_bce(far, OUT(loss, 1), OUT(ds, K), OUT(dh, K * T), IN(s, K), IN(h, K * T), IN(y, K * T),
                       IN(chained, T), K, T);
    done();
}

static struct kern_match match_there(const struct kern_match *m)
{
    struct kern_match t = *m;
    t.s = IN(m->s, m->K * m->E);
    t.b = IN(m->b, m->E);
    t.tau = IN(m->tau, m->T);
    t.self = IN(m->self, m->K * m->E);
    return t;
}

static void b_match(struct kern *k, float *feat, float *keep, const struct kern_match *m)
{
    (void)k;
    const struct kern_match t = match_there(m);
    far->ops->match(far, OUT(feat, m->K * (m->T + 2)), OUT(keep, m->K * (m->T + 1) * m->E), &t);
    done();
}

static void b_widen(struct kern *k, float *y, const uint16_t *x, size_t n)
{
    (void)k;
    far->ops->widen(far, OUT(y, n), IN(x, n), n);
    done();
}

static void b_match_fixed(struct kern *k, float *fixed, const float *taste, const float *cos, const uint8_t *self,
                          size_t K, size_t E)
{
    (void)k;
    far->ops->match_fixed(far, OUT(fixed, 3 * K), IN(taste, K), IN(cos, K * E), IN(self, K * E), K, E);
    done();
}

static void b_match_backward(struct kern *k, float *ds, float *db, float *dtau, const float *dfeat, const float *keep,
                             const struct kern_match *m)
{
    (void)k;
    const struct kern_match t = match_there(m);
    far->ops->match_backward(far, OUT(ds, m->K * m->E), OUT(db, m->E), OUT(dtau, m->T), IN(dfeat, m->K * (m->T + 2)),
                             IN(keep, m->K * (m->T + 1) * m->E), &t);
    done();
}

static void b_sparse_forward(struct kern *k, float *z, const float *w, const uint32_t *off, const uint32_t *idx,
                             const float *val, size_t n)
{
    (void)k;
    const size_t m = n > 0 ? off[n] : 0;
    far->ops->sparse_forward(far, OUT(z, n), IN(w, past((const int32_t *)idx, m)), IN(off, n + 1), IN(idx, m),
                             IN(val, m), n);
    done();
}

static void b_sparse_adagrad(struct kern *k, float *w, float *acc, const uint32_t *idx, const float *g, float lr,
                             size_t N, size_t C)
{
    (void)k;
    const size_t rows = past((const int32_t *)idx, N);
    far->ops->sparse_adagrad(far, OUT(w, rows * C), OUT(acc, rows), IN(idx, N), IN(g, N * C), lr, N, C);
    done();
}

static void b_adamw(struct kern *k, float *w, float *m, float *v, const float *g, size_t n, const struct kern_adamw *o)
{
    (void)k;
    far->ops->adamw(far, OUT(w, n), OUT(m, n), OUT(v, n), IN(g, n), n, o);
    done();
}

static void b_adamw_matrix(struct kern *k, const struct kern_matrix *w, float *m, float *v, const float *g,
                           const struct kern_adamw *o)
{
    (void)k;
    const size_t n = w->out * w->in;
    const struct kern_matrix t = *(const struct kern_matrix *)w->packed;
    far->ops->upload(far, (void *)(uintptr_t)t.w, w->w, n * sizeof(float));
    far->ops->adamw_matrix(far, &t, OUT(m, n), OUT(v, n), IN(g, n), o);
    far->ops->download(far, (void *)(uintptr_t)w->w, t.w, n * sizeof(float));
    done();
}

static void b_adagrad(struct kern *k, float *w, float *acc, const float *g, float lr, size_t n)
{
    (void)k;
    far->ops->adagrad(far, OUT(w, n), OUT(acc, n), IN(g, n), lr, n);
    done();
}

static void b_pull(struct kern *k, float *w, const float *to, float share, size_t n)
{
    (void)k;
    far->ops->pull(far, OUT(w, n), IN(to, n), share, n);
    done();
}

static void b_sum_squares(struct kern *k, float *y, const float *x, size_t n)
{
    (void)k;
    far->ops->sum_squares(far, OUT(y, 1), IN(x, n), n);
    done();
}

static void b_all_finite(struct kern *k, float *y, const float *x, size_t n)
{
    (void)k;
    far->ops->all_finite(far, OUT(y, 1), IN(x, n), n);
    done();
}

struct kern *kern_bridge(struct kern *take_far)
{
    assert_null(far);
    far = take_far;
    table = (struct kern_ops){
        .name = far->ops->name,
        .host_visible = true,
        .rows_alone = far->ops->rows_alone,
        .open = far->ops->open,
        .close = b_close,
        .alloc = b_alloc,
        .release = b_release,
        .upload = b_copy_bytes,
        .download = b_copy_bytes,
        .begin = b_begin,
        .end = b_end,
        .pack = b_pack,
        .unpack = b_unpack,
        .zero = b_zero,
        .copy = b_copy,
        .axpy = b_axpy,
        .linear = b_linear,
        .linear_dx = b_linear_dx,
        .linear_dw = b_linear_dw,
        .gemm_nt = b_gemm_nt,
        .gemm_nn = b_gemm_nn,
        .gemm_tn = b_gemm_tn,
        .act = b_act,
        .act_backward = b_act_backward,
        .layernorm = b_layernorm,
        .layernorm_backward = b_layernorm_backward,
        .attention = b_attention,
        .attention_backward = b_attention_backward,
        .stack = far->ops->stack != NULL ? b_stack : NULL,
        .gather = b_gather,
        .scatter_add = b_scatter_add,
        .embed = b_embed,
        .put_rows = b_put_rows,
        .mean_rows = b_mean_rows,
        .unit_rows = b_unit_rows,
        .unit_rows_backward = b_unit_rows_backward,
        .dropout = b_dropout,
        .bce = b_bce,
        .slate_softmax = b_slate_softmax,
        .task_bce = b_task_bce,
        .match = b_match,
        .match_backward = b_match_backward,
        .match_fixed = b_match_fixed,
        .widen = b_widen,
        .sparse_forward = b_sparse_forward,
        .sparse_adagrad = b_sparse_adagrad,
        .adamw = b_adamw,
        .adamw_matrix = b_adamw_matrix,
        .adagrad = b_adagrad,
        .pull = b_pull,
        .sum_squares = b_sum_squares,
        .all_finite = b_all_finite,
    };
    struct kern *k = mem_calloc(1, sizeof *k);
    assert_non_null(k);
    *k = (struct kern){.ops = &table, .state = far->state};
    return k;
}

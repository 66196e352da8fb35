/* linear.cu - linear layers: packed weights, which products go where, what follows them.
 *
 * Products of layers go to cuBLASLt with the bias in its epilogue, and GELU_NEW or ReLU too where their epilogue says what is
 * wanted.  The error function's GELU has none, so it follows as a kernel of 8 (with `pre` 12) bytes a number.  A gradient of
 * the bias has an epilogue that writes, and sums rounded operands; ours adds, and sums what was given: a kernel as well.
 * Heads of a few outputs are one warp a number: 4*I bytes of x each.
 */
#include "kernels/cuda/act.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/reduce.h"

#define FEW 8 /* outputs of a head */

struct rounding {
    uint16_t *y;
    const float *x;
    size_t n;
};

/* 6 bytes a number. */
KERNEL(k_to_bf16, struct rounding)
{
    if (THREAD < a.n) a.y[THREAD] = bf16_round(a.x[THREAD]);
}

void cuda_to_bf16(struct cuda *c, uint16_t *out, const float *x, size_t n)
{
    const struct rounding a = {out, x, n};
    if (n > 0) LAUNCH(c, k_to_bf16, launch_blocks(n, BLOCK), BLOCK, &a);
}

enum status cuda_pack(struct kern *k, struct kern_matrix *m, struct err *e)
{
    const size_t n = m->out * m->in;
    if (m->prec == KERN_INT8)
        return ERR_SET(e, STATUS_UNSUPPORTED, "cuda: int8 is for backend cpu; use kernels.precision=bf16 or tf32");
    cuda_memory_here();
    if (m->prec == KERN_F32) {
        cuda_unpack(k, m);
        return STATUS_OK;
    }
    if (m->packed == NULL) m->packed = cuda_memory_take(n * sizeof(uint16_t));
    if (m->packed == NULL)
        return ERR_SET(e, STATUS_OOM, "cuda: no device memory for a matrix of %zu x %zu; raise kernels.device_mb", m->out, m->in);
    cuda_to_bf16(cuda_of(k), (uint16_t *)m->packed, m->w, n);
    return STATUS_OK;
}

void cuda_unpack(struct kern *k, struct kern_matrix *m)
{
    if (m->packed == NULL) return;
    cuda_wait(cuda_of(k), "unpacking");
    cuda_memory_give(m->packed);
    m->packed = NULL;
}

struct head {
    float *y, *pre;
    const float *x, *w, *b;
    size_t act, N, O, I, bf16; /* act: enum kern_act */
};

/* A warp a number: row n of x with row o of w. */
KERNEL_TOGETHER(k_head, struct head)
{
    const size_t n = WARP_INDEX / a.O, o = WARP_INDEX % a.O;
    if (n >= a.N) return;
    double sum = 0.0;
    for (size_t i = LANE; i < a.I; i += WARP) {
        const float x = a.x[n * a.I + i], w = a.w[o * a.I + i];
        sum += a.bf16 ? (double)bf16_value(bf16_round(x)) * (double)bf16_value(bf16_round(w)) : (double)x * (double)w;
    }
    sum = warp_sum(sum);
    if (LANE > 0) return;
    const float v = (float)(sum + (a.b != NULL ? (double)a.b[o] : 0.0));
    if (a.pre != NULL) a.pre[n * a.O + o] = v;
    a.y[n * a.O + o] = act_value(v, (enum kern_act)a.act);
}

struct tail {
    float *y, *pre;
    const float *b;
    size_t act, n, O;
};

/* y = act(y + b) in place; b NULL: the bias is in y already. */
KERNEL(k_tail, struct tail)
{
    if (THREAD >= a.n) return;
    const float v = a.y[THREAD] + (a.b != NULL ? a.b[THREAD % a.O] : 0.0f);
    if (a.pre != NULL) a.pre[THREAD] = v;
    a.y[THREAD] = act_value(v, (enum kern_act)a.act);
}

/* What cuBLASLt can do behind the product by itself. */
static bool in_epilogue(enum kern_act act, const float *pre)
{
    return act == KERN_ACT_NONE || (act == KERN_ACT_RELU && pre == NULL) || act == KERN_ACT_GELU_NEW;
}

/* x as the operand of a product in w's precision; NULL: no scratch. */
static const void *operand(struct cuda *c, const float *x, size_t n, bool bf16)
{
    if (!bf16) return x;
    uint16_t *rounded = (uint16_t *)cuda_scratch(c, n * sizeof *rounded);
    if (rounded != NULL) cuda_to_bf16(c, rounded, x, n);
    return rounded;
}

void cuda_linear(struct kern *k, float *y, float *pre, const float *x, const struct kern_matrix *w, const float *b,
                 enum kern_act act, size_t N)
{
    struct cuda *c = cuda_of(k);
    const size_t O = w->out, I = w->in;
    const bool bf16 = w->prec == KERN_BF16;
    if (N == 0 || O == 0) return;
    if (O <= FEW) {
        const struct head a = {y, pre, x, w->w, b, (size_t)act, N, O, I, bf16};
        LAUNCH(c, k_head, launch_blocks(N * O, WARPS), BLOCK, &a);
        return;
    }
    const bool whole = in_epilogue(act, pre);
    struct cuda_product p = {CUDA_NT, y, x, w->w, O, I, I, N, O, I, 0.0f, false, NULL, KERN_ACT_NONE, NULL, true, false};
    struct cuda_product fast = p;
    fast.bf16 = bf16 && w->packed != NULL;
    fast.bias = b;
    fast.act = whole ? act : KERN_ACT_NONE;
    fast.aux = whole && act == KERN_ACT_GELU_NEW ? pre : NULL;
    if (fast.bf16) fast.b = w->packed;
    fast.a = bf16 == fast.bf16 ? operand(c, x, N * I, bf16) : NULL;
    if (fast.a != NULL && cuda_lt_product(c, &fast)) {
        if (whole && (act != KERN_ACT_NONE || pre == NULL)) return;
        b = NULL;
    } else {
        p.bf16 = bf16;
        cuda_plain_product(c, &p);
    }
    const struct tail a = {y, pre, b, (size_t)act, N * O, O};
    if (b != NULL || pre != NULL || act != KERN_ACT_NONE) LAUNCH(c, k_tail, launch_blocks(N * O, BLOCK), BLOCK, &a);
}

void cuda_linear_dx(struct kern *k, float *dx, const float *dy, const struct kern_matrix *w, size_t N)
{
    struct cuda *c = cuda_of(k);
    const size_t O = w->out, I = w->in;
    const bool bf16 = w->prec == KERN_BF16;
    if (N == 0) return;
    struct cuda_product p = {CUDA_NN, dx, dy, w->w, I, O, I, N, I, O, 1.0f, false, NULL, KERN_ACT_NONE, NULL, false, false};
    struct cuda_product fast = p;
    fast.bf16 = bf16 && w->packed != NULL;
    if (fast.bf16) fast.b = w->packed;
    fast.a = O > FEW && bf16 == fast.bf16 ? operand(c, dy, N * O, bf16) : NULL;
    if (fast.a != NULL && cuda_lt_product(c, &fast)) return;
    p.bf16 = bf16;
    cuda_plain_product(c, &p);
}

void cuda_linear_dw(struct kern *k, float *dw, float *db, const float *dy, const float *x, size_t N, size_t O, size_t I,
                    enum kern_precision prec, bool add)
{
    struct cuda *c = cuda_of(k);
    const bool bf16 = prec == KERN_BF16;
    if (db != NULL) cuda_column_sums(c, db, dy, NULL, NULL, NULL, N, O);
    if (N == 0 && !add && dw != NULL) cuda_zero(k, dw, O * I);
    if (N == 0 || dw == NULL) return;
    struct cuda_product p = {CUDA_TN, dw, dy, x, I, O, I, O, I, N, add ? 1.0f : 0.0f, bf16, NULL, KERN_ACT_NONE, NULL, false, false};
    if (O > FEW && bf16) {
        const size_t n_dy = (N * O + 127) / 128 * 128;
        uint16_t *both = (uint16_t *)cuda_scratch(c, (n_dy + N * I) * sizeof *both);
        if (both == NULL) return;
        cuda_to_bf16(c, both, dy, N * O);
        cuda_to_bf16(c, both + n_dy, x, N * I);
        struct cuda_product fast = p;
        fast.a = both;
        fast.b = both + n_dy;
        if (cuda_lt_product(c, &fast)) return;
    } else if (O > FEW && cuda_lt_product(c, &p)) {
        return;
    }
    cuda_plain_product(c, &p);
}

static void product(struct kern *k, enum cuda_form form, float *c, size_t ldc, const float *a, size_t lda, const float *b,
                    size_t ldb, size_t M, size_t N, size_t K, float beta)
{
    const struct cuda_product p = {form, c, a, b, ldc, lda, ldb, M, N, K, beta, false, NULL, KERN_ACT_NONE, NULL,
                                   form == CUDA_NT, false}; /* candidates with a user's events: a row is alone */
    if (M == 0 || N == 0) return;
    if (K == 0 || !cuda_lt_product(cuda_of(k), &p)) cuda_plain_product(cuda_of(k), &p);
}

void cuda_gemm_nt(struct kern *k, float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb, size_t M,
                  size_t N, size_t K, float beta)
{
    product(k, CUDA_NT, c, ldc, a, lda, b, ldb, M, N, K, beta);
}

void cuda_gemm_nn(struct kern *k, float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb, size_t M,
                  size_t N, size_t K, float beta)
{
    product(k, CUDA_NN, c, ldc, a, lda, b, ldb, M, N, K, beta);
}

void cuda_gemm_tn(struct kern *k, float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb, size_t M,
                  size_t N, size_t K, float beta)
{
    product(k, CUDA_TN, c, ldc, a, lda, b, ldb, M, N, K, beta);
}

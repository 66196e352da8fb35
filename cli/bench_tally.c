/* bench_tally.c - a kernels' table in front of another one: counts the operations of its products and the time spent inside.
 *
 * What is counted is what a step of learning does in matrices: products, attention, GELU and LayerNorm, both ways.  Only
 * products and attention have operations; the time of the others counts all the same.  Thread: one tally at a time.
 */
#include "cli/bench.h"
#include "kernels/kern.h"

static const struct kern_ops *under; /* that does the work */
static struct cmd_bench_tally *tally;
static double begun_s;

static void begin(double operations)
{
    tally->operations += operations;
    begun_s = cmd_bench_now_s();
}

static void end(void)
{
    tally->seconds += cmd_bench_now_s() - begun_s;
}

static void linear(struct kern *k, float *y, float *pre, const float *x, const struct kern_matrix *w, const float *b,
                   enum kern_act act, size_t N)
{
    begin(2.0 * (double)(N * w->out * w->in));
    under->linear(k, y, pre, x, w, b, act, N);
    end();
}

static void linear_dx(struct kern *k, float *dx, const float *dy, const struct kern_matrix *w, size_t N)
{
    begin(2.0 * (double)(N * w->out * w->in));
    under->linear_dx(k, dx, dy, w, N);
    end();
}

static void linear_dw(struct kern *k, float *dw, float *db, const float *dy, const float *x, size_t N, size_t O,
                      size_t I, enum kern_precision prec, bool add)
{
    begin(dw != NULL ? 2.0 * (double)(N * O * I) : 0.0);
    under->linear_dw(k, dw, db, dy, x, N, O, I, prec, add);
    end();
}

/* AdamW is inside, whose operations don't count and whose time does. */
static void adamw_product(struct kern *k, const struct kern_matrix *w, float *m, float *v, float *room,
                          const struct kern_product *of, size_t n, const struct kern_adamw *o)
{
    double rows = 0.0;
    for (size_t i = 0; i < n; i++) rows += (double)of[i].N;
    begin(2.0 * rows * (double)(w->out * w->in));
    under->adamw_product(k, w, m, v, room, of, n, o);
    end();
}

#define GEMM(NAME)                                                                                                     \
    static void NAME(struct kern *k, float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb,     \
                     size_t M, size_t N, size_t K, float beta)                                                         \
    {                                                                                                                  \
        begin(2.0 * (double)(M * N * K));                                                                              \
        under->NAME(k, c, ldc, a, lda, b, ldb, M, N, K, beta);                                                         \
        end();                                                                                                         \
    }
GEMM(gemm_nt)
GEMM(gemm_nn)
GEMM(gemm_tn)

/* Two products of every query with all it sees. */
static double attention_operations(const struct kern_segments *seg, size_t C)
{
    return 4.0 * (double)kern_attention_probs(seg, 1) * (double)C;
}

static void attention(struct kern *k, float *out, float *prob, const float *q, size_t ldq, const float *kk,
                      const float *vv, size_t ldk, const float *pk, const float *pv, size_t ldp,
                      const struct kern_segments *seg, size_t H, size_t D)
{
    begin(attention_operations(seg, H * D));
    under->attention(k, out, prob, q, ldq, kk, vv, ldk, pk, pv, ldp, seg, H, D);
    end();
}

static void attention_backward(struct kern *k, float *dq, size_t lddq, float *dk, float *dv, size_t lddk, float *dpk,
                               float *dpv, size_t lddp, const float *dout, const float *prob, const float *q,
                               size_t ldq, const float *kk, const float *vv, size_t ldk, const float *pk,
                               const float *pv, size_t ldp, const struct kern_segments *seg, size_t H, size_t D)
{
    begin(2.0 * attention_operations(seg, H * D));
    under->attention_backward(k, dq, lddq, dk, dv, lddk, dpk, dpv, lddp, dout, prob, q, ldq, kk, vv, ldk, pk, pv, ldp,
                              seg, H, D);
    end();
}

static void act(struct kern *k, float *y, const float *x, enum kern_act a, size_t n)
{
    begin(0.0);
    under->act(k, y, x, a, n);
    end();
}

static void act_backward(struct kern *k, float *dx, const float *dy, const float *x, enum kern_act a, size_t n)
{
    begin(0.0);
    under->act_backward(k, dx, dy, x, a, n);
    end();
}

static void layernorm(struct kern *k, float *out, float *mean, float *rstd, float *sum, const float *x,
                      const float *res, const float *gain, const float *bias, float eps, size_t N, size_t C)
{
    begin(0.0);
    under->layernorm(k, out, mean, rstd, sum, x, res, gain, bias, eps, N, C);
    end();
}

static void layernorm_backward(struct kern *k, float *dx, float *dgain, float *dbias, const float *dout, const float *x,
                               const float *gain, const float *mean, const float *rstd, size_t N, size_t C)
{
    begin(0.0);
    under->layernorm_backward(k, dx, dgain, dbias, dout, x, gain, mean, rstd, N, C);
    end();
}

void cmd_bench_tally_on(struct kern *k, struct cmd_bench_tally *t)
{
    static struct kern_ops table;
    under = k->ops;
    tally = t;
    table = *k->ops;
    table.linear = linear;
    table.linear_dx = linear_dx;
    table.linear_dw = linear_dw;
    if (under->adamw_product != NULL) table.adamw_product = adamw_product;
    table.gemm_nt = gemm_nt;
    table.gemm_nn = gemm_nn;
    table.gemm_tn = gemm_tn;
    table.attention = attention;
    table.attention_backward = attention_backward;
    table.act = act;
    table.act_backward = act_backward;
    table.layernorm = layernorm;
    table.layernorm_backward = layernorm_backward;
    k->ops = &table;
}

void cmd_bench_tally_off(struct kern *k)
{
    k->ops = under;
}

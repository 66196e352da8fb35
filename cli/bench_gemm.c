/* bench_gemm.c - the kernels' products on the model's shapes: y = x w^T + b by packed matrices, per precision, one core.
 *
 * Shapes are rows N of 32 … 256 by each of a layer's four matrices.  A sample is one shape's rate, the median of its rounds,
 * so the spread that is shown is that over shapes, and its least is the worst shape.  Where the backend's memory is apart the
 * rows are up to 64 times as many, as long as a product stays short, and operands lie there already.
 */
#include "base/mem.h"
#include "cli/bench.h"
#include "model/encoder.h"

#define ROWS_MAX 256
#define FEW 6                                         /* rows that are checked too: 1 to as many as a tile has */
#define FAR_TIMES 64                                  /* as many rows where a device wants them, at most */
#define FAR_CALLS 32                                  /* between two waits for it, at most */
static const size_t rows[] = {32, 64, 100, 128, 256}; /* 100: what is left over when tiles don't fit */
enum { N_ROWS = sizeof rows / sizeof *rows, MATRICES = 4, SHAPES = N_ROWS * MATRICES, ROUNDS = 9, ROUNDS_QUICK = 3 };
#define ROUND_S 0.012 /* of a shape in a round: long beside the clock's step */

struct own {
    struct kern *ref;
    struct kern_matrix m[MATRICES];
    const float *bias[MATRICES];
    float *x, *y, *want; /* (ROWS_MAX, widest) */
    struct {             /* the same in the backend's memory; NULL: it sees the host's */
        float *x, *y, *w;
        size_t times, calls;
    } far;
};

/* A layer's matrices as encoder_layer lends them, without their packed form. */
static void take_matrices(struct own *o, const struct kern_layer *l)
{
    const struct kern_matrix *from[MATRICES] = {&l->qkv, &l->o, &l->up, &l->down};
    const float *const bias[MATRICES] = {l->qkv_b, l->o_b, l->up_b, l->down_b};
    for (int i = 0; i < MATRICES; i++) {
        o->m[i] = (struct kern_matrix){.w = from[i]->w, .out = from[i]->out, .in = from[i]->in};
        o->bias[i] = bias[i];
    }
}

static size_t widest(const struct own *o)
{
    size_t n = 0;
    for (int i = 0; i < MATRICES; i++) {
        if (o->m[i].out > n) n = o->m[i].out;
        if (o->m[i].in > n) n = o->m[i].in;
    }
    return n;
}

/* Operands and weights in the backend's memory, where that is apart; x comes again and again. */
static enum status place(struct cmd_bench *b, size_t n, struct err *e)
{
    struct own *o = b->own;
    struct kern *k = b->kern;
    size_t floats = 0;
    if (k->ops->host_visible) return STATUS_OK;
    for (int i = 0; i < MATRICES; i++) floats += o->m[i].out * (o->m[i].in + 1);
    o->far.x = k->ops->alloc(k, FAR_TIMES * n * sizeof(float));
    o->far.y = k->ops->alloc(k, FAR_TIMES * n * sizeof(float));
    float *at = o->far.w = k->ops->alloc(k, floats * sizeof(float));
    if (o->far.x == NULL || o->far.y == NULL || at == NULL)
        return ERR_SET(e, STATUS_OOM, "no device memory for products");
    for (size_t i = 0; i < FAR_TIMES; i++) k->ops->upload(k, o->far.x + i * n, o->x, n * sizeof(float));
    for (int i = 0; i < MATRICES; i++) {
        const size_t w = o->m[i].out * o->m[i].in;
        k->ops->upload(k, at, o->m[i].w, w * sizeof(float));
        k->ops->upload(k, at + w, o->bias[i], o->m[i].out * sizeof(float));
        o->m[i].w = at;
        o->bias[i] = at + w;
        at += w + o->m[i].out;
    }
    return STATUS_OK;
}

/* The i-th matrix's product of every count of rows against ref's, row by row: tiles of every height are among them. */
static enum status check(struct cmd_bench *b, int i, double tolerance, struct err *e)
{
    struct own *o = b->own;
    struct own plain = {0};
    take_matrices(&plain, encoder_layer(b->encoder, 0));
    plain.m[i].prec = o->m[i].prec; /* ref defines each precision */
    o->ref->ops->linear(o->ref, o->want, NULL, o->x, &plain.m[i], plain.bias[i], KERN_ACT_NONE, ROWS_MAX);
    for (size_t r = 0; r < FEW + N_ROWS; r++) {
        const size_t N = r < FEW ? r + 1 : rows[r - FEW], width = o->m[i].out;
        float *x = o->far.x != NULL ? o->far.x : o->x, *y = o->far.y != NULL ? o->far.y : o->y;
        b->kern->ops->linear(b->kern, y, NULL, x, &o->m[i], o->bias[i], KERN_ACT_NONE, N);
        if (y != o->y) b->kern->ops->download(b->kern, o->y, y, N * width * sizeof *y);
        TRY(cmd_bench_near_rows("product", o->y, o->want, N, width, tolerance, e));
    }
    return STATUS_OK;
}

static enum status setup(struct cmd_bench *b, const struct cmd_bench_case *c, struct err *e)
{
    static const double tolerance[] = {1e-5, 1e-3, 3e-3}; /* f32; the same rounded operands; integers, but for ties */
    static const enum kern_precision precision[] = {KERN_F32, KERN_BF16, KERN_INT8};
    struct own *o = b->own = mem_calloc(1, sizeof *o);
    if (o == NULL) return ERR_SET(e, STATUS_OOM, "no memory for a case");
    TRY(kern_new(&o->ref, "ref", e));
    take_matrices(o, encoder_layer(b->encoder, 0));
    const size_t n = ROWS_MAX * widest(o);
    o->x = mem_aligned(n, sizeof *o->x);
    o->y = mem_aligned(n, sizeof *o->y);
    o->want = mem_aligned(n, sizeof *o->want);
    if (o->x == NULL || o->y == NULL || o->want == NULL) return ERR_SET(e, STATUS_OOM, "no memory for %zu floats", n);
    for (size_t i = 0; i < n; i++) o->x[i] = (float)((double)(i * 2654435761u >> 8 & 0xffff) / 32768.0 - 1.0);
    TRY(place(b, n, e));
    for (int i = 0; i < MATRICES; i++) {
        o->m[i].prec = precision[c->limit];
        TRY(b->kern->ops->pack(b->kern, &o->m[i], e));
        TRY(check(b, i, tolerance[c->limit], e));
    }
    return STATUS_OK;
}

/* Seconds of so many products of the i-th matrix. */
static double time_calls(struct cmd_bench *b, int i, size_t N, size_t calls)
{
    struct own *o = b->own;
    float *x = o->far.x != NULL ? o->far.x : o->x, *y = o->far.y != NULL ? o->far.y : o->y, any;
    const double start = cmd_bench_now_s();
    for (size_t call = 0; call < calls; call++)
        b->kern->ops->linear(b->kern, y, NULL, x, &o->m[i], o->bias[i], KERN_ACT_NONE, N);
    b->kern->ops->download(b->kern, &any, y, sizeof any);
    return cmd_bench_now_s() - start;
}

/* More rows, then more products between two waits, as long as the widest product of that stays within a round. */
static void fit_far(struct cmd_bench *b)
{
    struct own *o = b->own;
    o->far.times = o->far.calls = 1;
    if (o->far.x == NULL) return;
    (void)time_calls(b, MATRICES - 1, ROWS_MAX, 1); /* plans */
    while (o->far.times < FAR_TIMES && time_calls(b, MATRICES - 1, ROWS_MAX * o->far.times, 1) < ROUND_S / 4)
        o->far.times *= 2;
    while (o->far.calls < FAR_CALLS && time_calls(b, MATRICES - 1, ROWS_MAX * o->far.times, o->far.calls) < ROUND_S / 4)
        o->far.calls *= 2;
}

static double time_shape(struct cmd_bench *b, int i, size_t N)
{
    const struct own *o = b->own;
    double calls = 0.0, spent = 0.0;
    N *= o->far.times;
    for (; spent < ROUND_S; calls += (double)o->far.calls) spent += time_calls(b, i, N, o->far.calls);
    return 2e-9 * calls * (double)(N * o->m[i].out * o->m[i].in) / spent;
}

/* Rounds go over all shapes, so that a disturbance falls on many of them once. */
static enum status sample(struct cmd_bench *b, const struct cmd_bench_case *c, double *out, size_t max, size_t *n,
                          struct err *e)
{
    double rate[SHAPES][ROUNDS];
    const int rounds = b->quick ? ROUNDS_QUICK : ROUNDS;
    (void)c;
    (void)max;
    (void)e;
    fit_far(b);
    for (int r = 0; r < rounds; r++)
        for (int s = 0; s < SHAPES; s++) rate[s][r] = time_shape(b, s / N_ROWS, rows[s % N_ROWS]);
    for (int s = 0; s < SHAPES; s++) {
        cmd_bench_sort(rate[s], (size_t)rounds);
        out[s] = rate[s][rounds / 2];
    }
    *n = SHAPES;
    return STATUS_OK;
}

static void cost(const struct cmd_bench *b, const struct cmd_bench_case *c, double out[CMD_BENCH_LIMITS])
{
    (void)b;
    out[c->limit] = 1e9;
}

static void end(struct cmd_bench *b)
{
    struct own *o = b->own;
    if (o == NULL) return;
    for (int i = 0; i < MATRICES; i++)
        if (o->m[i].packed != NULL) b->kern->ops->unpack(b->kern, &o->m[i]);
    if (!b->kern->ops->host_visible) {
        b->kern->ops->release(b->kern, o->far.x);
        b->kern->ops->release(b->kern, o->far.y);
        b->kern->ops->release(b->kern, o->far.w);
    }
    kern_free(o->ref);
    mem_free(o->x);
    mem_free(o->y);
    mem_free(o->want);
    mem_free(o);
    b->own = NULL;
}

#define GEMM(NAME, UNIT, LIMIT)                                                                                        \
    {                                                                                                                  \
        .name = "gemm." NAME, .what = NAME " products: spread over 20 shapes, the worst is min", .unit = UNIT,         \
        .kind = CMD_BENCH_SAMPLES, .limit = LIMIT, .setup = setup, .sample = sample, .cost = cost                      \
    }
/* clang-format off */
static const struct cmd_bench_case cases[] = {
    GEMM("f32", "GFLOP/s", CMD_BENCH_F32), GEMM("bf16", "GFLOP/s", CMD_BENCH_BF16), GEMM("int8", "GOP/s", CMD_BENCH_INT8),
};
/* clang-format on */
const struct cmd_bench_topic cmd_bench_gemm = {
    .name = "gemm",
    .title = "32 to 256 rows times each of a layer's four packed matrices; the spread is over shapes",
    CMD_BENCH_CASES(cases),
    .end = end};

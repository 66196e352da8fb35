/* test_kern_norm.c - activations, layer normalisation, unit rows, means: against ref, and gradients against differences. */
#include "tests/support/check.h"
#include "tests/support/kernels.h"
#include <math.h>

static const struct {
    size_t N, C;
    double abs; /* of LayerNorm and unit rows: float32 sums over C, of numbers of size 1 */
} shapes[] = {{0, 5, 1e-5},  {1, 1, 1e-5},  {3, 5, 1e-5},   {2, 16, 1e-5},
              {5, 33, 1e-5}, {4, 96, 1e-5}, {7, 384, 1e-5}, {2, 1021, 2e-5}};
#define N_SHAPES (sizeof shapes / sizeof *shapes)

/* Dense over where the functions bend, and far out; 1e-6 absolute: the stated error of the polynomials times |x| ≤ 4. */
static void test_activations(void **state)
{
    (void)state;
    enum { N = 20011 };
    for (int a = 0; a < 4; a++) {
        float *x = kernels_zeros(N);
        for (size_t i = 0; i < N; i++) x[i] = ((float)i - N / 2) * 1e-3f;
        x[0] = -100.0f, x[1] = 100.0f, x[2] = -3e38f, x[3] = 3e38f, x[4] = 0.0f, x[5] = -0.0f, x[6] = NAN,
        x[7] = 1e-30f;
        float *want = kernels_zeros(N), *slope = kernels_random(N, 1), *dy = kernels_random(N, 2);
        const float *start = kernels_copy(slope, N);
        struct kern *k = kernels_ref();
        k->ops->act(k, want, x, (enum kern_act)a, N);
        k->ops->act_backward(k, slope, dy, x, (enum kern_act)a, N);
        for (size_t j = 0; (k = kernels_backend(j)) != NULL; j++) {
            float *got = kernels_zeros(N), *dx = kernels_copy(start, N);
            k->ops->act(k, got, x, (enum kern_act)a, N);
            kernels_close("act", got, want, N, 2e-6, 1e-6);
            k->ops->act_backward(k, dx, dy, x, (enum kern_act)a, N);
            kernels_close("dact", dx + 4, slope + 4, 2, 1e-5, 1e-5);
            kernels_close("dact", dx + 7, slope + 7, N - 7, 1e-5, 1e-5);
            if (a != KERN_ACT_NONE) assert_true(isnan(got[6]) || a == KERN_ACT_RELU);
        }
        kernels_reset();
    }
}

struct act_loss {
    float *x, *dy, *y;
    enum kern_act act;
    size_t n;
};

static double act_loss(void *user)
{
    struct act_loss *l = user;
    kernels_ref()->ops->act(kernels_ref(), l->y, l->x, l->act, l->n);
    return kernels_weigh(l->y, l->dy, l->n);
}

static void test_activation_gradients_are_slopes(void **state)
{
    (void)state;
    for (int a = 0; a < 4; a++) {
        struct act_loss l = {.act = (enum kern_act)a, .n = 60};
        l.x = kernels_zeros(60);
        for (size_t i = 0; i < 60; i++) l.x[i] = ((float)i - 29.5f) * 0.15f; /* none within a step of relu's corner */
        l.dy = kernels_random(60, 1);
        l.y = kernels_zeros(60);
        float dx[60];
        for (size_t i = 0; i < 60; i++) dx[i] = -3.0f;
        kernels_ref()->ops->act_backward(kernels_ref(), dx, l.dy, l.x, l.act, 60);
        kernels_slope("act", act_loss, &l, l.x, 60, dx, 0.0f, 2e-4);
        kernels_reset();
    }
}

struct norm {
    float *x, *res, *gain, *bias, *out, *mean, *rstd, *sum, *dout;
    size_t N, C;
    float eps;
};

static struct norm make_norm(size_t N, size_t C, bool residual)
{
    struct norm n = {.N = N, .C = C, .eps = 1e-5f};
    n.x = kernels_random(N * C, 1);
    for (size_t i = 0; i < N * C; i++) n.x[i] = n.x[i] * 2.0f + 1.5f;
    n.res = residual ? kernels_random(N * C, 2) : NULL;
    n.gain = kernels_random(C, 3);
    n.bias = kernels_random(C, 4);
    n.dout = kernels_random(N * C, 5);
    n.out = kernels_zeros(N * C);
    n.sum = residual ? kernels_zeros(N * C) : NULL;
    n.mean = kernels_zeros(N);
    n.rstd = kernels_zeros(N);
    return n;
}

static void run_norm(struct kern *k, struct norm *n)
{
    k->ops->layernorm(k, n->out, n->mean, n->rstd, n->sum, n->x, n->res, n->gain, n->bias, n->eps, n->N, n->C);
}

static void test_layernorm(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * N_SHAPES; i++) {
        const size_t N = shapes[i / 2].N, C = shapes[i / 2].C;
        const double abs = shapes[i / 2].abs;
        struct norm want = make_norm(N, C, i % 2);
        run_norm(kernels_ref(), &want);
        struct kern *k;
        for (size_t j = 0; (k = kernels_backend(j)) != NULL; j++) {
            struct norm got = make_norm(N, C, i % 2);
            run_norm(k, &got);
            kernels_close("layernorm", got.out, want.out, N * C, C == 1 ? 1e-3 : abs, 1e-5); /* C = 1: 0/sqrt(eps) */
            kernels_close("layernorm mean", got.mean, want.mean, N, abs, 1e-5);
            kernels_close("layernorm rstd", got.rstd, want.rstd, N, abs, 1e-5);
            if (want.sum != NULL) kernels_close("layernorm sum", got.sum, want.sum, N * C, 0, 0);
            if (want.sum == NULL) continue;
            got.sum = got.x; /* the sum may replace x */
            run_norm(k, &got);
            kernels_close("layernorm in place", got.out, want.out, N * C, C == 1 ? 1e-3 : abs, 1e-5);
        }
        kernels_reset();
    }
}

static void test_layernorm_gradients_agree(void **state)
{
    (void)state;
    for (size_t i = 1; i < N_SHAPES; i++) {
        const size_t N = shapes[i].N, C = shapes[i].C;
        struct norm n = make_norm(N, C, false);
        const float *dx0 = kernels_random(N * C, 6), *dg0 = kernels_random(C, 7), *db0 = kernels_random(C, 8);
        float *dx = kernels_copy(dx0, N * C), *dg = kernels_copy(dg0, C), *db = kernels_copy(db0, C);
        struct kern *k = kernels_ref();
        if (C == 1) continue; /* the variance is 0: 1/sqrt(eps) times rounding */
        run_norm(k, &n);
        k->ops->layernorm_backward(k, dx, dg, db, n.dout, n.x, n.gain, n.mean, n.rstd, N, C);
        for (size_t j = 0; (k = kernels_backend(j)) != NULL; j++) {
            float *gx = kernels_copy(dx0, N * C), *gg = kernels_copy(dg0, C), *gb = kernels_copy(db0, C);
            k->ops->layernorm_backward(k, gx, gg, gb, n.dout, n.x, n.gain, n.mean, n.rstd, N, C);
            kernels_close("dx", gx, dx, N * C, 1e-5, 1e-5);
            kernels_close("dgain", gg, dg, C, 1e-5, 1e-5);
            kernels_close("dbias", gb, db, C, 1e-5, 1e-5);
        }
        kernels_reset();
    }
}

static double norm_loss(void *user)
{
    struct norm *n = user;
    run_norm(kernels_ref(), n);
    return kernels_weigh(n->out, n->dout, n->N * n->C);
}

static void test_layernorm_gradients_are_slopes(void **state)
{
    (void)state;
    enum { N = 3, C = 7 };
    struct norm n = make_norm(N, C, false);
    float dx[N * C], dg[C], db[C];
    for (size_t i = 0; i < N * C; i++) dx[i] = 5.0f;
    for (size_t c = 0; c < C; c++) dg[c] = db[c] = 5.0f;
    struct kern *k = kernels_ref();
    run_norm(k, &n);
    k->ops->layernorm_backward(k, dx, dg, db, n.dout, n.x, n.gain, n.mean, n.rstd, N, C);
    kernels_slope("x", norm_loss, &n, n.x, N * C, dx, 5.0f, 3e-4);
    kernels_slope("gain", norm_loss, &n, n.gain, C, dg, 5.0f, 3e-4);
    kernels_slope("bias", norm_loss, &n, n.bias, C, db, 5.0f, 3e-4);
    kernels_reset();
}

struct unit {
    float *x, *out, *norm, *dout, scale;
    size_t N, C;
};

static double unit_loss(void *user)
{
    struct unit *u = user;
    kernels_ref()->ops->unit_rows(kernels_ref(), u->out, u->norm, u->x, u->scale, u->N, u->C);
    return kernels_weigh(u->out, u->dout, u->N * u->C);
}

static void test_unit_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_SHAPES; i++) {
        const size_t N = shapes[i].N, C = shapes[i].C;
        float *x = kernels_random(N * C, 1), *dout = kernels_random(N * C, 2), *start = kernels_random(N * C, 3);
        for (size_t c = 0; N > 1 && c < C; c++) x[c] = 0.0f; /* a row without length */
        float *want = kernels_zeros(N * C), *norm = kernels_zeros(N), *dx = kernels_copy(start, N * C);
        struct kern *k = kernels_ref();
        k->ops->unit_rows(k, want, norm, x, 9.6f, N, C);
        k->ops->unit_rows_backward(k, dx, dout, want, norm, 9.6f, N, C);
        for (size_t j = 0; (k = kernels_backend(j)) != NULL; j++) {
            float *got = kernels_zeros(N * C), *length = kernels_zeros(N), *gx = kernels_copy(start, N * C);
            k->ops->unit_rows(k, got, length, x, 9.6f, N, C);
            kernels_close("unit", got, want, N * C, shapes[i].abs, 1e-5);
            kernels_close("norm", length, norm, N, shapes[i].abs, 1e-5);
            k->ops->unit_rows_backward(k, gx, dout, want, norm, 9.6f, N, C);
            kernels_close("dunit", gx, dx, N * C, 5e-5, 1e-4); /* divided by lengths well below 1 where C is 1 */
            k->ops->unit_rows(k, got, NULL, x, 1.0f, N, C);    /* norm is optional */
        }
        for (size_t c = 0; N > 1 && c < C; c++) assert_true(dx[c] == start[c] && want[c] == 0.0f);
        kernels_reset();
    }
}

static void test_unit_rows_gradients_are_slopes(void **state)
{
    (void)state;
    enum { N = 3, C = 6 };
    struct unit u = {.N = N, .C = C, .scale = 2.5f};
    float dx[N * C];
    u.x = kernels_random(N * C, 1);
    u.out = kernels_zeros(N * C);
    u.norm = kernels_zeros(N);
    u.dout = kernels_random(N * C, 2);
    for (size_t i = 0; i < N * C; i++) dx[i] = 1.0f;
    (void)unit_loss(&u);
    kernels_ref()->ops->unit_rows_backward(kernels_ref(), dx, u.dout, u.out, u.norm, u.scale, N, C);
    kernels_slope("x", unit_loss, &u, u.x, N * C, dx, 1.0f, 3e-4);
    kernels_reset();
}

static int done(void **state)
{
    (void)state;
    kernels_close_all();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_activations),
        cmocka_unit_test(test_activation_gradients_are_slopes),
        cmocka_unit_test(test_layernorm),
        cmocka_unit_test(test_layernorm_gradients_agree),
        cmocka_unit_test(test_layernorm_gradients_are_slopes),
        cmocka_unit_test(test_unit_rows),
        cmocka_unit_test(test_unit_rows_gradients_are_slopes),
    };
    return cmocka_run_group_tests(tests, NULL, done);
}

/* test_kern_linear.c - matrix products and linear layers: every backend against ref, gradients against differences. */
#include "tests/support/check.h"
#include "tests/support/kernels.h"
#include <math.h>

/* Tolerance: float32 sums of K products of standard normals in another order: about 1e-7 * K in the worst, relative to
 * terms of size 1, not to the sum (which may cancel). */
static double tolerance(size_t K)
{
    return 1e-5 + 3e-7 * (double)K;
}

static const struct {
    size_t M, N, K;
} shapes[] = {{0, 3, 4}, {3, 0, 4},   {3, 4, 0},    {1, 1, 1},     {1, 384, 384},
              {2, 5, 3}, {7, 33, 65}, {21, 96, 64}, {40, 130, 129}};
#define N_SHAPES (sizeof shapes / sizeof *shapes)

enum product { NT, NN, TN };

static void multiply(struct kern *k, enum product p, float *c, size_t ldc, const float *a, size_t lda, const float *b,
                     size_t ldb, size_t M, size_t N, size_t K, float beta)
{
    if (p == NT) k->ops->gemm_nt(k, c, ldc, a, lda, b, ldb, M, N, K, beta);
    if (p == NN) k->ops->gemm_nn(k, c, ldc, a, lda, b, ldb, M, N, K, beta);
    if (p == TN) k->ops->gemm_tn(k, c, ldc, a, lda, b, ldb, M, N, K, beta);
}

/* Leading dimensions wider than the rows; what lies between them must stay. */
static void test_products(void **state)
{
    (void)state;
    static const float betas[] = {0.0f, 1.0f, -0.5f};
    for (size_t i = 0; i < N_SHAPES * 9; i++) {
        const size_t M = shapes[i / 9].M, N = shapes[i / 9].N, K = shapes[i / 9].K;
        const enum product p = (enum product)(i % 3);
        const float beta = betas[i / 3 % 3];
        const size_t lda = (p == TN ? M : K) + 3, ldb = (p == NT ? K : N) + 2, ldc = N + 1;
        const float *a = kernels_random((p == TN ? K : M) * lda, 1), *b = kernels_random((p == NT ? N : K) * ldb, 2);
        const float *start = kernels_random(M * ldc, 3);
        float *want = kernels_copy(start, M * ldc);
        multiply(kernels_ref(), p, want, ldc, a, lda, b, ldb, M, N, K, beta);
        struct kern *k;
        for (size_t j = 0; (k = kernels_backend(j)) != NULL; j++) {
            float *got = kernels_copy(start, M * ldc);
            multiply(k, p, got, ldc, a, lda, b, ldb, M, N, K, beta);
            kernels_close("gemm", got, want, M * ldc, tolerance(K), 1e-5);
        }
        kernels_reset();
    }
}

static void test_products_ignore_c_when_beta_is_zero(void **state)
{
    (void)state;
    const float a[] = {1, 2}, b[] = {3, 4};
    float c = NAN;
    kernels_ref()->ops->gemm_nt(kernels_ref(), &c, 1, a, 2, b, 2, 1, 1, 2, 0.0f);
    assert_true(c == 11.0f);
    struct kern *k;
    for (size_t j = 0; (k = kernels_backend(j)) != NULL; j++) {
        c = NAN;
        k->ops->gemm_nt(k, &c, 1, a, 2, b, 2, 1, 1, 2, 0.0f);
        assert_true(c == 11.0f);
    }
}

static void test_linear(void **state)
{
    (void)state;
    struct err e = {0};
    for (size_t i = 0; i < N_SHAPES * 8; i++) {
        const size_t N = shapes[i / 8].M, O = shapes[i / 8].N, I = shapes[i / 8].K;
        const enum kern_act act = (enum kern_act)(i % 4);
        const bool bare = i / 4 % 2 == 1; /* without bias and pre */
        const float *x = kernels_random(N * I, 1), *b = bare ? NULL : kernels_random(O, 2);
        struct kern_matrix w = {.w = kernels_random(O * I, 3), .out = O, .in = I};
        float *want = kernels_zeros(N * O), *want_pre = bare ? NULL : kernels_zeros(N * O);
        kernels_ref()->ops->linear(kernels_ref(), want, want_pre, x, &w, b, act, N);
        struct kern *k;
        for (size_t j = 0; (k = kernels_backend(j)) != NULL; j++) {
            float *got = kernels_zeros(N * O), *pre = bare ? NULL : kernels_zeros(N * O);
            assert_ok(k->ops->pack(k, &w, &e), &e);
            k->ops->linear(k, got, pre, x, &w, b, act, N);
            k->ops->unpack(k, &w);
            kernels_close("linear", got, want, N * O, tolerance(I), 1e-5);
            if (pre != NULL) kernels_close("linear pre", pre, want_pre, N * O, tolerance(I), 1e-5);
        }
        kernels_reset();
    }
}

static void test_linear_gradients_agree(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_SHAPES; i++) {
        const size_t N = shapes[i].M, O = shapes[i].N, I = shapes[i].K;
        const float *x = kernels_random(N * I, 1), *dy = kernels_random(N * O, 2);
        const float *dx0 = kernels_random(N * I, 4), *dw0 = kernels_random(O * I, 5), *db0 = kernels_random(O, 6);
        const struct kern_matrix w = {.w = kernels_random(O * I, 3), .out = O, .in = I};
        float *dx = kernels_copy(dx0, N * I), *dw = kernels_copy(dw0, O * I), *db = kernels_copy(db0, O);
        struct kern *k = kernels_ref();
        k->ops->linear_dx(k, dx, dy, &w, N);
        k->ops->linear_dw(k, dw, db, dy, x, N, O, I);
        for (size_t j = 0; (k = kernels_backend(j)) != NULL; j++) {
            float *gx = kernels_copy(dx0, N * I), *gw = kernels_copy(dw0, O * I), *gb = kernels_copy(db0, O);
            k->ops->linear_dx(k, gx, dy, &w, N);
            k->ops->linear_dw(k, gw, gb, dy, x, N, O, I);
            kernels_close("dx", gx, dx, N * I, tolerance(O), 1e-5);
            kernels_close("dw", gw, dw, O * I, tolerance(N), 1e-5);
            kernels_close("db", gb, db, O, tolerance(N), 1e-5);
            k->ops->linear_dw(k, gw, NULL, dy, x, N, O, I); /* db is optional */
        }
        kernels_reset();
    }
}

struct layer {
    float *x, *w, *b, *dy, *y;
    size_t N, O, I;
};

static double layer_loss(void *user)
{
    struct layer *l = user;
    const struct kern_matrix w = {.w = l->w, .out = l->O, .in = l->I};
    kernels_ref()->ops->linear(kernels_ref(), l->y, NULL, l->x, &w, l->b, KERN_ACT_NONE, l->N);
    return kernels_weigh(l->y, l->dy, l->N * l->O);
}

static void test_linear_gradients_are_slopes(void **state)
{
    (void)state;
    enum { N = 3, O = 4, I = 5 };
    struct layer l = {.N = N, .O = O, .I = I};
    l.x = kernels_random(N * I, 1);
    l.w = kernels_random(O * I, 2);
    l.b = kernels_random(O, 3);
    l.dy = kernels_random(N * O, 4);
    l.y = kernels_zeros(N * O);
    const struct kern_matrix w = {.w = l.w, .out = O, .in = I};
    float dx[N * I], dw[O * I], db[O];
    for (size_t i = 0; i < N * I; i++) dx[i] = 7.0f;
    for (size_t i = 0; i < O * I; i++) dw[i] = 7.0f;
    for (size_t i = 0; i < O; i++) db[i] = 7.0f;
    struct kern *k = kernels_ref();
    k->ops->linear_dx(k, dx, l.dy, &w, N);
    k->ops->linear_dw(k, dw, db, l.dy, l.x, N, O, I);
    kernels_slope("x", layer_loss, &l, l.x, N * I, dx, 7.0f, 1e-4);
    kernels_slope("w", layer_loss, &l, l.w, O * I, dw, 7.0f, 1e-4);
    kernels_slope("b", layer_loss, &l, l.b, O, db, 7.0f, 1e-4);
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
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_products_ignore_c_when_beta_is_zero),
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_linear_gradients_agree),
        cmocka_unit_test(test_linear_gradients_are_slopes),
    };
    return cmocka_run_group_tests(tests, NULL, done);
}

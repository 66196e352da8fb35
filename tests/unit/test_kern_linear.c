/* test_kern_linear.c - matrix products and linear layers: every backend against ref, gradients against differences. */
#include "base/pool.h"
#include "tests/support/check.h"
#include "tests/support/kernels.h"
#include <math.h>
#include <string.h>

/* Tolerance: float32 sums of K products of standard normals in another order: about 1e-7 * K in the worst, relative to
 * terms of size 1, not to the sum (which may cancel). */
static double tolerance(size_t K)
{
    return 1e-5 + 3e-7 * (double)K;
}

static const struct {
    size_t M, N, K;
} shapes[] = {{0, 3, 4},    {3, 0, 4},      {3, 4, 0},     {1, 1, 1},     {1, 384, 384}, {2, 5, 3},    {7, 33, 65},
              {21, 96, 64}, {40, 130, 129}, {211, 67, 70}, {40, 128, 64}, {3, 400, 384}, {500, 3, 600}};
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
        const size_t even = N % 4 == 0 && M % 4 == 0 ? 4 : 0; /* rows that begin at multiples of 16 bytes, and others */
        const size_t lda = (p == TN ? M : K) + (even ? 4 : 3), ldb = (p == NT ? K : N) + (even ? 8 : 2),
                     ldc = N + (even ? 4 : 1);
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

/* Rounded operands are the same for every backend, so that only the order of the sum differs; int8 sums are exact. */
/* false: a backend that does without int8. */
static bool packs(struct kern *k, struct kern_matrix *w)
{
    struct err e = {0};
    const enum status st = k->ops->pack(k, w, &e);
    if (st == STATUS_UNSUPPORTED && w->prec == KERN_INT8 && strcmp(k->ops->name, "cuda") == 0) return false;
    assert_ok(st, &e);
    return true;
}

static void linear_in(enum kern_precision prec)
{
    for (size_t i = 0; i < N_SHAPES * 8; i++) {
        const size_t N = shapes[i / 8].M, O = shapes[i / 8].N, I = shapes[i / 8].K;
        const enum kern_act act = (enum kern_act)(i % 4);
        const bool bare = i / 4 % 2 == 1; /* without bias and pre */
        const float *x = kernels_random(N * I, 1), *b = bare ? NULL : kernels_random(O, 2);
        struct kern_matrix w = {.w = kernels_random(O * I, 3), .out = O, .in = I, .prec = prec};
        float *want = kernels_zeros(N * O), *want_pre = bare ? NULL : kernels_zeros(N * O);
        kernels_ref()->ops->linear(kernels_ref(), want, want_pre, x, &w, b, act, N);
        struct kern *k;
        for (size_t j = 0; (k = kernels_backend(j)) != NULL; j++) {
            float *got = kernels_zeros(N * O), *pre = bare ? NULL : kernels_zeros(N * O);
            if (!packs(k, &w)) continue;
            k->ops->linear(k, got, pre, x, &w, b, act, N);
            k->ops->unpack(k, &w);
            kernels_close("linear", got, want, N * O, tolerance(I), 1e-5);
            if (pre != NULL) kernels_close("linear pre", pre, want_pre, N * O, tolerance(I), 1e-5);
        }
        kernels_reset();
    }
}

static void test_linear(void **state)
{
    (void)state;
    linear_in(KERN_F32);
    linear_in(KERN_BF16);
    linear_in(KERN_INT8);
}

/* 4 values of which the integers are known: scales 2/127 and 1/127, q = {127, -64, 32, 0} and {127, 127, -127, 1}. */
static void test_int8_is_what_it_says(void **state)
{
    (void)state;
    const float x[] = {2.0f, -1.0f, 0.5f, 0.0f}, scale = (2.0f / 127.0f) * (1.0f / 127.0f);
    const struct kern_matrix w = {
        .w = (const float[]){1.0f, 1.0f, -1.0f, 0.008f}, .out = 1, .in = 4, .prec = KERN_INT8};
    float y = 0.0f;
    kernels_ref()->ops->linear(kernels_ref(), &y, NULL, x, &w, NULL, KERN_ACT_NONE, 1);
    assert_true(y == (float)(127 * 127 - 64 * 127 - 32 * 127) * scale);
}

/* A packed row has the same bits alone, among others, and whoever computes the tiles. */
static void test_rows_and_threads_do_not_change_bits(void **state)
{
    (void)state;
    enum { N = 211, O = 200, I = 300 };
    struct pool *pool = kernels_pool();
    struct kern *k;
    for (size_t j = 0; (k = kernels_backend(j)) != NULL; j++) {
        for (int prec = KERN_F32; k->ops->rows_alone && prec <= KERN_INT8; prec++) {
            const float *x = kernels_random(N * I, 1), *b = kernels_random(O, 2);
            float *many = kernels_zeros(N * O), *shared = kernels_zeros(N * O), *one = kernels_zeros(O);
            struct kern_matrix w = {
                .w = kernels_random(O * I, 3), .out = O, .in = I, .prec = (enum kern_precision)prec};
            if (!packs(k, &w)) continue;
            k->ops->linear(k, many, NULL, x, &w, b, KERN_ACT_GELU, N);
            kern_use_pool(k, pool);
            k->ops->linear(k, shared, NULL, x, &w, b, KERN_ACT_GELU, N);
            kern_use_pool(k, NULL);
            assert_memory_equal(many, shared, N * O * sizeof *many);
            for (size_t n = 0; n < N; n += 30) {
                k->ops->linear(k, one, NULL, x + n * I, &w, b, KERN_ACT_GELU, 1);
                assert_memory_equal(one, many + n * O, O * sizeof *one);
            }
            k->ops->unpack(k, &w);
            kernels_reset();
        }
    }
    pool_free(pool);
}

/* The way back too, whose operands are put in order by all; and a batch of nothing adds nothing. */
static void test_threads_do_not_change_gradients(void **state)
{
    (void)state;
    enum { N = 211, O = 200, I = 300 };
    struct err e = {0};
    struct pool *pool = kernels_pool();
    struct kern *k;
    for (size_t j = 0; (k = kernels_backend(j)) != NULL; j++) {
        for (int prec = KERN_F32; prec <= KERN_BF16; prec++) {
            const float *x = kernels_random(N * I, 1), *dy = kernels_random(N * O, 2);
            struct kern_matrix w = {
                .w = kernels_random(O * I, 3), .out = O, .in = I, .prec = (enum kern_precision)prec, .learnt = true};
            float *dx[2], *dw[2], *db[2];
            assert_ok(k->ops->pack(k, &w, &e), &e);
            for (int i = 0; i < 2; i++) {
                dx[i] = kernels_zeros(N * I), dw[i] = kernels_zeros(O * I), db[i] = kernels_zeros(O);
                kern_use_pool(k, i > 0 ? pool : NULL);
                k->ops->linear_dx(k, dx[i], dy, &w, N);
                k->ops->linear_dw(k, dw[i], db[i], dy, x, N, O, I, w.prec, true);
                k->ops->act_backward(k, dx[i], dx[i], x, KERN_ACT_GELU, N * I);
                k->ops->axpy(k, dx[i], 0.5f, x, N * I);
            }
            kern_use_pool(k, NULL);
            assert_memory_equal(dx[0], dx[1], N * I * sizeof **dx);
            assert_memory_equal(dw[0], dw[1], O * I * sizeof **dw);
            assert_memory_equal(db[0], db[1], O * sizeof **db);
            k->ops->linear_dw(k, dw[1], db[1], dy, x, 0, O, I, w.prec, true);
            assert_memory_equal(dw[0], dw[1], O * I * sizeof **dw);
            k->ops->linear_dw(k, dw[1], NULL, dy, x, 0, O, I, w.prec, false);
            for (size_t i = 0; i < O * I; i++) assert_true(dw[1][i] == 0.0f);
            k->ops->unpack(k, &w);
            kernels_reset();
        }
    }
    pool_free(pool);
}

/* The same of products with what is not packed: candidates with a user's events. */
static void test_rows_of_a_product_are_alone(void **state)
{
    (void)state;
    enum { M = 40, N = 20, K = 384 };
    struct kern *k;
    for (size_t j = 0; (k = kernels_backend(j)) != NULL; j++) {
        if (!k->ops->rows_alone) continue;
        const float *a = kernels_random(M * K, 1), *b = kernels_random(N * K, 2);
        float *many = kernels_zeros(M * N), *some = kernels_zeros(M * N);
        k->ops->gemm_nt(k, many, N, a, K, b, K, M, N, K, 0.0f);
        for (size_t n = 1; n <= M; n += 3) {
            k->ops->gemm_nt(k, some, N, a, K, b, K, n, N, K, 0.0f);
            assert_memory_equal(some, many, n * N * sizeof *some);
        }
        kernels_reset();
    }
}

static void gradients_agree_in(enum kern_precision prec)
{
    struct err e = {0};
    for (size_t i = 0; i < N_SHAPES; i++) {
        const size_t N = shapes[i].M, O = shapes[i].N, I = shapes[i].K;
        const float *x = kernels_random(N * I, 1), *dy = kernels_random(N * O, 2);
        const float *dx0 = kernels_random(N * I, 4), *dw0 = kernels_random(O * I, 5), *db0 = kernels_random(O, 6);
        struct kern_matrix w = {.w = kernels_random(O * I, 3), .out = O, .in = I, .prec = prec, .learnt = true};
        float *dx = kernels_copy(dx0, N * I), *dw = kernels_copy(dw0, O * I), *db = kernels_copy(db0, O);
        struct kern *k = kernels_ref();
        k->ops->linear_dx(k, dx, dy, &w, N);
        k->ops->linear_dw(k, dw, db, dy, x, N, O, I, prec, true);
        for (size_t j = 0; (k = kernels_backend(j)) != NULL; j++) {
            float *gx = kernels_copy(dx0, N * I), *gw = kernels_copy(dw0, O * I), *gb = kernels_copy(db0, O);
            assert_ok(k->ops->pack(k, &w, &e), &e);
            k->ops->linear_dx(k, gx, dy, &w, N);
            k->ops->unpack(k, &w);
            k->ops->linear_dw(k, gw, gb, dy, x, N, O, I, prec, true);
            kernels_close("dx", gx, dx, N * I, tolerance(O), 1e-5);
            kernels_close("dw", gw, dw, O * I, tolerance(N), 1e-5);
            kernels_close("db", gb, db, O, tolerance(N), 1e-5);
            k->ops->linear_dw(k, gw, NULL, dy, x, N, O, I, prec, true); /* db is optional */
            float *alone = kernels_zeros(O * I), *fresh = kernels_zeros(O * I);
            kernels_ref()->ops->linear_dw(kernels_ref(), alone, NULL, dy, x, N, O, I, prec, true);
            for (int n = 0; n < 2; n++) { /* what was there is not read */
                struct kern *by = n == 0 ? k : kernels_ref();
                for (size_t c = 0; c < O * I; c++) fresh[c] = NAN;
                by->ops->linear_dw(by, fresh, NULL, dy, x, N, O, I, prec, false);
                kernels_close("dw alone", fresh, alone, O * I, tolerance(N), 1e-5);
            }
        }
        kernels_reset();
    }
}

static void test_linear_gradients_agree(void **state)
{
    (void)state;
    gradients_agree_in(KERN_F32);
    gradients_agree_in(KERN_BF16);
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
    k->ops->linear_dw(k, dw, db, l.dy, l.x, N, O, I, KERN_F32, true);
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
        cmocka_unit_test(test_int8_is_what_it_says),
        cmocka_unit_test(test_rows_and_threads_do_not_change_bits),
        cmocka_unit_test(test_threads_do_not_change_gradients),
        cmocka_unit_test(test_rows_of_a_product_are_alone),
        cmocka_unit_test(test_linear_gradients_agree),
        cmocka_unit_test(test_linear_gradients_are_slopes),
    };
    return cmocka_run_group_tests(tests, NULL, done);
}

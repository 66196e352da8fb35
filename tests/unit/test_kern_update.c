/* test_kern_update.c - optimiser steps, sparse rows, sums and the finite flag. */
#include "base/pool.h"
#include "tests/support/check.h"
#include "tests/support/kernels.h"
#include <math.h>
#include <string.h>

static struct kern *backend_or_ref(size_t j)
{
    return j == 0 ? kernels_ref() : kernels_backend(j - 1);
}

/* Ten steps against the formula in double; float32 state, so 1e-6 of numbers of size 1 a step. */
static void test_adamw(void **state)
{
    (void)state;
    struct kern *k;
    for (size_t n = 0; n < 40; n += 13)
        for (size_t j = 0; (k = backend_or_ref(j)) != NULL; j++) {
            float *w = kernels_random(n, 1), *m = kernels_zeros(n), *v = kernels_zeros(n);
            double dw[40], dm[40] = {0}, dv[40] = {0};
            for (size_t i = 0; i < n; i++) dw[i] = w[i];
            for (uint64_t t = 1; t <= 10; t++) {
                const float *g = kernels_random(n, 10 + t);
                const struct kern_adamw o = {0.01f, 0.9f, 0.999f, 1e-8f, 0.1f, 0.5f, t};
                k->ops->adamw(k, w, m, v, g, n, &o);
                for (size_t i = 0; i < n; i++) {
                    const double d = 0.5 * g[i];
                    dm[i] = 0.9 * dm[i] + 0.1 * d;
                    dv[i] = 0.999 * dv[i] + 0.001 * d * d;
                    const double step =
                        dm[i] / (1 - pow(0.9, (double)t)) / (sqrt(dv[i] / (1 - pow(0.999, (double)t))) + 1e-8);
                    dw[i] -= 0.01 * (step + 0.1 * dw[i]);
                }
            }
            for (size_t i = 0; i < n; i++) {
                assert_true(fabs(w[i] - dw[i]) < 1e-5);
                assert_true(fabs(m[i] - dm[i]) < 1e-6);
                assert_true(fabs(v[i] - dv[i]) < 1e-6);
            }
            kernels_reset();
        }
}

static void test_adagrad(void **state)
{
    (void)state;
    struct kern *k;
    for (size_t n = 0; n < 70; n += 23)
        for (size_t j = 0; (k = backend_or_ref(j)) != NULL; j++) {
            float *w = kernels_random(n, 1), *acc = kernels_zeros(n), *w0 = kernels_copy(w, n);
            const float *g = kernels_random(n, 2);
            for (size_t i = 0; i < n; i++) acc[i] = 1.0f;
            k->ops->adagrad(k, w, acc, g, 0.1f, n);
            for (size_t i = 0; i < n; i++) {
                const double a = 1.0 + (double)g[i] * g[i];
                assert_true(fabs(acc[i] - a) < 1e-6 && fabs(w[i] - (w0[i] - 0.1 * g[i] / sqrt(a))) < 1e-6);
            }
            kernels_reset();
        }
}

static void test_sparse_rows(void **state)
{
    (void)state;
    struct kern *k;
    for (size_t j = 0; (k = backend_or_ref(j)) != NULL; j++) {
        float w[] = {1, 2, 3, 4, 5}, acc[] = {1, 1, 1, 4, 1}, z[] = {10, 20, 30};
        const uint32_t off[] = {0, 3, 3, 4}, idx[] = {4, 1, 4, 0}; /* 4 twice; the second has none */
        const float val[] = {1, 0.5f, 2, -1};
        k->ops->sparse_forward(k, z, w, off, idx, val, 3);
        assert_true(z[0] == 10 + 5 + 1 + 10 && z[1] == 20 && z[2] == 29);
        const uint32_t rows[] = {3, 0};
        const float g[] = {2, -1};
        k->ops->sparse_adagrad(k, w, acc, rows, g, 0.5f, 2, 1);
        assert_true(acc[3] == 8 && acc[0] == 2 && acc[1] == 1);
        assert_true(fabs(w[3] - (4 - 0.5 * 2 / sqrt(8))) < 1e-6 && fabs(w[0] - (1 + 0.5 / sqrt(2))) < 1e-6);
        assert_true(w[1] == 2 && w[2] == 3 && w[4] == 5);
        k->ops->sparse_forward(k, z, w, off, idx, val, 0);
        k->ops->sparse_adagrad(k, w, acc, rows, g, 0.5f, 0, 1);
    }
}

/* Rows of eleven columns: one accumulator each takes the squares of all of them. */
static void test_sparse_rows_of_several_columns(void **state)
{
    (void)state;
    enum { C = 11, ROWS = 4 };
    struct kern *k;
    for (size_t j = 0; (k = backend_or_ref(j)) != NULL; j++) {
        float w[ROWS * C], g[2 * C], acc[ROWS] = {1, 2, 3, 4};
        const uint32_t rows[] = {2, 0};
        for (size_t i = 0; i < ROWS * C; i++) w[i] = (float)i;
        for (size_t i = 0; i < 2 * C; i++) g[i] = 0.25f * (float)i - 1.0f;
        k->ops->sparse_adagrad(k, w, acc, rows, g, 0.5f, 2, C);
        for (size_t n = 0; n < 2; n++) {
            double a = rows[n] + 1.0;
            for (size_t c = 0; c < C; c++) a += (double)g[n * C + c] * (double)g[n * C + c];
            assert_true(fabs((double)acc[rows[n]] - a) < 1e-5);
            for (size_t c = 0; c < C; c++) {
                const double want = (double)(rows[n] * C + c) - 0.5 * (double)g[n * C + c] / sqrt(a);
                assert_true(fabs((double)w[rows[n] * C + c] - want) < 1e-5);
            }
        }
        assert_true(acc[1] == 2 && acc[3] == 4 && w[C] == C && w[3 * C + 10] == 3 * C + 10);
        kernels_reset();
    }
}

static void test_sum_squares(void **state)
{
    (void)state;
    struct kern *k;
    static const size_t sizes[] = {0, 1, 63, 4096, 4097, 100003};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t j = 0; (k = backend_or_ref(j)) != NULL; j++) {
            const float *x = kernels_random(sizes[i], 1);
            double want = 5.0;
            float out = 5.0f;
            for (size_t n = 0; n < sizes[i]; n++) want += (double)x[n] * x[n];
            k->ops->sum_squares(k, &out, x, sizes[i]);
            assert_true(fabs(out - want) <= 1e-5 * want);
            kernels_reset();
        }
}

static void test_all_finite(void **state)
{
    (void)state;
    static const float odd[] = {NAN, INFINITY, -INFINITY};
    struct kern *k;
    for (size_t j = 0; (k = backend_or_ref(j)) != NULL; j++) {
        float *x = kernels_random(50, 1), flag = -1.0f;
        x[3] = 3e38f, x[7] = -3e38f, x[9] = 1e-44f;
        k->ops->all_finite(k, &flag, x, 50);
        assert_true(flag == 1.0f);
        for (size_t i = 0; i < 150; i++) {
            const float was = x[i % 50];
            x[i % 50] = odd[i / 50];
            k->ops->all_finite(k, &flag, x, 50);
            assert_true(flag == 0.0f);
            x[i % 50] = was;
        }
        k->ops->all_finite(k, &flag, x, 0);
        assert_true(flag == 1.0f);
        kernels_reset();
    }
}

static void test_pull(void **state)
{
    (void)state;
    struct kern *k;
    for (size_t n = 0; n < 700; n += 333)
        for (size_t j = 0; (k = backend_or_ref(j)) != NULL; j++) {
            const float *to = kernels_random(n, 1), *start = kernels_random(n, 2);
            float *w = kernels_copy(start, n);
            k->ops->pull(k, w, to, 0.25f, n);
            for (size_t i = 0; i < n; i++)
                assert_true(fabsf(w[i] - (0.75f * start[i] + 0.25f * to[i])) <= 1e-6f * (1.0f + fabsf(start[i])));
            kernels_reset();
        }
}

static int done(void **state)
{
    (void)state;
    kernels_close_all();
    return 0;
}

/* Values, moments and what is packed: as a step of the reference, then a new packing. */
static void test_adamw_matrix(void **state)
{
    (void)state;
    enum { N = 5, O = 130, I = 70 };
    const struct kern_adamw o = {0.01f, 0.9f, 0.999f, 1e-8f, 0.1f, 0.5f, 3};
    struct kern *k;
    struct err e = {0};
    for (size_t j = 0; (k = backend_or_ref(j)) != NULL; j++) {
        for (int prec = KERN_F32; prec <= KERN_BF16; prec++) {
            const float *x = kernels_random(N * I, 1), *w0 = kernels_random(O * I, 2), *g = kernels_random(O * I, 3);
            float *m0 = kernels_random(O * I, 4), *v0 = kernels_random(O * I, 5);
            for (size_t i = 0; i < O * I; i++) v0[i] *= v0[i];
            float *w = kernels_copy(w0, O * I), *m = kernels_copy(m0, O * I), *v = kernels_copy(v0, O * I);
            float *want_w = kernels_copy(w0, O * I), *want = kernels_zeros(N * O), *got = kernels_zeros(N * O);
            kernels_ref()->ops->adamw(kernels_ref(), want_w, m0, v0, g, O * I, &o);
            struct kern_matrix q = {.w = w, .out = O, .in = I, .prec = (enum kern_precision)prec, .learnt = true};
            assert_ok(k->ops->pack(k, &q, &e), &e);
            k->ops->adamw_matrix(k, &q, m, v, g, &o);
            kernels_close("w", w, want_w, O * I, 1e-6, 1e-5);
            kernels_close("m", m, m0, O * I, 1e-6, 1e-5);
            kernels_close("v", v, v0, O * I, 1e-6, 1e-5);
            k->ops->linear(k, got, NULL, x, &q, NULL, KERN_ACT_NONE, N);
            kernels_ref()->ops->linear(kernels_ref(), want, NULL, x,
                                       &(struct kern_matrix){.w = w, .out = O, .in = I, .prec = q.prec}, NULL,
                                       KERN_ACT_NONE, N);
            kernels_close("packed", got, want, N * O, 1e-4, 1e-5);
            const float *dy = kernels_random(N * O, 6);
            float *dx = kernels_zeros(N * I), *want_dx = kernels_zeros(N * I);
            k->ops->linear_dx(k, dx, dy, &q, N);
            kernels_ref()->ops->linear_dx(kernels_ref(), want_dx, dy,
                                          &(struct kern_matrix){.w = w, .out = O, .in = I, .prec = q.prec}, N);
            kernels_close("packed for the way back", dx, want_dx, N * I, 1e-4, 1e-5);
            k->ops->unpack(k, &q);
            kernels_reset();
        }
    }
}

struct product_case {
    size_t O, I, n, N[5];
    enum kern_precision prec;
};

/* One matrix's step with its gradient as products, and after multiplying out: values, moments and what is packed. */
static void check_product(struct kern *k, const struct product_case *c)
{
    const struct kern_adamw o = {0.01f, 0.9f, 0.999f, 1e-8f, 0.1f, 0.5f, 3};
    const size_t n = c->O * c->I;
    struct kern_product of[5];
    struct err e;
    float *w[2], *m[2], *v[2], *g = kernels_zeros(n), *room = kernels_random(n, 9), *y[2];
    struct kern_matrix q[2];
    for (size_t p = 0; p < c->n; p++) {
        of[p] = (struct kern_product){kernels_random(c->N[p] * c->O, 20 + p), kernels_random(c->N[p] * c->I, 30 + p),
                                      c->N[p]};
        k->ops->linear_dw(k, g, NULL, of[p].dy, of[p].x, c->N[p], c->O, c->I, c->prec, p > 0);
    }
    for (int s = 0; s < 2; s++) {
        w[s] = kernels_random(n, 1), m[s] = kernels_random(n, 2), v[s] = kernels_random(n, 3),
        y[s] = kernels_zeros(7 * c->O);
        for (size_t i = 0; i < n; i++) v[s][i] *= v[s][i];
        q[s] = (struct kern_matrix){.w = w[s], .out = c->O, .in = c->I, .prec = c->prec, .learnt = true};
        assert_ok(k->ops->pack(k, &q[s], &e), &e);
    }
    k->ops->adamw_matrix(k, &q[0], m[0], v[0], g, &o);
    k->ops->adamw_product(k, &q[1], m[1], v[1], room, of, c->n, &o);
    assert_memory_equal(w[0], w[1], n * sizeof(float));
    assert_memory_equal(m[0], m[1], n * sizeof(float));
    assert_memory_equal(v[0], v[1], n * sizeof(float));
    float *dx[2] = {kernels_zeros(7 * c->I), kernels_zeros(7 * c->I)};
    for (int s = 0; s < 2; s++) {
        k->ops->linear(k, y[s], NULL, kernels_random(7 * c->I, 40), &q[s], NULL, KERN_ACT_NONE, 7);
        k->ops->linear_dx(k, dx[s], kernels_random(7 * c->O, 41), &q[s], 7);
        k->ops->unpack(k, &q[s]);
    }
    assert_memory_equal(y[0], y[1], 7 * c->O * sizeof(float));
    assert_memory_equal(dx[0], dx[1], 7 * c->I * sizeof(float));
    kernels_reset();
}

/* The last two don't fit where the operands are put in order: too many products, too many rows. */
static void test_adamw_product(void **state)
{
    (void)state;
    static const struct product_case cases[] = {
        {130, 70, 1, {5}, KERN_BF16},    {130, 70, 3, {6, 0, 33}, KERN_BF16},
        {64, 64, 1, {16}, KERN_BF16},    {1, 3, 1, {2}, KERN_BF16},
        {37, 129, 2, {1, 1}, KERN_BF16}, {130, 70, 0, {0}, KERN_BF16},
        {130, 70, 1, {0}, KERN_BF16},    {130, 70, 2, {5, 6}, KERN_F32},
        {37, 129, 0, {0}, KERN_F32},     {130, 70, 5, {1, 2, 3, 4, 5}, KERN_BF16},
        {130, 70, 1, {3000}, KERN_BF16},
    };
    struct kern *k;
    struct pool *three = kernels_pool();
    for (size_t j = 0; (k = kernels_backend(j)) != NULL; j++)
        for (size_t i = 0; i < sizeof cases / sizeof *cases && k->ops->adamw_product != NULL; i++) {
            check_product(k, &cases[i]);
            kern_use_pool(k, three);
            check_product(k, &cases[i]);
            kern_use_pool(k, NULL);
        }
    pool_free(three);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adamw_matrix),
        cmocka_unit_test(test_adamw),
        cmocka_unit_test(test_adamw_product),
        cmocka_unit_test(test_adagrad),
        cmocka_unit_test(test_pull),
        cmocka_unit_test(test_sparse_rows),
        cmocka_unit_test(test_sparse_rows_of_several_columns),
        cmocka_unit_test(test_sum_squares),
        cmocka_unit_test(test_all_finite),
    };
    return cmocka_run_group_tests(tests, NULL, done);
}

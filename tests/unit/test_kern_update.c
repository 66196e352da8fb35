/* test_kern_update.c - optimiser steps, sparse rows, sums and the finite flag. */
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
            k->ops->unpack(k, &q);
            kernels_reset();
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adamw_matrix), cmocka_unit_test(test_adamw),
        cmocka_unit_test(test_adagrad),      cmocka_unit_test(test_pull),
        cmocka_unit_test(test_sparse_rows),  cmocka_unit_test(test_sparse_rows_of_several_columns),
        cmocka_unit_test(test_sum_squares),  cmocka_unit_test(test_all_finite),
    };
    return cmocka_run_group_tests(tests, NULL, done);
}

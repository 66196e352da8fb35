/* test_kern_rows.c - look-ups, embeddings, means, dropout, and sums of vectors. */
#include "tests/support/check.h"
#include "tests/support/kernels.h"
#include <math.h>
#include <string.h>

static const size_t widths[] = {1, 5, 16, 33, 384};
#define N_WIDTHS (sizeof widths / sizeof *widths)

static struct kern *backend_or_ref(size_t j)
{
    return j == 0 ? kernels_ref() : kernels_backend(j - 1);
}

static void test_gather_and_scatter(void **state)
{
    (void)state;
    enum { ROWS = 7, N = 11 };
    struct kern *k;
    for (size_t i = 0; i < N_WIDTHS; i++)
        for (size_t j = 0; (k = backend_or_ref(j)) != NULL; j++) {
            const size_t C = widths[i];
            const float *table = kernels_random(ROWS * C, 1), *d = kernels_random(N * C, 2),
                        *start = kernels_random(ROWS * C, 3);
            const int32_t *idx = kernels_ids(N, ROWS, 4);
            float *out = kernels_zeros(N * C), *dt = kernels_copy(start, ROWS * C),
                  *want = kernels_copy(start, ROWS * C);
            k->ops->gather(k, out, table, idx, N, C);
            for (size_t n = 0; n < N; n++)
                assert_memory_equal(out + n * C, table + (size_t)idx[n] * C, C * sizeof *out);
            k->ops->scatter_add(k, dt, d, idx, N, C);
            for (size_t n = 0; n < N; n++) /* in order of n, so the same bits */
                for (size_t c = 0; c < C; c++) want[(size_t)idx[n] * C + c] += d[n * C + c];
            assert_memory_equal(dt, want, ROWS * C * sizeof *dt);
            k->ops->gather(k, NULL, table, NULL, 0, C);
            k->ops->scatter_add(k, dt, NULL, NULL, 0, C);
            kernels_reset();
        }
}

/* Rows that are named are replaced, the others stay. */
static void test_put_rows(void **state)
{
    (void)state;
    enum { ROWS = 7, N = 3 };
    static const int32_t idx[N] = {5, 0, 2};
    struct kern *k;
    for (size_t i = 0; i < N_WIDTHS; i++)
        for (size_t j = 0; (k = backend_or_ref(j)) != NULL; j++) {
            const size_t C = widths[i];
            const float *d = kernels_random(N * C, 1), *start = kernels_random(ROWS * C, 2);
            float *table = kernels_copy(start, ROWS * C), *want = kernels_copy(start, ROWS * C);
            k->ops->put_rows(k, table, d, idx, N, C);
            for (size_t n = 0; n < N; n++) memcpy(want + (size_t)idx[n] * C, d + n * C, C * sizeof *d);
            assert_memory_equal(table, want, ROWS * C * sizeof *want);
            k->ops->put_rows(k, table, NULL, NULL, 0, C);
            kernels_reset();
        }
}

static void test_widen_is_exact(void **state)
{
    (void)state;
    enum { N = 300 };
    struct kern *k;
    uint16_t x[N];
    for (size_t j = 0; (k = backend_or_ref(j)) != NULL; j++) {
        float *y = kernels_random(N + 1, 1);
        const float last = y[N];
        for (size_t i = 0; i < N; i++) x[i] = (uint16_t)(i * 219);
        k->ops->widen(k, y, x, N);
        for (size_t i = 0; i < N; i++) {
            const uint32_t want = (uint32_t)x[i] << 16;
            assert_memory_equal(&y[i], &want, sizeof want);
        }
        assert_true(y[N] == last);
        k->ops->widen(k, y, x, 0);
        kernels_reset();
    }
}

static void test_embed(void **state)
{
    (void)state;
    enum { N = 9, V = 20, P = 12, T = 2 };
    struct kern *k;
    for (size_t i = 0; i < N_WIDTHS; i++)
        for (size_t j = 0; (k = backend_or_ref(j)) != NULL; j++) {
            const size_t C = widths[i];
            const float *w = kernels_random(V * C, 1), *p = kernels_random(P * C, 2), *t = kernels_random(T * C, 3);
            const int32_t *id = kernels_ids(N, V, 4), *pos = kernels_ids(N, P, 5), *typ = kernels_ids(N, T, 6);
            float *x = kernels_zeros(N * C), *want = kernels_zeros(N * C);
            k->ops->embed(k, x, w, p, t, id, pos, typ, N, C);
            for (size_t n = 0; n < N; n++)
                for (size_t c = 0; c < C; c++)
                    want[n * C + c] = w[(size_t)id[n] * C + c] + t[(size_t)typ[n] * C + c] + p[(size_t)pos[n] * C + c];
            kernels_close("embed", x, want, N * C, 0, 0);
            kernels_reset();
        }
}

static void test_mean_rows(void **state)
{
    (void)state;
    static const int32_t off[] = {0, 1, 1, 5, 260}; /* the second has no rows: its mean is 0 */
    struct kern *k;
    for (size_t i = 0; i < N_WIDTHS; i++) {
        const size_t C = widths[i];
        const float *x = kernels_random(260 * C, 1);
        float *want = kernels_zeros(4 * C);
        kernels_ref()->ops->mean_rows(kernels_ref(), want, x, off, 4, C);
        for (size_t c = 0; c < C; c++) {
            assert_true(want[c] == x[c] && want[C + c] == 0.0f);
            const double m = ((double)x[C + c] + x[2 * C + c] + x[3 * C + c] + x[4 * C + c]) / 4.0;
            assert_true(fabs(want[2 * C + c] - m) < 1e-6);
        }
        for (size_t j = 0; (k = kernels_backend(j)) != NULL; j++) {
            float *got = kernels_random(4 * C, 9);
            k->ops->mean_rows(k, got, x, off, 4, C);
            kernels_close("mean", got, want, 4 * C, 1e-6, 1e-5);
        }
        kernels_reset();
    }
}

static void test_dropout(void **state)
{
    (void)state;
    struct kern *k;
    const uint8_t keep[] = {1, 0, 1, 1, 0, 255};
    const float x[] = {1, 2, -3, 4, NAN, 6};
    for (size_t j = 0; (k = backend_or_ref(j)) != NULL; j++) {
        float y[6];
        k->ops->dropout(k, y, x, keep, 0.25f, 6);
        const float f = 1.0f / 0.75f;
        const float want[] = {1 * f, 0, -3 * f, 4 * f, 0, 6 * f};
        kernels_close("dropout", y, want, 6, 0, 1e-6);
        k->ops->dropout(k, y, x, keep, 0.0f, 4);
        assert_true(y[0] == 1.0f && y[1] == 0.0f && y[2] == -3.0f);
    }
}

static void test_zero_copy_axpy(void **state)
{
    (void)state;
    struct kern *k;
    for (size_t n = 0; n < 70; n++)
        for (size_t j = 0; (k = backend_or_ref(j)) != NULL; j++) {
            const float *x = kernels_random(n, 1), *y0 = kernels_random(n, 2);
            float *y = kernels_copy(y0, n), *z = kernels_random(n, 3);
            k->ops->axpy(k, y, -1.5f, x, n);
            for (size_t i = 0; i < n; i++) assert_true(fabs(y[i] - (y0[i] - 1.5 * x[i])) < 1e-6);
            k->ops->copy(k, z, y, n);
            if (n > 0) assert_memory_equal(z, y, n * sizeof *z);
            k->ops->zero(k, z, n);
            for (size_t i = 0; i < n; i++) assert_true(z[i] == 0.0f);
            kernels_reset();
        }
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
        cmocka_unit_test(test_gather_and_scatter), cmocka_unit_test(test_put_rows),
        cmocka_unit_test(test_widen_is_exact),     cmocka_unit_test(test_embed),
        cmocka_unit_test(test_mean_rows),          cmocka_unit_test(test_dropout),
        cmocka_unit_test(test_zero_copy_axpy),
    };
    return cmocka_run_group_tests(tests, NULL, done);
}

/* test_part_newton.c - second-order steps: against a solution by elimination, against batch logistic regression, forgetting,
 * state. */
#include "base/rand.h"
#include "model/part_newton.h"
#include "tests/support/check.h"
#include <math.h>
#include <string.h>

enum { N = 7, ROWS = 40 };

static void example(struct rand *r, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] = (float)rand_normal(r);
}

/* Gaussian elimination with pivots: d = a^-1 g. */
static void eliminate(double a[N][N], double *d)
{
    for (size_t i = 0; i < N; i++) {
        size_t best = i;
        for (size_t k = i + 1; k < N; k++)
            if (fabs(a[k][i]) > fabs(a[best][i])) best = k;
        for (size_t j = 0; j < N; j++) {
            const double t = a[i][j];
            a[i][j] = a[best][j], a[best][j] = t;
        }
        const double t = d[i];
        d[i] = d[best], d[best] = t;
        for (size_t k = i + 1; k < N; k++) {
            const double f = a[k][i] / a[i][i];
            for (size_t j = i; j < N; j++) a[k][j] -= f * a[i][j];
            d[k] -= f * d[i];
        }
    }
    for (size_t i = N; i-- > 0;) {
        for (size_t j = i + 1; j < N; j++) d[i] -= a[i][j] * d[j];
        d[i] /= a[i][i];
    }
}

/* Two batches, the first of which counts 0.9 when the second comes. */
static void test_steps_are_those_of_the_formula(void **state)
{
    (void)state;
    struct part_newton *q;
    struct err e;
    struct rand r;
    double a[N][N] = {{0}}, solved[N][N], w[N] = {0};
    float x[N], mine[N] = {0}, precision[N * N];
    rand_init(&r, (struct rand_key){.purpose = RAND_TEST});
    assert_ok(part_newton_new(&q, N, 0.5, &e), &e);
    assert_false(part_newton_step(q, 1, mine)); /* nothing was added */
    for (int batch = 0; batch < 2; batch++) {
        double g[N] = {0};
        for (size_t i = 0; i < N * N; i++) a[i / N][i % N] *= 0.9;
        for (int k = 0; k < ROWS; k++) {
            example(&r, x, N);
            const double c = rand_unit(&r) / 4, gradient = rand_unit(&r) - 0.5;
            part_newton_add(q, x, c, gradient);
            for (size_t i = 0; i < N; i++) {
                g[i] += gradient * (double)x[i];
                for (size_t j = 0; j < N; j++) a[i][j] += c * (double)x[i] * (double)x[j];
            }
        }
        memcpy(solved, a, sizeof a);
        for (size_t i = 0; i < N; i++) solved[i][i] += 0.5;
        eliminate(solved, g);
        for (size_t i = 0; i < N; i++) w[i] -= g[i];
        assert_true(part_newton_step(q, 0.9, mine));
        for (size_t i = 0; i < N; i++) assert_true(fabs((double)mine[i] - w[i]) < 1e-5);
    }
    part_newton_precision(q, precision);
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++)
            assert_true(fabs((double)precision[i * N + j] - a[i][j] - (i == j ? 0.5 : 0)) < 1e-4);
    part_newton_free(q);
}

static double probability(const float *w, const float *x)
{
    double z = 0;
    for (size_t i = 0; i < N; i++) z += (double)w[i] * (double)x[i];
    return 1 / (1 + exp(-z));
}

/* One pass over 20,000 examples of known weights comes near them, though their scales differ a hundredfold. */
static void test_one_pass_finds_the_weights(void **state)
{
    (void)state;
    struct part_newton *q;
    struct err e;
    struct rand r;
    float x[N], w[N] = {0}, truth[N];
    rand_init(&r, (struct rand_key){.purpose = RAND_TEST, .seed = 1});
    assert_ok(part_newton_new(&q, N, 1.0, &e), &e);
    for (size_t i = 0; i < N; i++) truth[i] = (float)((i % 2 ? 1 : -1) * 0.8 / pow(10, (double)i / 3));
    for (int k = 0; k < 20000; k++) {
        example(&r, x, N);
        for (size_t i = 0; i < N; i++) x[i] *= (float)pow(10, (double)i / 3);
        const double y = rand_unit(&r) < probability(truth, x) ? 1 : 0, p = probability(w, x);
        part_newton_add(q, x, p * (1 - p), p - y);
        if (k % 10 == 9) assert_true(part_newton_step(q, 1, w));
    }
    for (size_t i = 0; i < N; i++) assert_true(fabs((double)(w[i] / truth[i]) - 1) < 0.15);
    part_newton_free(q);
}

static void test_what_is_not_finite_is_left_out(void **state)
{
    (void)state;
    struct part_newton *q;
    struct err e;
    float x[N] = {1, 2, 3}, w[N] = {0};
    assert_ok(part_newton_new(&q, N, 1.0, &e), &e);
    part_newton_add(q, x, NAN, 1);
    part_newton_add(q, x, 1, INFINITY);
    x[4] = NAN;
    part_newton_add(q, x, 1, 1);
    assert_false(part_newton_step(q, 1, w));
    for (size_t i = 0; i < N; i++) assert_float_equal(w[i], 0.0f, 0.0f);
    part_newton_free(q);
}

static void test_goes_on_from_its_state_in_the_same_bits(void **state)
{
    (void)state;
    struct part_newton *a, *b, *other;
    struct err e;
    struct rand r;
    struct buf kept = {0};
    float x[N], wa[N] = {0}, wb[N];
    rand_init(&r, (struct rand_key){.purpose = RAND_TEST, .seed = 2});
    assert_ok(part_newton_new(&a, N, 1.0, &e), &e);
    assert_ok(part_newton_new(&b, N, 1.0, &e), &e);
    assert_ok(part_newton_new(&other, N - 1, 1.0, &e), &e);
    for (int k = 0; k < 20; k++) {
        if (k == 10) {
            part_newton_encode(&kept, a);
            struct buf_reader rd = buf_reader(kept.p, kept.n);
            assert_ok(part_newton_decode(b, &rd, &e), &e);
            assert_int_equal(buf_left(&rd), 0);
            memcpy(wb, wa, sizeof wa);
        }
        example(&r, x, N);
        part_newton_add(a, x, 0.2, 0.3);
        assert_true(part_newton_step(a, 0.99, wa));
        if (k < 10) continue;
        part_newton_add(b, x, 0.2, 0.3);
        assert_true(part_newton_step(b, 0.99, wb));
    }
    assert_memory_equal(wa, wb, sizeof wa);
    for (size_t cut = 0; cut < kept.n; cut++) {
        struct buf_reader rd = buf_reader(kept.p, cut);
        assert_int_equal(part_newton_decode(b, &rd, &e), STATUS_CORRUPT);
    }
    struct buf_reader rd = buf_reader(kept.p, kept.n);
    assert_int_equal(part_newton_decode(other, &rd, &e), STATUS_CORRUPT);
    buf_fini(&kept);
    part_newton_free(a);
    part_newton_free(b);
    part_newton_free(other);
}

static enum status make_and_drop(void)
{
    struct part_newton *q;
    const enum status st = part_newton_new(&q, N, 1.0, NULL);
    if (st != STATUS_OK) assert_null(q);
    part_newton_free(q);
    return st;
}

static void test_survives_each_failing_allocation(void **state)
{
    (void)state;
    long met;
    FAIL_EACH_ALLOCATION(met, make_and_drop());
    assert_int_equal(met, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps_are_those_of_the_formula),
        cmocka_unit_test(test_one_pass_finds_the_weights),
        cmocka_unit_test(test_what_is_not_finite_is_left_out),
        cmocka_unit_test(test_goes_on_from_its_state_in_the_same_bits),
        cmocka_unit_test(test_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

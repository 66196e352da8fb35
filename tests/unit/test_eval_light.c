/* test_eval_light.c - the small meter says what the large one says; weights, sums of two, packing.
 * labels: quick */
#include "base/rand.h"
#include "tests/support/check.h"
#include "trainer/eval.h"
#include "trainer/eval_light.h"
#include <math.h>
#include <string.h>

enum { N = 30, SLATES = 200 };

static void random_slate(struct rand *r, float *z, float *y, uint8_t *mask)
{
    for (int i = 0; i < N; i++) {
        y[i] = rand_unit(r) < 0.2 ? 1.0f : 0.0f;
        z[i] = (float)rand_normal(r) + y[i] - 1.0f;
        mask[i] = rand_unit(r) < 0.6;
    }
}

static void close_to(const struct report_figures *a, const struct report_figures *b)
{
    assert_near(a->auc, b->auc, 2e-3); /* coarser bins */
    assert_near(a->gauc, b->gauc, 1e-12);
    assert_near(a->logloss, b->logloss, 1e-12);
    assert_near(a->ne, b->ne, 1e-12);
    assert_near(a->calibration, b->calibration, 1e-12);
    assert_true(a->examples == b->examples && a->slates == b->slates && a->positives == b->positives);
}

static void test_it_says_what_the_large_meter_says(void **state)
{
    (void)state;
    static struct eval_meter large[2];
    struct eval_light light[2] = {{{{0}}, 0, 0, 0, 0, 0, 0}}, sum = {{{0}}, 0, 0, 0, 0, 0, 0};
    struct report_figures a, b;
    struct rand r;
    float z[N], y[N];
    uint8_t mask[N];
    struct eval_term terms[N];
    memset(light, 0, sizeof light);
    rand_init(&r, (struct rand_key){.seed = 5, .purpose = RAND_TEST});
    for (int s = 0; s < SLATES; s++) {
        random_slate(&r, z, y, mask);
        struct eval_terms t = {.z = z, .y = y, .terms = terms, .n = N};
        eval_terms_fill(&t);
        for (int k = 0; k < 2; k++) {
            eval_light_add(&light[k], &t, k == 1 ? mask : NULL, 1.0);
            eval_meter_add(&large[k], z, NULL, y, k == 1 ? mask : NULL, N);
        }
        eval_light_add(&sum, &t, NULL, 0.25);
        eval_light_add(&sum, &t, NULL, 0.5);
    }
    for (int k = 0; k < 2; k++) {
        eval_light_figures(&light[k], &a);
        eval_meter_figures(&large[k], &b);
        close_to(&a, &b);
    }
    eval_light_scale(&sum, 4.0 / 3.0);
    eval_light_figures(&sum, &a);
    eval_light_figures(&light[0], &b);
    close_to(&a, &b);
    eval_light_merge(&light[0], &sum);
    eval_light_figures(&light[0], &b);
    assert_int_equal(b.examples, 2 * a.examples);
    assert_near(b.gauc, a.gauc, 1e-12);
}

static void test_extremes_stay_finite(void **state)
{
    (void)state;
    const float z[] = {1e30f, -1e30f}, y[] = {1, 0};
    struct eval_term terms[2];
    struct eval_terms t = {.z = z, .y = y, .terms = terms, .n = 2};
    struct eval_light m;
    struct report_figures f;
    memset(&m, 0, sizeof m);
    eval_light_figures(&m, &f);
    assert_true(isnan(f.auc) && isnan(f.gauc) && isnan(f.logloss) && isnan(f.ne) && isnan(f.calibration));
    eval_terms_fill(&t);
    eval_light_add(&m, &t, NULL, 1.0);
    eval_light_figures(&m, &f);
    assert_true(f.auc == 1.0 && isfinite(f.logloss) && f.logloss < 1e-9);
}

static void test_packed_it_is_the_same_and_damage_shows(void **state)
{
    (void)state;
    struct eval_light m, back;
    struct buf b = {0};
    memset(&m, 0, sizeof m);
    eval_light_encode(&b, &m);
    assert_true(b.n < 8);
    m.bins[0][0] = 1.5;
    m.bins[1][EVAL_LIGHT_BINS - 1] = 2.0;
    m.positives = 7.0;
    buf_clear(&b);
    eval_light_encode(&b, &m);
    struct buf_reader r = buf_reader(b.p, b.n);
    eval_light_decode(&back, &r);
    assert_true(!r.bad && buf_left(&r) == 0);
    assert_memory_equal(&m, &back, sizeof m);
    r = buf_reader(b.p, b.n - 1);
    eval_light_decode(&back, &r);
    assert_true(r.bad);
    const unsigned char endless[] = {0, 0, 0, 0}; /* no zeros, no numbers: would never end */
    r = buf_reader(endless, sizeof endless);
    eval_light_decode(&back, &r);
    assert_true(r.bad);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_says_what_the_large_meter_says),
        cmocka_unit_test(test_extremes_stay_finite),
        cmocka_unit_test(test_packed_it_is_the_same_and_damage_shows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

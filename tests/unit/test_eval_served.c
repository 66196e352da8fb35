/* test_eval_served.c - figures of the scores that were served, and the skew, by hand.
 * labels: quick */
#include "tests/support/check.h"
#include "trainer/eval_served.h"
#include <math.h>
#include <string.h>

enum { N = 4 };
static struct eval_served v, back;
static struct report_served got;

/* Served 0.5 0.8 0.2 and nothing; the learner's logits differ by `off` from the first three. */
static void add(float off)
{
    struct slate_item items[N] = {{.served = 0.5f}, {.served = 0.8f}, {.served = 0.2f}, {.served = 0.0f}};
    const float y[N] = {0, 1, 0, 1};
    float z[N], room_z[N];
    uint8_t mask[N];
    struct eval_term terms[N], more[N];
    struct slate s = {.items = items, .n_items = N};
    struct eval_terms t = {.z = z, .y = y, .terms = terms, .n = N};
    for (int i = 0; i < N; i++) {
        const double p = i < 3 ? (double)items[i].served : 0.9;
        z[i] = (float)log(p / (1.0 - p)) + off;
    }
    eval_terms_fill(&t);
    const struct eval_served_room room = {room_z, mask, more};
    eval_served_echoed(&s, &room);
    eval_served_add(&v, &t, &room);
}

static void test_figures_and_skew(void **state)
{
    (void)state;
    memset(&v, 0, sizeof v);
    memset(&got, 0, sizeof got);
    eval_served_report(&v, &got);
    assert_true(isnan(got.skew.mean) && isnan(got.skew.p50) && isnan(got.skew.most));
    for (int i = 0; i < 99; i++) add(0.01f);
    add(-1.0f);
    eval_served_report(&v, &got);
    assert_int_equal(got.lists, 100);
    assert_int_equal(got.figures.examples, 300);
    assert_int_equal(got.learner.examples, 300);
    assert_near(got.figures.logloss, -(log(0.5) + 2.0 * log(0.8)) / 3.0, 1e-6);
    assert_near(got.figures.gauc, 1.0, 1e-12);
    assert_near(got.skew.mean, 0.99 * 0.01 - 0.01, 1e-5);
    assert_near(got.skew.most, 1.0, 1e-5);
    assert_true(got.skew.p50 >= 0.01 && got.skew.p50 < 0.0134);
    assert_true(got.skew.p99 >= 0.01 && got.skew.p99 < 0.0134);
    assert_near(got.skew.deviation, sqrt(0.99 * 0.0001 + 0.01 - pow(got.skew.mean, 2.0)), 1e-4);
}

static void test_packed_it_is_the_same(void **state)
{
    (void)state;
    struct buf b = {0};
    memset(&v, 0, sizeof v);
    add(0.5f);
    eval_served_encode(&b, &v);
    struct buf_reader r = buf_reader(b.p, b.n);
    eval_served_decode(&back, &r);
    assert_true(!r.bad && buf_left(&r) == 0);
    assert_memory_equal(&v, &back, sizeof v);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_figures_and_skew),
        cmocka_unit_test(test_packed_it_is_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

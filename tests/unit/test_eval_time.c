/* test_eval_time.c - windows, decayed figures and the curve against the slates kept in a list.
 * labels: quick */
#include "base/rand.h"
#include "tests/support/check.h"
#include "trainer/eval_time.h"
#include <math.h>
#include <string.h>

#define HOUR INT64_C(3600000)
#define START INT64_C(1700000000000)
enum { N = 4, SLATES = 3000 };

static struct eval_time now, back;
static struct report_detail detail, other;
static struct { /* what was added */
    int64_t time_ms;
    double loss, auc;
} kept[SLATES];

/* One slate at time_ms, its examples those of seed i; popularity's AUC is 0.25, repeat's 0.5. */
static void add(struct eval_time *t, int i, int64_t time_ms)
{
    struct rand r;
    float z[N], y[N];
    struct eval_term terms[N];
    struct slate_item items[N];
    struct slate s = {
        .time_ms = time_ms, .source = i % 2 ? SLATE_ORGANIC : SLATE_IMPRESSION, .items = items, .n_items = N};
    struct eval_terms of = {.z = z, .y = y, .terms = terms, .n = N};
    const double baselines[REPORT_BASELINES] = {0.25, 0.5};
    rand_init(&r, (struct rand_key){.seed = 9, .offset = (uint64_t)i, .purpose = RAND_TEST});
    memset(items, 0, sizeof items);
    for (int k = 0; k < N; k++) {
        y[k] = items[k].label = k == 0 ? 1.0f : 0.0f;
        z[k] = (float)rand_normal(&r);
    }
    eval_terms_fill(&of);
    kept[i].time_ms = time_ms;
    kept[i].auc = of.auc;
    kept[i].loss = 0.0;
    for (int k = 0; k < N; k++) kept[i].loss += terms[k].loss;
    eval_time_add(t, &s, &of, baselines, true);
}

static void test_windows_are_the_newest(void **state)
{
    (void)state;
    eval_time_init(&now, HOUR, HOUR);
    memset(&detail, 0, sizeof detail);
    eval_time_report(&now, &detail);
    assert_true(detail.windows[0].examples == 0 && isnan(detail.windows[0].gauc) && detail.n_curve == 0);
    for (int i = 0; i < SLATES; i++) add(&now, i, START + i * (HOUR / 10));
    eval_time_report(&now, &detail);
    const int64_t last = kept[SLATES - 1].time_ms / HOUR;
    for (int k = 0; k < REPORT_WINDOWS; k++) {
        double n = 0.0, loss = 0.0, auc = 0.0;
        for (int i = 0; i < SLATES; i++) {
            if (kept[i].time_ms / HOUR < last - (int64_t)detail.window_counts[k]) continue;
            n += 1.0;
            loss += kept[i].loss;
            auc += kept[i].auc;
        }
        assert_int_equal(detail.windows[k].slates, n);
        assert_near(detail.windows[k].logloss, loss / (N * n), 1e-12);
        assert_near(detail.windows[k].gauc, auc / n, 1e-12);
    }
    assert_true(detail.window_counts[0] == 1 && detail.window_counts[2] == 28);
    add(&now, 0, START); /* older than all: not counted */
    eval_time_report(&now, &other);
    assert_memory_equal(detail.windows, other.windows, sizeof detail.windows);
    add(&now, 1, START + 1000000 * HOUR); /* a jump empties them */
    eval_time_report(&now, &detail);
    assert_int_equal(detail.windows[2].slates, 1);
}

static void test_decayed_is_weighed_by_age(void **state)
{
    (void)state;
    double w = 0.0, loss = 0.0, auc = 0.0;
    eval_time_init(&now, HOUR, HOUR / 5); /* 0.5 a half-life: its weights are rescaled many times */
    for (int i = 0; i < SLATES; i++) add(&now, i, START + i * (HOUR / 10));
    eval_time_report(&now, &detail);
    for (int i = 0; i < SLATES; i++) {
        const double x = exp2(-(double)(kept[SLATES - 1].time_ms - kept[i].time_ms) / ((double)HOUR / 5.0));
        w += x;
        loss += x * kept[i].loss;
        auc += x * kept[i].auc;
    }
    assert_near(detail.decayed.logloss, loss / (N * w), 1e-9);
    assert_near(detail.decayed.gauc, auc / w, 1e-9);
    assert_int_equal(detail.decayed.slates, llround(w));
}

static void check_curve(int n)
{
    uint64_t slates = 0, lists = 0, taken = 0, shown = 0;
    const int64_t width = detail.curve[0].cohort.to_ms - detail.curve[0].cohort.from_ms;
    for (uint32_t p = 0; p < detail.n_curve; p++) {
        const struct report_point *at = &detail.curve[p];
        double loss = 0.0, k = 0.0;
        for (int i = 0; i < n; i++) {
            if (kept[i].time_ms < at->cohort.from_ms || kept[i].time_ms >= at->cohort.to_ms) continue;
            loss += kept[i].loss;
            k += 1.0;
        }
        assert_true(at->cohort.to_ms - at->cohort.from_ms == width && at->cohort.from_ms % width == 0);
        assert_int_equal(at->model.slates, k);
        assert_near(at->model.logloss, loss / (N * k), 1e-9);
        assert_near(at->baselines[REPORT_POPULARITY], 0.25, 1e-9);
        assert_near(at->baselines[REPORT_REPEAT], 0.5, 1e-9);
        slates += at->model.slates;
        lists += at->cohort.lists;
        taken += at->cohort.taken;
        shown += at->cohort.shown;
    }
    assert_int_equal(slates, n);
    assert_int_equal(lists, (n + 1) / 2);
    assert_true(taken == lists && shown == N * lists);
}

static void test_curve_widens_and_loses_nothing(void **state)
{
    (void)state;
    static const int64_t steps[] = {30000, 7 * 60000, HOUR, 30 * 24 * HOUR};
    for (size_t k = 0; k < sizeof steps / sizeof *steps; k++) {
        eval_time_init(&now, HOUR, HOUR);
        for (int i = 0; i < 1000; i++) add(&now, i, START + i * steps[k]);
        eval_time_report(&now, &detail);
        assert_true(detail.n_curve <= REPORT_CURVE_MAX && detail.n_curve > REPORT_CURVE_MAX / 6);
        check_curve(1000);
    }
    const uint32_t before = detail.n_curve;
    add(&now, 1000, START - 400 * 24 * HOUR); /* older than the first: counted there */
    eval_time_report(&now, &detail);
    assert_int_equal(detail.n_curve, before);
}

static void test_packed_it_goes_on_as_it_was(void **state)
{
    (void)state;
    struct buf b = {0};
    eval_time_init(&now, HOUR, HOUR);
    eval_time_init(&back, HOUR, HOUR);
    for (int i = 0; i < 500; i++) add(&now, i, START + i * HOUR / 3);
    eval_time_encode(&b, &now);
    struct buf_reader r = buf_reader(b.p, b.n);
    eval_time_decode(&back, true, &r);
    assert_true(!r.bad && buf_left(&r) == 0);
    for (int i = 500; i < 900; i++) {
        add(&now, i, START + i * HOUR / 3);
        add(&back, i, START + i * HOUR / 3);
    }
    memset(&detail, 0, sizeof detail);
    memset(&other, 0, sizeof other);
    eval_time_report(&now, &detail);
    eval_time_report(&back, &other);
    assert_memory_equal(&detail, &other, sizeof detail);
    r = buf_reader(b.p, b.n - 1);
    eval_time_decode(&back, true, &r);
    assert_true(r.bad);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows_are_the_newest),
        cmocka_unit_test(test_decayed_is_weighed_by_age),
        cmocka_unit_test(test_curve_widens_and_loses_nothing),
        cmocka_unit_test(test_packed_it_goes_on_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

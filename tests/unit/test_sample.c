/* test_sample.c - draws follow the mixture, q is their probability, exclusions, activity, repeatability.
 * labels: quick
 */
#include "featurize/counter.h"
#include "featurize/sample.h"
#include "tests/support/check.h"
#include <math.h>

#define N 60
static struct err e;
static struct conf *conf;
static struct sample sample;
static struct record_item items[N];
static double takes[N];

static int64_t day(int d)
{
    return (int64_t)d * COUNTER_DAY_MS;
}

static int set_up(void **state)
{
    (void)state;
    if (conf_new(&conf, &e) != STATUS_OK) return -1;
    sample_init(&sample, conf);
    for (uint32_t i = 0; i < N; i++) {
        items[i] = (struct record_item){.row = i, .first_ms = day(100), .last_ms = day(100)};
        takes[i] = i % 4 == 0 ? 0 : i;
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    sample_fini(&sample);
    conf_free(conf);
    return mem_live() == 0 ? 0 : -1;
}

static void set_all(struct sample *s)
{
    for (uint32_t i = 0; i < N; i++) assert_ok(sample_set(s, &items[i], takes[i], &e), &e);
}

static struct rand stream(uint64_t offset)
{
    struct rand r;
    rand_init(&r, (struct rand_key){.offset = offset, .purpose = RAND_TEST});
    return r;
}

/* First draws of many lists against q: chi-square with `free` degrees, five standard deviations. */
static void draws_follow_q(const struct sample *s)
{
    enum { DRAWS = 200000 };
    static double count[N];
    double chi2 = 0, sum = 0;
    int free = -1;
    struct rand r = stream(1);
    for (int i = 0; i < N; i++) count[i] = 0;
    for (int i = 0; i < DRAWS; i++) {
        uint32_t row;
        assert_int_equal(sample_draw(&sample, &r, 1, &row), 1);
        count[row]++;
    }
    for (uint32_t i = 0; i < N; i++) {
        if (s->excluded[i] || !s->active[i]) {
            assert_true(count[i] == 0);
            continue;
        }
        /* The probability without its floor, from the definition. */
        const double m =
            s->uniform_frac / (double)s->n_active + (1 - s->uniform_frac) * (double)s->weights[i] / (double)s->total;
        const double p = m / (1 - s->excluded_mass), floor = 1 / (double)s->n_active;
        assert_true(fabs(sample_q(s, i) - (p > floor ? p : floor)) < 1e-12);
        chi2 += (count[i] - DRAWS * p) * (count[i] - DRAWS * p) / (DRAWS * p);
        sum += p;
        free++;
    }
    assert_true(fabs(sum - 1) < 1e-9);
    assert_true(fabs(chi2 - free) < 5 * sqrt(2.0 * free));
}

static void test_draws_follow_the_mixture(void **state)
{
    (void)state;
    (void)sample_move(&sample, day(110));
    set_all(&sample);
    assert_int_equal(sample.n_active, N);
    draws_follow_q(&sample);
}

static void test_weights_are_takes_per_active_day(void **state)
{
    (void)state;
    (void)sample_move(&sample, day(116));
    set_all(&sample);
    for (uint32_t i = 0; i < N; i++) {
        const double want = pow(takes[i] / 16, 0.75) * 65536;
        assert_true(fabs((double)sample.weights[i] - want) <= 0.5 + 1e-6 * want);
        assert_int_equal(sample_weight(&sample, i), sample.weights[i]);
    }
    assert_false(sample_move(&sample, day(116) + 1000));
    assert_false(sample_move(&sample, day(115)));
    assert_true(sample_move(&sample, day(117)));
}

static void test_excluded_rows_are_never_drawn_and_q_knows(void **state)
{
    (void)state;
    (void)sample_move(&sample, day(101));
    set_all(&sample);
    for (uint32_t i = 30; i < N; i += 2) assert_ok(sample_exclude(&sample, i, &e), &e);
    assert_ok(sample_exclude(&sample, 30, &e), &e); /* twice is once */
    assert_ok(sample_exclude(&sample, 9999, &e), &e);
    assert_int_equal(sample.n_excluded, 15);
    draws_follow_q(&sample);
    const double excluded_q = sample_q(&sample, 30);
    assert_true(excluded_q > 0 && excluded_q < 1);
    sample_allow_all(&sample);
    assert_true(sample.excluded_mass == 0);
    draws_follow_q(&sample);
}

static void test_lists_have_no_duplicates_and_take_all_when_there_are_few(void **state)
{
    (void)state;
    uint32_t rows[2 * N];
    (void)sample_move(&sample, day(101));
    set_all(&sample);
    for (uint64_t k = 0; k < 200; k++) {
        struct rand r = stream(k);
        const size_t n = sample_draw(&sample, &r, 30, rows);
        assert_int_equal(n, 30);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < i; j++) assert_true(rows[i] != rows[j]);
    }
    assert_ok(sample_exclude(&sample, 7, &e), &e);
    struct rand r = stream(1);
    assert_int_equal(sample_draw(&sample, &r, 2 * N, rows), N - 1);
    for (uint32_t i = 0; i + 1 < N; i++) assert_int_equal(rows[i], i < 7 ? i : i + 1);
    for (uint32_t i = 0; i < N; i++) assert_int_equal(sample.excluded[i], i == 7);
}

static void test_only_active_rows_are_drawn(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < N; i++) items[i].last_ms = day(100 + (int)i % 3) + 5;
    items[5].deleted = true;
    (void)sample_move(&sample, day(128)); /* days 101 … 128 are active */
    set_all(&sample);
    for (uint32_t i = 0; i < N; i++) assert_int_equal(sample.active[i], i % 3 != 0 && i != 5);
    draws_follow_q(&sample);
    assert_true(sample_q(&sample, 0) == 1 / (double)sample.n_active); /* the floor */
    (void)sample_move(&sample, day(500));
    set_all(&sample);
    assert_int_equal(sample.n_active, 0);
    assert_int_equal(sample.total, 0);
    uint32_t row;
    struct rand r = stream(1);
    assert_int_equal(sample_draw(&sample, &r, 1, &row), 0);
    assert_true(sample_q(&sample, 3) == 1);
}

static void test_without_takes_all_is_uniform(void **state)
{
    (void)state;
    (void)sample_move(&sample, day(101));
    for (uint32_t i = 0; i < N; i++) takes[i] = 0;
    set_all(&sample);
    assert_true(fabs(sample_q(&sample, 3) - 1.0 / N) < 1e-12);
    uint32_t rows[4];
    struct rand r = stream(1);
    assert_int_equal(sample_draw(&sample, &r, 4, rows), 4);
}

/* Another order of arrival and a start from the records alone: the same draws. */
static void test_draws_follow_from_the_records_alone(void **state)
{
    (void)state;
    struct sample other;
    uint32_t a[20], b[20];
    sample_init(&other, conf);
    for (int d = 100; d < 140; d++) { /* one that lives through the days */
        if (sample_move(&sample, day(d))) set_all(&sample);
        for (uint32_t i = 0; i < 10; i++) {
            const uint32_t row = (uint32_t)(d * 7 + (int)i * 5) % N;
            takes[row]++;
            items[row].last_ms = day(d);
            assert_ok(sample_set(&sample, &items[row], takes[row], &e), &e);
        }
    }
    (void)sample_move(&other, day(139));
    for (uint32_t i = N; i-- > 0;) assert_ok(sample_set(&other, &items[i], takes[i], &e), &e);
    assert_int_equal(sample.n_active, other.n_active);
    assert_int_equal(sample.total, other.total);
    for (uint64_t k = 0; k < 100; k++) {
        struct rand r = stream(k), q = stream(k);
        assert_int_equal(sample_draw(&sample, &r, 20, a), sample_draw(&other, &q, 20, b));
        assert_memory_equal(a, b, sizeof a);
        assert_true(sample_q(&sample, (uint32_t)k % N) == sample_q(&other, (uint32_t)k % N));
    }
    sample_fini(&other);
}

/* A day that begins weighs all rows as setting each of them would; rows of many blocks are found where they are. */
static void test_a_new_day_weighs_all_rows(void **state)
{
    (void)state;
    enum { ROWS = 1000 };
    struct sample other;
    static uint32_t a[ROWS], b[ROWS];
    sample_init(&other, conf);
    (void)sample_move(&sample, day(101));
    (void)sample_move(&other, day(120));
    for (uint32_t i = 0; i < ROWS; i++) {
        const struct record_item it = {.row = i, .first_ms = day(90 + (int)i % 10), .last_ms = day(80 + (int)i % 40)};
        assert_ok(sample_set(&sample, &it, i % 7, &e), &e);
        assert_ok(sample_set(&other, &it, i % 7, &e), &e);
    }
    assert_true(sample_move(&sample, day(120)));
    assert_int_equal(sample.total, other.total);
    assert_int_equal(sample.n_active, other.n_active);
    assert_memory_equal(sample.weights, other.weights, ROWS * sizeof *sample.weights);
    for (uint64_t k = 0; k < 50; k++) {
        struct rand r = stream(k), q = stream(k);
        assert_int_equal(sample_draw(&sample, &r, 30, a), 30);
        assert_int_equal(sample_draw(&other, &q, 30, b), 30);
        assert_memory_equal(a, b, 30 * sizeof *a);
        for (int i = 0; i < 30; i++) assert_true(sample.active[a[i]]);
    }
    struct rand r = stream(1);
    const size_t n = sample_draw(&sample, &r, ROWS, a);
    assert_int_equal(n, sample.n_active);
    for (size_t i = 1; i < n; i++) assert_true(a[i] > a[i - 1] && sample.active[a[i]]);
    sample_fini(&other);
}

static void test_setting_survives_each_failing_allocation(void **state)
{
    (void)state;
    long met;
    (void)sample_move(&sample, day(101));
    FAIL_EACH_ALLOCATION(met, sample_set(&sample, &items[3], 1, &e));
    assert_int_equal(met, 6);
    items[5].row = 1000;
    FAIL_EACH_ALLOCATION(met, sample_set(&sample, &items[5], 1, &e));
    assert_int_equal(met, 6);
    assert_int_equal(sample.n_active, 2);
    FAIL_EACH_ALLOCATION(met, sample_exclude(&sample, 3, &e));
    assert_int_equal(met, 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_draws_follow_the_mixture),
        T(test_weights_are_takes_per_active_day),
        T(test_excluded_rows_are_never_drawn_and_q_knows),
        T(test_lists_have_no_duplicates_and_take_all_when_there_are_few),
        T(test_only_active_rows_are_drawn),
        T(test_without_takes_all_is_uniform),
        T(test_draws_follow_from_the_records_alone),
        T(test_a_new_day_weighs_all_rows),
        T(test_setting_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

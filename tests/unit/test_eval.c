/* test_eval.c - progressive figures against numbers worked out by hand or by brute force.
 * labels: quick */
#include "tests/support/check.h"

#include "base/rand.h"
#include "trainer/calibrate.h"
#include "trainer/eval.h"
#include <math.h>
#include <stdlib.h>

static void test_auc_counts_ties_half(void **state)
{
    (void)state;
    const float z[] = {0.9f, 0.5f, 0.5f, 0.1f}, y[] = {1, 0, 1, 0};
    assert_float_equal(eval_auc(z, y, NULL, 4), (1.0 + 1.0 + 0.5 + 1.0) / 4.0, 1e-12);
    const uint8_t mask[] = {1, 0, 0, 1};
    assert_float_equal(eval_auc(z, y, mask, 4), 1.0, 1e-12);
    const float one[] = {1, 1, 1, 1};
    assert_true(isnan(eval_auc(z, one, NULL, 4)));
}

static void test_auc_of_long_lists_agrees_with_all_pairs(void **state)
{
    (void)state;
    enum { N = 1500 };
    static float z[N], y[N];
    static uint8_t mask[N];
    struct rand r;
    double wins = 0.0, pairs = 0.0;
    rand_init(&r, (struct rand_key){.seed = 8, .purpose = RAND_TEST});
    for (int i = 0; i < N; i++) {
        y[i] = rand_unit(&r) < 0.2 ? 1.0f : 0.0f;
        z[i] = (float)rand_below(&r, 40); /* with ties */
        mask[i] = rand_unit(&r) < 0.7;
    }
    for (int i = 0; i < N; i++)
        for (int k = 0; k < N; k++)
            if (mask[i] && mask[k] && y[i] > y[k]) {
                pairs += 1.0;
                wins += z[i] > z[k] ? 1.0 : z[i] == z[k] ? 0.5 : 0.0;
            }
    assert_true(eval_auc(z, y, mask, N) == wins / pairs);
}

/* Several at once hold what each would have had alone, equal and unequal logits in a row alike. */
static void test_meters_at_once_are_the_meters_one_by_one(void **state)
{
    (void)state;
    enum { N = 40 };
    static struct eval_meter at_once[3], alone[3];
    float z[N], y[N];
    uint8_t masks[2][N];
    struct rand r;
    rand_init(&r, (struct rand_key){.seed = 9, .purpose = RAND_TEST});
    for (int i = 0; i < N; i++) {
        z[i] = i > 0 && i % 3 == 0 ? z[i - 1] : (float)rand_normal(&r);
        y[i] = rand_unit(&r) < 0.3 ? 1.0f : 0.0f;
        for (int k = 0; k < 2; k++) masks[k][i] = rand_unit(&r) < 0.5;
    }
    const struct eval_meter_mask to[] = {{&at_once[0], NULL}, {&at_once[1], masks[0]}, {&at_once[2], masks[1]}};
    eval_meters_add(to, 3, z, NULL, y, N);
    for (int k = 0; k < 3; k++) eval_meter_add(&alone[k], z, NULL, y, k > 0 ? masks[k - 1] : NULL, N);
    assert_memory_equal(at_once, alone, sizeof alone);
    assert_true(alone[0].examples == N && alone[1].examples < N && alone[0].gauc_slates == 1);
}

static void test_meter_gives_figures_worked_out_by_hand(void **state)
{
    (void)state;
    static struct eval_meter m;
    struct report_figures f;
    const float z[] = {logf(3.0f), 0.0f}, y[] = {1, 0}; /* p = 0.75 and 0.5 */
    eval_meter_clear(&m);
    eval_meter_figures(&m, &f);
    assert_true(isnan(f.auc) && isnan(f.gauc) && isnan(f.logloss) && isnan(f.ne) && isnan(f.calibration));
    eval_meter_add(&m, z, NULL, y, NULL, 2);
    eval_meter_figures(&m, &f);
    const double loss = -(log(0.75) + log(0.5)) / 2.0;
    assert_float_equal(f.logloss, (float)loss, 1e-6);
    assert_float_equal(f.ne, (float)(loss / log(2.0)), 1e-6);
    assert_float_equal(f.calibration, 1.25, 1e-6);
    assert_float_equal(f.auc, 1.0, 1e-9);
    assert_float_equal(f.gauc, 1.0, 1e-9);
    assert_int_equal(f.examples, 2);
    assert_int_equal(f.slates, 1);
}

static void test_pooled_auc_agrees_with_brute_force(void **state)
{
    (void)state;
    enum { N = 600 };
    static float z[N], y[N];
    static struct eval_meter m;
    struct report_figures f;
    struct rand r;
    rand_init(&r, (struct rand_key){.seed = 7, .purpose = RAND_TEST});
    eval_meter_clear(&m);
    for (int i = 0; i < N; i++) {
        y[i] = rand_unit(&r) < 0.3 ? 1.0f : 0.0f;
        z[i] = (float)(rand_normal(&r) * 2.0) + y[i];
        eval_meter_add(&m, &z[i], NULL, &y[i], NULL, 1);
    }
    eval_meter_figures(&m, &f);
    assert_float_equal(f.auc, eval_auc(z, y, NULL, N), 5e-4);
    assert_int_equal(f.slates, 0); /* slates of one example have no order */
}

static void test_extreme_logits_stay_finite(void **state)
{
    (void)state;
    static struct eval_meter m;
    struct report_figures f;
    const float z[] = {1e30f, -1e30f}, y[] = {1, 0};
    eval_meter_clear(&m);
    eval_meter_add(&m, z, NULL, y, NULL, 2);
    eval_meter_figures(&m, &f);
    assert_true(isfinite(f.logloss) && f.logloss < 1e-9);
    assert_float_equal(f.auc, 1.0, 1e-12);
}

/* A slate of n candidates with given labels, one positive at i % n. */
static void fill(struct slate *s, uint64_t id, uint32_t n, int64_t time_ms)
{
    slate_reset(s);
    s->id = id;
    s->time_ms = time_ms;
    s->n_items = n;
    s->items = arena_alloc(s->arena, n, sizeof *s->items);
    assert_non_null(s->items);
    s->cold_user = id % 2 == 0;
    for (uint32_t i = 0; i < n; i++) {
        s->items[i].label = i == id % n ? 1.0f : 0.0f;
        s->items[i].popularity = (float)i;
        s->items[i].flags = i % 2 ? SLATE_ITEM_COLD : SLATE_ITEM_FIRST_TIME;
    }
}

static void run_slates(struct eval *ev, uint64_t from, uint64_t to)
{
    struct slate *s;
    struct err e;
    assert_int_equal(slate_new(&s, &e), STATUS_OK);
    for (uint64_t id = from; id < to; id++) {
        float z[5], parts[10], frozen[5] = {0};
        fill(s, id, 5, (int64_t)id * 1000);
        for (int i = 0; i < 5; i++) {
            parts[i] = (float)((id * 7 + (uint64_t)i * 3) % 11) * 0.1f;
            parts[5 + i] = s->items[i].label;
            z[i] = parts[i] + parts[5 + i];
        }
        assert_int_equal(eval_slate(ev, s, z, parts, frozen, 0, &e), STATUS_OK);
    }
    slate_free(s);
}

static void test_left_out_part_is_missed(void **state)
{
    (void)state;
    struct eval *ev;
    struct err e;
    static struct report r;
    const char *names[] = {"noise", "truth"};
    assert_int_equal(eval_new(&ev, &(struct eval_setup){.n_parts = 2}, &e), STATUS_OK);
    run_slates(ev, 1, 200);
    eval_report(ev, names, &r);
    assert_true(r.parts[0].gauc_without > r.progressive.gauc);
    assert_true(r.parts[1].gauc_without < r.progressive.gauc - 0.1);
    assert_int_equal(r.progressive.examples, 199 * 5);
    assert_int_equal(r.slices[REPORT_COLD_USER].examples, 99 * 5);
    assert_int_equal(r.slices[REPORT_COLD_ITEM].examples, 199 * 2);
    assert_int_equal(r.slices[REPORT_FIRST_TIME].examples, 199 * 3);
    assert_float_equal(r.baselines[REPORT_CONSTANT].gauc, 0.5, 1e-12);
    eval_free(ev);
}

static void test_nothing_is_left_without_the_only_part(void **state)
{
    (void)state;
    struct eval *ev;
    struct slate *s;
    struct err e;
    static struct report r;
    const char *names[] = {"only"};
    assert_int_equal(eval_new(&ev, &(struct eval_setup){.n_parts = 1}, &e), STATUS_OK);
    assert_int_equal(slate_new(&s, &e), STATUS_OK);
    for (uint64_t id = 1; id < 200; id++) {
        float z[5], parts[5], frozen[5] = {0};
        fill(s, id, 5, (int64_t)id * 1000);
        for (int i = 0; i < 5; i++) {
            parts[i] = s->items[i].label + (float)(id % 9) * 7.77f; /* the truth, in numbers that round */
            z[i] = -1.3f + parts[i];
        }
        assert_int_equal(eval_slate(ev, s, z, parts, frozen, 0, &e), STATUS_OK);
    }
    eval_report(ev, names, &r);
    assert_float_equal(r.progressive.gauc, 1.0, 1e-12);
    assert_float_equal(r.parts[0].gauc_without, 0.5, 1e-12); /* all ties */
    slate_free(s);
    eval_free(ev);
}

static void test_warmup_is_left_out_of_the_figures(void **state)
{
    (void)state;
    struct eval *ev;
    struct err e;
    static struct report r;
    const char *names[] = {"a", "b"};
    assert_int_equal(eval_new(&ev, &(struct eval_setup){.n_parts = 2, .warmup = {.slates = 10, .ms = 50000}}, &e),
                     STATUS_OK);
    run_slates(ev, 0, 100);
    eval_report(ev, names, &r);
    assert_int_equal(r.progressive.examples, 50 * 5);
    eval_free(ev);
}

/* It changes no figure, no baseline's calibrator and no rate so far; how many there were is part of the state. */
static void test_what_was_cut_off_is_counted_and_judged_nowhere(void **state)
{
    (void)state;
    struct eval *ev[3];
    struct slate *s;
    struct err e;
    static struct report_detail detail, others;
    static struct report a, b;
    struct buf packed = {0};
    const char *names[] = {"a", "b"};
    const float z[5] = {0}, parts[10] = {0}, frozen[5] = {0};
    for (int i = 0; i < 3; i++)
        assert_int_equal(eval_new(&ev[i], &(struct eval_setup){.n_parts = 2}, &e), STATUS_OK);
    assert_int_equal(slate_new(&s, &e), STATUS_OK);
    for (int i = 0; i < 2; i++) {
        run_slates(ev[i], 0, 50);
        fill(s, 7, 5, 50000);
        s->cut_off = true;
        if (i == 1) assert_int_equal(eval_slate(ev[i], s, z, parts, frozen, 0, &e), STATUS_OK);
        run_slates(ev[i], 50, 100);
    }
    eval_encode(&packed, ev[1]);
    struct buf_reader r = buf_reader(packed.p, packed.n);
    assert_ok(eval_decode(ev[2], &r, &e), &e);
    eval_report(ev[0], names, &a);
    eval_report(ev[2], names, &b);
    assert_true(a.cut_off == 0 && b.cut_off == 1);
    b.cut_off = 0;
    assert_memory_equal(&a, &b, sizeof a);
    eval_report_detail(ev[0], NULL, &detail);
    eval_report_detail(ev[2], NULL, &others);
    assert_memory_equal(&detail, &others, sizeof detail);
    for (int i = 0; i < 3; i++) eval_free(ev[i]);
    slate_free(s);
    buf_fini(&packed);
}

static void test_state_goes_on_where_it_was(void **state)
{
    (void)state;
    struct eval *whole, *first, *second;
    struct err e;
    static struct report_detail detail, resumed;
    static struct report a, b;
    struct buf packed = {0};
    const char *names[] = {"a", "b"};
    assert_int_equal(eval_new(&whole, &(struct eval_setup){.n_parts = 2}, &e), STATUS_OK);
    assert_int_equal(eval_new(&first, &(struct eval_setup){.n_parts = 2}, &e), STATUS_OK);
    assert_int_equal(eval_new(&second, &(struct eval_setup){.n_parts = 2}, &e), STATUS_OK);
    run_slates(whole, 0, 100);
    run_slates(first, 0, 40);
    eval_encode(&packed, first);
    struct buf_reader r = buf_reader(packed.p, packed.n);
    assert_int_equal(eval_decode(second, &r, &e), STATUS_OK);
    run_slates(second, 40, 100);
    eval_report(whole, names, &a);
    eval_report(second, names, &b);
    assert_memory_equal(&a.progressive, &b.progressive, sizeof a.progressive);
    assert_memory_equal(&a.baselines[REPORT_POPULARITY], &b.baselines[REPORT_POPULARITY],
                        sizeof a.baselines[REPORT_POPULARITY]);
    assert_memory_equal(&a.parts[1], &b.parts[1], sizeof a.parts[1]);
    eval_report_detail(whole, NULL, &detail);
    eval_report_detail(second, NULL, &resumed);
    assert_memory_equal(&detail, &resumed, sizeof detail);
    r = buf_reader(packed.p, packed.n - 1);
    assert_int_equal(eval_decode(second, &r, &e), STATUS_CORRUPT);
    buf_fini(&packed);
    eval_free(whole);
    eval_free(first);
    eval_free(second);
}

static void test_detail_is_of_the_same_slates(void **state)
{
    (void)state;
    struct eval *ev, *other;
    struct err e;
    static struct report r;
    static struct report_detail d, back;
    struct buf packed = {0};
    const char *names[] = {"text", "numeric"}; /* run_slates: the first is noise, the second the truth */
    const struct eval_setup setup = {.n_parts = 2, .part_names = names, .n_k = 1, .k = {1}};
    assert_int_equal(eval_new(&ev, &setup, &e), STATUS_OK);
    run_slates(ev, 1, 400);
    eval_report(ev, names, &r);
    eval_report_detail(ev, NULL, &d);
    assert_near(r.baselines[REPORT_CHEAP].gauc, 1.0, 1e-12); /* without text only the truth is left */
    assert_near(r.parts[0].gauc_without, 1.0, 1e-12);
    assert_near(d.ranked[REPORT_CHEAP].ndcg[0], 1.0, 1e-12);
    assert_near(d.ranked[REPORT_CONSTANT].recall[0], 0.2, 1e-12);
    assert_near(d.gauc.mean, r.progressive.gauc, 1e-12);
    assert_true(d.gauc.lower < d.gauc.mean && d.gauc.upper > d.gauc.mean);
    assert_near(d.gauc_over[REPORT_CONSTANT].mean, r.progressive.gauc - 0.5, 1e-12);
    assert_true(d.gauc_over[REPORT_CHEAP].upper < 0.0 && d.part_gauc[1].lower > 0.0);
    assert_true(d.gauc_over[REPORT_POPULARITY].lower < d.gauc_over[REPORT_POPULARITY].upper);
    assert_int_equal(r.slices[REPORT_REPEATED].examples + r.slices[REPORT_FIRST_TIME].examples, r.progressive.examples);
    assert_int_equal(r.slices[REPORT_IMPRESSION].examples, r.progressive.examples);
    assert_int_equal(r.slices[REPORT_ORGANIC].examples, 0);
    assert_true(d.n_curve > 0 && d.decayed.examples > 0 && d.windows[2].slates == 399);
    eval_encode(&packed, ev);
    assert_int_equal(eval_new(&other, &setup, &e), STATUS_OK);
    struct buf_reader from = buf_reader(packed.p, packed.n);
    assert_ok(eval_decode(other, &from, &e), &e);
    eval_report_detail(other, NULL, &back);
    assert_memory_equal(&d, &back, sizeof d);
    eval_free(other);
    assert_int_equal(eval_new(&other, &(struct eval_setup){.n_parts = 2, .n_k = 1, .k = {3}}, &e), STATUS_OK);
    from = buf_reader(packed.p, packed.n);
    assert_ok(eval_decode(other, &from, &e), &e); /* other cuts: rankings begin anew, all else stays */
    eval_report_detail(other, NULL, &back);
    assert_true(back.model_ranked.slates == 0 && back.n_curve == 0 && back.gauc.lower == d.gauc.lower);
    buf_fini(&packed);
    eval_free(ev);
    eval_free(other);
}

/* Logits that are right: each part of the diagram holds its share, and what is observed is what was predicted. */
static void test_reliability_parts_examples_evenly(void **state)
{
    (void)state;
    static struct eval_meter m;
    struct report_reliability bins[REPORT_RELIABILITY];
    struct rand r;
    double error;
    uint64_t n = 0;
    eval_meter_clear(&m);
    assert_int_equal(eval_meter_reliability(&m, bins, &error), 0);
    assert_true(isnan(error));
    rand_init(&r, (struct rand_key){.seed = 12, .purpose = RAND_TEST});
    for (int i = 0; i < 40000; i++) {
        const float z = (float)(2.0 * rand_normal(&r) - 1.0);
        const float y = rand_unit(&r) < 1.0 / (1.0 + exp(-(double)z)) ? 1.0f : 0.0f;
        eval_meter_add(&m, &z, NULL, &y, NULL, 1);
    }
    assert_int_equal(eval_meter_reliability(&m, bins, &error), REPORT_RELIABILITY);
    for (int i = 0; i < REPORT_RELIABILITY; i++) {
        assert_true(bins[i].examples > 1800 && bins[i].examples < 2200);
        assert_true(bins[i].low < bins[i].observed && bins[i].observed < bins[i].high);
        assert_near(bins[i].predicted, bins[i].observed, 0.04);
        if (i > 0) assert_true(bins[i].predicted > bins[i - 1].predicted);
        n += bins[i].examples;
    }
    assert_int_equal(n, 40000);
    assert_true(error < 0.012);
    const float z[] = {2.0f, 2.0f}, y[] = {0, 0};
    for (int i = 0; i < 20000; i++) eval_meter_add(&m, z, NULL, y, NULL, 2); /* half of all: equal, and wrong */
    assert_true(eval_meter_reliability(&m, bins, &error) < REPORT_RELIABILITY);
    assert_near(error, 0.5 / (1.0 + exp(-2.0)), 0.03);
}

static void test_calibrator_finds_the_probability(void **state)
{
    (void)state;
    struct calibrate c;
    struct rand r;
    rand_init(&r, (struct rand_key){.seed = 3, .purpose = RAND_TEST});
    calibrate_init(&c);
    for (int i = 0; i < 20000; i++) {
        const float x = (float)rand_normal(&r),
                    y = rand_unit(&r) < 1.0 / (1.0 + exp(-(1.5 * (double)x - 0.5))) ? 1.0f : 0.0f;
        calibrate_learn(&c, &x, &y, 1);
    }
    assert_float_equal(c.a, 1.5, 0.15);
    assert_float_equal(c.b, -0.5, 0.15);
}

static void test_new_survives_each_failed_allocation(void **state)
{
    (void)state;
    const long before = mem_live();
    for (long n = 0;; n++) {
        struct eval *ev = (void *)1;
        struct err e;
        mem_fail_after(n);
        const enum status st = eval_new(&ev, &(struct eval_setup){.n_parts = 2}, &e);
        mem_fail_after(-1);
        if (st == STATUS_OK) {
            eval_free(ev);
            break;
        }
        assert_int_equal(st, STATUS_OOM);
        assert_null(ev);
    }
    assert_int_equal(mem_live(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_auc_counts_ties_half),
        cmocka_unit_test(test_auc_of_long_lists_agrees_with_all_pairs),
        cmocka_unit_test(test_meters_at_once_are_the_meters_one_by_one),
        cmocka_unit_test(test_meter_gives_figures_worked_out_by_hand),
        cmocka_unit_test(test_pooled_auc_agrees_with_brute_force),
        cmocka_unit_test(test_extreme_logits_stay_finite),
        cmocka_unit_test(test_left_out_part_is_missed),
        cmocka_unit_test(test_nothing_is_left_without_the_only_part),
        cmocka_unit_test(test_warmup_is_left_out_of_the_figures),
        cmocka_unit_test(test_what_was_cut_off_is_counted_and_judged_nowhere),
        cmocka_unit_test(test_state_goes_on_where_it_was),
        cmocka_unit_test(test_detail_is_of_the_same_slates),
        cmocka_unit_test(test_reliability_parts_examples_evenly),
        cmocka_unit_test(test_calibrator_finds_the_probability),
        cmocka_unit_test(test_new_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

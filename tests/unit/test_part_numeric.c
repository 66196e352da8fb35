/* test_part_numeric.c - running mean and deviation against the two-pass formulas, clipping, features never seen. */
#include "model/model.h"
#include "tests/support/check.h"
#include "tests/support/gradient.h"
#include "tests/support/model_world.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void open_world(struct model_world *w)
{
    model_world_open(w, "cpu", "pooled", 1, (const char *const[]){"model.parts=numeric", NULL});
}

static void learn(struct model_world *w, struct slate *s)
{
    double loss;
    struct err e;
    assert_ok(model_learn(w->run, s, 1, &loss, &e), &e);
}

/* Batches of one to three slates: mean and 1/deviation of all candidates so far. */
static void test_statistics_are_those_of_all_candidates(void **state)
{
    (void)state;
    enum { N = 5, STEPS = 7 };
    struct model_world w;
    double x[STEPS * 3 * N][WORLD_NUMERIC];
    size_t n = 0;
    open_world(&w);
    for (size_t t = 0; t < STEPS; t++) {
        for (size_t k = 0; k <= t % 3; k++) {
            struct slate *s = model_world_slate(&w, N, 0);
            for (size_t i = 0; i < N; i++, n++) {
                for (size_t f = 0; f < WORLD_NUMERIC; f++) {
                    float *v = &s->numeric[i * WORLD_NUMERIC + f];
                    *v = f == 3 ? 42.0f : 1e4f * (float)f + gradient_number(n * 9 + f) * powf(10, (float)f);
                    x[n][f] = (double)*v;
                }
            }
            learn(&w, s);
            slate_free(s);
        }
        model_apply_stats(w.run, w.p);
    }
    const float *mean = w.p->w + model_world_param(&w, "numeric.mean")->offset;
    const float *scale = w.p->w + model_world_param(&w, "numeric.scale")->offset;
    for (size_t f = 0; f < WORLD_NUMERIC; f++) {
        double m = 0, v = 0;
        for (size_t i = 0; i < n; i++) m += x[i][f] / (double)n;
        for (size_t i = 0; i < n; i++) v += (x[i][f] - m) * (x[i][f] - m) / (double)n;
        const double want = 1.0 / fmax(sqrt(v), 1e-3);
        assert_true(fabs((double)mean[f] - m) < 1e-6 * (1 + fabs(m)));
        assert_true(fabs((double)scale[f] - want) < 1e-5 * want);
    }
    model_world_close(&w);
}

/* With a half-life of two steps' candidates the first step counts a quarter after two more. */
static void test_statistics_forget_by_the_half_life(void **state)
{
    (void)state;
    enum { N = 5 };
    struct model_world w;
    const float value[3] = {8, 0, 2};
    const double weight[3] = {0.5, 0.70710678, 1};
    model_world_open(&w, "cpu", "pooled", 1,
                     (const char *const[]){"model.parts=numeric", "train.half_life_examples=10", NULL});
    for (size_t t = 0; t < 3; t++) {
        struct slate *s = model_world_slate(&w, N, 0);
        for (size_t i = 0; i < N; i++) s->numeric[i * WORLD_NUMERIC] = value[t] + (i % 2 ? 1.0f : 0.0f);
        learn(&w, s);
        model_apply_stats(w.run, w.p);
        slate_free(s);
    }
    double n = 0, m = 0, v = 0;
    for (size_t t = 0; t < 3; t++) n += N * weight[t], m += weight[t] * (N * (double)value[t] + 2);
    m /= n;
    for (size_t t = 0; t < 3; t++)
        for (size_t i = 0; i < N; i++) v += weight[t] * pow((double)value[t] + (double)(i % 2) - m, 2) / n;
    const float *mean = w.p->w + model_world_param(&w, "numeric.mean")->offset;
    const float *scale = w.p->w + model_world_param(&w, "numeric.scale")->offset;
    assert_true(fabs((double)mean[0] - m) < 1e-5);
    assert_true(fabs((double)scale[0] - 1 / sqrt(v)) < 1e-5);
    model_world_close(&w);
}

/* Second order: the first step is that of the formula, no gradient is left for the optimiser, and the precision that travels
 * with the version is its matrix; of a list that is thinned out both are those of what is kept. */
static void check_second_order(double rate)
{
    enum { N = 5, F = WORLD_NUMERIC };
    struct model_world w;
    size_t n;
    const double p = 1 / (1 + rate); /* of 0 - ln rate */
    double a[F] = {0}, g[F] = {0};
    model_world_open(
        &w, "cpu", "pooled", 1,
        (const char *const[]){"model.parts=numeric", "train.numeric_order=2", "train.numeric_ridge=3", NULL});
    const float scale[F] = {1, 1, 1, 1};
    model_world_set(&w, "numeric.scale", scale, F);
    struct slate *s = model_world_slate(&w, N, 0);
    s->source = SLATE_IMPRESSION;
    for (size_t i = 0; i < N; i++) { /* one feature each, so that the matrix is diagonal */
        for (size_t f = 0; f < F; f++) s->numeric[i * F + f] = f == i % F ? (float)(i + 1) * 0.5f : 0.0f;
        s->items[i].weight = 1.0f + (float)i;
        s->items[i].log_kq = (float)log(rate);
        const double x = (double)(i + 1) * 0.5, weight = 1.0 + (double)i;
        a[i % F] += weight * p * (1 - p) * x * x;
        g[i % F] += weight * (p - (double)s->items[i].label) * x;
    }
    assert_non_null(model_precision(w.model, w.p, &n));
    assert_int_equal(n, F);
    learn(&w, s);
    model_apply_stats(w.run, w.p);
    const float *weight = w.p->w + model_world_param(&w, "numeric.weight")->offset,
                *precision = model_precision(w.model, w.p, &n);
    for (size_t f = 0; f < F; f++) {
        assert_true(fabs((double)weight[f] + g[f] / (a[f] + 3)) < 1e-6);
        for (size_t k = 0; k < F; k++) assert_true(fabs((double)precision[f * F + k] - (k == f ? a[f] + 3 : 0)) < 1e-5);
    }
    slate_free(s);
    model_world_close(&w);
}

static void test_second_order_steps_by_the_curvature(void **state)
{
    (void)state;
    size_t n;
    struct model_world w;
    check_second_order(1);
    check_second_order(0.1);
    open_world(&w);
    assert_null(model_precision(w.model, w.p, &n));
    model_world_close(&w);
}

static float logit(struct model_world *w, float value)
{
    struct err e;
    float z;
    struct slate *s = model_world_slate(w, 1, 0);
    for (size_t f = 0; f < WORLD_NUMERIC; f++) s->numeric[f] = value;
    assert_ok(model_score(w->run, s, 0, &z, NULL, &e), &e);
    slate_free(s);
    return z;
}

static void test_standardised_clipped_and_safe(void **state)
{
    (void)state;
    struct model_world w;
    const float weight[4] = {1, 0, 0, 0}, mean[4] = {2, 0, 0, 0}, scale[4] = {0.5f, 0, 0, 0}, none[4] = {0};
    open_world(&w);
    model_world_set(&w, "numeric.weight", weight, 4);
    model_world_set(&w, "numeric.mean", mean, 4);
    assert_float_equal(logit(&w, 9), 0.0f, 0.0f); /* never seen: scale 0 */
    model_world_set(&w, "numeric.scale", scale, 4);
    assert_float_equal(logit(&w, 5), 1.5f, 1e-6f);
    assert_float_equal(logit(&w, 2), 0.0f, 1e-6f);
    assert_float_equal(logit(&w, 1000), 5.0f, 0.0f);
    assert_float_equal(logit(&w, -1000), -5.0f, 0.0f);
    assert_float_equal(logit(&w, NAN), 0.0f, 0.0f);
    model_world_set(&w, "numeric.weight", none, 4);
    assert_float_equal(logit(&w, 5), 0.0f, 0.0f);
    model_world_close(&w);
}

/* Statistics wait for apply: nothing that is scored moves in the middle of a batch. */
static void test_statistics_move_only_at_apply(void **state)
{
    (void)state;
    struct model_world w;
    open_world(&w);
    const struct param *scale = model_world_param(&w, "numeric.scale");
    learn(&w, w.slates[0]);
    assert_float_equal(w.p->w[scale->offset], 0.0f, 0.0f);
    const uint64_t before = w.p->generation;
    model_apply_stats(w.run, w.p);
    assert_true(w.p->w[scale->offset] > 0);
    assert_int_not_equal(w.p->generation, before);
    model_world_close(&w);
}

/* A batch that is not learnt after all leaves nothing: neither in what is kept of the run, nor in what the next step applies. */
static void test_what_is_dropped_teaches_nothing(void **state)
{
    (void)state;
    struct model_world w;
    struct buf before = {0}, after = {0};
    model_world_open(&w, "cpu", "pooled", 1,
                     (const char *const[]){"model.parts=numeric", "train.numeric_order=2", "model.position=true",
                                           "train.recalibration=true", "train.sampling_correction=true", NULL});
    learn(&w, w.slates[0]);
    model_apply_stats(w.run, w.p);
    model_grads_clear(w.run);
    float *then = malloc(w.p->n * sizeof *then);
    assert_non_null(then);
    memcpy(then, w.p->w, w.p->n * sizeof *then);
    model_run_encode(&before, w.run);
    for (size_t i = 0; i < 2; i++) {
        struct slate *s = model_world_slate(&w, 5, 0);
        s->source = i == 0 ? SLATE_IMPRESSION : SLATE_ORGANIC;
        for (uint32_t k = 0; k < 5; k++) s->items[k].position = k + 1, s->items[k].log_kq = i == 0 ? 0.0f : -3.0f;
        learn(&w, s);
        slate_free(s);
    }
    model_grads_clear(w.run);
    model_drop_stats(w.run);
    model_run_encode(&after, w.run);
    assert_int_equal(after.n, before.n);
    assert_memory_equal(after.p, before.p, before.n);
    model_apply_stats(w.run, w.p);
    assert_memory_equal(w.p->w, then, w.p->n * sizeof *then);
    free(then);
    buf_fini(&before);
    buf_fini(&after);
    model_world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statistics_are_those_of_all_candidates),
        cmocka_unit_test(test_statistics_forget_by_the_half_life),
        cmocka_unit_test(test_second_order_steps_by_the_curvature),
        cmocka_unit_test(test_standardised_clipped_and_safe),
        cmocka_unit_test(test_statistics_move_only_at_apply),
        cmocka_unit_test(test_what_is_dropped_teaches_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

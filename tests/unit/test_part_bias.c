/* test_part_bias.c - which intercept a slate takes, and that a request follows what was learnt. */
#include "model/model.h"
#include "tests/support/check.h"
#include "tests/support/model_world.h"

static float logit(struct model_world *w, struct slate *s, enum slate_source source)
{
    struct err e;
    float z[8];
    s->source = source;
    assert_ok(model_score(w->run, s, 0, z, NULL, &e), &e);
    return z[0];
}

static void learn(struct model_world *w, struct slate *s, enum slate_source source)
{
    struct err e;
    double loss;
    s->source = source;
    assert_ok(model_learn(w->run, s, 1, &loss, &e), &e);
    model_apply_stats(w->run, w->p);
    model_grads_clear(w->run);
}

static void test_intercepts(void **state)
{
    (void)state;
    struct model_world w;
    const float bias[2] = {-2, 1};
    model_world_open(&w, "cpu", "pooled", 1, (const char *const[]){"model.parts=hashed", NULL});
    model_world_set(&w, "bias", bias, 2);
    struct slate *s = model_world_slate(&w, 3, 0);
    assert_float_equal(logit(&w, s, SLATE_IMPRESSION), -2.0f, 0.0f);
    assert_float_equal(logit(&w, s, SLATE_ORGANIC), 1.0f, 0.0f);
    assert_float_equal(logit(&w, s, SLATE_REQUEST), 1.0f, 0.0f); /* no impression ever learnt */
    learn(&w, s, SLATE_ORGANIC);
    assert_float_equal(logit(&w, s, SLATE_REQUEST), 1.0f, 0.0f);
    learn(&w, s, SLATE_IMPRESSION);
    assert_float_equal(logit(&w, s, SLATE_REQUEST), -2.0f, 0.0f);
    learn(&w, s, SLATE_ORGANIC);
    assert_float_equal(logit(&w, s, SLATE_REQUEST), -2.0f, 0.0f);
    slate_free(s);
    model_world_close(&w);
}

/* Only the slate's own intercept has a gradient: the sum of (p - y). */
static void test_gradient_goes_to_the_slates_own_intercept(void **state)
{
    (void)state;
    struct model_world w;
    struct err e;
    double loss;
    model_world_open(&w, "cpu", "pooled", 1, (const char *const[]){"model.parts=hashed", NULL});
    struct slate *s = model_world_slate(&w, 6, 0); /* labels 1 0 0 0 0 1 */
    s->source = SLATE_IMPRESSION;
    assert_ok(model_learn(w.run, s, 1, &loss, &e), &e);
    const float *g = model_grads(w.run)->dense + model_world_param(&w, "bias")->offset;
    assert_float_equal(g[0], 6 * 0.5f - 2, 1e-5f);
    assert_float_equal(g[1], 0.0f, 0.0f);
    slate_free(s);
    model_world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_intercepts),
        cmocka_unit_test(test_gradient_goes_to_the_slates_own_intercept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_part_cooccur.c - linear in the two features as they stand in the slate, with their gradients. */
#include "model/model.h"
#include "tests/support/check.h"
#include "tests/support/model_world.h"
#include <math.h>

static void open_world(struct model_world *w)
{
    model_world_open(w, "cpu", "pooled", 1, (const char *const[]){"model.parts=cooccur", NULL});
}

static struct slate *make_slate(const struct model_world *w)
{
    struct slate *s = model_world_slate(w, 3, 0);
    for (uint32_t i = 0; i < 3; i++) {
        s->items[i].cooccur[0] = 0.25f * (float)(i + 1);
        s->items[i].cooccur[1] = 2.0f - (float)i;
    }
    return s;
}

static void test_logits_are_linear(void **state)
{
    (void)state;
    struct model_world w;
    struct err e;
    float z[3], parts[3];
    const float weight[2] = {2, -0.5f};
    open_world(&w);
    model_world_set(&w, "cooccur.weight", weight, 2);
    struct slate *s = make_slate(&w);
    assert_ok(model_score(w.run, s, 0, z, parts, &e), &e);
    for (int i = 0; i < 3; i++) {
        assert_float_equal(parts[i], 0.5f * (float)(i + 1) - 0.5f * (2.0f - (float)i), 1e-6f);
        assert_float_equal(z[i], parts[i], 1e-6f);
    }
    slate_free(s);
    model_world_close(&w);
}

static void test_gradients_are_sums_over_candidates(void **state)
{
    (void)state;
    struct model_world w;
    struct err e;
    double loss, want[2] = {0};
    open_world(&w);
    struct slate *s = make_slate(&w);
    for (int i = 0; i < 3; i++)
        for (int f = 0; f < 2; f++)
            want[f] += (0.5 - (double)s->items[i].label) * (double)s->items[i].weight * (double)s->items[i].cooccur[f];
    assert_ok(model_learn(w.run, s, 1, &loss, &e), &e);
    const float *g = model_grads(w.run)->dense + model_world_param(&w, "cooccur.weight")->offset;
    for (int f = 0; f < 2; f++) assert_true(fabs((double)g[f] - want[f]) < 1e-6 && fabs(want[f]) > 0.1);
    slate_free(s);
    model_world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits_are_linear),
        cmocka_unit_test(test_gradients_are_sums_over_candidates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

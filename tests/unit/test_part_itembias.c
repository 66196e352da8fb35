/* test_part_itembias.c - one learned number per item: the gradient by row, and what learning it does. */
#include "model/model.h"
#include "tests/support/check.h"
#include "tests/support/model_world.h"
#include "trainer/optim.h"
#include <math.h>
#include <string.h>

static const char *const options[] = {"model.parts=itembias", "model.idvec_bits=10", "train.itembias_rate=0.3", NULL};

/* Candidates 0 and 7 are one item: (p - y)*weight of both, in one row. */
static void test_gradients_are_summed_by_item(void **state)
{
    (void)state;
    struct model_world w;
    struct err e;
    double loss;
    model_world_open(&w, "cpu", "pooled", 1, options);
    struct slate *s = model_world_slate(&w, 9, 0);
    s->items[7].weight = 3;
    assert_ok(model_learn(w.run, s, 1, &loss, &e), &e);
    const struct model_grads *g = model_grads(w.run);
    assert_int_equal(g->n_sparse, 1);
    assert_int_equal(g->sparse->n, 7);
    assert_float_equal(g->sparse->grads[0], (0.5f - 1.0f) + 3 * 0.5f, 1e-6f);
    assert_float_equal(g->sparse->grads[1], 0.5f + 0.5f, 1e-6f);
    assert_float_equal(g->sparse->grads[5], -0.5f, 1e-6f);
    slate_free(s);
    model_world_close(&w);
}

/* Items 0 and 5 are taken, the others not: after some steps they stand apart, by the rate that is configured. */
static void test_taken_items_rise(void **state)
{
    (void)state;
    struct model_world w;
    struct optim *o;
    struct err e;
    double loss;
    float z[7], first = 0;
    model_world_open(&w, "cpu", "pooled", 1, options);
    assert_ok(optim_new(&o, model_table(w.model), w.conf, &e), &e);
    struct slate *s = model_world_slate(&w, 7, 0);
    for (int i = 0; i < 50; i++) {
        assert_ok(model_learn(w.run, s, 1, &loss, &e), &e);
        assert_ok(optim_step(o, model_run_kern(w.run), w.p, model_grads(w.run), 7, &e), &e);
        model_grads_clear(w.run);
        float parts[7];
        assert_ok(model_score(w.run, s, 0, z, parts, &e), &e);
        if (i == 0) first = parts[0];
    }
    assert_float_equal(first, 0.3f * 0.5f / sqrtf(1.25f), 1e-6f);
    for (size_t i = 0; i < 7; i++) assert_true((i % 5 == 0) == (z[i] > 0));
    optim_free(o);
    slate_free(s);
    model_world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients_are_summed_by_item),
        cmocka_unit_test(test_taken_items_rise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

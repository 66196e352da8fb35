/* test_part_hashed.c - masking, shared rows, gradients by row over a batch. */
#include "model/model.h"
#include "tests/support/check.h"
#include "tests/support/model_world.h"
#include <math.h>
#include <string.h>

static void open_world(struct model_world *w)
{
    model_world_open(w, "cpu", "pooled", 1, (const char *const[]){"model.parts=hashed", NULL});
}

static void test_indices_are_masked_to_the_table(void **state)
{
    (void)state;
    struct model_world w;
    struct err e;
    float z[2];
    open_world(&w);
    const struct param *p = model_world_param(&w, "hashed.weight");
    w.p->w[p->offset + 0x34] = 2;
    param_touch(w.p);
    struct slate *s = model_world_slate(&w, 2, 0);
    s->hashed_idx[0] = 0xabcd1234;
    s->hashed_idx[1] = 0x35;
    s->hashed_val[0] = 1.5f;
    assert_ok(model_score(w.run, s, 0, z, NULL, &e), &e);
    assert_float_equal(z[0], 3.0f, 1e-6f);
    assert_float_equal(z[1], 0.0f, 0.0f);
    slate_free(s);
    model_world_close(&w);
}

/* Two slates of one batch that share rows: (p - y)*w*value summed by row. */
static void test_gradients_are_summed_by_row(void **state)
{
    (void)state;
    struct model_world w;
    struct err e;
    double loss, want[256] = {0};
    open_world(&w);
    struct slate *s = model_world_slate(&w, 4, 0);
    const uint32_t idx[4] = {7, 256 + 7, 90, 7};
    for (size_t i = 0; i < 4; i++) {
        s->hashed_idx[i] = idx[i];
        s->hashed_val[i] = 0.5f * (float)(i + 1);
        s->items[i].weight = (float)(i + 1);
        want[idx[i] % 256] +=
            2 * (double)s->items[i].weight * (0.5 - (double)s->items[i].label) * (double)s->hashed_val[i];
    }
    assert_ok(model_learn(w.run, s, 1, &loss, &e), &e);
    assert_ok(model_learn(w.run, s, 1, &loss, &e), &e);
    const struct model_grads *g = model_grads(w.run);
    assert_int_equal(g->n_sparse, 1);
    assert_int_equal(g->sparse[0].n, 2);
    for (size_t i = 0; i < 2; i++) assert_true(fabs((double)g->sparse[0].grads[i] - want[g->sparse[0].rows[i]]) < 1e-5);
    assert_int_equal(g->sparse[0].rows[0], 7);
    assert_int_equal(g->sparse[0].rows[1], 90);
    model_grads_clear(w.run);
    assert_int_equal(model_grads(w.run)->sparse[0].n, 0);
    slate_free(s);
    model_world_close(&w);
}

/* A family's scale multiplies its weights' sum; its gradient is that sum, and theirs go through it. */
static void test_families_have_scales(void **state)
{
    (void)state;
    struct model_world w;
    struct err e;
    double loss;
    float z[2];
    open_world(&w);
    const struct param *weight = model_world_param(&w, "hashed.weight"), *scale = model_world_param(&w, "hashed.scale");
    for (size_t f = 0; f < SLATE_HASH_FAMILIES; f++) assert_float_equal(w.p->w[scale->offset + f], 1, 0);
    w.p->w[weight->offset + 9] = 2;
    w.p->w[scale->offset + 5] = 3;
    param_touch(w.p);
    struct slate *s = model_world_slate(&w, 2, 0);
    s->hashed_idx[0] = UINT32_C(5) << SLATE_HASH_BITS | 9;
    s->hashed_idx[1] = UINT32_C(6) << SLATE_HASH_BITS | 9; /* the same row in another family */
    s->hashed_val[0] = 0.5f;
    s->hashed_val[1] = 0.25f;
    assert_ok(model_score(w.run, s, 0, z, NULL, &e), &e);
    assert_float_equal(z[0], 3, 1e-6f);
    assert_float_equal(z[1], 0.5f, 1e-6f);
    s->items[0].label = 1;
    s->items[1].label = 0;
    assert_ok(model_learn(w.run, s, 1, &loss, &e), &e);
    const struct model_grads *g = model_grads(w.run);
    const double d[2] = {1 / (1 + exp(-3)) - 1, 1 / (1 + exp(-0.5))};
    const float *ds = g->dense + scale->offset;
    assert_true(fabs((double)ds[5] - d[0] * 2 * 0.5) < 1e-5 && fabs((double)ds[6] - d[1] * 2 * 0.25) < 1e-5);
    assert_int_equal(g->sparse[0].n, 1);
    assert_true(fabs((double)g->sparse[0].grads[0] - (d[0] * 3 * 0.5 + d[1] * 0.25)) < 1e-5);
    slate_free(s);
    model_world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_indices_are_masked_to_the_table),
        cmocka_unit_test(test_gradients_are_summed_by_row),
        cmocka_unit_test(test_families_have_scales),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

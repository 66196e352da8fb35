/* test_model_many.c - several slates learnt at once: the same gradients as one after the other, and one bad one among them. */
#include "base/mem.h"
#include "tests/support/check.h"
#include "tests/support/model_world.h"
#include "trainer/optim.h"
#include <math.h>
#include <string.h>

static void one_by_one(struct model_world *w, double *loss)
{
    struct err e;
    for (size_t i = 0; i < WORLD_SLATES; i++) {
        const enum status st = model_learn(w->run, w->slates[i], 1, &loss[i], &e);
        if (st == STATUS_CORRUPT)
            loss[i] = NAN;
        else
            assert_ok(st, &e);
    }
}

static float grad_of_row(const struct model_grads *g, uint32_t row)
{
    for (size_t i = 0; i < g->sparse->n; i++)
        if (g->sparse->rows[i] == row) return g->sparse->grads[i];
    fail_msg("row %u was not touched", row);
    return 0;
}

static void compare(struct model_world *w)
{
    struct err e;
    double apart[WORLD_SLATES], together[WORLD_SLATES];
    const size_t dense = model_table(w->model)->group_first[PARAM_STAT];
    float *want = mem_calloc(dense, sizeof *want), *rows = NULL;
    uint32_t *which = NULL;
    one_by_one(w, apart);
    const struct model_grads *g = model_grads(w->run);
    const size_t n_rows = g->sparse->n;
    memcpy(want, g->dense, dense * sizeof *want);
    rows = mem_calloc(n_rows, sizeof *rows);
    which = mem_calloc(n_rows, sizeof *which);
    memcpy(rows, g->sparse->grads, n_rows * sizeof *rows);
    memcpy(which, g->sparse->rows, n_rows * sizeof *which);
    model_grads_clear(w->run);
    assert_ok(model_learn_many(w->run, (const struct slate *const *)w->slates, WORLD_SLATES, 1, together, &e), &e);
    g = model_grads(w->run);
    for (size_t i = 0; i < WORLD_SLATES; i++) {
        assert_int_equal(isnan(apart[i]), isnan(together[i]));
        if (!isnan(apart[i])) assert_true(fabs(apart[i] - together[i]) < 1e-5 * (1.0 + fabs(apart[i])));
    }
    for (size_t i = 0; i < dense; i++)
        if (!(fabsf(g->dense[i] - want[i]) <= 2e-5f + 1e-4f * fabsf(want[i])))
            fail_msg("gradient %zu is %g, one after the other %g", i, (double)g->dense[i], (double)want[i]);
    assert_int_equal(g->sparse->n, n_rows);
    for (size_t i = 0; i < n_rows; i++) assert_true(fabsf(grad_of_row(g, which[i]) - rows[i]) <= 1e-5f);
    mem_free(want);
    mem_free(rows);
    mem_free(which);
}

static void check(const char *view, int layers)
{
    struct model_world w;
    model_world_open(&w, "cpu", view, layers, NULL);
    model_world_shake(&w);
    compare(&w);
    model_world_close(&w);
}

static void test_many_are_as_one_after_the_other(void **state)
{
    (void)state;
    check("pooled", 1);
    check("pooled", 2);
    check("tokens", 2);
    check("concat", 1); /* not together: the same code all the same */
}

/* The others are learnt from, as if it had not been there. */
static void test_a_bad_one_is_left_out(void **state)
{
    (void)state;
    struct model_world w;
    model_world_open(&w, "cpu", "pooled", 1, NULL);
    model_world_shake(&w);
    w.slates[1]->items[0].weight = 3e38f; /* the loss overflows */
    w.slates[1]->items[0].label = -3e38f;
    compare(&w);
    model_world_close(&w);
}

/* A gradient that nothing reaches after a clear is 0, whatever it was; and the next one is not added to the old. */
static void check_cleared(const char *backend)
{
    struct model_world w;
    struct err e;
    double loss;
    model_world_open(&w, backend, "pooled", 2, NULL);
    model_world_shake(&w);
    const size_t dense = model_table(w.model)->group_first[PARAM_STAT];
    float *first = mem_calloc(dense, sizeof *first);
    assert_ok(model_learn(w.run, w.slates[0], 1, &loss, &e), &e);
    memcpy(first, model_grads(w.run)->dense, dense * sizeof *first);
    model_grads_clear(w.run);
    const float *g = model_grads(w.run)->dense;
    for (size_t i = 0; i < dense; i++) assert_true(g[i] == 0.0f);
    for (int again = 0; again < 2; again++) {
        model_grads_clear(w.run);
        assert_ok(model_learn(w.run, w.slates[0], 1, &loss, &e), &e);
        assert_memory_equal(model_grads(w.run)->dense, first, dense * sizeof *first);
    }
    mem_free(first);
    model_world_close(&w);
}

static void test_cleared_gradients_are_zero(void **state)
{
    (void)state;
    check_cleared("cpu");
    check_cleared("ref"); /* which multiplies out at once */
}

/* Scores of several slates at once have the bits of each alone, with and without a cut; an empty one among them. */
static void check_scores(const char *view, uint32_t top)
{
    struct model_world w;
    struct err e;
    float many[WORLD_SLATES][8], one[8], parts[WORLD_SLATES][64], one_parts[64], *logits[WORLD_SLATES],
        *part[WORLD_SLATES];
    uint32_t tops[WORLD_SLATES];
    model_world_open(&w, "cpu", view, 2, NULL);
    model_world_shake(&w);
    const uint32_t was = w.slates[3]->n_items;
    w.slates[3]->n_items = 0;
    for (size_t i = 0; i < WORLD_SLATES; i++) logits[i] = many[i], part[i] = parts[i], tops[i] = i % 2 == 0 ? top : 0;
    assert_ok(model_score_many(w.run, (const struct slate *const *)w.slates, WORLD_SLATES, tops, logits, part, &e), &e);
    for (size_t i = 0; i < WORLD_SLATES; i++) {
        const size_t K = w.slates[i]->n_items;
        assert_ok(model_score(w.run, w.slates[i], tops[i], one, one_parts, &e), &e);
        assert_memory_equal(many[i], one, K * sizeof *one);
        assert_memory_equal(parts[i], one_parts, K * model_n_parts(w.model) * sizeof *one);
    }
    w.slates[3]->n_items = was;
    model_world_close(&w);
}

static void test_scores_of_many_are_those_of_each(void **state)
{
    (void)state;
    check_scores("pooled", 0);
    check_scores("pooled", 2);
    check_scores("tokens", 0);
    check_scores("concat", 2);
}

/* A step that made the packed forms new too leaves the run as one that packs them again. */
static void test_stepped_is_as_packed_again(void **state)
{
    (void)state;
    static const char *const options[] = {"kernels.train_precision=bf16", NULL};
    struct model_world w;
    struct model_run *fresh;
    struct err e;
    float got[8], want[8];
    double loss[WORLD_SLATES];
    struct optim *o;
    model_world_open(&w, "cpu", "pooled", 2, options);
    assert_ok(optim_new(&o, model_table(w.model), w.conf, &e), &e);
    for (int i = 0; i < 3; i++) {
        assert_ok(model_learn_many(w.run, (const struct slate *const *)w.slates, WORLD_SLATES, 1, loss, &e), &e);
        assert_ok(optim_step(o, model_run_kern(w.run), w.p, model_grads(w.run), 8, &e), &e);
        assert_ok(model_stepped(w.run, w.p, &e), &e);
        model_grads_clear(w.run);
    }
    assert_ok(model_run_new(&fresh, w.model, w.states, false, &e), &e);
    assert_ok(model_bind(fresh, w.p, &e), &e);
    for (size_t i = 0; i < WORLD_SLATES; i++) {
        assert_ok(model_score(w.run, w.slates[i], 0, got, NULL, &e), &e);
        assert_ok(model_score(fresh, w.slates[i], 0, want, NULL, &e), &e);
        assert_memory_equal(got, want, w.slates[i]->n_items * sizeof *got);
    }
    struct param_set *other;
    assert_ok(param_set_new(&other, model_table(w.model), &e), &e);
    assert_int_equal(model_stepped(w.run, other, &e), STATUS_INVALID);
    param_set_release(other);
    model_run_free(fresh);
    optim_free(o);
    model_world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_are_as_one_after_the_other), cmocka_unit_test(test_a_bad_one_is_left_out),
        cmocka_unit_test(test_cleared_gradients_are_zero),      cmocka_unit_test(test_scores_of_many_are_those_of_each),
        cmocka_unit_test(test_stepped_is_as_packed_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

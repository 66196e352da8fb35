/* test_part_text_users.c - each user's own head: nothing at first, what it adds, gradients by row, shared rows, many lists at once. */
#include "base/mem.h"
#include "model/model.h"
#include "tests/support/check.h"
#include "tests/support/gradient.h"
#include "tests/support/model_world.h"
#include <math.h>
#include <string.h>

enum { K = 6, E = 4, U = 4 };
static const char *const none[] = {"model.parts=text", "model.user_units=0", NULL};
static const char *const own[] = {"model.parts=text", "model.user_units=4", "model.user_bits=6", NULL};

static float *tensor(struct model_world *w, const char *name, size_t *n)
{
    const struct param *p = model_world_param(w, name);
    *n = p->n;
    param_touch(w->p);
    return w->p->w + p->offset;
}

/* The common tensors alike in any model, and the users' own with `users`. */
static void fill(struct model_world *w, bool users)
{
    const struct param_table *t = model_table(w->model);
    for (size_t i = 0; i < t->n; i++) {
        const struct param *p = &t->params[i];
        const bool theirs = strncmp(p->name, "text.user_", 10) == 0;
        if (p->group == PARAM_STAT || (theirs && !users)) continue;
        for (size_t j = 0; j < p->n; j++) w->p->w[p->offset + j] += 0.3f * gradient_number(77 * p->n + j);
    }
    param_touch(w->p);
}

static void text_of(struct model_world *w, struct slate *s, const char *user, float *text)
{
    struct err e;
    float z[K];
    s->user = str_from(user);
    assert_ok(model_score(w->run, s, 0, z, text, &e), &e);
}

static void test_at_first_it_is_the_common_head_alone(void **state)
{
    (void)state;
    struct model_world a, b;
    float alone[K], text[K];
    model_world_open(&a, "cpu", "pooled", 1, none);
    model_world_open(&b, "cpu", "pooled", 1, own);
    assert_null(model_world_param(&a, "text.user_map"));
    fill(&a, false);
    fill(&b, false);
    struct slate *s = model_world_slate(&a, K, E);
    text_of(&a, s, "ann", alone);
    text_of(&b, s, "ann", text);
    assert_memory_equal(text, alone, sizeof alone);
    slate_free(s);
    model_world_close(&a);
    model_world_close(&b);
}

/* gain (map h) u: linear in each of the three, and nobody else's. */
static void test_a_user_is_told_from_another(void **state)
{
    (void)state;
    struct model_world w;
    float zero[K], ann[K], bob[K], twice[K], nameless[2][K];
    size_t n;
    model_world_open(&w, "cpu", "pooled", 1, own);
    fill(&w, false);
    struct slate *s = model_world_slate(&w, K, E);
    text_of(&w, s, "ann", zero);
    float *rows = tensor(&w, "text.user_rows", &n);
    assert_int_equal(n, 64 * U);
    for (size_t i = 0; i < n; i++) rows[i] = gradient_number(900 + i);
    text_of(&w, s, "ann", ann);
    text_of(&w, s, "bob", bob);
    text_of(&w, s, "", nameless[0]);
    s->id++;
    text_of(&w, s, "", nameless[1]);
    assert_memory_equal(nameless[0], nameless[1], sizeof ann);
    rows = tensor(&w, "text.user_rows", &n);
    for (size_t i = 0; i < n; i++) rows[i] *= 2;
    text_of(&w, s, "ann", twice);
    for (size_t i = 0; i < K; i++) {
        assert_true(fabsf(ann[i] - zero[i]) > 1e-4f && fabsf(ann[i] - bob[i]) > 1e-4f);
        assert_float_equal(twice[i] - zero[i], 2 * (ann[i] - zero[i]), 1e-4f);
    }
    float *gain = tensor(&w, "text.user_gain", &n);
    assert_int_equal(n, U);
    for (size_t i = 0; i < n; i++) gain[i] *= -0.5f;
    text_of(&w, s, "ann", twice);
    for (size_t i = 0; i < K; i++) assert_float_equal(twice[i] - zero[i], zero[i] - ann[i], 1e-4f);
    slate_free(s);
    model_world_close(&w);
}

static double loss_of(struct model_world *w, const struct slate *s)
{
    double loss;
    struct err e;
    assert_ok(model_learn(w->run, s, 1, &loss, &e), &e);
    model_grads_clear(w->run);
    return loss;
}

static double slope(struct model_world *w, const struct slate *s, float *x)
{
    const float was = *x, h = 4e-3f;
    double at[2];
    for (int k = 0; k < 2; k++) {
        *x = k == 0 ? was + h : was - h;
        param_touch(w->p);
        at[k] = loss_of(w, s);
    }
    *x = was;
    param_touch(w->p);
    return (at[0] - at[1]) / (2 * (double)h);
}

static void test_gradients_by_central_differences(void **state)
{
    (void)state;
    static const char *const views[] = {"pooled", "tokens"};
    for (size_t v = 0; v < 2; v++) {
        struct model_world w;
        struct err e;
        double loss;
        float row[U], map[64], gain[U];
        size_t n;
        model_world_open(&w, "cpu", views[v], 1, own);
        fill(&w, true);
        struct slate *s = model_world_slate(&w, K, E);
        s->user = STR("ann");
        assert_ok(model_learn(w.run, s, 1, &loss, &e), &e);
        const struct model_grads *g = model_grads(w.run);
        assert_int_equal(g->n_sparse, 1);
        assert_int_equal(g->sparse->n, 1);
        const uint32_t at = g->sparse->rows[0];
        memcpy(row, g->sparse->grads, sizeof row);
        const struct param *m = model_world_param(&w, "text.user_map"), *f = model_world_param(&w, "text.user_gain");
        assert_true(m->n <= 64);
        memcpy(map, g->dense + m->offset, m->n * sizeof *map);
        memcpy(gain, g->dense + f->offset, sizeof gain);
        model_grads_clear(w.run);
        for (size_t i = 0; i < U; i++) {
            assert_near(slope(&w, s, tensor(&w, "text.user_rows", &n) + at * U + i), row[i], 2e-3);
            assert_near(slope(&w, s, tensor(&w, "text.user_gain", &n) + i), gain[i], 2e-3);
            assert_true(fabsf(row[i]) > 1e-4f && fabsf(gain[i]) > 1e-4f);
        }
        for (size_t i = 0; i < m->n; i++)
            assert_near(slope(&w, s, tensor(&w, "text.user_map", &n) + i), map[i], 2e-3);
        slate_free(s);
        model_world_close(&w);
    }
}

/* Two lists on one tape: gradients of both users' rows, as of one after the other. */
static void test_lists_learnt_together_are_those_learnt_apart(void **state)
{
    (void)state;
    struct model_world w;
    struct err e;
    double loss[2];
    float apart[64 * U] = {0}, together[64 * U] = {0};
    model_world_open(&w, "cpu", "pooled", 1, own);
    fill(&w, true);
    struct slate *s[2] = {model_world_slate(&w, K, E), model_world_slate(&w, K - 2, 1)};
    s[0]->user = STR("ann");
    s[1]->user = STR("bob");
    for (size_t i = 0; i < 2; i++) assert_ok(model_learn(w.run, s[i], 1, &loss[i], &e), &e);
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 1) assert_ok(model_learn_many(w.run, (const struct slate *const *)s, 2, 1, loss, &e), &e);
        const struct model_rows *g = model_grads(w.run)->sparse;
        assert_int_equal(g->n, 2);
        for (size_t i = 0; i < g->n; i++)
            memcpy((pass == 0 ? apart : together) + g->rows[i] * U, g->grads + i * U, U * sizeof *apart);
        model_grads_clear(w.run);
        model_drop_stats(w.run);
    }
    for (size_t i = 0; i < 64 * U; i++) assert_near(together[i], apart[i], 1e-5);
    slate_free(s[0]);
    slate_free(s[1]);
    model_world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_at_first_it_is_the_common_head_alone),
        cmocka_unit_test(test_a_user_is_told_from_another),
        cmocka_unit_test(test_gradients_by_central_differences),
        cmocka_unit_test(test_lists_learnt_together_are_those_learnt_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_part_idvec.c - learned item vectors inside match: what is left out with the part, gradients by row, shared rows. */
#include "model/model.h"
#include "tests/support/check.h"
#include "tests/support/gradient.h"
#include "tests/support/model_world.h"
#include <math.h>
#include <string.h>

enum { K = 6, E = 4, C = 8 };
static const char *const plain[] = {"model.parts=match", NULL};
static const char *const both[] = {"model.parts=match,idvec", "model.idvec_bits=6", NULL};

/* The same numbers for the tensors of bias and match in any model. */
static void fill_match(struct model_world *w)
{
    const struct param_table *t = model_table(w->model);
    for (size_t i = 0; i < t->n; i++) {
        const struct param *p = &t->params[i];
        if (p->group == PARAM_STAT || p->group == PARAM_SPARSE) continue;
        for (size_t j = 0; j < p->n; j++) w->p->w[p->offset + j] += 0.3f * gradient_number(77 * p->n + j);
    }
    param_touch(w->p);
}

static void fill_vectors(struct model_world *w)
{
    const struct param *p = model_world_param(w, "idvec.vector");
    for (size_t j = 0; j < p->n; j++) w->p->w[p->offset + j] = 0.4f * gradient_number(900 + j);
    param_touch(w->p);
}

/* Without the vectors, whatever they are: part match says what it says alone; idvec is 0 while they are. */
static void test_match_is_what_it_is_without_the_vectors(void **state)
{
    (void)state;
    struct model_world a, b;
    struct err e;
    float alone[K], z[K], parts[2][K];
    model_world_open(&a, "cpu", "pooled", 1, plain);
    model_world_open(&b, "cpu", "pooled", 1, both);
    fill_match(&a);
    fill_match(&b);
    struct slate *s = model_world_slate(&a, K, E);
    assert_ok(model_score(a.run, s, 0, z, parts[0], &e), &e);
    memcpy(alone, parts[0], sizeof alone);
    assert_ok(model_score(b.run, s, 0, z, parts[0], &e), &e);
    assert_memory_equal(parts[0], alone, sizeof alone);
    for (size_t i = 0; i < K; i++) assert_float_equal(parts[1][i], 0.0f, 0.0f);
    fill_vectors(&b);
    assert_ok(model_score(b.run, s, 0, z, parts[0], &e), &e);
    assert_memory_equal(parts[0], alone, sizeof alone);
    for (size_t i = 0; i < K; i++) assert_true(fabsf(parts[1][i]) > 1e-3f);
    slate_free(s);
    model_world_close(&a);
    model_world_close(&b);
}

/* The linear term alone: with rows' vectors u the logit changes by item . u, also without history. */
static void test_a_vector_is_added_to_the_items(void **state)
{
    (void)state;
    struct model_world w;
    struct err e;
    float z[2], parts[2][2], item[C];
    model_world_open(&w, "cpu", "pooled", 1, both);
    for (size_t c = 0; c < C; c++) item[c] = (float)c - 3.0f;
    model_world_set(&w, "match.item", item, C);
    struct slate *s = model_world_slate(&w, 2, 0);
    s->items[0].item = 12345;
    const struct param *p = model_world_param(&w, "idvec.vector");
    float *u = w.p->w + p->offset;
    for (size_t row = 0; row < p->shape[0]; row++)
        for (size_t c = 0; c < C; c++) u[row * C + c] = c == 5 ? (float)row : 0.0f;
    param_touch(w.p);
    assert_ok(model_score(w.run, s, 0, z, parts[0], &e), &e);
    const float row[2] = {parts[1][0] / 2.0f, parts[1][1] / 2.0f}; /* item[5] = 2 */
    for (size_t i = 0; i < 2; i++) {
        assert_float_equal(row[i], roundf(row[i]), 1e-4f);
        assert_true(row[i] >= 0 && row[i] < (float)p->shape[0]);
    }
    assert_true(fabsf(row[0] - row[1]) > 0.5f); /* these two have rows of their own */
    s->items[1].item = 12345;
    assert_ok(model_score(w.run, s, 0, z, parts[0], &e), &e);
    assert_float_equal(parts[1][0], parts[1][1], 1e-4f);
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

/* Every gradient of a slate's loss, by central differences: rows of the vectors (an item that is also an event among them)
 * and match's tensors, whose way back leads through the changed vectors. */
static void test_gradients_by_central_differences(void **state)
{
    (void)state;
    struct model_world w;
    struct err e;
    double loss;
    static float want[64 * C], seen[4096];
    model_world_open(&w, "cpu", "pooled", 1, both);
    fill_match(&w);
    fill_vectors(&w);
    struct slate *s = model_world_slate(&w, K, E); /* events are items 3 … 6, candidates 0 … 5 */
    assert_ok(model_learn(w.run, s, 1, &loss, &e), &e);
    const struct param_table *t = model_table(w.model);
    const struct model_grads *g = model_grads(w.run);
    assert_int_equal(g->n_sparse, 1);
    assert_true(g->sparse->n >= K && g->sparse->n <= K + E);
    for (size_t i = 0; i < g->sparse->n; i++)
        memcpy(want + g->sparse->rows[i] * C, g->sparse->grads + i * C, C * sizeof *want);
    assert_true(t->group_first[PARAM_STAT] < 4096);
    memcpy(seen, g->dense, t->group_first[PARAM_STAT] * sizeof *seen);
    model_grads_clear(w.run);
    for (size_t i = 0; i < t->n; i++) {
        const struct param *p = &t->params[i];
        if (p->group == PARAM_STAT) continue;
        for (size_t j = 0; j < p->n; j++) {
            const double found = (double)(p->group == PARAM_SPARSE ? want[j] : seen[p->offset + j]);
            float *x = w.p->w + p->offset + j;
            const float was = *x, h = 4e-3f;
            double at[2];
            for (int k = 0; k < 2; k++) {
                *x = k == 0 ? was + h : was - h;
                param_touch(w.p);
                at[k] = loss_of(&w, s);
            }
            *x = was;
            const double slope = (at[0] - at[1]) / (2 * (double)h);
            if (fabs(slope - found) > 4e-3 * (1 + fabs(slope)))
                fail_msg("%s[%zu]: gradient %g, difference %g", p->name, j, found, slope);
        }
    }
    slate_free(s);
    model_world_close(&w);
}

/* Several slates on one tape are what they are one after the other, in learning and in scoring. */
static void test_slates_together_are_as_alone(void **state)
{
    (void)state;
    struct model_world w;
    struct err e;
    double apart[2], together[2];
    float alone[2][K], many[2][K], alone_parts[2][2 * K], many_parts[2][2 * K];
    model_world_open(&w, "cpu", "pooled", 1, both);
    fill_match(&w);
    fill_vectors(&w);
    struct slate *s[2] = {model_world_slate(&w, K, E), model_world_slate(&w, K, 2)};
    s[1]->items[0].item = 99;
    for (size_t i = 0; i < 2; i++) {
        apart[i] = loss_of(&w, s[i]);
        assert_ok(model_score(w.run, s[i], 0, alone[i], alone_parts[i], &e), &e);
    }
    assert_ok(model_learn_many(w.run, (const struct slate *const *)s, 2, 1, together, &e), &e);
    model_grads_clear(w.run);
    for (size_t i = 0; i < 2; i++) assert_true(fabs(apart[i] - together[i]) < 1e-6);
    assert_ok(model_score_many(w.run, (const struct slate *const *)s, 2, (const uint32_t[]){0, 0},
                               (float *const[]){many[0], many[1]}, (float *const[]){many_parts[0], many_parts[1]}, &e),
              &e);
    assert_memory_equal(alone, many, sizeof alone);
    assert_memory_equal(alone_parts, many_parts, sizeof alone_parts);
    for (size_t i = 0; i < 2; i++) slate_free(s[i]);
    model_world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_match_is_what_it_is_without_the_vectors),
        cmocka_unit_test(test_a_vector_is_added_to_the_items),
        cmocka_unit_test(test_gradients_by_central_differences),
        cmocka_unit_test(test_slates_together_are_as_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

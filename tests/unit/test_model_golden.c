/* test_model_golden.c - the whole model against PyTorch (tests/golden/make_model.py): logits of every part, loss, every
 * gradient, and ten losses, for each view and depth, on both backends.
 * timeout: 120
 */
#include "base/bf16.h"
#include "model/model.h"
#include "tests/support/check.h"
#include "tests/support/model_world.h"
#include "trainer/optim.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Golden numbers are double rounded to f32; ours are f32 throughout: about 1e-6 relative per operation. */
#define NEAR 2e-5
#define NEAR_AFTER_STEPS 2e-4

static void name_of(char out[128], const char *at, const char *what)
{
    (void)snprintf(out, 128, "%s.%s", at, what);
}

static void compare(const struct model_world *w, const char *at, const char *what, const float *got, size_t n,
                    double near)
{
    char name[128];
    size_t n_want;
    name_of(name, at, what);
    const float *want = model_world_numbers(w, name, &n_want);
    assert_int_equal(n, n_want);
    for (size_t i = 0; i < n; i++) {
        if (!(fabs((double)got[i] - (double)want[i]) <= near * (1.0 + fabs((double)want[i]))))
            fail_msg("%s[%zu]: %.7g, PyTorch has %.7g", name, i, (double)got[i], (double)want[i]);
    }
}

static void load_parameters(struct model_world *w, const char *at)
{
    const struct param_table *t = model_table(w->model);
    for (size_t i = 0; i < t->n; i++) {
        char name[128], what[100];
        size_t n;
        if (t->params[i].group == PARAM_STAT) continue;
        (void)snprintf(what, sizeof what, "init.%.80s", t->params[i].name);
        name_of(name, at, what);
        const float *values = model_world_numbers(w, name, &n);
        model_world_set(w, t->params[i].name, values, n);
    }
}

static void put_state(struct model_world *w, const char *at, uint32_t index)
{
    static const char *const kinds[] = {"pooled", "final", "tokens"};
    static uint16_t bits[3][64 * 8];
    struct record_state r = {.width = 8, .pooled = bits[0], .final = bits[1], .tokens = bits[2]};
    struct err e;
    for (int k = 0; k < (model_wants_tokens(w->model) ? 3 : 2); k++) {
        char name[128], what[64];
        size_t n;
        (void)snprintf(what, sizeof what, "state.%u.%s", index, kinds[k]);
        name_of(name, at, what);
        const float *x = model_world_numbers(w, name, &n);
        for (size_t i = 0; i < n; i++) bits[k][i] = bf16_from(x[i]);
        if (k == 2) r.n_tokens = (uint32_t)n / 8;
    }
    assert_ok(state_put(w->states, w->slates[0]->sentences[index].hash, &r, &e), &e);
}

static void open_case(struct model_world *w, const char *backend, const char *view, int layers, char at[32])
{
    (void)snprintf(at, 32, "%s.%d", view, layers);
    model_world_open(w, backend, view, layers, (const char *const[]){"model.user_units=0", NULL}); /* test_part_text_users has them */
    load_parameters(w, at);
    for (uint32_t i = 0; i < WORLD_SENTENCES; i++) put_state(w, at, i);
}

static void check_gradients(struct model_world *w, const char *at)
{
    const struct param_table *t = model_table(w->model);
    const struct model_grads *g = model_grads(w->run);
    float sparse[256] = {0};
    assert_int_equal(g->n_sparse, 1);
    for (size_t i = 0; i < g->sparse->n; i++) sparse[g->sparse->rows[i]] += g->sparse->grads[i];
    for (size_t i = 0; i < t->n; i++) {
        const struct param *p = &t->params[i];
        char what[100];
        (void)snprintf(what, sizeof what, "grad.%.80s", p->name);
        if (p->group == PARAM_SPARSE)
            compare(w, at, what, sparse, p->n, NEAR);
        else if (p->group != PARAM_STAT)
            compare(w, at, what, g->dense + p->offset, p->n, NEAR);
    }
}

static void check_first_slate(const char *backend, const char *view, int layers)
{
    struct model_world w;
    struct err e;
    char at[32];
    float logits[8], parts[4 * 8];
    double loss;
    open_case(&w, backend, view, layers, at);
    const struct slate *s = w.slates[2];
    model_world_set(&w, "numeric.mean", model_world_numbers(&w, "stat.mean", NULL), WORLD_NUMERIC);
    model_world_set(&w, "numeric.scale", model_world_numbers(&w, "stat.scale", NULL), WORLD_NUMERIC);
    assert_ok(model_score(w.run, s, 0, logits, parts, &e), &e);
    compare(&w, at, "parts", parts, 4 * s->n_items, NEAR);
    compare(&w, at, "logits", logits, s->n_items, NEAR);
    assert_ok(model_learn(w.run, s, 1, &loss, &e), &e);
    const float as_float = (float)loss;
    compare(&w, at, "loss", &as_float, 1, NEAR);
    check_gradients(&w, at);
    model_world_close(&w);
}

static void check_ten_losses(const char *backend, const char *view, int layers)
{
    struct model_world w;
    struct optim *o;
    struct err e;
    char at[32];
    float losses[WORLD_SLATES];
    open_case(&w, backend, view, layers, at);
    assert_ok(optim_new(&o, model_table(w.model), w.conf, &e), &e);
    for (size_t i = 0; i < WORLD_SLATES; i++) {
        double loss;
        assert_ok(model_learn(w.run, w.slates[i], 1, &loss, &e), &e);
        losses[i] = (float)loss;
        assert_ok(optim_step(o, model_run_kern(w.run), w.p, model_grads(w.run), w.slates[i]->n_items, &e), &e);
        model_apply_stats(w.run, w.p);
        model_grads_clear(w.run);
    }
    compare(&w, at, "losses", losses, WORLD_SLATES, NEAR_AFTER_STEPS);
    optim_free(o);
    model_world_close(&w);
}

static void check_case(const char *view, int layers)
{
    check_first_slate("ref", view, layers);
    check_first_slate("cpu", view, layers);
    check_ten_losses("ref", view, layers);
    check_ten_losses("cpu", view, layers);
}

#define CASE(view, layers)                                                                                             \
    static void test_##view##_##layers##_agrees_with_pytorch(void **state)                                             \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        check_case(#view, layers);                                                                                     \
    }
CASE(pooled, 0)
CASE(pooled, 1)
CASE(pooled, 2)
CASE(tokens, 1)
CASE(tokens, 2)
CASE(concat, 1)
CASE(concat, 2)
CASE(concat, 3)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pooled_0_agrees_with_pytorch), cmocka_unit_test(test_pooled_1_agrees_with_pytorch),
        cmocka_unit_test(test_pooled_2_agrees_with_pytorch), cmocka_unit_test(test_tokens_1_agrees_with_pytorch),
        cmocka_unit_test(test_tokens_2_agrees_with_pytorch), cmocka_unit_test(test_concat_1_agrees_with_pytorch),
        cmocka_unit_test(test_concat_2_agrees_with_pytorch), cmocka_unit_test(test_concat_3_agrees_with_pytorch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

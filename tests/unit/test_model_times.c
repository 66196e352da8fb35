/* test_model_times.c - what parts cost: nothing known at first, then shares of a whole, the dear part the dearest; and times
 * change no number. */
#include "model/model.h"
#include "tests/support/check.h"
#include "tests/support/model_world.h"
#include "trainer/optim.h"
#include <math.h>
#include <string.h>

static void step(struct model_world *w, struct optim *o, size_t i)
{
    double loss;
    float z[8];
    struct err e;
    const struct slate *s = w->slates[i % WORLD_SLATES];
    assert_ok(model_score(w->run, s, 0, z, NULL, &e), &e);
    assert_ok(model_learn(w->run, s, 1, &loss, &e), &e);
    assert_ok(optim_step(o, model_run_kern(w->run), w->p, model_grads(w->run), s->n_items, &e), &e);
    model_grads_clear(w->run);
}

static void test_costs_are_shares_of_what_was_timed(void **state)
{
    (void)state;
    struct model_world w;
    struct optim *o;
    struct err e;
    struct model_cost c[MODEL_PARTS_MAX];
    model_world_open(&w, "cpu", "tokens", 2, NULL);
    assert_ok(optim_new(&o, model_table(w.model), w.conf, &e), &e);
    const size_t n = model_n_parts(w.model);
    model_costs(w.run, c);
    for (size_t i = 0; i < n; i++) assert_true(isnan(c[i].score_us) && isnan(c[i].learn_us) && isnan(c[i].share));
    for (size_t i = 0; i < 200; i++) step(&w, o, i);
    model_costs(w.run, c);
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        assert_true(c[i].score_us > 0 && c[i].learn_us > 0 && c[i].share > 0);
        assert_true(i == 0 || c[i].share < c[0].share); /* text */
        sum += c[i].share;
    }
    assert_true(sum > 0.5 && sum < 1); /* the intercepts have the rest */
    optim_free(o);
    model_world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_costs_are_shares_of_what_was_timed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

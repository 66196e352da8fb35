/* test_model_sampling.c - what is served must not depend on how negatives were drawn (train.sampling_correction). */
#include "base/rand.h"
#include "model/model.h"
#include "tests/support/check.h"
#include "tests/support/model_world.h"
#include "trainer/optim.h"
#include <math.h>

enum { ITEMS = 6, NEGATIVES = 4, SLATES = 6000 };
static const double taken[ITEMS] = {0.40, 0.25, 0.15, 0.10, 0.06, 0.04};
static const double uniform[ITEMS] = {1 / 6.0, 1 / 6.0, 1 / 6.0, 1 / 6.0, 1 / 6.0, 1 / 6.0};

static uint32_t draw(struct rand *r, const double *p)
{
    double u = rand_unit(r);
    uint32_t i = 0;
    while (i + 1 < ITEMS && u >= p[i]) u -= p[i++];
    return i;
}

static void put_item(struct slate *s, uint32_t at, uint32_t item, float label, const double *q)
{
    s->items[at].label = label;
    s->items[at].log_kq = (float)log(NEGATIVES * q[item]);
    s->hashed_idx[at] = item * 41;
}

/* Learns a shop whose orders take item i with probability taken[i]; s (ITEMS): then served. */
static void learn_and_serve(const char *correction, const double *q, float *s_of)
{
    struct model_world w;
    struct optim *o;
    struct rand r;
    struct err e;
    double loss;
    const char *const options[] = {"model.parts=hashed", "train.hashed_rate=0.3", correction, NULL};
    model_world_open(&w, "cpu", "pooled", 1, options);
    assert_ok(optim_new(&o, model_table(w.model), w.conf, &e), &e);
    struct slate *s = model_world_slate(&w, ITEMS, 0);
    s->n_items = 1 + NEGATIVES;
    rand_init(&r, (struct rand_key){.seed = 9, .purpose = RAND_INIT});
    for (int n = 0; n < SLATES; n++) {
        put_item(s, 0, draw(&r, taken), 1, q);
        for (uint32_t i = 1; i <= NEGATIVES; i++) put_item(s, i, draw(&r, q), 0, q);
        assert_ok(model_learn(w.run, s, 1, &loss, &e), &e);
        assert_ok(optim_step(o, model_run_kern(w.run), w.p, model_grads(w.run), s->n_items, &e), &e);
        model_apply_stats(w.run, w.p);
        model_grads_clear(w.run);
    }
    s->source = SLATE_REQUEST;
    s->n_items = ITEMS;
    for (uint32_t i = 0; i < ITEMS; i++) put_item(s, i, i, NAN, q), s->items[i].log_kq = 0;
    assert_ok(model_score(w.run, s, 0, s_of, NULL, &e), &e);
    optim_free(o);
    slate_free(s);
    model_world_close(&w);
}

static void test_served_log_odds_are_the_shops(void **state)
{
    (void)state;
    const double *const samplers[] = {uniform, taken};
    for (int k = 0; k < 2; k++) {
        float s[ITEMS];
        learn_and_serve("train.sampling_correction=true", samplers[k], s);
        for (uint32_t i = 0; i < ITEMS; i++) /* the level, too: s is the log-odds of being taken */
            assert_true(fabs((double)s[i] - log(taken[i])) < 0.35);
    }
}

static void test_without_it_the_sampler_is_learnt(void **state)
{
    (void)state;
    float s[ITEMS];
    learn_and_serve("train.sampling_correction=false", taken, s);
    for (uint32_t i = 0; i < ITEMS; i++) assert_true(fabs((double)s[i] - (double)s[0]) < 0.35); /* as many of each */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_served_log_odds_are_the_shops),
        cmocka_unit_test(test_without_it_the_sampler_is_learnt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

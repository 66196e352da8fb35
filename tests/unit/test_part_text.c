/* test_part_text.c - behaviour of the text part beyond the golden numbers: its gradients by finite differences through
 * the whole model, the concat view's bounds, and that it learns.
 */
#include "model/model.h"
#include "tests/support/check.h"
#include "tests/support/gradient.h"
#include "tests/support/model_world.h"
#include "trainer/optim.h"
#include <math.h>
#include <string.h>

static double loss_now(struct model_world *w, const struct slate *s)
{
    struct err e;
    float z[8];
    double sum = 0;
    assert_ok(model_score(w->run, s, 0, z, NULL, &e), &e);
    for (size_t i = 0; i < s->n_items; i++) {
        const double x = z[i], y = s->items[i].label;
        sum += (double)s->items[i].weight * (fmax(x, 0) - x * y + log1p(exp(-fabs(x))));
    }
    return sum;
}

static double slope(struct model_world *w, const struct slate *s, size_t at, double h)
{
    const double x = (double)w->p->w[at];
    double f[4];
    const double steps[4] = {-2 * h, -h, h, 2 * h};
    for (int i = 0; i < 4; i++) {
        w->p->w[at] = (float)(x + steps[i]);
        param_touch(w->p);
        f[i] = loss_now(w, s);
    }
    w->p->w[at] = (float)x;
    param_touch(w->p);
    return (8 * (f[2] - f[1]) - (f[3] - f[0])) / (12 * h);
}

/* A few numbers of every dense tensor of the whole model, by differences of the loss. */
static void check_differences(const char *view, int layers)
{
    struct model_world w;
    struct err e;
    double loss;
    model_world_open(&w, "cpu", view, layers, NULL);
    model_world_shake(&w);
    const struct slate *s = w.slates[2];
    assert_ok(model_learn(w.run, s, 1, &loss, &e), &e);
    assert_true(fabs(loss - loss_now(&w, s)) < 1e-5);
    const struct param_table *t = model_table(w.model);
    for (size_t i = 0; i < t->n && t->params[i].group <= PARAM_ADAGRAD; i++) {
        const struct param *p = &t->params[i];
        for (size_t k = 0; k < 5; k++) {
            const size_t at = p->offset + (k * 7919) % p->n;
            const double want = slope(&w, s, at, 1e-2), got = (double)model_grads(w.run)->dense[at];
            if (!(fabs(want - got) <= 3e-3 * (1 + fabs(want))))
                fail_msg("%s K=%d: d%s[%zu] is %g, differences say %g", view, layers, p->name, at - p->offset, got,
                         want);
        }
    }
    model_world_close(&w);
}

static void test_gradients_by_differences(void **state)
{
    (void)state;
    check_differences("pooled", 0);
    check_differences("pooled", 1);
    check_differences("pooled", 3);
    check_differences("tokens", 2);
    check_differences("concat", 2);
}

static float only_logit(struct model_world *w, const struct slate *s)
{
    struct err e;
    float z[8];
    assert_ok(model_score(w->run, s, 0, z, NULL, &e), &e);
    return z[0];
}

/* Sequences end at concat_tokens: the oldest events go, the newest and the item stay. */
static void test_concat_drops_the_oldest_events_first(void **state)
{
    (void)state;
    const char *const limits[] = {"model.concat_tokens=19", "model.concat_tokens=20"};
    for (int i = 0; i < 2; i++) {
        struct model_world w;
        model_world_open(&w, "cpu", "concat", 1, (const char *const[]){"model.parts=text", limits[i], NULL});
        model_world_shake(&w);
        struct slate *s =
            model_world_slate(&w, 1, 4); /* [CLS] and 4 5 6 7 tokens, and the item's 4: three events are 20 */
        const float before = only_logit(&w, s);
        s->events[3].sentence = 9;
        assert_float_equal(only_logit(&w, s), before, 0.0f);
        s->events[2].sentence = 9;
        assert_true((only_logit(&w, s) == before) == (i == 0));
        s->events[1].sentence = 5;
        assert_true(only_logit(&w, s) != before);
        slate_free(s);
        model_world_close(&w);
    }
}

/* A newest event that does not fit beside the item is as no history at all; the item stays whole. */
static void test_concat_keeps_the_item_whole(void **state)
{
    (void)state;
    struct model_world w;
    model_world_open(&w, "cpu", "concat", 1, (const char *const[]){"model.parts=text", "model.concat_tokens=16", NULL});
    model_world_shake(&w);
    struct slate *s = model_world_slate(&w, 1, 1);
    s->items[0].sentence = 11;  /* ten tokens: 1 + 9 ... */
    s->events[0].sentence = 10; /* ... and 5 of the event: 15 fit */
    const float fits = only_logit(&w, s);
    s->events[0].sentence = 4; /* 8 do not */
    const float too_long = only_logit(&w, s);
    s->n_events = 0;
    const float alone = only_logit(&w, s);
    assert_float_equal(alone, too_long, 0.0f);
    assert_true(fits != alone);
    slate_free(s);
    model_world_close(&w);
}

/* In concat the order of events and the token types matter; in pooled, too (ranks). */
static void test_order_of_events_matters(void **state)
{
    (void)state;
    const char *const views[] = {"pooled", "tokens", "concat"};
    for (int i = 0; i < 3; i++) {
        struct model_world w;
        model_world_open(&w, "cpu", views[i], 1, (const char *const[]){"model.parts=text", NULL});
        model_world_shake(&w);
        struct slate *s = model_world_slate(&w, 1, 2);
        s->events[1].age_minutes = s->events[0].age_minutes;
        s->events[1].type = s->events[0].type;
        const float before = only_logit(&w, s);
        const struct slate_event first = s->events[0];
        s->events[0] = s->events[1];
        s->events[1] = first;
        assert_true(fabsf(only_logit(&w, s) - before) > 1e-5f);
        slate_free(s);
        model_world_close(&w);
    }
}

/* One slate again and again: every view comes to know its labels, from a zero head on. */
static void test_every_view_learns_a_slate_by_heart(void **state)
{
    (void)state;
    const char *const views[] = {"pooled", "tokens", "concat"};
    for (int i = 0; i < 3; i++) {
        struct model_world w;
        struct optim *o;
        struct err e;
        double first = 0, loss = 0;
        model_world_open(&w, "cpu", views[i], 1, (const char *const[]){"model.parts=text", "train.clip_norm=0", NULL});
        assert_ok(optim_new(&o, model_table(w.model), w.conf, &e), &e);
        struct slate *s = model_world_slate(&w, 7, 3);
        for (int t = 0; t < 300; t++) {
            assert_ok(model_learn(w.run, s, 1, &loss, &e), &e);
            assert_ok(optim_step(o, model_run_kern(w.run), w.p, model_grads(w.run), 7, &e), &e);
            model_grads_clear(w.run);
            if (t == 0) first = loss;
        }
        assert_true(fabs(first - 7 * log(2)) < 1e-4); /* the head starts at zero */
        if (!(loss < 0.35 * first)) fail_msg("%s: loss %g after 300 steps, %g at first", views[i], loss, first);
        optim_free(o);
        slate_free(s);
        model_world_close(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients_by_differences),
        cmocka_unit_test(test_concat_drops_the_oldest_events_first),
        cmocka_unit_test(test_concat_keeps_the_item_whole),
        cmocka_unit_test(test_order_of_events_matters),
        cmocka_unit_test(test_every_view_learns_a_slate_by_heart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_tasks.c - several labels on one trunk: what their logits are, that gradients are slopes, and that rates are found. */
#include "base/rand.h"
#include "model/model.h"
#include "tests/support/check.h"
#include "tests/support/gradient.h"
#include "tests/support/model_world.h"
#include "trainer/optim.h"
#include <math.h>
#include <string.h>

enum { K = 6, TASKS = 3 };

static void open_world(struct model_world *w)
{
    model_world_open(w, "cpu", "pooled", 1,
                     (const char *const[]){"model.parts=numeric,hashed", "train.tasks=click, purchase,dislike",
                                           "train.softmax_share=0.5", NULL});
    assert_int_equal(model_n_tasks(w->model), TASKS);
    assert_int_equal(model_n_rows(w->model), 2 + TASKS);
    assert_string_equal(model_task_name(w->model, 1), "purchase");
}

static struct slate *list(const struct model_world *w)
{
    struct slate *s = model_world_slate(w, K, 0);
    s->source = SLATE_IMPRESSION;
    for (uint32_t i = 0; i < K; i++) s->items[i].tasks = i == 0 ? 3 : i == 5 ? 1 : i == 2 ? 4 : 0;
    return s;
}

static double sigmoid(double z)
{
    return 1.0 / (1.0 + exp(-z));
}

static float *tensor(const struct model_world *w, const char *name)
{
    return w->p->w + model_world_param(w, name)->offset;
}

/* Fresh heads say a half of whatever the main label says; a reversal stands by itself, and is rare. */
static void test_probabilities_are_products(void **state)
{
    (void)state;
    struct model_world w;
    struct err e;
    float z[K], rows[(2 + TASKS) * K];
    open_world(&w);
    struct slate *s = list(&w);
    tensor(&w, "bias")[SLATE_IMPRESSION] = 0.7f;
    tensor(&w, "numeric.scale")[1] = 2.0f;
    tensor(&w, "tasks.level")[2 * 1] = -1.5f;                  /* purchase: intercept … */
    tensor(&w, "tasks.weights")[1 * WORLD_NUMERIC + 1] = 0.5f; /* … and feature 1 */
    tensor(&w, "tasks.trunk")[2] = 3.0f;                       /* dislike */
    param_touch(w.p);
    assert_ok(model_score(w.run, s, 0, z, rows, &e), &e);
    for (uint32_t i = 0; i < K; i++) {
        const double p = sigmoid((double)z[i]), x = 2.0 * (double)s->numeric[i * WORLD_NUMERIC + 1];
        const float *tasks = rows + 2 * K;
        assert_true(fabs(sigmoid((double)tasks[i]) - 0.5 * p) < 1e-6);
        assert_true(fabs(sigmoid((double)tasks[K + i]) - p * sigmoid(-1.5 + 0.5 * x)) < 1e-6);
        assert_true(fabs(sigmoid((double)tasks[2 * K + i]) - sigmoid(log(0.02 / 0.98) + 3 * 0.7)) < 1e-6);
    }
    slate_free(s);
    model_world_close(&w);
}

static double loss_of(struct model_world *w, const struct slate *s)
{
    struct err e;
    double loss;
    param_touch(w->p);
    assert_ok(model_learn(w->run, s, 1, &loss, &e), &e);
    return loss;
}

static void test_every_gradient_is_a_slope(void **state)
{
    (void)state;
    static const char *const names[] = {"tasks.weights", "tasks.trunk", "numeric.weight", "bias"};
    struct model_world w;
    open_world(&w);
    struct slate *s = list(&w);
    for (size_t f = 0; f < WORLD_NUMERIC; f++) tensor(&w, "numeric.scale")[f] = 1.0f;
    for (size_t k = 0; k < 4; k++) {
        const struct param *p = model_world_param(&w, names[k]);
        for (size_t i = 0; i < p->n; i++) w.p->w[p->offset + i] = 0.4f * gradient_number(31 * k + i);
    }
    for (size_t k = 0; k < 4; k++) {
        const struct param *p = model_world_param(&w, names[k]);
        for (size_t i = 0; i < p->n; i++) {
            float *x = w.p->w + p->offset + i;
            const float was = *x, step = 0.02f;
            *x = was + step;
            const double up = loss_of(&w, s);
            *x = was - step;
            const double down = loss_of(&w, s);
            *x = was;
            model_grads_clear(w.run);
            (void)loss_of(&w, s);
            const double got = (double)model_grads(w.run)->dense[p->offset + i],
                         want = (up - down) / (2 * (double)step);
            if (!(fabs(got - want) < 2e-3 * (1 + fabs(want))))
                fail_msg("%s[%zu] is %g, slope %g", names[k], i, got, want);
            model_grads_clear(w.run);
        }
    }
    s->source = SLATE_ORGANIC; /* an order's slate teaches no task */
    (void)loss_of(&w, s);
    const struct param *p = model_world_param(&w, "tasks.weights");
    for (size_t i = 0; i < p->n; i++) assert_true(model_grads(w.run)->dense[p->offset + i] == 0);
    slate_free(s);
    model_world_close(&w);
}

/* As the learner thins a list out: of those that no positive behaviour met a quarter stays. */
static void thin(struct slate *s, struct rand *r)
{
    uint8_t keep[K];
    const float rate = 0.25f;
    for (uint32_t i = 0; i < K; i++) {
        struct slate_item *it = &s->items[i];
        it->log_kq = logf(rate);
        keep[i] = it->label > 0.5f || rand_unit(r) < (double)rate;
    }
    slate_keep(s, keep);
}

/* One in four is clicked, half of these are bought, one in ten of all is disliked, seldom what was clicked. */
static void check_rates(bool thinned)
{
    struct model_world w;
    struct optim *o;
    struct rand r;
    struct err e;
    float z[K], rows[(2 + TASKS) * K];
    double seen[TASKS] = {0}, said[TASKS] = {0};
    const int first = thinned ? 8000 : 2000; /* lists until it is looked at */
    open_world(&w);
    struct slate *s = list(&w);
    assert_ok(optim_new(&o, model_table(w.model), w.conf, &e), &e);
    rand_init(&r, (struct rand_key){.seed = 3, .purpose = RAND_INIT});
    for (int n = 0; n < 2 * first; n++) {
        if (thinned) {
            slate_free(s);
            s = list(&w);
        }
        for (uint32_t i = 0; i < K; i++) {
            const bool click = rand_unit(&r) < 0.25, bought = click && rand_unit(&r) < 0.5;
            s->items[i].label = click;
            s->items[i].tasks = (click ? 1u : 0) | (bought ? 2u : 0) | (rand_unit(&r) < (click ? 0.02 : 0.13) ? 4u : 0);
        }
        if (n >= first) {
            assert_ok(model_score(w.run, s, 0, z, rows, &e), &e);
            for (uint32_t i = 0; i < K; i++)
                for (size_t t = 0; t < TASKS; t++) {
                    seen[t] += s->items[i].tasks >> t & 1;
                    said[t] += sigmoid((double)rows[(2 + t) * K + i]);
                }
        }
        if (thinned) thin(s, &r);
        if (s->n_items == 0) continue;
        (void)loss_of(&w, s);
        assert_ok(optim_step(o, model_run_kern(w.run), w.p, model_grads(w.run), s->n_items, &e), &e);
        model_apply_stats(w.run, w.p);
        model_grads_clear(w.run);
    }
    for (size_t t = 0; t < TASKS; t++) print_message("task %zu: said %g of %g\n", t, said[t], seen[t]);
    for (size_t t = 0; t < TASKS; t++)
        if (!(fabs(said[t] / seen[t] - 1) < (thinned ? 0.02 : 0.06)))
            fail_msg("task %zu: said %g of %g", t, said[t], seen[t]);
    optim_free(o);
    slate_free(s);
    model_world_close(&w);
}

static void test_rates_are_found(void **state)
{
    (void)state;
    check_rates(false);
}

static void test_rates_are_found_among_what_is_kept(void **state)
{
    (void)state;
    check_rates(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_probabilities_are_products),
        cmocka_unit_test(test_every_gradient_is_a_slope),
        cmocka_unit_test(test_rates_are_found),
        cmocka_unit_test(test_rates_are_found_among_what_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

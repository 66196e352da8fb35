/* test_part_deep.c - the hidden layers over numeric and co-occurrence: silent at first, gradients, what linear parts can't say.
 * labels: quick
 */
#include "model/model.h"
#include "tests/support/check.h"
#include "tests/support/gradient.h"
#include "tests/support/model_world.h"
#include "trainer/optim.h"
#include <math.h>
#include <string.h>

enum { K = 6 };
static const char *const options[] = {"model.parts=numeric,deep", "model.deep_units=12", "train.clip_norm=0", NULL};

/* Both layers away from the kinks of the rectifier as far as numbers go, and a head that listens to them. */
static void fill(struct model_world *w)
{
    static const char *const names[] = {"deep.first.weight", "deep.first.bias", "deep.second.weight",
                                        "deep.second.bias", "deep.head"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct param *p = model_world_param(w, names[i]);
        for (size_t j = 0; j < p->n; j++) w->p->w[p->offset + j] = 0.5f * gradient_number(1000 * (i + 1) + j);
    }
    const struct param *scale = model_world_param(w, "numeric.scale");
    for (size_t j = 0; j < scale->n; j++) w->p->w[scale->offset + j] = 1;
    param_touch(w->p);
}

static void test_it_says_nothing_at_first(void **state)
{
    (void)state;
    struct model_world w;
    struct err e;
    float z[K], parts[2][K];
    model_world_open(&w, "cpu", "pooled", 1, options);
    const struct param *first = model_world_param(&w, "deep.first.weight");
    double sum = 0;
    for (size_t j = 0; j < first->n; j++) sum += pow((double)w.p->w[first->offset + j], 2);
    assert_true(sum / (double)first->n > 0); /* the layers listen, the head does not yet speak */
    struct slate *s = model_world_slate(&w, K, 0);
    assert_ok(model_score(w.run, s, 0, z, parts[0], &e), &e);
    for (size_t i = 0; i < K; i++) assert_float_equal(parts[1][i], 0.0f, 0.0f);
    fill(&w);
    assert_ok(model_score(w.run, s, 0, z, parts[0], &e), &e);
    for (size_t i = 0; i < K; i++) assert_true(fabsf(parts[1][i]) > 1e-4f);
    s->items[2].cooccur[1] += 2;
    const float was = parts[1][2];
    assert_ok(model_score(w.run, s, 0, z, parts[0], &e), &e);
    assert_true(fabsf(parts[1][2] - was) > 1e-4f); /* co-occurrence is read */
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

static void test_gradients_by_central_differences(void **state)
{
    (void)state;
    struct model_world w;
    struct err e;
    double loss;
    static float seen[8192];
    model_world_open(&w, "cpu", "pooled", 1, options);
    fill(&w);
    struct slate *s = model_world_slate(&w, K, 0);
    assert_ok(model_learn(w.run, s, 1, &loss, &e), &e);
    const struct param_table *t = model_table(w.model);
    assert_true(t->group_first[PARAM_STAT] < 8192);
    memcpy(seen, model_grads(w.run)->dense, t->group_first[PARAM_STAT] * sizeof *seen);
    model_grads_clear(w.run);
    size_t checked = 0;
    for (size_t i = 0; i < t->n; i++) {
        const struct param *p = &t->params[i];
        if (strncmp(p->name, "deep.", 5) != 0) continue;
        for (size_t j = 0; j < p->n; j++, checked++) {
            float *x = w.p->w + p->offset + j;
            const float was = *x, h = 2e-3f;
            double at[2];
            for (int k = 0; k < 2; k++) {
                *x = k == 0 ? was + h : was - h;
                param_touch(w.p);
                at[k] = loss_of(&w, s);
            }
            *x = was;
            param_touch(w.p);
            const double want = (at[0] - at[1]) / (2.0 * (double)h), found = (double)seen[p->offset + j];
            if (fabs(want - found) > 2e-3 + 2e-2 * fabs(want))
                fail_msg("%s[%zu]: %g, by differences %g", p->name, j, found, want);
        }
    }
    assert_true(checked > 100);
    slate_free(s);
    model_world_close(&w);
}

/* Taken are the candidates of which just one of two features is high: no linear part can rank them, this one learns to. */
static double gap_after(const char *parts)
{
    struct model_world w;
    struct optim *o;
    struct err e;
    double loss;
    float z[4], each[2][4];
    model_world_open(&w, "cpu", "pooled", 1,
                     (const char *const[]){parts, "model.deep_units=32", "train.clip_norm=0", NULL});
    assert_ok(optim_new(&o, model_table(w.model), w.conf, &e), &e);
    struct slate *s = model_world_slate(&w, 4, 0);
    const size_t F = s->n_numeric;
    memset(s->numeric, 0, 4 * F * sizeof *s->numeric);
    for (size_t i = 0; i < 4; i++) {
        s->numeric[i * F] = (float)(i & 1);
        s->numeric[i * F + 1] = (float)(i >> 1);
        s->items[i].label = i == 1 || i == 2;
        s->items[i].weight = 1;
    }
    for (int i = 0; i < 400; i++) {
        assert_ok(model_learn(w.run, s, 1, &loss, &e), &e);
        assert_ok(optim_step(o, model_run_kern(w.run), w.p, model_grads(w.run), 4, &e), &e);
        model_apply_stats(w.run, w.p);
        model_grads_clear(w.run);
    }
    assert_ok(model_score(w.run, s, 0, z, each[0], &e), &e);
    optim_free(o);
    slate_free(s);
    model_world_close(&w);
    return fmin((double)z[1], (double)z[2]) - fmax((double)z[0], (double)z[3]);
}

static void test_it_learns_what_no_sum_can_say(void **state)
{
    (void)state;
    assert_true(gap_after("model.parts=numeric") <= 0.01);
    assert_true(gap_after("model.parts=numeric,deep") > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_says_nothing_at_first),
        cmocka_unit_test(test_gradients_by_central_differences),
        cmocka_unit_test(test_it_learns_what_no_sum_can_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_model_steps.c - small steps of the quick parts within a batch (train.step_slates): the gradients of one step a batch where
 * no step is made; where they are made, what stepping by hand gives; what is left out teaches nobody. */
#include "base/mem.h"
#include "tests/support/check.h"
#include "tests/support/model_world.h"
#include "trainer/optim.h"
#include <math.h>
#include <string.h>

struct steps {
    struct model_world w;
    struct optim *optim;       /* NULL: gradients are only gathered */
    size_t size, calls, leave; /* leave: this call's slates are not taken; SIZE_MAX: all are */
    double losses[WORLD_SLATES];
    float *quick; /* (dense) sum of the quick tensors' gradients */
    size_t dense;
};

static bool is_slow(const struct steps *s, size_t at)
{
    const struct param_table *t = model_table(s->w.model);
    for (size_t i = 0; i < t->n; i++)
        if (at >= t->params[i].offset && at < t->params[i].offset + t->params[i].n) return t->params[i].slow;
    return false;
}

static void steps_open(struct steps *s, const char *view, int layers, size_t size, const char *const *options)
{
    struct err e;
    *s = (struct steps){.size = size, .leave = SIZE_MAX};
    model_world_open(&s->w, "cpu", view, layers, options);
    model_world_shake(&s->w);
    s->dense = model_table(s->w.model)->group_first[PARAM_STAT];
    s->quick = mem_calloc(s->dense, sizeof *s->quick);
    assert_ok(model_bind(s->w.run, s->w.p, &e), &e);
}

static void steps_close(struct steps *s)
{
    optim_free(s->optim);
    mem_free(s->quick);
    model_world_close(&s->w);
}

static void apply(struct steps *s, uint64_t examples)
{
    struct err e;
    assert_ok(optim_step(s->optim, model_run_kern(s->w.run), s->w.p, model_grads(s->w.run), examples, &e), &e);
    model_apply_stats(s->w.run, s->w.p);
    assert_ok(model_stepped(s->w.run, s->w.p, &e), &e);
}

static uint64_t examples_of(const struct steps *s, size_t at, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = at; i < at + n; i++)
        if (!isnan(s->losses[i])) sum += s->w.slates[i]->n_items;
    return sum;
}

static enum status step(void *user, size_t at, size_t n, bool *taken, struct err *e)
{
    struct steps *s = user;
    (void)e;
    const struct model_grads *g = model_grads(s->w.run);
    assert_int_equal(g->pace, MODEL_QUICK);
    assert_true(n <= s->size);
    for (size_t i = 0; i < n; i++) assert_true(isfinite(s->losses[at + i]));
    *taken = s->calls++ != s->leave;
    for (size_t i = 0; i < s->dense && *taken; i++)
        if (!is_slow(s, i)) s->quick[i] += g->dense[i];
    if (*taken && s->optim != NULL) apply(s, examples_of(s, at, n));
    model_grads_clear(s->w.run);
    return STATUS_OK;
}

static void learn(struct steps *s)
{
    struct err e;
    const struct model_steps how = {s->size, step, s};
    for (size_t i = 0; i < WORLD_SLATES; i++) s->losses[i] = -1;
    assert_ok(
        model_learn_steps(s->w.run, (const struct slate *const *)s->w.slates, WORLD_SLATES, 1, s->losses, &how, &e),
        &e);
    assert_int_equal(model_grads(s->w.run)->pace, MODEL_SLOW);
}

static void near(float have, float want, size_t at)
{
    if (!(fabsf(have - want) <= 2e-5f + 1e-4f * fabsf(want)))
        fail_msg("number %zu is %g, should be %g", at, (double)have, (double)want);
}

/* No step changes anything: the gradients of a batch that is learnt as one, the slow ones at the end and the others step by step. */
static void check_gradients(const char *view, int layers, size_t size)
{
    struct steps s;
    struct err e;
    double loss[WORLD_SLATES];
    steps_open(&s, view, layers, size, NULL);
    assert_ok(model_learn_many(s.w.run, (const struct slate *const *)s.w.slates, WORLD_SLATES, 1, loss, &e), &e);
    float *want = mem_calloc(s.dense, sizeof *want);
    memcpy(want, model_grads(s.w.run)->dense, s.dense * sizeof *want);
    model_grads_clear(s.w.run);
    model_drop_stats(s.w.run);
    learn(&s);
    assert_int_equal(s.calls, (WORLD_SLATES + size - 1) / size);
    const float *slow = model_grads(s.w.run)->dense;
    bool any = false;
    for (size_t i = 0; i < s.dense; i++) {
        near(is_slow(&s, i) ? slow[i] : s.quick[i], want[i], i);
        any = any || (is_slow(&s, i) && slow[i] != 0.0f);
    }
    assert_true(any);
    for (size_t i = 0; i < WORLD_SLATES; i++) assert_true(fabs(s.losses[i] - loss[i]) <= 1e-5 * (1 + fabs(loss[i])));
    model_grads_clear(s.w.run);
    assert_int_equal(model_grads(s.w.run)->pace, MODEL_WHOLE);
    const float *cleared = model_grads(s.w.run)->dense;
    for (size_t i = 0; i < s.dense; i++) assert_true(cleared[i] == 0.0f);
    mem_free(want);
    steps_close(&s);
}

static void test_without_a_step_gradients_are_those_of_a_batch(void **state)
{
    (void)state;
    check_gradients("pooled", 1, 1);
    check_gradients("pooled", 2, 3);
    check_gradients("tokens", 2, 4);
    check_gradients("concat", 1, 16);
}

/* The same by hand: slate after slate, a step of the quick tensors after each few, and the slow ones' gradients gathered meanwhile. */
static void by_hand(struct steps *s, float *slow)
{
    struct err e;
    for (size_t at = 0; at < WORLD_SLATES; at += s->size) {
        for (size_t i = at; i < at + s->size && i < WORLD_SLATES; i++)
            assert_ok(model_learn(s->w.run, s->w.slates[i], 1, &s->losses[i], &e), &e);
        struct model_grads *g = model_grads(s->w.run);
        for (size_t i = 0; i < s->dense; i++)
            if (is_slow(s, i)) slow[i] += g->dense[i];
        const size_t n = at + s->size < WORLD_SLATES ? s->size : WORLD_SLATES - at;
        g->pace = MODEL_QUICK;
        apply(s, examples_of(s, at, n));
        g->pace = MODEL_WHOLE;
        model_grads_clear(s->w.run);
    }
}

static void test_steps_are_as_by_hand(void **state)
{
    (void)state;
    /* By hand, what text learns of users would step with the quick ones. */
    static const char *const options[] = {"train.warmup_steps=4", "train.user_rate=0", NULL};
    struct steps a, b;
    struct err e;
    steps_open(&a, "pooled", 2, 2, options);
    steps_open(&b, "pooled", 2, 2, options);
    assert_ok(optim_new(&a.optim, model_table(a.w.model), a.w.conf, &e), &e);
    assert_ok(optim_new(&b.optim, model_table(b.w.model), b.w.conf, &e), &e);
    float *slow = mem_calloc(b.dense, sizeof *slow);
    learn(&a);
    by_hand(&b, slow);
    const float *have = model_grads(a.w.run)->dense;
    for (size_t i = 0; i < a.dense; i++)
        if (is_slow(&a, i)) near(have[i], slow[i], i);
    for (size_t i = 0; i < a.w.p->n; i++) near(a.w.p->w[i], b.w.p->w[i], i);
    for (size_t i = 0; i < WORLD_SLATES; i++) assert_true(fabs(a.losses[i] - b.losses[i]) <= 1e-4 * (1 + b.losses[i]));
    /* The slow tensors' own step: the first of their clock, whatever the others have made; nothing else moves. */
    const size_t n = a.w.p->n;
    float *before = mem_calloc(n, sizeof *before);
    memcpy(before, a.w.p->w, n * sizeof *before);
    const struct param *q = model_world_param(&a.w, "text.head");
    apply(&a, examples_of(&a, 0, WORLD_SLATES));
    assert_int_equal(optim_steps(a.optim), WORLD_SLATES / 2);
    bool moved = false;
    for (size_t i = 0; i < n; i++) {
        if (!is_slow(&a, i) && a.w.p->w[i] != before[i]) fail_msg("number %zu moved with the slow ones", i);
        if (i < q->offset || i >= q->offset + q->n) continue;
        const float way = fabsf(a.w.p->w[i] - before[i]), most = q->rate / 4;
        assert_true(way <=
                    most * 1.001f + 1e-9f); /* Adam's first step is the rate, here the first quarter of its warm-up */
        moved = moved || way > most * 0.9f;
    }
    assert_true(moved);
    mem_free(before);
    mem_free(slow);
    steps_close(&a);
    steps_close(&b);
}

/* Slates that the caller does not take teach the slow tensors nothing: as if they had not been there. */
static void test_what_is_not_taken_teaches_nobody(void **state)
{
    (void)state;
    struct steps a, b;
    steps_open(&a, "pooled", 1, 2, NULL);
    steps_open(&b, "pooled", 1, 2, NULL);
    a.leave = 1;
    for (size_t i = 2; i < 4; i++)
        for (uint32_t k = 0; k < b.w.slates[i]->n_items; k++) b.w.slates[i]->items[k].weight = 0;
    learn(&a);
    learn(&b);
    const float *x = model_grads(a.w.run)->dense, *y = model_grads(b.w.run)->dense;
    for (size_t i = 0; i < a.dense; i++)
        if (is_slow(&a, i)) near(x[i], y[i], i);
    steps_close(&a);
    steps_close(&b);
}

/* One whose loss is not finite is left out, the other of its step is learnt alone. */
static void test_a_bad_one_is_left_out(void **state)
{
    (void)state;
    struct steps a, b;
    steps_open(&a, "pooled", 1, 2, NULL);
    steps_open(&b, "pooled", 1, 2, NULL);
    a.w.slates[2]->items[0].weight = 3e38f; /* the loss overflows */
    a.w.slates[2]->items[0].label = -3e38f;
    for (uint32_t k = 0; k < b.w.slates[2]->n_items; k++) b.w.slates[2]->items[k].weight = 0;
    learn(&a);
    learn(&b);
    assert_int_equal(a.calls, WORLD_SLATES / 2);
    for (size_t i = 0; i < WORLD_SLATES; i++) assert_int_equal(isnan(a.losses[i]), i == 2);
    const float *x = model_grads(a.w.run)->dense, *y = model_grads(b.w.run)->dense;
    for (size_t i = 0; i < a.dense; i++) {
        if (is_slow(&a, i)) near(x[i], y[i], i);
        assert_true(isfinite(x[i]));
    }
    steps_close(&a);
    steps_close(&b);
}

/* Parameters of the slow part that give no number: nothing is learnt of any slate, and nobody asks for a step. */
static void test_a_slow_part_without_numbers(void **state)
{
    (void)state;
    struct steps s;
    steps_open(&s, "pooled", 1, 4, NULL);
    const struct param *q = model_world_param(&s.w, "text.head");
    s.w.p->w[q->offset] = INFINITY;
    param_touch(s.w.p);
    learn(&s);
    assert_int_equal(s.calls, 0);
    for (size_t i = 0; i < WORLD_SLATES; i++) assert_true(isnan(s.losses[i]));
    const float *g = model_grads(s.w.run)->dense;
    for (size_t i = 0; i < s.dense; i++) assert_true(g[i] == 0.0f);
    steps_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_a_step_gradients_are_those_of_a_batch),
        cmocka_unit_test(test_steps_are_as_by_hand),
        cmocka_unit_test(test_what_is_not_taken_teaches_nobody),
        cmocka_unit_test(test_a_bad_one_is_left_out),
        cmocka_unit_test(test_a_slow_part_without_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_model_owed.c - gradients that are left as products until the optimiser takes them: the same bits as multiplied out. */
#include "base/mem.h"
#include "model/op.h"
#include "tests/support/check.h"
#include "tests/support/model_world.h"
#include "trainer/optim.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

struct side {
    struct model_world w;
    struct optim *o;
};

static void open_side(struct side *s, const char *clip)
{
    struct err e;
    char limit[64];
    const char *const options[] = {"kernels.train_precision=bf16", limit, NULL};
    (void)snprintf(limit, sizeof limit, "train.clip_norm=%s", clip);
    model_world_open(&s->w, "cpu", "pooled", 2, options);
    model_world_shake(&s->w);
    assert_ok(optim_new(&s->o, model_table(s->w.model), s->w.conf, &e), &e);
    model_grads_clear(s->w.run); /* what a gradient holds counts for nothing from then on */
}

static void close_side(struct side *s)
{
    optim_free(s->o);
    model_world_close(&s->w);
}

static void learn(struct side *s)
{
    struct err e;
    double loss[WORLD_SLATES];
    assert_ok(model_learn_many(s->w.run, (const struct slate *const *)s->w.slates, WORLD_SLATES, 1, loss, &e), &e);
}

static void step(struct side *s, const struct model_grads *g)
{
    struct err e;
    assert_ok(optim_step(s->o, model_run_kern(s->w.run), s->w.p, g, 8, &e), &e);
    assert_ok(model_stepped(s->w.run, s->w.p, &e), &e);
    model_grads_clear(s->w.run);
}

static size_t owed(const struct model_grads *g)
{
    size_t n = 0;
    for (size_t i = 0; i < g->n_matrices; i++) n += g->matrices[i]->owed->n;
    return n;
}

static bool leaves_products(const struct model_world *w)
{
    return model_run_kern(w->run)->ops->adamw_product != NULL;
}

/* short_enough: the products are never multiplied out before the step. */
static void compare(const char *clip, bool short_enough)
{
    struct side a, b;
    open_side(&a, clip);
    open_side(&b, clip);
    const size_t bytes = model_table(a.w.model)->total * sizeof(float);
    for (int i = 0; i < 4; i++) {
        learn(&a);
        learn(&b);
        const struct model_grads *g = model_grads_owed(b.w.run);
        assert_true((owed(g) > 0) == leaves_products(&b.w));
        step(&a, model_grads(a.w.run));
        struct err e;
        assert_ok(optim_step(b.o, model_run_kern(b.w.run), b.w.p, g, 8, &e), &e);
        assert_true((owed(g) > 0) == (short_enough && leaves_products(&b.w)));
        assert_ok(model_stepped(b.w.run, b.w.p, &e), &e);
        model_grads_clear(b.w.run);
        assert_memory_equal(a.w.p->w, b.w.p->w, bytes);
    }
    assert_int_equal(optim_steps(b.o), 4);
    close_side(&a);
    close_side(&b);
}

static void test_steps_have_the_same_bits(void **state)
{
    (void)state;
    compare("0", true);
    compare("1e6", true);
    compare("0.001", false);
}

/* What is learnt or scored before the step takes the tape that the products lie on. */
static void test_products_outlive_the_tape(void **state)
{
    (void)state;
    struct side a, b;
    struct err e;
    float logits[8];
    open_side(&a, "1");
    open_side(&b, "1");
    for (int i = 0; i < 2; i++) {
        learn(&a);
        (void)model_grads(a.w.run);
        learn(&b);
    }
    for (size_t i = 0; i < WORLD_SLATES; i++) assert_ok(model_score(b.w.run, b.w.slates[i], 0, logits, NULL, &e), &e);
    const size_t n = model_table(a.w.model)->group_first[PARAM_STAT];
    assert_memory_equal(model_grads(a.w.run)->dense, model_grads(b.w.run)->dense, n * sizeof(float));
    step(&a, model_grads(a.w.run));
    step(&b, model_grads_owed(b.w.run));
    assert_memory_equal(a.w.p->w, b.w.p->w, model_table(a.w.model)->total * sizeof(float));
    close_side(&a);
    close_side(&b);
}

/* After a clear nothing is owed, and matrices that nothing reaches get a gradient of 0: moments go on. */
static void test_what_was_cleared_is_not_owed(void **state)
{
    (void)state;
    struct side a, b;
    open_side(&a, "1");
    open_side(&b, "1");
    for (int i = 0; i < 2; i++) {
        learn(&a);
        learn(&b);
        step(&a, model_grads(a.w.run));
        step(&b, model_grads_owed(b.w.run));
        learn(&b);
        model_grads_clear(b.w.run);
        assert_int_equal(owed(model_grads_owed(b.w.run)), 0);
        for (struct side *s = &a; s != NULL; s = s == &a ? &b : NULL) {
            struct model_grads *g = s == &a ? model_grads(s->w.run) : model_grads_owed(s->w.run);
            memset(g->idle, 0, model_table(s->w.model)->n * sizeof *g->idle);
            step(s, g);
        }
        assert_memory_equal(a.w.p->w, b.w.p->w, model_table(a.w.model)->total * sizeof(float));
    }
    close_side(&a);
    close_side(&b);
}

static void test_products_that_are_not_finite_are_refused(void **state)
{
    (void)state;
    struct side s;
    struct err e;
    const float bad[] = {NAN, INFINITY, 1e38f}; /* the last: finite, and its products are not */
    const char *const clip[] = {"1", "0", "0"};
    for (int i = 0; i < 3; i++) {
        open_side(&s, clip[i]);
        if (!leaves_products(&s.w)) skip();
        const size_t bytes = model_table(s.w.model)->total * sizeof(float);
        float *before = mem_calloc(1, bytes);
        memcpy(before, s.w.p->w, bytes);
        learn(&s);
        const struct model_grads *g = model_grads_owed(s.w.run);
        struct op_owed *o = g->matrices[0]->owed;
        assert_true(o->n > 0);
        ((float *)(uintptr_t)o->of[0].dy)[0] = bad[i];
        ((float *)(uintptr_t)o->of[0].x)[0] = 100.0f;
        assert_ok(optim_step(s.o, model_run_kern(s.w.run), s.w.p, g, 8, &e), &e);
        assert_int_equal(optim_refused(s.o), 1);
        assert_memory_equal(before, s.w.p->w, bytes);
        mem_free(before);
        close_side(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps_have_the_same_bits),
        cmocka_unit_test(test_products_outlive_the_tape),
        cmocka_unit_test(test_what_was_cleared_is_not_owed),
        cmocka_unit_test(test_products_that_are_not_finite_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

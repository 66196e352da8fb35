/* test_model_copies.c - what is learnt of a slate before its end and at its end (join.loss): which parts, and from which sum.
 * labels: quick */
#include "base/mem.h"
#include "tests/support/check.h"
#include "tests/support/model_world.h"
#include "trainer/optim.h"
#include <math.h>
#include <string.h>

static const char *const all_parts[] = {"model.parts=text,match,numeric,cooccur,hashed,deep", "train.softmax_share=0",
                                        NULL};
static struct model_world w;

static int open_world(void **state)
{
    (void)state;
    model_world_open(&w, "cpu", "pooled", 1, all_parts);
    model_world_shake(&w);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    model_world_close(&w);
    return 0;
}

static bool reads_counts(const struct param *p)
{
    return strncmp(p->name, "numeric.", 8) == 0 || strncmp(p->name, "cooccur.", 8) == 0 ||
           strncmp(p->name, "deep.", 5) == 0;
}

/* Largest gradient of the dense tensors of the parts that read counts, or of the others. */
static float largest(bool counts)
{
    const struct model_grads *g = model_grads(w.run);
    const struct param_table *t = model_table(w.model);
    float most = 0;
    for (size_t i = 0; i < t->n; i++) {
        const struct param *p = &t->params[i];
        if (p->group > PARAM_ADAGRAD || reads_counts(p) != counts) continue;
        for (size_t k = 0; k < p->n; k++) most = fmaxf(most, fabsf(g->dense[p->offset + k]));
    }
    return most;
}

static void learn(struct slate *s, enum slate_copy copy, float apart)
{
    struct err e;
    double loss;
    model_grads_clear(w.run);
    s->copy = copy;
    for (uint32_t i = 0; i < s->n_items; i++) s->items[i].apart = apart;
    assert_ok(model_learn(w.run, s, 1, &loss, &e), &e);
}

static void test_parts_that_read_counts_learn_the_end(void **state)
{
    (void)state;
    struct slate *s = w.slates[0];
    learn(s, SLATE_WHOLE, 0);
    assert_true(largest(true) > 1e-3f && largest(false) > 1e-3f);
    learn(s, SLATE_EARLY, 0);
    assert_true(largest(true) == 0.0f && largest(false) > 1e-3f);
    assert_true(model_grads(w.run)->sparse->n > 0);
    learn(s, SLATE_ENDED, 0);
    assert_true(largest(true) > 1e-3f && largest(false) == 0.0f);
    assert_int_equal(model_grads(w.run)->sparse->n, 0);
}

/* What the others said is part of the sum: where they were sure and right nothing is left to learn. */
static void test_the_end_adds_to_what_was_said(void **state)
{
    (void)state;
    struct slate *s = w.slates[0];
    for (uint32_t i = 0; i < s->n_items; i++) s->items[i].label = 1;
    learn(s, SLATE_ENDED, 30);
    assert_true(largest(true) < 1e-9f);
    learn(s, SLATE_ENDED, -30);
    assert_true(largest(true) > 0.1f);
}

/* A copy that is learnt again is held against its label from the logit of its showing where that is lower by now: sparse weights
 * know its first copy by heart. */
static void test_again_from_the_logit_of_the_showing(void **state)
{
    (void)state;
    struct slate *s = w.slates[0];
    for (uint32_t i = 0; i < s->n_items; i++) s->items[i].label = 1;
    learn(s, SLATE_EARLY, 0);
    const float now = largest(false);
    learn(s, SLATE_AGAIN, -30);
    assert_true(largest(false) == now);
    learn(s, SLATE_AGAIN, 30);
    assert_true(largest(false) < 1e-9f && now > 1e-3f);
}

/* A tensor of which nothing was learnt is not moved by what its moments remember. */
static void test_a_step_leaves_alone_what_learnt_nothing(void **state)
{
    (void)state;
    struct err e;
    struct optim *o;
    assert_ok(optim_new(&o, model_table(w.model), w.conf, &e), &e);
    for (int i = 0; i < 2; i++) {
        learn(w.slates[1], i == 0 ? SLATE_WHOLE : SLATE_EARLY, 0);
        const struct param_table *t = model_table(w.model);
        float *before = mem_calloc(t->total, sizeof *before);
        memcpy(before, w.p->w, t->total * sizeof *before);
        assert_ok(optim_step(o, model_run_kern(w.run), w.p, model_grads(w.run), w.slates[1]->n_items, &e), &e);
        assert_ok(model_stepped(w.run, w.p, &e), &e);
        for (size_t k = 0; k < t->n; k++) {
            const struct param *p = &t->params[k];
            const bool same = memcmp(before + p->offset, w.p->w + p->offset, p->n * sizeof *before) == 0;
            if (p->group == PARAM_ADAMW && reads_counts(p)) assert_int_equal(same, i == 1);
        }
        mem_free(before);
    }
    optim_free(o);
}

static void test_copies_of_both_kinds_in_one_batch(void **state)
{
    (void)state;
    struct err e;
    double loss, losses[SLATE_COPIES];
    const size_t dense = model_table(w.model)->group_first[PARAM_STAT];
    float *sum = mem_calloc(dense, sizeof *sum);
    for (int i = 0; i < SLATE_COPIES; i++) {
        w.slates[i]->copy = (enum slate_copy)i;
        for (uint32_t k = 0; k < w.slates[i]->n_items; k++) w.slates[i]->items[k].apart = 0.5f;
    }
    model_grads_clear(w.run);
    for (int i = 0; i < SLATE_COPIES; i++) assert_ok(model_learn(w.run, w.slates[i], 1, &loss, &e), &e);
    memcpy(sum, model_grads(w.run)->dense, dense * sizeof *sum);
    model_grads_clear(w.run);
    assert_ok(model_learn_many(w.run, (const struct slate *const *)w.slates, SLATE_COPIES, 1, losses, &e), &e);
    const float *g = model_grads(w.run)->dense;
    for (size_t i = 0; i < dense; i++) assert_true(fabsf(g[i] - sum[i]) <= 2e-5f + 1e-4f * fabsf(sum[i]));
    mem_free(sum);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_parts_that_read_counts_learn_the_end, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_the_end_adds_to_what_was_said, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_again_from_the_logit_of_the_showing, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_a_step_leaves_alone_what_learnt_nothing, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_copies_of_both_kinds_in_one_batch, open_world, close_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_model_run.c - scoring and learning: one slate alone or in chunks, joint_top, what is refused, resume,
 * allocations. */
#include "base/mem.h"
#include "model/model.h"
#include "tests/support/check.h"
#include "tests/support/gradient.h"
#include "tests/support/model_world.h"
#include "trainer/optim.h"
#include <math.h>
#include <string.h>

#define EVERY_PART "model.parts=text,match,numeric,hashed,idvec,itembias,deep"

static void near(const float *a, const float *b, size_t n, double tolerance)
{
    for (size_t i = 0; i < n; i++) {
        if (!(fabs((double)a[i] - (double)b[i]) <= tolerance * (1.0 + fabs((double)b[i]))))
            fail_msg("[%zu]: %.7g and %.7g", i, (double)a[i], (double)b[i]);
    }
}

static void copy_candidate(struct slate *to, uint32_t at, const struct slate *from, uint32_t i)
{
    to->items[at] = from->items[i];
    memcpy(to->numeric + at * WORLD_NUMERIC, from->numeric + i * WORLD_NUMERIC, WORLD_NUMERIC * sizeof(float));
    to->hashed_idx[at] = from->hashed_idx[i];
    to->hashed_val[at] = from->hashed_val[i];
}

/* A candidate's logit does not depend on the others beside it, nor on how many chunks the slate takes. */
static void check_candidates_are_separate(const char *view, uint32_t n)
{
    struct model_world w;
    struct err e;
    float *all = mem_calloc(n, sizeof *all), some[3];
    model_world_open(&w, "cpu", view, 2, NULL);
    model_world_shake(&w);
    struct slate *big = model_world_slate(&w, n, 5), *small = model_world_slate(&w, 3, 5);
    const uint32_t which[3] = {0, n / 2, n - 1};
    for (uint32_t i = 0; i < 3; i++) copy_candidate(small, i, big, which[i]);
    assert_ok(model_score(w.run, big, 0, all, NULL, &e), &e);
    assert_ok(model_score(w.run, small, 0, some, NULL, &e), &e);
    const float want[3] = {all[which[0]], all[which[1]], all[which[2]]};
    near(some, want, 3, 1e-5);
    slate_free(big);
    slate_free(small);
    mem_free(all);
    model_world_close(&w);
}

static void test_candidates_are_separate(void **state)
{
    (void)state;
    check_candidates_are_separate("pooled", 1500);
    check_candidates_are_separate("tokens", 300);
    check_candidates_are_separate("concat", 90);
}

/* Learning from a slate of many chunks is the sum of learning from its halves, each in one go. */
static void check_chunks_add_up(const char *view, uint32_t n)
{
    struct model_world w;
    struct err e;
    double whole, first, second;
    model_world_open(&w, "cpu", view, 2, NULL);
    model_world_shake(&w);
    struct slate *big = model_world_slate(&w, n, 5), *half = model_world_slate(&w, n / 2, 5);
    const size_t dense = model_table(w.model)->group_first[PARAM_STAT];
    float *want = mem_calloc(dense, sizeof *want);
    assert_ok(model_learn(w.run, big, 1, &whole, &e), &e);
    memcpy(want, model_grads(w.run)->dense, dense * sizeof *want);
    model_grads_clear(w.run);
    assert_ok(model_learn(w.run, half, 1, &first, &e), &e);
    for (uint32_t i = 0; i < n / 2; i++) copy_candidate(half, i, big, n / 2 + i);
    assert_ok(model_learn(w.run, half, 1, &second, &e), &e);
    assert_true(fabs(first + second - whole) < 1e-4 * whole);
    for (size_t i = 0; i < dense; i++) want[i] /= (float)n; /* sums over many examples round; their means must agree */
    for (size_t i = 0; i < dense; i++) model_grads(w.run)->dense[i] /= (float)n;
    near(model_grads(w.run)->dense, want, dense, 1e-5);
    slate_free(big);
    slate_free(half);
    mem_free(want);
    model_world_close(&w);
}

static void test_chunks_add_up(void **state)
{
    (void)state;
    check_chunks_add_up("pooled", 6000);
    check_chunks_add_up("tokens", 1000);
    check_chunks_add_up("concat", 200);
}

static float *tensor(struct model_world *w, const char *name, size_t *n)
{
    const struct param *p = model_world_param(w, name);
    *n = p != NULL ? p->n : 0;
    param_touch(w->p);
    return p != NULL ? w->p->w + p->offset : NULL;
}

enum { JOINT_N = 40, JOINT_TOP = 7, JOINT_ROWS = 6 };

/* Candidates of many ages, which recalibration moves apart. */
static struct slate *joint_slate(struct model_world *w)
{
    struct slate *s = model_world_slate(w, JOINT_N, 4);
    size_t n;
    float *recal = tensor(w, "recalibration", &n);
    for (size_t i = 0; i < n; i++) recal[i] = gradient_number(31 * i);
    for (uint32_t i = 0; i < JOINT_N; i++) s->items[i].age_days = (float)(i * 11 % 120);
    return s;
}

/* keys (K): what would be ranked by without the text part, which says nothing as long as its head and its users' rows are 0. */
static void keys_without_text(struct model_world *w, const struct slate *s, float *keys, float *logits)
{
    struct err e;
    float parts[JOINT_ROWS * JOINT_N];
    static const char *const says[] = {"text.head", "text.user_rows"};
    size_t n[2];
    float *of[2], *held[2];
    for (size_t i = 0; i < 2; i++) {
        of[i] = tensor(w, says[i], &n[i]);
        held[i] = mem_calloc(n[i], sizeof *held[i]);
        memcpy(held[i], of[i], n[i] * sizeof *held[i]);
        memset(of[i], 0, n[i] * sizeof *held[i]);
    }
    assert_ok(model_score(w->run, s, 0, logits, parts, &e), &e);
    for (size_t i = 0; i < JOINT_N; i++) keys[i] = model_rank_key(w->model, logits, parts, JOINT_N, i);
    for (size_t i = 0; i < 2; i++) {
        memcpy(of[i], held[i], n[i] * sizeof *held[i]);
        mem_free(held[i]);
    }
    param_touch(w->p);
}

/* The best by the keys of the cheap parts have the logits that they have without stages; the others the mean of what text said. */
static void check_joint_top(const char *const *options)
{
    struct model_world w;
    struct err e;
    float all[JOINT_N], parts[JOINT_ROWS * JOINT_N], joint[JOINT_N], joint_parts[JOINT_ROWS * JOINT_N];
    float keys[JOINT_N], cheap[JOINT_N], mean = 0;
    bool seen[JOINT_N];
    model_world_open(&w, "cpu", "pooled", 1, options);
    model_world_shake(&w);
    struct slate *s = joint_slate(&w);
    keys_without_text(&w, s, keys, cheap);
    assert_ok(model_score(w.run, s, 0, all, parts, &e), &e);
    assert_ok(model_score(w.run, s, JOINT_TOP, joint, joint_parts, &e), &e);
    for (size_t i = 0; i < JOINT_N; i++) {
        size_t better = 0;
        for (size_t j = 0; j < JOINT_N; j++) better += keys[j] > keys[i] || (keys[j] == keys[i] && j < i);
        seen[i] = better < JOINT_TOP;
        mean += seen[i] ? parts[i] / JOINT_TOP : 0.0f;
    }
    for (size_t i = 0; i < JOINT_N; i++) {
        const float text = seen[i] ? parts[i] : 0.0f, logit = seen[i] ? all[i] : cheap[i] + mean;
        near(&joint_parts[i], &text, 1, 1e-5);
        near(&joint[i], &logit, 1, 1e-5);
    }
    near(joint_parts + JOINT_N, parts + JOINT_N, 3 * JOINT_N, 0);
    assert_ok(model_score(w.run, s, JOINT_N, joint, joint_parts, &e), &e); /* as many as there are: all */
    near(joint, all, JOINT_N, 0);
    slate_free(s);
    model_world_close(&w);
}

static void test_joint_top_gives_text_only_to_the_best(void **state)
{
    (void)state;
    check_joint_top((const char *const[]){"train.recalibration=false", NULL});
    check_joint_top((const char *const[]){"train.recalibration=true", NULL});
    check_joint_top((const char *const[]){"train.recalibration=true", "train.tasks=click,purchase",
                                          "rank.utility=click=-1,purchase=9", NULL});
}

static void test_logit_is_the_sum_of_bias_and_parts(void **state)
{
    (void)state;
    struct model_world w;
    struct err e;
    float logits[8], parts[32];
    model_world_open(&w, "cpu", "pooled", 1, NULL);
    model_world_shake(&w);
    const struct slate *s = w.slates[2];
    const float bias = w.p->w[model_world_param(&w, "bias")->offset + 1]; /* slate 2 is organic */
    assert_ok(model_score(w.run, s, 0, logits, parts, &e), &e);
    for (size_t i = 0; i < s->n_items; i++) {
        const float sum =
            bias + parts[i] + parts[s->n_items + i] + parts[2 * s->n_items + i] + parts[3 * s->n_items + i];
        assert_float_equal(logits[i], sum, 0.0f);
    }
    model_world_close(&w);
}

/* A loss that is not finite adds nothing: neither gradients, nor rows, nor statistics. */
static void test_a_loss_that_is_not_finite_adds_nothing(void **state)
{
    (void)state;
    struct model_world w;
    struct err e;
    struct buf before = {0}, after = {0};
    double loss;
    model_world_open(&w, "cpu", "pooled", 1, NULL);
    model_run_encode(&before, w.run);
    w.p->w[model_world_param(&w, "text.head")->offset] = INFINITY;
    param_touch(w.p);
    assert_int_equal(model_learn(w.run, w.slates[0], 1, &loss, &e), STATUS_CORRUPT);
    const struct model_grads *g = model_grads(w.run);
    for (size_t i = 0; i < model_table(w.model)->group_first[PARAM_STAT]; i++)
        assert_float_equal(g->dense[i], 0.0f, 0.0f);
    assert_int_equal(g->sparse->n, 0);
    model_run_encode(&after, w.run);
    assert_int_equal(before.n, after.n);
    assert_memory_equal(before.p, after.p, before.n);
    buf_fini(&before);
    buf_fini(&after);
    model_world_close(&w);
}

static void test_refuses_slates_that_do_not_fit(void **state)
{
    (void)state;
    struct model_world w;
    struct model_run *scorer;
    struct err e;
    float logits[8];
    double loss;
    model_world_open(&w, "cpu", "pooled", 1, NULL);
    struct slate *s = model_world_slate(&w, 3, 2);
    s->items[1].label = NAN;
    assert_int_equal(model_learn(w.run, s, 1, &loss, &e), STATUS_INVALID);
    assert_ok(model_score(w.run, s, 0, logits, NULL, &e), &e); /* open slates are scored */
    s->n_numeric = 3;
    assert_int_equal(model_score(w.run, s, 0, logits, NULL, &e), STATUS_INVALID);
    s->n_numeric = 4;
    s->events[0].type = EVENT_TYPES_MAX;
    assert_int_equal(model_score(w.run, s, 0, logits, NULL, &e), STATUS_INVALID);
    assert_ok(model_run_new(&scorer, w.model, w.states, false, &e), &e);
    assert_int_equal(model_score(scorer, w.slates[0], 0, logits, NULL, &e), STATUS_INVALID); /* nothing bound */
    assert_ok(model_bind(scorer, w.p, &e), &e);
    assert_ok(model_score(scorer, w.slates[0], 0, logits, NULL, &e), &e);
    assert_int_equal(model_learn(scorer, w.slates[0], 1, &loss, &e), STATUS_INVALID);
    model_run_free(scorer);
    slate_free(s);
    model_world_close(&w);
}

static void test_empty_slates_are_nothing(void **state)
{
    (void)state;
    struct model_world w;
    struct err e;
    double loss = 3;
    model_world_open(&w, "cpu", "pooled", 1, NULL);
    struct slate *s = model_world_slate(&w, 0, 2);
    assert_ok(model_score(w.run, s, 0, NULL, NULL, &e), &e);
    assert_ok(model_learn(w.run, s, 1, &loss, &e), &e);
    assert_true(loss == 0);
    slate_free(s);
    model_world_close(&w);
}

/* A change of the parameters in place is noticed; another set with other numbers too. */
static void test_changed_parameters_are_noticed(void **state)
{
    (void)state;
    struct model_world w;
    struct err e;
    float before[8], after[8];
    const char *const tensors[] = {"text.layer.2.up.weight", "match.map", "bias", "hashed.weight"};
    model_world_open(&w, "cpu", "pooled", 1, NULL);
    model_world_shake(&w);
    struct slate *s = model_world_slate(&w, 5, 4);
    for (size_t i = 0; i < 4; i++) {
        const struct param *p = model_world_param(&w, tensors[i]);
        assert_ok(model_score(w.run, s, 0, before, NULL, &e), &e);
        for (size_t j = 0; j < p->n; j++) w.p->w[p->offset + j] *= 1.5f;
        param_touch(w.p);
        assert_ok(model_score(w.run, s, 0, after, NULL, &e), &e);
        assert_memory_not_equal(before, after, 5 * sizeof(float));
    }
    slate_free(s);
    model_world_close(&w);
}

static void step(struct model_world *w, struct optim *o, size_t i)
{
    double loss;
    struct err e;
    const struct slate *s = w->slates[i % WORLD_SLATES];
    assert_ok(model_learn(w->run, s, 1, &loss, &e), &e);
    assert_ok(optim_step(o, model_run_kern(w->run), w->p, model_grads(w->run), s->n_items, &e), &e);
    model_apply_stats(w->run, w->p);
    model_grads_clear(w->run);
}

/* Once warm, steps, scores and the baseline allocate nothing. */
static void check_steady_state(const char *view, int steps, const char *const *options)
{
    struct model_world w;
    struct optim *o;
    struct err e;
    float logits[8];
    model_world_open(&w, "cpu", view, 1, options);
    assert_ok(optim_new(&o, model_table(w.model), w.conf, &e), &e);
    long total = 0, live = 0;
    for (int i = 0; i < steps; i++) {
        step(&w, o, (size_t)i);
        assert_ok(model_score(w.run, w.slates[i % WORLD_SLATES], 2, logits, NULL, &e), &e);
        assert_ok(model_frozen_cosine(w.run, w.slates[i % WORLD_SLATES], logits, &e), &e);
        if (i == 3 * WORLD_SLATES) total = mem_total(), live = mem_live();
    }
    assert_int_equal(mem_total(), total);
    assert_int_equal(mem_live(), live);
    assert_int_equal(optim_steps(o), steps);
    optim_free(o);
    model_world_close(&w);
}

static void test_a_thousand_steps_allocate_nothing(void **state)
{
    (void)state;
    check_steady_state("pooled", 1000, NULL);
    check_steady_state("tokens", 200, (const char *const[]){"model.dropout=0.1", NULL});
    check_steady_state("concat", 200, NULL);
    check_steady_state("pooled", 200,
                       (const char *const[]){EVERY_PART, "model.idvec_bits=6", "train.numeric_order=2", NULL});
}

/* Stopped after five steps and gone on from what is kept: the same bits as without the stop. */
static void test_resume_gives_the_same_bits(void **state)
{
    (void)state;
    struct model_world a, b;
    struct optim *oa, *ob;
    struct err e;
    struct buf run = {0}, moments = {0};
    static const char *const options[] = {"model.dropout=0.2",
                                          EVERY_PART,
                                          "model.idvec_bits=6",
                                          "train.numeric_order=2",
                                          "train.l2_sp=0.1",
                                          "train.half_life_examples=20",
                                          "train.schedule_steps=4",
                                          "train.schedule=cosine_restart",
                                          NULL};
    model_world_open(&a, "cpu", "pooled", 1, options);
    model_world_open(&b, "cpu", "pooled", 1, options);
    assert_ok(optim_new(&oa, model_table(a.model), a.conf, &e), &e);
    assert_ok(optim_new(&ob, model_table(b.model), b.conf, &e), &e);
    optim_anchor(oa, a.p);
    for (size_t i = 0; i < 5; i++) step(&a, oa, i);
    model_run_encode(&run, a.run);
    optim_encode(&moments, oa);
    memcpy(b.p->w, a.p->w, a.p->n * sizeof(float));
    param_touch(b.p);
    struct buf_reader r = buf_reader(run.p, run.n), m = buf_reader(moments.p, moments.n);
    assert_ok(model_run_decode(b.run, &r, &e), &e);
    assert_int_equal(buf_left(&r), 0);
    assert_ok(optim_decode(ob, &m, &e), &e);
    for (size_t page = 0; page < optim_pages(oa); page++) {
        struct optim_page x;
        optim_page_get(oa, a.p, page, &x);
        assert_ok(optim_page_put(ob, b.p, page, &x, &e), &e);
    }
    for (size_t i = 5; i < 15; i++) step(&a, oa, i);
    for (size_t i = 5; i < 15; i++) step(&b, ob, i);
    assert_memory_equal(a.p->w, b.p->w, a.p->n * sizeof(float));
    for (size_t cut = 0; cut < run.n; cut++) {
        r = buf_reader(run.p, cut);
        assert_int_equal(model_run_decode(b.run, &r, &e), STATUS_CORRUPT);
    }
    buf_fini(&run);
    buf_fini(&moments);
    optim_free(oa);
    optim_free(ob);
    model_world_close(&a);
    model_world_close(&b);
}

/* Dropout depends on seed and slate, not on when; scoring has none. */
static void test_dropout_is_named_by_seed_and_slate(void **state)
{
    (void)state;
    struct model_world w;
    struct err e;
    double a, b, c, d;
    float before[8], after[8];
    model_world_open(&w, "cpu", "pooled", 1, (const char *const[]){"model.dropout=0.5", NULL});
    model_world_shake(&w);
    struct slate *s = model_world_slate(&w, 5, 4);
    assert_ok(model_score(w.run, s, 0, before, NULL, &e), &e);
    assert_ok(model_learn(w.run, s, 1, &a, &e), &e);
    assert_ok(model_learn(w.run, s, 2, &b, &e), &e);
    s->at.offset++;
    assert_ok(model_learn(w.run, s, 1, &c, &e), &e);
    s->at.offset--;
    assert_ok(model_learn(w.run, s, 1, &d, &e), &e);
    assert_ok(model_score(w.run, s, 0, after, NULL, &e), &e);
    assert_true(a == d && a != b && a != c);
    assert_memory_equal(before, after, 5 * sizeof(float));
    slate_free(s);
    model_world_close(&w);
}

static void test_frozen_cosine(void **state)
{
    (void)state;
    struct model_world w;
    struct err e;
    float cosine[WORLD_SENTENCES];
    model_world_open(&w, "cpu", "pooled", 1, NULL);
    struct slate *s = model_world_slate(&w, WORLD_SENTENCES, 1); /* one event: sentence 0 */
    assert_ok(model_frozen_cosine(w.run, s, cosine, &e), &e);
    assert_float_equal(cosine[0], 1.0f, 1e-2f); /* the same sentence, rounded to bf16 */
    for (size_t i = 0; i < WORLD_SENTENCES; i++) assert_true(fabsf(cosine[i]) <= 1.01f);
    for (size_t i = 1; i < WORLD_SENTENCES; i++) assert_true(cosine[i] < cosine[0]);
    s->n_events = 0;
    assert_ok(model_frozen_cosine(w.run, s, cosine, &e), &e);
    for (size_t i = 0; i < WORLD_SENTENCES; i++) assert_float_equal(cosine[i], 0.0f, 0.0f);
    slate_free(s);
    model_world_close(&w);
}

/* Every allocation that a first slate makes fails in turn: OOM, and nothing stays pinned or leaks. */
static void test_learning_survives_each_failing_allocation(void **state)
{
    (void)state;
    struct model_world w;
    struct err e;
    double loss;
    long n = 0;
    model_world_open(&w, "cpu", "pooled", 1, NULL);
    for (;; n++) {
        model_run_free(w.run);
        w.run = NULL;
        assert_ok(model_run_new(&w.run, w.model, w.states, true, &e), &e);
        assert_ok(model_bind(w.run, w.p, &e), &e);
        mem_fail_after(n);
        const enum status st = model_learn(w.run, w.slates[2], 1, &loss, &e);
        mem_fail_after(-1);
        if (st == STATUS_OK) break;
        assert_int_equal(st, STATUS_OOM);
    }
    assert_true(n > 4);
    model_world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_candidates_are_separate),
        cmocka_unit_test(test_chunks_add_up),
        cmocka_unit_test(test_joint_top_gives_text_only_to_the_best),
        cmocka_unit_test(test_logit_is_the_sum_of_bias_and_parts),
        cmocka_unit_test(test_a_loss_that_is_not_finite_adds_nothing),
        cmocka_unit_test(test_refuses_slates_that_do_not_fit),
        cmocka_unit_test(test_empty_slates_are_nothing),
        cmocka_unit_test(test_changed_parameters_are_noticed),
        cmocka_unit_test(test_a_thousand_steps_allocate_nothing),
        cmocka_unit_test(test_resume_gives_the_same_bits),
        cmocka_unit_test(test_dropout_is_named_by_seed_and_slate),
        cmocka_unit_test(test_frozen_cosine),
        cmocka_unit_test(test_learning_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

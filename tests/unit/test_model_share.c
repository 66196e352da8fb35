/* test_model_share.c - one rank's share of a batch: gradients are said to be whole when they are, always in the same runs and
 * order; shares together gather what the whole batch does. */
#include "base/mem.h"
#include "model/model.h"
#include "tests/support/check.h"
#include "tests/support/model_world.h"
#include <math.h>
#include <string.h>

enum { RUNS_MAX = 64 };

static const char *const options[] = {"model.parts=text,match,numeric,hashed,idvec,itembias,deep",
                                      "train.numeric_order=1", NULL};

struct seen { /* what was whole, as it was then */
    const float *base;
    size_t at[RUNS_MAX], n[RUNS_MAX], runs;
    float *dense;
};

static void note(void *user, float *dense, size_t n)
{
    struct seen *s = user;
    const size_t at = (size_t)(dense - s->base);
    assert_true(s->runs < RUNS_MAX);
    s->at[s->runs] = at;
    s->n[s->runs++] = n;
    memcpy(s->dense + at, dense, n * sizeof *dense);
}

static size_t items_of(const struct slate *const *slates, size_t n)
{
    size_t items = 1;
    for (size_t i = 0; i < n; i++) items += slates[i]->n_items;
    return items;
}

static const float *fresh_gradients(struct model_world *w)
{
    const float *base = model_dense_grads(w->run);
    model_grads_clear(w->run); /* what no gradient reaches is to be zero, and is not yet */
    return base;
}

/* Learns them as a share; z and dz (the caller's to free) one after the other. */
static float *learn(struct model_world *w, const float *base, const struct slate *const *slates, size_t n, double *loss,
                    struct seen *seen)
{
    const size_t items = items_of(slates, n), dense = model_table(w->model)->group_first[PARAM_STAT];
    struct err e;
    float *z = mem_calloc(2 * items, sizeof *z);
    *seen = (struct seen){.base = base, .dense = mem_calloc(dense, sizeof(float))};
    const struct model_share share = {z, z + items, note, seen};
    assert_ok(model_learn_share(w->run, slates, n, 1, loss, &share, &e), &e);
    return z;
}

static void check_whole(struct model_world *w, const struct seen *seen)
{
    const struct param_table *t = model_table(w->model);
    const float *now = model_grads(w->run)->dense;
    size_t floats = 0;
    for (size_t i = 0; i < t->n; i++) {
        const struct param *p = &t->params[i];
        if (p->group != PARAM_ADAMW && p->group != PARAM_ADAGRAD) continue;
        if (memcmp(now + p->offset, seen->dense + p->offset, p->n * sizeof *now) != 0)
            fail_msg("%s changed after it was said to be whole", p->name);
        floats += p->n;
    }
    size_t said = 0;
    for (size_t i = 0; i < seen->runs; i++) said += seen->n[i];
    assert_in_range(said, floats, t->group_first[PARAM_STAT]); /* each once, and padding */
}

static void test_gradients_are_whole_when_they_are_said_to_be(void **state)
{
    struct model_world w;
    struct seen seen, first = {0};
    double loss[WORLD_SLATES + 1];
    (void)state;
    model_world_open(&w, "cpu", "tokens", 2, options);
    model_world_shake(&w);
    struct slate *big = model_world_slate(&w, 1500, 5), *empty = model_world_slate(&w, 0, 2);
    const struct slate *mixed[] = {w.slates[0], big, w.slates[1]}, *hole[] = {w.slates[2], empty, w.slates[3], empty};
    const struct {
        const struct slate *const *slates;
        size_t n;
    } shares[] = {{(const struct slate *const *)w.slates, 6}, {mixed, 3}, {mixed + 1, 1}, {hole, 4}, {hole, 0}};
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        mem_free(learn(&w, fresh_gradients(&w), shares[i].slates, shares[i].n, loss, &seen));
        check_whole(&w, &seen);
        mem_free(seen.dense);
        seen.dense = NULL;
        if (i == 0) first = seen;
        assert_int_equal(seen.runs, first.runs);
        assert_true(seen.runs > 3); /* part by part */
        assert_memory_equal(seen.at, first.at, sizeof seen.at);
        assert_memory_equal(seen.n, first.n, sizeof seen.n);
        model_grads_clear(w.run);
    }
    slate_free(big);
    slate_free(empty);
    model_world_close(&w);
}

static struct buf sums_of(const struct model_world *w)
{
    struct buf b = {0};
    model_run_encode(&b, w->run);
    return b;
}

/* Two shares of a batch, put together by two models, against one that learns the batch. */
static void test_shares_gather_what_the_batch_does(void **state)
{
    struct model_world a, b;
    struct seen seen;
    struct err e;
    double whole[6], loss[3];
    (void)state;
    model_world_open(&a, "cpu", "pooled", 1, options);
    model_world_open(&b, "cpu", "pooled", 1, options);
    model_world_shake(&a);
    model_world_shake(&b);
    a.slates[4]->items[0].weight = b.slates[4]->items[0].weight = 1e38f; /* no finite loss */
    a.slates[4]->items[1].weight = b.slates[4]->items[1].weight = 3e38f;
    a.slates[4]->items[2].weight = b.slates[4]->items[2].weight = 3e38f;
    assert_ok(model_learn_many(a.run, (const struct slate *const *)a.slates, 6, 1, whole, &e), &e);
    const float *base = fresh_gradients(&b);
    float *z[2];
    const struct slate *of[2][3];
    size_t items[2], at[2] = {0};
    for (size_t rank = 0; rank < 2; rank++) {
        for (size_t i = 0; i < 3; i++) of[rank][i] = b.slates[2 * i + rank];
        items[rank] = items_of(of[rank], 3);
        z[rank] = learn(&b, base, of[rank], 3, loss, &seen);
        mem_free(seen.dense);
        for (size_t i = 0; i < 3; i++) {
            const double want = whole[2 * i + rank];
            assert_true(isnan(want) ? isnan(loss[i]) : fabs(loss[i] - want) <= 1e-6 * want);
        }
    }
    assert_true(isnan(whole[4]));
    for (size_t i = 0; i < 6; i++) {
        const size_t rank = i % 2, from = at[rank];
        at[rank] += b.slates[i]->n_items;
        if (!isnan(whole[i])) model_learnt(b.run, b.slates[i], z[rank] + from, z[rank] + items[rank] + from);
    }
    model_apply_stats(a.run, a.p);
    model_apply_stats(b.run, b.p);
    struct buf one = sums_of(&a), two = sums_of(&b);
    assert_int_equal(one.n, two.n);
    assert_memory_equal(one.p, two.p, one.n); /* to the bit: numbers, not rounded sums, were passed on */
    const size_t dense = model_table(a.model)->group_first[PARAM_STAT];
    const float *x = model_grads(a.run)->dense, *y = model_grads(b.run)->dense;
    for (size_t i = 0; i < dense; i++) assert_near(y[i], x[i], 1e-4 * (1 + fabs((double)x[i])));
    for (size_t rank = 0; rank < 2; rank++) mem_free(z[rank]);
    buf_fini(&one);
    buf_fini(&two);
    model_world_close(&a);
    model_world_close(&b);
}

static void test_rows_from_elsewhere_are_added(void **state)
{
    struct model_world w;
    struct err e;
    (void)state;
    model_world_open(&w, "cpu", "pooled", 1, options);
    const struct param_table *t = model_table(w.model);
    size_t hashed = 0;
    while (strcmp(param_sparse(t, hashed)->name, "hashed.weight") != 0) hashed++;
    assert_int_equal(param_width(param_sparse(t, hashed)), 1);
    const uint32_t rows[] = {7, 3}, again[] = {3, 5};
    const float grads[] = {1, 2};
    assert_ok(model_rows_put(w.run, hashed, &(struct model_rows){rows, grads, 2}, &e), &e);
    assert_ok(model_rows_put(w.run, hashed, &(struct model_rows){again, grads, 2}, &e), &e);
    const struct model_rows got = model_grads(w.run)->sparse[hashed];
    const uint32_t want_rows[] = {7, 3, 5};
    const float want[] = {1, 3, 2};
    assert_int_equal(got.n, 3);
    assert_memory_equal(got.rows, want_rows, sizeof want_rows);
    assert_memory_equal(got.grads, want, sizeof want);
    model_rows_clear(w.run);
    assert_int_equal(model_grads(w.run)->sparse[hashed].n, 0);
    model_world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients_are_whole_when_they_are_said_to_be),
        cmocka_unit_test(test_shares_gather_what_the_batch_does),
        cmocka_unit_test(test_rows_from_elsewhere_are_added),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

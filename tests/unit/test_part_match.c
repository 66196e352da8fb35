/* test_part_match.c - behaviour of late interaction beyond the golden numbers: no history, the candidate itself,
 * bounds. */
#include "model/model.h"
#include "tests/support/check.h"
#include "tests/support/gradient.h"
#include "tests/support/model_world.h"
#include <math.h>
#include <string.h>

static void open_world(struct model_world *w)
{
    model_world_open(w, "cpu", "pooled", 1, (const char *const[]){"model.parts=match", NULL});
}

/* Sets match.linear to pick one feature: logits are that feature. */
static void feature(struct model_world *w, size_t which, struct slate *s, float *out)
{
    float pick[8] = {0};
    struct err e;
    pick[which] = 1;
    model_world_set(w, "match.linear", pick, 8);
    assert_ok(model_score(w->run, s, 0, out, NULL, &e), &e);
}

enum { M, A8, A25, OTHERS, SQUARE, TASTE, MAX, HISTORY };

static void test_without_history_only_the_item_term_is_left(void **state)
{
    (void)state;
    struct model_world w;
    struct err e;
    float z[3], item[8];
    open_world(&w);
    model_world_shake(&w);
    struct slate *s = model_world_slate(&w, 3, 0);
    assert_ok(model_score(w.run, s, 0, z, NULL, &e), &e);
    for (size_t i = 0; i < 8; i++) item[i] = 0;
    const struct param *bias = model_world_param(&w, "bias");
    model_world_set(&w, "match.item", item, 8);
    assert_ok(model_score(w.run, s, 0, z, NULL, &e), &e);
    for (size_t i = 0; i < 3; i++) assert_float_equal(z[i], w.p->w[bias->offset + 1], 0.0f);
    slate_free(s);
    model_world_close(&w);
}

/* One event, which is candidate 0 itself: m and the mean's cosine see it, a and max do not. */
static void test_the_candidate_itself_is_left_out_where_it_should(void **state)
{
    (void)state;
    struct model_world w;
    float z[2];
    open_world(&w);
    struct slate *s = model_world_slate(&w, 2, 1);
    s->events[0].item = s->items[0].item;
    s->events[0].sentence = s->items[0].sentence;
    const struct {
        size_t feature;
        float self; /* expected of candidate 0; NAN: only that candidate 1 differs */
    } expected[] = {{M, 1}, {A8, 0}, {A25, 0}, {OTHERS, 0}, {SQUARE, 1}, {TASTE, 1}, {MAX, 0}, {HISTORY, 1}};
    for (size_t i = 0; i < 8; i++) {
        feature(&w, expected[i].feature, s, z);
        assert_float_equal(z[0], expected[i].self, 1e-2f);
    }
    feature(&w, OTHERS, s, z);
    assert_float_equal(z[1], 1.0f, 0.0f);
    feature(&w, HISTORY, s, z);
    assert_float_equal(z[1], 1.0f, 0.0f);
    float a[2], m[2];
    feature(&w, A8, s, a);
    feature(&w, MAX, s, m);
    assert_float_equal(a[1], m[1], 1e-6f); /* one event left: its own score, W being zero */
    slate_free(s);
    model_world_close(&w);
}

/* A sharper tau lies nearer the best event. */
static void test_sharper_pooling_is_nearer_the_best(void **state)
{
    (void)state;
    struct model_world w;
    float mean[6], a8[6], a25[6], best[6];
    open_world(&w);
    struct slate *s = model_world_slate(&w, 6, 5);
    for (uint32_t i = 0; i < 5; i++) s->events[i].item = 100 + i; /* none is a candidate */
    feature(&w, M, s, mean);
    feature(&w, A8, s, a8);
    feature(&w, A25, s, a25);
    feature(&w, MAX, s, best);
    for (size_t i = 0; i < 6; i++) {
        assert_true(mean[i] <= a8[i] + 1e-6f);
        assert_true(a8[i] <= a25[i] + 1e-6f);
        assert_true(a25[i] <= best[i] + 1e-6f);
    }
    slate_free(s);
    model_world_close(&w);
}

/* Events beyond model.events are not read. */
static void test_only_the_newest_events_are_read(void **state)
{
    (void)state;
    struct model_world w;
    struct err e;
    float a[4], b[4];
    open_world(&w);
    model_world_shake(&w);
    struct slate *s = model_world_slate(&w, 4, 9);
    assert_ok(model_score(w.run, s, 0, a, NULL, &e), &e);
    s->events[5].sentence = 13;
    s->events[8].type = 1;
    assert_ok(model_score(w.run, s, 0, b, NULL, &e), &e);
    assert_memory_equal(a, b, sizeof a);
    s->events[4].sentence = 13;
    assert_ok(model_score(w.run, s, 0, b, NULL, &e), &e);
    assert_memory_not_equal(a, b, sizeof a);
    slate_free(s);
    model_world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_history_only_the_item_term_is_left),
        cmocka_unit_test(test_the_candidate_itself_is_left_out_where_it_should),
        cmocka_unit_test(test_sharper_pooling_is_nearer_the_best),
        cmocka_unit_test(test_only_the_newest_events_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

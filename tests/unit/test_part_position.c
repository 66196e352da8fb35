/* test_part_position.c - places are learnt from recorded lists and never scored; what is confounded with them is told apart. */
#include "base/rand.h"
#include "model/model.h"
#include "model/part_position.h"
#include "tests/support/check.h"
#include "tests/support/model_world.h"
#include "trainer/optim.h"
#include <math.h>
#include <string.h>

static void open_world(struct model_world *w, const char *on)
{
    model_world_open(w, "cpu", "pooled", 1, (const char *const[]){"model.parts=hashed", on, NULL});
}

static void test_scores_know_nothing_of_places(void **state)
{
    (void)state;
    struct model_world w;
    struct err e;
    float z[2][4], weight[PART_PLACES], share[PART_PLACES] = {0.5f, 0.5f};
    open_world(&w, "model.position=true");
    for (size_t i = 0; i < PART_PLACES; i++) weight[i] = 3;
    model_world_set(&w, "position.weight", weight, PART_PLACES);
    model_world_set(&w, "position.share", share, PART_PLACES);
    struct slate *s = model_world_slate(&w, 4, 0);
    s->source = SLATE_IMPRESSION;
    for (int turn = 0; turn < 2; turn++) {
        for (uint32_t i = 0; i < 4; i++) s->items[i].position = turn == 0 ? 0 : i + 1;
        assert_ok(model_score(w.run, s, 0, z[turn], NULL, &e), &e);
    }
    assert_memory_equal(z[0], z[1], sizeof z[0]);
    slate_free(s);
    model_world_close(&w);
}

static void learn(struct model_world *w, struct slate *s)
{
    struct err e;
    double loss;
    assert_ok(model_learn(w->run, s, 1, &loss, &e), &e);
}

/* dz of each candidate times (1[bucket] - share), for a list; nothing from an order. */
static void test_gradients_are_centred(void **state)
{
    (void)state;
    struct model_world w;
    const float share[PART_PLACES] = {0.5f, 0.25f, 0.25f};
    double want[PART_PLACES] = {0};
    open_world(&w, "model.position=true");
    model_world_set(&w, "position.share", share, PART_PLACES);
    struct slate *s = model_world_slate(&w, 4, 0);
    const uint32_t places[4] = {1, 3, 1000, 0}; /* the last was not said */
    const size_t buckets[3] = {0, 1, 9};
    for (uint32_t i = 0; i < 4; i++) s->items[i].position = places[i];
    for (uint32_t i = 0; i < 3; i++)
        for (size_t b = 0; b < PART_PLACES; b++)
            want[b] += (0.5 - (double)s->items[i].label) * ((b == buckets[i]) - (double)share[b]);
    const size_t at = model_world_param(&w, "position.weight")->offset;
    s->source = SLATE_ORGANIC;
    learn(&w, s);
    for (size_t b = 0; b < PART_PLACES; b++) assert_float_equal(model_grads(w.run)->dense[at + b], 0, 0);
    s->source = SLATE_IMPRESSION;
    learn(&w, s);
    for (size_t b = 0; b < PART_PLACES; b++)
        assert_true(fabs((double)model_grads(w.run)->dense[at + b] - want[b]) < 1e-6);
    model_apply_stats(w.run, w.p);
    const float *now = w.p->w + model_world_param(&w, "position.share")->offset;
    for (size_t b = 0; b < PART_PLACES; b++)
        assert_true(fabs((double)now[b] - (b == 0 || b == 1 || b == 9 ? 1 / 3.0 : 0)) < 1e-6);
    slate_free(s);
    model_world_close(&w);
}

/* Four items as good as each other, two of which always stand first and are taken five times as often: is their advantage put
 * down to them?  Places are shuffled in every eighth list. */
static double advantage_learnt(const char *on)
{
    struct model_world w;
    struct err e;
    struct optim *o = NULL;
    struct rand r;
    float z[4];
    open_world(&w, on);
    assert_ok(optim_new(&o, model_table(w.model), w.conf, &e), &e);
    rand_init(&r, (struct rand_key){.seed = 2, .purpose = RAND_TEST});
    struct slate *s = model_world_slate(&w, 4, 0);
    s->source = SLATE_IMPRESSION;
    for (int t = 0; t < 4000; t++) {
        uint32_t place[4] = {1, 2, 8, 9};
        for (uint32_t i = 3; i > 0 && t % 8 == 0; i--) {
            const uint32_t j = (uint32_t)rand_below(&r, i + 1), keep = place[i];
            place[i] = place[j];
            place[j] = keep;
        }
        for (uint32_t i = 0; i < 4; i++) {
            s->items[i].position = place[i];
            s->items[i].label = rand_unit(&r) < (place[i] < 3 ? 0.5 : 0.1);
        }
        learn(&w, s);
        assert_ok(optim_step(o, model_run_kern(w.run), w.p, model_grads(w.run), 4, &e), &e);
        model_apply_stats(w.run, w.p);
        assert_ok(model_stepped(w.run, w.p, &e), &e);
        model_grads_clear(w.run);
    }
    assert_ok(model_score(w.run, s, 0, z, NULL, &e), &e);
    slate_free(s);
    optim_free(o);
    model_world_close(&w);
    return (double)(z[0] + z[1] - z[2] - z[3]) / 2;
}

static void test_what_the_place_does_is_not_put_down_to_the_item(void **state)
{
    (void)state;
    const double with = advantage_learnt("model.position=true"), without = advantage_learnt("model.position=false");
    print_message("log-odds between items that are equal: %.2f, without places %.2f\n", with, without);
    assert_true(without > 1.5);
    assert_true(fabs(with) < without / 3);
}

static void test_shares_go_through_the_state(void **state)
{
    (void)state;
    struct model_world w;
    struct err e;
    struct buf b = {0};
    open_world(&w, "model.position=true");
    struct slate *s = model_world_slate(&w, 3, 0);
    s->source = SLATE_IMPRESSION;
    for (uint32_t i = 0; i < 3; i++) s->items[i].position = i + 1;
    learn(&w, s);
    model_run_encode(&b, w.run);
    model_apply_stats(w.run, w.p);
    const struct param *p = model_world_param(&w, "position.share");
    float after[PART_PLACES];
    memcpy(after, w.p->w + p->offset, sizeof after);
    assert_true(after[1] > 0.6f);
    memset(w.p->w + p->offset, 0, sizeof after);
    struct buf_reader r = buf_reader(b.p, b.n);
    assert_ok(model_run_decode(w.run, &r, &e), &e);
    model_apply_stats(w.run, w.p);
    assert_memory_equal(after, w.p->w + p->offset, sizeof after);
    r = buf_reader(b.p, b.n - 1);
    assert_int_equal(model_run_decode(w.run, &r, &e), STATUS_CORRUPT);
    buf_fini(&b);
    slate_free(s);
    model_world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scores_know_nothing_of_places),
        cmocka_unit_test(test_gradients_are_centred),
        cmocka_unit_test(test_what_the_place_does_is_not_put_down_to_the_item),
        cmocka_unit_test(test_shares_go_through_the_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_learner.c - the single writer: scored before learnt, labels settled, nothing allocated that stays, state in and out.
 * labels: quick threads
 * timeout: 120 */
#include "job/learner.h"
#include "model/param.h"
#include "tests/support/check.h"
#include "tests/support/learner_world.h"
#include <float.h>
#include <math.h>
#include <string.h>

#ifdef __SANITIZE_THREAD__ /* takes many times as long, and the threads are the same */
enum { LINES = 2500 };
#else
enum { LINES = 4000 };
#endif
static struct learner_world world;

static struct learner *begin(bool learn)
{
    struct learner *l;
    struct err e;
    assert_ok(learner_new(&l, &world.in, (struct learner_options){.learn = learn}, &e), &e);
    learner_world_rewind(&world);
    return l;
}

static void hash_of(struct learner *l, char hex[HASH_SHA256_HEX])
{
    struct err e;
    assert_ok(param_sha256(learner_params(l), &e), &e);
    memcpy(hex, learner_params(l)->sha256, HASH_SHA256_HEX);
}

static void test_every_event_is_counted_and_labels_settle(void **state)
{
    (void)state;
    struct err e;
    static struct report r;
    struct learner *l = begin(true);
    const uint64_t n = learner_world_feed(&world, l, UINT64_MAX);
    assert_int_equal(learner_counts(l)->events, n);
    assert_int_equal(learner_counts(l)->rejected, 0);
    assert_true(learner_counts(l)->slates > 100);
    assert_true(learner_open_slates(l) > 0); /* the end of a file settles nothing */
    assert_ok(learner_flush(l, &e), &e);
    assert_int_equal(learner_open_slates(l), 0);
    assert_int_equal(learner_learnt(l)->learnt_slates, learner_counts(l)->slates);
    learner_report(l, &r);
    assert_true(r.progressive.gauc > 0.5 && r.progressive.gauc < 1.0);
    assert_int_equal(r.n_parts, 6);
    learner_free(l);
}

static enum status one_less(void *left, struct err *e)
{
    long *n = left;
    return (*n)-- > 0 ? STATUS_OK : ERR_SET(e, STATUS_END, "enough");
}

/* One record, or the end, may settle any number of lists: in between there is a sign of life, and a way out. */
static void test_a_record_that_settles_many_lists_can_be_given_up(void **state)
{
    (void)state;
    struct err e = {0};
    long left = 1000000;
    struct learner *l = begin(true);
    (void)learner_world_feed(&world, l, UINT64_MAX);
    const uint64_t open = learner_open_slates(l), settled = learner_counts(l)->slates;
    assert_true(open > 20);
    learner_on_going(l, one_less, &left);
    left = 20;
    assert_int_equal(learner_flush(l, &e), STATUS_END);
    assert_int_equal(left, -1);
    assert_in_range(learner_counts(l)->slates - settled, 1, 20);
    learner_free(l);
}

static void test_without_learning_weights_stay(void **state)
{
    (void)state;
    char before[HASH_SHA256_HEX], after[HASH_SHA256_HEX];
    struct learner *l = begin(false);
    hash_of(l, before);
    (void)learner_world_feed(&world, l, UINT64_MAX);
    hash_of(l, after);
    assert_string_equal(before, after);
    assert_true(learner_counts(l)->slates > 100);
    assert_int_equal(learner_learnt(l)->steps, 0);
    learner_free(l);
}

/* What was predicted of a slate must not know its labels: it equals the score made at opening, kept until settling. */
static enum status seen_slate(void *user, const struct learner_seen *seen, struct err *e)
{
    uint64_t *n = user;
    (void)e;
    for (uint32_t i = 0; i < seen->slate->n_items; i++) {
        double sum = 0.0;
        for (size_t p = 0; p < seen->n_parts; p++) sum += (double)seen->part_logits[p * seen->slate->n_items + i];
        assert_true(isfinite(sum));
        assert_true(seen->slate->items[i].label == 0.0f || seen->slate->items[i].label == 1.0f);
    }
    assert_true(seen->slate->settled_ms >= seen->slate->time_ms);
    ++*n;
    return STATUS_OK;
}

/* An event without a user is its session's: history and counters grow under "session:<id>". */
static void test_a_session_stands_for_a_user(void **state)
{
    (void)state;
    struct err e;
    struct learner *l = begin(true);
    struct source_record rec = {.kind = SOURCE_EVENT};
    (void)learner_world_feed(&world, l, 200);
    rec.event = (struct event){.kind = EVENT_BEHAVIOUR,
                               .type = EVENT_CLICK,
                               .type_name = STR("click"),
                               .time_ms = learner_watermark(l),
                               .session = STR("s1"),
                               .item = STR("i1"),
                               .value = NAN,
                               .quantity = NAN,
                               .price = NAN};
    assert_ok(learner_record(l, &rec, &e), &e);
    assert_ok(learner_flush(l, &e), &e);
    const struct record_user *u = world_find_user(learner_world(l), STR("session:s1"));
    assert_non_null(u);
    assert_int_equal(u->n_events, 1);
    assert_null(world_find_user(learner_world(l), STR("s1")));
    learner_free(l);
}

static void feed_one(struct learner *l, const struct event *ev)
{
    struct err e;
    const struct source_record rec = {.kind = SOURCE_EVENT, .event = *ev};
    assert_ok(learner_record(l, &rec, &e), &e);
}

/* Neither the order that is being assembled nor the list that waits for its labels. */
static void test_a_deleted_user_does_not_come_back_with_what_was_under_way(void **state)
{
    (void)state;
    struct err e;
    struct learner *l = begin(true);
    (void)learner_world_feed(&world, l, 200);
    const int64_t now = learner_watermark(l);
    struct event_item shown[] = {{.item = STR("i1")}, {.item = STR("i2")}};
    struct event ev = {.kind = EVENT_IMPRESSION,
                       .user = STR("victim"),
                       .request = STR("r"),
                       .time_ms = now,
                       .items = shown,
                       .n_items = 2,
                       .value = NAN,
                       .quantity = NAN,
                       .price = NAN};
    feed_one(l, &ev);
    ev.kind = EVENT_BEHAVIOUR, ev.type = EVENT_PURCHASE, ev.type_name = STR("purchase");
    ev.items = NULL, ev.n_items = 0, ev.request = (struct str){NULL, 0};
    ev.item = STR("i3"), ev.order = STR("o1");
    feed_one(l, &ev);
    ev.kind = EVENT_USER, ev.item = ev.order = (struct str){NULL, 0};
    ev.deleted = true, ev.time_ms = now + 500;
    feed_one(l, &ev);
    const uint64_t slates = learner_counts(l)->slates;
    assert_ok(learner_flush(l, &e), &e);
    assert_true(learner_counts(l)->slates > slates);
    assert_null(world_find_user(learner_world(l), STR("victim")));
    learner_free(l);
}

static void test_each_settled_slate_is_seen_once(void **state)
{
    (void)state;
    uint64_t n = 0;
    struct learner *l = begin(true);
    learner_on_seen(l, seen_slate, &n);
    (void)learner_world_feed(&world, l, UINT64_MAX);
    assert_int_equal(n, learner_counts(l)->slates);
    learner_free(l);
}

/* Nothing learnt and nothing to be learnt: the model is not asked, and the figures are those of its zeroes; only the frozen
 * encoder's baseline, which is not asked either, is left out. */
static void test_a_model_that_knows_nothing_is_not_asked(void **state)
{
    (void)state;
    uint64_t n = 0;
    struct err e;
    static struct report asked, not_asked, learnt;
    struct learner *l = begin(false);
    learner_on_seen(l, seen_slate, &n);
    (void)learner_world_feed(&world, l, UINT64_MAX);
    learner_report(l, &asked);
    learner_free(l);
    l = begin(false);
    (void)learner_world_feed(&world, l, UINT64_MAX);
    learner_report(l, &not_asked);
    learner_free(l);
    l = begin(false);
    assert_ok(learner_begin_at(l, NULL, 0, 0, 5, &e), &e); /* its weights come from somewhere */
    (void)learner_world_feed(&world, l, UINT64_MAX);
    learner_report(l, &learnt);
    learner_free(l);
    assert_true(fabs(learnt.baselines[REPORT_FROZEN].gauc - 0.5) > 1e-6);
    assert_true(n > 100 && asked.slates == n && not_asked.slates == n);
    assert_true(fabs(asked.baselines[REPORT_FROZEN].gauc - 0.5) > 1e-6 &&
                fabs(not_asked.baselines[REPORT_FROZEN].gauc - 0.5) < 1e-12);
    assert_int_equal(asked.tokens, not_asked.tokens);
    assert_float_equal(asked.progressive.logloss, not_asked.progressive.logloss, 1e-6);
    assert_float_equal(asked.progressive.gauc, not_asked.progressive.gauc, 1e-9);
    assert_true(asked.baselines[REPORT_POPULARITY].gauc == not_asked.baselines[REPORT_POPULARITY].gauc &&
                asked.baselines[REPORT_POPULARITY].gauc > 0.5);
    assert_true(asked.baselines[REPORT_REPEAT].logloss == not_asked.baselines[REPORT_REPEAT].logloss);
}

/* Once warm, blocks come and go with open slates and records, but none stays: over 1,000 records that bring no new user
 * or item the live count follows the open slates. */
/* A batch far from full is learnt once event time has gone on by train.batch_wait_ms, and not before. */
static void test_a_batch_waits_no_longer_than_told(void **state)
{
    (void)state;
    struct err e;
    enum { WAIT_MS = 2000 };
    assert_ok(conf_set(world.conf, "train.batch_slates", "4096", &e), &e);
    assert_ok(conf_set(world.conf, "train.batch_wait_ms", "2000", &e), &e);
    struct learner *l = begin(true);
    const struct line *line = learner_line(l);
    uint64_t together = 0;
    while (learner_world_feed(&world, l, 1) == 1) {
        if (line->n_pending == 0) continue;
        assert_true(line->now_ms - line->waits_since_ms < WAIT_MS);
        if (line->n_pending > together) together = line->n_pending;
    }
    assert_true(together > 1);
    assert_true(learner_learnt(l)->steps > 10);
    assert_true(learner_learnt(l)->learnt_slates > learner_counts(l)->slates - together);
    learner_free(l);
    assert_ok(conf_set(world.conf, "train.batch_slates", "2", &e), &e);
    assert_ok(conf_set(world.conf, "train.batch_wait_ms", "0", &e), &e);
}

/* A restart in between does not make it wait anew. */
static void test_how_long_a_batch_has_waited_is_part_of_the_state(void **state)
{
    (void)state;
    struct err e;
    struct buf b = {0};
    assert_ok(conf_set(world.conf, "train.batch_slates", "4096", &e), &e);
    assert_ok(conf_set(world.conf, "train.batch_wait_ms", "2000", &e), &e);
    struct learner *l = begin(true), *again = NULL;
    while (learner_line(l)->n_pending < 2) assert_int_equal(learner_world_feed(&world, l, 1), 1);
    line_batch_encode(&b, learner_line(l));
    again = begin(true);
    struct buf_reader r = buf_reader(b.p, b.n);
    assert_ok(line_batch_decode(learner_line(again), &r, &e), &e);
    assert_int_equal(buf_left(&r), 0);
    assert_int_equal(learner_line(again)->n_pending, learner_line(l)->n_pending);
    assert_true(learner_line(again)->waits_since_ms == learner_line(l)->waits_since_ms);
    buf_fini(&b);
    learner_free(again);
    learner_free(l);
    assert_ok(conf_set(world.conf, "train.batch_slates", "2", &e), &e);
    assert_ok(conf_set(world.conf, "train.batch_wait_ms", "0", &e), &e);
}

/* A scale so large that finite losses have gradients beyond all floats: the optimiser makes no step, so nothing is learnt of it. */
static void test_a_refused_step_is_not_counted_as_learnt(void **state)
{
    (void)state;
    struct learner *l = begin(true);
    struct param_set *p = learner_params(l);
    const struct param *scale = param_find(model_table(learner_model(l)), "hashed.scale");
    for (size_t i = 0; i < scale->n; i++) p->w[scale->offset + i] = FLT_MAX;
    param_touch(p);
    const uint64_t before = param_hash(p);
    while (optim_refused(learner_optim(l)) == 0) assert_int_equal(learner_world_feed(&world, l, 1), 1);
    assert_int_equal(optim_steps(learner_optim(l)), 0);
    assert_true(param_hash(p) == before); /* statistics are parameters */
    assert_int_equal(learner_learnt(l)->steps, 0);
    assert_int_equal(learner_learnt(l)->learnt_slates, 0);
    learner_free(l);
}

static void test_live_blocks_stay_flat_in_the_steady_state(void **state)
{
    (void)state;
    struct learner *l = begin(true);
    (void)learner_world_feed(&world, l, LINES * 5 / 8);
    const long live = mem_live() - (long)learner_open_slates(l);
    const uint64_t steps = learner_learnt(l)->steps;
    (void)learner_world_feed(&world, l, LINES / 4);
    assert_true(learner_learnt(l)->steps > steps + LINES / 80);
    const long grown = mem_live() - (long)learner_open_slates(l) - live;
    assert_in_range(grown + 60, 0, 120); /* orders under assembly differ from moment to moment */
    learner_free(l);
}

static void test_new_survives_each_failed_allocation(void **state)
{
    (void)state;
    long met;
    struct learner *l = NULL;
    struct err e;
    FAIL_EACH_ALLOCATION(met, learner_new(&l, &world.in, (struct learner_options){.learn = true}, &e));
    assert_true(met > 20);
    learner_free(l);
}

static int open_world(void **state)
{
    (void)state;
    learner_world_open(&world, LINES);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    learner_world_close(&world);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_event_is_counted_and_labels_settle),
        cmocka_unit_test(test_a_record_that_settles_many_lists_can_be_given_up),
        cmocka_unit_test(test_without_learning_weights_stay),
        cmocka_unit_test(test_a_session_stands_for_a_user),
        cmocka_unit_test(test_a_deleted_user_does_not_come_back_with_what_was_under_way),
        cmocka_unit_test(test_each_settled_slate_is_seen_once),
        cmocka_unit_test(test_a_model_that_knows_nothing_is_not_asked),
        cmocka_unit_test(test_a_batch_waits_no_longer_than_told),
        cmocka_unit_test(test_how_long_a_batch_has_waited_is_part_of_the_state),
        cmocka_unit_test(test_a_refused_step_is_not_counted_as_learnt),
        cmocka_unit_test(test_live_blocks_stay_flat_in_the_steady_state),
        cmocka_unit_test(test_new_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}

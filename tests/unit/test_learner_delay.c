/* test_learner_delay.c - copies of recorded lists: which are learnt, each exactly once whatever is killed between two of them.
 * labels: quick
 * timeout: 120 */
#include "job/checkpoint.h"
#include "model/param.h"
#include "tests/support/check.h"
#include "tests/support/learner_world.h"
#include <string.h>

static struct learner_world world;
static struct report_detail detail;

static void set(const char *key, const char *value)
{
    struct err e;
    assert_ok(conf_set(world.conf, key, value, &e), &e);
}

static int reset(void **state)
{
    (void)state;
    set("join.loss", "wait");
    set("join.negative_rate", "1");
    set("join.cascade", "false");
    set("gate.holdout_frac", "0");
    set("guard.item_examples", "0");
    return 0;
}

static struct learner *begin(struct store *store)
{
    struct learner *l;
    struct err e;
    world.in.store = store;
    assert_ok(learner_new(&l, &world.in, (struct learner_options){.learn = true}, &e), &e);
    return l;
}

struct labels {
    uint64_t shown, positives, hash, learnt, slates, in_cohorts;
};
static enum status count_labels(void *user, const struct learner_seen *seen, struct err *e)
{
    struct labels *n = user;
    (void)e;
    n->shown += seen->slate->n_items;
    for (uint32_t i = 0; i < seen->slate->n_items; i++) {
        n->positives += seen->slate->items[i].label > 0.5f;
        n->hash = n->hash * 31 + (seen->slate->items[i].label > 0.5f) + seen->slate->items[i].item;
    }
    return STATUS_OK;
}

/* The whole log with everything settled. */
static struct labels learn_all(void)
{
    struct err e;
    struct labels n = {0};
    struct learner *l = begin(NULL);
    learner_world_rewind(&world);
    learner_on_seen(l, count_labels, &n);
    (void)learner_world_feed(&world, l, UINT64_MAX);
    assert_ok(learner_flush(l, &e), &e);
    n.learnt = learner_learnt(l)->learnt_examples;
    n.slates = learner_learnt(l)->learnt_slates;
    learner_report_detail(l, &detail);
    for (uint32_t i = 0; i < detail.n_curve; i++) n.in_cohorts += detail.curve[i].cohort.shown;
    learner_free(l);
    return n;
}

static void test_every_example_is_learnt_and_positives_that_come_later_again(void **state)
{
    (void)state;
    const struct labels wait = learn_all();
    assert_int_equal(wait.learnt, wait.shown);
    assert_true(wait.positives > 500);
    set("join.loss", "fnw");
    const struct labels fnw = learn_all();
    assert_int_equal(fnw.learnt, fnw.shown + fnw.positives);
    assert_int_equal(fnw.slates, wait.slates + fnw.positives);
    set("join.loss", "importance");
    set("join.wait_ms", "20000");
    const struct labels some = learn_all();
    assert_in_range(some.learnt, some.shown + some.positives / 4, some.shown + some.positives * 3 / 4);
    assert_int_equal(some.slates - wait.slates, some.learnt - some.shown);
    set("join.wait_ms", "59999"); /* next to nothing can come later */
    const struct labels all = learn_all();
    assert_in_range(all.learnt, all.shown, all.shown + 2);
    /* whatever is learnt when, what is judged is the same */
    assert_true(wait.hash == fnw.hash && wait.hash == some.hash && wait.hash == all.hash);
}

/* Nor do labels of users that are held out reach what copies are weighed by. */
static void test_weights_are_of_those_who_are_learnt_from(void **state)
{
    (void)state;
    struct err e;
    set("join.loss", "fnw");
    set("gate.holdout_frac", "0.4");
    struct learner *l = begin(NULL);
    learner_world_rewind(&world);
    (void)learner_world_feed(&world, l, UINT64_MAX);
    assert_ok(learner_flush(l, &e), &e);
    const struct loss_delay *d = &learner_line(l)->delay; /* both counts begin at 1; a positive was learnt twice */
    assert_true(d->examples[0] - 1 + 2 * (d->examples[1] - 1) == (double)learner_learnt(l)->learnt_examples);
    assert_true(learner_learnt(l)->learnt_slates > 0 && learner_counts(l)->examples > 1.2 * d->examples[0]);
    learner_free(l);
}

static void test_negatives_are_learnt_at_their_rate(void **state)
{
    (void)state;
    set("join.negative_rate", "0.3");
    const struct labels wait = learn_all();
    const uint64_t negatives = wait.learnt - wait.positives;
    const double rate = (double)negatives / (double)(wait.shown - wait.positives);
    assert_true(rate > 0.28 && rate < 0.32);
    set("join.loss", "fnw");
    const struct labels fnw = learn_all();
    const uint64_t first = fnw.learnt - fnw.positives; /* a positive's first copy is a negative like others */
    assert_true(first >= negatives && first < negatives + fnw.positives);
    assert_true((double)first > 0.28 * (double)fnw.shown && (double)first < 0.32 * (double)fnw.shown);
    assert_int_equal(wait.hash, fnw.hash); /* all are judged */
}

static void test_what_was_not_looked_at_is_neither_learnt_nor_judged(void **state)
{
    (void)state;
    const struct labels whole = learn_all();
    set("join.cascade", "true");
    const struct labels cascade = learn_all();
    assert_int_equal(cascade.learnt, cascade.shown);
    assert_int_equal(cascade.positives, whole.positives);
    assert_true(cascade.shown < whole.shown && cascade.shown > whole.shown / 2);
    assert_int_equal(cascade.in_cohorts, whole.in_cohorts); /* and was shown all the same */
    assert_true(whole.in_cohorts > whole.shown / 2);
}

/* An item's cap counts what is learnt again, too: however often it is clicked, it teaches no more. */
static void test_caps_count_copies(void **state)
{
    (void)state;
    set("guard.window_ms", "100000000000");
    set("guard.item_examples", "10");
    set("join.loss", "fnw");
    const struct labels fnw = learn_all();
    assert_in_range(fnw.learnt, 24 * 10 - 20, 24 * 10); /* items of the shop; some may come too rarely */
    set("join.loss", "importance");
    set("join.wait_ms", "20000");
    const struct labels some = learn_all();
    assert_in_range(some.learnt, 24 * 10 - 20, 24 * 10);
}

static struct checkpoint *open_folder(const struct tmpdir *dir)
{
    struct checkpoint *cp;
    struct err e;
    assert_ok(checkpoint_open(&cp, world.conf, dir->path, (struct checkpoint_options){0}, &e), &e);
    return cp;
}

static void hash_of(struct learner *l, char hex[HASH_SHA256_HEX])
{
    struct err e;
    assert_ok(param_sha256(learner_params(l), &e), &e);
    memcpy(hex, learner_params(l)->sha256, HASH_SHA256_HEX);
}

/* A life: what the last one saved, `records` more, a checkpoint, and 50 after it that are lost. */
static void live(const struct tmpdir *dir, uint64_t records)
{
    struct err e;
    struct checkpoint *cp = open_folder(dir);
    struct learner *l = begin(checkpoint_store(cp));
    if (checkpoint_version(cp) > 0) assert_ok(checkpoint_restore(cp, l, &e), &e);
    learner_world_rewind(&world);
    (void)learner_world_feed(&world, NULL, learner_file_next(l));
    (void)learner_world_feed(&world, l, records);
    assert_ok(checkpoint_write(cp, l, &e), &e);
    (void)learner_world_feed(&world, l, 50);
    learner_free(l);
    checkpoint_close(cp);
}

static void goes_on(const char *loss)
{
    char whole[HASH_SHA256_HEX], parts[HASH_SHA256_HEX];
    struct err e;
    const struct tmpdir dir = tmpdir_make("delay");
    set("join.loss", loss);
    struct learner *l = begin(NULL);
    learner_world_rewind(&world);
    const uint64_t n = learner_world_feed(&world, l, UINT64_MAX);
    const struct line_counts learnt = *learner_learnt(l);
    hash_of(l, whole);
    learner_free(l);
    for (uint64_t at = 0; at < n; at += 331) live(&dir, 331);
    struct checkpoint *cp = open_folder(&dir);
    l = begin(checkpoint_store(cp));
    assert_ok(checkpoint_restore(cp, l, &e), &e);
    hash_of(l, parts);
    assert_string_equal(whole, parts);
    assert_memory_equal(&learnt, learner_learnt(l), sizeof learnt);
    learner_free(l);
    checkpoint_close(cp);
    tmpdir_remove(&dir);
}

static void test_killed_between_copies_nothing_is_lost_or_learnt_twice(void **state)
{
    (void)state;
    set("join.negative_rate", "0.5");
    set("join.wait_ms", "20000");
    goes_on("fnw");
    goes_on("importance");
}

static void test_keys_that_do_not_agree_are_refused(void **state)
{
    (void)state;
    struct err e;
    set("join.loss", "fnw");
    set("join.cascade", "true");
    assert_int_equal(conf_check(world.conf, &e), STATUS_INVALID);
    assert_non_null(strstr(e.text, "join.cascade"));
    set("join.cascade", "false");
    set("model.position", "true");
    assert_int_equal(conf_check(world.conf, &e), STATUS_INVALID);
    assert_non_null(strstr(e.text, "model.position"));
    set("model.position", "false");
    assert_ok(conf_check(world.conf, &e), &e);
    set("join.loss", "importance");
    set("join.wait_ms", "60000"); /* join.window_ms of this world */
    assert_int_equal(conf_check(world.conf, &e), STATUS_INVALID);
    assert_non_null(strstr(e.text, "join.wait_ms"));
}

static int open_world(void **state)
{
    (void)state;
    learner_world_open(&world, 4000);
    set("model.parts", "numeric,hashed");
    set("join.organic", "false");
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
        cmocka_unit_test_teardown(test_every_example_is_learnt_and_positives_that_come_later_again, reset),
        cmocka_unit_test_teardown(test_weights_are_of_those_who_are_learnt_from, reset),
        cmocka_unit_test_teardown(test_negatives_are_learnt_at_their_rate, reset),
        cmocka_unit_test_teardown(test_what_was_not_looked_at_is_neither_learnt_nor_judged, reset),
        cmocka_unit_test_teardown(test_caps_count_copies, reset),
        cmocka_unit_test_teardown(test_killed_between_copies_nothing_is_lost_or_learnt_twice, reset),
        cmocka_unit_test_teardown(test_keys_that_do_not_agree_are_refused, reset),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}

/* test_variants.c - challengers: each learns what it would have learnt alone, the default line learns what it would without
 * them, and all of them go through a checkpoint together.
 * labels: quick
 * timeout: 180 */
#include "job/checkpoint.h"
#include "model/param.h"
#include "tests/support/check.h"
#include "tests/support/files.h"
#include "tests/support/learner_world.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct learner_world world;
static const char *const slow = "variant.slow.train.linear_rate=0.03", *const bare = "variant.bare.model.parts=numeric";

/* The world's configuration with these settings instead of the variants it had. */
static void configure(const char *const *settings)
{
    struct err e;
    conf_variants_free(world.conf);
    for (; *settings != NULL; settings++) assert_ok(conf_set_option(world.conf, *settings, &e), &e);
    assert_ok(conf_check(world.conf, &e), &e);
}

static struct learner *begin(struct store *store)
{
    struct learner *l;
    struct err e;
    world.in.store = store;
    assert_ok(learner_new(&l, &world.in, (struct learner_options){.learn = true}, &e), &e);
    return l;
}

static const char *hash_of(struct line *l)
{
    struct err e;
    assert_ok(param_sha256(l->params, &e), &e);
    return l->params->sha256;
}

static const char *line_hash(struct learner *l, size_t line)
{
    return hash_of(variants_line(learner_variants(l), line));
}

static struct learner *learnt(const char *const *settings)
{
    configure(settings);
    struct learner *l = begin(NULL);
    learner_world_rewind(&world);
    (void)learner_world_feed(&world, l, UINT64_MAX);
    return l;
}

static void test_each_line_learns_as_if_it_were_alone(void **state)
{
    (void)state;
    struct err e;
    struct learner *alone = learnt((const char *[]){NULL});
    struct learner *all = learnt((const char *[]){slow, bare, "variant.same.share=0.1", NULL});
    assert_int_equal(variants_count(learner_variants(all)), 3);
    assert_string_equal(line_hash(all, 0), line_hash(alone, 0));
    assert_string_equal(line_hash(all, 3), line_hash(alone, 0)); /* no key of its own */
    assert_string_not_equal(line_hash(all, 1), line_hash(alone, 0));
    learner_free(alone);
    char parts[CONF_TEXT + 16], rate[64];
    (void)snprintf(parts, sizeof parts, "model.parts=%s", world.conf->model_parts);
    (void)snprintf(rate, sizeof rate, "train.linear_rate=%.17g", world.conf->train_linear_rate);
    struct learner *other = learnt((const char *[]){"train.linear_rate=0.03", NULL});
    assert_string_equal(line_hash(all, 1), line_hash(other, 0));
    learner_free(other);
    assert_ok(conf_set_option(world.conf, rate, &e), &e);
    other = learnt((const char *[]){"model.parts=numeric", NULL});
    assert_string_equal(line_hash(all, 2), line_hash(other, 0));
    learner_free(other);
    assert_ok(conf_set_option(world.conf, parts, &e), &e);
    learner_free(all);
}

static void test_comparison_is_paired_on_the_same_slates(void **state)
{
    (void)state;
    static struct report r;
    struct learner *l = learnt((const char *[]){slow, "variant.same.share=0.1", NULL});
    learner_report(l, &r);
    assert_int_equal(r.n_variants, 3);
    assert_true(r.variants[0].in_charge && !r.variants[1].in_charge);
    assert_string_equal(r.variants[1].name, "slow");
    const struct report_paired *p = &r.variants[1].paired, *same = &r.variants[2].paired;
    assert_int_equal(p->slates, learner_counts(l)->slates);
    assert_true(p->logloss.lower <= p->logloss.mean && p->logloss.mean <= p->logloss.upper);
    assert_true(fabs(p->logloss.mean - (r.variants[1].progressive.logloss - r.variants[0].progressive.logloss)) < 1e-9);
    assert_true(fabs(p->gauc.mean - (r.variants[1].progressive.gauc - r.variants[0].progressive.gauc)) < 1e-9);
    assert_true(fabs(p->logloss.mean) > 1e-4);
    assert_true(fabs(same->gauc.mean) < 1e-12 && fabs(same->logloss.upper) < 1e-12);
    assert_true(fabs(r.variants[0].share - 0.9) < 1e-12);
    learner_free(l);
}

static struct checkpoint *open_folder(const struct tmpdir *dir)
{
    struct checkpoint *cp;
    struct err e;
    assert_ok(checkpoint_open(&cp, world.conf, dir->path, (struct checkpoint_options){0}, &e), &e);
    return cp;
}

/* Feeds n records into a learner on the folder, checkpoints, closes. */
static void run_some(const struct tmpdir *dir, uint64_t n, const char *promote)
{
    struct err e;
    struct checkpoint *cp = open_folder(dir);
    struct learner *l = begin(checkpoint_store(cp));
    assert_ok(checkpoint_restore(cp, l, &e), &e);
    if (promote != NULL) assert_ok(variants_promote(learner_variants(l), str_from(promote), 0, &e), &e);
    (void)learner_world_feed(&world, l, n);
    assert_ok(checkpoint_write(cp, l, &e), &e);
    learner_free(l);
    checkpoint_close(cp);
}

static void test_all_lines_go_through_a_checkpoint(void **state)
{
    (void)state;
    static struct report then, now;
    const struct tmpdir dir = tmpdir_make("variants");
    struct err e;
    const char *const settings[] = {slow, bare, NULL};
    struct learner *whole = learnt(settings);
    learner_world_rewind(&world);
    run_some(&dir, 1237, NULL); /* in the midst of orders, open slates and batches */
    struct checkpoint *cp = open_folder(&dir);
    struct learner *second = begin(checkpoint_store(cp));
    assert_ok(checkpoint_restore(cp, second, &e), &e);
    (void)learner_world_feed(&world, second, UINT64_MAX);
    for (size_t i = 0; i <= 2; i++) assert_string_equal(line_hash(second, i), line_hash(whole, i));
    learner_report(whole, &then);
    learner_report(second, &now);
    for (size_t i = 0; i <= 2; i++) { /* what it cost is of each run */
        then.variants[i].score_core_s = then.variants[i].learn_core_s = 0;
        now.variants[i].score_core_s = now.variants[i].learn_core_s = 0;
    }
    assert_memory_equal(then.variants, now.variants, sizeof then.variants);
    learner_free(second);
    learner_free(whole);
    checkpoint_close(cp);
    tmpdir_remove(&dir);
}

/* A line that follows has the first one's parameters of the last period's end, also when it was stopped in between. */
static void test_a_follower_takes_parameters_and_goes_through_a_checkpoint(void **state)
{
    (void)state;
    char often[64], once[64]; /* three times within the log; once of them */
    const struct tmpdir dir = tmpdir_make("variants");
    struct err e;
    struct learner *whole = learnt((const char *[]){NULL});
    const long long period = (learner_settled_ms(whole) - learner_first_ms(whole)) * 3 / 10;
    learner_free(whole);
    (void)snprintf(often, sizeof often, "variant.often.train.follow_ms=%lld", period);
    (void)snprintf(once, sizeof once, "variant.once.train.follow_ms=%lld", period);
    const char *const settings[] = {often, once, "variant.once.train.follow_times=1", NULL};
    whole = learnt(settings);
    assert_string_not_equal(line_hash(whole, 1), line_hash(whole, 0)); /* what came after the last period is missing */
    assert_string_not_equal(line_hash(whole, 2), line_hash(whole, 1)); /* … and all but the first one */
    struct report r;
    learner_report(whole, &r);
    assert_true(r.variants[1].learnt_examples > r.variants[2].learnt_examples && r.variants[2].learnt_examples > 0);
    assert_true(r.variants[0].learnt_examples > r.variants[1].learnt_examples);
    learner_world_rewind(&world);
    run_some(&dir, 1237, NULL);
    struct checkpoint *cp = open_folder(&dir);
    struct learner *second = begin(checkpoint_store(cp));
    assert_ok(checkpoint_restore(cp, second, &e), &e);
    (void)learner_world_feed(&world, second, UINT64_MAX);
    for (size_t i = 0; i <= 2; i++) assert_string_equal(line_hash(second, i), line_hash(whole, i));
    learner_free(second);
    learner_free(whole);
    checkpoint_close(cp);
    configure((const char *[]){often, "variant.often.model.parts=numeric", NULL});
    world.in.store = NULL;
    assert_int_equal(learner_new(&second, &world.in, (struct learner_options){.learn = true}, &e), STATUS_INVALID);
    tmpdir_remove((struct tmpdir *)(uintptr_t)&dir);
}

static void test_variants_come_and_go_and_the_default_line_does_not_notice(void **state)
{
    (void)state;
    const struct tmpdir dir = tmpdir_make("variants");
    struct err e;
    struct learner *alone = learnt((const char *[]){NULL});
    learner_world_rewind(&world);
    run_some(&dir, 700, NULL);
    configure((const char *[]){slow, NULL});
    run_some(&dir, 500, NULL);
    configure((const char *[]){bare, slow, NULL}); /* another order, one more */
    run_some(&dir, 500, NULL);
    configure((const char *[]){bare, NULL});
    run_some(&dir, 100, NULL);
    configure((const char *[]){slow, NULL}); /* gone with its hashed rows, so it begins anew */
    struct checkpoint *cp = open_folder(&dir);
    struct learner *l = begin(checkpoint_store(cp));
    assert_ok(checkpoint_restore(cp, l, &e), &e);
    struct learner *fresh = begin(NULL);
    assert_string_equal(line_hash(l, 1), line_hash(fresh, 1));
    learner_free(fresh);
    (void)learner_world_feed(&world, l, UINT64_MAX);
    assert_string_equal(line_hash(l, 0), line_hash(alone, 0));
    learner_free(l);
    learner_free(alone);
    checkpoint_close(cp);
    tmpdir_remove(&dir);
}

static void test_promotion_is_state_and_the_one_in_charge_must_stay(void **state)
{
    (void)state;
    static struct report r;
    const struct tmpdir dir = tmpdir_make("variants");
    struct err e;
    configure((const char *[]){slow, "variant.slow.share=0.2", NULL});
    learner_world_rewind(&world);
    run_some(&dir, 700, "slow");
    struct checkpoint *cp = open_folder(&dir);
    struct learner *l = begin(checkpoint_store(cp));
    assert_ok(checkpoint_restore(cp, l, &e), &e);
    assert_int_equal(variants_in_charge(learner_variants(l)), 1);
    learner_report(l, &r);
    assert_true(r.variants[1].in_charge);
    assert_true(fabs(r.variants[1].share - 1.0) < 1e-12);
    assert_int_equal(variants_promote(learner_variants(l), STR("none"), 0, &e), STATUS_NOT_FOUND);
    assert_non_null(strstr(e.text, "\"none\""));
    learner_free(l);
    configure((const char *[]){NULL});
    l = begin(checkpoint_store(cp));
    assert_int_equal(checkpoint_restore(cp, l, &e), STATUS_CONFLICT);
    assert_non_null(strstr(e.text, "slow"));
    learner_free(l);
    checkpoint_close(cp);
    tmpdir_remove(&dir);
}

static void test_changed_variant_is_refused_by_name(void **state)
{
    (void)state;
    const struct tmpdir dir = tmpdir_make("variants");
    struct err e;
    configure((const char *[]){slow, NULL});
    learner_world_rewind(&world);
    run_some(&dir, 300, NULL);
    configure((const char *[]){"variant.slow.train.linear_rate=0.04", NULL});
    struct checkpoint *cp = open_folder(&dir);
    struct learner *l = begin(checkpoint_store(cp));
    assert_int_equal(checkpoint_restore(cp, l, &e), STATUS_CONFLICT);
    assert_non_null(strstr(e.text, "variant slow"));
    assert_non_null(strstr(e.text, "train.linear_rate"));
    learner_free(l);
    checkpoint_close(cp);
    tmpdir_remove(&dir);
}

static void test_damaged_variant_file_is_noticed(void **state)
{
    (void)state;
    const struct tmpdir dir = tmpdir_make("variants");
    struct err e = {0};
    char path[400];
    struct checkpoint *cp = NULL;
    configure((const char *[]){slow, NULL});
    learner_world_rewind(&world);
    run_some(&dir, 300, NULL);
    (void)snprintf(path, sizeof path, "%s/weights/1.slow", dir.path);
    assert_int_equal(truncate(path, 1000), 0);
    assert_int_equal(checkpoint_open(&cp, world.conf, dir.path, (struct checkpoint_options){0}, &e), STATUS_CORRUPT);
    assert_non_null(strstr(e.text, "weights/1.slow"));
    tmpdir_remove(&dir);
}

static int open_world(void **state)
{
    (void)state;
    learner_world_open(&world, 3000);
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
        cmocka_unit_test(test_each_line_learns_as_if_it_were_alone),
        cmocka_unit_test(test_comparison_is_paired_on_the_same_slates),
        cmocka_unit_test(test_all_lines_go_through_a_checkpoint),
        cmocka_unit_test(test_a_follower_takes_parameters_and_goes_through_a_checkpoint),
        cmocka_unit_test(test_variants_come_and_go_and_the_default_line_does_not_notice),
        cmocka_unit_test(test_promotion_is_state_and_the_one_in_charge_must_stay),
        cmocka_unit_test(test_changed_variant_is_refused_by_name),
        cmocka_unit_test(test_damaged_variant_file_is_noticed),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}

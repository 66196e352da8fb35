/* test_conf_variant.c - [variant.NAME]: what may be changed, what follows, and who gets which. */
#include "base/mem.h"
#include "schemas/conf_table.h"
#include "schemas/conf_variant.h"
#include "tests/support/check.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static struct conf *made(const char *const *settings)
{
    struct conf *c = NULL;
    struct err e = {0};
    assert_ok(conf_new(&c, &e), &e);
    for (; *settings != NULL; settings++) assert_ok(conf_set_option(c, *settings, &e), &e);
    return c;
}

static void refused(const char *setting, const char *says)
{
    struct err e = {0};
    struct conf *c = made((const char *[]){NULL});
    assert_int_equal(conf_set_option(c, setting, &e), STATUS_INVALID);
    if (strstr(e.text, says) == NULL) fail_msg("%s: \"%s\" does not say \"%s\"", setting, e.text, says);
    assert_int_equal(c->n_variants, 0);
    conf_free(c);
}

static void test_only_the_lines_own_keys_may_change(void **state)
{
    (void)state;
    refused("variant.b.join.window_ms=5", "variant.b.join.window_ms: this key belongs to what all variants share");
    refused("variant.b.model.events=5", "variant.b.model.events");
    refused("variant.b.train.learning_rate=7", "variant.b.train.learning_rate: 7 is out of range");
    refused("variant.b.train.leaning_rate=1", "the nearest is 'train.learning_rate'");
    refused("variant.default.share=0.1", "is not \"default\"");
    refused("variant.a b.share=0.1", "key");
    refused("variant.a/b.share=0.1", "letters");
    refused("variant.b", "expected section.key=value");
    refused("variant.123456789012345678901234567890123.share=0", "1 to 32");
    refused("variant.b.variant.c.share=0.1", "variant.b.variant.c.share");
}

static void test_keys_that_change_what_is_judged_are_known(void **state)
{
    static const char *const alike[] = {"join.loss",      "join.wait_ms",      "join.negative_rate",
                                        "model.features", "describe.language", "history.pairs",
                                        "gate.share",     "type.click.weight", "type.a.b.template"};
    static const char *const others[] = {"join.window_ms",       "join.cascade", "join.seed", "ingest.schema",
                                         "eval.conversion",      "state.dir",    "redis.url", "type.click.label",
                                         "variant.b.train.seed", "kafka.x"};
    (void)state;
    for (size_t i = 0; i < sizeof alike / sizeof *alike; i++) assert_true(conf_judges_alike(alike[i]));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) assert_false(conf_judges_alike(others[i]));
    for (size_t i = 0; i < conf_n_keys; i++) /* variants are compared on the same lists */
        assert_true(!conf_is_lines_own(conf_keys[i].key) || conf_judges_alike(conf_keys[i].key));
}

static void test_own_values_are_bounded(void **state)
{
    (void)state;
    struct err e = {0};
    struct conf *c = made((const char *[]){"variant.b.share=0.5", NULL});
    assert_int_equal(conf_set_option(c, "variant.b.share=1.5", &e), STATUS_INVALID);
    assert_int_equal(conf_set_option(c, "variant.b.share=nan", &e), STATUS_INVALID);
    assert_int_equal(conf_set_option(c, "variant.b.share=0.5x", &e), STATUS_INVALID);
    assert_int_equal(conf_set_option(c, "variant.b.shadow=yes", &e), STATUS_INVALID);
    assert_ok(conf_set_option(c, "variant.c.share=0.5", &e), &e);
    assert_int_equal(conf_check(c, &e), STATUS_INVALID);
    assert_non_null(strstr(e.text, "must stay below 1"));
    assert_ok(conf_set_option(c, "variant.c.shadow=true", &e), &e); /* serves nobody */
    assert_ok(conf_check(c, &e), &e);
    for (int i = 2; i < CONF_VARIANTS_MAX; i++) {
        char text[40];
        (void)snprintf(text, sizeof text, "variant.v%d.share=0", i);
        assert_ok(conf_set_option(c, text, &e), &e);
    }
    assert_int_equal(conf_set_option(c, "variant.more.share=0", &e), STATUS_INVALID);
    assert_non_null(strstr(e.text, "which is the most"));
    conf_free(c);
}

static void test_a_line_is_the_base_with_its_keys(void **state)
{
    (void)state;
    struct err e = {0};
    struct conf *own = NULL, *world = NULL;
    struct conf *c =
        made((const char *[]){"model.name=shop", "model.parts=numeric", "variant.b.train.seed=9",
                              "variant.b.model.parts=text, numeric", "variant.b.train.seed=10", "kafka.x=y", NULL});
    assert_int_equal(conf_lines(c), 2);
    assert_string_equal(conf_line_name(c, 0), "default");
    assert_int_equal(conf_line_find(c, STR("b")), 1);
    assert_int_equal(conf_line_find(c, STR("c")), SIZE_MAX);
    assert_ok(conf_line_new(&own, c, 1, &e), &e);
    assert_int_equal(own->train_seed, 10);
    assert_string_equal(own->model_name, "shop/b");
    assert_string_equal(own->model_parts, "text, numeric");
    assert_int_equal(own->n_kafka + own->n_variants, 0);
    conf_free(own);
    assert_ok(conf_line_new(&own, c, 0, &e), &e);
    assert_int_equal(own->train_seed, c->train_seed);
    assert_string_equal(own->model_name, "shop");
    conf_free(own);
    assert_ok(conf_world_new(&world, c, &e), &e);
    assert_string_equal(world->model_parts, "numeric,text");
    conf_free(world);
    conf_free(c);
}

static void test_a_line_must_pass_the_rules_over_several_keys(void **state)
{
    (void)state;
    struct err e = {0};
    struct conf *c = made((const char *[]){"variant.b.model.item_view=concat", NULL});
    assert_int_equal(conf_check(c, &e), STATUS_INVALID);
    assert_non_null(strstr(e.text, "variant.b: model.user_view"));
    conf_free(c);
}

/* What is printed reads back as the same. */
static void test_dump_reads_back(void **state)
{
    (void)state;
    struct buf b = {0};
    struct conf *c = made((const char *[]){"variant.b.share=0.05", "variant.b.train.seed=9", NULL});
    conf_dump(c, &b);
    buf_u8(&b, 0);
    assert_non_null(strstr((const char *)b.p, "\n[variant.b]\nshare = 0.05\nshadow = false\ntrain.seed = 9\n"));
    buf_fini(&b);
    conf_free(c);
}

static size_t line_of(const struct conf *c, int user, size_t in_charge)
{
    char id[20];
    (void)snprintf(id, sizeof id, "u%d", user);
    return conf_line_of_user(c, str_from(id), in_charge);
}

static void test_users_are_split_by_the_shares_and_stay(void **state)
{
    (void)state;
    enum { USERS = 100000 };
    size_t n[3] = {0};
    struct conf *c = made((const char *[]){"variant.b.share=0.05", "variant.c.share=0.2", NULL});
    struct conf *more = made((const char *[]){"variant.b.share=0.08", "variant.c.share=0.2", NULL});
    for (int i = 0; i < USERS; i++) {
        const size_t line = line_of(c, i, 0);
        n[line]++;
        assert_int_equal(line, line_of(c, i, 0));
        if (line == 1) assert_int_equal(line_of(more, i, 0), 1); /* a canary that grows keeps those it had */
    }
    assert_true(fabs((double)n[1] / USERS - 0.05) < 0.003);
    assert_true(fabs((double)n[2] / USERS - 0.2) < 0.005);
    assert_int_equal(conf_line_of_user(c, STR(""), 2), 2); /* who is not known gets the one in charge */
    conf_free(more);
    conf_free(c);
}

static void test_the_one_in_charge_gets_the_rest(void **state)
{
    (void)state;
    struct conf *c =
        made((const char *[]){"variant.b.share=0.25", "variant.c.share=0.5", "variant.c.shadow=true", NULL});
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(line_of(c, i, 1), 1); /* b's own share too; a shadow has none */
        assert_true(line_of(c, i, 0) < 2);
    }
    assert_true(fabs(conf_line_share(c, 0, 0) - 0.75) < 1e-12);
    assert_true(fabs(conf_line_share(c, 1, 1) - 1.0) < 1e-12);
    assert_true(fabs(conf_line_share(c, 0, 1)) < 1e-12);
    assert_true(conf_line_shadow(c, 2, 0) && !conf_line_shadow(c, 2, 2) && !conf_line_shadow(c, 0, 2));
    conf_free(c);
}

static void test_reload_takes_shares_alone(void **state)
{
    (void)state;
    bool restart;
    struct conf *c = made((const char *[]){"variant.b.share=0.25", "variant.b.train.seed=2", NULL});
    struct conf *same = made((const char *[]){"variant.b.share=0.3", "variant.b.train.seed=2", NULL});
    struct conf *other = made((const char *[]){"variant.b.share=0.4", "variant.b.train.seed=3", NULL});
    assert_int_equal(conf_variants_take_live(c, same, &restart), 1);
    assert_false(restart);
    assert_true(fabs(c->variants[0].share - 0.3) < 1e-12);
    assert_int_equal(conf_variants_take_live(c, other, &restart), 0);
    assert_true(restart);
    assert_true(fabs(c->variants[0].share - 0.3) < 1e-12);
    conf_free(other);
    conf_free(same);
    conf_free(c);
}

static enum status set_on_new(const char *setting)
{
    struct conf *c;
    struct err e;
    enum status st = conf_new(&c, &e);
    if (st != STATUS_OK) return st;
    st = conf_set_option(c, setting, &e);
    conf_free(c);
    return st;
}

static void test_setting_survives_each_failed_allocation(void **state)
{
    (void)state;
    long met;
    FAIL_EACH_ALLOCATION(met, set_on_new("variant.b.train.seed=3"));
    assert_true(met >= 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_the_lines_own_keys_may_change),
        cmocka_unit_test(test_keys_that_change_what_is_judged_are_known),
        cmocka_unit_test(test_own_values_are_bounded),
        cmocka_unit_test(test_a_line_is_the_base_with_its_keys),
        cmocka_unit_test(test_a_line_must_pass_the_rules_over_several_keys),
        cmocka_unit_test(test_dump_reads_back),
        cmocka_unit_test(test_users_are_split_by_the_shares_and_stay),
        cmocka_unit_test(test_the_one_in_charge_gets_the_rest),
        cmocka_unit_test(test_reload_takes_shares_alone),
        cmocka_unit_test(test_setting_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

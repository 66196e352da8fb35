/* test_conf_live.c - a configuration read again: live keys are taken, all others keep their values and are named. */
#include "tests/support/check.h"

#include "schemas/conf_live.h"
#include "schemas/conf_table.h"
#include <string.h>
#include <unistd.h>

static struct conf *made(const char *const *settings)
{
    struct conf *c = NULL;
    struct err e = {0};
    assert_ok(conf_new(&c, &e), &e);
    for (; *settings != NULL; settings++) assert_ok(conf_set_option(c, *settings, &e), &e);
    return c;
}

/* What is written to stderr while `fresh` is taken into c. */
static struct conf_live take(struct conf *c, const struct conf *fresh, char text[4096])
{
    int fds[2];
    const int kept = dup(STDERR_FILENO);
    assert_int_equal(pipe(fds), 0);
    (void)dup2(fds[1], STDERR_FILENO);
    const struct conf_live n = conf_take_live(c, fresh);
    (void)dup2(kept, STDERR_FILENO);
    (void)close(fds[1]);
    (void)close(kept);
    const ssize_t bytes = read(fds[0], text, 4095);
    text[bytes > 0 ? bytes : 0] = 0;
    (void)close(fds[0]);
    return n;
}

static void test_live_keys_are_taken_and_others_named(void **state)
{
    char text[4096];
    (void)state;
    struct conf *c = made((const char *[]){"publish.every_ms=500", NULL});
    struct conf *fresh =
        made((const char *[]){"publish.every_ms=700", "state.keep=9", "train.seed=7", "model.name=other",
                              "type.click.weight=2", "kafka.sasl.password=secret", NULL});
    const struct conf_live n = take(c, fresh, text);
    assert_int_equal(n.changed, 2);
    assert_int_equal(n.restart, 4);
    assert_int_equal(c->publish_every_ms, 700);
    assert_int_equal(c->state_keep, 9);
    assert_int_equal(c->train_seed, 1);
    assert_string_equal(c->model_name, "default");
    assert_non_null(strstr(text, "key=publish.every_ms old=500 new=700"));
    assert_non_null(strstr(text, "key=train.seed changed=\"no: it needs a restart\""));
    assert_non_null(strstr(text, "key=kafka.* changed=\"no"));
    assert_null(strstr(text, "secret"));
    conf_free(fresh);
    conf_free(c);
}

static void test_the_same_again_changes_nothing(void **state)
{
    char text[4096];
    (void)state;
    struct conf *c = made((const char *[]){"kafka.a=b", NULL}), *fresh = made((const char *[]){"kafka.a=b", NULL});
    const struct conf_live n = take(c, fresh, text);
    assert_int_equal(n.changed + n.restart, 0);
    conf_free(fresh);
    conf_free(c);
}

static void test_live_keys_of_every_kind_are_taken(void **state)
{
    char text[4096];
    (void)state;
    struct conf *c = made((const char *[]){"guard.mode=pause", NULL});
    struct conf *fresh = made((const char *[]){"guard.mode=warn", "guard.counts=false", "guard.label_shift=0.5",
                                               "guard.pause_on=volume", NULL});
    const struct conf_live n = take(c, fresh, text);
    assert_int_equal(n.changed, 4);
    assert_string_equal(c->guard_mode, "warn");
    assert_string_equal(c->guard_pause_on, "volume");
    assert_true(!c->guard_counts && c->guard_label_shift > 0.49 && c->guard_label_shift < 0.51);
    conf_free(fresh);
    conf_free(c);
}

/* Other threads read whole numbers (conf_now); the guard's keys are the learner's thread's alone. */
static void test_every_live_key_is_a_whole_number_or_the_guards_and_of_no_meaning(void **state)
{
    size_t live = 0;
    (void)state;
    for (size_t i = 0; i < conf_n_keys; i++) {
        if (strchr(conf_keys[i].flags, 'L') == NULL) continue;
        live++;
        assert_true(conf_keys[i].kind == CONF_KIND_INT || strncmp(conf_keys[i].key, "guard.", 6) == 0);
        assert_null(strchr(conf_keys[i].flags, 'S'));
    }
    assert_true(live >= 14);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_live_keys_are_taken_and_others_named),
        cmocka_unit_test(test_the_same_again_changes_nothing),
        cmocka_unit_test(test_live_keys_of_every_kind_are_taken),
        cmocka_unit_test(test_every_live_key_is_a_whole_number_or_the_guards_and_of_no_meaning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

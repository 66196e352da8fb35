/* test_child.c - work in a child: its answer, its error, its death and its hanging all come back as what they are.
 * labels: quick
 * timeout: 60 */
#include "base/child.h"
#include "tests/support/check.h"
#include <signal.h>
#include <string.h>
#include <unistd.h>

static struct err e;

static enum status answer_twice(void *user, void *answer, struct err *err)
{
    (void)err;
    *(int *)answer = 2 * *(int *)user;
    return STATUS_OK;
}

static enum status refuse(void *user, void *answer, struct err *err)
{
    (void)user, (void)answer;
    return ERR_SET(err, STATUS_UNSUPPORTED, "no such thing as %d", 7);
}

static enum status crash(void *user, void *answer, struct err *err)
{
    (void)answer, (void)err;
    (void)signal(*(int *)user, SIG_DFL);
    (void)raise(*(int *)user);
    return STATUS_OK;
}

static enum status hang(void *user, void *answer, struct err *err)
{
    (void)user, (void)answer, (void)err;
    while (pause() != 0) continue;
    return STATUS_OK;
}

static void test_answers_and_errors_come_back(void **state)
{
    (void)state;
    int in = 21, out = 0;
    assert_ok(child_run(answer_twice, &in, &out, sizeof out, 20000, -1, &e), &e);
    assert_int_equal(out, 42);
    assert_int_equal(child_run(refuse, NULL, &out, sizeof out, 20000, -1, &e), STATUS_UNSUPPORTED);
    assert_string_equal(e.text, "no such thing as 7");
    assert_int_equal(child_run(answer_twice, &in, &out, 100000, 20000, -1, &e), STATUS_INVALID);
}

static void test_death_and_hanging_are_damage(void **state)
{
    (void)state;
    const int signals[] = {SIGKILL, SIGTERM, SIGUSR1};
    int out;
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        int number = signals[i];
        assert_int_equal(child_run(crash, &number, &out, sizeof out, 20000, -1, &e), STATUS_CORRUPT);
        assert_non_null(strstr(e.text, "signal"));
    }
    assert_int_equal(child_run(hang, NULL, &out, sizeof out, 100, -1, &e), STATUS_CORRUPT);
    assert_non_null(strstr(e.text, "did not end"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_and_errors_come_back),
        cmocka_unit_test(test_death_and_hanging_are_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

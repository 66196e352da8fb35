/* test_publish_holder.c - which owners of a lease are gone: killed ones, reaped or not, and those whose number another has. */
#include "serving/publish_holder.h"
#include "tests/support/check.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* A child that waits to be killed. */
static pid_t start_child(void)
{
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) (void)pause();
    }
    return pid;
}

/* This process, through the text of a lease and back. */
static struct publish_holder ourselves(void)
{
    char text[800];
    struct publish_holder h;
    publish_holder_self(&h);
    (void)snprintf(h.owner, sizeof h.owner, "abc");
    h.epoch = 7;
    publish_holder_format(&h, text, sizeof text);
    struct publish_holder back;
    publish_holder_parse(str_from(text), &back);
    assert_memory_equal(&back, &h, sizeof h);
    return back;
}

static void test_text_of_a_lease_comes_back(void **state)
{
    (void)state;
    const struct publish_holder h = ourselves();
    assert_int_equal(h.pid, getpid());
    assert_true(h.born[0] != '\0' && h.space[0] != '\0' && h.host[0] != '\0');
    assert_false(publish_holder_killed(&h));
}

/* A process that runs long enough to write its holder down for us. */
static pid_t fork_holder(struct publish_holder *h)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct publish_holder me;
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        publish_holder_self(&me);
        if (write(ends[1], &me, sizeof me) != (ssize_t)sizeof me) _exit(1);
        for (;;) (void)pause();
    }
    (void)close(ends[1]);
    assert_int_equal(read(ends[0], h, sizeof *h), sizeof *h);
    (void)close(ends[0]);
    return pid;
}

static void test_a_stopped_process_lives_and_a_killed_one_does_not(void **state)
{
    (void)state;
    struct publish_holder h;
    const pid_t pid = fork_holder(&h);
    assert_int_equal(h.pid, pid);
    assert_false(publish_holder_killed(&h));
    assert_int_equal(kill(pid, SIGSTOP), 0);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WSTOPPED), 0);
    assert_false(publish_holder_killed(&h));
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0); /* dead, not reaped */
    assert_true(publish_holder_killed(&h));
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_true(publish_holder_killed(&h));
}

static void test_another_process_with_its_number_is_not_it(void **state)
{
    (void)state;
    struct publish_holder h = ourselves();
    const pid_t other = start_child();
    h.pid = other; /* began later than h.born says */
    (void)snprintf(h.born + strlen(h.born), sizeof h.born - strlen(h.born), "0");
    assert_true(publish_holder_killed(&h));
    h.born[0] = '\0'; /* a lease of before there was one: only its number is known */
    assert_false(publish_holder_killed(&h));
    assert_int_equal(kill(other, SIGKILL), 0);
    assert_int_equal(waitpid(other, NULL, 0), other);
}

static void test_of_other_hosts_nothing_is_known(void **state)
{
    (void)state;
    struct publish_holder h = ourselves(), x = h;
    x.pid = 4194305; /* beyond the kernel's largest */
    assert_true(publish_holder_killed(&x));
    (void)snprintf(x.host, sizeof x.host, "elsewhere");
    assert_false(publish_holder_killed(&x));
    x = h, x.pid = 4194305;
    (void)snprintf(x.space, sizeof x.space, "pid:[1]");
    assert_false(publish_holder_killed(&x));
    x.space[0] = '\0';
    assert_false(publish_holder_killed(&x));
    publish_holder_parse(STR("no JSON"), &x);
    assert_string_equal(x.host, "?");
    assert_int_equal(x.pid, 0);
    assert_false(publish_holder_killed(&x));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_of_a_lease_comes_back),
        cmocka_unit_test(test_a_stopped_process_lives_and_a_killed_one_does_not),
        cmocka_unit_test(test_another_process_with_its_number_is_not_it),
        cmocka_unit_test(test_of_other_hosts_nothing_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

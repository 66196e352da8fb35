/* test_job_parts.c - when a part is said to cost more than it brings. */
#include "job/job_parts.h"
#include "tests/support/check.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static struct report report_of(double gain, double share)
{
    struct report r = {.n_parts = 2};
    r.progressive.gauc = 0.8;
    r.progressive.slates = JOB_PARTS_SLATES;
    (void)snprintf(r.parts[0].name, sizeof r.parts[0].name, "text");
    (void)snprintf(r.parts[1].name, sizeof r.parts[1].name, "numeric");
    r.parts[0].gauc_without = 0.8 - gain;
    r.parts[0].cost_share = share;
    r.parts[0].score_us = 12.3;
    r.parts[0].learn_us = 45.6;
    r.parts[1].gauc_without = 0.7;
    r.parts[1].cost_share = 1 - share;
    return r;
}

static bool dear(const struct conf *c, struct report r, char text[500])
{
    return job_part_is_dear(c, &r, 0, text, 500);
}

static void test_dear_parts_are_those_that_take_much_and_bring_little(void **state)
{
    (void)state;
    struct conf *c;
    struct err e;
    char text[500];
    assert_ok(conf_new(&c, &e), &e);
    assert_ok(conf_set(c, "eval.part_cost_share", "0.4", &e), &e);
    assert_ok(conf_set(c, "eval.part_min_gain", "0.001", &e), &e);
    assert_true(dear(c, report_of(0.0004, 0.75), text));
    const char *const says[] = {
        "part text", "75%", "12.3 us", "45.6 us", "+0.0004 GAUC", "eval.part_min_gain=0.001", "model.trainable_layers"};
    for (size_t i = 0; i < sizeof says / sizeof *says; i++)
        if (strstr(text, says[i]) == NULL) fail_msg("\"%s\" does not say %s", text, says[i]);
    assert_true(dear(c, report_of(-0.01, 0.41), text));
    assert_false(dear(c, report_of(0.0011, 0.75), text));
    assert_false(dear(c, report_of(0.0004, 0.39), text));
    assert_false(dear(c, report_of(0.0004, NAN), text)); /* nothing was timed */
    assert_false(dear(c, report_of(NAN, 0.75), text));
    static struct report_detail detail;
    struct report r = report_of(0.0021, 0.75);
    r.detail = &detail;
    detail.part_gauc[0] = (struct report_interval){.mean = 0.0021, .lower = -0.0002, .upper = 0.004};
    assert_true(dear(c, r, text)); /* it may be chance */
    assert_non_null(strstr(text, "+0.0021 GAUC, which may be chance"));
    detail.part_gauc[0].lower = 0.0001;
    assert_false(dear(c, r, text));
    r = report_of(0.0004, 0.75);
    r.progressive.slates--;
    assert_false(dear(c, r, text)); /* too early to say */
    r = report_of(0.0004, 0.75);
    r.n_parts = 1; /* without it there is no model */
    assert_false(dear(c, r, text));
    conf_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_dear_parts_are_those_that_take_much_and_bring_little)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_preset_pattern.c - atoms of regular expressions: plain ones are few, stacked and nested repetitions are many. */
#include "tests/support/check.h"

#include "ingest/preset_pattern.h"
#include <string.h>

static void test_plain_patterns_cost_what_they_are_long(void **state)
{
    (void)state;
    assert_int_equal(preset_pattern_atoms(""), 0);
    assert_int_equal(preset_pattern_atoms("abc"), 3);
    assert_int_equal(preset_pattern_atoms("a\\{9"), 3);
    assert_int_equal(preset_pattern_atoms("^[]+{9}[:alpha:]]$"), 3);
    assert_true(preset_pattern_atoms("^[A-Z]+[0-9]{5}(-[0-9]{4})?$") < 40);
    assert_true(preset_pattern_atoms("^(gift|manual|postage|[0-9]{1,6}[A-Z]?)+$") < 100);
}

static void test_repetitions_are_written_out(void **state)
{
    (void)state;
    assert_true(preset_pattern_atoms("a{400}") > 400);
    assert_true(preset_pattern_atoms("(ab){3,90}") > 180);
    assert_true(preset_pattern_atoms("a{100}b{100}") < PRESET_PATTERN_MAX);
}

static void test_stacked_and_nested_repetitions_are_too_many(void **state)
{
    (void)state;
    char deep[300] = "";
    assert_true(preset_pattern_atoms("1# ++++++++++++++++++++++++++++++++++++++") > PRESET_PATTERN_MAX);
    assert_true(preset_pattern_atoms("((a{99}){99}){99}") > PRESET_PATTERN_MAX);
    assert_true(preset_pattern_atoms("a{600}") > PRESET_PATTERN_MAX);
    assert_true(preset_pattern_atoms("(((((((((((((((x+)+)+)+)+)+)+)+)+)+)+)+)+)+)+)+") > PRESET_PATTERN_MAX);
    assert_true(preset_pattern_atoms("a+*") > PRESET_PATTERN_MAX);
    for (int i = 0; i < 100; i++) strcat(deep, "(");
    assert_true(preset_pattern_atoms(deep) > PRESET_PATTERN_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_patterns_cost_what_they_are_long),
        cmocka_unit_test(test_repetitions_are_written_out),
        cmocka_unit_test(test_stacked_and_nested_repetitions_are_too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

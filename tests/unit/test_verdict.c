/* test_verdict.c - the version log: ranges of a discarded line, the oldest leaves, state in and out, damage is refused. */
#include "job/verdict.h"
#include "tests/support/check.h"
#include <stdio.h>
#include <string.h>

static struct verdict_log g, back;

static void add(enum verdict_kind kind, uint64_t version, uint64_t about)
{
    struct err e;
    const struct verdict v = {.kind = kind, .version = version, .about = about, .who = "gate", .reason = "why"};
    assert_ok(verdict_add(&g, &v, NULL, 0, NULL, 0, &e), &e);
}

static void test_ranges_are_what_was_learnt_since(void **state)
{
    (void)state;
    struct err e;
    const struct source_offset from[] = {{.topic = 0, .partition = 0, .next = 10}, {.topic = 0, .partition = 1, .next = 7}};
    const struct source_offset now[] = {{.topic = 0, .partition = 1, .next = 7},
                                        {.topic = 0, .partition = 0, .next = 30},
                                        {.topic = 1, .partition = 0, .next = 4}};
    const struct verdict v = {.kind = VERDICT_ROLLBACK, .version = 9, .about = 5};
    assert_ok(verdict_add(&g, &v, from, 2, now, 3, &e), &e);
    assert_int_equal(g.items[0].n_ranges, 2); /* nothing of partition 1 */
    assert_true(g.items[0].ranges[0].from == 10 && g.items[0].ranges[0].to == 30);
    assert_true(g.items[0].ranges[1].topic == 1 && g.items[0].ranges[1].from == 0 && g.items[0].ranges[1].to == 4);
    verdict_fini(&g);
}

static void test_what_is_said_of_a_version(void **state)
{
    (void)state;
    add(VERDICT_BLESS, 5, 5);
    add(VERDICT_REFUSE, 8, 0);
    add(VERDICT_ROLLBACK, 9, 5);
    add(VERDICT_UNPIN, 10, 7);
    assert_int_equal(verdict_of(&g, 5)->kind, VERDICT_ROLLBACK);
    assert_int_equal(verdict_of(&g, 8)->kind, VERDICT_REFUSE);
    assert_null(verdict_of(&g, 7));
    assert_null(verdict_of(&g, 0));
    for (uint64_t v = 1; v < 12; v++) assert_int_equal(verdict_discards(&g, v), v > 5 && v <= 9);
    verdict_fini(&g);
}

static void test_the_oldest_leaves(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= VERDICTS_MAX + 10; i++) add(VERDICT_BLESS, i, i);
    assert_int_equal(g.n, VERDICTS_MAX);
    assert_int_equal(g.total, VERDICTS_MAX + 10);
    assert_int_equal(g.items[0].about, 11);
    assert_int_equal(g.items[VERDICTS_MAX - 1].about, VERDICTS_MAX + 10);
    verdict_fini(&g);
}

static void test_state_comes_back(void **state)
{
    (void)state;
    struct err e;
    struct buf b = {0};
    const struct source_offset from = {.next = 3}, now = {.next = 8};
    struct verdict v = {.kind = VERDICT_ROLLBACK, .version = 9, .about = 5, .time_ms = -1, .wall_ms = 77, .examples = 4};
    (void)snprintf(v.who, sizeof v.who, "ann@host");
    assert_ok(verdict_add(&g, &v, &from, 1, &now, 1, &e), &e);
    add(VERDICT_PIN, 10, 9);
    verdict_encode(&b, &g);
    struct buf_reader r = buf_reader(b.p, b.n);
    assert_ok(verdict_decode(&back, &r, &e), &e);
    assert_int_equal(back.n, 2);
    assert_int_equal(back.total, 2);
    assert_string_equal(back.items[0].who, "ann@host");
    assert_true(back.items[0].ranges[0].from == 3 && back.items[0].ranges[0].to == 8);
    assert_true(back.items[0].time_ms == -1 && back.items[0].wall_ms == 77 && back.items[0].examples == 4);
    const long live = mem_live();
    for (size_t n = 0; n < b.n; n++) {
        r = buf_reader(b.p, n);
        assert_int_not_equal(verdict_decode(&back, &r, &e), STATUS_OK);
        verdict_fini(&back);
    }
    assert_true(mem_live() < live);
    verdict_fini(&g);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges_are_what_was_learnt_since),
        cmocka_unit_test(test_what_is_said_of_a_version),
        cmocka_unit_test(test_the_oldest_leaves),
        cmocka_unit_test(test_state_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

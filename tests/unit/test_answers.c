/* test_answers.c - answers wait for their lists: found by request, the oldest give way, and where reading begins again.
 * labels: quick */
#include "base/hash.h"
#include "job/answers.h"
#include "tests/support/check.h"

static struct served_answer *answer(uint64_t request, uint64_t seq, uint32_t n)
{
    struct served_answer *a = mem_calloc(1, sizeof *a + n * sizeof a->items[0]);
    assert_non_null(a);
    *a = (struct served_answer){.id = {7, seq}, .request = request, .n = n};
    return a;
}

static void put(struct answers *a, uint64_t request, uint64_t seq)
{
    struct err e;
    assert_ok(answers_put(a, answer(request, seq, 3), false, &e), &e);
}

/* Requests that share their home in the table, so that what is removed has others behind it. */
static void test_found_until_newer_ones_take_the_place(void **state)
{
    (void)state;
    enum { CAPACITY = 8 };
    struct answers *a;
    struct err e;
    assert_ok(answers_new(&a, CAPACITY, &e), &e);
    for (uint64_t i = 1; i <= 100; i++) {
        put(a, (i % 3) + i * 16, i);
        for (uint64_t k = 1; k <= i; k++) {
            const struct served_answer *found = answers_find(a, (k % 3) + k * 16);
            assert_int_equal(found != NULL, k + CAPACITY > i);
            if (found != NULL) assert_int_equal(found->id.seq, k);
        }
    }
    assert_int_equal(answers_unmatched(a), 100 - CAPACITY);
    answers_free(a);
}

static void test_used_ones_are_not_unmatched_and_not_read_again(void **state)
{
    (void)state;
    struct answers *a;
    struct err e;
    const struct served_id newest = {7, 4};
    assert_ok(answers_new(&a, 2, &e), &e);
    assert_int_equal(answers_from(a, newest).seq, 4);
    put(a, 1, 1);
    put(a, 2, 2);
    assert_int_equal(answers_from(a, newest).seq, 0);
    answers_use(a, 1);
    answers_use(a, 1);
    assert_int_equal(answers_from(a, newest).seq, 0); /* two lists show it, and are open */
    answers_settled(a, 1);
    assert_int_equal(answers_from(a, newest).seq, 0);
    answers_settled(a, 1);
    assert_int_equal(answers_from(a, newest).seq, 1);
    answers_settled(a, 2); /* opened before this process */
    assert_int_equal(answers_from(a, newest).seq, 4);
    put(a, 3, 3);
    put(a, 4, 4);
    assert_int_equal(answers_unmatched(a), 0);
    assert_ok(answers_put(a, answer(5, 5, 3), true, &e), &e);
    assert_ok(answers_put(a, answer(6, 6, 3), true, &e), &e);
    assert_int_equal(answers_unmatched(a), 2);
    put(a, 7, 7);
    assert_int_equal(answers_unmatched(a), 2); /* 5 was taken before, in an earlier process */
    answers_free(a);
}

/* A request that is asked again: the newer answer is what was shown, and stays when the older one goes. */
static void test_the_newest_answer_of_a_request_counts(void **state)
{
    (void)state;
    struct answers *a;
    struct err e;
    assert_ok(answers_new(&a, 3, &e), &e);
    put(a, 1, 1);
    put(a, 1, 2);
    put(a, 2, 3);
    put(a, 3, 4); /* the first one gives way */
    assert_int_equal(answers_find(a, 1)->id.seq, 2);
    put(a, 4, 5);
    assert_null(answers_find(a, 1));
    answers_free(a);
}

static void test_bytes_are_bounded(void **state)
{
    (void)state;
    struct answers *a;
    struct err e;
    const uint32_t half = (uint32_t)(2 * ANSWERS_BYTES / sizeof(struct served_item));
    const long live = mem_live();
    assert_ok(answers_new(&a, 4, &e), &e);
    for (uint64_t i = 1; i <= 3; i++) assert_ok(answers_put(a, answer(i, i, half - 20), false, &e), &e);
    assert_null(answers_find(a, 1)); /* two fill what four of the usual size would */
    assert_non_null(answers_find(a, 3));
    assert_int_equal(answers_put(a, answer(4, 4, 3 * half), false, &e), STATUS_FULL);
    answers_free(a);
    assert_int_equal(mem_live(), live);
}

static void test_fails_cleanly_without_memory(void **state)
{
    (void)state;
    struct answers *a;
    struct err e;
    long n;
    FAIL_EACH_ALLOCATION(n, answers_new(&a, 10, &e));
    assert_true(n >= 3);
    answers_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found_until_newer_ones_take_the_place),
        cmocka_unit_test(test_used_ones_are_not_unmatched_and_not_read_again),
        cmocka_unit_test(test_the_newest_answer_of_a_request_counts),
        cmocka_unit_test(test_bytes_are_bounded),
        cmocka_unit_test(test_fails_cleanly_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_eval_cohort.c - what became of shown lists, by when they were shown: counted by hand, the newest kept, packed.
 * labels: quick */
#include "tests/support/check.h"
#include "trainer/eval_cohort.h"
#include <string.h>

static struct report_cohort list(uint64_t shown, uint64_t taken, uint64_t converted)
{
    return (struct report_cohort){
        .lists = 1, .shown = shown, .taken = taken, .converted = converted, .converted_lists = converted > 0};
}

static void test_a_list_is_counted_by_its_marks(void **state)
{
    (void)state;
    struct slate_item items[4] = {
        {.label = 1.0f, .tasks = 1},
        {.label = 1.0f, .tasks = SLATE_CONVERTED | 2},
        {.label = 0.0f},
        {.label = 0.0f, .tasks = SLATE_CONVERTED}}; /* a type whose label is none may convert */
    struct slate s = {.source = SLATE_IMPRESSION, .items = items, .n_items = 4};
    struct report_cohort c = eval_cohort_of(&s);
    assert_true(c.lists == 1 && c.shown == 4 && c.taken == 2 && c.converted == 2 && c.converted_lists == 1);
    s.n_unseen = 3; /* shown all the same */
    c = eval_cohort_of(&s);
    assert_true(c.shown == 7 && c.taken == 2 && c.converted == 2);
    s.source = SLATE_ORGANIC;
    c = eval_cohort_of(&s);
    assert_true(c.lists == 0 && c.shown == 0 && c.taken == 0 && c.converted == 0);
}

static void test_the_newest_cohorts_stay(void **state)
{
    (void)state;
    struct eval_cohorts c;
    struct report_cohort out[REPORT_COHORTS];
    const struct report_cohort one = list(10, 2, 1);
    eval_cohorts_init(&c, 100);
    assert_int_equal(eval_cohorts_report(&c, out), 0);
    eval_cohorts_add(&c, -1, &one); /* before the epoch, too */
    eval_cohorts_add(&c, 250, &one);
    eval_cohorts_add(&c, 199, &one); /* shown earlier, settled later */
    eval_cohorts_add(&c, 100, &one);
    assert_int_equal(eval_cohorts_report(&c, out), 3);
    assert_true(out[0].from_ms == -100 && out[0].to_ms == 0 && out[0].lists == 1);
    assert_true(out[1].from_ms == 100 && out[1].lists == 2 && out[1].shown == 20 && out[1].converted_lists == 2);
    assert_true(out[2].from_ms == 200 && out[2].lists == 1);
    for (int64_t i = 0; i < 100; i++) eval_cohorts_add(&c, 1000 + 100 * i, &one);
    eval_cohorts_add(&c, 1000, &one); /* older than all that are kept */
    assert_int_equal(eval_cohorts_report(&c, out), REPORT_COHORTS);
    for (int i = 0; i < REPORT_COHORTS; i++)
        assert_true(out[i].from_ms == 1000 + 100 * (100 - REPORT_COHORTS + i) && out[i].lists == 1);
    eval_cohorts_add(&c, INT64_C(1) << 50, &one); /* a jump empties them */
    assert_int_equal(eval_cohorts_report(&c, out), 1);
}

static void test_packed_it_is_the_same(void **state)
{
    (void)state;
    struct eval_cohorts c, back;
    struct buf b = {0};
    const struct report_cohort one = list(10, 2, 1), other = list(5, 0, 0);
    eval_cohorts_init(&c, 100);
    eval_cohorts_add(&c, 50, &one);
    eval_cohorts_add(&c, 350, &other);
    eval_cohorts_encode(&b, &c);
    struct buf_reader r = buf_reader(b.p, b.n);
    eval_cohorts_init(&back, 100);
    eval_cohorts_decode(&back, &r);
    assert_true(!r.bad && buf_left(&r) == 0);
    assert_memory_equal(&c, &back, sizeof c);
    r = buf_reader(b.p, b.n);
    eval_cohorts_init(&back, 60); /* of another width: begun anew */
    eval_cohorts_decode(&back, &r);
    assert_true(!r.bad && buf_left(&r) == 0 && back.newest == INT64_MIN && back.width_ms == 60);
    r = buf_reader(b.p, b.n - 1);
    eval_cohorts_decode(&back, &r);
    assert_true(r.bad && back.newest == INT64_MIN);
    memset(b.p + 8, 0x7f, 8); /* a number whose times overflow */
    r = buf_reader(b.p, b.n);
    eval_cohorts_init(&back, 100);
    eval_cohorts_decode(&back, &r);
    assert_true(r.bad && back.newest == INT64_MIN);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_list_is_counted_by_its_marks),
        cmocka_unit_test(test_the_newest_cohorts_stay),
        cmocka_unit_test(test_packed_it_is_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

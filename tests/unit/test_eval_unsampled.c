/* test_eval_unsampled.c - places among all items: against lists written out, with ties.
 * labels: quick */
#include "trainer/eval_unsampled.h"
#include "base/rand.h"
#include "tests/support/check.h"
#include <math.h>
#include <string.h>

static struct eval_cut cut;
static struct report_detail detail;

/* A whole list with one or more positives, and the same as a slate of its first five with their places. */
static void test_places_give_what_the_whole_list_gives(void **state)
{
    (void)state;
    enum { ALL = 60, OWN = 5 };
    struct eval_unsampled u;
    struct eval_ranked want;
    struct rand r;
    memset(&u, 0, sizeof u);
    memset(&want, 0, sizeof want);
    eval_cut_init(&cut, (const uint32_t[]){3, 20}, 2);
    rand_init(&r, (struct rand_key){.seed = 21, .purpose = RAND_TEST});
    for (int round = 0; round < 200; round++) {
        struct eval_place list[ALL];
        struct slate_item items[OWN];
        uint32_t ranks[SLATE_RANKS * OWN] = {0};
        struct slate s = {.items = items, .n_items = OWN, .ranks = ranks, .n_ranked = ALL - OWN};
        memset(items, 0, sizeof items);
        for (uint32_t i = 0; i < ALL; i++)
            list[i] = (struct eval_place){(float)rand_below(&r, 15), i, 0, i < OWN && (i == 0 || rand_below(&r, 2)) ? 1 : 0};
        for (uint32_t k = 0; k < OWN; k++) {
            items[k].label = list[k].y;
            for (uint32_t i = 0; i < ALL; i++) {
                ranks[SLATE_ABOVE * OWN + k] += list[i].z > list[k].z;
                ranks[SLATE_BESIDE * OWN + k] += i != k && list[i].z == list[k].z;
            }
        }
        eval_unsampled_add(&u, &cut, &s);
        /* positives count among the others of the list there, and have the same places */
        eval_sort(list, ALL);
        eval_ranked_add(&want, &cut, list, ALL);
        for (uint32_t k = 0; k < OWN; k++) items[k].label = 0.0f;
        eval_unsampled_add(&u, &cut, &s); /* no positive: not counted */
    }
    eval_unsampled_report(&u, &cut, &detail);
    assert_int_equal(detail.unsampled.slates, 200);
    assert_near(detail.unsampled_items, ALL, 1e-9);
    for (int i = 0; i < 2; i++) {
        assert_near(detail.unsampled.ndcg[i], want.ndcg[i] / 200.0, 1e-9);
        assert_near(detail.unsampled.recall[i], want.recall[i] / 200.0, 1e-9);
    }
    struct slate unchecked = {.n_items = 0};
    eval_unsampled_add(&u, &cut, &unchecked);
    assert_int_equal(u.model.slates, 200);
}

/* What was shown and not looked at was ranked among, too. */
static void test_a_list_that_was_cut_is_of_as_many_items(void **state)
{
    (void)state;
    struct eval_unsampled u;
    uint32_t ranks[SLATE_RANKS] = {0};
    struct slate_item item = {.label = 1.0f};
    struct slate s = {.items = &item, .n_items = 1, .n_unseen = 4, .ranks = ranks, .n_ranked = 7};
    memset(&u, 0, sizeof u);
    eval_unsampled_add(&u, &cut, &s);
    eval_unsampled_report(&u, &cut, &detail);
    assert_near(detail.unsampled_items, 12.0, 1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_places_give_what_the_whole_list_gives),
                                       cmocka_unit_test(test_a_list_that_was_cut_is_of_as_many_items)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

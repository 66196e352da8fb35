/* test_score_records.c - the same bytes are decoded once, other bytes take their place, what is held stays, and what was not
 * used leaves first.
 */
#include "base/mem.h"
#include "serving/score_records.h"
#include "tests/support/check.h"
#include <stdio.h>
#include <string.h>

static struct err e;

/* An item's record as Redis has it; the caller frees. */
static struct buf item(const char *id, float price)
{
    struct buf b = {0};
    struct record_item i = {.id = str_from(id), .price = price};
    record_item_encode(&b, &i);
    return b;
}

static struct score_wanted want(const char *id, const struct buf *b, const struct score_record **out)
{
    struct score_wanted w = {.kind = SCORE_ITEM, .id = str_from(id), .out = out};
    if (b != NULL) w.packed = (struct str){(const char *)b->p, b->n};
    return w;
}

static const struct score_record *take(struct score_records *r, const char *id, float price)
{
    const struct score_record *out;
    struct buf b = item(id, price);
    struct score_wanted w = want(id, &b, &out);
    score_records_find(r, &w, 1, false);
    if (out == NULL) assert_ok(score_records_take(r, &w, &e), &e);
    buf_fini(&b);
    return out;
}

static bool known(struct score_records *r, const char *id)
{
    const struct score_record *out;
    struct score_wanted w = want(id, NULL, &out);
    score_records_find(r, &w, 1, true);
    if (out != NULL) score_records_release(r, &out, 1);
    return out != NULL;
}

static void test_same_bytes_are_decoded_once(void **state)
{
    (void)state;
    struct score_records *r;
    struct score_records_stats s;
    assert_ok(score_records_new(&r, 1 << 20, &e), &e);
    const struct score_record *held[3] = {take(r, "a", 1), take(r, "a", 1), take(r, "a", 2)};
    assert_ptr_equal(held[0], held[1]);
    assert_ptr_not_equal(held[0], held[2]);
    assert_true(held[0]->u.item.price == 1 && held[2]->u.item.price == 2); /* the older one stays while it is held */
    score_records_stats(r, &s);
    assert_int_equal(s.decoded, 2);
    assert_int_equal(s.hits, 1);
    assert_int_equal(s.entries, 1);
    score_records_release(r, held, 3);
    score_records_drop(r, SCORE_ITEM, STR("a"));
    assert_false(known(r, "a"));
    score_records_free(r);
}

static void test_what_redis_has_not_is_found_only_while_it_is_away(void **state)
{
    (void)state;
    struct score_records *r;
    const struct score_record *out;
    assert_ok(score_records_new(&r, 1 << 20, &e), &e);
    const struct score_record *held = take(r, "a", 1);
    struct score_wanted w = want("a", NULL, &out);
    score_records_find(r, &w, 1, false);
    assert_null(out);
    score_records_find(r, &w, 1, true);
    assert_ptr_equal(out, held);
    score_records_release(r, &out, 1);
    score_records_release(r, &held, 1);
    struct buf other = item("b", 1); /* of another id: nothing is kept of it */
    w = want("a", &other, &out);
    score_records_find(r, &w, 1, false);
    assert_int_equal(score_records_take(r, &w, &e), STATUS_CORRUPT);
    assert_null(out);
    assert_true(known(r, "a"));
    buf_fini(&other);
    score_records_free(r);
}

static void test_the_unused_leave_first_and_bytes_are_bounded(void **state)
{
    (void)state;
    struct score_records *r;
    struct score_records_stats s;
    char id[16];
    const size_t most = 20000;
    const long live = mem_live();
    assert_ok(score_records_new(&r, most, &e), &e);
    for (int i = 0; i < 500; i++) {
        (void)snprintf(id, sizeof id, "i%d", i);
        const struct score_record *one = take(r, id, 1);
        score_records_release(r, &one, 1);
        if (i > 0) assert_true(known(r, "i0")); /* asked for again and again */
        score_records_stats(r, &s);
        assert_true(s.bytes <= most);
    }
    assert_true(s.entries > 5 && s.entries < 100);
    assert_true(known(r, "i499") && !known(r, "i1"));
    score_records_free(r);
    assert_int_equal(mem_live(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bytes_are_decoded_once),
        cmocka_unit_test(test_what_redis_has_not_is_found_only_while_it_is_away),
        cmocka_unit_test(test_the_unused_leave_first_and_bytes_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

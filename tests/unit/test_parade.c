/* test_parade.c - the log of short-lived items: equal options give equal bytes, lives and lists are as promised, utilities rank. */
#include "base/hash.h"
#include "base/mem.h"
#include "simulate/parade.h"
#include "tests/support/check.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ITEMS_MAX = 20000 };
struct log {
    struct buf text;
    uint32_t *shown; /* times, by item */
    uint64_t lines, stop_at;
    int64_t last_ms;
    bool in_order;
};

static enum status take(void *user, int64_t time_ms, struct str text)
{
    struct log *l = user;
    l->in_order = l->in_order && time_ms >= l->last_ms && text.p[text.n - 1] == '\n';
    l->last_ms = time_ms;
    buf_put(&l->text, text.p, text.n);
    const char *items = memmem(text.p, text.n, "\"items\":[", 9);
    for (const char *p = items; p != NULL && (p = memchr(p, 'p', (size_t)(text.p + text.n - p))) != NULL; p++) {
        const unsigned long n = strtoul(p + 1, NULL, 10);
        assert_true(n > 0 && n < ITEMS_MAX);
        l->shown[n]++;
    }
    return ++l->lines == l->stop_at ? STATUS_END : STATUS_OK;
}

static struct log make(const struct parade_options *o, uint64_t stop_at, struct parade_truth *truth, enum status want)
{
    struct err e = {0};
    struct log l = {.stop_at = stop_at, .in_order = true};
    l.shown = mem_calloc(ITEMS_MAX, sizeof *l.shown);
    assert_non_null(l.shown);
    assert_int_equal(parade_run(o, take, &l, truth, &e), want);
    return l;
}

static void drop(struct log *l)
{
    buf_fini(&l->text);
    mem_free(l->shown);
}

static void test_equal_options_give_equal_bytes(void **state)
{
    (void)state;
    struct parade_options o;
    struct parade_truth ta, tb, tc;
    parade_defaults(&o);
    o.events = 5000;
    struct log a = make(&o, 0, &ta, STATUS_OK), b = make(&o, 0, &tb, STATUS_OK);
    o.seed = 2;
    struct log c = make(&o, 0, &tc, STATUS_OK);
    assert_int_equal(a.text.n, b.text.n);
    assert_memory_equal(a.text.p, b.text.p, a.text.n);
    assert_true(c.text.n != a.text.n || memcmp(a.text.p, c.text.p, a.text.n) != 0);
    assert_true(a.in_order && a.lines >= 5000 && a.lines < 5050);
    drop(&a);
    drop(&b);
    drop(&c);
    assert_int_equal(mem_live(), 0);
}

static void test_items_live_as_long_as_promised(void **state)
{
    (void)state;
    struct parade_options o;
    struct parade_truth t;
    uint32_t least = UINT32_MAX, most = 0;
    parade_defaults(&o);
    o.events = 20000;
    struct log l = make(&o, 0, &t, STATUS_OK);
    for (uint64_t i = 1; i <= t.items; i++) {
        if (l.shown[i] > most) most = l.shown[i];
        if (i + 5 * o.items < t.items && l.shown[i] < least) least = l.shown[i]; /* the newest are still on sale */
    }
    assert_true(most <= 50 && most > 40);
    assert_true(least >= 5 && least < 10);
    assert_int_equal(t.shown, t.lists * 10);
    drop(&l);
}

/* The utilities rank clearly, and half of the log says the same in other words. */
static void test_utilities_and_words(void **state)
{
    (void)state;
    struct parade_options o;
    struct parade_truth t;
    parade_defaults(&o);
    o.events = 40000;
    o.flip = 0.75;
    struct log l = make(&o, 0, &t, STATUS_OK);
    for (int i = 0; i < PARADE_PHASES; i++) assert_true(t.gauc[i] > 0.7 && t.gauc[i] < 1);
    assert_int_equal(t.lists_of[0] + t.lists_of[1] + t.lists_of[2], t.lists);
    assert_true(t.lists_of[1] > 0 &&
                t.lists_of[2] > 2 * t.lists_of[1]); /* who likes nothing clicks little: lists of fewer lines */
    assert_true((double)t.clicks > 0.08 * (double)t.shown && (double)t.clicks < 0.5 * (double)t.shown);
    const char *early = memmem(l.text.p, l.text.n, " sofa", 5), *late = memmem(l.text.p, l.text.n, " couch", 6);
    assert_true(early != NULL && late != NULL);
    assert_true((size_t)(late - (const char *)l.text.p) > l.text.n / 4);
    const char *after = memmem(l.text.p + l.text.n * 3 / 4, l.text.n / 4, " sofa", 5);
    assert_null(after);
    drop(&l);
}

static void test_a_reader_that_has_enough_ends_it(void **state)
{
    (void)state;
    struct parade_options o;
    struct parade_truth t;
    struct err e = {0};
    parade_defaults(&o);
    struct log l = make(&o, 777, &t, STATUS_END);
    assert_int_equal(l.lines, 777);
    drop(&l);
    o.items = 5;
    assert_int_equal(parade_run(&o, take, &l, &t, &e), STATUS_INVALID);
    assert_int_equal(mem_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_options_give_equal_bytes),
        cmocka_unit_test(test_items_live_as_long_as_promised),
        cmocka_unit_test(test_utilities_and_words),
        cmocka_unit_test(test_a_reader_that_has_enough_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

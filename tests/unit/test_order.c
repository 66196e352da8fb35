/* test_order.c - order assembly: what closes a compound, in which order compounds come, and that the state packs. */
#include "tests/support/check.h"

#include "ingest/order.h"
#include <stdio.h>
#include <string.h>

#define GAP 1000
#define AT 1600000000000

static struct conf *conf;

static int setup(void **state)
{
    struct err e = {0};
    (void)state;
    assert_ok(conf_new(&conf, &e), &e);
    assert_ok(conf_set(conf, "join.order_gap_ms", "1000", &e), &e);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    conf_free(conf);
    return mem_live() == 0 ? 0 : -1;
}

static struct event line(const char *user, const char *order, const char *item, int64_t time, uint64_t offset)
{
    struct event ev = {
        .kind = EVENT_BEHAVIOUR, .type = EVENT_PURCHASE, .type_name = STR("purchase"), .time_ms = AT + time};
    ev.user = str_from(user);
    ev.order = str_from(order);
    ev.item = str_from(item);
    ev.at.offset = offset;
    return ev;
}

static void push(struct order *o, struct event ev)
{
    struct err e = {0};
    assert_ok(order_push(o, &ev, &e), &e);
}

/* What is ready, as "item+item@last first-offset;" in order. */
static const char *ready(struct order *o, char out[1000])
{
    struct order_compound c;
    size_t n = 0;
    out[0] = 0;
    while (order_ready(o, &c) == STATUS_OK) {
        assert_true(c.n >= 1);
        for (uint32_t i = 0; i < c.n; i++)
            n += (size_t)snprintf(out + n, 1000 - n, "%s" STR_FMT, i ? "+" : "", STR_ARG(c.lines[i].item));
        n += (size_t)snprintf(out + n, 1000 - n, "@%lld %llu;", (long long)(c.time_ms - AT),
                              (unsigned long long)c.at.offset);
    }
    return out;
}

static const char *advance(struct order *o, int64_t watermark, char out[1000])
{
    struct err e = {0};
    assert_ok(order_advance(o, AT + watermark, &e), &e);
    return ready(o, out);
}

static struct order *make(void)
{
    struct order *o = NULL;
    struct err e = {0};
    assert_ok(order_new(&o, conf, &e), &e);
    return o;
}

static void test_an_order_with_an_id_closes_after_the_gap(void **state)
{
    char out[1000];
    struct order *o = make();
    (void)state;
    push(o, line("u", "o1", "a", 0, 1));
    push(o, line("u", "o1", "b", 800, 2)); /* another time of the same order */
    assert_string_equal(advance(o, 1800, out), "");
    assert_int_equal(order_open(o), 1);
    push(o, line("v", "o2", "c", 801, 3));
    assert_string_equal(advance(o, 1801, out), "a+b@800 1;");
    assert_int_equal(order_open(o), 1); /* at its due time it is still open */
    assert_string_equal(advance(o, 1802, out), "c@801 3;");
    order_free(o);
}

static void test_another_order_of_the_user_closes_it_at_once(void **state)
{
    char out[1000];
    struct order *o = make();
    (void)state;
    push(o, line("u", "o1", "a", 0, 1));
    push(o, line("v", "o9", "x", 0, 2)); /* another user's lines in between change nothing */
    push(o, line("u", "o1", "b", 0, 3));
    assert_string_equal(ready(o, out), "");
    push(o, line("u", "o2", "c", 0, 4));
    assert_string_equal(ready(o, out), "a+b@0 1;");
    push(o, line("u", "o1", "d", 0, 5)); /* too late: an order of its own */
    assert_string_equal(ready(o, out), "c@0 4;");
    assert_string_equal(advance(o, 5000, out), "x@0 2;d@0 5;");
    order_free(o);
}

static void test_without_an_id_user_time_and_type_make_the_key(void **state)
{
    char out[1000];
    struct order *o = make();
    struct event click = line("u", NULL, "c", 0, 3);
    (void)state;
    push(o, line("u", NULL, "a", 0, 1));
    push(o, line("u", NULL, "b", 0, 2));
    assert_string_equal(advance(o, 0, out), "");
    click.type = EVENT_CLICK;
    push(o, click);
    assert_string_equal(ready(o, out), "a+b@0 1;");
    push(o, line("u", NULL, "d", 1, 4));
    assert_string_equal(ready(o, out), "c@0 3;");
    assert_string_equal(advance(o, 1, out), "");
    assert_string_equal(advance(o, 2, out), "d@1 4;"); /* no gap without an id */
    order_free(o);
}

static void test_plain_behaviours_leave_an_order_open_but_not_the_reverse(void **state)
{
    char out[1000];
    struct order *o = make();
    (void)state;
    push(o, line("u", "o1", "a", 0, 1));
    push(o, line("u", NULL, "x", 10, 2));
    assert_string_equal(ready(o, out), "");
    push(o, line("u", "o1", "b", 20, 3));
    assert_string_equal(ready(o, out), "x@10 2;");
    assert_string_equal(advance(o, 2000, out), "a+b@20 1;");
    order_free(o);
}

static void test_a_refund_of_the_same_order_is_another_compound(void **state)
{
    char out[1000];
    struct order *o = make();
    struct event refund = line("u", "o1", "b", 0, 2);
    (void)state;
    refund.type = EVENT_REFUND;
    push(o, line("u", "o1", "a", 0, 1));
    push(o, refund);
    assert_string_equal(ready(o, out), "a@0 1;");
    order_free(o);
}

static void test_lines_without_a_user_stand_alone(void **state)
{
    char out[1000];
    struct order *o = make();
    (void)state;
    push(o, line(NULL, "o1", "a", 0, 1));
    push(o, line(NULL, "o1", "b", 0, 2));
    assert_string_equal(ready(o, out), "a@0 1;b@0 2;");
    assert_int_equal(order_open(o), 0);
    order_free(o);
}

static void test_closing_order_is_by_last_time_then_first_line(void **state)
{
    char out[1000];
    struct order *o = make();
    (void)state;
    push(o, line("u1", "o1", "a", 300, 1));
    push(o, line("u2", "o2", "b", 100, 2));
    push(o, line("u3", "o3", "c", 300, 3));
    push(o, line("u4", NULL, "d", 200, 4));
    push(o, line("u2", "o2", "e", 300, 5));
    assert_string_equal(advance(o, 10000, out), "d@200 4;a@300 1;b+e@300 2;c@300 3;");
    order_free(o);
}

static void test_flush_closes_everything(void **state)
{
    char out[1000];
    struct err e = {0};
    struct order *o = make();
    (void)state;
    push(o, line("u", "o1", "a", 500, 1));
    push(o, line("v", NULL, "b", 400, 2));
    assert_ok(order_flush(o, &e), &e);
    assert_string_equal(ready(o, out), "b@400 2;a@500 1;");
    order_free(o);
}

/* A seeded stream of lines with many users and orders: cut anywhere, packed, unpacked, it goes on as if never stopped. */
static void feed(struct order *o, struct buf *log, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        char user[16], order[16], item[16];
        struct order_compound c;
        struct err e = {0};
        const uint32_t r = (i * 2654435761u) >> 7;
        (void)snprintf(user, sizeof user, "u%u", r % 37);
        (void)snprintf(order, sizeof order, "o%u", r % 37 * 100 + i / 200);
        (void)snprintf(item, sizeof item, "i%u", i);
        push(o, line(r % 11 == 0 ? NULL : user, r % 3 == 0 ? NULL : order, item, i / 4 * 30, i));
        assert_ok(order_advance(o, AT + i / 4 * 30, &e), &e);
        while (order_ready(o, &c) == STATUS_OK)
            buf_printf(log, STR_FMT "*%u@%lld;", STR_ARG(c.lines[0].item), c.n, (long long)c.time_ms);
    }
}

static void test_packed_state_goes_on_as_if_never_stopped(void **state)
{
    struct buf whole = {0}, parts = {0}, packed = {0}, again = {0};
    struct err e = {0};
    struct order *o = make(), *p = make();
    (void)state;
    feed(o, &whole, 0, 3000);
    for (uint32_t i = 0; i < 3000; i += 250) {
        feed(p, &parts, i, i + 250);
        buf_clear(&packed);
        order_encode(&packed, p);
        order_free(p);
        p = make();
        struct buf_reader r = buf_reader(packed.p, packed.n);
        assert_ok(order_decode(p, &r, &e), &e);
        assert_int_equal(buf_left(&r), 0);
        buf_clear(&again);
        order_encode(&again, p);
        assert_int_equal(again.n, packed.n);
        assert_memory_equal(again.p, packed.p, packed.n);
    }
    assert_int_equal(whole.n, parts.n);
    assert_memory_equal(whole.p, parts.p, whole.n);
    assert_int_equal(order_open(o), order_open(p));
    assert_true(order_open(o) > 5);
    for (size_t n = 0; n < packed.n; n += 7) { /* cut short: refused, nothing leaks */
        struct order *q = make();
        struct buf_reader r = buf_reader(packed.p, n);
        assert_true(order_decode(q, &r, &e) != STATUS_OK);
        order_free(q);
    }
    order_free(o);
    order_free(p);
    buf_fini(&whole);
    buf_fini(&parts);
    buf_fini(&packed);
    buf_fini(&again);
}

static void test_ready_compounds_are_packed_too(void **state)
{
    char out[1000];
    struct buf packed = {0};
    struct err e = {0};
    struct order *o = make(), *p = make();
    (void)state;
    push(o, line("u", "o1", "a", 0, 1));
    push(o, line("u", "o2", "b", 0, 2));
    order_encode(&packed, o);
    struct buf_reader r = buf_reader(packed.p, packed.n);
    assert_ok(order_decode(p, &r, &e), &e);
    assert_string_equal(ready(p, out), "a@0 1;");
    assert_int_equal(order_open(p), 1);
    order_free(o);
    order_free(p);
    buf_fini(&packed);
}

static void test_a_stored_line_without_an_item_is_corrupt(void **state)
{
    struct order *o = make(), *p = make();
    struct buf b = {0};
    struct err e = {0};
    (void)state;
    push(o, line("u", "o", NULL, 0, 1)); /* such a line comes from nowhere but damage */
    order_encode(&b, o);
    struct buf_reader r = buf_reader(b.p, b.n);
    assert_int_equal(order_decode(p, &r, &e), STATUS_CORRUPT);
    buf_fini(&b);
    order_free(o);
    order_free(p);
}

static void test_the_steady_state_allocates_nothing(void **state)
{
    struct buf log = {0};
    struct order *o = make();
    (void)state;
    feed(o, &log, 0, 4000);
    buf_clear(&log);
    const long total = mem_total();
    feed(o, &log, 4000, 5000);
    assert_int_equal(mem_total(), total);
    order_free(o);
    buf_fini(&log);
}

static enum status push_once(void)
{
    struct order *o = NULL;
    struct err e = {0};
    enum status st = order_new(&o, conf, &e);
    for (uint64_t i = 0; st == STATUS_OK && i < 20; i++) {
        char user[8];
        (void)snprintf(user, sizeof user, "u%u", (unsigned)i % 7);
        struct event ev = line(user, "o", "a", 0, i);
        st = order_push(o, &ev, &e);
    }
    if (st == STATUS_OK) st = order_flush(o, &e);
    order_free(o);
    return st;
}

static void test_failing_allocations_are_survived(void **state)
{
    long n = 0;
    (void)state;
    FAIL_EACH_ALLOCATION(n, push_once());
    assert_true(n >= 10);
}

/* As many as fit; then the one that is due first closes, and a restart does not change which. */
static void test_bytes_bound_closes_the_first_due(void **state)
{
    struct err e = {0};
    struct order *o, *again;
    struct buf b = {0};
    char user[16], out[1000];
    (void)state;
    assert_ok(conf_set(conf, "join.max_bytes", "1048576", &e), &e);
    assert_ok(order_new(&o, conf, &e), &e);
    assert_ok(order_new(&again, conf, &e), &e);
    size_t most = 0;
    for (uint64_t i = 0; i < 1000 && order_open(o) == i; i++) {
        (void)snprintf(user, sizeof user, "u%d", (int)i);
        push(o, line(user, "o", "a", (int64_t)i, i));
        if (order_open(o) > most) most = order_open(o);
    }
    assert_in_range(most, 20, 262144 / 1024);
    assert_string_equal(ready(o, out), "a@0 0;");
    order_encode(&b, o);
    struct buf_reader r = buf_reader(b.p, b.n);
    assert_ok(order_decode(again, &r, &e), &e);
    push(o, line("next", "o", "b", 5000, 5000));
    push(again, line("next", "o", "b", 5000, 5000));
    assert_string_equal(ready(o, out), "a@1 1;");
    assert_string_equal(ready(again, out), "a@1 1;");
    buf_fini(&b);
    order_free(o);
    order_free(again);
    assert_ok(conf_set(conf, "join.max_bytes", "4294967296", &e), &e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_order_with_an_id_closes_after_the_gap),
        cmocka_unit_test(test_another_order_of_the_user_closes_it_at_once),
        cmocka_unit_test(test_without_an_id_user_time_and_type_make_the_key),
        cmocka_unit_test(test_plain_behaviours_leave_an_order_open_but_not_the_reverse),
        cmocka_unit_test(test_a_refund_of_the_same_order_is_another_compound),
        cmocka_unit_test(test_lines_without_a_user_stand_alone),
        cmocka_unit_test(test_closing_order_is_by_last_time_then_first_line),
        cmocka_unit_test(test_flush_closes_everything),
        cmocka_unit_test(test_packed_state_goes_on_as_if_never_stopped),
        cmocka_unit_test(test_ready_compounds_are_packed_too),
        cmocka_unit_test(test_bytes_bound_closes_the_first_due),
        cmocka_unit_test(test_a_stored_line_without_an_item_is_corrupt),
        cmocka_unit_test(test_the_steady_state_allocates_nothing),
        cmocka_unit_test(test_failing_allocations_are_survived),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

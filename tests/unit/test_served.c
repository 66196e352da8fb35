/* test_served.c - the log of answers: entries good and bad, read in order, from where one left off, through a Redis that dies.
 * labels: redis threads */
#include "base/hash.h"
#include "serving/served.h"
#include "tests/support/check.h"
#include "tests/support/redis_server.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

static struct redis_server server;

static enum status parse(const char *request, const char *shadow, const char *items, double share,
                         struct served_answer **out)
{
    struct err e;
    const struct str fields[] = {STR("version"),       STR("12"),         STR("request"), str_from(request),
                                 STR("time_ms"),       STR("1700"),       STR("variant"), STR("b"),
                                 STR("something new"), STR("unheard of"), STR("shadow"),  str_from(shadow),
                                 STR("items"),         str_from(items)};
    return served_parse(out, fields, sizeof fields / sizeof *fields, share, &e);
}

#define ONE "{\"item\":\"x\",\"score\":0.5,\"logit\":-0.25,\"features\":\"0000beef\",\"parts\":[1]}"

static void test_an_entry(void **state)
{
    (void)state;
    struct served_answer *a;
    assert_int_equal(parse("r1", "0", "[" ONE ",{\"item\":\"y\",\"logit\":2}]", 1.0, &a), STATUS_OK);
    assert_int_equal(a->version, 12);
    assert_int_equal(a->time_ms, 1700);
    assert_string_equal(a->variant, "b");
    assert_true(a->request == hash_str(STR("r1")));
    assert_int_equal(a->n, 2);
    const struct served_item *x = served_find(a, hash_str(STR("x"))), *y = served_find(a, hash_str(STR("y")));
    assert_true(x != NULL && y != NULL && served_find(a, hash_str(STR("z"))) == NULL);
    assert_int_equal(x->features, 0xbeef);
    assert_int_equal(y->features, 0);
    assert_near((double)x->logit, -0.25, 0);
    mem_free(a);
}

static void test_what_is_no_answer(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "[]",
                                      "[1]",
                                      "{}",
                                      "[" ONE,
                                      "[{\"item\":\"x\"}]",
                                      "[{\"item\":7,\"logit\":1}]",
                                      "[{\"item\":\"x\",\"logit\":1e300}]",
                                      "[{\"item\":\"x\",\"logit\":\"1\"}]",
                                      "[{\"item\":\"x\",\"logit\":1,\"logit\":2}]"};
    struct served_answer *a;
    const long live = mem_live();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(parse("r1", "0", bad[i], 1.0, &a), STATUS_INVALID);
        assert_null(a);
    }
    assert_int_equal(parse("", "0", "[" ONE "]", 1.0, &a), STATUS_INVALID);
    assert_int_equal(parse("r1", "1", "[" ONE "]", 1.0, &a), STATUS_NOT_FOUND); /* a shadow's: nobody saw it */
    assert_int_equal(mem_live(), live);
}

static void test_a_share_is_read_by_request(void **state)
{
    (void)state;
    int n = 0;
    for (int i = 0; i < 2000; i++) {
        char request[16];
        struct served_answer *a;
        (void)snprintf(request, sizeof request, "r%d", i);
        const enum status st = parse(request, "0", "[" ONE "]", 0.25, &a);
        assert_true(st == STATUS_OK || st == STATUS_NOT_FOUND);
        n += st == STATUS_OK;
        mem_free(a);
    }
    assert_true(n > 400 && n < 600);
}

static void test_fails_cleanly_without_memory(void **state)
{
    (void)state;
    struct served_answer *a;
    const long live = mem_live();
    mem_fail_after(0);
    const enum status st = parse("r1", "0", "[" ONE "]", 1.0, &a);
    mem_fail_after(-1);
    assert_true(st == STATUS_OOM || st == STATUS_INVALID);
    assert_null(a);
    assert_int_equal(mem_live(), live);
}

/* ---- the reader ---- */

static void log_answers(int from, int to)
{
    char text[4096], command[300];
    for (int i = from; i < to; i++) {
        (void)snprintf(command, sizeof command,
                       "XADD fr:default:served %d-1 request r%d items [{\"item\":\"x\",\"logit\":1}]", i, i);
        (void)redis_server_ask(&server, text, command);
    }
}

static struct served_answer *next(struct served *r)
{
    for (int i = 0; i < 4000; i++) {
        struct served_answer *a = served_take(r);
        if (a != NULL) return a;
        (void)nanosleep(&(struct timespec){0, 5000000}, NULL);
    }
    fail_msg("no answer came");
    return NULL;
}

static struct served_id expect(struct served *r, int from, int to)
{
    struct served_id last = {0, 0};
    for (int i = from; i < to; i++) {
        struct served_answer *a = next(r);
        assert_int_equal(a->id.ms, i);
        assert_true(served_before(last, a->id));
        last = a->id;
        mem_free(a);
    }
    return last;
}

static void test_read_in_order_and_on_from_where_one_left_off(void **state)
{
    (void)state;
    struct served *r;
    struct err e;
    struct conf *c = redis_server_conf(&server);
    char text[4096];
    log_answers(1, 400); /* more than wait at a time */
    assert_ok(served_open(&r, c, clock_system(), (struct served_id){0, 0}, &e), &e);
    const struct served_id last = expect(r, 1, 300);
    served_close(r); /* with answers that nobody took */
    (void)redis_server_ask(&server, text, "XADD fr:default:served 500-1 what this");
    log_answers(501, 503);
    assert_ok(served_open(&r, c, clock_system(), last, &e), &e);
    (void)expect(r, 300, 400);
    (void)expect(r, 501, 503);
    log_answers(503, 504); /* while it waits */
    (void)expect(r, 503, 504);
    redis_server_kill(&server);
    assert_null(served_take(r));
    redis_server_start(&server);
    log_answers(600, 601);
    (void)expect(r, 600, 601);
    served_close(r);
    conf_free(c);
}

static void test_nothing_where_it_is_not_wanted(void **state)
{
    (void)state;
    struct served *r;
    struct err e;
    struct conf *c = redis_server_conf(&server);
    c->eval_served_answers = 0;
    assert_ok(served_open(&r, c, clock_system(), (struct served_id){0, 0}, &e), &e);
    assert_null(r);
    assert_null(served_take(r));
    served_close(r);
    conf_free(c);
}

static int start(void **state)
{
    (void)state;
    redis_server_start(&server);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    redis_server_stop(&server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_entry),
        cmocka_unit_test(test_what_is_no_answer),
        cmocka_unit_test(test_a_share_is_read_by_request),
        cmocka_unit_test(test_fails_cleanly_without_memory),
        cmocka_unit_test(test_read_in_order_and_on_from_where_one_left_off),
        cmocka_unit_test(test_nothing_where_it_is_not_wanted),
    };
    return cmocka_run_group_tests(tests, start, stop);
}

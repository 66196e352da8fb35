/* test_redis.c - URLs, passwords, pipelines, faults, time-outs and coming back, against a private server.
 *
 * labels: redis threads
 */
#include "serving/redis.h"
#include "serving/redis_info.h"
#include "serving/redis_url.h"
#include "tests/support/check.h"
#include "tests/support/redis_server.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct redis_server server;

static void test_url_takes_its_forms(void **state)
{
    (void)state;
    static const struct {
        const char *url, *host;
        bool is_unix;
        int port, db;
    } good[] = {
        {"unix:/run/redis.sock", "/run/redis.sock", true, 0, 0},
        {"unix:/a?db=3", "/a", true, 0, 3},
        {"redis://h", "h", false, 6379, 0},
        {"redis://h:1/15", "h", false, 1, 15},
        {"redis://[::1]:7000/2", "::1", false, 7000, 2},
        {"redis://10.0.0.1/", "10.0.0.1", false, 6379, 0},
        {"redis://[fe80::1]", "fe80::1", false, 6379, 0},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct redis_url u;
        struct err e = {0};
        assert_ok(redis_url_parse(good[i].url, &u, &e), &e);
        assert_string_equal(u.host, good[i].host);
        assert_int_equal(u.is_unix, good[i].is_unix);
        assert_int_equal(u.port, good[i].port);
        assert_int_equal(u.db, good[i].db);
    }
}

static void test_url_refuses_the_rest(void **state)
{
    (void)state;
    static const char *const bad[] = {"unix:",           "redis://",       "redis://:6379", "redis://h:0",
                                      "redis://h:65536", "redis://h:x",    "redis://h/x",   "redis://h/99999",
                                      "redis://[::1",    "redis://[::1]x", "http://h",      "h:6379",
                                      "redis://u:p@h",   "unix:/a?db=-1",  "redis://h:/1",  "redis://h:6379x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct redis_url u;
        struct err e = {0};
        assert_int_equal(redis_url_parse(bad[i], &u, &e), STATUS_INVALID);
        assert_non_null(strstr(e.text, "redis."));
    }
}

/* What hiredis would cut off names another socket. */
static void test_socket_path_has_a_length(void **state)
{
    (void)state;
    struct redis_url u;
    struct err e = {0};
    char url[200] = "unix:/";
    memset(url + 6, 'x', 106);
    assert_ok(redis_url_parse(url, &u, &e), &e);
    url[112] = 'x';
    assert_int_equal(redis_url_parse(url, &u, &e), STATUS_INVALID);
    assert_non_null(strstr(e.text, "107"));
}

static void test_password_file_is_read(void **state)
{
    (void)state;
    struct redis_password p;
    struct err e = {0};
    char path[300];
    (void)tmpdir_file(&server.dir, "password", path);
    static const struct {
        const char *text, *user, *password;
        enum status st;
    } rows[] = {{"secret\n", "", "secret", STATUS_OK},
                {"ann:se:cret", "ann", "se:cret", STATUS_OK},
                {"ann:\r\n", "", "", STATUS_INVALID}, /* she would go in as nobody */
                {"\nsecret", "", "", STATUS_INVALID},
                {"", "", "", STATUS_INVALID}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        assert_int_equal(fputs(rows[i].text, f) >= 0, 1);
        assert_int_equal(fclose(f), 0);
        assert_int_equal(redis_password_read(path, &p, &e), rows[i].st);
        if (rows[i].st != STATUS_OK) continue;
        assert_string_equal(p.user, rows[i].user);
        assert_string_equal(p.password, rows[i].password);
    }
    assert_int_equal(redis_password_read("/nonexistent/password", &p, &e), STATUS_IO);
    assert_int_equal(redis_password_read("/", &p, &e), STATUS_IO); /* a folder */
    assert_ok(redis_password_read("", &p, &e), &e);
    assert_string_equal(p.password, "");
}

static struct redis *open_server(struct conf *c)
{
    struct redis *r = NULL;
    struct err e = {0};
    assert_ok(redis_open(&r, c, clock_system(), &e), &e);
    return r;
}

static void test_pipeline_answers_in_order_and_keeps_binary(void **state)
{
    (void)state;
    struct conf *c = redis_server_conf(&server);
    struct redis *r = open_server(c);
    struct err e = {0};
    const struct redis_reply *p[4];
    assert_ok(redis_append(r, &e, REDIS_ARGS(STR("SET"), STR("k"), STR("a\0b"))), &e);
    assert_ok(redis_append(r, &e, REDIS_ARGS(STR("GET"), STR("k"))), &e);
    assert_ok(redis_append(r, &e, REDIS_ARGS(STR("MGET"), STR("k"), STR("none"))), &e);
    assert_ok(redis_append(r, &e, REDIS_ARGS(STR("STRLEN"), STR("k"))), &e);
    for (int i = 0; i < 4; i++) assert_ok(redis_get(r, &e, &p[i]), &e);
    assert_true(redis_is(p[0], "OK"));
    assert_true(str_eq(p[1]->text, STR("a\0b")));
    assert_int_equal(p[2]->kind, REDIS_ARRAY);
    assert_int_equal(p[2]->n, 2);
    assert_true(str_eq(p[2]->items[0].text, STR("a\0b")));
    assert_int_equal(p[2]->items[1].kind, REDIS_NIL);
    assert_int_equal(p[3]->integer, 3);
    assert_int_equal(redis_get(r, &e, &p[0]), STATUS_END);
    redis_close(r);
    conf_free(c);
}

/* Of many commands those that came first are sent before the first reply is asked for; order and bytes stay. */
static void test_long_pipeline_answers_in_order(void **state)
{
    (void)state;
    enum { N = 3000, LONGEST = 200000 };
    struct conf *c = redis_server_conf(&server);
    struct redis *r = open_server(c);
    struct err e = {0};
    const struct redis_reply *p;
    char *value = calloc(LONGEST, 1);
    assert_non_null(value);
    for (size_t i = 0; i < N; i++) {
        const struct str v = {value, i % 500 == 7 ? LONGEST : i % 300};
        memset(value, 'a' + (int)(i % 26), v.n);
        assert_ok(redis_append(r, &e, REDIS_ARGS(STR("SET"), STR("k"), v)), &e);
        assert_ok(redis_append(r, &e, REDIS_ARGS(STR("GET"), STR("k"))), &e);
    }
    for (size_t i = 0; i < N; i++) {
        assert_ok(redis_get(r, &e, &p), &e);
        assert_true(redis_is(p, "OK"));
        assert_ok(redis_get(r, &e, &p), &e);
        assert_int_equal(p->text.n, i % 500 == 7 ? LONGEST : i % 300);
        for (size_t k = 0; k < p->text.n; k++) assert_int_equal(p->text.p[k], 'a' + (int)(i % 26));
    }
    assert_int_equal(redis_get(r, &e, &p), STATUS_END);
    free(value);
    redis_close(r);
    conf_free(c);
}

static void test_fault_is_a_status_and_the_connection_goes_on(void **state)
{
    (void)state;
    struct conf *c = redis_server_conf(&server);
    struct redis *r = open_server(c);
    struct err e = {0};
    const struct redis_reply *p;
    assert_ok(redis_call(r, &e, &p, REDIS_ARGS(STR("SET"), STR("text"), STR("x"))), &e);
    assert_int_equal(redis_call(r, &e, &p, REDIS_ARGS(STR("LPUSH"), STR("text"), STR("y"))), STATUS_INVALID);
    assert_non_null(strstr(e.text, server.url));
    assert_non_null(strstr(e.text, "WRONGTYPE"));
    assert_null(p);
    assert_ok(redis_call(r, &e, &p, REDIS_ARGS(STR("PING"))), &e);
    /* a pipeline abandoned half way leaves nothing behind for the next */
    for (int i = 0; i < 5; i++) assert_ok(redis_append(r, &e, REDIS_ARGS(STR("LPUSH"), STR("text"), STR("y"))), &e);
    assert_int_equal(redis_get(r, &e, &p), STATUS_INVALID);
    assert_ok(redis_call(r, &e, &p, REDIS_ARGS(STR("ECHO"), STR("hello"))), &e);
    assert_true(redis_is(p, "hello"));
    assert_int_equal(redis_connections(r), 1);
    redis_close(r);
    conf_free(c);
}

static void test_absent_server_is_io_and_backs_off(void **state)
{
    (void)state;
    struct conf *c = redis_server_conf(&server);
    struct clock_fake clock;
    struct redis *r = NULL;
    struct err e = {0};
    const struct redis_reply *p;
    int64_t longest = 0;
    clock_fake_init(&clock, 1000);
    assert_ok(conf_set(c, "redis.url", "unix:/nonexistent/socket", &e), &e);
    assert_ok(redis_open(&r, c, &clock.base, &e), &e);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(redis_call(r, &e, &p, REDIS_ARGS(STR("PING"))), STATUS_IO);
        assert_non_null(strstr(e.text, "unix:/nonexistent/socket"));
        assert_null(strstr(e.text, "next try"));
        const int64_t wait = redis_retry_ms(r);
        assert_true(wait >= 25 && wait <= 2000);
        longest = wait > longest ? wait : longest;
        assert_int_equal(redis_call(r, &e, &p, REDIS_ARGS(STR("PING"))),
                         STATUS_IO); /* within the back-off: not tried */
        assert_non_null(strstr(e.text, "next try"));
        clock_fake_advance(&clock, wait);
    }
    assert_true(longest >= 1000);
    assert_int_equal(redis_connections(r), 0);
    redis_close(r);
    assert_ok(conf_set(c, "redis.url", "", &e), &e);
    assert_int_equal(redis_open(&r, c, &clock.base, &e), STATUS_NOT_FOUND);
    assert_null(r);
    conf_free(c);
}

/* Clients that lost a server at one and the same moment come back spread over the whole of each wait's random half. */
static void test_waits_of_many_clients_are_spread(void **state)
{
    (void)state;
    enum { CLIENTS = 200, QUARTERS = 4 };
    struct conf *c = redis_server_conf(&server);
    struct clock_fake clock;
    struct redis *r[CLIENTS] = {NULL};
    struct err e = {0};
    const struct redis_reply *p;
    assert_ok(conf_set(c, "redis.url", "unix:/nonexistent/socket", &e), &e);
    clock_fake_init(&clock, 1000);
    for (int i = 0; i < CLIENTS; i++) assert_ok(redis_open(&r[i], c, &clock.base, &e), &e);
    for (int64_t most = 50; most <= 1600; most *= 2) {
        int in_quarter[QUARTERS] = {0};
        for (int i = 0; i < CLIENTS; i++) {
            assert_int_equal(redis_call(r[i], &e, &p, REDIS_ARGS(STR("PING"))), STATUS_IO);
            const int64_t wait = redis_retry_ms(r[i]);
            assert_true(wait >= most / 2 && wait <= most);
            const int64_t quarter = (wait - most / 2) * QUARTERS / (most / 2 + 1);
            in_quarter[quarter]++;
        }
        for (int q = 0; q < QUARTERS; q++) assert_in_range(in_quarter[q], 20, 90); /* 50 expected; 5 deviations off */
        clock_fake_advance(&clock, most);
    }
    for (int i = 0; i < CLIENTS; i++) redis_close(r[i]);
    conf_free(c);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void test_password_is_read_again_for_each_connection(void **state)
{
    (void)state;
    char answer[4096], path[300];
    struct conf *c = redis_server_conf(&server);
    struct err e = {0};
    const struct redis_reply *p;
    (void)tmpdir_file(&server.dir, "changing", path);
    (void)redis_server_ask(&server, answer, "ACL SETUSER bob on >first-secret ~* +@all");
    write_file(path, "bob:first-secret\n");
    assert_ok(conf_set(c, "redis.password_file", path, &e), &e);
    struct redis *r = open_server(c);
    assert_ok(redis_call(r, &e, &p, REDIS_ARGS(STR("PING"))), &e);
    (void)redis_server_ask(&server, answer, "ACL SETUSER bob resetpass >second-secret");
    (void)redis_server_ask(&server, answer, "CLIENT KILL USER bob");
    assert_int_equal(redis_call(r, &e, &p, REDIS_ARGS(STR("PING"))), STATUS_IO);
    redis_drop(r);
    assert_int_equal(redis_call(r, &e, &p, REDIS_ARGS(STR("PING"))), STATUS_IO);
    assert_non_null(strstr(e.text, "AUTH refused"));
    assert_null(strstr(e.text, "secret"));
    write_file(path, "\n");
    redis_drop(r);
    assert_int_equal(redis_call(r, &e, &p, REDIS_ARGS(STR("PING"))), STATUS_IO);
    assert_non_null(strstr(e.text, path));
    assert_true(redis_retry_ms(r) > 0);
    write_file(path, "bob:second-secret\n");
    redis_drop(r);
    assert_ok(redis_call(r, &e, &p, REDIS_ARGS(STR("PING"))), &e);
    redis_close(r);
    conf_free(c);
}

/* Begun without one, or set while we are connected and the connection lost since: as a server that is away. */
static void test_server_that_asks_for_a_password_is_away(void **state)
{
    (void)state;
    static char large[40000];
    struct conf *c = redis_server_conf(&server);
    struct err e = {0};
    const struct redis_reply *p;
    struct redis *r = open_server(c), *inside = open_server(c); /* who is in stays in */
    memset(large, 'x', sizeof large);
    assert_ok(redis_call(inside, &e, &p, REDIS_ARGS(STR("CONFIG"), STR("SET"), STR("requirepass"), STR("secret"))), &e);
    const struct str rows[] = {STR("short"), {large, sizeof large}};
    for (size_t i = 0; i < 12; i++) {
        redis_drop(r);
        assert_int_equal(redis_call(r, &e, &p, REDIS_ARGS(STR("GET"), rows[i % 2])), STATUS_IO);
        assert_non_null(strstr(e.text, "redis.password_file"));
        assert_false(redis_connected(r));
        assert_true(redis_retry_ms(r) > 0);
    }
    assert_true(redis_retry_ms(r) > 400); /* it knocks less and less often */
    redis_close(r);
    assert_ok(redis_call(inside, &e, &p, REDIS_ARGS(STR("CONFIG"), STR("SET"), STR("requirepass"), STR(""))), &e);
    redis_close(inside);
    conf_free(c);
}

static void test_full_memory_is_told_from_other_faults(void **state)
{
    (void)state;
    char answer[4096];
    struct conf *c = redis_server_conf(&server);
    struct redis *r = open_server(c);
    struct err e = {0};
    const struct redis_reply *p;
    (void)redis_server_ask(&server, answer, "CONFIG SET maxmemory 1");
    assert_int_equal(redis_call(r, &e, &p, REDIS_ARGS(STR("SET"), STR("k"), STR("v"))), STATUS_FULL);
    redis_clear(r);
    assert_ok(redis_append(r, &e, REDIS_ARGS(STR("MULTI"))), &e);
    assert_ok(redis_append(r, &e, REDIS_ARGS(STR("SET"), STR("k"), STR("v"))), &e);
    assert_ok(redis_append(r, &e, REDIS_ARGS(STR("EXEC"))), &e);
    assert_ok(redis_get(r, &e, &p), &e);
    assert_int_equal(redis_get(r, &e, &p), STATUS_FULL);
    assert_int_equal(redis_get(r, &e, &p), STATUS_INVALID); /* EXECABORT for a fault before */
    (void)redis_server_ask(&server, answer, "CONFIG SET maxmemory 0");
    redis_close(r);
    conf_free(c);
}

static void test_info_says_which_run_and_how_full(void **state)
{
    (void)state;
    char answer[4096], text[REDIS_INFO_TEXT];
    struct conf *c = redis_server_conf(&server);
    struct redis *r = open_server(c);
    struct redis_info i;
    struct err e = {0};
    assert_ok(redis_info(r, &i, &e), &e);
    assert_int_equal(strlen(i.run_id), 40);
    assert_true(i.used_bytes > 100000);
    assert_int_equal(i.max_bytes, 0);
    assert_string_equal(i.policy, "noeviction");
    assert_false(redis_info_evicts(&i));
    (void)redis_server_ask(&server, answer, "CONFIG SET maxmemory 8388608");
    (void)redis_server_ask(&server, answer, "CONFIG SET maxmemory-policy allkeys-lru");
    assert_ok(redis_info(r, &i, &e), &e);
    redis_info_memory(&i, text);
    assert_true(redis_info_evicts(&i));
    assert_non_null(strstr(text, "of maxmemory 8.0 MiB (allkeys-lru)"));
    (void)redis_server_ask(&server, answer, "CONFIG SET maxmemory 0");
    (void)redis_server_ask(&server, answer, "CONFIG SET maxmemory-policy noeviction");
    redis_close(r);
    conf_free(c);
}

static void test_silent_server_times_out(void **state)
{
    (void)state;
    struct conf *c = redis_server_conf(&server);
    struct err e = {0};
    const struct redis_reply *p;
    assert_ok(conf_set(c, "redis.timeout_ms", "50", &e), &e);
    struct redis *r = open_server(c);
    assert_ok(redis_call(r, &e, &p, REDIS_ARGS(STR("PING"))), &e);
    redis_server_signal(&server, SIGSTOP);
    const enum status st = redis_call(r, &e, &p, REDIS_ARGS(STR("PING")));
    redis_server_signal(&server, SIGCONT);
    assert_int_equal(st, STATUS_IO);
    assert_non_null(strstr(e.text, "redis.timeout_ms=50"));
    assert_false(redis_connected(r));
    redis_drop(r);
    assert_ok(redis_call(r, &e, &p, REDIS_ARGS(STR("PING"))), &e);
    assert_int_equal(redis_connections(r), 2);
    redis_close(r);
    conf_free(c);
}

static void test_killed_server_is_found_again(void **state)
{
    (void)state;
    struct conf *c = redis_server_conf(&server);
    struct redis *r = open_server(c);
    struct err e = {0};
    const struct redis_reply *p;
    assert_ok(redis_call(r, &e, &p, REDIS_ARGS(STR("PING"))), &e);
    redis_server_kill(&server);
    for (int i = 0; i < 3; i++)
        assert_int_equal(redis_call(r, &e, &p, REDIS_ARGS(STR("PING"))), STATUS_IO); /* no SIGPIPE */
    redis_server_start(&server);
    redis_drop(r);
    assert_ok(redis_call(r, &e, &p, REDIS_ARGS(STR("PING"))), &e);
    redis_close(r);
    conf_free(c);
}

static void test_database_is_selected_and_password_asked(void **state)
{
    (void)state;
    char answer[4096], url[400], path[300];
    struct conf *c = redis_server_conf(&server);
    struct err e = {0};
    const struct redis_reply *p;
    (void)snprintf(url, sizeof url, "%s?db=2", server.url);
    assert_ok(conf_set(c, "redis.url", url, &e), &e);
    struct redis *r = open_server(c);
    assert_ok(redis_call(r, &e, &p, REDIS_ARGS(STR("SET"), STR("in-two"), STR("1"))), &e);
    assert_string_equal(redis_server_ask(&server, answer, "EXISTS in-two"), "0");
    (void)redis_server_ask(&server, answer, "ACL SETUSER ann on >pass ~* +@all");
    redis_close(r);
    (void)tmpdir_file(&server.dir, "password", path);
    static const struct {
        const char *text;
        enum status st;
    } rows[] = {{"ann:pass", STATUS_OK}, {"ann:wrong", STATUS_IO}};
    for (size_t i = 0; i < 2; i++) {
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        assert_true(fputs(rows[i].text, f) >= 0 && fclose(f) == 0);
        assert_ok(conf_set(c, "redis.password_file", path, &e), &e);
        r = open_server(c);
        assert_int_equal(redis_call(r, &e, &p, REDIS_ARGS(STR("ACL"), STR("WHOAMI"))), rows[i].st);
        if (rows[i].st == STATUS_OK)
            assert_true(redis_is(p, "ann"));
        else
            assert_non_null(strstr(e.text, "AUTH refused"));
        redis_close(r);
    }
    conf_free(c);
}

static enum status use(struct conf *c)
{
    static char longer[100000]; /* than what is queued at most */
    struct redis *r = NULL;
    struct err e = {0};
    const struct redis_reply *p;
    enum status st = redis_open(&r, c, clock_system(), &e);
    if (st == STATUS_OK) st = redis_call(r, &e, &p, REDIS_ARGS(STR("MGET"), STR("a"), ((struct str){longer, sizeof longer})));
    redis_close(r);
    return st;
}

static void test_survives_each_failing_allocation(void **state)
{
    (void)state;
    struct conf *c = redis_server_conf(&server);
    long n;
    FAIL_EACH_ALLOCATION(n, use(c));
    assert_true(n >= 4);
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
        cmocka_unit_test(test_url_takes_its_forms),
        cmocka_unit_test(test_url_refuses_the_rest),
        cmocka_unit_test(test_socket_path_has_a_length),
        cmocka_unit_test(test_password_file_is_read),
        cmocka_unit_test(test_pipeline_answers_in_order_and_keeps_binary),
        cmocka_unit_test(test_long_pipeline_answers_in_order),
        cmocka_unit_test(test_fault_is_a_status_and_the_connection_goes_on),
        cmocka_unit_test(test_absent_server_is_io_and_backs_off),
        cmocka_unit_test(test_waits_of_many_clients_are_spread),
        cmocka_unit_test(test_password_is_read_again_for_each_connection),
        cmocka_unit_test(test_full_memory_is_told_from_other_faults),
        cmocka_unit_test(test_info_says_which_run_and_how_full),
        cmocka_unit_test(test_silent_server_times_out),
        cmocka_unit_test(test_killed_server_is_found_again),
        cmocka_unit_test(test_database_is_selected_and_password_asked),
        cmocka_unit_test(test_server_that_asks_for_a_password_is_away),
        cmocka_unit_test(test_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, start, stop);
}

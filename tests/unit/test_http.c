/* test_http.c - the scorer over real HTTP: routes, replies against their schemas, bad bodies, limits, token, going down.
 *
 * labels: quick redis threads
 * timeout: 120
 */
#include "serving/http.h"
#include "tests/support/check.h"
#include "tests/support/files.h"
#include "tests/support/http_client.h"
#include "tests/support/json_schema.h"
#include "tests/support/serving_world.h"
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct serving_world w;
static struct metric *metric;
static struct score *score;
static struct http *http;
static struct http_client_answer last;

static void open_http(const struct http_intake *intake)
{
    struct err e = {0};
    const struct http_options o = {.conf = w.shop.conf,
                                   .clock = clock_system(),
                                   .score = score,
                                   .metric = metric,
                                   .intake = intake,
                                   .version = "0.0.0"};
    const enum status st = http_open(&http, &o, &e);
    if (st == STATUS_UNSUPPORTED) skip(); /* built without HTTP */
    assert_ok(st, &e);
    assert_true(http_port(http) > 0);
    assert_string_equal(http_address(http), "127.0.0.1");
}

static void reopen_http(const char *option, const struct http_intake *intake)
{
    struct err e = {0};
    http_close(http, 0);
    if (option != NULL) assert_ok(conf_set_option(w.shop.conf, option, &e), &e);
    open_http(intake);
}

static int open_all(void **state)
{
    (void)state;
    struct err e = {0};
    const char *const options[] = {"serving.listen=127.0.0.1:0", "serving.max_items=100",
                                   "serving.max_body_bytes=20000", NULL};
    serving_world_open(&w, options);
    serving_world_features(&w);
    serving_world_version(&w, 1);
    assert_ok(metric_new(&metric, &e), &e);
    assert_ok(score_open(&score, w.shop.conf, clock_system(), metric, &e), &e);
    open_http(NULL);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    http_client_free(&last);
    http_close(http, 0);
    http = NULL;
    score_close(score);
    metric_free(metric);
    serving_world_close(&w);
    return 0;
}

static void ask(const char *method, const char *path, const char *headers, const char *body)
{
    http_client_free(&last);
    last = http_client_ask(http_port(http), method, path, headers, body, body ? strlen(body) : 0);
}

/* Status, and with an error its code and that it is the one form of errors. */
static void expect(int status, const char *code)
{
    if (last.status != status) fail_msg("%d instead of %d: %s", last.status, status, last.body);
    if (code == NULL) return;
    json_t *o = json_loads(last.body, JSON_REJECT_DUPLICATES, NULL), *error = json_object_get(o, "error");
    assert_non_null(error);
    assert_string_equal(json_string_value(json_object_get(error, "code")), code);
    assert_true(json_string_length(json_object_get(error, "message")) > 10);
    json_decref(o);
}

/* The test that looks: without it no version is there. */
static void look(void)
{
    struct err e = {0};
    assert_ok(score_look(score, &e), &e);
}

static void test_health_and_no_model(void **state)
{
    (void)state;
    ask("GET", "/v2/health/live", "", NULL);
    expect(200, NULL);
    ask("GET", "/v2/health/ready", "", NULL);
    expect(503, "no_model");
    ask("POST", "/v1/rerank", "", "{\"items\":[\"i1\"]}");
    expect(503, "no_model");
    ask("GET", "/v1/models", "", NULL);
    expect(200, NULL);
    assert_string_equal(last.body, "{\"models\":[],\"fetch\":{\"state\":\"starting\"}}");
    ask("GET", "/v2/models/default", "", NULL);
    expect(200, NULL);
    assert_non_null(strstr(last.body, "\"versions\":[]"));
    look();
    ask("GET", "/v2/health/ready", "", NULL);
    expect(200, NULL);
    ask("GET", "/v2/models/default/ready", "", NULL);
    expect(200, NULL);
}

static void test_rerank_answers_by_its_schema(void **state)
{
    (void)state;
    char why[300];
    static const char body[] = "{\"user\":\"u0\",\"items\":[\"i1\",\"i2\",{\"item\":\"n\\u00e9\\\"w\",\"title\":\"red "
                               "toy\",\"tags\":[\"a\",1],\"price\":3,"
                               "\"new\":true,\"none\":null}],\"history\":[{\"type\":\"view\",\"item\":\"i3\",\"time\":"
                               "\"2026-01-02T03:04:05Z\"}],"
                               "\"session\":\"s\",\"context\":{\"page\":\"home\",\"slot\":1},\"attributes\":{\"age\":"
                               "30},\"limit\":20,\"explain\":true}";
    assert_true(json_schema_accepts("rerank-request", body, strlen(body), why));
    look();
    ask("POST", "/v1/rerank", "", body);
    expect(200, NULL);
    if (!json_schema_accepts("rerank-reply", last.body, last.n, why)) fail_msg("%s: %s", why, last.body);
    assert_non_null(strstr(last.head, "Content-Type: application/json"));
    json_t *o = json_loads(last.body, 0, NULL), *items = json_object_get(o, "items");
    assert_int_equal(json_array_size(items), 3);
    bool named = false;
    for (size_t i = 0; i < 3; i++)
        named =
            named || strcmp(json_string_value(json_object_get(json_array_get(items, i), "item")), "n\xc3\xa9\"w") == 0;
    assert_true(named);
    json_decref(o);
}

static void test_bad_bodies_are_400_and_harm_nobody(void **state)
{
    (void)state;
    static char long_id[400], deep[9000];
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "}",
        "[]",
        "null",
        "1",
        "\"a\"",
        "{}",
        "{\"items\":[]}",
        "{\"items\":null}",
        "{\"items\":{}}",
        "{\"items\":\"a\"}",
        "{\"items\":[1]}",
        "{\"items\":[null]}",
        "{\"items\":[\"\"]}",
        "{\"items\":[[\"a\"]]}",
        "{\"items\":[{}]}",
        "{\"items\":[{\"title\":\"x\"}]}",
        "{\"items\":[{\"item\":1}]}",
        "{\"items\":[{\"item\":\"a\",\"title\":{}}]}",
        "{\"items\":[{\"item\":\"a\",\"tags\":[[]]}]}",
        "{\"items\":[{\"item\":\"a\",\"tags\":[null]}]}",
        "{\"items\":[\"a\",\"a\"]}",
        "{\"items\":[\"a\",{\"item\":\"a\"}]}",
        "{\"items\":[\"a\"]",
        "{\"items\":[\"a\"]}x",
        "{\"items\":[\"a\"],}",
        "{items:[\"a\"]}",
        "{'items':['a']}",
        "{\"items\":[\"a\"],\"items\":[\"b\"]}",
        "{\"items\":[\"a\\u0000\"]}",
        "{\"items\":[\"a\\n\"]}",
        "{\"items\":[\"\xff\"]}",
        "{\"items\":[\"\xc0\xaf\"]}",
        "{\"items\":[\"\xed\xa0\x80\"]}",
        "{\"items\":[\"a\"],\"user\":1}",
        "{\"items\":[\"a\"],\"user\":\"\"}",
        "{\"items\":[\"a\"],\"user\":[]}",
        "{\"items\":[\"a\"],\"itmes\":1}",
        "{\"items\":[\"a\"],\"limit\":0}",
        "{\"items\":[\"a\"],\"limit\":-1}",
        "{\"items\":[\"a\"],\"limit\":1.5}",
        "{\"items\":[\"a\"],\"limit\":\"2\"}",
        "{\"items\":[\"a\"],\"explain\":1}",
        "{\"items\":[\"a\"],\"time\":1700000000}",
        "{\"items\":[\"a\"],\"time\":-5}",
        "{\"items\":[\"a\"],\"time\":\"yesterday\"}",
        "{\"items\":[\"a\"],\"time\":1e30}",
        "{\"items\":[\"a\"],\"time\":999999999999999999}",
        "{\"items\":[\"a\"],\"context\":[]}",
        "{\"items\":[\"a\"],\"context\":{\"a\":{}}}",
        "{\"items\":[\"a\"],\"attributes\":1}",
        "{\"items\":[\"a\"],\"history\":{}}",
        "{\"items\":[\"a\"],\"history\":[1]}",
        "{\"items\":[\"a\"],\"history\":[{}]}",
        "{\"items\":[\"a\"],\"history\":[{\"type\":\"nosuch\",\"item\":\"b\"}]}",
        "{\"items\":[\"a\"],\"history\":[{\"type\":\"click\"}]}",
        "{\"items\":[\"a\"],\"history\":[{\"type\":7,\"item\":\"b\"}]}",
        "{\"items\":[\"a\"],\"history\":[{\"type\":\"click\",\"item\":\"b\",\"time\":5}]}",
        "{\"items\":[{\"item\":\"a\",\"price\":1e999}]}",
        "{\"items\":[{\"item\":\"a\",\"\":1}]}",
        "{\"items\":[\"a\"],\"session\":{}}",
        "{\"items\":[\"a\"],\"request\":5}",
    };
    look();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ask("POST", "/v1/rerank", "", bad[i]);
        if (last.status != 400) fail_msg("%d for %s: %s", last.status, bad[i], last.body);
        expect(400, "invalid_request");
    }
    (void)snprintf(long_id, sizeof long_id, "{\"items\":[\"%0257d\"]}", 7);
    ask("POST", "/v1/rerank", "", long_id);
    expect(400, "invalid_request");
    memset(deep, '[', sizeof deep - 1);
    ask("POST", "/v1/rerank", "", deep);
    expect(400, "invalid_request");
    ask("POST", "/v1/rerank", "", "{\"items\":[\"i1\"]}");
    expect(200, NULL);
}

/* These bytes as they are; ms: how long an answer is waited for. */
static void ask_raw(const char *text, size_t n, int ms)
{
    http_client_free(&last);
    last = http_client_raw(http_port(http), text, n, ms);
}

static void test_limits_on_items_body_and_history(void **state)
{
    (void)state;
    struct buf b = {0};
    look();
    buf_printf(&b, "{\"items\":[\"x\"");
    for (int i = 1; i < 101; i++) buf_printf(&b, ",\"y%d\"", i);
    buf_printf(&b, "]}");
    buf_u8(&b, 0);
    ask("POST", "/v1/rerank", "", (const char *)b.p);
    expect(413, "too_large");
    assert_non_null(strstr(last.body, "serving.max_items"));
    buf_clear(&b);
    buf_printf(&b, "{\"items\":[\"x\"],\"history\":[");
    for (int i = 0; i < 1001; i++) buf_printf(&b, i ? ",0" : "0");
    buf_printf(&b, "]}");
    buf_u8(&b, 0);
    ask("POST", "/v1/rerank", "", (const char *)b.p);
    expect(413, "too_large");
    buf_clear(&b);
    memset(buf_room(&b, 20001), ' ', 20001);
    buf_u8(&b, 0);
    ask("POST", "/v1/rerank", "", (const char *)b.p); /* its length says so */
    expect(413, "too_large");
    assert_non_null(strstr(last.body, "serving.max_body_bytes"));
    b.p[20000] = 0;
    ask("POST", "/v1/rerank", "", (const char *)b.p); /* just fits */
    expect(400, "invalid_request");
    for (int chunks = 6; chunks <= 600; chunks *= 10) { /* chunked: only reading tells, however much comes */
        buf_clear(&b);
        buf_printf(&b, "POST /v1/rerank HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (int i = 0; i < chunks; i++) buf_printf(&b, "fa0\r\n%04000d\r\n", 0);
        buf_printf(&b, "0\r\n\r\n");
        ask_raw((const char *)b.p, b.n, 20000);
        expect(413, "too_large");
        assert_non_null(strstr(last.head, "Connection: close"));
    }
    buf_fini(&b);
    ask("POST", "/v1/rerank", "", "{\"items\":[\"i1\"]}");
    expect(200, NULL);
}

/* Who stands before us may have read the other length, and taken the rest for the next request (RFC 9112, 6.3). */
static void test_body_has_one_length(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "Content-Length: 16\r\nContent-Length: 18\r\n",
        "Content-Length: 18\r\nContent-Length: 16\r\n",
        "Content-Length: 18\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 18\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    };
    look();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[400];
        const int n =
            snprintf(text, sizeof text,
                     "POST /v1/rerank HTTP/1.1\r\nHost: h\r\n%s\r\n12\r\n{\"items\":[\"i1\"]}  \r\n0\r\n\r\n", rows[i]);
        ask_raw(text, (size_t)n, 20000);
        expect(400, "invalid_request");
        assert_non_null(strstr(last.body, "how long"));
        assert_non_null(strstr(last.head, "Connection: close"));
    }
}

static void test_paths_and_methods(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path;
        int status;
        const char *code;
    } rows[] = {
        {"GET", "/nothing", 404, "no_such_path"},
        {"GET", "/v1", 404, "no_such_path"},
        {"GET", "/v1/rerank/", 404, "no_such_path"},
        {"GET", "/v1/rerank", 405, "method_not_allowed"},
        {"PUT", "/v1/rerank", 405, "method_not_allowed"},
        {"DELETE", "/v1/models", 405, "method_not_allowed"},
        {"POST", "/v1/models", 405, "method_not_allowed"},
        {"POST", "/metrics", 405, "method_not_allowed"},
        {"POST", "/", 405, "method_not_allowed"},
        {"GET", "/v2/models/other", 404, "no_such_model"},
        {"POST", "/v2/models/other/infer", 404, "no_such_model"},
        {"GET", "/v2/models/", 404, "no_such_path"},
        {"GET", "/v2/models/default/infer", 405, "method_not_allowed"},
        {"GET", "/../etc/passwd", 404, "no_such_path"},
        {"GET", "/v1/models", 200, NULL},
        {"HEAD", "/v1/models", 200, NULL},
        {"GET", "/v2", 200, NULL},
        {"GET", "/metrics", 200, NULL},
        {"GET", "/", 200, NULL},
        {"GET", "/?a=b", 200, NULL},
    };
    look();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ask(rows[i].method, rows[i].path, "",
            strcmp(rows[i].method, "POST") == 0 || strcmp(rows[i].method, "PUT") == 0 ? "{}" : NULL);
        if (last.status != rows[i].status) fail_msg("%s %s: %d", rows[i].method, rows[i].path, last.status);
        expect(rows[i].status, rows[i].code);
        if (last.status == 405) assert_non_null(strstr(last.head, "Allow: "));
    }
}

static void test_metrics_and_page(void **state)
{
    (void)state;
    look();
    ask("POST", "/v1/rerank", "", "{\"user\":\"u0\",\"items\":[\"i1\",\"nobody\"]}");
    ask("GET", "/metrics", "", NULL);
    expect(200, NULL);
    assert_non_null(strstr(last.head, "text/plain; version=0.0.4"));
    assert_non_null(strstr(last.body, "\nfreshet_version 1\n"));
    assert_non_null(strstr(last.body, "\nfreshet_candidates_total 2\n"));
    assert_non_null(strstr(last.body, "\nfreshet_unknown_items_total 1\n"));
    assert_non_null(strstr(last.body, "freshet_http_requests_total{route=\"rerank\",code=\"200\"} 1\n"));
    ask("GET", "/v1/models", "", NULL);
    json_t *o = json_loads(last.body, JSON_REJECT_DUPLICATES, NULL),
           *m = json_array_get(json_object_get(o, "models"), 0);
    assert_string_equal(json_string_value(json_object_get(m, "sha256")), w.params->sha256);
    assert_int_equal(json_integer_value(json_object_get(m, "version")), 1);
    json_decref(o);
    ask("GET", "/", "", NULL);
    assert_non_null(strstr(last.head, "text/html"));
    assert_non_null(strstr(last.body, "</html>"));
    assert_null(strstr(last.body, "http://")); /* nothing from elsewhere */
    assert_null(strstr(last.body, "https://"));
}

/* A version that is named is the one in force, or the answer is 404 and names both. */
static void test_versions_are_paths_of_the_protocol(void **state)
{
    (void)state;
    static const char items[] =
        "{\"inputs\":[{\"name\":\"items\",\"shape\":[1],\"datatype\":\"BYTES\",\"data\":[\"i1\"]}]}";
    ask("GET", "/v2/models/default/versions/1", "", NULL);
    expect(404, "no_such_version");
    assert_non_null(strstr(last.body, "none yet"));
    look();
    ask("GET", "/v2/models/default/versions/1", "", NULL);
    expect(200, NULL);
    assert_non_null(strstr(last.body, "\"versions\":[\"1\"]"));
    ask("GET", "/v2/models/default/versions/1/ready", "", NULL);
    expect(200, NULL);
    ask("POST", "/v2/models/default/versions/1/infer", "", items);
    expect(200, NULL);
    assert_non_null(strstr(last.body, "\"model_version\":\"1\""));
    static const char *const other[] = {"8", "01", "", "one", "1/x", "18446744073709551616000"};
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        static const struct {
            const char *method, *tail;
        } ways[] = {{"GET", ""}, {"GET", "/ready"}, {"POST", "/infer"}};
        for (size_t k = 0; k < 3; k++) {
            char path[100];
            (void)snprintf(path, sizeof path, "/v2/models/default/versions/%s%s", other[i], ways[k].tail);
            ask(ways[k].method, path, "", k == 2 ? items : NULL);
            expect(404, "no_such_version");
        }
    }
    ask("POST", "/v2/models/default/versions/8/infer", "", items);
    assert_non_null(strstr(last.body, "version 8 is not the version in force, which is 1;"));
    ask("POST", "/v2/models/other/versions/1/infer", "", items);
    expect(404, "no_such_model");
    ask("GET", "/v2/models/default/version/1", "", NULL);
    expect(404, "no_such_model");
}

static void test_open_inference_protocol(void **state)
{
    (void)state;
    double by_item[3];
    look();
    ask("POST", "/v1/rerank", "", "{\"user\":\"u0\",\"items\":[\"i1\",\"i2\",\"i3\"]}");
    json_t *o = json_loads(last.body, 0, NULL);
    for (size_t i = 0; i < 3; i++) {
        json_t *x = json_array_get(json_object_get(o, "items"), i);
        by_item[json_string_value(json_object_get(x, "item"))[1] - '1'] =
            json_number_value(json_object_get(x, "score"));
    }
    json_decref(o);
    ask("POST", "/v2/models/default/infer", "",
        "{\"id\":\"q7\",\"inputs\":[{\"name\":\"user\",\"shape\":[1,1],\"datatype\":\"BYTES\",\"data\":[[\"u0\"]]},"
        "{\"name\":\"items\",\"shape\":[3],\"datatype\":\"BYTES\",\"data\":[\"i1\",\"i2\",\"i3\"]}]}");
    expect(200, NULL);
    o = json_loads(last.body, JSON_REJECT_DUPLICATES, NULL);
    json_t *out = json_array_get(json_object_get(o, "outputs"), 0), *data = json_object_get(out, "data");
    assert_string_equal(json_string_value(json_object_get(o, "model_name")), "default");
    assert_string_equal(json_string_value(json_object_get(o, "model_version")), "1");
    assert_string_equal(json_string_value(json_object_get(o, "id")), "q7");
    assert_string_equal(json_string_value(json_object_get(out, "datatype")), "FP32");
    assert_int_equal(json_integer_value(json_array_get(json_object_get(out, "shape"), 0)), 3);
    for (size_t i = 0; i < 3; i++) assert_true(json_number_value(json_array_get(data, i)) == by_item[i]);
    json_decref(o);
    static const char *const bad[] = {
        "{}",
        "[]",
        "{\"inputs\":{}}",
        "{\"inputs\":[]}",
        "{\"inputs\":[{}]}",
        "{\"inputs\":[{\"name\":\"x\"}]}",
        "{\"inputs\":[{\"name\":\"items\",\"shape\":[1],\"datatype\":\"FP32\",\"data\":[\"a\"]}]}",
        "{\"inputs\":[{\"name\":\"items\",\"shape\":[2],\"datatype\":\"BYTES\",\"data\":[\"a\"]}]}",
        "{\"inputs\":[{\"name\":\"items\",\"shape\":[1],\"datatype\":\"BYTES\",\"data\":[\"a\",\"b\"]}]}",
        "{\"inputs\":[{\"name\":\"items\",\"shape\":[2,1],\"datatype\":\"BYTES\",\"data\":[\"a\",\"b\"]}]}",
        "{\"inputs\":[{\"name\":\"items\",\"shape\":[1],\"datatype\":\"BYTES\",\"data\":[[[[\"a\"]]]]}]}",
        "{\"inputs\":[{\"name\":\"items\",\"shape\":[1],\"datatype\":\"BYTES\",\"data\":[1]}]}",
        "{\"inputs\":[{\"name\":\"items\",\"shape\":[1],\"datatype\":\"BYTES\"}]}",
        "{\"id\":5,\"inputs\":[{\"name\":\"items\",\"shape\":[1],\"datatype\":\"BYTES\",\"data\":[\"a\"]}]}",
        "{\"inputs\":[{\"name\":\"user\",\"shape\":[1],\"datatype\":\"BYTES\",\"data\":[\"a\"]}]}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ask("POST", "/v2/models/default/infer", "", bad[i]);
        if (last.status != 400) fail_msg("%d for %s", last.status, bad[i]);
    }
}

static void test_token_is_asked_for_except_by_health(void **state)
{
    (void)state;
    char path[300], option[400];
    static const struct {
        const char *path, *header;
        int status;
    } rows[] = {
        {"/v1/models", "", 401},
        {"/v1/models", "Authorization: Bearer wrong\r\n", 401},
        {"/v1/models", "Authorization: Bearer \r\n", 401},
        {"/v1/models", "Authorization: Bearer s3cret!x\r\n", 401},
        {"/v1/models", "Authorization: Bearer s3cret\r\n", 401},
        {"/v1/models", "Authorization: Basic s3cret!\r\n", 401},
        {"/v1/models", "Authorization: Bearer s3cret!\r\n", 200},
        {"/v1/models", "Authorization: bearer s3cret!\r\n", 200}, /* the scheme in any case */
        {"/metrics", "", 401},
        {"/nothing", "", 401},
        {"/v2/health/live", "", 200},
        {"/v2/health/ready", "", 200},
        {"/", "", 200},
    };
    look();
    files_put_text(&w.base, "token", "s3cret!\n");
    (void)snprintf(option, sizeof option, "serving.token_file=%s", tmpdir_file(&w.base, "token", path));
    reopen_http(option, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ask("GET", rows[i].path, rows[i].header, NULL);
        if (last.status != rows[i].status) fail_msg("%s %s: %d", rows[i].path, rows[i].header, last.status);
    }
    ask("POST", "/v1/rerank", "", "{\"items\":[\"i1\"]}");
    expect(401, "unauthorized");
    assert_non_null(strstr(last.head, "WWW-Authenticate: Bearer"));
    files_put_text(&w.base, "token", "\n");
    http_close(http, 0);
    struct err e = {0};
    const struct http_options o = {
        .conf = w.shop.conf, .clock = clock_system(), .score = score, .metric = metric, .version = ""};
    assert_int_equal(http_open(&http, &o, &e), STATUS_INVALID);
    assert_null(http);
    char longer[5000]; /* it would be another token where it is cut */
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    files_put_text(&w.base, "token", longer);
    assert_int_equal(http_open(&http, &o, &e), STATUS_INVALID);
    assert_non_null(strstr(e.text, "longer than"));
    assert_null(http);
}

/* --- events ------------------------------------------------------------------------------------------------------- */

static atomic_int intake_status; /* set here, read by a request's thread */
static enum status take(void *user, struct str body, size_t *n, struct err *e)
{
    (void)user;
    *n = 0;
    for (size_t i = 0; i < body.n; i++) *n += body.p[i] == '\n';
    const enum status st = (enum status)atomic_load(&intake_status);
    return st == STATUS_OK ? STATUS_OK : ERR_SET(e, st, "the intake says %s", status_name(st));
}

static void test_events_go_to_the_intake_or_501(void **state)
{
    (void)state;
    static const struct http_intake intake = {NULL, take};
    static const struct {
        enum status st;
        int status;
        const char *code;
    } rows[] = {{STATUS_OK, 202, NULL},
                {STATUS_INVALID, 400, "invalid_event"},
                {STATUS_FULL, 413, "too_many_events"},
                {STATUS_IO, 503, "intake_away"}};
    ask("POST", "/v1/events", "", "{}\n");
    expect(501, "no_intake");
    reopen_http(NULL, &intake);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        atomic_store(&intake_status, (int)rows[i].st);
        ask("POST", "/v1/events", "", "{}\n{}\n");
        expect(rows[i].status, rows[i].code);
        if (rows[i].status == 202) assert_string_equal(last.body, "{\"accepted\":2}\n");
        if (rows[i].status == 503) assert_non_null(strstr(last.head, "Retry-After: 1"));
    }
    assert_true(metric_get(metric, METRIC_EVENTS_ACCEPTED) == 2);
}

/* --- connections -------------------------------------------------------------------------------------------------- */

static void test_broken_requests_and_too_many_connections(void **state)
{
    (void)state;
    static const char *const raw[] = {
        "\r\n\r\n",
        "GARBAGE\r\n\r\n",
        "GET\r\n\r\n",
        "POST /v1/rerank HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n",
        "POST /v1/rerank HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "POST /v1/rerank HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n",
    };
    int held[40];
    look();
    for (size_t i = 0; i < sizeof raw / sizeof *raw; i++) {
        ask_raw(raw[i], strlen(raw[i]), 300);
        assert_int_not_equal(last.status, 200);
    }
    reopen_http("serving.max_connections=8", NULL);
    for (int i = 0; i < 40; i++) held[i] = http_client_connect(http_port(http)); /* all silent */
    for (int i = 0; i < 40; i++) (void)close(held[i]);
    ask("GET", "/v2/health/live", "", NULL);
    for (int i = 0; i < 100 && last.status != 200; i++) ask("GET", "/v2/health/live", "", NULL); /* while it notices */
    expect(200, NULL);
}

enum { CLIENTS = 4, EACH = 30 };
static atomic_int good;

static void *client(void *arg)
{
    static const char body[] = "{\"user\":\"u0\",\"items\":[\"i1\",\"i2\",\"i3\"]}";
    (void)arg;
    for (int i = 0; i < EACH; i++) {
        struct http_client_answer a = http_client_ask(http_port(http), "POST", "/v1/rerank", "", body, sizeof body - 1);
        atomic_fetch_add(&good, a.status == 200);
        http_client_free(&a);
    }
    return NULL;
}

static void test_many_clients_at_once_then_going_down(void **state)
{
    (void)state;
    pthread_t t[CLIENTS];
    look();
    for (int i = 0; i < CLIENTS; i++) assert_int_equal(pthread_create(&t[i], NULL, client, NULL), 0);
    for (int i = 0; i < CLIENTS; i++) assert_int_equal(pthread_join(t[i], NULL), 0);
    assert_int_equal(atomic_load(&good), CLIENTS * EACH);
    const int idle = http_client_connect(http_port(http)); /* holds nobody up */
    const int64_t start = clock_system()->mono_us(clock_system());
    http_close(http, 2000);
    http = NULL;
    assert_true(clock_system()->mono_us(clock_system()) - start < 1500000);
    (void)close(idle);
}

static void test_address_errors_are_told(void **state)
{
    (void)state;
    struct err e = {0};
    struct http *other = NULL;
    char taken[64];
    static const char *const bad[] = {"nonsense", "127.0.0.1:", "127.0.0.1:http!", "no.such.host.invalid:80"};
    const struct http_options o = {
        .conf = w.shop.conf, .clock = clock_system(), .score = score, .metric = metric, .version = ""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        (void)snprintf(w.shop.conf->serving_listen, sizeof w.shop.conf->serving_listen, "%s",
                       bad[i]); /* past conf's own check */
        assert_int_equal(http_open(&other, &o, &e), STATUS_INVALID);
        assert_non_null(strstr(e.text, bad[i]));
    }
    (void)snprintf(taken, sizeof taken, "127.0.0.1:%d", http_port(http));
    assert_ok(conf_set(w.shop.conf, "serving.listen", taken, &e), &e);
    assert_int_equal(http_open(&other, &o, &e), STATUS_IO);
    assert_non_null(strstr(e.text, taken));
    assert_null(other);
}

static enum status make(const struct http_options *o)
{
    struct http *h = NULL;
    struct err e = {0};
    const enum status st = http_open(&h, o, &e);
    if (st != STATUS_OK) assert_null(h);
    http_close(h, 0);
    return st;
}

static void test_open_survives_each_failing_allocation(void **state)
{
    (void)state;
    long n;
    const struct http_options o = {
        .conf = w.shop.conf, .clock = clock_system(), .score = score, .metric = metric, .version = ""};
    publish_close(w.publish);
    w.publish = NULL;
    FAIL_EACH_ALLOCATION(n, make(&o));
    assert_true(n >= 2);
}

int main(void)
{
#define ONE(test) cmocka_unit_test_setup_teardown(test, open_all, close_all)
    const struct CMUnitTest tests[] = {
        ONE(test_health_and_no_model),
        ONE(test_rerank_answers_by_its_schema),
        ONE(test_bad_bodies_are_400_and_harm_nobody),
        ONE(test_limits_on_items_body_and_history),
        ONE(test_body_has_one_length),
        ONE(test_paths_and_methods),
        ONE(test_metrics_and_page),
        ONE(test_open_inference_protocol),
        ONE(test_versions_are_paths_of_the_protocol),
        ONE(test_token_is_asked_for_except_by_health),
        ONE(test_events_go_to_the_intake_or_501),
        ONE(test_broken_requests_and_too_many_connections),
        ONE(test_many_clients_at_once_then_going_down),
        ONE(test_address_errors_are_told),
        ONE(test_open_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

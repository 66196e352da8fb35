/* test_score_request.c - bodies of requests: each bad one is refused for what it is, and none takes more room than it may. */
#include "tests/support/check.h"

#include "serving/score_infer.h"
#include "serving/score_request.h"
#include <stdlib.h>
#include <string.h>

static struct conf *conf;
static struct score_request request;

static int setup(void **state)
{
    struct err e = {0};
    (void)state;
    assert_ok(conf_new(&conf, &e), &e);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    score_request_fini(&request);
    conf_free(conf);
    return mem_live() == 0 ? 0 : -1;
}

#define I "{\"items\":[\"a\",\"b\"]"
static const struct {
    const char *body;
    enum status st;
    const char *says;
} bodies[] = {
    {I "}", STATUS_OK, ""},
    {"", STATUS_INVALID, "not JSON"},
    {"\xff", STATUS_INVALID, "not JSON"},
    {"[]", STATUS_INVALID, "must be a JSON object"},
    {I, STATUS_INVALID, "not JSON"},
    {I "}x", STATUS_INVALID, "not JSON"},
    {I ",\"user\":\"a\",\"user\":\"b\"}", STATUS_INVALID, "not JSON"},
    {I ",\"user\":\"\\ud800\"}", STATUS_INVALID, "not JSON"},
    {I ",\"user\":\"a\\u0000\"}", STATUS_INVALID, "not JSON"},
    {"{}", STATUS_INVALID, "items is missing"},
    {"{\"items\":null}", STATUS_INVALID, "items must be a list"},
    {"{\"items\":\"a\"}", STATUS_INVALID, "items must be a list"},
    {"{\"items\":[]}", STATUS_INVALID, "items is empty"},
    {"{\"items\":[1]}", STATUS_INVALID, "a candidate must be"},
    {"{\"items\":[null]}", STATUS_INVALID, "a candidate must be"},
    {"{\"items\":[{}]}", STATUS_INVALID, "item must be a string"},
    {"{\"items\":[\"\"]}", STATUS_INVALID, "is empty"},
    {"{\"items\":[\"a\\n\"]}", STATUS_INVALID, "control character"},
    {"{\"items\":[\"a\\u0085\"]}", STATUS_INVALID, "control character"},
    {"{\"items\":[\"a\"],\"time\":\"1960-01-01T00:00:00Z\"}", STATUS_INVALID, "outside 1970"},
    {"{\"items\":[\"a\",\"a\"]}", STATUS_INVALID, "twice"},
    {"{\"items\":[\"a\",{\"item\":\"a\"}]}", STATUS_INVALID, "twice"},
    {"{\"items\":[{\"item\":\"a\",\"x\":{}}]}", STATUS_INVALID, "may not be an object"},
    {"{\"items\":[{\"item\":\"a\",\"x\":[[]]}]}", STATUS_INVALID, "strings and numbers only"},
    {"{\"items\":[{\"item\":\"a\",\"\":1}]}", STATUS_INVALID, "name is empty"},
    {I ",\"price\":1}", STATUS_INVALID, "unknown field"},
    {I ",\"user\":1}", STATUS_INVALID, "user must be a string"},
    {I ",\"user\":\"\"}", STATUS_INVALID, "user is empty"},
    {I ",\"session\":[]}", STATUS_INVALID, "session must be a string"},
    {I ",\"request\":{}}", STATUS_INVALID, "request must be a string"},
    {I ",\"time\":1767225600}", STATUS_INVALID, "seconds"},
    {I ",\"time\":-1}", STATUS_INVALID, "outside"},
    {I ",\"time\":1.5}", STATUS_INVALID, "RFC 3339"},
    {I ",\"time\":\"now\"}", STATUS_INVALID, "RFC 3339"},
    {I ",\"time\":9223372036854775807}", STATUS_INVALID, "outside"},
    {I ",\"limit\":0}", STATUS_INVALID, "limit"},
    {I ",\"limit\":-1}", STATUS_INVALID, "limit"},
    {I ",\"limit\":1.0}", STATUS_INVALID, "limit"},
    {I ",\"limit\":9223372036854775807}", STATUS_OK, ""},
    {I ",\"explain\":1}", STATUS_INVALID, "explain"},
    {I ",\"context\":[]}", STATUS_INVALID, "context must be an object"},
    {I ",\"attributes\":\"x\"}", STATUS_INVALID, "attributes must be an object"},
    {I ",\"history\":{}}", STATUS_INVALID, "history must be a list"},
    {I ",\"history\":[1]}", STATUS_INVALID, "must be an object"},
    {I ",\"history\":[{}]}", STATUS_INVALID, "needs a type"},
    {I ",\"history\":[{\"type\":\"item\"}]}", STATUS_INVALID, "no behaviour type"},
    {I ",\"history\":[{\"type\":\"view\"}]}", STATUS_INVALID, "item must be a string"},
    {I ",\"history\":[{\"type\":\"view\",\"item\":\"a\",\"time\":1}]}", STATUS_INVALID, "seconds"},
    {I ",\"price\":1e999}", STATUS_INVALID, "not JSON"},
    {I ",\"attributes\":{\"n\":12345678901234567890}}", STATUS_OK, ""},
    {I ",\"attributes\":{\"n\":12345678901234567890},}", STATUS_INVALID, "not JSON"},
    {"{\"items\":[{\"item\":\"a\",\"ids\":[-9223372036854775809]}],\"limit\":1}", STATUS_OK, ""},
    {I ",\"time\":9223372036854775808}", STATUS_INVALID, "outside"},
    {I ",\"limit\":9223372036854775808}", STATUS_INVALID, "limit"},
    {I ",\"price\":NaN}", STATUS_INVALID, "not JSON"},
};

static void test_bad_bodies_are_refused_for_what_they_are(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct err e = {0};
        const enum status st = score_request_parse(&request, str_from(bodies[i].body), conf, &e);
        if (st != bodies[i].st || strstr(e.text, bodies[i].says) == NULL)
            fail_msg("%s: %s: %s", bodies[i].body, status_name(st), e.text);
    }
}

/* 4 MiB of `{},` once became 500 MB before the first of them was looked at. */
static void test_many_values_are_refused_before_they_take_room(void **state)
{
    (void)state;
    const size_t n = 4 << 20;
    struct err e = {0};
    char *body = malloc(n);
    assert_non_null(body);
    memset(body, ' ', n);
    memcpy(body, "{\"items\":[{}", 12);
    for (size_t i = 12; i + 5 < n; i += 3) memcpy(body + i, ",{}", 3);
    memcpy(body + n - 2, "]}", 2);
    assert_int_equal(score_request_parse(&request, (struct str){body, n}, conf, &e), STATUS_FULL);
    assert_non_null(strstr(e.text, "more values"));
    memcpy(body, "{\"inputs\":[{", 12);
    assert_int_equal(score_infer_parse(&request, (struct str){body, n}, conf, &e), STATUS_FULL);
    free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_bodies_are_refused_for_what_they_are),
        cmocka_unit_test(test_many_values_are_refused_before_they_take_room),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

/* test_report.c - the report is JSON that a strict parser reads, its keys are those of the contract, NaN is null. */
#include "schemas/report.h"
#include "tests/support/check.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static struct report_figures figures(double at)
{
    return (struct report_figures){.auc = at,
                                   .gauc = at + 0.01,
                                   .logloss = at + 0.02,
                                   .ne = at + 0.03,
                                   .calibration = NAN,
                                   .examples = 1000,
                                   .slates = 100};
}

static struct report sample(void)
{
    struct report r = {.events = 10,
                       .rejected = 3,
                       .examples = INT64_MAX,
                       .slates = 5,
                       .open = 6,
                       .duplicates = 7,
                       .seconds = 1.5,
                       .examples_per_second = 0.1,
                       .peak_rss_bytes = 1e9,
                       .version = 12,
                       .n_rejects = 2,
                       .n_parts = 2,
                       .tokens = 100,
                       .unknown_tokens = 4};
    (void)snprintf(r.rejects[0].code, sizeof r.rejects[0].code, "bad_time");
    r.rejects[0].n = 2;
    (void)snprintf(r.rejects[1].code, sizeof r.rejects[1].code, "odd\"code");
    r.rejects[1].n = 1;
    r.progressive = figures(0.5);
    r.baselines[REPORT_POPULARITY] = figures(0.6);
    r.baselines[REPORT_REPEAT] = r.baselines[REPORT_FROZEN] = r.baselines[REPORT_CONSTANT] =
        r.slices[REPORT_COLD_USER] = r.slices[REPORT_COLD_ITEM] = r.slices[REPORT_FIRST_TIME] = figures(0.7);
    r.slices[REPORT_COLD_ITEM] = figures(0.8);
    (void)snprintf(r.parts[0].name, sizeof r.parts[0].name, "text");
    r.parts[0].gauc_without = 0.123;
    (void)snprintf(r.parts[1].name, sizeof r.parts[1].name, "match");
    r.parts[1].gauc_without = NAN;
    (void)snprintf(r.by_age[0].name, sizeof r.by_age[0].name, "0-1d");
    r.by_age[0].examples = 9;
    memset(r.sha256, 'a', HASH_SHA256_HEX - 1);
    (void)snprintf(r.backend, sizeof r.backend, "cpu f32");
    return r;
}

static json_t *written(const struct report *r, struct buf *b)
{
    json_error_t why;
    report_write_json(b, r);
    assert_int_equal(b->p[b->n - 1], '\n');
    json_t *o = json_loadb((const char *)b->p, b->n, JSON_REJECT_DUPLICATES, &why);
    if (o == NULL) fail_msg("line %d: %s: %.*s", why.line, why.text, (int)b->n, (const char *)b->p);
    return o;
}

static double number_at(json_t *o, const char *group, const char *inner, const char *key)
{
    json_t *at = json_object_get(o, group);
    if (inner != NULL) at = json_object_get(at, inner);
    at = json_object_get(at, key);
    assert_true(json_is_number(at));
    return json_number_value(at);
}

static void test_values_stand_where_the_contract_says(void **state)
{
    (void)state;
    const struct report r = sample();
    struct buf b = {0};
    json_t *o = written(&r, &b);
    assert_int_equal(json_integer_value(json_object_get(o, "events")), 10);
    assert_true(number_at(o, "rejects", NULL, "bad_time") == 2);
    assert_true(number_at(o, "rejects", NULL, "odd\"code") == 1);
    assert_true(number_at(o, "progressive", NULL, "gauc") == 0.51);
    assert_true(number_at(o, "baselines", "popularity", "auc") == 0.6);
    assert_true(number_at(o, "baselines", "constant", "examples") == 1000);
    assert_true(number_at(o, "by", "cold_item", "logloss") == 0.8 + 0.02);
    assert_true(number_at(o, "parts", "text", "gauc_without") == 0.123);
    assert_true(number_at(o, "model", NULL, "version") == 12);
    assert_true(number_at(json_object_get(o, "positives"), "by_item_age", "0-1d", "examples") == 9);
    assert_true(json_is_null(json_object_get(json_object_get(o, "progressive"), "calibration")));
    assert_true(json_is_null(json_object_get(json_object_get(json_object_get(o, "parts"), "match"), "gauc_without")));
    assert_int_equal(strlen(json_string_value(json_object_get(json_object_get(o, "model"), "sha256"))), 64);
    json_decref(o);
    buf_fini(&b);
}

static void test_partitions_are_told_with_their_chains(void **state)
{
    (void)state;
    const struct report_partition parts[] = {
        {.topic = "a\"b", .partition = 3, .next = 12, .records = 11, .chain = 0xfedcba9876543210u},
        {.topic = "", .next = 1, .records = 1, .chain = 7}};
    struct report r = sample();
    struct buf b = {0};
    r.partitions = parts;
    r.n_partitions = 2;
    json_t *o = written(&r, &b);
    json_t *list = json_object_get(o, "partitions");
    assert_int_equal(json_array_size(list), 2);
    json_t *one = json_array_get(list, 0);
    assert_string_equal(json_string_value(json_object_get(one, "topic")), "a\"b");
    assert_int_equal(json_integer_value(json_object_get(one, "partition")), 3);
    assert_int_equal(json_integer_value(json_object_get(one, "next")), 12);
    assert_int_equal(json_integer_value(json_object_get(one, "records")), 11);
    assert_string_equal(json_string_value(json_object_get(one, "chain")), "fedcba9876543210");
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 1), "chain")), "0000000000000007");
    json_decref(o);
    buf_fini(&b);
}

static void test_keys_come_in_the_order_of_the_contract(void **state)
{
    (void)state;
    static const char *const order[] = {"\"events\"",      "\"rejected\"",  "\"rejects\"", "\"examples\"",
                                        "\"slates\"",      "\"open\"",      "\"seconds\"", "\"examples_per_second\"",
                                        "\"progressive\"", "\"baselines\"", "\"by\"",      "\"parts\"",
                                        "\"model\""};
    const struct report r = sample();
    struct buf b = {0};
    report_write_json(&b, &r);
    buf_u8(&b, 0);
    const char *at = (const char *)b.p;
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        char key[64];
        (void)snprintf(key, sizeof key, "\n  %s", order[i]); /* at the outer level */
        const char *found = strstr(at, key);
        assert_non_null(found);
        at = found;
    }
    buf_fini(&b);
}

static void test_empty_report_is_valid(void **state)
{
    (void)state;
    const struct report r = {0};
    struct buf b = {0};
    json_t *o = written(&r, &b);
    assert_int_equal(json_object_size(json_object_get(o, "rejects")), 0);
    assert_int_equal(json_object_size(json_object_get(o, "parts")), 0);
    assert_int_equal(json_array_size(json_object_get(o, "partitions")), 0);
    json_decref(o);
    buf_fini(&b);
}

static void test_out_of_memory_is_marked(void **state)
{
    (void)state;
    const struct report r = sample();
    struct buf b = {0};
    mem_fail_after(2);
    report_write_json(&b, &r);
    mem_fail_after(-1);
    assert_int_equal(buf_status(&b, NULL), STATUS_OOM);
    buf_fini(&b);
    assert_int_equal(mem_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_stand_where_the_contract_says),
        cmocka_unit_test(test_partitions_are_told_with_their_chains),
        cmocka_unit_test(test_keys_come_in_the_order_of_the_contract),
        cmocka_unit_test(test_empty_report_is_valid),
        cmocka_unit_test(test_out_of_memory_is_marked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_json_schemas.c - what freshet writes satisfies its published schemas, and the schemas refuse what is wrong. */
#include "base/arena.h"
#include "schemas/event.h"
#include "schemas/report.h"
#include "serving/publish_manifest.h"
#include "tests/support/check.h"
#include "tests/support/json_schema.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static void accepts(const char *schema, const char *text, size_t n)
{
    char why[300] = "";
    if (!json_schema_accepts(schema, text, n, why)) fail_msg("%s: %s: %.*s", schema, why, (int)n, text);
}

static void refuses(const char *schema, const char *text, const char *must_say)
{
    char why[300] = "";
    if (json_schema_accepts(schema, text, strlen(text), why)) fail_msg("%s takes %s", schema, text);
    if (strstr(why, must_say) == NULL) fail_msg("%s: '%s' does not say '%s'", schema, why, must_say);
}

static void test_events(void **state)
{
    (void)state;
    struct str colours[] = {STR("red"), STR("blue")};
    struct event_attr attrs[] = {
        {.name = STR("title"), .kind = EVENT_ATTR_TEXT, .text = STR("Cup \"big\"")},
        {.name = STR("price"), .kind = EVENT_ATTR_NUMBER, .text = STR("3.50"), .number = 3.5},
        {.name = STR("tags"), .kind = EVENT_ATTR_LIST, .list = colours, .n_list = 2},
        {.name = STR("sale"), .kind = EVENT_ATTR_BOOL, .number = 1},
    };
    struct event_item items[] = {{.item = STR("a")}, {.item = STR("b"), .attrs = attrs, .n_attrs = 4}};
    double propensity[] = {0.5, 1};
    const struct event events[] = {
        {.kind = EVENT_ITEM,
         .time_ms = 1700000000000,
         .item = STR("a"),
         .attrs = attrs,
         .n_attrs = 4,
         .deleted = true,
         .value = NAN,
         .price = 3.5,
         .quantity = NAN},
        {.kind = EVENT_IMPRESSION,
         .time_ms = 1700000000000,
         .user = STR("u"),
         .items = items,
         .n_items = 2,
         .propensity = propensity,
         .version = STR("12"),
         .context = attrs,
         .n_context = 2,
         .value = NAN,
         .price = NAN,
         .quantity = NAN},
        {.kind = EVENT_BEHAVIOUR,
         .type_name = STR("rating"),
         .time_ms = 1700000000000,
         .id = STR("1"),
         .source = STR("s"),
         .user = STR("u"),
         .item = STR("a"),
         .order = STR("o"),
         .request = STR("r"),
         .value = 4.5,
         .price = 1,
         .quantity = 2},
    };
    for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
        struct buf b = {0};
        event_write_json(&b, &events[i]);
        accepts("event", (const char *)b.p, b.n);
        buf_fini(&b);
    }
    refuses("event", "{\"time\":1700000000000}", "required type");
    refuses("event", "{\"type\":\"view\",\"time\":17}", "anyOf");
    refuses("event", "{\"type\":\"view\",\"time\":1700000000000,\"user\":7}", "/user: type");
    refuses("event", "{\"type\":\"view\",\"time\":1700000000000,\"item\":\"\"}", "/item: minLength");
    refuses("event", "{\"type\":\"view\",\"time\":1700000000000,\"note\":{\"a\":1}}", "/note: anyOf");
    refuses("event", "{\"type\":\"impression\",\"time\":1700000000000,\"items\":[{}]}", "/items/0: anyOf");
    refuses("event", "{\"type\":\"impression\",\"time\":1700000000000,\"propensity\":[0]}", "exclusiveMinimum");
    refuses("event", "{\"type\":\"impression\",\"time\":1700000000000,\"items\":[{\"item\":\"a\",\"propensity\":0}]}",
            "/items/0: anyOf");
}

static void test_requests_and_replies(void **state)
{
    (void)state;
    static const char *const requests[] = {
        "{\"user\":\"u1\",\"items\":[\"a\",\"b\",{\"item\":\"new\",\"title\":\"x\",\"price\":3}]}",
        "{\"items\":[\"a\"],\"history\":[{\"type\":\"view\",\"item\":\"b\"}],\"session\":\"s\",\"context\":{\"query\":"
        "\"q\"},"
        "\"attributes\":{\"age\":3},\"time\":\"2026-01-02T03:04:05Z\",\"limit\":20,\"explain\":true}",
    };
    static const char reply[] =
        "{\"request\":\"r1\",\"items\":[{\"item\":\"b\",\"score\":0.83,\"rank\":1,\"known\":true}],"
        "\"model\":{\"version\":12,\"sha256\":\"aa\",\"age_ms\":840,\"watermark\":\"2026-01-02T03:04:"
        "05.000Z\",\"variant\":\"a\"}}";
    static const char drawn[] =
        "{\"request\":\"r1\",\"items\":[{\"item\":\"b\",\"score\":1.09434891,\"rank\":1,\"known\":true,\"propensity\":"
        "0.4,"
        "\"logit\":0.00473410683,\"parts\":{\"text\":-0.3},\"tasks\":{\"click\":0.49,\"purchase\":0.12}}],\"explored\":"
        "true,"
        "\"model\":{\"version\":5,\"sha256\":\"aa\",\"age_ms\":0,\"watermark\":null}}"; /* rank.utility: no probability */
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++)
        accepts("rerank-request", requests[i], strlen(requests[i]));
    refuses("rerank-request", "{\"user\":\"u\"}", "required items");
    refuses("rerank-request", "{\"items\":[]}", "minItems");
    refuses("rerank-request", "{\"items\":[\"a\"],\"limits\":1}", "additionalProperties limits");
    refuses("rerank-request", "{\"items\":[\"a\"],\"limit\":1.5}", "/limit: type");
    refuses("rerank-request", "{\"items\":[\"a\"],\"history\":[{\"type\":\"view\"}]}", "required item");
    accepts("rerank-reply", reply, sizeof reply - 1);
    accepts("rerank-reply", drawn, sizeof drawn - 1);
    refuses("rerank-reply", "{\"items\":[{\"item\":\"b\",\"propensity\":0}]}", "/items/0/propensity: exclusiveMinimum");
    refuses("rerank-reply", "{\"items\":[{\"item\":\"b\",\"tasks\":{\"click\":2}}]}", "/items/0/tasks/click: maximum");
    refuses("rerank-reply", "{\"explored\":1}", "/explored: type");
}

static void test_report(void **state)
{
    (void)state;
    struct report r = {.n_rejects = 1, .n_parts = 1, .seconds = NAN};
    struct buf b = {0};
    (void)snprintf(r.rejects[0].code, sizeof r.rejects[0].code, "bad_json");
    (void)snprintf(r.parts[0].name, sizeof r.parts[0].name, "text");
    (void)snprintf(r.by_age[0].name, sizeof r.by_age[0].name, "0-1d");
    r.progressive.calibration = NAN;
    report_write_json(&b, &r);
    accepts("report", (const char *)b.p, b.n);
    buf_fini(&b);
    refuses("report", "{\"events\":-1}", "minimum");
    refuses("report", "{\"events\":1}", "required");
}

static void test_manifest(void **state)
{
    (void)state;
    struct publish_chunk chunk = {.version = 7, .bytes = 1000};
    struct publish_offset offset = {.partition = 3, .next = 99, .mark = 0xabc, .records = 7, .chain = UINT64_MAX};
    uint64_t kept[] = {7, 6};
    struct publish_manifest m = {.version = 7,
                                 .parent = 6,
                                 .examples = 10,
                                 .bytes = 1000,
                                 .epoch = 2,
                                 .live = true,
                                 .watermark_ms = 1700000000000,
                                 .chunks = &chunk,
                                 .n_chunks = 1,
                                 .offsets = &offset,
                                 .n_offsets = 1,
                                 .kept = kept,
                                 .n_kept = 2,
                                 .reason = "steps",
                                 .verdict = "accepted"};
    struct buf b = {0};
    struct err e = {0};
    memset(m.sha256, 'a', 64);
    memset(m.base, 'b', 64);
    memset(chunk.sha256, 'c', 64);
    assert_ok(publish_manifest_encode(&b, &m, "shop", &e), &e);
    accepts("manifest", (const char *)b.p, b.n);
    buf_clear(&b);
    (void)snprintf(m.topics, sizeof m.topics, "events, more.of-them_2");
    assert_ok(publish_manifest_encode(&b, &m, "shop", &e), &e);
    accepts("manifest", (const char *)b.p, b.n);
    buf_clear(&b);
    m.rounded = m.has_rows = true;
    assert_ok(publish_manifest_encode(&b, &m, "shop", &e), &e);
    accepts("manifest", (const char *)b.p, b.n);
    buf_fini(&b);
    refuses("manifest", "{\"version\":7,\"dense\":\"f16\"}", "/dense");
    refuses("manifest", "{\"version\":7,\"topics\":[\"a b\"]}", "/topics/0: pattern");
    refuses("manifest", "{\"version\":7,\"check\":1}", "/check: type");
    refuses("manifest", "{\"version\":7,\"sha256\":\"AA\"}", "/sha256: minLength");
    refuses("manifest", "{\"version\":7}", "required");
}

static void test_served_answers(void **state)
{
    (void)state;
    static const char entry[] =
        "{\"request\":\"r1\",\"user\":\"\",\"version\":\"12\",\"time_ms\":\"1700000000000\",\"sha256\":"
        "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"features\":\"00000000000000ff\","
        "\"items\":[{\"item\":\"a\",\"score\":0.5,\"logit\":0,\"features\":\"0000beef\",\"parts\":[0.25,-0.25]}]}";
    accepts("served", entry, sizeof entry - 1);
    refuses("served", "{\"version\":12}", "/version: type");
    refuses("served", "{\"features\":\"xyz\"}", "/features: pattern");
    refuses("served", "{\"explored\":\"yes\"}", "/explored: pattern");
    refuses("served", "{\"items\":[{\"item\":\"a\",\"propensity\":2}]}", "/items/0/propensity: maximum");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events),   cmocka_unit_test(test_requests_and_replies), cmocka_unit_test(test_report),
        cmocka_unit_test(test_manifest), cmocka_unit_test(test_served_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

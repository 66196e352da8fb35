/* test_preset_metarank.c - Metarank's documented events, and the fixture made by make_metarank.py. */
#include "tests/support/check.h"

#include "ingest/preset_metarank.h"
#include "ingest/source.h"
#include "tests/support/files.h"
#include <math.h>
#include <string.h>

static struct conf *conf;
static struct preset_metarank *preset;
static struct arena arena;

static int setup(void **state)
{
    struct err e = {0};
    (void)state;
    assert_ok(conf_new(&conf, &e), &e);
    assert_ok(conf_set(conf, "ingest.schema", "metarank", &e), &e);
    assert_ok(preset_metarank_new(&preset, conf, &e), &e);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    preset_metarank_free(preset);
    conf_free(conf);
    arena_fini(&arena);
    return mem_live() == 0 ? 0 : -1;
}

static struct event parse_good(const char *text)
{
    struct event ev;
    struct reject r;
    struct err e = {0};
    arena_reset(&arena);
    const enum status st = preset_metarank_parse(preset, str_from(text), &arena, &ev, &r, &e);
    if (st != STATUS_OK) fail_msg("%s: %s %s", text, reject_name(r.code), r.text);
    return ev;
}

static void test_item_and_user_become_attributes(void **state)
{
    (void)state;
    struct event ev = parse_good(
        "{\"event\":\"item\",\"id\":\"81f46c34\",\"timestamp\":\"1599391467000\",\"item\":\"item1\",\"fields\":["
        "{\"name\":\"title\",\"value\":\"You favourite cat\"},{\"name\":\"color\",\"value\":[\"white\",\"black\"]},"
        "{\"name\":\"is_cute\",\"value\":true},{\"name\":\"price\",\"value\":12.50},{\"name\":\"sizes\",\"value\":[1,2."
        "5]},"
        "{\"name\":\"type\",\"value\":\"movie\"},{\"name\":\"gone\",\"value\":null}]}");
    assert_int_equal(ev.kind, EVENT_ITEM);
    assert_true(ev.time_ms == 1599391467000 && str_is(ev.item, "item1"));
    assert_null(ev.id.p); /* Metarank does not use it */
    assert_int_equal(ev.n_attrs, 6);
    assert_true(ev.price == 12.5);
    assert_int_equal(event_attr(ev.attrs, ev.n_attrs, "color")->n_list, 2);
    assert_true(str_is(event_attr(ev.attrs, ev.n_attrs, "sizes")->list[1], "2.5"));
    assert_true(str_is(event_attr(ev.attrs, ev.n_attrs, "field_type")->text, "movie"));
    ev = parse_good("{\"event\":\"user\",\"id\":\"x\",\"timestamp\":1599391467000,\"user\":\"user1\",\"fields\":[{"
                    "\"name\":\"age\",\"value\":33}]}");
    assert_true(ev.kind == EVENT_USER && str_is(ev.user, "user1") && ev.attrs[0].number == 33);
}

static void test_ranking_becomes_an_impression(void **state)
{
    (void)state;
    const struct event ev = parse_good(
        "{\"event\":\"ranking\",\"id\":\"r1\",\"timestamp\":\"2022-06-22T11:21:39Z\",\"user\":\"user1\",\"session\":"
        "\"session1\","
        "\"fields\":[{\"name\":\"query\",\"value\":\"cat\"}],\"items\":[{\"id\":\"item3\",\"relevancy\":2.0},{\"id\":"
        "\"item1\"},"
        "{\"id\":\"item2\",\"fields\":[{\"name\":\"ad\",\"value\":true}],\"relevancy\":0.5}],\"tenant\":\"t\"}");
    assert_int_equal(ev.kind, EVENT_IMPRESSION);
    assert_true(ev.time_ms == 1655896899000);
    assert_true(str_is(ev.request, "r1") && str_is(ev.id, "r1") && str_is(ev.source, "ranking"));
    assert_int_equal(ev.n_items, 3);
    assert_true(str_is(ev.items[0].item, "item3") && ev.items[0].n_attrs == 1 && ev.items[0].attrs[0].number == 2);
    assert_int_equal(ev.items[1].n_attrs, 0);
    assert_int_equal(ev.items[2].n_attrs, 2);
    assert_true(ev.n_context == 1 && str_is(ev.context[0].name, "query"));
}

static void test_interaction_becomes_a_behaviour(void **state)
{
    (void)state;
    struct event ev = parse_good(
        "{\"event\":\"interaction\",\"id\":\"i1\",\"ranking\":\"r1\",\"timestamp\":\"1599391467000\",\"user\":\"u\","
        "\"type\":\"purchase\",\"item\":\"item1\",\"fields\":[{\"name\":\"count\",\"value\":1}]}");
    assert_true(ev.kind == EVENT_BEHAVIOUR && ev.type == EVENT_PURCHASE && str_is(ev.request, "r1") &&
                str_is(ev.source, "interaction"));
    assert_true(ev.n_attrs == 1 && isnan(ev.value));
    ev = parse_good(
        "{\"event\":\"interaction\",\"id\":\"i2\",\"timestamp\":1599391467000,\"type\":\"rating\",\"item\":\"a\","
        "\"fields\":[{\"name\":\"value\",\"value\":4}]}");
    assert_true(ev.value == 4 && ev.request.p == NULL && ev.user.p == NULL);
}

#define T "\"timestamp\":1599391467000"
static const struct {
    const char *text;
    enum reject_code code;
} bad[] = {
    {"{", REJECT_BAD_JSON},
    {"[]", REJECT_NOT_OBJECT},
    {"{" T "}", REJECT_MISSING_TYPE},
    {"{\"event\":\"stare\"," T "}", REJECT_BAD_TYPE},
    {"{\"event\":3," T "}", REJECT_BAD_TYPE},
    {"{\"event\":\"interaction\"," T ",\"item\":\"a\"}", REJECT_MISSING_TYPE},
    {"{\"event\":\"interaction\"," T ",\"item\":\"a\",\"type\":1}", REJECT_BAD_TYPE},
    {"{\"event\":\"interaction\"," T ",\"item\":\"a\",\"type\":\"stare\"}", REJECT_UNKNOWN_TYPE},
    {"{\"event\":\"interaction\"," T ",\"item\":\"a\",\"type\":\"impression\"}", REJECT_UNKNOWN_TYPE},
    {"{\"event\":\"interaction\"," T ",\"type\":\"click\"}", REJECT_MISSING_ITEM},
    {"{\"event\":\"interaction\"," T ",\"type\":\"click\",\"item\":7}", REJECT_ID_NOT_TEXT},
    {"{\"event\":\"item\"," T "}", REJECT_MISSING_ITEM},
    {"{\"event\":\"user\"," T "}", REJECT_MISSING_USER},
    {"{\"event\":\"item\",\"item\":\"a\"}", REJECT_MISSING_TIME},
    {"{\"event\":\"item\",\"item\":\"a\",\"timestamp\":\"1599391467\"}", REJECT_TIME_SECONDS},
    {"{\"event\":\"item\",\"item\":\"a\",\"timestamp\":\"soon\"}", REJECT_BAD_TIME},
    {"{\"event\":\"item\",\"item\":\"a\"," T ",\"fields\":{}}", REJECT_BAD_FIELDS},
    {"{\"event\":\"item\",\"item\":\"a\"," T ",\"fields\":[1]}", REJECT_BAD_FIELDS},
    {"{\"event\":\"item\",\"item\":\"a\"," T ",\"fields\":[{\"name\":\"x\"}]}", REJECT_BAD_FIELDS},
    {"{\"event\":\"item\",\"item\":\"a\"," T ",\"fields\":[{\"name\":\"x\",\"value\":1},{\"name\":\"x\",\"value\":2}]}",
     REJECT_BAD_FIELDS},
    {"{\"event\":\"item\",\"item\":\"a\"," T ",\"fields\":[{\"name\":\"x\",\"value\":{}}]}", REJECT_BAD_ATTRIBUTE},
    {"{\"event\":\"ranking\",\"id\":\"r\"," T "}", REJECT_MISSING_ITEMS},
    {"{\"event\":\"ranking\",\"id\":\"r\"," T ",\"items\":[]}", REJECT_MISSING_ITEMS},
    {"{\"event\":\"ranking\",\"id\":\"r\"," T ",\"items\":[\"a\"]}", REJECT_BAD_ITEMS},
    {"{\"event\":\"ranking\",\"id\":\"r\"," T ",\"items\":[{\"id\":\"a\"},{\"id\":\"a\"}]}", REJECT_DUPLICATE_ITEM},
    {"{\"event\":\"ranking\",\"id\":\"r\",\"id\":\"s\"," T ",\"items\":[{\"id\":\"a\"}]}", REJECT_DUPLICATE_KEY},
};

static void test_bad_messages_have_their_codes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct event ev;
        struct reject r = {0};
        struct err e = {0};
        arena_reset(&arena);
        const enum status st = preset_metarank_parse(preset, str_from(bad[i].text), &arena, &ev, &r, &e);
        if (st != STATUS_INVALID || r.code != bad[i].code)
            fail_msg("%s: %s, %s instead of %s (%s)", bad[i].text, status_name(st), reject_name(r.code),
                     reject_name(bad[i].code), r.text);
        if (r.code == REJECT_UNKNOWN_TYPE) assert_non_null(strstr(r.text, ".label="));
    }
}

/* What replay reads: every record of the fixture is an event, and interactions name rankings that came before. */
static void test_the_fixture_is_read_whole(void **state)
{
    const char *path = files_source("tests/fixtures/metarank.jsonl");
    struct source *s = NULL;
    struct source_batch *b = NULL;
    struct err e = {0};
    size_t rankings = 0, behaviours = 0, with_request = 0, others = 0;
    (void)state;
    assert_ok(source_open_files(&s, conf, &path, 1, NULL, &e), &e);
    assert_ok(source_batch_new(&b, &e), &e);
    while (source_next(s, b, 0, &e) == STATUS_OK) {
        for (uint32_t i = 0; i < b->n; i++) {
            const struct event *ev = &b->records[i].event;
            assert_int_equal(b->records[i].kind, SOURCE_EVENT);
            rankings += ev->kind == EVENT_IMPRESSION;
            behaviours += ev->kind == EVENT_BEHAVIOUR;
            with_request += ev->kind == EVENT_BEHAVIOUR && ev->request.p != NULL;
            others += ev->kind == EVENT_ITEM || ev->kind == EVENT_USER;
            assert_true(ev->time_ms >= 1661990400000 && ev->time_ms < 1661990400000 + 2 * 86400000ll);
        }
    }
    assert_int_equal(rankings, 72);
    assert_int_equal(others, 52);
    assert_true(behaviours > 100);
    assert_int_equal(with_request, behaviours - 1);
    source_close(s);
    source_batch_free(b);
}

static enum status parse_once(void)
{
    struct preset_metarank *p = NULL;
    struct arena a = {0};
    struct event ev;
    struct reject r;
    struct err e = {0};
    enum status st = preset_metarank_new(&p, conf, &e);
    assert_true(st == STATUS_OK || p == NULL);
    if (st == STATUS_OK)
        st = preset_metarank_parse(
            p, STR("{\"event\":\"ranking\",\"id\":\"r\"," T ",\"items\":[{\"id\":\"a\",\"relevancy\":1.5}]}"), &a, &ev,
            &r, &e);
    arena_fini(&a);
    preset_metarank_free(p);
    return st;
}

static void test_failing_allocations_are_survived(void **state)
{
    long n = 0;
    (void)state;
    FAIL_EACH_ALLOCATION(n, parse_once());
    assert_true(n >= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_item_and_user_become_attributes), cmocka_unit_test(test_ranking_becomes_an_impression),
        cmocka_unit_test(test_interaction_becomes_a_behaviour), cmocka_unit_test(test_bad_messages_have_their_codes),
        cmocka_unit_test(test_the_fixture_is_read_whole),       cmocka_unit_test(test_failing_allocations_are_survived),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

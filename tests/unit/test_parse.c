/* test_parse.c - native events: what is read, and a table of what is refused and why. */
#include "tests/support/check.h"

#include "base/utf8.h"
#include "ingest/parse.h"
#include "ingest/parse_text.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct conf *conf;
static struct parse *parser;
static struct arena arena;

static int setup(void **state)
{
    struct err e = {0};
    (void)state;
    assert_ok(conf_new(&conf, &e), &e);
    assert_ok(conf_set(conf, "type.share.label", "positive", &e), &e);
    assert_ok(parse_new(&parser, conf, &e), &e);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    parse_free(parser);
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
    const enum status st = parse_event(parser, str_from(text), &arena, &ev, &r, &e);
    if (st != STATUS_OK) fail_msg("%s: %s %s", text, reject_name(r.code), r.text);
    return ev;
}

static void test_all_fields_are_read(void **state)
{
    (void)state;
    const struct event ev =
        parse_good("{\"type\":\"purchase\",\"time\":\"2026-01-02T03:04:05.678+01:00\",\"id\":\"e1\",\"source\":\"web\","
                   "\"user\":\"u1\","
                   "\"item\":\"\xe4\xbb\xb6\",\"session\":\"s\",\"order\":\"o\",\"request\":\"r\",\"value\":-2.5,"
                   "\"price\":3.50,\"quantity\":6,"
                   "\"title\":\"a \\\"b\\\"\",\"tags\":[\"x\",1,2.50,true],\"sale\":true,\"old\":false,\"none\":null,"
                   "\"context\":{\"page\":\"home\",\"slot\":3}}");
    assert_int_equal(ev.kind, EVENT_BEHAVIOUR);
    assert_int_equal(ev.type, EVENT_PURCHASE);
    assert_true(str_is(ev.type_name, "purchase"));
    assert_true(ev.time_ms == 1767319445678);
    assert_true(str_is(ev.id, "e1") && str_is(ev.source, "web") && str_is(ev.user, "u1") &&
                str_is(ev.item, "\xe4\xbb\xb6"));
    assert_true(str_is(ev.session, "s") && str_is(ev.order, "o") && str_is(ev.request, "r"));
    assert_true(ev.value == -2.5 && ev.price == 3.5 && ev.quantity == 6);
    assert_int_equal(ev.n_attrs, 6); /* price quantity title tags sale old */
    const struct event_attr *price = event_attr(ev.attrs, ev.n_attrs, "price"),
                            *tags = event_attr(ev.attrs, ev.n_attrs, "tags");
    assert_true(price->kind == EVENT_ATTR_NUMBER && str_is(price->text, "3.5"));
    assert_true(tags->kind == EVENT_ATTR_LIST && tags->n_list == 4);
    assert_true(str_is(tags->list[0], "x") && str_is(tags->list[1], "1") && str_is(tags->list[2], "2.5") &&
                str_is(tags->list[3], "true"));
    assert_true(event_attr(ev.attrs, ev.n_attrs, "sale")->number == 1 &&
                event_attr(ev.attrs, ev.n_attrs, "old")->number == 0);
    assert_null(event_attr(ev.attrs, ev.n_attrs, "none"));
    assert_true(str_is(event_attr(ev.attrs, ev.n_attrs, "title")->text, "a \"b\""));
    assert_int_equal(ev.n_context, 2);
    assert_true(event_attr(ev.context, ev.n_context, "slot")->number == 3);
}

static void test_impression_is_read(void **state)
{
    (void)state;
    const struct event ev =
        parse_good(" {\"type\":\"impression\",\"time\":1767319445678,\"request\":\"q\",\"items\":[\"a\",{\"item\":"
                   "\"b\",\"price\":2,"
                   "\"ad\":true},{\"item\":\"c\"}],\"version\":12,\"variant\":\"v\",\"propensity\":[1,0.5,0.25]}\n");
    assert_int_equal(ev.kind, EVENT_IMPRESSION);
    assert_true(ev.user.p == NULL && isnan(ev.value) && isnan(ev.price));
    assert_int_equal(ev.n_items, 3);
    assert_true(str_is(ev.items[0].item, "a") && str_is(ev.items[1].item, "b") && str_is(ev.items[2].item, "c"));
    assert_int_equal(ev.items[1].n_attrs, 2);
    assert_int_equal(ev.items[2].n_attrs, 0);
    assert_true(str_is(ev.version, "12") && str_is(ev.variant, "v"));
    assert_true(ev.propensity[0] == 1 && ev.propensity[1] == 0.5 && ev.propensity[2] == 0.25);
}

/* The items of a re-rank reply, as they are: what it says of them is no attribute but the score. */
static void test_a_replys_items_are_read_as_they_are(void **state)
{
    (void)state;
#define ITEM(ID, RANK, P) "{\"item\":\"" ID "\",\"score\":0.5,\"rank\":" RANK ",\"known\":true,\"propensity\":" P "}"
#define SHOWN "{\"type\":\"impression\",\"time\":1767319445678,\"items\":["
    struct event ev = parse_good(SHOWN ITEM("a", "1", "0.25") "," ITEM("b", "2", "1") "]}");
    assert_true(ev.propensity[0] == 0.25 && ev.propensity[1] == 1);
    assert_true(ev.items[1].n_attrs == 1 && str_is(ev.items[1].attrs[0].name, "score"));
    ev = parse_good(SHOWN ITEM("a", "1", "0.25") ",\"b\"],\"propensity\":[0.5,1]}"); /* the list goes first */
    assert_true(ev.propensity[0] == 0.5 && ev.propensity[1] == 1);
    ev = parse_good(SHOWN "{\"item\":\"a\",\"rank\":7},\"b\"]}");
    assert_true(ev.propensity == NULL && ev.items[0].n_attrs == 1 && str_is(ev.items[0].attrs[0].name, "rank"));
#undef SHOWN
#undef ITEM
}

static void test_catalogue_and_own_types_are_read(void **state)
{
    (void)state;
    struct event ev = parse_good("{\"type\":\"item\",\"time\":1767319445678,\"item\":\"a\",\"deleted\":true}");
    assert_true(ev.kind == EVENT_ITEM && ev.deleted);
    ev = parse_good("{\"type\":\"user\",\"time\":1767319445678,\"user\":\"u\",\"age\":30,\"item\":null}");
    assert_true(ev.kind == EVENT_USER && !ev.deleted && ev.n_attrs == 1 && ev.item.p == NULL);
    ev = parse_good("{\"type\":\"share\",\"time\":1767319445678,\"item\":\"a\",\"version\":\"v7\"}");
    assert_true(ev.kind == EVENT_BEHAVIOUR && ev.type >= EVENT_TYPES_BUILTIN && str_is(ev.version, "v7"));
    ev = parse_good("{\"type\":\"rating\",\"time\":\"2026-01-02t03:04:05z\",\"item\":\"a\",\"value\":4}");
    assert_true(ev.value == 4);
}

/* JSON has no largest integer; jansson has. */
static void test_integers_of_any_size_are_attributes(void **state)
{
    (void)state;
    const struct event ev =
        parse_good("{\"type\":\"rating\",\"time\":1767319445678,\"item\":\"a\",\"version\":9223372036854775807,"
                   "\"ean\":12345678901234567890,\"low\":-98765432109876543210,\"ids\":[18446744073709551616,7],"
                   "\"value\":9223372036854775808,\"title\":\"\\\"99999999999999999999\",\"n\":12,"
                   "\"context\":{\"c\":100000000000000000000000000000000000000000}}");
    assert_true(ev.time_ms == 1767319445678 && str_is(ev.version, "9223372036854775807") && ev.value == 0x1p63);
    const struct event_attr *ean = event_attr(ev.attrs, ev.n_attrs, "ean");
    assert_true(ean->kind == EVENT_ATTR_NUMBER && ean->number == 12345678901234567890.0);
    assert_true(event_attr(ev.attrs, ev.n_attrs, "low")->number == -98765432109876543210.0);
    assert_true(event_attr(ev.attrs, ev.n_attrs, "n")->number == 12);
    assert_true(str_is(event_attr(ev.attrs, ev.n_attrs, "ids")->list[1], "7"));
    assert_true(str_is(event_attr(ev.attrs, ev.n_attrs, "title")->text, "\"99999999999999999999"));
    assert_true(event_attr(ev.context, ev.n_context, "c")->number == 1e41);
}

#define T "\"time\":1767319445678"
#define V "{\"type\":\"view\"," T ",\"item\":\"a\""
static const struct {
    const char *text;
    enum reject_code code;
} bad[] = {
    {"", REJECT_BAD_JSON},
    {" ", REJECT_BAD_JSON},
    {"{", REJECT_BAD_JSON},
    {"{}x", REJECT_BAD_JSON},
    {V "} {}", REJECT_BAD_JSON},
    {V "},", REJECT_BAD_JSON},
    {V ",}", REJECT_BAD_JSON},
    {V ",\"x\":01}", REJECT_BAD_JSON},
    {V ",\"x\":+1}", REJECT_BAD_JSON},
    {V ",\"x\":.5}", REJECT_BAD_JSON},
    {V ",\"x\":NaN}", REJECT_BAD_JSON},
    {V ",\"x\":Infinity}", REJECT_BAD_JSON},
    {V ",\"x\":1e999}", REJECT_BAD_JSON},
    {V ",\"x\":99999999999999999999,}", REJECT_BAD_JSON},
    {V ",\"x\":099999999999999999999}", REJECT_BAD_JSON},
    {V ",x:1}", REJECT_BAD_JSON},
    {V ",'x':1}", REJECT_BAD_JSON},
    {V ",\"x\":\"a\nb\"}", REJECT_BAD_JSON},
    {V ",\"x\":\"\\u0000\"}", REJECT_BAD_JSON},
    {V ",\"x\":\"\\ud800\"}", REJECT_BAD_JSON},
    {V ",\"x\":\"\\q\"}", REJECT_BAD_JSON},
    {V ",\"x\":tru}", REJECT_BAD_JSON},
    {"/* c */" V "}", REJECT_BAD_JSON},
    {V ",\"x\":\"\xff\"}", REJECT_BAD_UTF8},
    {V ",\"x\":\"\xc0\xaf\"}", REJECT_BAD_UTF8},
    {V ",\"x\":\"\xed\xa0\x80\"}", REJECT_BAD_UTF8},
    {V ",\"x\":\"\xf4\x90\x80\x80\"}", REJECT_BAD_UTF8},
    {V ",\"x\":\"\xe4\xbb\"}", REJECT_BAD_UTF8},
    {V ",\"item\":\"b\"}", REJECT_DUPLICATE_KEY},
    {V ",\"context\":{\"a\":1,\"a\":2}}", REJECT_DUPLICATE_KEY},
    {"[1]", REJECT_NOT_OBJECT},
    {"\"text\"", REJECT_NOT_OBJECT},
    {"null", REJECT_NOT_OBJECT},
    {"12", REJECT_NOT_OBJECT},
    {"{}", REJECT_MISSING_TYPE},
    {"{\"type\":null," T "}", REJECT_MISSING_TYPE},
    {"{\"type\":7," T "}", REJECT_BAD_TYPE},
    {"{\"type\":[\"view\"]," T "}", REJECT_BAD_TYPE},
    {"{\"type\":\"\"," T ",\"item\":\"a\"}", REJECT_UNKNOWN_TYPE},
    {"{\"type\":\"VIEW\"," T ",\"item\":\"a\"}", REJECT_UNKNOWN_TYPE},
    {"{\"type\":\"stare\"," T ",\"item\":\"a\"}", REJECT_UNKNOWN_TYPE},
    {"{\"type\":\"view\",\"item\":\"a\"}", REJECT_MISSING_TIME},
    {"{\"type\":\"view\",\"item\":\"a\",\"time\":null}", REJECT_MISSING_TIME},
    {"{\"type\":\"view\",\"item\":\"a\",\"time\":1767319445678.5}", REJECT_BAD_TIME},
    {"{\"type\":\"view\",\"item\":\"a\",\"time\":true}", REJECT_BAD_TIME},
    {"{\"type\":\"view\",\"item\":\"a\",\"time\":\"1767319445678\"}", REJECT_BAD_TIME},
    {"{\"type\":\"view\",\"item\":\"a\",\"time\":\"2026-01-02 03:04:05\"}", REJECT_BAD_TIME},
    {"{\"type\":\"view\",\"item\":\"a\",\"time\":\"2026-01-02T03:04:05\"}", REJECT_BAD_TIME},
    {"{\"type\":\"view\",\"item\":\"a\",\"time\":\"2026-02-30T03:04:05Z\"}", REJECT_BAD_TIME},
    {"{\"type\":\"view\",\"item\":\"a\",\"time\":\"2026-01-02T25:04:05Z\"}", REJECT_BAD_TIME},
    {"{\"type\":\"view\",\"item\":\"a\",\"time\":\"\"}", REJECT_BAD_TIME},
    {"{\"type\":\"view\",\"item\":\"a\",\"time\":1767319445}", REJECT_TIME_SECONDS},
    {"{\"type\":\"view\",\"item\":\"a\",\"time\":0}", REJECT_TIME_SECONDS},
    {"{\"type\":\"view\",\"item\":\"a\",\"time\":-1}", REJECT_TIME_RANGE},
    {"{\"type\":\"view\",\"item\":\"a\",\"time\":1767319445678000}", REJECT_TIME_RANGE},
    {"{\"type\":\"view\",\"item\":\"a\",\"time\":1767319445678000000}", REJECT_TIME_RANGE},
    {"{\"type\":\"view\",\"item\":\"a\",\"time\":1000000000000000000}", REJECT_TIME_RANGE},
    {"{\"type\":\"view\",\"item\":\"a\",\"time\":1e18}", REJECT_BAD_TIME},
    {"{\"type\":\"view\",\"item\":\"a\",\"time\":17673194456780000000}", REJECT_TIME_RANGE},
    {"{\"type\":\"view\",\"item\":\"a\",\"time\":-9223372036854775809}", REJECT_TIME_RANGE},
    {V ",\"version\":9223372036854775808}", REJECT_ID_NOT_TEXT},
    {V ",\"user\":9223372036854775808}", REJECT_ID_NOT_TEXT},
    {V ",\"deleted\":9223372036854775808}", REJECT_BAD_BOOL},
    {V ",\"n\":9223372036854775808,\"time\":1767319445678.5}", REJECT_DUPLICATE_KEY},
    {"{\"type\":\"view\",\"item\":\"a\",\"time\":\"1969-12-31T23:59:59Z\"}", REJECT_TIME_RANGE},
    {"{\"type\":\"view\"," T "}", REJECT_MISSING_ITEM},
    {"{\"type\":\"view\"," T ",\"item\":null}", REJECT_MISSING_ITEM},
    {"{\"type\":\"item\"," T "}", REJECT_MISSING_ITEM},
    {"{\"type\":\"user\"," T "}", REJECT_MISSING_USER},
    {"{\"type\":\"impression\"," T "}", REJECT_MISSING_ITEMS},
    {"{\"type\":\"impression\"," T ",\"items\":[]}", REJECT_MISSING_ITEMS},
    {"{\"type\":\"impression\"," T ",\"items\":null}", REJECT_MISSING_ITEMS},
    {"{\"type\":\"rating\"," T ",\"item\":\"a\"}", REJECT_MISSING_VALUE},
    {"{\"type\":\"impression\"," T ",\"items\":\"a\"}", REJECT_BAD_ITEMS},
    {"{\"type\":\"impression\"," T ",\"items\":[1]}", REJECT_BAD_ITEMS},
    {"{\"type\":\"impression\"," T ",\"items\":[{\"id\":\"a\"}]}", REJECT_BAD_ITEMS},
    {"{\"type\":\"impression\"," T ",\"items\":[\"a\",null]}", REJECT_BAD_ITEMS},
    {"{\"type\":\"impression\"," T ",\"items\":[\"a\",\"b\",\"a\"]}", REJECT_DUPLICATE_ITEM},
    {"{\"type\":\"impression\"," T ",\"items\":[\"\"]}", REJECT_ID_EMPTY},
    {"{\"type\":\"view\"," T ",\"item\":12}", REJECT_ID_NOT_TEXT},
    {V ",\"user\":12}", REJECT_ID_NOT_TEXT},
    {V ",\"user\":{\"id\":1}}", REJECT_ID_NOT_TEXT},
    {V ",\"version\":1.5}", REJECT_ID_NOT_TEXT},
    {V ",\"user\":\"\"}", REJECT_ID_EMPTY},
    {V ",\"\":1}", REJECT_ID_EMPTY},
    {V ",\"user\":\"a\\tb\"}", REJECT_ID_CONTROL},
    {V ",\"order\":\"\\u007f\"}", REJECT_ID_CONTROL},
    {V ",\"session\":\"\\u0085\"}", REJECT_ID_CONTROL},
    {V ",\"value\":\"3\"}", REJECT_BAD_NUMBER},
    {V ",\"price\":\"3.50\"}", REJECT_BAD_NUMBER},
    {V ",\"quantity\":[1]}", REJECT_BAD_NUMBER},
    {V ",\"quantity\":true}", REJECT_BAD_NUMBER},
    {"{\"type\":\"item\"," T ",\"item\":\"a\",\"deleted\":1}", REJECT_BAD_BOOL},
    {V ",\"brand\":{\"name\":\"x\"}}", REJECT_BAD_ATTRIBUTE},
    {V ",\"tags\":[[\"x\"]]}", REJECT_BAD_ATTRIBUTE},
    {V ",\"tags\":[{}]}", REJECT_BAD_ATTRIBUTE},
    {V ",\"tags\":[null]}", REJECT_BAD_ATTRIBUTE},
    {V ",\"context\":\"home\"}", REJECT_BAD_CONTEXT},
    {V ",\"context\":[1]}", REJECT_BAD_CONTEXT},
    {V ",\"context\":{\"a\":{\"b\":1}}}", REJECT_BAD_ATTRIBUTE},
    {"{\"type\":\"impression\"," T ",\"items\":[\"a\"],\"propensity\":[1,1]}", REJECT_BAD_PROPENSITY},
    {"{\"type\":\"impression\"," T ",\"items\":[\"a\"],\"propensity\":[0]}", REJECT_BAD_PROPENSITY},
    {"{\"type\":\"impression\"," T ",\"items\":[\"a\"],\"propensity\":[1.5]}", REJECT_BAD_PROPENSITY},
    {"{\"type\":\"impression\"," T ",\"items\":[\"a\"],\"propensity\":[\"1\"]}", REJECT_BAD_PROPENSITY},
    {"{\"type\":\"impression\"," T ",\"items\":[\"a\"],\"propensity\":1}", REJECT_BAD_PROPENSITY},
    {"{\"type\":\"impression\"," T ",\"items\":[{\"item\":\"a\",\"propensity\":0}]}", REJECT_BAD_PROPENSITY},
    {"{\"type\":\"impression\"," T ",\"items\":[{\"item\":\"a\",\"propensity\":1},\"b\"]}", REJECT_BAD_PROPENSITY},
    {"{\"type\":\"impression\"," T ",\"items\":[{\"item\":\"a\",\"propensity\":null}]}", REJECT_BAD_PROPENSITY},
    {V ",\"items\":[\"b\"]}", REJECT_UNEXPECTED_FIELD},
    {V ",\"deleted\":true}", REJECT_UNEXPECTED_FIELD},
    {"{\"type\":\"impression\"," T ",\"items\":[\"a\"],\"item\":\"a\"}", REJECT_UNEXPECTED_FIELD},
    {"{\"type\":\"impression\"," T ",\"items\":[\"a\"],\"deleted\":true}", REJECT_UNEXPECTED_FIELD},
};

static void expect_reject(struct str text, enum reject_code code)
{
    struct event ev;
    struct reject r = {0};
    struct err e = {0};
    arena_reset(&arena);
    const enum status st = parse_event(parser, text, &arena, &ev, &r, &e);
    if (st != STATUS_INVALID || r.code != code)
        fail_msg("%.200s: %s, %s instead of %s (%s)", text.p, status_name(st), reject_name(r.code), reject_name(code),
                 r.text);
    assert_true(r.text[0] != 0 && e.code == STATUS_OK);
}

static void test_bad_messages_have_their_codes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) expect_reject(str_from(bad[i].text), bad[i].code);
    assert_true(sizeof bad / sizeof *bad >= 80);
}

static void test_what_is_bad_is_told(void **state)
{
    (void)state;
#define PROPENSITY "{\"type\":\"impression\"," T ",\"items\":[\"a\",\"b\"],\"propensity\":[0.5,"
    const struct {
        const char *text, *says;
    } each[] = {
        {PROPENSITY "0]}", "item 2 is 0, not above 0"},
        {PROPENSITY "1.5]}", "item 2 is 1.5, not"},
        {PROPENSITY "\"x\"]}", "item 2 is not a number"},
        {"{\"type\":\"\"," T ",\"item\":\"a\"}", "type is empty"},
        {"{\"type\":\"stare\"," T ",\"item\":\"a\"}", "type.stare.label="},
    };
#undef PROPENSITY
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        struct event ev;
        struct reject r = {0};
        struct err e = {0};
        arena_reset(&arena);
        assert_int_equal(parse_event(parser, str_from(each[i].text), &arena, &ev, &r, &e), STATUS_INVALID);
        if (strstr(r.text, each[i].says) == NULL) fail_msg("'%s' does not say '%s'", r.text, each[i].says);
    }
}

/* `n` copies of `unit` (with %d counting) between head and tail. */
static char *repeat(const char *head, const char *unit, int n, const char *tail)
{
    const size_t cap = strlen(head) + strlen(tail) + (strlen(unit) + 12) * (size_t)n + 1;
    char *out = malloc(cap);
    size_t at = (size_t)snprintf(out, cap, "%s", head);
    for (int i = 0; i < n; i++) {
        const char *mark = strchr(unit, '#');
        if (mark == NULL)
            at += (size_t)snprintf(out + at, cap - at, "%s", unit);
        else
            at += (size_t)snprintf(out + at, cap - at, "%.*s%d%s", (int)(mark - unit), unit, i, mark + 1);
    }
    (void)snprintf(out + at, cap - at, "%s", tail);
    return out;
}

static void expect_repeat(const char *head, const char *unit, int n, const char *tail, enum reject_code code)
{
    char *text = repeat(head, unit, n, tail);
    if (code == REJECT_NONE)
        (void)parse_good(text);
    else
        expect_reject(str_from(text), code);
    free(text);
}

static void test_caps_hold_at_their_edge(void **state)
{
    (void)state;
    expect_repeat(V ",\"user\":\"", "u", 256, "\"}", REJECT_NONE);
    expect_repeat(V ",\"user\":\"", "u", 257, "\"}", REJECT_ID_TOO_LONG);
    expect_repeat(V ",\"title\":\"", "t", 4096, "\"}", REJECT_NONE);
    expect_repeat(V ",\"title\":\"", "t", 4097, "\"}", REJECT_TEXT_TOO_LONG);
    expect_repeat(V, ",\"a#\":1", 64, "}", REJECT_NONE);
    expect_repeat(V, ",\"a#\":1", 65, "}", REJECT_TOO_MANY_ATTRIBUTES);
    expect_repeat(V, ",\"a#\":null", 200, "}", REJECT_NONE);
    expect_repeat(V ",\"l\":[0", ",1", 63, "]}", REJECT_NONE);
    expect_repeat(V ",\"l\":[0", ",1", 64, "]}", REJECT_LIST_TOO_LONG);
    expect_repeat(V ",\"l\":[\"", "x", 4097, "\"]}", REJECT_TEXT_TOO_LONG);
    expect_repeat(V ",\"", "n", 257, "\":1}", REJECT_ID_TOO_LONG);
    expect_repeat("{\"type\":\"impression\"," T ",\"items\":[\"first\"", ",\"i#\"", 999, "]}", REJECT_NONE);
    expect_repeat("{\"type\":\"impression\"," T ",\"items\":[\"first\"", ",\"i#\"", 1000, "]}", REJECT_TOO_MANY_ITEMS);
    expect_repeat("{\"type\":\"impression\"," T ",\"items\":[\"i700\"", ",\"i#\"", 900, "]}", REJECT_DUPLICATE_ITEM);
    expect_repeat(V ",\"x\":", "[", 3000, "1", REJECT_TOO_DEEP);
    expect_repeat(V "}", " ", (int)conf->ingest_max_bytes, "", REJECT_TOO_LONG);
}

static void test_nul_bytes_are_refused(void **state)
{
    (void)state;
    expect_reject(STR(V ",\"x\":\"a\0b\"}"), REJECT_BAD_JSON);
    expect_reject(STR(V "}\0"), REJECT_BAD_JSON);
    expect_reject(STR("\0"), REJECT_BAD_JSON);
}

/* Every prefix of a good message is a reject, never a crash or a half-read event. */
/* A tombstone is not called broken JSON. */
static void test_an_absent_value_says_so(void **state)
{
    struct event ev;
    struct reject r;
    struct err e = {0};
    (void)state;
    assert_int_equal(parse_event(parser, (struct str){0}, &arena, &ev, &r, &e), STATUS_INVALID);
    assert_int_equal(r.code, REJECT_BAD_JSON);
    assert_non_null(strstr(r.text, "has no value (a tombstone"));
    assert_int_equal(parse_event(parser, str_from(""), &arena, &ev, &r, &e), STATUS_INVALID);
    assert_string_equal(r.text, "the message is empty");
}

static void test_prefixes_are_refused(void **state)
{
    (void)state;
    static const char whole[] =
        "{\"type\":\"impression\"," T
        ",\"items\":[\"a\",{\"item\":\"b\",\"p\":[1,\"x\"]}],\"context\":{\"q\":\"\xe4\xbb\xb6\"}}";
    for (size_t n = 0; n + 1 < sizeof whole - 1; n++) {
        struct event ev;
        struct reject r;
        struct err e = {0};
        char *copy = malloc(n + 1); /* so that reading past its end shows */
        memcpy(copy, whole, n);
        assert_int_equal(parse_event(parser, (struct str){copy, n}, &arena, &ev, &r, &e), STATUS_INVALID);
        free(copy);
    }
}

static void test_numbers_have_one_text(void **state)
{
    static const struct {
        const char *json, *text;
    } cases[] = {{"1", "1"},
                 {"1.0", "1"},
                 {"-0.5", "-0.5"},
                 {"2.10", "2.1"},
                 {"1e3", "1000"},
                 {"0.1", "0.1"},
                 {"0.30000000000000004", "0.30000000000000004"},
                 {"123456789012345678", "1.23456789012346e+17"},
                 {"1e-9", "1e-09"},
                 {"-0", "0"},
                 {"-0.0", "0"},
                 {"-1e-400", "0"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[200];
        (void)snprintf(text, sizeof text, V ",\"n\":%s}", cases[i].json);
        const struct event ev = parse_good(text);
        if (i == 7) { /* beyond 2^53: whatever the text, it reads back as the same number */
            assert_true(strtod(ev.attrs[0].text.p, NULL) == ev.attrs[0].number);
            continue;
        }
        assert_string_equal(ev.attrs[0].text.p, cases[i].text);
        assert_true(strtod(cases[i].text, NULL) == ev.attrs[0].number &&
                    signbit(ev.attrs[0].number) == (cases[i].text[0] == '-'));
    }
}

static void test_utf8_agrees_with_the_table(void **state)
{
    static const struct {
        const char *text;
        bool valid;
    } cases[] = {{"", true},
                 {"plain ascii, long enough for eight", true},
                 {"\xc2\x80", true},
                 {"\xdf\xbf", true},
                 {"\xe0\xa0\x80", true},
                 {"\xed\x9f\xbf", true},
                 {"\xee\x80\x80", true},
                 {"\xf0\x90\x80\x80", true},
                 {"\xf4\x8f\xbf\xbf", true},
                 {"\x80", false},
                 {"\xc1\xbf", false},
                 {"\xe0\x9f\xbf", false},
                 {"\xed\xa0\x80", false},
                 {"\xf0\x8f\xbf\xbf", false},
                 {"\xf4\x90\x80\x80", false},
                 {"\xf5\x80\x80\x80", false},
                 {"\xc2", false},
                 {"12345678\xe4\xbb", false},
                 {"\xe4\x28\xa1", false}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(utf8_valid(str_from(cases[i].text)), cases[i].valid);
}

/* The reason goes into JSON and headers: what it quotes of a broken message must not break those. */
static void test_reasons_are_utf8_whatever_they_quote(void **state)
{
    static const char *const broken[] = {
        "{\"type\":\"view\",\"item\":\"\\u0\xd0\x9a\xc6\xa3\x8a\x9b\xc7\xcc\"}", /* quoted by the JSON library */
        V "\xe4\xb8",
        "{\"type\":\"view\",\"time\":\"x" /* quoted up to its 60th byte, which is inside a character */
        "\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad"
        "\xe4\xb8\xad"
        "\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad"
        "\xe4\xb8\xad\"}"};
    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        struct event ev;
        struct reject r;
        struct err e = {0};
        arena_reset(&arena);
        assert_int_equal(parse_event(parser, str_from(broken[i]), &arena, &ev, &r, &e), STATUS_INVALID);
        assert_true(r.text[0] != 0);
        assert_true(utf8_valid(str_from(r.text)));
    }
}

static void test_a_warm_parser_allocates_nothing(void **state)
{
    (void)state;
    static const char text[] =
        V ",\"user\":\"u\",\"title\":\"some title\",\"tags\":[\"a\",\"b\"],\"price\":2.5,\"context\":{\"page\":\"p\"}}";
    for (int i = 0; i < 10; i++) (void)parse_good(text);
    const long total = mem_total(), live = mem_live();
    for (int i = 0; i < 1000; i++) (void)parse_good(text);
    assert_int_equal(mem_total(), total);
    assert_int_equal(mem_live(), live);
}

static enum status parse_once(void)
{
    struct parse *p = NULL;
    struct arena a = {0};
    struct event ev;
    struct reject r;
    struct err e = {0};
    enum status st = parse_new(&p, conf, &e);
    assert_true(st == STATUS_OK || p == NULL);
    if (st == STATUS_OK) st = parse_event(p, STR(V ",\"user\":\"u\",\"tags\":[\"a\"],\"price\":1.5}"), &a, &ev, &r, &e);
    assert_true(st == STATUS_OK || e.text[0] != 0);
    arena_fini(&a);
    parse_free(p);
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
        cmocka_unit_test(test_all_fields_are_read),
        cmocka_unit_test(test_impression_is_read),
        cmocka_unit_test(test_a_replys_items_are_read_as_they_are),
        cmocka_unit_test(test_catalogue_and_own_types_are_read),
        cmocka_unit_test(test_integers_of_any_size_are_attributes),
        cmocka_unit_test(test_bad_messages_have_their_codes),
        cmocka_unit_test(test_what_is_bad_is_told),
        cmocka_unit_test(test_caps_hold_at_their_edge),
        cmocka_unit_test(test_nul_bytes_are_refused),
        cmocka_unit_test(test_an_absent_value_says_so),
        cmocka_unit_test(test_prefixes_are_refused),
        cmocka_unit_test(test_numbers_have_one_text),
        cmocka_unit_test(test_utf8_agrees_with_the_table),
        cmocka_unit_test(test_reasons_are_utf8_whatever_they_quote),
        cmocka_unit_test(test_a_warm_parser_allocates_nothing),
        cmocka_unit_test(test_failing_allocations_are_survived),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

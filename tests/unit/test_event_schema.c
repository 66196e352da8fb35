/* test_event_schema.c - the parser and the published schema say the same of an event: on cases, and on mutations of valid events.
 *
 * What the parser takes the schema takes.  What the parser refuses the schema refuses, but for what needs the configuration, the
 * type or other fields to be seen (`beyond`).
 */
#include "tests/support/check.h"

#include "base/rand.h"
#include "ingest/parse.h"
#include "tests/support/json_schema.h"
#include <stdio.h>
#include <string.h>

static struct conf *conf;
static struct parse *parser;
static struct arena arena;

static int setup(void **state)
{
    struct err e = {0};
    (void)state;
    assert_ok(conf_new(&conf, &e), &e);
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

static enum reject_code parsed(struct str text)
{
    struct event ev;
    struct reject r = {0};
    struct err e = {0};
    arena_reset(&arena);
    const enum status st = parse_event(parser, text, &arena, &ev, &r, &e);
    assert_true(st == STATUS_OK || st == STATUS_INVALID);
    return st == STATUS_OK ? REJECT_NONE : r.code;
}

static const enum reject_code beyond[] = {REJECT_UNKNOWN_TYPE,   REJECT_BAD_TIME,        REJECT_TIME_RANGE,
                                          REJECT_MISSING_ITEM,   REJECT_MISSING_USER,    REJECT_MISSING_ITEMS,
                                          REJECT_MISSING_VALUE,  REJECT_ID_CONTROL,      REJECT_DUPLICATE_ITEM,
                                          REJECT_BAD_PROPENSITY, REJECT_UNEXPECTED_FIELD};

static bool is_beyond(enum reject_code code)
{
    for (size_t i = 0; i < sizeof beyond / sizeof *beyond; i++)
        if (beyond[i] == code) return true;
    return false;
}

static void agree(struct str text)
{
    char why[300] = "";
    const enum reject_code code = parsed(text);
    const bool good = json_schema_accepts("event", text.p, text.n, why);
    if (code == REJECT_NONE ? !good : good && !is_beyond(code))
        fail_msg(STR_FMT ": parser: %s; schema: %s", STR_ARG(text), code == REJECT_NONE ? "taken" : reject_name(code),
                 good ? "taken" : why);
}

#define T "\"time\":1767319445678"
#define V "{\"type\":\"view\"," T ",\"item\":\"a\""
#define S "{\"type\":\"impression\"," T ",\"items\":"
static const struct {
    const char *text;
    bool good;
} cases[] = {
    {V ",\"items\":null}", true},
    {V ",\"items\":[null]}", false},
    {S "[null]}", false},
    {S "[\"a\",null]}", false},
    {S "[{\"item\":null}]}", false},
    {S "[{\"item\":\"a\",\"brand\":null,\"known\":null}]}", true},
    {S "[{\"item\":\"a\",\"propensity\":null}]}", false},
    {S "[{\"item\":\"a\",\"propensity\":\"x\"}],\"propensity\":[1]}", false},
    {S "[{\"item\":\"a\",\"known\":true,\"rank\":1}]}", true},
    {S "[{\"item\":\"a\",\"known\":[[]]}]}", false},
    {S "[{\"item\":\"a\",\"known\":true,\"rank\":{}}]}", false},
    {S "[\"a\"],\"propensity\":null,\"context\":null,\"variant\":null,\"version\":null}", true},
    {S "[\"a\"],\"propensity\":[null]}", false},
    {S "[\"a\"],\"context\":{\"page\":null,\"\":1}}", false},
    {V ",\"user\":null,\"value\":null,\"price\":null,\"quantity\":null,\"deleted\":null,\"x\":null}", true},
    {V ",\"tags\":[null]}", false},
    {V ",\"price\":\"3\"}", false},
    {V ",\"quantity\":[1]}", false},
    {V ",\"ean\":12345678901234567890,\"version\":-9223372036854775808}", true},
    {V ",\"version\":9223372036854775808}", false},
    {V ",\"version\":\"\"}", false},
    {"{\"type\":\"view\",\"item\":\"a\",\"time\":1000000000000000000}", false},
    {"{\"type\":\"view\",\"item\":\"a\",\"time\":17673194456780000000}", false},
    {"{\"type\":\"view\",\"item\":\"a\",\"time\":253402300799999}", true},
    {"{\"type\":\"view\",\"item\":\"a\",\"time\":253402300800000}", false},
    {"{\"type\":\"view\",\"item\":\"a\",\"time\":null}", false},
    {"{\"type\":null,\"item\":\"a\"," T "}", false},
};

static void test_both_say_the_same_of_cases(void **state)
{
    (void)state;
    char why[300];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct str text = str_from(cases[i].text);
        if ((parsed(text) == REJECT_NONE) != cases[i].good) fail_msg("the parser, of %s", text.p);
        if (json_schema_accepts("event", text.p, text.n, why) != cases[i].good) fail_msg("the schema, of %s", text.p);
    }
}

/* --- mutations ---------------------------------------------------------------------------------------------------- */

#define MEMBERS 12
struct member {
    const char *name;
    char value[200];
};
struct object {
    struct member m[MEMBERS];
    int n;
};

static const char *const names[] = {"type",       "time",    "id",      "source",  "user",     "item",    "session",
                                    "order",      "request", "items",   "version", "title",    "price",   "tags",
                                    "propensity", "value",   "context", "deleted", "quantity", "variant", "x",
                                    "rank",       "known",   "score",   ""};
static const char *const values[] = {"null",
                                     "true",
                                     "false",
                                     "0",
                                     "-1",
                                     "0.5",
                                     "1767319445678",
                                     "1767319445678.5",
                                     "99999999999",
                                     "253402300800000",
                                     "9223372036854775807",
                                     "9223372036854775808",
                                     "-9223372036854775808",
                                     "-9223372036854775809",
                                     "123456789012345678901234567890",
                                     "1e18",
                                     "1e300",
                                     "\"\"",
                                     "\"a\"",
                                     "\"view\"",
                                     "\"impression\"",
                                     "\"item\"",
                                     "\"2026-01-02T03:04:05Z\"",
                                     "\"\\u4ef6\"",
                                     "\"a\\tb\"",
                                     "[]",
                                     "[null]",
                                     "[1,\"x\",true]",
                                     "[\"a\",\"b\"]",
                                     "[0.5]",
                                     "[0]",
                                     "[99999999999999999999]",
                                     "[[]]",
                                     "[{}]",
                                     "{}",
                                     "{\"a\":null}",
                                     "{\"a\":[1]}",
                                     "{\"a\":{}}"};
static const struct object valid[] = {
    {{{"type", "\"view\""}, {"time", "1767319445678"}, {"item", "\"a\""}, {"user", "\"u\""}, {"price", "3.5"}}, 5},
    {{{"type", "\"impression\""},
      {"time", "\"2026-01-02T03:04:05Z\""},
      {"items", "[\"a\",{\"item\":\"b\",\"price\":2}]"},
      {"propensity", "[0.5,1]"},
      {"context", "{\"page\":\"home\"}"},
      {"version", "12"}},
     6},
    {{{"type", "\"item\""}, {"time", "1767319445678"}, {"item", "\"a\""}, {"tags", "[\"x\",1]"}}, 4},
    {{{"type", "\"user\""}, {"time", "1767319445678"}, {"user", "\"u\""}, {"x", "30"}, {"deleted", "true"}}, 5},
    {{{"type", "\"rating\""}, {"time", "1767319445678"}, {"item", "\"a\""}, {"value", "4"}, {"order", "\"o\""}}, 5},
};
#define PICK(R, LIST) LIST[rand_below(R, sizeof LIST / sizeof *LIST)]

/* A plain value, or one with a member of its own where items and context have them. */
static void make_value(struct rand *r, char out[200])
{
    const char *name = PICK(r, names), *value = PICK(r, values);
    const uint64_t way = rand_below(r, 4);
    if (way == 0 && strcmp(name, "item") != 0)
        (void)snprintf(out, 200, "[\"a\",{\"item\":\"b\",\"%s\":%s}]", name, value);
    else if (way == 1)
        (void)snprintf(out, 200, "{\"%s\":%s}", name, value);
    else
        (void)snprintf(out, 200, "%s", value);
}

static void mutate(struct rand *r, struct object *o)
{
    const char *name = rand_below(r, 2) == 0 ? PICK(r, names) : o->m[rand_below(r, (uint64_t)o->n)].name;
    int i = 0;
    while (i < o->n && strcmp(o->m[i].name, name) != 0) i++;
    if (i < o->n && o->n > 1 && rand_below(r, 6) == 0) {
        o->m[i] = o->m[--o->n];
        return;
    }
    if (i == MEMBERS) return;
    if (i == o->n) o->m[o->n++].name = name;
    make_value(r, o->m[i].value);
}

static void put(struct buf *b, const struct object *o)
{
    buf_clear(b);
    for (int i = 0; i < o->n; i++) buf_printf(b, "%s\"%s\":%s", i == 0 ? "{" : ",", o->m[i].name, o->m[i].value);
    buf_printf(b, "}");
}

static void test_both_say_the_same_of_mutations(void **state)
{
    (void)state;
    struct rand r;
    struct buf b = {0};
    int taken = 0;
    rand_init(&r, (struct rand_key){.seed = 1, .purpose = RAND_SIMULATE});
    for (int i = 0; i < 10000; i++) {
        struct object o = PICK(&r, valid);
        for (uint64_t n = 1 + rand_below(&r, 3); n > 0; n--) mutate(&r, &o);
        put(&b, &o);
        const struct str text = {(const char *)b.p, b.n};
        agree(text);
        taken += parsed(text) == REJECT_NONE;
    }
    assert_true(taken > 500 && taken < 5000); /* both kinds are there */
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_say_the_same_of_cases),
        cmocka_unit_test(test_both_say_the_same_of_mutations),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

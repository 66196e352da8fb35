/* test_event.c - events copy, pack and come back; damaged ones are refused; the JSON form is what a strict parser reads. */
#include "base/rand.h"
#include "schemas/event.h"
#include "schemas/event_json.h"
#include "tests/support/check.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct str random_text(struct arena *a, struct rand *r, size_t most)
{
    static const char *const pieces[] = {"a",    "Z", " ", "\"", "\\", "\n", "\x01", "é", "商", "\xf0\x9f\x9b\x92",
                                         "\x7f", "/"};
    char text[64 * 4];
    size_t n = 0;
    for (size_t i = 1 + rand_below(r, most); i > 0; i--) {
        const char *piece = pieces[rand_below(r, sizeof pieces / sizeof *pieces)];
        memcpy(text + n, piece, strlen(piece));
        n += strlen(piece);
    }
    return arena_str(a, (struct str){text, n});
}

static struct str maybe_text(struct arena *a, struct rand *r)
{
    return rand_below(r, 2) == 0 ? (struct str){NULL, 0} : random_text(a, r, 20);
}

static double random_number(struct rand *r)
{
    return rand_normal(r) * pow(10, (double)rand_below(r, 40) - 20);
}

static struct event_attr *random_attrs(struct arena *a, struct rand *r, uint32_t *n)
{
    *n = (uint32_t)rand_below(r, 6);
    struct event_attr *attrs = arena_alloc(a, *n, sizeof *attrs);
    for (uint32_t i = 0; i < *n; i++) {
        char name[32];
        const int len = snprintf(name, sizeof name, "attr %u\"", i);
        attrs[i] = (struct event_attr){.name = arena_str(a, (struct str){name, (size_t)len}),
                                       .kind = (enum event_attr_kind)rand_below(r, 4)};
        if (attrs[i].kind == EVENT_ATTR_TEXT) attrs[i].text = random_text(a, r, 40);
        if (attrs[i].kind == EVENT_ATTR_BOOL) attrs[i].number = (double)rand_below(r, 2);
        if (attrs[i].kind == EVENT_ATTR_NUMBER) attrs[i].number = random_number(r);
        if (attrs[i].kind != EVENT_ATTR_LIST) continue;
        attrs[i].n_list = (uint32_t)rand_below(r, 4);
        attrs[i].list = arena_alloc(a, attrs[i].n_list, sizeof *attrs[i].list);
        for (uint32_t j = 0; j < attrs[i].n_list; j++) attrs[i].list[j] = random_text(a, r, 10);
    }
    return attrs;
}

static void random_impression(struct event *e, struct arena *a, struct rand *r)
{
    e->n_items = (uint32_t)rand_below(r, 5);
    e->items = arena_alloc(a, e->n_items, sizeof *e->items);
    for (uint32_t i = 0; i < e->n_items; i++) {
        e->items[i].item = random_text(a, r, 10);
        if (rand_below(r, 2) == 0) e->items[i].attrs = random_attrs(a, r, &e->items[i].n_attrs);
    }
    e->version = maybe_text(a, r);
    e->variant = maybe_text(a, r);
    if (rand_below(r, 2) == 0) return;
    e->propensity = arena_alloc(a, e->n_items, sizeof *e->propensity);
    for (uint32_t i = 0; i < e->n_items; i++) e->propensity[i] = rand_unit(r);
}

static void random_event(struct event *e, struct arena *a, uint64_t n)
{
    struct rand dice, *r = &dice;
    rand_init(r, (struct rand_key){.seed = 5, .offset = n, .purpose = RAND_TEST});
    *e = (struct event){.kind = (enum event_kind)rand_below(r, 4),
                        .time_ms = (int64_t)rand_below(r, UINT64_C(1) << 50),
                        .at = {rand_u32(r), rand_u32(r), rand_u64(r)},
                        .value = NAN,
                        .quantity = NAN,
                        .price = NAN,
                        .deleted = rand_below(r, 2) != 0,
                        .joined = rand_below(r, 2) != 0};
    if (e->kind == EVENT_BEHAVIOUR) {
        e->type = (uint8_t)rand_below(r, EVENT_TYPES_MAX);
        e->type_name = random_text(a, r, 10);
    }
    e->id = maybe_text(a, r);
    e->source = maybe_text(a, r);
    e->user = maybe_text(a, r);
    e->item = maybe_text(a, r);
    e->session = maybe_text(a, r);
    e->order = maybe_text(a, r);
    e->request = maybe_text(a, r);
    if (rand_below(r, 2) == 0) e->value = random_number(r);
    if (rand_below(r, 2) == 0) e->price = random_number(r);
    if (rand_below(r, 2) == 0) e->quantity = random_number(r);
    e->attrs = random_attrs(a, r, &e->n_attrs);
    e->context = random_attrs(a, r, &e->n_context);
    if (e->kind == EVENT_IMPRESSION) random_impression(e, a, r);
}

static void same_str(struct str a, struct str b)
{
    assert_true((a.p == NULL) == (b.p == NULL));
    assert_true(str_eq(a, b));
}

static void same_number(double a, double b)
{
    assert_true(isnan(a) ? isnan(b) : a == b);
}

static void same_attrs(const struct event_attr *a, const struct event_attr *b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        same_str(a[i].name, b[i].name);
        same_str(a[i].text, b[i].text);
        assert_int_equal(a[i].kind, b[i].kind);
        same_number(a[i].number, b[i].number);
        assert_int_equal(a[i].n_list, b[i].n_list);
        for (uint32_t j = 0; j < a[i].n_list; j++) same_str(a[i].list[j], b[i].list[j]);
    }
}

static void same(const struct event *a, const struct event *b)
{
    assert_true(a->kind == b->kind && a->type == b->type && a->time_ms == b->time_ms);
    assert_true(a->deleted == b->deleted && a->joined == b->joined);
    assert_memory_equal(&a->at, &b->at, sizeof a->at);
    same_str(a->type_name, b->type_name);
    same_str(a->id, b->id);
    same_str(a->source, b->source);
    same_str(a->user, b->user);
    same_str(a->item, b->item);
    same_str(a->session, b->session);
    same_str(a->order, b->order);
    same_str(a->request, b->request);
    same_str(a->version, b->version);
    same_str(a->variant, b->variant);
    same_number(a->value, b->value);
    same_number(a->quantity, b->quantity);
    same_number(a->price, b->price);
    assert_true(a->n_attrs == b->n_attrs && a->n_context == b->n_context && a->n_items == b->n_items);
    same_attrs(a->attrs, b->attrs, a->n_attrs);
    same_attrs(a->context, b->context, a->n_context);
    assert_true((a->propensity == NULL) == (b->propensity == NULL));
    for (uint32_t i = 0; i < a->n_items; i++) {
        same_str(a->items[i].item, b->items[i].item);
        assert_int_equal(a->items[i].n_attrs, b->items[i].n_attrs);
        same_attrs(a->items[i].attrs, b->items[i].attrs, a->items[i].n_attrs);
        if (a->propensity != NULL) same_number(a->propensity[i], b->propensity[i]);
    }
}

static void test_random_events_pack_and_copy(void **state)
{
    (void)state;
    struct arena a = {0}, other = {0};
    struct buf b = {0}, again = {0};
    struct err err = {0};
    for (uint64_t n = 0; n < 500; n++) {
        struct event e, back, copy;
        arena_reset(&a);
        arena_reset(&other);
        buf_clear(&b);
        buf_clear(&again);
        random_event(&e, &a, n);
        event_encode(&b, &e);
        struct buf_reader r = buf_reader(b.p, b.n);
        assert_ok(event_decode(&back, &r, &other, &err), &err);
        assert_int_equal(buf_left(&r), 0);
        same(&e, &back);
        assert_int_equal(event_copy(&copy, &back, &a), STATUS_OK);
        memset(b.p, 0xee, b.n); /* nothing may point into the packed bytes */
        arena_fini(&other);     /* nor may the copy point into the first arena */
        event_encode(&again, &copy);
        same(&e, &copy);
        assert_int_equal(again.n, b.n);
    }
    arena_fini(&a);
    arena_fini(&other);
    buf_fini(&b);
    buf_fini(&again);
    assert_int_equal(mem_live(), 0);
}

static void test_truncations_and_flips_never_pass_for_more(void **state)
{
    (void)state;
    struct arena a = {0}, to = {0};
    struct buf b = {0};
    struct err err = {0};
    for (uint64_t n = 0; n < 30; n++) {
        struct event e, back;
        arena_reset(&a);
        buf_clear(&b);
        random_event(&e, &a, n + 1000);
        event_encode(&b, &e);
        for (size_t cut = 0; cut < b.n; cut++) {
            char *copy = mem_strndup((const char *)b.p, cut);
            struct buf_reader r = buf_reader(copy, cut);
            arena_reset(&to);
            assert_int_equal(event_decode(&back, &r, &to, &err), STATUS_CORRUPT);
            mem_free(copy);
        }
        for (size_t bit = 0; bit < b.n * 8; bit++) {
            b.p[bit / 8] ^= (unsigned char)(1u << bit % 8);
            struct buf_reader r = buf_reader(b.p, b.n);
            arena_reset(&to);
            const enum status st = event_decode(&back, &r, &to, &err);
            assert_true(st == STATUS_OK || st == STATUS_CORRUPT);
            if (st == STATUS_OK) assert_true(back.kind <= EVENT_BEHAVIOUR && back.n_attrs <= EVENT_ATTRS_MAX);
            b.p[bit / 8] ^= (unsigned char)(1u << bit % 8);
        }
    }
    arena_fini(&a);
    arena_fini(&to);
    buf_fini(&b);
}

static void test_too_many_attributes_are_refused(void **state)
{
    (void)state;
    struct event_attr attrs[EVENT_ATTRS_MAX + 1];
    struct arena a = {0};
    struct err err = {0};
    for (size_t i = 0; i <= EVENT_ATTRS_MAX; i++)
        attrs[i] = (struct event_attr){.name = STR("a"), .kind = EVENT_ATTR_BOOL};
    for (uint32_t n = EVENT_ATTRS_MAX; n <= EVENT_ATTRS_MAX + 1; n++) {
        const struct event e = {.kind = EVENT_ITEM, .attrs = attrs, .n_attrs = n};
        struct event back;
        struct buf b = {0};
        event_encode(&b, &e);
        struct buf_reader r = buf_reader(b.p, b.n);
        assert_int_equal(event_decode(&back, &r, &a, &err), n > EVENT_ATTRS_MAX ? STATUS_CORRUPT : STATUS_OK);
        buf_fini(&b);
    }
    arena_fini(&a);
}

/* ---- JSON ---- */

static void json_str_is(json_t *o, const char *key, struct str s)
{
    json_t *v = json_object_get(o, key);
    if (s.p == NULL) {
        assert_null(v);
        return;
    }
    assert_true(json_is_string(v));
    same_str((struct str){json_string_value(v), json_string_length(v)}, s);
}

static void json_attrs_are(json_t *o, const struct event_attr *attrs, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        json_t *v = json_object_getn(o, attrs[i].name.p, attrs[i].name.n);
        assert_non_null(v);
        if (attrs[i].kind == EVENT_ATTR_TEXT) assert_true(json_is_string(v));
        if (attrs[i].kind == EVENT_ATTR_BOOL) assert_int_equal(json_is_true(v), attrs[i].number != 0);
        if (attrs[i].kind == EVENT_ATTR_NUMBER) assert_true(json_number_value(v) == attrs[i].number);
        if (attrs[i].kind == EVENT_ATTR_LIST) assert_int_equal(json_array_size(v), attrs[i].n_list);
    }
}

static void json_is_event(json_t *o, const struct event *e)
{
    json_str_is(o, "id", e->id);
    json_str_is(o, "source", e->source);
    json_str_is(o, "user", e->user);
    json_str_is(o, "item", e->item);
    json_str_is(o, "session", e->session);
    json_str_is(o, "order", e->order);
    json_str_is(o, "request", e->request);
    if (e->kind == EVENT_BEHAVIOUR) json_str_is(o, "type", e->type_name);
    assert_true(json_integer_value(json_object_get(o, "time")) == e->time_ms);
    if (!isnan(e->value)) assert_true(json_number_value(json_object_get(o, "value")) == e->value);
    if (!isnan(e->price)) assert_true(json_number_value(json_object_get(o, "price")) == e->price);
    assert_int_equal(json_is_true(json_object_get(o, "deleted")), e->deleted);
    json_attrs_are(o, e->attrs, e->n_attrs);
    json_attrs_are(json_object_get(o, "context"), e->context, e->n_context);
    json_t *items = json_object_get(o, "items");
    assert_int_equal(items != NULL, e->items != NULL);
    assert_int_equal(json_array_size(items), e->n_items);
    if (e->propensity != NULL) assert_int_equal(json_array_size(json_object_get(o, "propensity")), e->n_items);
    for (uint32_t i = 0; i < e->n_items; i++) {
        json_t *it = json_array_get(items, i);
        if (json_is_object(it)) json_attrs_are(it, e->items[i].attrs, e->items[i].n_attrs);
        json_t *id = json_is_object(it) ? json_object_get(it, "item") : it;
        same_str((struct str){json_string_value(id), json_string_length(id)}, e->items[i].item);
    }
}

static void test_json_is_what_a_strict_parser_reads(void **state)
{
    (void)state;
    struct arena a = {0};
    struct buf b = {0};
    for (uint64_t n = 0; n < 500; n++) {
        struct event e;
        json_error_t why;
        arena_reset(&a);
        buf_clear(&b);
        random_event(&e, &a, n);
        event_write_json(&b, &e);
        assert_null(memchr(b.p, '\n', b.n));
        json_t *o = json_loadb((const char *)b.p, b.n, JSON_REJECT_DUPLICATES, &why);
        if (o == NULL) fail_msg("%s: %.*s", why.text, (int)b.n, (const char *)b.p);
        json_is_event(o, &e);
        json_decref(o);
    }
    arena_fini(&a);
    buf_fini(&b);
}

static void json_text_is(struct str s, const char *text)
{
    struct buf b = {0};
    event_json_string(&b, s);
    buf_u8(&b, 0);
    assert_string_equal((const char *)b.p, text);
    buf_fini(&b);
}

static void test_strings_are_escaped_and_cleaned(void **state)
{
    (void)state;
    json_text_is(STR("a\"b\\c/\b\f\n\r\t\x01\x1f\x7f"), "\"a\\\"b\\\\c/\\b\\f\\n\\r\\t\\u0001\\u001f\\u007f\"");
    json_text_is(STR("a\0b"), "\"a\\u0000b\"");
    json_text_is(STR("茶 é \xf0\x9f\x9b\x92"), "\"茶 é \xf0\x9f\x9b\x92\"");
    json_text_is((struct str){NULL, 0}, "\"\"");
    json_text_is(STR("\xff"), "\"\xef\xbf\xbd\"");
    json_text_is(STR("\xc0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\"");                 /* overlong NUL */
    json_text_is(STR("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""); /* surrogate */
    json_text_is(STR("\xf4\x90\x80\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
    json_text_is(STR("a\xe8\x8c"), "\"a\xef\xbf\xbd\xef\xbf\xbd\""); /* cut off */
}

static void number_is(double v, const char *text)
{
    struct buf b = {0};
    event_json_number(&b, v);
    buf_u8(&b, 0);
    if (text != NULL) assert_string_equal((const char *)b.p, text);
    if (isfinite(v)) assert_true(strtod((const char *)b.p, NULL) == v);
    buf_fini(&b);
}

static void test_numbers_read_back_as_themselves(void **state)
{
    (void)state;
    struct rand r;
    rand_init(&r, (struct rand_key){.seed = 2, .purpose = RAND_TEST});
    number_is(0.1, "0.1");
    number_is(3, "3");
    number_is(-2.5, "-2.5");
    number_is(0.1 + 0.2, "0.30000000000000004");
    number_is(NAN, "null");
    number_is(-INFINITY, "null");
    for (int i = 0; i < 20000; i++) {
        const uint64_t bits = rand_u64(&r);
        double v;
        memcpy(&v, &bits, sizeof v);
        number_is(v, NULL);
    }
}

static void test_numbers_are_written_as_they_came(void **state)
{
    (void)state;
    static const struct {
        const char *text, *written;
        double number;
    } rows[] = {{"1.50", "1.50", 1.5}, {"-0", "-0", 0},    {"1e2", "1e2", 100}, {"1E+02", "1E+02", 100},
                {"1,50", "1.5", 1.5},  {"01", "1", 1},     {"1.", "1", 1},      {".5", "0.5", 0.5},
                {"+1", "1", 1},        {"0x10", "16", 16}, {"1e", "1", 1},      {"", "0", 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct event_attr price = {
            .name = STR("price"), .kind = EVENT_ATTR_NUMBER, .text = str_from(rows[i].text), .number = rows[i].number};
        struct event e = {.kind = EVENT_ITEM,
                          .item = STR("a"),
                          .time_ms = EVENT_SECONDS_BELOW,
                          .attrs = &price,
                          .n_attrs = 1,
                          .value = NAN,
                          .price = rows[i].number,
                          .quantity = NAN};
        struct buf b = {0};
        char want[100];
        (void)snprintf(want, sizeof want, "{\"type\":\"item\",\"time\":100000000000,\"item\":\"a\",\"price\":%s}",
                       rows[i].written);
        event_write_json(&b, &e);
        buf_u8(&b, 0);
        assert_string_equal((const char *)b.p, want);
        buf_fini(&b);
    }
}

/* A number of milliseconds that would be taken for seconds is written as text: convert's output can be read. */
static void test_early_times_are_written_as_text(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *json;
    } rows[] = {{0, "{\"type\":\"item\",\"time\":\"1970-01-01T00:00:00.000Z\",\"item\":\"a\"}"},
                {99999999999, "{\"type\":\"item\",\"time\":\"1973-03-03T09:46:39.999Z\",\"item\":\"a\"}"},
                {100000000000, "{\"type\":\"item\",\"time\":100000000000,\"item\":\"a\"}"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct event e = {
            .kind = EVENT_ITEM, .item = STR("a"), .time_ms = rows[i].ms, .value = NAN, .price = NAN, .quantity = NAN};
        struct buf b = {0};
        event_write_json(&b, &e);
        buf_u8(&b, 0);
        assert_string_equal((const char *)b.p, rows[i].json);
        buf_fini(&b);
    }
}

static struct buf packed;
static enum status decode_and_copy(void)
{
    struct arena a = {0}, to = {0};
    struct event e, copy;
    struct err err = {0};
    arena_init(&a, 64);
    arena_init(&to, 64);
    struct buf_reader r = buf_reader(packed.p, packed.n);
    enum status st = event_decode(&e, &r, &a, &err);
    if (st == STATUS_OK) st = event_copy(&copy, &e, &to);
    arena_fini(&a);
    arena_fini(&to);
    return st;
}

static void test_failing_allocations_leave_nothing(void **state)
{
    (void)state;
    struct arena a = {0};
    struct event e = {0};
    long n;
    for (uint64_t i = 0; e.propensity == NULL || e.n_items < 3; i++) random_event(&e, &a, i);
    event_encode(&packed, &e);
    FAIL_EACH_ALLOCATION(n, decode_and_copy());
    assert_true(n > 5);
    buf_fini(&packed);
    arena_fini(&a);
    assert_int_equal(mem_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_events_pack_and_copy),
        cmocka_unit_test(test_truncations_and_flips_never_pass_for_more),
        cmocka_unit_test(test_too_many_attributes_are_refused),
        cmocka_unit_test(test_json_is_what_a_strict_parser_reads),
        cmocka_unit_test(test_strings_are_escaped_and_cleaned),
        cmocka_unit_test(test_numbers_read_back_as_themselves),
        cmocka_unit_test(test_numbers_are_written_as_they_came),
        cmocka_unit_test(test_early_times_are_written_as_text),
        cmocka_unit_test(test_failing_allocations_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_preset_csv.c - CSV rows by a map: quoting, transforms, rules, times; errors of maps and headers name their place.
 * timeout: 120
 */
#include "tests/support/check.h"

#include "ingest/preset_csv.h"
#include "ingest/preset_map.h"
#include "ingest/source.h"
#include "tests/support/files.h"
#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct tmpdir dir;
static struct conf *conf;
static struct arena arena;

static int setup(void **state)
{
    struct err e = {0};
    (void)state;
    dir = tmpdir_make("preset_csv");
    assert_ok(conf_new(&conf, &e), &e);
    assert_ok(conf_set(conf, "ingest.schema", "csv", &e), &e);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tmpdir_remove(&dir);
    conf_free(conf);
    arena_fini(&arena);
    return mem_live() == 0 ? 0 : -1;
}

static void use_map(const char *text)
{
    char path[300];
    struct err e = {0};
    files_put_text(&dir, "map.ini", text);
    assert_ok(conf_set(conf, "ingest.map", tmpdir_file(&dir, "map.ini", path), &e), &e);
}

static struct preset_csv *preset_of(const char *map, const char *header)
{
    struct preset_csv *p = NULL;
    struct err e = {0};
    use_map(map);
    assert_ok(preset_csv_new(&p, conf, &e), &e);
    assert_ok(preset_csv_header(p, "shop.csv", str_from(header), &e), &e);
    return p;
}

static enum status parse_row(struct preset_csv *p, const char *row, struct event *ev, struct reject *r)
{
    struct err e = {0};
    arena_reset(&arena);
    return preset_csv_parse(p, str_from(row), &arena, ev, r, &e);
}

static struct event parse_good(struct preset_csv *p, const char *row)
{
    struct event ev;
    struct reject r = {0};
    if (parse_row(p, row, &ev, &r) != STATUS_OK) fail_msg("%s: %s %s", row, reject_name(r.code), r.text);
    return ev;
}

static void expect_reject(struct preset_csv *p, const char *row, enum reject_code code, const char *text)
{
    struct event ev;
    struct reject r = {0};
    const enum status st = parse_row(p, row, &ev, &r);
    if (st != STATUS_INVALID || r.code != code || strstr(r.text, text) == NULL)
        fail_msg("%s: %s, %s (%s)", row, status_name(st), reject_name(r.code), r.text);
}

static const char shop_map[] =
    "# a comment\n[csv]\ndelimiter = ,\nquote = \"\n[time]\nformat = %m/%d/%Y %H:%M\nutc_offset_minutes = 60\n"
    "; another\n[fields]\ntime = When\nuser = Customer | trim | strip .0\nitem = Code | upper\norder = Order\n"
    "price = Price | number\nquantity = Qty | abs\ntitle = Name | trim\ntags = Tags | list ;\nvalue = Stars\n"
    "[constants]\ntype = purchase\ncurrency = GBP\n[rules]\nskip.postage = Code | upper !~ ^[0-9]{3}[A-Z]?$\n"
    "type.refund = Order starts C\nskip.nothing = Qty <= 0\n";
static const char shop_header[] = "Order,Code,Name,Qty,When,Price,Customer,Tags,Stars";

static void test_row_becomes_an_event(void **state)
{
    struct preset_csv *p = preset_of(shop_map, shop_header);
    (void)state;
    struct event ev = parse_good(p, "77,123a,  \"\"  tea\"pot ,6,12/1/2010 8:26,2.50,17850.0,a; b ;;c,4");
    assert_true(ev.kind == EVENT_BEHAVIOUR && ev.type == EVENT_PURCHASE);
    assert_true(ev.time_ms == 1291188360000); /* 08:26 at UTC+1 */
    assert_true(str_is(ev.user, "17850") && str_is(ev.item, "123A") && str_is(ev.order, "77"));
    assert_true(ev.price == 2.5 && ev.quantity == 6 && ev.value == 4);
    assert_true(str_is(event_attr(ev.attrs, ev.n_attrs, "price")->text, "2.5"));
    assert_true(str_is(event_attr(ev.attrs, ev.n_attrs, "title")->text, "\"\"  tea\"pot"));
    assert_true(str_is(event_attr(ev.attrs, ev.n_attrs, "currency")->text, "GBP"));
    const struct event_attr *tags = event_attr(ev.attrs, ev.n_attrs, "tags");
    assert_true(tags->kind == EVENT_ATTR_LIST && tags->n_list == 3 && str_is(tags->list[1], "b"));
    ev = parse_good(p, "C9,\"456\",\"a \"\"b\"\", c\nd\",-2,01/31/2011 23:59,\"1\",,,");
    assert_int_equal(ev.type, EVENT_REFUND);
    assert_true(ev.user.p == NULL && ev.quantity == 2 && isnan(ev.value));
    assert_true(str_is(event_attr(ev.attrs, ev.n_attrs, "title")->text, "a \"b\", c\nd"));
    assert_null(event_attr(ev.attrs, ev.n_attrs, "tags"));
    preset_csv_free(p);
}

static void test_rows_are_refused_or_skipped_with_a_reason(void **state)
{
    struct preset_csv *p = preset_of(shop_map, shop_header);
    (void)state;
    expect_reject(p, "1,POST,x,1,12/1/2010 8:26,1,,,", REJECT_SKIPPED, "postage");
    expect_reject(p, "1,123,x,0,12/1/2010 8:26,1,,,", REJECT_SKIPPED, "nothing");
    expect_reject(p, "1,123,x,1,12/1/2010 8:26,1,,", REJECT_CSV_COLUMNS, "8 columns, the header 9");
    expect_reject(p, "1,123,x,1,12/1/2010 8:26,1,,,,", REJECT_CSV_COLUMNS, "10 columns");
    expect_reject(p, "1,123,\"x\"y,1,12/1/2010 8:26,1,,,", REJECT_CSV_QUOTE, "column 3");
    expect_reject(p, "1,123,\"x,1,12/1/2010 8:26,1,,,", REJECT_CSV_QUOTE, "");
    expect_reject(p, "1,123,\xff,1,12/1/2010 8:26,1,,,", REJECT_BAD_UTF8, "");
    expect_reject(p, "1,123,x,one,12/1/2010 8:26,1,,,", REJECT_BAD_NUMBER, "Qty");
    expect_reject(p, "1,123,x,1,12/1/2010 8:26,1.2.3,,,", REJECT_BAD_NUMBER, "Price");
    expect_reject(p, "1,123,x,1,12/1/2010 8:26,inf,,,", REJECT_BAD_NUMBER, "Price");
    expect_reject(p, "1,123,x,1,2010-12-01,1,,,", REJECT_BAD_TIME, "2010-12-01");
    expect_reject(p, "1,123,x,1,02/30/2010 8:26,1,,,", REJECT_BAD_TIME, "");
    expect_reject(p, "1,123,x,1,12/1/2010 8:26 ,1,,,many", REJECT_BAD_NUMBER, "value");
    expect_reject(p, "1,123,x,1,,1,,,", REJECT_MISSING_TIME, "When");
    expect_reject(p, "1,123,x,1,12/1/1960 8:26,1,,,", REJECT_TIME_RANGE, "");
    preset_csv_free(p);
}

static void test_header_and_its_faults(void **state)
{
    struct preset_csv *p = NULL;
    struct err e = {0};
    (void)state;
    use_map(shop_map);
    assert_ok(preset_csv_new(&p, conf, &e), &e);
    assert_int_equal(preset_csv_header(p, "shop.csv", STR("Order,Code,Name,Qty,Price,Customer,Tags,Stars"), &e),
                     STATUS_INVALID);
    assert_non_null(strstr(e.text, "shop.csv: no column \"When\""));
    assert_non_null(strstr(e.text, "map.ini:10"));
    assert_int_equal(
        preset_csv_header(p, "shop.csv", STR("Order,Code,Name,Qty,When,When,Price,Customer,Tags,Stars"), &e),
        STATUS_INVALID);
    assert_non_null(strstr(e.text, "twice"));
    assert_int_equal(preset_csv_header(p, "shop.csv", STR("\"Order,Code"), &e), STATUS_INVALID);
    assert_int_equal(preset_csv_header(p, "shop.csv", STR("Or\xff,Code"), &e), STATUS_INVALID);
    assert_ok(preset_csv_header(p, "shop.csv", STR("x,\"Stars\",Tags,Customer,Price,When,Qty,Name,Code,Order"), &e),
              &e);
    const struct event ev = parse_good(p, "?,,,u,1,12/1/2010 8:26,3,n,123,o");
    assert_true(str_is(ev.user, "u") && str_is(ev.order, "o") && ev.quantity == 3);
    preset_csv_free(p);
}

static const struct {
    const char *map, *text;
} bad_maps[] = {
    {"x = 1\n", "map.ini:1: expected key = value inside a section"},
    {"[shop]\n", "map.ini:1: unknown section [shop]"},
    {"[csv]\ndelimiter = ab\n", "map.ini:2: [csv] knows"},
    {"[time]\nzone = 1\n", "map.ini:2: [time] knows"},
    {"[fields]\ntime\n", "map.ini:2: expected"},
    {"[fields]\n = x\n", "map.ini:2: a key is missing"},
    {"[fields]\ntime = \n", "map.ini:2: a column's name is missing"},
    {"[fields]\nitems = x\n", "map.ini:2: \"items\" can't come from a CSV row"},
    {"[fields]\nuser = a\nuser = b\n", "map.ini:3: field \"user\" is given twice"},
    {"[fields]\nuser = a | shout\n", "map.ini:2: unknown transform \"shout\""},
    {"[fields]\nuser = a | strip\n", "map.ini:2: strip needs an argument"},
    {"[fields]\nuser = a | upper x\n", "map.ini:2: upper takes no argument"},
    {"[fields]\nuser = a | list ab\n", "map.ini:2: list takes one character"},
    {"[fields]\na\001b = x\n", "map.ini:2: a field's name has a control character"},
    {"[constants]\nbrand = \xff\n", "map.ini:2: the line is not UTF-8"},
    {"[csv]\ndelimiter = \xe4\n", "map.ini:2: the line is not UTF-8"},
    {"[constants]\ntime = now\n", "map.ini:2: time can't be a constant"},
    {"[rules]\ndrop.x = a = b\n", "map.ini:2: rules are skip.REASON"},
    {"[rules]\nskip.x = a\n", "map.ini:2: \"a\" is no condition"},
    {"[rules]\nskip.x = a ~ (\n", "map.ini:2: \"(\" is no regular expression"},
    {"[rules]\nskip.x = a < b\n", "map.ini:2: \"b\" is not a number"},
    {"[rules]\nskip.x = a =\n", "map.ini:2: the condition has no value"},
    {"[rules]\nskip.x = a empty b\n", "map.ini:2: empty and present take no value"},
    {"[fields]\nuser = a\n", "map.ini: [fields] needs time"},
    {"[fields]\ntime = a\n", "map.ini: no type"},
    {"[fields]\ntime = a\n[constants]\ntype = view\n", "map.ini: [time] needs format"},
    {"[time]\nformat = ms\n[fields]\ntime = a\n[constants]\ntype = stare\n", "type \"stare\" is not declared"},
    {"[time]\nformat = ms\n[fields]\ntime = a\n[rules]\ntype.stare = always\n", "type \"stare\" is not declared"},
    {"[time]\nformat = ms\n[fields]\ntime = a\nprice = b\n[constants]\ntype = view\n", "price must be a number"},
};

/* Each quoted cell once took room for all that follows it in the row: a message of 1 MiB held half a GiB. */
static void test_many_quoted_cells_take_the_room_of_one_row(void **state)
{
    enum { CELLS = 500, CELL_BYTES = 1000 };
    struct preset_csv *p = NULL;
    struct buf row = {0};
    struct arena a = {0};
    struct event ev;
    struct reject r;
    struct err e = {0};
    (void)state;
    use_map("[time]\nformat = ms\n[fields]\ntime = t\n[constants]\ntype = view\n");
    assert_ok(preset_csv_new(&p, conf, &e), &e);
    assert_ok(preset_csv_header(p, "shop.csv", STR("t"), &e), &e);
    for (int i = 0; i < CELLS; i++) buf_printf(&row, "%s\"%0*d\"", i ? "," : "", CELL_BYTES, i);
    const struct mallinfo2 before = mallinfo2();
    assert_int_equal(preset_csv_parse(p, (struct str){(const char *)row.p, row.n}, &a, &ev, &r, &e), STATUS_INVALID);
    assert_int_equal(r.code, REJECT_CSV_COLUMNS);
    const struct mallinfo2 after = mallinfo2();
    assert_true(after.uordblks + after.hblkhd - before.uordblks - before.hblkhd < 8 * row.n);
    buf_fini(&row);
    arena_fini(&a);
    preset_csv_free(p);
}

static void test_bad_maps_name_their_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_maps / sizeof *bad_maps; i++) {
        struct preset_csv *p = NULL;
        struct err e = {0};
        use_map(bad_maps[i].map);
        assert_int_equal(preset_csv_new(&p, conf, &e), STATUS_INVALID);
        assert_null(p);
        if (strstr(e.text, bad_maps[i].text) == NULL)
            fail_msg("%s: \"%s\" lacks \"%s\"", bad_maps[i].map, e.text, bad_maps[i].text);
    }
    struct preset_csv *p = NULL;
    struct err e = {0};
    assert_ok(conf_set(conf, "ingest.map", "/nowhere/map.ini", &e), &e);
    assert_int_equal(preset_csv_new(&p, conf, &e), STATUS_IO);
    assert_ok(conf_set(conf, "ingest.map", "", &e), &e);
    assert_int_equal(preset_csv_new(&p, conf, &e), STATUS_INVALID);
    assert_non_null(strstr(e.text, "--map"));
}

static void test_operators(void **state)
{
    static const struct {
        const char *condition, *cell;
        bool holds;
    } cases[] = {
        {"a ~ ^x+$", "xx", true},       {"a ~ ^x+$", "xy", false},
        {"a !~ ^x", "yx", true},        {"a = x", "x", true},
        {"a = x", "X", false},          {"a | upper = X", "x", true},
        {"a | lower = x", "X", true},   {"a != x", "y", true},
        {"a < 2", "1.5", true},         {"a < 2", "2", false},
        {"a <= 2", " 2 ", true},        {"a > -1", "0", true},
        {"a >= 3", "2.9", false},       {"a > 1", "many", false},
        {"a starts in", "index", true}, {"a starts in", "i", false},
        {"a empty", "", true},          {"a | trim empty", "  ", true},
        {"a empty", " ", false},        {"a present", "0", true},
        {"always", "x", true},          {"a = two words", "two words", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char map[400], row[100];
        struct event ev;
        struct reject r = {0};
        (void)snprintf(map, sizeof map,
                       "[time]\nformat=s\n[fields]\ntime=t\nitem=i\n[constants]\ntype=view\n[rules]\nskip.hit = %s\n",
                       cases[i].condition);
        struct preset_csv *p = preset_of(map, "t,i,a");
        (void)snprintf(row, sizeof row, "1767319445.5,x,%s", cases[i].cell);
        const enum status st = parse_row(p, row, &ev, &r);
        if ((st == STATUS_INVALID) != cases[i].holds)
            fail_msg("%s on \"%s\": %s", cases[i].condition, cases[i].cell, r.text);
        if (st == STATUS_OK) assert_true(ev.time_ms == 1767319445500);
        preset_csv_free(p);
    }
}

static void test_time_formats(void **state)
{
    static const struct {
        const char *format, *text;
        int64_t ms; /* -1: refused */
    } cases[] = {
        {"%Y-%m-%d %H:%M:%S", "2010-12-01 08:26:00", 1291191960000},
        {"%Y-%m-%dT%H:%M:%S.%f%z", "2010-12-01T08:26:00.25+01:30", 1291186560250},
        {"%d.%m.%y", "01.12.10", 1291161600000},
        {"%d.%m.%y", "01.12.70", 28857600000},
        {"%H%%%M", "08%26", -1}, /* year 0 */
        {"%Y-%m-%d", "2010-12-1", 1291161600000},
        {"%Y-%m-%d", "2010-13-01", -1},
        {"%Y-%m-%d", "2010-00-01", -1},
        {"%Y-%m-%d", "2011-02-29", -1},
        {"%Y-%m-%d", "2012-02-29", 1330473600000},
        {"%Y-%m-%d", "2010-12-01x", -1},
        {"%Y-%m-%d", "2010-12", -1},
        {"%Y %H", "2010 24", -1},
        {"%Y %z", "2010 Z", 1262304000000},
        {"%Y %z", "2010 +0060", -1},
        {"%Y%q", "2010x", -1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t ms = -1;
        const bool ok = preset_time_parse(str_from(cases[i].format), str_from(cases[i].text), &ms);
        if (ok != (cases[i].ms >= 0) || (ok && ms != cases[i].ms))
            fail_msg("%s by %s: %d, %lld", cases[i].text, cases[i].format, ok, (long long)ms);
    }
}

/* The shipped map over the whole file, where it is at hand: FRESHET_DATA, else ../shared/data beside the source tree. */
static void test_online_retail_counts(void **state)
{
    char path[400];
    const char *data = getenv("FRESHET_DATA");
    struct source *s = NULL;
    struct source_batch *b = NULL;
    struct err e = {0};
    struct reject_tally tally = {0};
    struct report report = {0};
    uint64_t purchases = 0, refunds = 0, without_user = 0, n = 0;
    (void)state;
    (void)snprintf(path, sizeof path, "%s/online-retail/online_retail.csv.xz",
                   data != NULL ? data : files_source("../shared/data"));
    if (access(path, R_OK) != 0) skip();
    const char *paths = path;
    assert_ok(conf_set(conf, "ingest.map", files_source("deploy/maps/online-retail.ini"), &e), &e);
    assert_ok(source_open_files(&s, conf, &paths, 1, NULL, &e), &e);
    assert_ok(source_batch_new(&b, &e), &e);
    while (source_next(s, b, 0, &e) == STATUS_OK) {
        for (uint32_t i = 0; i < b->n; i++) {
            const struct source_record *rec = &b->records[i];
            assert_true(rec->at.offset == n++);
            if (rec->kind != SOURCE_EVENT) reject_tally_add(&tally, &rec->reject);
            if (rec->kind != SOURCE_EVENT) continue;
            purchases += rec->event.type == EVENT_PURCHASE;
            refunds += rec->event.type == EVENT_REFUND;
            without_user += rec->event.user.p == NULL;
            assert_true(rec->event.quantity > 0 && rec->event.order.p != NULL);
        }
    }
    assert_int_equal(n, 541909);
    assert_int_equal(purchases, 527725);
    assert_int_equal(refunds, 8704);
    assert_int_equal(without_user, 131553);
    reject_tally_report(&tally, &report);
    assert_int_equal(report.rejected, 0);
    assert_int_equal(report.n_rejects, 3);
    for (uint32_t i = 0; i < report.n_rejects; i++) {
        const char *code = report.rejects[i].code;
        const uint64_t want = strcmp(code, "skipped.no_product_code") == 0 ? 2995
                              : strcmp(code, "skipped.no_quantity") == 0   ? 1324
                                                                           : 1161;
        assert_int_equal(report.rejects[i].n, want);
    }
    source_close(s);
    source_batch_free(b);
}

static enum status parse_once(void)
{
    struct preset_csv *p = NULL;
    struct arena a = {0};
    struct event ev;
    struct reject r;
    struct err e = {0};
    enum status st = preset_csv_new(&p, conf, &e);
    assert_true(st == STATUS_OK || p == NULL);
    if (st == STATUS_OK) st = preset_csv_header(p, "shop.csv", str_from(shop_header), &e);
    if (st == STATUS_OK) st = preset_csv_parse(p, STR("1,123a,\"x\",1,12/1/2010 8:26,1,u,a;b,3"), &a, &ev, &r, &e);
    arena_fini(&a);
    preset_csv_free(p);
    return st;
}

static void test_failing_allocations_are_survived(void **state)
{
    long n = 0;
    (void)state;
    use_map(shop_map);
    FAIL_EACH_ALLOCATION(n, parse_once());
    assert_true(n >= 5);
}

static void test_a_warm_preset_allocates_nothing(void **state)
{
    struct preset_csv *p = preset_of(shop_map, shop_header);
    static const char row[] = "77,123a,\"tea \"\"pot\"\"\",6,12/1/2010 8:26,2.50,17850.0,a;b,4";
    (void)state;
    for (int i = 0; i < 10; i++) (void)parse_good(p, row);
    const long total = mem_total();
    for (int i = 0; i < 1000; i++) (void)parse_good(p, row);
    assert_int_equal(mem_total(), total);
    preset_csv_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_row_becomes_an_event),
        cmocka_unit_test(test_rows_are_refused_or_skipped_with_a_reason),
        cmocka_unit_test(test_header_and_its_faults),
        cmocka_unit_test(test_many_quoted_cells_take_the_room_of_one_row),
        cmocka_unit_test(test_bad_maps_name_their_line),
        cmocka_unit_test(test_operators),
        cmocka_unit_test(test_time_formats),
        cmocka_unit_test(test_online_retail_counts),
        cmocka_unit_test(test_failing_allocations_are_survived),
        cmocka_unit_test(test_a_warm_preset_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

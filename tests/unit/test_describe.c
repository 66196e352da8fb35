/* test_describe.c - templates: the language, the shipped sets, files and their errors, bounds, memory.
 * labels: quick
 */
#include "featurize/describe.h"
#include "featurize/token.h"
#include "tests/support/check.h"
#include "tests/support/files.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct err e;
static struct conf *conf;
static struct describe *d;

static int set_up(void **state)
{
    (void)state;
    return conf_new(&conf, &e) == STATUS_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    describe_close(d);
    conf_free(conf);
    d = NULL;
    return mem_live() == 0 ? 0 : -1;
}

static const struct record_attr scarf[] = {
    {.name = {"title", 5}, .text = {"red scarf", 9}, .number = NAN},
    {.name = {"brand", 5}, .text = {"Loom", 4}, .number = NAN},
    {.name = {"category", 8}, .text = {"wool\x1fwinter", 11}, .number = NAN},
    {.name = {"size", 4}, .text = {NULL, 0}, .number = 2.50},
    {.name = {"empty", 5}, .text = {"  ", 2}, .number = NAN},
};
#define N_SCARF (sizeof scarf / sizeof *scarf)

/* The sentence of the type with these attributes, as a string. */
static const char *say(uint8_t type, const struct record_attr *attrs, size_t n)
{
    static char out[DESCRIBE_BYTES_MAX + 1];
    const size_t bytes = describe_render(d, type, "poke", attrs, (uint32_t)n, out, DESCRIBE_BYTES_MAX);
    out[bytes] = '\0';
    return out;
}

static void open_with(const char *purchase_template)
{
    describe_close(d);
    d = NULL;
    (void)snprintf(conf->types[EVENT_PURCHASE].template_text, CONF_TEXT, "%s", purchase_template);
    assert_ok(describe_open(&d, conf, &e), &e);
}

static const char *bought(const char *purchase_template)
{
    open_with(purchase_template);
    return say(EVENT_PURCHASE, scarf, N_SCARF);
}

static void test_shipped_english_reads_as_documented(void **state)
{
    (void)state;
    open_with("");
    assert_string_equal(say(EVENT_PURCHASE, scarf, N_SCARF), "I bought red scarf");
    assert_string_equal(say(EVENT_CLICK, scarf, N_SCARF), "I clicked red scarf");
    assert_string_equal(say(EVENT_VIEW, scarf, N_SCARF), "I looked at red scarf");
    assert_string_equal(say(EVENT_UNCART, scarf, N_SCARF), "I took red scarf out of my cart");
    assert_string_equal(say(DESCRIBE_ITEM, scarf, N_SCARF), "red scarf by Loom, wool, winter");
    assert_string_equal(say(DESCRIBE_ITEM, scarf, 1), "red scarf");
    assert_string_equal(say(20, scarf, N_SCARF), "poke red scarf");
}

static void test_a_missing_title_falls_back_and_never_shows_the_id(void **state)
{
    (void)state;
    open_with("");
    assert_string_equal(say(EVENT_PURCHASE, scarf + 1, 2), "I bought wool, winter");
    assert_string_equal(say(DESCRIBE_ITEM, scarf + 2, 1), "wool, winter"); /* not named twice */
    assert_string_equal(say(EVENT_PURCHASE, scarf + 1, 1), "I bought Loom");
    assert_string_equal(say(EVENT_PURCHASE, NULL, 0), "I bought an unknown item");
    assert_string_equal(say(DESCRIBE_ITEM, scarf + 4, 1), "an unknown item");
}

static void test_template_language(void **state)
{
    (void)state;
    assert_string_equal(bought("{title}[ by {brand}]"), "red scarf by Loom");
    assert_string_equal(bought("{title}[ of {maker}]!"), "red scarf!");
    assert_string_equal(bought("{title}[ of {maker}, {brand}]"), "red scarf");
    assert_string_equal(bought("{title}[ of {maker|brand}]"), "red scarf of Loom");
    assert_string_equal(bought("{title}[ = {title}]"), "red scarf");
    assert_string_equal(bought("[{empty}: ]{title}"), "red scarf");
    assert_string_equal(bought("{{{title}}} [[{brand}]]"), "{red scarf} [Loom]");
    assert_string_equal(bought("{ nope | title }"), "red scarf");
    assert_string_equal(bought("size {size}"), "size 2.5");
    assert_string_equal(bought("{type} it"), "poke it");
    assert_string_equal(bought("{nope} it"), "an unknown item it");
}

static void refuses(const char *purchase_template, const char *why)
{
    struct describe *none = (struct describe *)&conf;
    (void)snprintf(conf->types[EVENT_PURCHASE].template_text, CONF_TEXT, "%s", purchase_template);
    assert_int_equal(describe_open(&none, conf, &e), STATUS_INVALID);
    assert_null(none);
    assert_non_null(strstr(e.text, "type.purchase.template"));
    assert_non_null(strstr(e.text, why));
    assert_int_equal(mem_live(), 1); /* the config */
}

static void test_malformed_templates_are_refused_with_their_place(void **state)
{
    (void)state;
    conf_free(conf);
    assert_int_equal(mem_live(), 0);
    assert_ok(conf_new(&conf, &e), &e);
    refuses("I bought {title", "not closed");
    refuses("I bought {}", "1 to 64 bytes");
    refuses("I bought {a|}", "1 to 64 bytes");
    refuses("I bought {a[b}", "not closed");
    refuses("I bought }", "'}'");
    refuses("{title}]", "']'");
    refuses("{title}[ by {brand}", "bracket is not closed");
    refuses("[a [b {title}]]", "don't nest");
    refuses("{title}[ always]", "without a field");
    refuses("{title}[ by {brand}]]", "bracket is not closed");
}

static enum status open_file(const char *text)
{
    char path[300];
    const struct tmpdir dir = tmpdir_make("describe");
    describe_close(d);
    d = NULL;
    files_put_text(&dir, "mine.ini", text);
    (void)snprintf(conf->describe_templates, CONF_TEXT, "%s", tmpdir_file(&dir, "mine.ini", path));
    const enum status st = describe_open(&d, conf, &e);
    tmpdir_remove(&dir);
    return st;
}

static void test_a_file_overrides_single_templates(void **state)
{
    (void)state;
    assert_ok(open_file("# mine\r\n\r\n[templates]\r\npurchase = got {title}\r\nunknown=something\n"), &e);
    assert_string_equal(say(EVENT_PURCHASE, scarf, N_SCARF), "got red scarf");
    assert_string_equal(say(EVENT_CLICK, NULL, 0), "I clicked something");
    const uint64_t before = describe_fingerprint(d);
    assert_ok(open_file("purchase = took {title}"), &e);
    assert_true(describe_fingerprint(d) != before);
    assert_true(describe_uses(d, STR("brand")) && describe_item_uses(d, STR("brand")));
    assert_false(describe_uses(d, STR("country")));
}

static void file_fails(const char *text, const char *place, const char *why)
{
    assert_int_equal(open_file(text), STATUS_INVALID);
    assert_null(d);
    if (strstr(e.text, place) == NULL || strstr(e.text, why) == NULL) fail_msg("%s", e.text);
}

static void test_errors_of_a_file_name_its_line(void **state)
{
    (void)state;
    file_fails("\npurchase = I {title\n", "mine.ini:2: ", "not closed");
    file_fails("[templates]\nbuy = I {title}\n", "mine.ini:2: ", "no behaviour type 'buy'");
    file_fails("purchase I\n", "mine.ini:1: ", "expected");
    file_fails("[other]\n", "mine.ini:1: ", "expected");
    file_fails("click =\n", "mine.ini:1: ", "0 bytes");
    file_fails("unknown = a {title}\n", "mine.ini:1: ", "names no field");
    char longer[700];
    memset(longer, 'x', sizeof longer);
    memcpy(longer, "click = ", 8);
    longer[sizeof longer - 1] = '\0';
    file_fails(longer, "mine.ini:1: ", "1 to 511");
    (void)snprintf(conf->describe_templates, CONF_TEXT, "no-such-folder/x.ini");
    assert_int_equal(describe_open(&d, conf, &e), STATUS_IO);
    assert_non_null(strstr(e.text, "no-such-folder/x.ini"));
}

static void test_a_template_in_the_config_goes_before_the_file(void **state)
{
    (void)state;
    (void)snprintf(conf->types[EVENT_PURCHASE].template_text, CONF_TEXT, "config {title}");
    assert_ok(open_file("purchase = file {title}"), &e);
    assert_string_equal(say(EVENT_PURCHASE, scarf, 1), "config red scarf");
}

static void test_types_of_the_users_own_have_templates(void **state)
{
    (void)state;
    assert_ok(conf_set(conf, "type.poke.label", "positive", &e), &e);
    const int poke = conf_type_find(conf, STR("poke"));
    assert_true(poke >= EVENT_TYPES_BUILTIN);
    assert_ok(open_file("poke = I poked {title}"), &e);
    assert_string_equal(say((uint8_t)poke, scarf, 1), "I poked red scarf");
    assert_ok(open_file("other = {title}, {type}"), &e);
    assert_string_equal(say((uint8_t)poke, scarf, 1), "red scarf, poke");
}

static void test_sentences_are_bounded_at_a_characters_edge(void **state)
{
    (void)state;
    char title[DESCRIBE_BYTES_MAX + 300], out[DESCRIBE_BYTES_MAX + 300];
    for (size_t i = 0; i + 3 <= sizeof title; i += 3) memcpy(title + i, "\xE7\xBA\xA2", 3);
    const struct record_attr a = {.name = {"title", 5}, .text = {title, 2100 / 3 * 3}, .number = NAN};
    open_with("a{title}");
    memset(out, 'Z', sizeof out);
    size_t n = describe_render(d, EVENT_PURCHASE, NULL, &a, 1, out, sizeof out);
    assert_int_equal(n, 1 + (DESCRIBE_BYTES_MAX - 1) / 3 * 3);
    for (size_t cap = 0; cap < 9; cap++) {
        memset(out, 'Z', sizeof out);
        n = describe_render(d, EVENT_PURCHASE, NULL, &a, 1, out, cap);
        assert_int_equal(n, cap == 0 ? 0 : 1 + (cap - 1) / 3 * 3);
        for (size_t i = cap; i < 20; i++) assert_int_equal(out[i], 'Z');
    }
}

static void test_numbers_read_plainly(void **state)
{
    (void)state;
    static const struct {
        double x;
        const char *text;
    } rows[] = {{0, "0"},     {-0.0, "0"},      {3, "3"},
                {2.5, "2.5"}, {-1.25, "-1.25"}, {1e6, "1000000"},
                {0.1, "0.1"}, {1e-9, "0"},      {123456789012.0, "123456789012"},
                {100, "100"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char out[DESCRIBE_NUMBER_MAX];
        const size_t n = describe_number(out, rows[i].x);
        assert_true(str_is((struct str){out, n}, rows[i].text));
    }
    char out[DESCRIBE_NUMBER_MAX];
    assert_int_equal(describe_number(out, NAN), 0);
    assert_true(describe_number(out, -1.7e308) < DESCRIBE_NUMBER_MAX);
}

/* What six decimals of the C library's are, without zeros at the end. */
static void test_numbers_are_those_of_the_library(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 400000; i++) {
        const uint64_t r = (i + 1) * 0x9e3779b97f4a7c15u;
        const double scales[] = {1e-3, 1.0, 100.0, 1e6, 2e9, 1e16}, unit = (double)(r >> 11) / 9007199254740992.0 - 0.5;
        const double near_half = ((double)(r % 4096) + 0.5) / 1e6,
                     price = (double)(int64_t)(r % 2000001 - 1000000) / 100.0;
        const double x = i % 3 == 0 ? price : i % 3 == 1 ? near_half : unit * scales[i / 3 % 6];
        char want[64], got[DESCRIBE_NUMBER_MAX + 1];
        size_t n = (size_t)snprintf(want, sizeof want, fabs(x) >= 1e15 ? "%.15g" : "%.6f", x);
        while (fabs(x) < 1e15 && want[n - 1] == '0') n--;
        if (want[n - 1] == '.') n--;
        want[n] = 0;
        got[describe_number(got, x)] = 0;
        assert_string_equal(got, strcmp(want, "-0") == 0 ? "0" : want);
    }
}

static void test_the_binary_holds_the_shipped_files(void **state)
{
    (void)state;
    static const char *const languages[] = {"en", "zh"};
    for (int i = 0; i < 2; i++) {
        char name[100];
        size_t n;
        (void)snprintf(name, sizeof name, "featurize/templates/%s.ini", languages[i]);
        char *text = files_read(files_source(name), &n);
        assert_string_equal(text, describe_shipped(languages[i]));
        free(text);
    }
    assert_null(describe_shipped("fr"));
}

static void test_chinese_sentences_need_no_unknown_tokens(void **state)
{
    (void)state;
    static const struct record_attr a[] = {{.name = {"title", 5}, .text = {"红色围巾", 12}, .number = NAN},
                                           {.name = {"brand", 5}, .text = {"华光", 6}, .number = NAN}};
    struct token_vocab *v = NULL;
    int32_t ids[64];
    size_t n = 0;
    assert_ok(conf_set(conf, "describe.language", "zh", &e), &e);
    open_with("");
    assert_string_equal(say(EVENT_PURCHASE, a, 1), "我购买了商品红色围巾");
    assert_string_equal(say(EVENT_CLICK, a, 1), "我点击了商品红色围巾");
    assert_string_equal(say(DESCRIBE_ITEM, a, 2), "红色围巾，品牌华光");
    assert_ok(token_open(&v, files_source("tests/fixtures/zh"), &e), &e);
    for (uint8_t type = 0; type <= EVENT_TYPES_BUILTIN; type++) {
        const char *text = say(type == EVENT_TYPES_BUILTIN ? DESCRIBE_ITEM : type, a, 2);
        assert_ok(token_encode(v, str_from(text), (struct token_opts){.add_special = true}, ids, 64, &n, &e), &e);
        assert_true(n > 6);
        assert_int_equal(token_count_unknown(v, ids, n), 0);
    }
    token_free(v);
}

static void test_open_survives_each_failing_allocation(void **state)
{
    (void)state;
    long met;
    const struct tmpdir dir = tmpdir_make("describe");
    char path[300];
    files_put_text(&dir, "mine.ini", "purchase = got {title}\n");
    (void)snprintf(conf->describe_templates, CONF_TEXT, "%s", tmpdir_file(&dir, "mine.ini", path));
    FAIL_EACH_ALLOCATION(met, describe_open(&d, conf, &e));
    assert_true(met >= 4);
    tmpdir_remove(&dir);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_shipped_english_reads_as_documented),
        T(test_a_missing_title_falls_back_and_never_shows_the_id),
        T(test_template_language),
        T(test_malformed_templates_are_refused_with_their_place),
        T(test_a_file_overrides_single_templates),
        T(test_errors_of_a_file_name_its_line),
        T(test_a_template_in_the_config_goes_before_the_file),
        T(test_types_of_the_users_own_have_templates),
        T(test_sentences_are_bounded_at_a_characters_edge),
        T(test_numbers_read_plainly),
        T(test_numbers_are_those_of_the_library),
        T(test_the_binary_holds_the_shipped_files),
        T(test_chinese_sentences_need_no_unknown_tokens),
        T(test_open_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

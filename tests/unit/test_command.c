/* test_command.c - orders and answers as JSON: back as they were, everything else refused by the field's name. */
#include "schemas/command.h"
#include "tests/support/check.h"
#include <stdio.h>
#include <string.h>

static enum status decode(const char *json, struct err *e)
{
    struct command c;
    return command_decode(&c, str_from(json), e);
}

static void test_an_order_comes_back(void **state)
{
    (void)state;
    struct err e;
    struct command c, back, other;
    struct buf b = {0};
    assert_ok(command_new(&c, COMMAND_PIN, &e), &e);
    assert_ok(command_new(&other, COMMAND_PIN, &e), &e);
    assert_string_not_equal(c.id, other.id);
    assert_true(c.wall_ms > 1700000000000 && strchr(c.who, '@') != NULL && strstr(c.who, "pid") != NULL);
    c.version = 12;
    (void)snprintf(c.reason, sizeof c.reason, "a \"quoted\" reason: ü");
    (void)snprintf(c.name, sizeof c.name, "bold");
    command_encode(&b, &c);
    assert_ok(command_decode(&back, (struct str){(const char *)b.p, b.n}, &e), &e);
    assert_memory_equal(&back, &c, sizeof c);
    buf_fini(&b);
}

static void test_an_answer_comes_back(void **state)
{
    (void)state;
    struct err e;
    struct buf b = {0};
    struct command_answer back;
    struct command_answer a = {.id = "00112233445566778899aabbccddeeff", .ok = true, .version = 3, .text = "done"};
    command_answer_encode(&b, &a);
    assert_ok(command_answer_decode(&back, (struct str){(const char *)b.p, b.n}, &e), &e);
    assert_true(back.ok && back.version == 3);
    assert_string_equal(back.text, "done");
    assert_string_equal(back.id, a.id);
    buf_fini(&b);
}

static void test_what_is_no_order_is_refused(void **state)
{
    (void)state;
    static const char good[] = "{\"id\":\"00112233445566778899aabbccddeeff\",\"kind\":\"rollback\",\"version\":4,"
                               "\"wall_ms\":5,\"name\":\"\",\"who\":\"w\",\"reason\":\"r\"}";
    static const struct {
        const char *from, *to, *names;
    } bad[] = {
        {"00112233445566778899aabbccddeeff", "0011", "id"},
        {"00112233445566778899aabbccddeeff", "../../../../../../../../etc/pas", "id"},
        {"rollback", "reboot", "kind"},
        {"\"version\":4", "\"version\":-4", "version"},
        {"\"version\":4", "\"version\":\"4\"", "version"},
        {"\"who\":\"w\"", "\"who\":7", "who"},
        {"\"reason\":\"r\"", "\"reason\":\"a\\nb\"", "reason"},
        {",\"name\":\"\"", "", "name"},
        {"\"kind\":", "\"kind\":\"pin\",\"kind\":", "JSON"},
        {"}", "", "JSON"},
        {"{", "[{", "JSON"},
    };
    struct err e;
    char text[600];
    assert_ok(decode(good, &e), &e);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *at = strstr(good, bad[i].from);
        (void)snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, bad[i].to, at + strlen(bad[i].from));
        assert_int_equal(decode(text, &e), STATUS_CORRUPT);
        if (strstr(e.text, bad[i].names) == NULL) fail_msg("%s: %s", text, e.text);
    }
    static char huge[COMMAND_BYTES_MAX + 2];
    memset(huge, ' ', sizeof huge - 1);
    assert_int_equal(decode(huge, &e), STATUS_CORRUPT);
}

/* What may be given is what may be read: of each length and of every byte. */
static void test_who_gives_and_who_reads_have_one_rule(void **state)
{
    (void)state;
    static char text[COMMAND_REASON + 2], out[COMMAND_REASON];
    struct err e;
    for (int c = 1; c < 256; c++) {
        struct command given = {0}, back;
        struct buf b = {0};
        (void)snprintf(text, sizeof text, "a%cb", c);
        assert_ok(command_new(&given, COMMAND_PIN, &e), &e);
        memcpy(given.reason, text, 4);
        command_encode(&b, &given);
        const bool read = command_decode(&back, (struct str){(const char *)b.p, b.n}, &e) == STATUS_OK &&
                          strcmp(back.reason, text) == 0;
        assert_int_equal(command_text(out, sizeof out, "reason", str_from(text), &e) == STATUS_OK, read);
        assert_int_equal(read, c >= ' ' && c < 127);
        if (!read) assert_non_null(strstr(e.text, "\"reason\" is not valid"));
        buf_fini(&b);
    }
    memset(text, 'x', COMMAND_REASON);
    assert_int_equal(command_text(out, sizeof out, "reason", str_from(text), &e), STATUS_CORRUPT);
    assert_ok(command_text(out, sizeof out, "reason", str_from(text + 1), &e), &e);
    assert_string_equal(out, text + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_order_comes_back),
        cmocka_unit_test(test_an_answer_comes_back),
        cmocka_unit_test(test_what_is_no_order_is_refused),
        cmocka_unit_test(test_who_gives_and_who_reads_have_one_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_bad_table.c - hundreds of bad messages, one by one: the exact reason of each, and what the odd but right become.
 *
 * timeout: 120
 */
#include "tests/support/check.h"

#include "base/utf8.h"
#include "ingest/preset.h"
#include "tests/support/bad_messages.h"
#include "tests/support/tmpdir.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAP                                                                                                            \
    "[time]\nformat = %Y-%m-%d %H:%M:%S\n[fields]\ntime = t\nitem = i\nuser = u\ntitle = n\nprice = p | number\n"      \
    "quantity = q | abs\n[constants]\ntype = purchase\n"

struct trial {
    struct preset *preset, *native;
    struct arena arena, again;
    struct buf json;
    unsigned wrong, accepted;
};

static void complain(struct trial *t, const struct bad_message *m, const char *is, const char *text)
{
    t->wrong++;
    print_error("%s: is %s, not %s (%.150s)\n", m->name, is, m->outcome, text);
}

/* Cleaned: the event as JSON is the table's, and reads as itself. */
static void check_accepted(struct trial *t, const struct bad_message *m, const struct event *ev)
{
    struct source_record *again = mem_calloc(1, sizeof *again);
    struct err e = {0};
    buf_clear(&t->json);
    event_write_json(&t->json, ev);
    buf_u8(&t->json, 0);
    assert_non_null(again);
    if (t->json.n - 1 != m->cleaned.n || memcmp(t->json.p, m->cleaned.p, m->cleaned.n) != 0)
        complain(t, m, "cleaned otherwise", (const char *)t->json.p);
    const struct str json = {(const char *)t->json.p, t->json.n - 1};
    arena_reset(&t->again);
    assert_ok(preset_parse(t->native, json, &t->again, again, &e), &e);
    if (again->kind != SOURCE_EVENT) complain(t, m, "an event that doesn't read again", again->reject.text);
    mem_free(again);
    t->accepted++;
}

static void try_message(void *user, const struct bad_message *m)
{
    struct trial *t = user;
    struct source_record *rec = mem_calloc(1, sizeof *rec);
    struct err e = {0};
    const struct str message = {m->message.p != NULL ? (const char *)m->message.p : "", m->message.n};
    assert_non_null(rec);
    arena_reset(&t->arena);
    assert_ok(preset_parse(t->preset, message, &t->arena, rec, &e), &e);
    const char *is = rec->kind == SOURCE_EVENT ? "ok" : reject_name(rec->reject.code);
    if (strcmp(is, m->outcome) != 0) complain(t, m, is, rec->kind == SOURCE_EVENT ? "" : rec->reject.text);
    if (rec->kind == SOURCE_REJECT && (rec->reject.text[0] == 0 || !utf8_valid(str_from(rec->reject.text))))
        complain(t, m, "without a reason", rec->reject.text);
    if (rec->kind == SOURCE_EVENT && strcmp(m->outcome, "ok") == 0) check_accepted(t, m, &rec->event);
    mem_free(rec);
}

/* Returns the number of messages tried. */
static size_t try_table(const char *table, const char *const *options, struct str header)
{
    struct trial t = {0};
    struct conf *c = NULL, *defaults = NULL;
    struct err e = {0};
    assert_ok(conf_new(&c, &e), &e);
    assert_ok(conf_new(&defaults, &e), &e);
    for (; *options != NULL; options++) assert_ok(conf_set_option(c, *options, &e), &e);
    assert_ok(preset_new(&t.preset, c, &e), &e);
    assert_ok(preset_new(&t.native, defaults, &e), &e);
    if (header.p != NULL) assert_ok(preset_header(t.preset, "table", header, &e), &e);
    const size_t n = bad_messages_each(table, try_message, &t);
    preset_free(t.preset);
    preset_free(t.native);
    arena_fini(&t.arena);
    arena_fini(&t.again);
    buf_fini(&t.json);
    conf_free(c);
    conf_free(defaults);
    assert_int_equal(t.wrong, 0);
    assert_true(t.accepted > 5 && n > t.accepted + 50);
    return n;
}

static void test_native_messages_have_their_outcome(void **state)
{
    (void)state;
    assert_true(try_table("native", (const char *const[]){"ingest.schema=native", NULL}, (struct str){NULL, 0}) >= 450);
}

static void test_metarank_messages_have_their_outcome(void **state)
{
    (void)state;
    assert_true(try_table("metarank", (const char *const[]){"ingest.schema=metarank", NULL}, (struct str){NULL, 0}) >=
                80);
}

static void test_csv_rows_have_their_outcome(void **state)
{
    (void)state;
    const struct tmpdir dir = tmpdir_make("bad");
    char path[300], option[320];
    FILE *f = fopen(tmpdir_file(&dir, "map.ini", path), "w");
    assert_true(f != NULL && fputs(MAP, f) >= 0 && fclose(f) == 0);
    (void)snprintf(option, sizeof option, "ingest.map=%s", path);
    assert_true(try_table("csv", (const char *const[]){"ingest.schema=csv", option, NULL}, STR("t,i,u,n,p,q")) >= 70);
    tmpdir_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_native_messages_have_their_outcome),
        cmocka_unit_test(test_metarank_messages_have_their_outcome),
        cmocka_unit_test(test_csv_rows_have_their_outcome),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

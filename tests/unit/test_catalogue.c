/* test_catalogue.c - the table of items, rows, attributes from events and from behaviours.
 * labels: quick
 */
#include "base/hash.h"
#include "featurize/catalogue.h"
#include "tests/support/check.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static struct err e;
static struct conf *conf;
static struct describe *templates;
static struct catalogue cat;

static int set_up(void **state)
{
    (void)state;
    catalogue_init(&cat, 1000);
    if (conf_new(&conf, &e) != STATUS_OK) return -1;
    return describe_open(&templates, conf, &e) == STATUS_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    catalogue_fini(&cat);
    describe_close(templates);
    conf_free(conf);
    return mem_live() == 0 ? 0 : -1;
}

static struct record_item *add(const char *id)
{
    struct record_item *i = NULL;
    assert_ok(catalogue_add(&cat, str_from(id), 5, &i, &e), &e);
    return i;
}

static void test_items_are_found_by_id_in_stable_rows(void **state)
{
    (void)state;
    char id[16];
    struct record_item *first = add("x0");
    for (int i = 1; i < 1000; i++) {
        (void)snprintf(id, sizeof id, "x%d", i);
        assert_int_equal(add(id)->row, i);
    }
    assert_ptr_equal(catalogue_find(&cat, STR("x0")), first);
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(id, sizeof id, "x%d", i);
        assert_int_equal(catalogue_find(&cat, str_from(id))->row, i);
    }
    assert_null(catalogue_find(&cat, STR("x1000")));
    struct record_item *more = first;
    assert_int_equal(catalogue_add(&cat, STR("x1000"), 5, &more, &e), STATUS_FULL);
    assert_null(more);
    assert_non_null(strstr(e.text, "catalogue.items"));
}

static void test_the_table_keeps_what_was_not_removed(void **state)
{
    (void)state;
    enum { N = 300 };
    struct named {
        struct str id;
        char text[16];
    } entries[N];
    struct world_table t = {0};
    for (int i = 0; i < N; i++) {
        entries[i].id = (struct str){entries[i].text, (size_t)snprintf(entries[i].text, 16, "k%d", i)};
        assert_int_equal(world_table_reserve(&t, t.n + 1), 0);
        world_table_add(&t, &entries[i], (uint64_t)(i % 50)); /* many share a place */
    }
    for (int i = 0; i < N; i += 3) world_table_remove(&t, &entries[i], (uint64_t)(i % 50));
    for (int i = 0; i < N; i++)
        assert_ptr_equal(world_table_find(&t, entries[i].id, (uint64_t)(i % 50)), i % 3 == 0 ? NULL : &entries[i]);
    for (int i = 0; i < N; i++)
        if (i % 3 != 0) world_table_remove(&t, &entries[i], (uint64_t)(i % 50));
    assert_int_equal(t.n, 0);
    for (size_t i = 0; i <= t.mask; i++) assert_null(t.slots[i].entry);
    world_table_fini(&t);
}

/* While the table's old size is being moved, both are searched, and what leaves the old one does not hide the rest. */
static void test_a_growing_table_finds_and_removes(void **state)
{
    (void)state;
    enum { N = 3000 };
    struct named {
        struct str id;
        char text[16];
    } *entries = mem_calloc(N, sizeof *entries);
    struct world_table t = {0};
    size_t moving = 0;
    assert_non_null(entries);
    for (int i = 0; i < N; i++) {
        entries[i].id = (struct str){entries[i].text, (size_t)snprintf(entries[i].text, 16, "k%d", i)};
        assert_int_equal(world_table_reserve(&t, t.n + 1), 0);
        world_table_add(&t, &entries[i], (uint64_t)i % 700);
        moving += t.old != NULL;
        if (i % 5 == 4) world_table_remove(&t, &entries[i - 2], (uint64_t)(i - 2) % 700);
        if (i % 97 != 0) continue;
        for (int k = 0; k <= i; k++)
            assert_ptr_equal(world_table_find(&t, entries[k].id, (uint64_t)k % 700),
                             k % 5 == 2 && k + 2 <= i ? NULL : &entries[k]);
    }
    assert_true(moving > 100 && moving < N / 2);
    assert_int_equal(t.n, N - N / 5);
    world_table_fini(&t);
    mem_free(entries);
}

static struct event_attr text_attr(const char *name, const char *text)
{
    return (struct event_attr){.name = str_from(name), .kind = EVENT_ATTR_TEXT, .text = str_from(text), .number = NAN};
}
static struct event_attr number_attr(const char *name, double x)
{
    return (struct event_attr){
        .name = str_from(name), .kind = EVENT_ATTR_NUMBER, .text = STR("as written"), .number = x};
}

static unsigned set(struct record_item *i, bool behaviour, struct event_attr a)
{
    unsigned changed = 99;
    assert_ok(catalogue_set_attrs(i, templates, behaviour, &a, 1, &changed, &e), &e);
    return changed;
}

static const char *text_of(const struct record_item *i, const char *name)
{
    static char out[200];
    const struct record_attr *a = record_attr(i->attrs, i->n_attrs, name);
    if (a == NULL) return "(none)";
    (void)snprintf(out, sizeof out, STR_FMT, STR_ARG(a->text));
    return out;
}

static void test_parts_move_into_one_block_that_is_used_again(void **state)
{
    (void)state;
    struct record_item *a = add("a"), *b;
    static const char *const titles[] = {"a red lantern", "blue", "a green candle holder"};
    (void)set(a, false, text_attr("title", titles[0]));
    b = add("b"); /* closes a */
    assert_true(catalogue_bytes(a) > sizeof(struct catalogue_item));
    assert_string_equal(text_of(a, "title"), titles[0]);
    long warm = 0;
    for (int i = 0; i < 30; i++) {
        if (i == 6) warm = mem_total();
        assert_ok(catalogue_edit(&cat, a, &e), &e);
        (void)set(a, false, text_attr("title", titles[i % 3]));
        assert_ok(catalogue_edit(&cat, b, &e), &e);
        assert_string_equal(text_of(a, "title"), titles[i % 3]);
        assert_ptr_equal(catalogue_find(&cat, STR("a")), a);
    }
    assert_int_equal(mem_total(), warm);
}

static void test_the_last_word_counts_and_says_what_it_changed(void **state)
{
    (void)state;
    struct record_item *i = add("a");
    assert_int_equal(set(i, false, text_attr("title", "red")), CATALOGUE_ATTRS | CATALOGUE_SENTENCE);
    assert_int_equal(set(i, false, text_attr("title", "red")), 0);
    assert_int_equal(set(i, true, text_attr("title", "blue")), CATALOGUE_ATTRS | CATALOGUE_SENTENCE);
    assert_string_equal(text_of(i, "title"), "blue");
    assert_int_equal(set(i, false, number_attr("price", 2.5)), CATALOGUE_ATTRS); /* in no template */
    assert_string_equal(text_of(i, "price"), "2.5");
    assert_true(i->price == 2.5f);
    assert_true(i->category == 0);
    (void)set(i, false, text_attr("category", "wool"));
    assert_true(i->category == hash_str(STR("wool")));
    (void)set(i, false, text_attr("category", ""));
    assert_true(i->category == 0);
    (void)set(i, false, (struct event_attr){.name = STR("warm"), .kind = EVENT_ATTR_BOOL, .number = 1});
    assert_string_equal(text_of(i, "warm"), "true");
    assert_int_equal(set(i, false, number_attr("warm", 1)), CATALOGUE_ATTRS);
    assert_string_equal(text_of(i, "warm"), "1");
    assert_int_equal(set(i, false, number_attr("warm", 1)), 0);
}

static void test_behaviours_tell_only_what_is_the_items(void **state)
{
    (void)state;
    struct record_item *i = add("a");
    assert_int_equal(set(i, true, text_attr("country", "France")), 0);
    assert_int_equal(set(i, true, number_attr("quantity", 6)), 0);
    assert_int_equal(set(i, true, number_attr("price", 0)), 0);
    assert_int_equal(set(i, true, number_attr("price", -3)), 0);
    assert_int_equal(i->n_attrs, 0);
    assert_true(isnan(i->price));
    assert_int_equal(set(i, true, number_attr("price", 3)), CATALOGUE_ATTRS);
    assert_int_equal(set(i, false, text_attr("country", "France")), CATALOGUE_ATTRS);
    (void)set(i, false, number_attr("price", 1e300)); /* no float holds it */
    assert_true(isnan(i->price));
}

static void test_lists_and_booleans_become_text(void **state)
{
    (void)state;
    struct record_item *i = add("a");
    struct str tags[] = {STR("red"), STR("soft wool"), STR("")};
    struct event_attr a = {.name = STR("tags"), .kind = EVENT_ATTR_LIST, .list = tags, .n_list = 3, .number = NAN};
    assert_true(set(i, true, a) != 0);
    assert_string_equal(text_of(i, "tags"), "red\x1fsoft wool\x1f");
    assert_int_equal(set(i, true, a), 0);
    uint32_t hashes[HISTORY_TAGS_MAX];
    assert_int_equal(catalogue_tags(i, hashes), 2);
    assert_true(hashes[1] == (uint32_t)hash_str(STR("soft wool")));
    a.n_list = 2;
    assert_true(set(i, true, a) != 0);
    a.n_list = 0;
    assert_true(set(i, true, a) != 0);
    assert_int_equal(catalogue_tags(i, hashes), 0);
    (void)set(i, true, text_attr("tags", " a, b ,c"));
    assert_int_equal(catalogue_tags(i, hashes), 3);
    assert_true(hashes[0] == (uint32_t)hash_str(STR("a")));
    a = (struct event_attr){.name = STR("sale"), .kind = EVENT_ATTR_BOOL, .number = 1};
    (void)set(i, false, a);
    assert_string_equal(text_of(i, "sale"), "true");
}

static void test_attributes_are_bounded(void **state)
{
    (void)state;
    struct record_item *i = add("a");
    char name[16];
    for (int n = 0; n < EVENT_ATTRS_MAX + 20; n++) {
        (void)snprintf(name, sizeof name, "f%d", n);
        (void)set(i, false, text_attr(name, "x"));
    }
    assert_int_equal(i->n_attrs, EVENT_ATTRS_MAX);
    assert_int_equal(set(i, false, text_attr("f3", "y")), CATALOGUE_ATTRS);
    assert_true(catalogue_bytes(i) > sizeof *i);
}

static void test_stored_rows_must_be_whole(void **state)
{
    (void)state;
    struct record_item i = {.id = {mem_strdup("b"), 1}, .row = 1};
    i.hash = hash_str(i.id);
    assert_ok(catalogue_put(&cat, &i, &e), &e);
    assert_null(i.id.p); /* taken over */
    assert_int_equal(catalogue_check(&cat, &e), STATUS_CORRUPT);
    i = (struct record_item){.id = {mem_strdup("c"), 1}, .row = 1};
    i.hash = hash_str(i.id);
    assert_int_equal(catalogue_put(&cat, &i, &e), STATUS_CORRUPT);
    i.row = 0;
    assert_ok(catalogue_put(&cat, &i, &e), &e);
    assert_ok(catalogue_check(&cat, &e), &e);
    i = (struct record_item){.id = {mem_strdup("b"), 1}, .row = 2};
    i.hash = hash_str(i.id);
    assert_int_equal(catalogue_put(&cat, &i, &e), STATUS_CORRUPT);
    record_item_fini(&i);
}

static void test_adding_survives_each_failing_allocation(void **state)
{
    (void)state;
    struct record_item *i = NULL;
    const struct event_attr a = text_attr("title", "red");
    unsigned changed;
    for (long n = 0;; n++) {
        assert_true(n < 20);
        mem_fail_after(n);
        const enum status st = catalogue_add(&cat, STR("a"), 5, &i, &e);
        mem_fail_after(-1);
        if (st == STATUS_OK) break;
        assert_int_equal(st, STATUS_OOM);
        assert_null(i);
        assert_null(catalogue_find(&cat, STR("a")));
    }
    for (long n = 0;; n++) {
        assert_true(n < 20);
        mem_fail_after(n);
        const enum status st = catalogue_set_attrs(i, templates, true, &a, 1, &changed, &e);
        mem_fail_after(-1);
        if (st == STATUS_OK) break;
        assert_int_equal(st, STATUS_OOM);
        assert_int_equal(i->n_attrs, 0);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_items_are_found_by_id_in_stable_rows),
        T(test_the_table_keeps_what_was_not_removed),
        T(test_a_growing_table_finds_and_removes),
        T(test_parts_move_into_one_block_that_is_used_again),
        T(test_the_last_word_counts_and_says_what_it_changed),
        T(test_behaviours_tell_only_what_is_the_items),
        T(test_lists_and_booleans_become_text),
        T(test_attributes_are_bounded),
        T(test_stored_rows_must_be_whole),
        T(test_adding_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_eval_logged.c - what was served, over all, by variant and by the newest versions; packed and read by names.
 * labels: quick */
#include "tests/support/check.h"
#include "trainer/eval_logged.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static struct eval_logged v, back;
static struct report_logged got;

static struct conf *with_variants(const char *first, const char *second)
{
    struct conf *c;
    struct err e;
    char key[64];
    assert_ok(conf_new(&c, &e), &e);
    for (int i = 0; i < 2; i++) {
        const char *name = i == 0 ? first : second;
        if (name == NULL) continue;
        (void)snprintf(key, sizeof key, "%s.share", name);
        assert_ok(conf_variant_set(c, key, "0.1", &e), &e);
    }
    return c;
}

/* Two items with logits of the learner `off` above what was served; the first was taken. */
static void add(size_t line, uint64_t version, float off)
{
    float z[2] = {1.0f + off, -1.0f + off}, y[2] = {1, 0}, served[2] = {1.0f, -1.0f};
    uint8_t mask[2] = {1, 1};
    struct eval_term terms[2], more[2];
    struct eval_terms t = {.z = z, .y = y, .terms = terms, .n = 2};
    const struct eval_served_room room = {served, mask, more};
    eval_terms_fill(&t);
    eval_logged_add(&v, line, version, &t, &room);
}

static void test_by_variant_and_version(void **state)
{
    (void)state;
    struct conf *c = with_variants("a", "b");
    memset(&v, 0, sizeof v);
    add(0, 5, 0.1f);
    add(2, 5, 0.2f);
    add(2, 4, 0.3f); /* an answer that was long on its way */
    eval_logged_report(&v, c, &got);
    assert_int_equal(got.joined, 3);
    assert_int_equal(got.all.lists, 3);
    assert_near(got.all.skew.mean, 0.2, 1e-6);
    assert_near(got.all.figures.logloss, log1p(exp(-1.0)), 1e-6);
    assert_int_equal(got.n_lines, 2);
    assert_string_equal(got.line_names[0], CONF_LINE_DEFAULT);
    assert_string_equal(got.line_names[1], "b");
    assert_int_equal(got.lines[1].lists, 2);
    assert_int_equal(got.n_versions, 2);
    assert_int_equal(got.version_numbers[0], 4);
    assert_int_equal(got.version_numbers[1], 5);
    assert_int_equal(got.versions[1].lists, 2);
    conf_free(c);
}

static void test_only_the_newest_versions_are_kept(void **state)
{
    (void)state;
    struct conf *c = with_variants(NULL, NULL);
    memset(&v, 0, sizeof v);
    for (uint64_t i = 0; i < 3 * EVAL_LOGGED_VERSIONS; i++) add(0, 10 + (i * 7) % (3 * EVAL_LOGGED_VERSIONS), 0.0f);
    add(0, 1, 0.0f); /* older than all */
    eval_logged_report(&v, c, &got);
    assert_int_equal(got.all.lists, 3 * EVAL_LOGGED_VERSIONS + 1);
    assert_int_equal(got.n_versions, EVAL_LOGGED_VERSIONS);
    for (uint32_t i = 0; i < got.n_versions; i++)
        assert_int_equal(got.version_numbers[i], 10 + 2 * EVAL_LOGGED_VERSIONS + i);
    conf_free(c);
}

static void test_packed_it_follows_the_names(void **state)
{
    (void)state;
    struct conf *then = with_variants("a", "b"), *now = with_variants("b", NULL);
    struct buf b = {0};
    struct err e;
    memset(&v, 0, sizeof v);
    add(0, 5, 0.1f);
    add(1, 5, 0.2f);
    add(2, 6, 0.3f);
    add(2, 6, 0.3f);
    v.answers = 9;
    v.checked = 3;
    eval_skew_add(&v.same, 0.5);
    eval_logged_encode(&b, &v, then);
    struct buf_reader r = buf_reader(b.p, b.n);
    memset(&back, 0, sizeof back);
    assert_ok(eval_logged_decode(&back, then, &r, &e), &e);
    assert_int_equal(buf_left(&r), 0);
    assert_memory_equal(&v, &back, sizeof v);
    r = buf_reader(b.p, b.n);
    memset(&back, 0, sizeof back);
    assert_ok(eval_logged_decode(&back, now, &r, &e), &e);
    assert_int_equal(back.lines[1].lists, 2); /* b's; a is gone */
    assert_int_equal(back.all.lists, 4);
    for (size_t n = 0; n < b.n; n += 97) {
        r = buf_reader(b.p, n);
        assert_int_equal(eval_logged_decode(&back, then, &r, &e), STATUS_CORRUPT);
        memset(&back, 0, sizeof back);
    }
    buf_fini(&b);
    conf_free(then);
    conf_free(now);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_variant_and_version),
        cmocka_unit_test(test_only_the_newest_versions_are_kept),
        cmocka_unit_test(test_packed_it_follows_the_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

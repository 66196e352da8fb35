/* test_eval_lists.c - what stands at the top: coverage, diversity, exposure against counts made apart.
 * labels: quick */
#include "base/hash.h"
#include "base/rand.h"
#include "tests/support/check.h"
#include "trainer/eval_lists.h"
#include <math.h>
#include <string.h>

enum { N = 25, SLATES = 400 };
static struct eval_lists lists, back;
static struct report_detail detail;
static struct { /* counted apart */
    uint64_t candidates, positives, top, by_age[REPORT_AGES], top_by_age[REPORT_AGES];
    double categories;
} want;

/* Items 0 … 99 are candidates, item i is i/4 days old, as popular as i, of category i mod 3 (none: 2); the higher the better. */
static void add(struct rand *r)
{
    struct slate_item items[N];
    struct eval_place places[N];
    struct eval_term terms[N];
    float z[N], y[N];
    struct slate s = {.items = items, .n_items = N};
    struct eval_terms t = {.z = z, .y = y, .terms = terms, .n = N};
    uint32_t ids[N], pairs = 0, differ = 0;
    memset(items, 0, sizeof items);
    for (uint32_t i = 0; i < N; i++) {
        const uint32_t id = i * 4 + (uint32_t)rand_below(r, 4);
        ids[i] = id;
        items[i].item = hash_bytes(&id, sizeof id);
        items[i].age_days = (float)id / 4.0f;
        items[i].popularity = (float)id;
        items[i].category = id % 3;
        z[i] = (float)id / 50.0f;
        y[i] = rand_below(r, 5) == 0;
        places[i] = (struct eval_place){z[i], i, (uint32_t)items[i].item, y[i]};
        const size_t age = id < 4 ? 0 : id < 12 ? 1 : id < 28 ? 2 : id < 56 ? 3 : 4;
        const bool top = i >= N - EVAL_TOP;
        want.candidates++;
        want.positives += y[i] > 0.5f;
        want.by_age[age]++;
        want.top_by_age[age] += top;
        want.top += top;
    }
    for (uint32_t a = N - EVAL_TOP; a < N; a++)
        for (uint32_t b = N - EVAL_TOP; b < a; b++) {
            if (ids[a] % 3 == 0 || ids[b] % 3 == 0) continue;
            pairs++;
            differ += ids[a] % 3 != ids[b] % 3;
        }
    want.categories += (double)differ / (double)pairs;
    eval_terms_fill(&t);
    eval_sort(places, N);
    eval_lists_add(&lists, &s, &t, places, 0.25f);
}

static void test_groups_are_counted(void **state)
{
    (void)state;
    struct rand r;
    uint64_t candidates = 0, positives = 0, top = 0;
    rand_init(&r, (struct rand_key){.seed = 2, .purpose = RAND_TEST});
    memset(&lists, 0, sizeof lists);
    memset(&want, 0, sizeof want);
    for (int i = 0; i < SLATES; i++) add(&r);
    memset(&detail, 0, sizeof detail);
    eval_lists_report(&lists, &detail);
    assert_int_equal(detail.lists, SLATES);
    assert_near(detail.list_items, 100.0, 3.0);
    assert_near(detail.list_top, 40.0, 2.0);
    assert_near(detail.vectors_diversity, 0.25, 1e-12);
    assert_near(detail.categories_diversity, want.categories / SLATES, 1e-12);
    for (int i = 0; i < REPORT_AGES; i++) {
        assert_int_equal(detail.ages[i].candidates, want.by_age[i]);
        assert_int_equal(detail.ages[i].top, want.top_by_age[i]);
    }
    assert_true(detail.n_deciles > 5 && detail.n_deciles <= REPORT_DECILES);
    for (uint32_t i = 0; i < detail.n_deciles; i++) {
        assert_true(detail.deciles[i].name[0] != '\0' && detail.deciles[i].predicted > 0.0);
        candidates += detail.deciles[i].candidates;
        positives += detail.deciles[i].positives;
        top += detail.deciles[i].top;
    }
    assert_int_equal(candidates, want.candidates);
    assert_int_equal(positives, want.positives);
    assert_int_equal(top, want.top);
}

/* A choice from ten is none, but what was shown was shown. */
static void test_short_lists_count_where_they_were_shown(void **state)
{
    (void)state;
    struct slate_item items[3] = {{.category = 1}, {.category = 1}, {.category = 2}};
    const struct eval_place places[3] = {{.item = 2}, {.item = 0}, {.item = 1}};
    struct eval_term terms[3] = {{.label = 1, .p = 0.5}};
    const struct eval_terms t = {.terms = terms, .n = 3};
    struct slate s = {.source = SLATE_ORGANIC, .items = items, .n_items = 3};
    memset(&lists, 0, sizeof lists);
    memset(&detail, 0, sizeof detail);
    for (uint32_t i = 0; i < 3; i++) items[i].item = hash_bytes(&i, sizeof i);
    eval_lists_add(&lists, &s, &t, places, NAN);
    eval_lists_report(&lists, &detail);
    assert_true(detail.lists == 0 && detail.n_deciles == 0 && isnan(detail.vectors_diversity));
    s.source = SLATE_IMPRESSION;
    eval_lists_add(&lists, &s, &t, places, 0.5f);
    eval_lists_report(&lists, &detail);
    assert_true(detail.lists == 1 && detail.ages[0].candidates == 3 && detail.ages[0].top == 3);
    assert_near(detail.list_top, 3.0, 0.1);
    assert_near(detail.categories_diversity, 2.0 / 3.0, 1e-12);
    assert_near(detail.vectors_diversity, 0.5, 1e-12);
}

static void test_packed_it_is_the_same(void **state)
{
    (void)state;
    struct rand r;
    struct buf b = {0};
    rand_init(&r, (struct rand_key){.seed = 3, .purpose = RAND_TEST});
    memset(&lists, 0, sizeof lists);
    memset(&back, 0, sizeof back);
    for (int i = 0; i < 20; i++) add(&r);
    eval_lists_encode(&b, &lists);
    struct buf_reader from = buf_reader(b.p, b.n);
    eval_lists_decode(&back, &from);
    assert_true(!from.bad && buf_left(&from) == 0);
    assert_memory_equal(&lists, &back, sizeof lists);
    b.p[5] = 200; /* a register that can't be */
    from = buf_reader(b.p, b.n);
    eval_lists_decode(&back, &from);
    assert_true(from.bad);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_groups_are_counted),
        cmocka_unit_test(test_short_lists_count_where_they_were_shown),
        cmocka_unit_test(test_packed_it_is_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_slate_features.c - what a model reads of a candidate has one hash in any list, and another when anything of it changes.
 * labels: quick */
#include "schemas/slate.h"
#include "tests/support/check.h"
#include <string.h>

enum { K = 2, F = 3 };

struct made { /* two candidates, one event */
    struct slate s;
    struct slate_item items[K];
    struct slate_sentence sentences[3];
    struct slate_event events[1];
    float numeric[K * F], val[4];
    uint32_t off[K + 1], idx[4];
};

static void make(struct made *m)
{
    memset(m, 0, sizeof *m);
    m->s = (struct slate){.items = m->items,
                          .n_items = K,
                          .sentences = m->sentences,
                          .n_sentences = 3,
                          .events = m->events,
                          .n_events = 1,
                          .numeric = m->numeric,
                          .n_numeric = F,
                          .hashed_off = m->off,
                          .hashed_idx = m->idx,
                          .hashed_val = m->val};
    for (uint32_t i = 0; i < 3; i++) m->sentences[i].hash = 100 + i;
    for (uint32_t i = 0; i < K; i++) m->items[i].sentence = i;
    m->events[0].sentence = 2;
    for (uint32_t i = 0; i < K * F; i++) m->numeric[i] = (float)i;
    for (uint32_t i = 0; i <= K; i++) m->off[i] = 2 * i;
    for (uint32_t i = 0; i < 4; i++) m->idx[i] = i, m->val[i] = 0.5f;
}

static void test_a_change_is_seen_where_it_is(void **state)
{
    (void)state;
    struct made m;
    uint32_t before[K], after[K];
    make(&m);
    slate_features(&m.s, before);
    assert_int_not_equal(before[0], before[1]);
#define CHANGES(what, first, second)                                                                                   \
    make(&m);                                                                                                          \
    what;                                                                                                              \
    slate_features(&m.s, after);                                                                                       \
    assert_int_equal(after[0] != before[0], first);                                                                    \
    assert_int_equal(after[1] != before[1], second)
    CHANGES(m.numeric[1] += 1e-6f, 1, 0);
    CHANGES(m.numeric[F] = -1.0f, 0, 1);
    CHANGES(m.items[0].cooccur[1] = 1.0f, 1, 0);
    CHANGES(m.idx[3]++, 0, 1);
    CHANGES(m.val[0] = 0.25f, 1, 0);
    CHANGES(m.sentences[1].hash++, 0, 1);
    CHANGES(m.sentences[2].hash++, 1, 1); /* the user's */
    CHANGES(m.events[0].age_minutes = 7.0f, 0, 0);
    CHANGES(m.items[0].label = 1.0f, 0, 0);
}

static void test_the_list_around_it_does_not_matter(void **state)
{
    (void)state;
    struct made m;
    uint32_t whole[K], alone[K];
    const uint8_t keep[K] = {0, 1};
    make(&m);
    slate_features(&m.s, whole);
    slate_keep(&m.s, keep);
    assert_int_equal(m.s.n_items, 1);
    slate_features(&m.s, alone);
    assert_int_equal(alone[0], whole[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_change_is_seen_where_it_is),
        cmocka_unit_test(test_the_list_around_it_does_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

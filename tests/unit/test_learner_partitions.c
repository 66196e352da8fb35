/* test_learner_partitions.c - what the learner keeps of Kafka's partitions: where each stands, and the chain over what was read.
 * labels: quick
 * timeout: 120 */
#include "base/hash.h"
#include "job/learner.h"
#include "tests/support/check.h"
#include "tests/support/learner_world.h"
#include <string.h>

static struct learner_world world;

static struct learner *begin(bool kafka)
{
    struct learner *l = NULL;
    struct err e;
    assert_ok(learner_new(&l, &world.in, (struct learner_options){.learn = true, .kafka = kafka}, &e), &e);
    return l;
}

static void give(struct learner *l, enum source_kind kind, uint32_t partition, uint64_t offset, uint64_t mark)
{
    struct err e;
    const struct source_record rec = {.kind = kind, .at = {0, partition, offset}, .mark = mark};
    assert_ok(learner_record(l, &rec, &e), &e);
}

static struct source_offset at(const struct learner *l, uint32_t partition)
{
    size_t n;
    const struct source_offset *o = learner_offsets(l, &n);
    for (size_t i = 0; i < n; i++)
        if (o[i].partition == partition) return o[i];
    fail_msg("partition %u is not known", partition);
    return *o;
}

static void test_where_partitions_begin_is_known_before_anything_is_read(void **state)
{
    struct err e;
    size_t n;
    struct learner *l = begin(true);
    (void)state;
    assert_ok(learner_expect(l, (struct event_position){0, 0, 100}, &e), &e); /* at the start: all there are */
    assert_ok(learner_expect(l, (struct event_position){0, 1, 200}, &e), &e);
    (void)learner_offsets(l, &n);
    assert_int_equal(n, 2);
    assert_true(at(l, 1).next == 200 && at(l, 1).records == 0 && at(l, 1).mark == 0);
    give(l, SOURCE_JOINED, 0, 100, 0);
    give(l, SOURCE_SKIP, 0, 100, 7);
    give(l, SOURCE_LEFT, 0, 101, 0);
    give(l, SOURCE_JOINED, 0, 101, 0); /* back where it was: nothing is forgotten */
    assert_true(at(l, 0).next == 101 && at(l, 0).records == 1 && at(l, 0).mark == 7);
    const uint64_t chain = at(l, 0).chain;
    give(l, SOURCE_JOINED, 0, 40, 0); /* moved: ingest.missing=earliest */
    assert_true(at(l, 0).next == 40 && at(l, 0).records == 1 && at(l, 0).mark == 0 && at(l, 0).chain == chain);
    give(l, SOURCE_JOINED, 5, 9, 0); /* one that is new */
    assert_int_equal(at(l, 5).next, 9);
    assert_int_equal(learner_counts(l)->events, 1); /* what comes and goes is no event */
    learner_free(l);
}

static void test_chains_tell_each_record_and_their_order(void **state)
{
    struct learner *a = begin(true), *b = begin(true), *c = begin(true);
    uint64_t chain = 0;
    (void)state;
    for (uint64_t i = 0; i < 50; i++) {
        const uint64_t link[] = {chain, i, 1000 + i};
        chain = hash_bytes(link, sizeof link);
        give(a, SOURCE_SKIP, 0, i, 1000 + i);
        give(b, SOURCE_SKIP, 0, i, 1000 + i);
        if (i % 3 == 0) give(b, SOURCE_SKIP, 1, i, 5); /* another partition between them makes no difference */
        if (i != 20) give(c, SOURCE_SKIP, 0, i, 1000 + i);
    }
    assert_int_equal(at(a, 0).chain, chain);
    assert_int_equal(at(b, 0).chain, chain);
    assert_int_equal(at(a, 0).records, 50);
    assert_int_not_equal(at(c, 0).chain, chain); /* one is missing */
    assert_int_equal(at(c, 0).next, at(a, 0).next);
    give(a, SOURCE_SKIP, 0, 50, 1);
    give(b, SOURCE_SKIP, 0, 50, 2); /* other bytes */
    assert_int_not_equal(at(a, 0).chain, at(b, 0).chain);
    learner_free(a);
    learner_free(b);
    learner_free(c);
}

static void test_log_files_have_one_chain(void **state)
{
    size_t n;
    struct learner *l = begin(false);
    (void)state;
    learner_world_rewind(&world);
    const uint64_t fed = learner_world_feed(&world, l, 300);
    (void)learner_offsets(l, &n);
    assert_int_equal(n, 0);
    assert_true(learner_file(l)->records == fed && learner_file(l)->next == fed && learner_file(l)->chain != 0);
    learner_free(l);
}

static int open_world(void **state)
{
    (void)state;
    learner_world_open(&world, 400);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    learner_world_close(&world);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_where_partitions_begin_is_known_before_anything_is_read),
        cmocka_unit_test(test_chains_tell_each_record_and_their_order),
        cmocka_unit_test(test_log_files_have_one_chain),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}

/* test_slot.c - the version in force: swapped under many readers, freed when nobody reads it and not before.
 *
 * labels: quick threads
 */
#include "serving/slot.h"
#include "tests/support/check.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { READERS = 6, SWAPS = 3000, FLOATS = 256 };

static struct param_table table;

static int make_table(void **state)
{
    (void)state;
    struct err e = {0};
    size_t index;
    const uint32_t shape[1] = {FLOATS};
    assert_ok(param_table_add(&table, "w", PARAM_ADAMW, 1, shape, 0, 0, &index, &e), &e);
    assert_ok(param_table_seal(&table, &e), &e);
    return 0;
}

static int drop_table(void **state)
{
    (void)state;
    param_table_fini(&table);
    return 0;
}

/* Every float is the version's number, so a reader sees at once whether it has one version or parts of two. */
static struct slot_version *version_of(uint64_t n)
{
    struct slot_version *v = NULL;
    struct err e = {0};
    assert_ok(slot_version_new(&v, &e), &e);
    assert_ok(param_set_new(&v->params, &table, &e), &e);
    v->manifest.version = n;
    for (size_t i = 0; i < v->params->n; i++) v->params->w[i] = (float)n;
    return v;
}

static void test_reader_keeps_its_version_across_swaps(void **state)
{
    (void)state;
    struct slot *s = NULL;
    struct err e = {0};
    const long live = mem_live();
    assert_ok(slot_new(&s, &e), &e);
    assert_null(slot_acquire(s));
    slot_release(s, NULL);
    slot_publish(s, version_of(1));
    struct slot_version *a = slot_acquire(s), *b = slot_acquire(s);
    assert_ptr_equal(a, b);
    slot_publish(s, version_of(2));
    slot_publish(s, version_of(3));
    assert_int_equal(a->manifest.version, 1);
    assert_int_equal(a->params->w[FLOATS - 1], 1);
    assert_int_equal(slot_reap(s), 1); /* 2 had no reader and is gone */
    slot_release(s, a);
    assert_int_equal(slot_reap(s), 1);
    slot_release(s, b);
    assert_int_equal(slot_reap(s), 0);
    struct slot_version *c = slot_acquire(s);
    assert_int_equal(c->manifest.version, 3);
    slot_release(s, c);
    slot_free(s);
    assert_int_equal(mem_live(), live);
}

static struct slot *shared;
static atomic_bool over;
static atomic_ulong reads, faults;

static void *reader(void *arg)
{
    uint64_t last = 0;
    (void)arg;
    while (!atomic_load(&over)) {
        struct slot_version *v = slot_acquire(shared);
        bool bad = v->manifest.version < last; /* versions only go forward here */
        for (size_t i = 0; i < FLOATS; i++) bad = bad || v->params->w[i] != (float)v->manifest.version;
        last = v->manifest.version;
        slot_release(shared, v);
        atomic_fetch_add(&reads, 1);
        if (bad) atomic_fetch_add(&faults, 1);
    }
    return NULL;
}

static void test_many_readers_see_whole_versions_under_swaps(void **state)
{
    (void)state;
    struct err e = {0};
    pthread_t threads[READERS];
    const long live = mem_live();
    assert_ok(slot_new(&shared, &e), &e);
    slot_publish(shared, version_of(1));
    for (int i = 0; i < READERS; i++) assert_int_equal(pthread_create(&threads[i], NULL, reader, NULL), 0);
    for (uint64_t n = 2; n <= SWAPS; n++) slot_publish(shared, version_of(n));
    while (atomic_load(&reads) < SWAPS) slot_reap(shared);
    atomic_store(&over, true);
    for (int i = 0; i < READERS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(atomic_load(&faults), 0);
    assert_int_equal(slot_reap(shared), 0);
    slot_free(shared);
    assert_int_equal(mem_live(), live);
}

static enum status make(void)
{
    struct slot *s = NULL;
    struct slot_version *v = NULL;
    struct err e = {0};
    enum status st = slot_new(&s, &e);
    if (st == STATUS_OK) st = slot_version_new(&v, &e);
    if (st != STATUS_OK) assert_null(v);
    slot_version_free(v);
    slot_free(s);
    return st;
}

static void test_survives_each_failing_allocation(void **state)
{
    (void)state;
    long n;
    FAIL_EACH_ALLOCATION(n, make());
    assert_int_equal(n, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reader_keeps_its_version_across_swaps),
        cmocka_unit_test(test_many_readers_see_whole_versions_under_swaps),
        cmocka_unit_test(test_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, make_table, drop_table);
}

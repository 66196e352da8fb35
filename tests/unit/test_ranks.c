/* test_ranks.c - processes that learn as one, as threads here: sums in the order of ranks to the same bits on all, records,
 * agreement; whoever is lost, late or of another mind ends it for all, by name and in time.
 * labels: quick threads
 */
#include "base/rand.h"
#include "tests/support/check.h"
#include "tests/support/files.h"
#include "tests/support/tmpdir.h"
#include "trainer/ranks.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MANY = 200001 }; /* floats: several chunks and a rest */

static struct tmpdir dir;
static char address[600];

struct one { /* a rank, and what became of it */
    int n, rank;
    const char *common;
    int64_t timeout_ms;
    void (*does)(struct one *o);
    pthread_t thread;
    struct ranks *ranks;
    enum status opened, st;
    struct err e;
    float *x; /* (MANY) */
};

static void *one_main(void *arg)
{
    struct one *o = arg;
    const struct str common = {o->common, strlen(o->common)};
    const struct ranks_setup s = {o->n, o->rank, address, o->timeout_ms, common};
    o->st = o->opened = ranks_open(&o->ranks, &s, &o->e);
    if (o->st == STATUS_OK) o->does(o);
    ranks_close(o->ranks, NULL);
    return NULL;
}

static void run_all(struct one *all, int n, void (*does)(struct one *o))
{
    for (int i = 0; i < n; i++) {
        all[i].n = all[i].n > 0 ? all[i].n : n;
        all[i].rank = all[i].rank >= 0 ? all[i].rank : i;
        if (all[i].common == NULL) all[i].common = "a=1\nb=2\n";
        if (all[i].timeout_ms == 0) all[i].timeout_ms = 20000;
        all[i].does = does;
        assert_int_equal(pthread_create(&all[i].thread, NULL, one_main, &all[i]), 0);
    }
    for (int i = 0; i < n; i++) assert_int_equal(pthread_join(all[i].thread, NULL), 0);
}

static void fresh(struct one *all, int n)
{
    memset(all, 0, (size_t)n * sizeof *all);
    for (int i = 0; i < n; i++) all[i].rank = -1;
}

static int start(void **state)
{
    (void)state;
    dir = tmpdir_make("ranks");
    (void)snprintf(address, sizeof address, "unix:%s/ranks", dir.path);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    tmpdir_remove(&dir);
    return 0;
}

/* --- sums ---------------------------------------------------------------------------------------------------------- */

static float number(int rank, size_t i)
{
    struct rand r;
    rand_init(&r, (struct rand_key){.seed = (uint64_t)rank, .offset = i / 8, .purpose = RAND_TEST});
    return (float)(rand_normal(&r) * (double)(1 + i % 1000));
}

/* In five pieces that are all begun before any is waited for, with some of another size between. */
static void sums(struct one *o)
{
    const size_t edges[] = {0, 1, 70000, 70001, 140000, MANY};
    float small[3] = {(float)o->rank, 1, 2};
    for (size_t p = 0; p + 1 < sizeof edges / sizeof *edges; p++)
        ranks_sum(o->ranks, o->x + edges[p], edges[p + 1] - edges[p]);
    ranks_sum(o->ranks, small, 3);
    ranks_sum(o->ranks, small, 0);
    o->st = ranks_finish(o->ranks, &o->e);
    if (o->st == STATUS_OK && small[1] != (float)o->n) o->st = STATUS_CORRUPT;
}

static void check_sums(int n)
{
    struct one all[3];
    fresh(all, n);
    for (int k = 0; k < n; k++) {
        all[k].x = mem_aligned(MANY, sizeof *all[k].x);
        for (size_t i = 0; i < MANY; i++) all[k].x[i] = number(k, i);
    }
    run_all(all, n, sums);
    for (int k = 0; k < n; k++) assert_ok(all[k].st, &all[k].e);
    for (size_t i = 0; i < MANY; i++) {
        float want = number(0, i);
        for (int k = 1; k < n; k++) want += number(k, i);
        for (int k = 0; k < n; k++) assert_memory_equal(&all[k].x[i], &want, sizeof want);
    }
    for (int k = 0; k < n; k++) mem_free(all[k].x);
}

static void test_a_sum_has_the_same_bits_on_all_ranks_in_their_order(void **state)
{
    (void)state;
    check_sums(2);
    check_sums(3);
}

static void test_it_works_over_tcp(void **state)
{
    char path[sizeof address];
    (void)state;
    memcpy(path, address, sizeof path);
    (void)snprintf(address, sizeof address, "127.0.0.1:17411");
    check_sums(2);
    memcpy(address, path, sizeof path);
}

/* --- records ------------------------------------------------------------------------------------------------------- */

static void records(struct one *o)
{
    char mine[40];
    o->st = STATUS_OK;
    for (int turn = 0; turn < 50 && o->st == STATUS_OK; turn++) {
        const int n = turn % (3 + o->rank) == 0 ? 0 : snprintf(mine, sizeof mine, "%d says %d", o->rank, turn);
        o->st = ranks_gather(o->ranks, mine, (size_t)n, &o->e);
        for (int k = 0; k < o->n && o->st == STATUS_OK; k++) {
            struct buf_reader r = ranks_part(o->ranks, k);
            const int want = turn % (3 + k) == 0 ? 0 : snprintf(mine, sizeof mine, "%d says %d", k, turn);
            if (buf_left(&r) != (size_t)want || (want > 0 && memcmp(r.p, mine, (size_t)want) != 0))
                o->st = STATUS_CORRUPT;
        }
    }
    if (o->st == STATUS_OK) o->st = ranks_agree(o->ranks, "number of turns", (struct str){"50", 2}, &o->e);
}

static void test_records_of_any_length_reach_everybody(void **state)
{
    struct one all[3];
    (void)state;
    fresh(all, 3);
    run_all(all, 3, records);
    for (int k = 0; k < 3; k++) assert_ok(all[k].st, &all[k].e);
}

static void disagree(struct one *o)
{
    o->st = ranks_agree(o->ranks, "hash of the weights",
                        o->rank == 2 ? (struct str){"n=1 w=ef", 8} : (struct str){"n=1 w=abc m=2", 13}, &o->e);
}

static void test_who_says_something_else_is_named_everywhere(void **state)
{
    struct one all[3];
    (void)state;
    fresh(all, 3);
    run_all(all, 3, disagree);
    for (int k = 0; k < 3; k++) {
        assert_int_equal(all[k].st, STATUS_CONFLICT);
        assert_non_null(
            strstr(all[k].e.text, "rank 2 has another hash of the weights than rank 0: w=ef against w=abc;"));
    }
}

/* --- what goes wrong ----------------------------------------------------------------------------------------------- */

static void expect_text(struct one *all, int n, enum status st, const char *text)
{
    for (int k = 0; k < n; k++) {
        if (all[k].st == STATUS_OK) continue;
        assert_int_equal(all[k].st, st);
        if (strstr(all[k].e.text, text) == NULL) fail_msg("rank %d says '%s', not '%s'", k, all[k].e.text, text);
    }
}

static void one_leaves(struct one *o)
{
    float x[4] = {0};
    if (o->rank == 2) return;
    ranks_sum(o->ranks, x, 4);
    o->st = ranks_finish(o->ranks, &o->e);
    if (o->st == STATUS_OK || ranks_gather(o->ranks, x, 4, &o->e) != o->st) o->st = STATUS_OK; /* it stays so */
}

static void test_a_rank_that_ends_is_named_on_all_others(void **state)
{
    struct one all[3];
    (void)state;
    fresh(all, 3);
    run_all(all, 3, one_leaves);
    assert_int_equal(all[0].st, STATUS_IO);
    assert_int_equal(all[1].st, STATUS_IO);
    expect_text(all, 3, STATUS_IO, "rank 2 is gone: its connection closed at operation 1");
}

static void one_says_why(struct one *o)
{
    float x[4] = {0};
    if (o->rank == 1) {
        ranks_close(o->ranks, "no disk is left");
        o->ranks = NULL;
        return;
    }
    ranks_sum(o->ranks, x, 4);
    o->st = ranks_finish(o->ranks, &o->e);
}

static void test_what_a_rank_says_when_it_ends_is_said_by_all(void **state)
{
    struct one all[3];
    (void)state;
    fresh(all, 3);
    run_all(all, 3, one_says_why);
    assert_int_equal(all[0].st, STATUS_IO);
    expect_text(all, 3, STATUS_IO, "rank 1 ended: no disk is left");
}

static pthread_barrier_t late;

static void one_hangs(struct one *o)
{
    float x[4] = {0};
    if (o->rank != 1) {
        ranks_sum(o->ranks, x, 4);
        o->st = ranks_finish(o->ranks, &o->e);
    }
    (void)pthread_barrier_wait(&late); /* rank 1 is there all the time, and sends nothing */
}

static void test_a_rank_that_hangs_is_named_in_time(void **state)
{
    struct one all[3];
    (void)state;
    fresh(all, 3);
    for (int k = 0; k < 3; k++) all[k].timeout_ms = 300;
    assert_int_equal(pthread_barrier_init(&late, NULL, 3), 0);
    run_all(all, 3, one_hangs);
    (void)pthread_barrier_destroy(&late);
    assert_int_equal(all[0].st, STATUS_IO);
    assert_int_equal(all[2].st, STATUS_IO);
    expect_text(all, 3, STATUS_IO, "rank 1 sent nothing to rank 0 for 300 ms at operation 1");
}

static void different_things(struct one *o)
{
    float x[4] = {0};
    if (o->rank == 1) {
        o->st = ranks_gather(o->ranks, x, 16, &o->e);
        return;
    }
    ranks_sum(o->ranks, x, 4);
    o->st = ranks_finish(o->ranks, &o->e);
}

static void test_other_operations_are_no_sum(void **state)
{
    struct one all[2];
    (void)state;
    fresh(all, 2);
    run_all(all, 2, different_things);
    assert_int_equal(all[0].st, STATUS_CONFLICT);
    assert_int_equal(all[1].st, STATUS_IO); /* as it was told */
    for (int k = 0; k < 2; k++)
        assert_non_null(
            strstr(all[k].e.text, "rank 1 is at operation 1 (a record of 16 bytes), rank 0 at 1 (a sum of 16)"));
}

static void breaks_off(struct one *o)
{
    ranks_sum(o->ranks, o->x, MANY); /* and is closed in the middle of it, on both sides */
}

static void test_closing_in_the_middle_of_a_sum_ends_it(void **state)
{
    struct one all[3];
    (void)state;
    fresh(all, 3);
    for (int k = 0; k < 3; k++) all[k].x = mem_aligned(MANY, sizeof *all[k].x);
    run_all(all, 3, breaks_off);
    for (int k = 0; k < 3; k++) mem_free(all[k].x);
}

/* --- meeting ------------------------------------------------------------------------------------------------------- */

static void nothing(struct one *o)
{
    (void)o;
}

static void test_another_configuration_is_refused_by_its_key(void **state)
{
    struct one all[2];
    (void)state;
    fresh(all, 2);
    all[0].common = "a=1\nb=2\nc=3\n";
    all[1].common = "a=1\nb=7\nc=3\n";
    run_all(all, 2, nothing);
    for (int k = 0; k < 2; k++) {
        assert_int_not_equal(all[k].st, STATUS_OK);
        assert_non_null(
            strstr(all[k].e.text, "rank 1 has b=7, rank 0 has b=2: start all ranks with the same configuration"));
    }
}

static void test_another_number_and_a_second_self_are_refused(void **state)
{
    struct one all[3];
    (void)state;
    fresh(all, 2);
    all[1].n = 3;
    run_all(all, 2, nothing);
    for (int k = 0; k < 2; k++) assert_non_null(strstr(all[k].e.text, "rank 1 has train.ranks=3, rank 0 has 2"));
    fresh(all, 3);
    all[2].rank = 1;
    run_all(all, 3, nothing);
    assert_int_equal(all[0].st, STATUS_CONFLICT);
    assert_non_null(strstr(all[0].e.text, "rank 1 is there twice"));
}

static void test_who_does_not_come_is_named(void **state)
{
    struct one all[2];
    (void)state;
    fresh(all, 1);
    all[0].n = 3;
    all[0].timeout_ms = 200;
    run_all(all, 1, nothing);
    assert_int_equal(all[0].st, STATUS_AGAIN);
    assert_non_null(strstr(all[0].e.text, "did not see rank 1 2: start each with train.ranks=3"));
    fresh(all, 1);
    all[0].n = 2;
    all[0].rank = 1;
    all[0].timeout_ms = 200;
    run_all(all, 1, nothing);
    assert_int_equal(all[0].st, STATUS_AGAIN);
    assert_non_null(strstr(all[0].e.text, "rank 1 found no rank 0 at unix:"));
}

static void refuse(int n, int rank, const char *at, enum status want, const char *text)
{
    struct ranks *r;
    struct err e = {0};
    const struct ranks_setup s = {n, rank, at, 200, {"", 0}};
    assert_int_equal(ranks_open(&r, &s, &e), want);
    assert_null(r);
    if (strstr(e.text, text) == NULL) fail_msg("'%s' is not said: %s", text, e.text);
}

static void test_settings_that_cannot_be_are_said(void **state)
{
    (void)state;
    refuse(1, 0, address, STATUS_INVALID, "train.ranks=1");
    refuse(2, 2, address, STATUS_INVALID, "train.rank=2: the 2 ranks are 0 to 1");
    refuse(2, 0, "nowhere", STATUS_INVALID, "'nowhere' is neither host:port nor the path of a socket");
    refuse(2, 1, "nowhere", STATUS_INVALID, "'nowhere'");
    refuse(2, 0, "/nowhere/at/all", STATUS_IO, "cannot listen on /nowhere/at/all");
}

/* Only a socket that somebody left is taken away. */
static void test_a_plain_file_in_the_place_of_a_socket_stays(void **state)
{
    (void)state;
    char path[600];
    files_put_text(&dir, "plain", "precious");
    (void)snprintf(path, sizeof path, "%s/plain", dir.path);
    refuse(2, 0, path, STATUS_CONFLICT, "or a file is there");
    assert_int_equal(access(path, F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_sum_has_the_same_bits_on_all_ranks_in_their_order),
        cmocka_unit_test(test_it_works_over_tcp),
        cmocka_unit_test(test_records_of_any_length_reach_everybody),
        cmocka_unit_test(test_who_says_something_else_is_named_everywhere),
        cmocka_unit_test(test_a_rank_that_ends_is_named_on_all_others),
        cmocka_unit_test(test_what_a_rank_says_when_it_ends_is_said_by_all),
        cmocka_unit_test(test_a_rank_that_hangs_is_named_in_time),
        cmocka_unit_test(test_other_operations_are_no_sum),
        cmocka_unit_test(test_closing_in_the_middle_of_a_sum_ends_it),
        cmocka_unit_test(test_another_configuration_is_refused_by_its_key),
        cmocka_unit_test(test_another_number_and_a_second_self_are_refused),
        cmocka_unit_test(test_who_does_not_come_is_named),
        cmocka_unit_test(test_settings_that_cannot_be_are_said),
        cmocka_unit_test(test_a_plain_file_in_the_place_of_a_socket_stays),
    };
    return cmocka_run_group_tests(tests, start, stop);
}

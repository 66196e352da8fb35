/* test_kern_kept.c - rows that the emulated device keeps: found again, brought where they are missing, given up for others, and
 * never changed under whoever is still to read them.  The device does all as late as it may (tests/cuda/emulate_order.c).
 */
#include "kernels/kern.h"
#include "tests/cuda/emulate.h"
#include "tests/support/check.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { C = 4096, PLACES = 128, MOST = PLACES / 2, KEYS = 1000 }; /* 1 MiB is kept */

static const struct emulated_counts *(*asked)(void);
static struct kern *k;
static char name[KERN_NAME_MAX];

static int find_plugin(void **state)
{
    (void)state;
    char path[600];
    const char *plugins = getenv("FRESHET_PLUGINS"), *folder = plugins != NULL ? plugins : "tests";
    (void)snprintf(path, sizeof path, "%s/fake_cublaslt.so", folder);
    (void)setenv("FRESHET_CUBLASLT", path, 1);
    (void)snprintf(path, sizeof path, "%s/freshet_cuda_emulated.so", folder);
    void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (plugin == NULL) return 0; /* not built with sanitizers */
    *(void **)&asked = dlsym(plugin, "emulated_asked");
    (void)snprintf(name, sizeof name, "plugin=%s", path);
    return asked != NULL ? 0 : -1;
}

static void open_with(const char *settings)
{
    char all[KERN_NAME_MAX + 100];
    struct err e = {0};
    (void)snprintf(all, sizeof all, "cuda:%s,%s", settings, name);
    assert_ok(kern_new(&k, all, &e), &e);
}

static int open_it(void **state)
{
    (void)state;
    if (asked != NULL) open_with("memory=64,kept=1");
    return 0;
}

static int close_it(void **state)
{
    (void)state;
    kern_free(k);
    k = NULL;
    return 0;
}

/* Row `key`: its number in every place, which bfloat16 holds exactly below 256, and its multiple of 256 in the first. */
static uint16_t bits_of(float x)
{
    uint32_t b;
    memcpy(&b, &x, sizeof b);
    return (uint16_t)(b >> 16);
}

static void make_row(uint16_t *row, uint64_t key)
{
    for (size_t i = 0; i < C; i++) row[i] = bits_of((float)(key % 256));
    row[0] = bits_of((float)(key / 256));
}

struct wanted {
    size_t n;
    uint64_t key[MOST + 1];
    float *out; /* backend memory */
};

/* Asks for rows, which are gone afterwards. */
static void find(const struct wanted *w, int32_t *place)
{
    static uint16_t host[MOST + 1][C];
    const uint16_t *row[MOST + 1];
    for (size_t i = 0; i < w->n; i++) {
        make_row(host[i], w->key[i]);
        row[i] = host[i];
    }
    assert_true(k->ops->kept->find(k, place, w->key, row, w->n, C));
    memset(host, 0xff, sizeof host);
}

/* And queues what reads them, into memory of its own. */
static void read_into(struct wanted *w, int32_t *there, const int32_t *place)
{
    k->ops->upload(k, there, place, w->n * sizeof *place);
    k->ops->kept->widen(k, w->out, there, w->n, C);
}

static void ask(struct wanted *w)
{
    int32_t place[MOST + 1];
    find(w, place);
    w->out = k->ops->alloc(k, w->n * C * sizeof *w->out);
    int32_t *there = k->ops->alloc(k, sizeof place);
    assert_true(w->out != NULL && there != NULL);
    read_into(w, there, place);
}

static void look(const struct wanted *w)
{
    static float got[(MOST + 1) * C];
    k->ops->download(k, got, w->out, w->n * C * sizeof *got);
    for (size_t i = 0; i < w->n; i++) {
        assert_true(got[i * C] == (float)(w->key[i] / 256));
        for (size_t c = 1; c < C; c++) assert_true(got[i * C + c] == (float)(w->key[i] % 256));
    }
}

static void check(struct wanted *w)
{
    look(w);
    k->ops->release(k, w->out);
}

static struct kern_kept_stats told(void)
{
    return k->ops->kept->stats(k);
}

static void test_rows_are_found_again(void **state)
{
    (void)state;
    if (k == NULL) skip();
    struct wanted a = {.n = 5, .key = {700, 3, 9, 3, 700}}, b = {.n = 3, .key = {9, 4, 3}};
    ask(&a);
    check(&a);
    assert_true(told().misses == 3 && told().hits == 0); /* a row that comes twice goes up once */
    const struct emulated_counts before = *asked();
    ask(&b);
    check(&b);
    assert_true(told().misses == 4 && told().hits == 2 && told().left == 0);
    assert_int_equal(asked()->up - before.up, 2); /* the missing row; places */
    ask(&b);
    check(&b);
    assert_true(told().misses == 4 && told().hits == 5);
}

/* Many times as many rows as there are places, asked for by chance, some often; nobody waits in between. */
static void test_rows_leave_for_others_and_readers_come_first(void **state)
{
    (void)state;
    enum { ASKS = 60, TOGETHER = 6 };
    if (k == NULL) skip();
    uint32_t r = 7;
    for (size_t n = 0; n < ASKS; n++) {
        struct wanted w[TOGETHER];
        for (size_t t = 0; t < TOGETHER; t++) {
            w[t].n = 1 + (r = r * 1664525u + 1013904223u) / 65536 % MOST;
            for (size_t i = 0; i < w[t].n; i++) {
                r = r * 1664525u + 1013904223u;
                w[t].key[i] = r / 65536 % (i % 2 == 0 ? 40 : KEYS);
            }
            ask(&w[t]);
        }
        for (size_t t = 0; t < TOGETHER; t++) check(&w[t]);
    }
    const struct kern_kept_stats s = told();
    assert_true(s.misses - s.left == PLACES);
    assert_true(10 * s.hits > 11 * s.misses); /* what is asked for often stays */
}

/* All of the table's rows three times, in a list that is held back since it came before: what reads the first third is not on the
 * stream yet when its places are given to the last one.  And a wait between finding and reading is no reading. */
static void test_readers_that_are_held_back_come_first(void **state)
{
    (void)state;
    enum { THIRDS = 3 };
    if (k == NULL) skip();
    struct wanted w[THIRDS];
    int32_t *there[THIRDS], place[MOST];
    for (size_t t = 0; t < THIRDS; t++) {
        w[t].out = k->ops->alloc(k, MOST * C * sizeof *w[t].out);
        there[t] = k->ops->alloc(k, sizeof place);
        w[t].n = MOST;
    }
    float seen;
    for (size_t turn = 0; turn < 5; turn++) {
        k->ops->download(k, &seen, w[0].out, sizeof seen); /* a list begins */
        for (size_t t = 0; t < THIRDS; t++) {
            for (size_t i = 0; i < MOST; i++) w[t].key[i] = (turn * THIRDS + t) * MOST + i;
            find(&w[t], place);
            if (turn == 4 && t == 0) k->ops->download(k, &seen, w[1].out, sizeof seen);
            read_into(&w[t], there[t], place);
        }
        for (size_t t = 0; t < THIRDS; t++) look(&w[t]);
    }
    for (size_t t = 0; t < THIRDS; t++) k->ops->release(k, w[t].out), k->ops->release(k, there[t]);
}

/* All were asked for twice, so the hand comes round a second time; what this very call found is passed over. */
static void test_what_is_found_does_not_leave_for_what_comes_with_it(void **state)
{
    (void)state;
    if (k == NULL) skip();
    struct wanted w = {.n = MOST};
    for (size_t t = 0; t < 4; t++) {
        for (size_t i = 0; i < MOST; i++) w.key[i] = t % 2 * MOST + i;
        ask(&w);
        check(&w);
    }
    for (size_t i = 0; i < MOST; i++) w.key[i] = i < MOST / 2 ? i : PLACES + i;
    ask(&w);
    check(&w);
}

/* After a wait what left was read, so that a row comes beside what is queued, and nothing of that is issued for its sake. */
static void test_a_row_comes_without_ending_the_list(void **state)
{
    (void)state;
    if (k == NULL) skip();
    struct wanted w = {.n = MOST}, one = {.n = 1, .key = {KEYS}};
    for (size_t t = 0; t < 3; t++) {
        for (size_t i = 0; i < MOST; i++) w.key[i] = t * MOST + i;
        ask(&w);
        check(&w);
    }
    float *x = k->ops->alloc(k, sizeof *x);
    static const float two = 2, four = 4;
    size_t plays[2];
    for (int turn = 0; turn < 3; turn++) { /* the same list each time, but for the row that is new */
        const size_t before = asked()->plays;
        k->ops->begin(k);
        k->ops->upload(k, x, &two, sizeof two);
        one.key[0]++;
        int32_t place;
        uint16_t host[C];
        make_row(host, one.key[0]);
        assert_true(k->ops->kept->find(k, &place, one.key, (const uint16_t *const[]){host}, 1, C));
        k->ops->upload(k, x, &four, sizeof four);
        k->ops->end(k);
        plays[turn > 0] = asked()->plays - before;
    }
    assert_int_equal(plays[1], 1);
    k->ops->release(k, x);
}

static void test_what_is_not_for_it(void **state)
{
    (void)state;
    if (k == NULL) skip();
    static uint16_t host[C];
    const uint16_t *row[MOST + 1];
    int32_t place[MOST + 1];
    uint64_t key[MOST + 1];
    for (size_t i = 0; i <= MOST; i++) row[i] = host, key[i] = i;
    assert_false(k->ops->kept->find(k, place, key, row, MOST + 1, C)); /* more than half */
    assert_true(k->ops->kept->find(k, place, key, row, MOST, C));
    assert_false(k->ops->kept->find(k, place, key, row, 2, C / 2)); /* rows of another model */
    kern_free(k);
    open_with("memory=64,kept=0");
    assert_false(k->ops->kept->find(k, place, key, row, 2, C));
    kern_free(k);
    static const char *const smaller = "memory=40,kept=1000"; /* a 32nd of it are 160 rows */
    open_with(smaller);
    assert_true(k->ops->kept->find(k, place, key, row, MOST + 1, C));
    kern_free(k);
    open_with("memory=34,kept=1"); /* no room beside what products need: said once, and rows go up each time */
    assert_false(k->ops->kept->find(k, place, key, row, 1, C));
    assert_true(told().misses == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rows_are_found_again, open_it, close_it),
        cmocka_unit_test_setup_teardown(test_rows_leave_for_others_and_readers_come_first, open_it, close_it),
        cmocka_unit_test_setup_teardown(test_readers_that_are_held_back_come_first, open_it, close_it),
        cmocka_unit_test_setup_teardown(test_what_is_found_does_not_leave_for_what_comes_with_it, open_it, close_it),
        cmocka_unit_test_setup_teardown(test_a_row_comes_without_ending_the_list, open_it, close_it),
        cmocka_unit_test_setup_teardown(test_what_is_not_for_it, open_it, close_it),
    };
    return cmocka_run_group_tests(tests, find_plugin, NULL);
}

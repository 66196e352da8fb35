/* test_kern_graph.c - launches of the emulated CUDA plug-in that come again: recorded the second time, played from then on, with
 * the same bits; rounded sizes share a recording; what can't be recorded goes one by one; many sizes, few recordings.
 */
#include "kernels/kern.h"
#include "tests/support/check.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { C = 16, H = 2, F = 32, N = 24, MOST = 90, PRODUCTS = 4 /* of a layer */ };

static char plugin[KERN_NAME_MAX];
static size_t (*replayed)(void);
static struct kern *k;
static struct kern_layer layer;
static float *block, *x, *room;
static float first[MOST * C], rows[MOST * C];
static const int32_t off[] = {0, 7, 8, 24};

static int find_plugin(void **state)
{
    (void)state;
    char path[600];
    const char *folder = getenv("FRESHET_PLUGINS");
    (void)snprintf(path, sizeof path, "%s/fake_cublaslt.so", folder != NULL ? folder : "tests");
    void *fake = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (fake == NULL) return 0; /* not built with sanitizers */
    (void)setenv("FRESHET_CUBLASLT", path, 1);
    (void)snprintf(plugin, sizeof plugin, "cuda:memory=100,plugin=%s/freshet_cuda_emulated.so",
                   folder != NULL ? folder : "tests");
    *(void **)&replayed = dlsym(fake, "fake_cublaslt_replayed");
    return replayed != NULL ? 0 : -1;
}

static float number(size_t i)
{
    return (float)(i * 2654435761u % 2001) / 1000.0f - 1.0f;
}

static float *take(const float *host, size_t n)
{
    float *p = k->ops->alloc(k, n * sizeof *p);
    assert_non_null(p);
    k->ops->upload(k, p, host, n * sizeof *p);
    return p;
}

/* The layer on `n` rows of sentences; how many of its products were played from a recording. */
static size_t run(const int32_t *begin, size_t sentences, float *out)
{
    const struct kern_stack s = {&layer, 1, C, H, F, 1e-12f, KERN_ACT_GELU};
    const struct kern_segments seg = {.n = sentences, .q_off = begin, .k_off = begin};
    const size_t before = replayed(), n = (size_t)begin[sentences];
    k->ops->upload(k, x, rows, MOST * C * sizeof *rows);
    assert_true(k->ops->stack(k, x, room, &s, &seg, n));
    k->ops->download(k, out, x, MOST * C * sizeof *out);
    assert_memory_equal(out + n * C, rows + n * C, (MOST - n) * C * sizeof *out); /* the rest is left alone */
    return replayed() - before;
}

/* One layer: weights (5C + F, C) and (C, F), then vectors. */
static int open_layer(void **state)
{
    (void)state;
    struct err e = {0};
    float host[(4 * C + 2 * F) * C + 9 * C + F];
    const size_t n = sizeof host / sizeof *host;
    if (replayed == NULL) return 0;
    assert_ok(kern_new(&k, plugin, &e), &e);
    for (size_t i = 0; i < n; i++) host[i] = number(i) / 2.0f;
    for (size_t i = 0; i < MOST * C; i++) rows[i] = number(3 * i + 1);
    float *w = block = take(host, n), *v = w + (4 * C + 2 * F) * C;
    layer = (struct kern_layer){.qkv = {.w = w, .out = 3 * C, .in = C, .prec = KERN_BF16},
                                .o = {.w = w + 3 * C * C, .out = C, .in = C, .prec = KERN_BF16},
                                .up = {.w = w + 4 * C * C, .out = F, .in = C, .prec = KERN_BF16},
                                .down = {.w = w + (4 * C + F) * C, .out = C, .in = F, .prec = KERN_BF16},
                                .qkv_b = v,
                                .o_b = v + 3 * C,
                                .up_b = v + 4 * C,
                                .down_b = v + 4 * C + F,
                                .ln1_gain = v + 5 * C + F,
                                .ln1_bias = v + 6 * C + F,
                                .ln2_gain = v + 7 * C + F,
                                .ln2_bias = v + 8 * C + F};
    struct kern_matrix *all[PRODUCTS] = {&layer.qkv, &layer.o, &layer.up, &layer.down};
    for (size_t i = 0; i < PRODUCTS; i++) assert_ok(k->ops->pack(k, all[i], &e), &e);
    x = take(rows, MOST * C);
    room = k->ops->alloc(k, (6 * C + F) * MOST * sizeof *room);
    assert_non_null(room);
    static float warm[MOST * C];
    (void)run((const int32_t[]){0, 20, 40, 60, 80}, 4,
              warm); /* what was put so far is no part of the lists that follow, and room has grown */
    return 0;
}

static int close_layer(void **state)
{
    (void)state;
    if (k == NULL) return 0;
    struct kern_matrix *all[PRODUCTS] = {&layer.qkv, &layer.o, &layer.up, &layer.down};
    for (size_t i = 0; i < PRODUCTS; i++) k->ops->unpack(k, all[i]);
    k->ops->release(k, block), k->ops->release(k, x), k->ops->release(k, room);
    kern_free(k);
    k = NULL;
    return 0;
}

static void test_the_second_time_is_recorded(void **state)
{
    (void)state;
    float again[MOST * C];
    if (k == NULL) skip();
    assert_int_equal(run(off, 3, first), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(run(off, 3, again), PRODUCTS);
        assert_memory_equal(again, first, sizeof first);
    }
    /* 23 rows are rounded up to 24, and the first two sentences are as before. */
    assert_int_equal(run((const int32_t[]){0, 7, 8, 23}, 3, again), PRODUCTS);
    assert_memory_equal(again, first, 8 * C * sizeof *first);
    assert_memory_not_equal(again + 8 * C, first + 8 * C, 15 * C * sizeof *first);
}

static void test_other_weights_are_not_played(void **state)
{
    (void)state;
    float again[MOST * C];
    if (k == NULL) skip();
    for (int i = 0; i < 2; i++) (void)run(off, 3, first);
    layer.ln2_bias = layer.ln2_gain;
    assert_int_equal(run(off, 3, again), 0);
    assert_memory_not_equal(again, first, N * C * sizeof *first);
}

static void test_more_sizes_than_recordings(void **state)
{
    (void)state;
    float again[MOST * C];
    if (k == NULL) skip();
    for (int i = 0; i < 2; i++) (void)run(off, 3, first);
    static const int32_t sizes[] = {2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64};
    for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++)
        for (size_t most = n; most < sizeof sizes / sizeof *sizes; most++) {
            int32_t begin[65] = {0}; /* one row each, and the last has the rest */
            for (int32_t i = 1; i < sizes[n]; i++) begin[i] = i;
            begin[sizes[n]] = sizes[most];
            for (int i = 0; i < 2; i++) (void)run(begin, (size_t)sizes[n], again);
        }
    assert_int_equal(run(off, 3, again), 0); /* forgotten by now */
    assert_memory_equal(again, first, sizeof first);
}

static void test_what_is_not_recorded_goes_one_by_one(void **state)
{
    (void)state;
    float again[MOST * C];
    if (k == NULL) skip();
    (void)run(off, 3, first);
    (void)setenv("FRESHET_EMULATED_FAULT", "capture", 1);
    const size_t played = run(off, 3, again);
    (void)unsetenv("FRESHET_EMULATED_FAULT");
    assert_int_equal(played, 0);
    assert_memory_equal(again, first, sizeof first);
    assert_int_equal(run(off, 3, again), 0);
    assert_memory_equal(again, first, sizeof first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_second_time_is_recorded, open_layer, close_layer),
        cmocka_unit_test_setup_teardown(test_other_weights_are_not_played, open_layer, close_layer),
        cmocka_unit_test_setup_teardown(test_more_sizes_than_recordings, open_layer, close_layer),
        cmocka_unit_test_setup_teardown(test_what_is_not_recorded_goes_one_by_one, open_layer, close_layer),
    };
    return cmocka_run_group_tests(tests, find_plugin, NULL);
}

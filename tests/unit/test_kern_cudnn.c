/* test_kern_cudnn.c - when the CUDA plug-in leaves attention to cuDNN and when it does not, on the emulated device and a cuDNN of
 * plain loops; what it gives is tested with all other backends (test_kern_attention.c).
 */
#include "kernels/kern.h"
#include "tests/support/check.h"
#include "tests/support/tmpdir.h"
#include <dirent.h>
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SLATES = 2, ITEMS = 30, USER = 80, H = 12, D = 40, C = H * D, ROWS = SLATES * ITEMS, USERS = SLATES * USER };

static char plugin[KERN_NAME_MAX], without[KERN_NAME_MAX];
static const size_t *runs, *compiled;
static int32_t rows[ROWS + 1], slates[SLATES + 1], users[SLATES + 1];
static float host[3 * ROWS * C + 2 * USERS * C], results[2][ROWS * C];

static int find_plugin(void **state)
{
    (void)state;
    char lt[600], dnn[600];
    const char *folder = getenv("FRESHET_PLUGINS");
    if (folder == NULL) folder = "tests";
    (void)snprintf(lt, sizeof lt, "%s/fake_cublaslt.so", folder);
    (void)snprintf(dnn, sizeof dnn, "%s/fake_cudnn.so", folder);
    void *fake = dlopen(dnn, RTLD_NOW | RTLD_LOCAL);
    if (fake == NULL) return 0; /* not built with sanitizers */
    (void)setenv("FRESHET_CUBLASLT", lt, 1);
    (void)setenv("FRESHET_CUDNN", dnn, 0); /* tests/gpu/plans.sh puts the real one beside it */
    (void)snprintf(plugin, sizeof plugin, "cuda:memory=100,plugin=%s/freshet_cuda_emulated.so", folder);
    (void)snprintf(without, sizeof without, "cuda:memory=100,cudnn=0,plugin=%s/freshet_cuda_emulated.so", folder);
    runs = dlsym(fake, "fake_cudnn_runs");
    compiled = dlsym(fake, "fake_cudnn_compiled");
    for (int32_t i = 0; i <= ROWS; i++) rows[i] = i;
    for (int32_t i = 0; i <= SLATES; i++) {
        slates[i] = i * ITEMS;
        users[i] = i * USER;
    }
    for (size_t i = 0; i < sizeof host / sizeof *host; i++) host[i] = (float)(i * 2654435761u % 2001) / 1000.0f - 1.0f;
    return runs != NULL && compiled != NULL ? 0 : -1;
}

static struct kern_segments large(enum kern_precision prec)
{
    return (struct kern_segments){ROWS, rows, rows, SLATES, slates, users, prec};
}

/* Attends with a backend opened for it; returns how many plans cuDNN ran, those that try it (2 there, 1 back) among them. */
static size_t attend(const char *name, const struct kern_segments *seg, size_t columns, float *out)
{
    struct kern *k;
    struct err e = {0};
    const size_t before = *runs;
    assert_ok(kern_new(&k, name, &e), &e);
    float *x = k->ops->alloc(k, sizeof host), *y = k->ops->alloc(k, ROWS * C * sizeof *y);
    assert_true(x != NULL && y != NULL);
    k->ops->upload(k, x, host, sizeof host);
    float *kv = x + ROWS * C, *shared = x + 3 * ROWS * C;
    k->ops->attention(k, y, NULL, x, C, kv, kv + C, 2 * C, shared, shared + C, 2 * C, seg, columns / D, D);
    k->ops->download(k, out, y, ROWS * columns * sizeof *out);
    k->ops->release(k, x);
    k->ops->release(k, y);
    kern_free(k);
    return *runs - before;
}

#define TRY_RUNS 3

static void test_large_calls_that_may_be_rounded(void **state)
{
    (void)state;
    if (runs == NULL) skip();
    struct kern_segments seg = large(KERN_BF16);
    assert_int_equal(attend(plugin, &seg, C, results[0]), TRY_RUNS + 1);
    assert_int_equal(attend(plugin, &seg, C, results[1]), TRY_RUNS + 1);
    assert_memory_equal(results[0], results[1], sizeof results[0]);
    assert_int_equal(attend(without, &seg, C, results[1]), 0);
    for (size_t i = 0; i < ROWS * C; i++) assert_true(fabsf(results[0][i] - results[1][i]) < 0.02f);
}

static void test_other_calls_are_our_own(void **state)
{
    (void)state;
    if (runs == NULL) skip();
    struct kern_segments seg = large(KERN_F32);
    assert_int_equal(attend(plugin, &seg, C, results[0]), 0); /* as exact as asked */
    seg = large(KERN_BF16);
    assert_int_equal(attend(plugin, &seg, D, results[0]), 0); /* one head: too little to do */
    const int32_t nobody[SLATES + 1] = {0, 0, USERS}, none[ROWS + 1] = {0}, wide[SLATES + 1] = {0, 1, USERS};
    seg.p_off = nobody;
    seg.k_off = none;
    assert_int_equal(attend(plugin, &seg, C, results[0]), 0); /* some see no key at all, whose mean is 0 */
    for (size_t i = 0; i < ITEMS * C; i++) assert_true(results[0][i] == 0.0f);
    seg.p_off = wide;
    assert_true(attend(plugin, &seg, C, results[0]) > 0); /* a key each is enough */
}

/* What differs from our own is not used, nor what no engine takes. */
static void test_a_library_that_errs(void **state)
{
    (void)state;
    if (runs == NULL) skip();
    const struct kern_segments seg = large(KERN_BF16);
    (void)attend(without, &seg, C, results[1]);
    static const struct {
        const char *mode;
        size_t runs;
    } bad[] = {{"wrong", TRY_RUNS}, {"declines", 0}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        (void)setenv("FAKE_CUDNN", bad[i].mode, 1);
        assert_int_equal(attend(plugin, &seg, C, results[0]), bad[i].runs);
        assert_memory_equal(results[0], results[1], sizeof results[0]);
    }
    (void)unsetenv("FAKE_CUDNN");
}

static void damage_all(const char *folder)
{
    struct dirent *d;
    size_t n = 0;
    DIR *all = opendir(folder);
    assert_non_null(all);
    while ((d = readdir(all)) != NULL) {
        char path[600];
        if (d->d_name[0] == '.') continue;
        (void)snprintf(path, sizeof path, "%s/%s", folder, d->d_name);
        assert_int_equal(truncate(path, 20), 0);
        n++;
    }
    assert_int_equal(n, 4);
    (void)closedir(all);
}

/* A second start takes the plans of the first; what is damaged is compiled and kept anew; a folder that cannot be is no fault. */
static void test_plans_are_kept(void **state)
{
    (void)state;
    if (runs == NULL) skip();
    const struct kern_segments seg = large(KERN_BF16);
    const struct tmpdir dir = tmpdir_make("plans");
    char name[KERN_NAME_MAX], kept[300];
    (void)snprintf(name, sizeof name, "cuda:memory=100,plans=%s,%s", tmpdir_file(&dir, "kept", kept),
                   strstr(plugin, "plugin="));
    const size_t before = *compiled, each = 4; /* there and back, of the try and of the call */
    (void)attend(name, &seg, C, results[0]);
    assert_int_equal(*compiled - before, each);
    (void)attend(name, &seg, C, results[1]);
    assert_int_equal(*compiled - before, each);
    assert_memory_equal(results[0], results[1], sizeof results[0]);
    damage_all(kept);
    (void)attend(name, &seg, C, results[1]);
    assert_int_equal(*compiled - before, 2 * each);
    (void)attend(name, &seg, C, results[1]);
    assert_int_equal(*compiled - before, 2 * each);
    (void)snprintf(name, sizeof name, "cuda:memory=100,plans=/dev/null/nowhere,%s", strstr(plugin, "plugin="));
    (void)attend(name, &seg, C, results[1]);
    assert_int_equal(*compiled - before, 3 * each);
    assert_memory_equal(results[0], results[1], sizeof results[0]);
    tmpdir_remove(&dir);
}

static void test_it_says_which_version(void **state)
{
    (void)state;
    struct kern *k;
    struct err e = {0};
    if (runs == NULL) skip();
    assert_ok(kern_new(&k, plugin, &e), &e);
    assert_non_null(strstr(kern_describe(k), "MiB, cuDNN 9."));
    kern_free(k);
    assert_ok(kern_new(&k, without, &e), &e);
    assert_null(strstr(kern_describe(k), "cuDNN"));
    kern_free(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large_calls_that_may_be_rounded),
        cmocka_unit_test(test_other_calls_are_our_own),
        cmocka_unit_test(test_a_library_that_errs),
        cmocka_unit_test(test_plans_are_kept),
        cmocka_unit_test(test_it_says_which_version),
    };
    return cmocka_run_group_tests(tests, find_plugin, NULL);
}

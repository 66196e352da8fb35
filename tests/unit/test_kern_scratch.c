/* test_kern_scratch.c - room for the operation under way, on the emulated CUDA plug-in: while the device has it, it is had. */
#include "kernels/kern.h"
#include "tests/support/check.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { T = 63, MOST = 550 };

static float *zeros(struct kern *k, size_t n)
{
    static const float none[MOST * (T + 2)];
    float *x = k->ops->alloc(k, n * sizeof *x);
    assert_non_null(x);
    k->ops->upload(k, x, none, n * sizeof *x);
    return x;
}

/* 16 bytes for each of K (T + 1).  Of 33 MiB products take 32 and tensors 0.3 MB, so that twice the first scratch is not to be had. */
static void test_scratch_grows_to_what_is_left(void **state)
{
    (void)state;
    const char *plugins = getenv("FRESHET_PLUGINS"), *folder = plugins != NULL ? plugins : "tests";
    char name[KERN_NAME_MAX], path[600];
    struct kern *k;
    struct err e = {0};
    float got[MOST];
    (void)snprintf(path, sizeof path, "%s/fake_cublaslt.so", folder);
    if (access(path, F_OK) != 0) skip(); /* not built with sanitizers */
    (void)setenv("FRESHET_CUBLASLT", path, 1);
    (void)snprintf(name, sizeof name, "cuda:memory=33,plugin=%s/freshet_cuda_emulated.so", folder);
    assert_ok(kern_new(&k, name, &e), &e);
    float *ds = zeros(k, MOST), *db = zeros(k, 1), *dtau = zeros(k, T), *dfeat = zeros(k, MOST * (T + 2));
    float *keep = zeros(k, MOST * (T + 1)), *s = zeros(k, MOST), *b = zeros(k, 1), *tau = zeros(k, T);
    struct kern_match m = {s, b, tau, (const uint8_t *)zeros(k, MOST), 500, 1, T};
    k->ops->match_backward(k, ds, db, dtau, dfeat, keep, &m);
    m.K = MOST;
    k->ops->match_backward(k, ds, db, dtau, dfeat, keep, &m);
    k->ops->download(k, got, ds, sizeof got);
    for (size_t i = 0; i < MOST; i++) assert_true(got[i] < 1);
    const void *all[] = {ds, db, dtau, dfeat, keep, s, b, tau, m.self};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) k->ops->release(k, (void *)(uintptr_t)all[i]);
    kern_free(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_scratch_grows_to_what_is_left)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

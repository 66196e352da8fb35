/* test_kern_cublaslt.c - which products of the emulated CUDA plug-in go to cuBLASLt: all forms of a layer of ordinary size, in f32
 * and bf16, with the epilogues that its activations allow; and none of the small ones.
 */
#include "kernels/kern.h"
#include "tests/support/check.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

enum { N = 24, O = 64, I = 128 };
enum { NOTHING = 0, BIAS = 2, RELU_BIAS = 3, GELU_BIAS = 6, GELU_AUX_BIAS = 7 }; /* tests/cuda/cublasLt.h */

static size_t (*made)(int trans_a, int trans_b, int bf16), (*with)(int epilogue);
static struct kern *k;

static int open_plugin(void **state)
{
    (void)state;
    char name[KERN_NAME_MAX], path[600];
    const char *folder = getenv("FRESHET_PLUGINS");
    struct err e = {0};
    (void)snprintf(path, sizeof path, "%s/fake_cublaslt.so", folder != NULL ? folder : "tests");
    void *fake = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (fake == NULL) return 0; /* not built with sanitizers */
    (void)setenv("FRESHET_CUBLASLT", path, 1);
    *(void **)&made = dlsym(fake, "fake_cublaslt_made");
    *(void **)&with = dlsym(fake, "fake_cublaslt_with");
    (void)snprintf(name, sizeof name, "cuda:memory=100,plugin=%s/freshet_cuda_emulated.so",
                   folder != NULL ? folder : "tests");
    assert_ok(kern_new(&k, name, &e), &e);
    return made != NULL && with != NULL ? 0 : -1;
}

static int close_plugin(void **state)
{
    (void)state;
    kern_free(k);
    return 0;
}

/* Forward, gradient of x, gradient of w: T N, N N and N T as cuBLASLt counts. */
static void test_a_layer_goes_there(void **state)
{
    (void)state;
    struct err e = {0};
    if (k == NULL) skip();
    for (int bf16 = 0; bf16 < 2; bf16++) {
        float *w = k->ops->alloc(k, O * I * sizeof(float)), *dw = k->ops->alloc(k, O * I * sizeof(float));
        float *x = k->ops->alloc(k, N * I * sizeof(float)), *y = k->ops->alloc(k, N * O * sizeof(float));
        struct kern_matrix m = {.w = w, .out = O, .in = I, .prec = bf16 ? KERN_BF16 : KERN_F32, .learnt = true};
        const size_t before[3] = {made(1, 0, bf16), made(0, 0, bf16), made(0, 1, bf16)};
        assert_ok(k->ops->pack(k, &m, &e), &e);
        k->ops->linear(k, y, NULL, x, &m, NULL, KERN_ACT_NONE, N);
        k->ops->linear_dx(k, x, y, &m, N);
        k->ops->linear_dw(k, dw, NULL, y, x, N, O, I, m.prec, true);
        assert_int_equal(made(1, 0, bf16) - before[0], 1);
        assert_int_equal(made(0, 0, bf16) - before[1], 1);
        assert_int_equal(made(0, 1, bf16) - before[2], 1);
        k->ops->unpack(k, &m);
        k->ops->release(k, w), k->ops->release(k, dw), k->ops->release(k, x), k->ops->release(k, y);
    }
}

/* GELU of the error function has no epilogue: bias alone, and a kernel behind it. */
static void test_epilogues_are_those_that_say_the_same(void **state)
{
    (void)state;
    static const struct {
        enum kern_act act;
        bool pre;
        int epilogue;
    } cases[] = {{KERN_ACT_NONE, false, BIAS},
                 {KERN_ACT_RELU, false, RELU_BIAS},
                 {KERN_ACT_RELU, true, BIAS},
                 {KERN_ACT_GELU_NEW, false, GELU_BIAS},
                 {KERN_ACT_GELU, false, BIAS},
                 {KERN_ACT_GELU, true, BIAS},
                 {KERN_ACT_GELU_NEW, true, GELU_AUX_BIAS}};
    if (k == NULL) skip();
    float *w = k->ops->alloc(k, O * I * sizeof(float)), *b = k->ops->alloc(k, O * sizeof(float));
    float *x = k->ops->alloc(k, N * I * sizeof(float)), *y = k->ops->alloc(k, N * O * sizeof(float)),
          *pre = k->ops->alloc(k, N * O * sizeof(float));
    const struct kern_matrix m = {.w = w, .out = O, .in = I};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t before = with(cases[i].epilogue);
        k->ops->linear(k, y, cases[i].pre ? pre : NULL, x, &m, b, cases[i].act, N);
        assert_int_equal(with(cases[i].epilogue) - before, 1);
    }
    k->ops->release(k, w), k->ops->release(k, b), k->ops->release(k, x), k->ops->release(k, y), k->ops->release(k, pre);
}

static void test_small_products_stay(void **state)
{
    (void)state;
    if (k == NULL) skip();
    const size_t before = with(NOTHING);
    float *a = k->ops->alloc(k, 64 * sizeof(float)), *b = k->ops->alloc(k, 64 * sizeof(float)),
          *c = k->ops->alloc(k, 64 * sizeof(float));
    k->ops->gemm_nt(k, c, 8, a, 8, b, 8, 8, 8, 8, 0.0f);
    assert_int_equal(with(NOTHING), before);
    k->ops->release(k, a), k->ops->release(k, b), k->ops->release(k, c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_layer_goes_there),
        cmocka_unit_test(test_epilogues_are_those_that_say_the_same),
        cmocka_unit_test(test_small_products_stay),
    };
    return cmocka_run_group_tests(tests, open_plugin, close_plugin);
}

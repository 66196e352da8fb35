/* test_encoder_probe.c - the frozen encoder in coarser precisions: near f32, refused by name below the limit, other names. */
#include "model/encoder.h"
#include "tests/support/check.h"
#include "tests/support/files.h"
#include <math.h>
#include <string.h>

static const char *golden(void)
{
    return files_source("tests/golden/encoder/gelu");
}

enum { N = 6, C = 32 };
struct opened {
    struct kern *k;
    struct encoder *m;
};

static void open_golden(struct opened *o, const char *backend)
{
    struct err e = {0};
    assert_ok(kern_new(&o->k, backend, &e), &e);
    assert_ok(encoder_open(&o->m, o->k, golden(), &e), &e);
}

static void close_golden(struct opened *o)
{
    encoder_free(o->m);
    kern_free(o->k);
}

static void vector(const struct opened *o, const char *backend, float out[C])
{
    static const int32_t ids[N] = {3, 9, 27, 1, 40, 5};
    float states[N * C];
    struct encoder_run *r;
    struct err e = {0};
    assert_ok(encoder_run_new(&r, o->m, backend, &e), &e);
    assert_ok(encoder_run_sentence(r, ids, NULL, N, 0, NULL, states, &e), &e);
    encoder_pool(o->m, states, N, out);
    encoder_run_free(r);
}

static double cosine(const float *a, const float *b)
{
    double ab = 0, aa = 0, bb = 0;
    for (int i = 0; i < C; i++) ab += (double)a[i] * b[i], aa += (double)a[i] * a[i], bb += (double)b[i] * b[i];
    return ab / sqrt(aa * bb);
}

static void check_near(const char *backend, const char *precision, double least)
{
    struct opened o;
    struct err e = {0};
    float whole[C], rounded[C];
    struct kern *there;
    if (kern_new(&there, backend, &e) == STATUS_UNSUPPORTED) return; /* not on this machine */
    kern_free(there);
    open_golden(&o, backend);
    vector(&o, backend, whole);
    const uint64_t name = encoder_fingerprint(o.m);
    assert_ok(encoder_round(o.m, "f32", 1.0, backend, &e), &e);
    assert_true(encoder_fingerprint(o.m) == name);
    assert_ok(encoder_round(o.m, precision, least, backend, &e), &e);
    assert_true(encoder_fingerprint(o.m) != name); /* other states have another name */
    assert_true(encoder_precision_cosine(o.m) >= least && encoder_precision_cosine(o.m) < 1.0);
    vector(&o, backend, rounded);
    assert_memory_not_equal(whole, rounded, sizeof whole);
    assert_true(cosine(whole, rounded) > least);
    close_golden(&o);
}

static void test_rounded_is_near(void **state)
{
    (void)state;
    static const char *const backends[] = {"ref", "cpu", "cpu-avx512", "cpu-avx2", "cpu-base"};
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++) {
        check_near(backends[i], "bf16", 0.9999);
        check_near(backends[i], "int8", 0.99);
    }
}

static void test_below_the_limit_is_refused_by_name(void **state)
{
    (void)state;
    struct opened o;
    struct err e = {0};
    open_golden(&o, "cpu");
    assert_int_equal(encoder_round(o.m, "int8", 0.999999, "cpu", &e), STATUS_UNSUPPORTED);
    assert_non_null(strstr(e.text, "kernels.precision=int8"));
    assert_non_null(strstr(e.text, "kernels.min_cosine"));
    close_golden(&o);
}

static void test_probe_is_what_it_says(void **state)
{
    (void)state;
    struct opened o;
    int32_t ids[ENCODER_PROBE_TOKENS];
    size_t at = 0, n, sentences = 0;
    open_golden(&o, "cpu");
    while ((n = encoder_probe(o.m, &at, ids)) > 0) {
        sentences++;
        for (size_t i = 0; i < n; i++) assert_true(ids[i] >= 0 && (size_t)ids[i] < encoder_shape(o.m)->V);
    }
    assert_int_equal(sentences, ENCODER_PROBES);
    close_golden(&o);
}

static enum status make(void)
{
    struct kern *k;
    struct encoder *m = NULL;
    enum status st = kern_new(&k, "cpu", NULL);
    if (st != STATUS_OK) return st;
    st = encoder_open(&m, k, golden(), NULL);
    if (st == STATUS_OK) st = encoder_round(m, "bf16", 0.9, "cpu", NULL);
    encoder_free(m);
    kern_free(k);
    return st;
}

static void test_each_failing_allocation_is_survived(void **state)
{
    (void)state;
    long met;
    FAIL_EACH_ALLOCATION(met, make());
    assert_true(met > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rounded_is_near),
        cmocka_unit_test(test_below_the_limit_is_refused_by_name),
        cmocka_unit_test(test_probe_is_what_it_says),
        cmocka_unit_test(test_each_failing_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

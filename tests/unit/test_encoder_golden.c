/* test_encoder_golden.c - the encoder against transformers (tests/golden/make_encoder.py), on both backends.
 *
 * Tolerance 2e-5 + 2e-5*|x|: float32 sums in another order, over up to six layers and 512 tokens.
 */
/* timeout: 120 */
#include "base/mem.h"
#include "model/encoder.h"
#include "model/safetensors.h"
#include "tests/support/check.h"
#include "tests/support/files.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TOLERANCE 2e-5

static double worst; /* |difference| / (1 + |expected|) seen so far, for the report */

static void assert_close(const float *got, const struct safetensors_tensor *want, const char *what)
{
    float *values = mem_calloc(want->n, sizeof *values);
    struct err e = {0};
    assert_ok(safetensors_read(want, values, &e), &e);
    for (size_t i = 0; i < want->n; i++) {
        const double off = fabs((double)got[i] - values[i]) / (1.0 + fabs((double)values[i]));
        if (!(off <= TOLERANCE)) fail_msg("%s %s[%zu]: %.9g, expected %.9g", what, want->name, i, got[i], values[i]);
        if (off > worst) worst = off;
    }
    mem_free(values);
}

static const struct safetensors_tensor *numbered(const struct safetensors *s, const char *name, size_t i)
{
    char full[40];
    (void)snprintf(full, sizeof full, "%s.%zu", name, i);
    return safetensors_find(s, full);
}

struct fixture {
    struct kern *kern;
    struct encoder *m;
    struct encoder_run *run;
    struct safetensors *expected;
};

static void set_up(struct fixture *f, const char *folder, const char *expected, const char *backend)
{
    struct err e = {0};
    assert_ok(kern_new(&f->kern, backend, &e), &e);
    assert_ok(encoder_open(&f->m, f->kern, folder, &e), &e);
    assert_ok(encoder_run_new(&f->run, f->m, backend, &e), &e);
    assert_ok(safetensors_open(&f->expected, expected, &e), &e);
}

static void tear_down(struct fixture *f)
{
    safetensors_close(f->expected);
    encoder_run_free(f->run);
    encoder_free(f->m);
    kern_free(f->kern);
}

static void mean_of(const float *x, size_t n, size_t C, float *out)
{
    for (size_t c = 0; c < C; c++) {
        double s = 0.0;
        for (size_t r = 0; r < n; r++) s += x[r * C + c];
        out[c] = (float)(s / (double)n);
    }
}

static size_t check_sentence(struct fixture *f, size_t i, const char *what)
{
    static float mid[512 * 64], final[512 * 64], mean[64], pooled[64];
    static uint8_t types[512];
    static int32_t ids[512], wide[512];
    const struct safetensors_tensor *t = numbered(f->expected, "ids", i);
    const struct encoder_shape *s = encoder_shape(f->m);
    struct err e = {0};
    if (t == NULL) return 0;
    memcpy(ids, t->data, t->bytes);
    memcpy(wide, numbered(f->expected, "types", i)->data, t->bytes);
    bool plain = true;
    for (size_t j = 0; j < t->n; j++) types[j] = (uint8_t)wide[j], plain = plain && wide[j] == 0;
    assert_ok(encoder_run_sentence(f->run, ids, plain ? NULL : types, t->n, 1, mid, final, &e), &e);
    mean_of(final, t->n, s->C, mean);
    assert_close(mean, numbered(f->expected, "mean", i), what);
    assert_close(final, numbered(f->expected, "cls", i), what);
    if (numbered(f->expected, "final", i) != NULL) {
        assert_close(mid, numbered(f->expected, "mid", i), what);
        assert_close(final, numbered(f->expected, "final", i), what);
    }
    encoder_pool(f->m, final, t->n, pooled);
    const float *plain_pool = s->pool_cls ? final : mean;
    double length = 0.0;
    for (size_t c = 0; c < s->C; c++) length += (double)plain_pool[c] * plain_pool[c];
    for (size_t c = 0; c < s->C; c++)
        assert_true(fabs(pooled[c] - plain_pool[c] / (s->unit ? sqrt(length) : 1.0)) < 1e-6);
    return t->n;
}

static void check_variant(const char *name, const char *backend)
{
    char folder[400], expected[500], what[100];
    struct fixture f;
    size_t longest = 0, n, i = 0;
    (void)snprintf(folder, sizeof folder, "%s/%s", files_source("tests/golden/encoder"), name);
    (void)snprintf(expected, sizeof expected, "%s/expected.safetensors", folder);
    (void)snprintf(what, sizeof what, "%s on %s", name, backend);
    set_up(&f, folder, expected, backend);
    while ((n = check_sentence(&f, i, what)) > 0) {
        longest = n;
        i++;
    }
    assert_int_equal(longest, encoder_shape(f.m)->P);
    tear_down(&f);
}

static void test_variants_equal_transformers(void **state)
{
    (void)state;
    static const char *const names[] = {"gelu", "gelu_new", "relu", "old"};
    static const char *const backends[] = {"ref", "cpu", "cpu-avx512", "cpu-avx2", "cpu-base"};
    for (size_t b = 0; b < sizeof backends / sizeof *backends; b++) {
        struct kern *k;
        if (kern_new(&k, backends[b], NULL) == STATUS_UNSUPPORTED) continue; /* this machine has it not */
        kern_free(k);
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) check_variant(names[i], backends[b]);
    }
    print_message("worst difference %.2g of %.2g\n", worst, TOLERANCE);
}

static void test_pooling_files_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool cls, unit;
        size_t max_tokens;
    } cases[] = {{"gelu", false, true, 128},
                 {"gelu_new", true, false, 64},
                 {"relu", false, false, 64},
                 {"old", false, false, 64}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char folder[400];
        struct encoder *m;
        struct err e = {0};
        (void)snprintf(folder, sizeof folder, "%s/%s", files_source("tests/golden/encoder"), cases[i].name);
        assert_ok(encoder_open(&m, NULL, folder, &e), &e);
        assert_int_equal(encoder_shape(m)->pool_cls, cases[i].cls);
        assert_int_equal(encoder_shape(m)->unit, cases[i].unit);
        assert_int_equal(encoder_shape(m)->max_tokens, cases[i].max_tokens);
        encoder_free(m);
    }
}

static void test_minilm_equals_transformers(void **state)
{
    (void)state;
    static float final[512 * 384], vector[384];
    static int32_t ids[512];
    const char *folder = files_source("models/all-MiniLM-L6-v2");
    const char *expected = files_source("tests/golden/encoder/minilm.safetensors");
    struct fixture f;
    struct err e = {0};
    if (access(folder, R_OK) != 0) {
        print_message("skipped: %s is absent; deploy/setup.sh fetches it\n", folder);
        skip();
    }
    set_up(&f, folder, expected, "cpu");
    size_t n_done = 0;
    for (const struct safetensors_tensor *t; (t = numbered(f.expected, "ids", n_done)) != NULL; n_done++) {
        memcpy(ids, t->data, t->bytes);
        assert_ok(encoder_run_sentence(f.run, ids, NULL, t->n, 3, NULL, final, &e), &e);
        encoder_pool(f.m, final, t->n, vector);
        assert_close(vector, numbered(f.expected, "vector", n_done), "minilm");
    }
    assert_true(n_done >= 10);
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_variants_equal_transformers),
        cmocka_unit_test(test_pooling_files_are_read),
        cmocka_unit_test(test_minilm_equals_transformers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

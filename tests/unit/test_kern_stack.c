/* test_kern_stack.c - frozen layers in bfloat16 as a whole: against the reference's operations one by one, each sentence alone
 * and in company, and refused where they are not in that form.  A backend without `stack` goes operation by operation.
 */
#include "kernels/kern_plugin.h"
#include "tests/support/check.h"
#include "tests/support/kernels.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LAYERS 2
#define SENTENCES 6

static const struct shape {
    const char *what;
    size_t C, H, F;
    enum kern_act act;
    bool whole; /* a plug-in takes it in one */
} shapes[] = {
    {"heads of 8", 16, 2, 32, KERN_ACT_GELU, true},      {"heads of 16", 48, 3, 96, KERN_ACT_RELU, true},
    {"heads of 32", 64, 2, 128, KERN_ACT_GELU, true},    {"heads of 64", 64, 1, 64, KERN_ACT_GELU_NEW, true},
    {"heads of 128", 256, 2, 64, KERN_ACT_GELU, true},   {"heads of 5", 10, 2, 32, KERN_ACT_GELU, false},
    {"odd rows of up", 16, 2, 36, KERN_ACT_GELU, false},
};
/* One token; a tile exactly, with one over and with a half; several tiles.  In all 98 rows. */
static const int32_t off[SENTENCES + 1] = {0, 1, 17, 34, 41, 65, 98};
#define ROWS 98

struct world {
    struct kern_layer layers[LAYERS];
    struct kern_stack s;
};

/* Weights of size 1/sqrt(inputs), so that nothing fades. */
static float *weights(size_t out, size_t in, uint64_t seed)
{
    float *w = kernels_random(out * in, seed);
    for (size_t i = 0; i < out * in; i++) w[i] /= sqrtf((float)in);
    return w;
}

static void make(struct world *w, const struct shape *p, enum kern_precision prec)
{
    *w = (struct world){.s = {w->layers, LAYERS, p->C, p->H, p->F, 1e-12f, p->act}};
    for (size_t l = 0; l < LAYERS; l++) {
        const uint64_t seed = 100 * l + 1;
        struct kern_layer *y = &w->layers[l];
        y->qkv = (struct kern_matrix){weights(3 * p->C, p->C, seed), 3 * p->C, p->C, NULL, prec, false};
        y->o = (struct kern_matrix){weights(p->C, p->C, seed + 1), p->C, p->C, NULL, prec, false};
        y->up = (struct kern_matrix){weights(p->F, p->C, seed + 2), p->F, p->C, NULL, prec, false};
        y->down = (struct kern_matrix){weights(p->C, p->F, seed + 3), p->C, p->F, NULL, prec, false};
        y->qkv_b = kernels_random(3 * p->C, seed + 4);
        y->o_b = kernels_random(p->C, seed + 5);
        y->up_b = kernels_random(p->F, seed + 6);
        y->down_b = kernels_random(p->C, seed + 7);
        y->ln1_gain = kernels_random(p->C, seed + 8);
        y->ln1_bias = kernels_random(p->C, seed + 9);
        y->ln2_gain = kernels_random(p->C, seed + 10);
        y->ln2_bias = kernels_random(p->C, seed + 11);
    }
}

static void each_matrix(struct kern *k, struct world *w, bool pack)
{
    for (size_t l = 0; l < LAYERS; l++) {
        struct kern_matrix *all[] = {&w->layers[l].qkv, &w->layers[l].o, &w->layers[l].up, &w->layers[l].down};
        for (size_t i = 0; i < 4; i++) {
            struct err e = {0};
            if (pack)
                assert_ok(k->ops->pack(k, all[i], &e), &e);
            else
                k->ops->unpack(k, all[i]);
        }
    }
}

static void one_by_one(struct kern *k, const struct world *w, float *x, const struct kern_segments *seg, size_t N)
{
    const struct kern_ops *op = k->ops;
    const size_t C = w->s.C, H = w->s.H;
    float *qkv = kernels_zeros(N * 3 * C), *a = kernels_zeros(N * C), *h = kernels_zeros(N * C),
          *up = kernels_zeros(N * w->s.F), *mean = kernels_zeros(N), *rstd = kernels_zeros(N);
    for (size_t l = 0; l < w->s.n; l++) {
        const struct kern_layer *y = &w->layers[l];
        op->linear(k, qkv, NULL, x, &y->qkv, y->qkv_b, KERN_ACT_NONE, N);
        op->attention(k, h, NULL, qkv, 3 * C, qkv + C, qkv + 2 * C, 3 * C, NULL, NULL, 0, seg, H, C / H);
        op->linear(k, a, NULL, h, &y->o, y->o_b, KERN_ACT_NONE, N);
        op->layernorm(k, h, mean, rstd, a, a, x, y->ln1_gain, y->ln1_bias, w->s.eps, N, C);
        op->linear(k, up, NULL, h, &y->up, y->up_b, w->s.act, N);
        op->linear(k, a, NULL, up, &y->down, y->down_b, KERN_ACT_NONE, N);
        op->layernorm(k, x, mean, rstd, a, a, h, y->ln2_gain, y->ln2_bias, w->s.eps, N, C);
    }
}

static bool in_one(struct kern *k, const struct world *w, float *x, const struct kern_segments *seg, size_t N)
{
    if (k->ops->stack == NULL) return false;
    return k->ops->stack(k, x, kernels_zeros((6 * w->s.C + w->s.F) * N), &w->s, seg, N);
}

static void alike(const char *what, const float *got, const float *want, size_t N, size_t C)
{
    for (size_t r = 0; r < N; r++) {
        double ab = 0.0, aa = 0.0, bb = 0.0;
        for (size_t c = 0; c < C; c++) {
            const double a = (double)got[r * C + c], b = (double)want[r * C + c];
            ab += a * b, aa += a * a, bb += b * b;
        }
        if (!(ab >= 0.9997 * sqrt(aa * bb)) || !(fabs(sqrt(aa / bb) - 1.0) < 0.01))
            fail_msg("%s: row %zu has cosine %.5f, length %.4f of %.4f", what, r, ab / sqrt(aa * bb), sqrt(aa),
                     sqrt(bb));
    }
}

/* What a sentence gets alone is what it got among the others, bit by bit. */
static void same_alone(struct kern *k, const struct world *w, const float *x, const float *got, const char *what)
{
    const size_t C = w->s.C;
    for (size_t i = 0; i < SENTENCES; i++) {
        const size_t from = (size_t)off[i], n = (size_t)off[i + 1] - from;
        const int32_t own[2] = {0, (int32_t)n};
        const struct kern_segments seg = {.n = 1, .q_off = own, .k_off = own};
        float *alone = kernels_copy(x + from * C, n * C);
        assert_true(in_one(k, w, alone, &seg, n));
        if (memcmp(alone, got + from * C, n * C * sizeof *alone) != 0) fail_msg("%s: sentence %zu", what, i);
    }
}

static void test_layers_are_those_of_the_operations(void **state)
{
    (void)state;
    const struct kern_segments seg = {.n = SENTENCES, .q_off = off, .k_off = off};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const struct shape *p = &shapes[i];
        struct world w;
        struct kern *k;
        make(&w, p, KERN_BF16);
        float *x = kernels_random(ROWS * p->C, 7), *want = kernels_copy(x, ROWS * p->C);
        one_by_one(kernels_ref(), &w, want, &seg, ROWS);
        for (size_t j = 0; (k = kernels_backend(j)) != NULL; j++) {
            float *got = kernels_copy(x, ROWS * p->C);
            each_matrix(k, &w, true);
            const bool whole = in_one(k, &w, got, &seg, ROWS);
            if (getenv(KERN_PLUGIN_ENV) != NULL) assert_int_equal(whole, p->whole);
            if (!whole) {
                assert_memory_equal(got, x, ROWS * p->C * sizeof *x);
                one_by_one(k, &w, got, &seg, ROWS);
            }
            alike(p->what, got, want, ROWS, p->C);
            if (whole) same_alone(k, &w, x, got, p->what);
            each_matrix(k, &w, false);
        }
        kernels_reset();
    }
}

static void test_f32_is_refused(void **state)
{
    (void)state;
    const struct kern_segments seg = {.n = SENTENCES, .q_off = off, .k_off = off};
    struct world w;
    struct kern *k;
    make(&w, &shapes[0], KERN_F32);
    for (size_t j = 0; (k = kernels_backend(j)) != NULL; j++) {
        float *x = kernels_random(ROWS * w.s.C, 7), *was = kernels_copy(x, ROWS * w.s.C);
        each_matrix(k, &w, true);
        assert_false(in_one(k, &w, x, &seg, ROWS));
        assert_memory_equal(x, was, ROWS * w.s.C * sizeof *x);
        each_matrix(k, &w, false);
    }
    kernels_reset();
}

static int close_all(void **state)
{
    (void)state;
    kernels_close_all();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layers_are_those_of_the_operations),
        cmocka_unit_test(test_f32_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, close_all);
}

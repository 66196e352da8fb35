/* test_kern_attention.c - attention on segments with a shared prefix: against ref, and gradients against differences.
 * timeout: 150 */
#include "base/pool.h"
#include "tests/support/check.h"
#include "tests/support/kernels.h"
#include <math.h>
#include <string.h>

/* Rows of q, k and v lie inside wider rows (as in one qkv buffer); offsets as in packed batches. */
struct att {
    struct kern_segments seg;
    int32_t q_off[70], k_off[70], s_off[5], p_off[5];
    size_t H, D, Nq, Nk, ldq, ldk, ldp, n_prob;
    float *q, *k, *v, *pk, *pv, *out, *prob, *dout;
};

struct att_shape {
    const char *what;
    size_t S, q, k, prefix, H, D; /* queries and own keys of a segment: q + s%2, k + s%3, but exactly when fixed */
    bool fixed;
    double abs;    /* float32 dots over D and sums over the keys, of numbers of size 1 */
    size_t groups; /* with a prefix, 1 more than this: uneven shares of segments and of its rows, some empty */
};
static const struct att_shape shapes[] = {
    {"nothing", 0, 1, 1, 0, 2, 4, true, 1e-5, 0},
    {"one token", 1, 1, 1, 0, 3, 5, true, 1e-5, 0},
    {"one sentence", 1, 12, 12, 0, 12, 32, true, 1e-5, 0},
    {"long sentence", 1, 130, 130, 0, 2, 32, true, 2e-5, 0},
    {"candidates on a prefix", 40, 1, 1, 21, 12, 32, true, 1e-5, 0},
    {"prefix alone", 5, 2, 0, 21, 2, 8, true, 1e-5, 0},
    {"mixed", 9, 1, 2, 7, 3, 17, false, 1e-5, 0},
    {"packed sentences", 17, 5, 5, 0, 4, 16, false, 1e-5, 0},
    {"tokens on a prefix", 4, 9, 9, 33, 2, 64, false, 1e-5, 0},
    {"more keys than the fast form takes", 2, 3, 600, 500, 1, 8, true, 2e-5, 0},
    {"lists of candidates, each with its user", 40, 1, 1, 60, 12, 32, true, 1e-5, 3},
    {"lists of token rows", 12, 4, 4, 31, 2, 24, false, 1e-5, 2},
    {"a list too long for the fast form among others", 9, 3, 250, 900, 1, 8, false, 2e-5, 1},
};
#define N_SHAPES (sizeof shapes / sizeof *shapes)

/* Large enough for a backend that may round operands to do so: 8 bits of each are left. */
static const struct att_shape rounded[] = {
    {"candidates of four slates", 64, 1, 1, 420, 8, 48, true, 2e-2, 3},
    {"token rows of slates", 60, 6, 6, 150, 4, 32, false, 2e-2, 2},
    {"users by themselves", 5, 70, 70, 0, 3, 32, false, 2e-2, 0},
};
#define N_ROUNDED (sizeof rounded / sizeof *rounded)

/* The i-th of n parts ends at a share that grows by squares; of four groups the first has a prefix of few rows or none. */
static void put_groups(struct att *a, size_t n, size_t segments, size_t prefix)
{
    for (size_t i = 0; i <= n; i++) {
        a->s_off[i] = (int32_t)(segments * i / n);
        a->p_off[i] = (int32_t)(prefix * i * i / (n * n));
    }
    if (n > 2) a->p_off[1] = 0;
    a->seg.groups = n;
    a->seg.s_off = a->s_off;
    a->seg.p_off = a->p_off;
}

static void make(struct att *a, const struct att_shape *s)
{
    *a = (struct att){.H = s->H, .D = s->D};
    for (size_t i = 0; i < s->S; i++) {
        a->q_off[i + 1] = a->q_off[i] + (int32_t)(s->q + (s->fixed ? 0 : i % 2));
        a->k_off[i + 1] = a->k_off[i] + (int32_t)(s->k + (s->fixed ? 0 : i % 3));
    }
    a->Nq = (size_t)a->q_off[s->S];
    a->Nk = (size_t)a->k_off[s->S];
    a->seg = (struct kern_segments){.n = s->S, .q_off = a->q_off, .k_off = a->k_off};
    if (s->prefix > 0) put_groups(a, s->groups + 1, s->S, s->prefix);
    a->ldq = s->H * s->D + 3;
    a->ldk = 2 * s->H * s->D + 1;
    a->ldp = s->H * s->D;
    a->n_prob = kern_attention_probs(&a->seg, s->H);
    a->q = kernels_random(a->Nq * a->ldq, 1);
    a->k = kernels_random(a->Nk * a->ldk, 2);
    a->v = kernels_random(a->Nk * a->ldk, 3);
    a->pk = s->prefix ? kernels_random(s->prefix * a->ldp, 4) : NULL;
    a->pv = s->prefix ? kernels_random(s->prefix * a->ldp, 5) : NULL;
    a->dout = kernels_random(a->Nq * s->H * s->D, 6);
    a->out = kernels_zeros(a->Nq * s->H * s->D);
    a->prob = kernels_zeros(a->n_prob);
}

static void forward(struct kern *k, struct att *a, float *out, float *prob)
{
    k->ops->attention(k, out, prob, a->q, a->ldq, a->k, a->v, a->ldk, a->pk, a->pv, a->ldp, &a->seg, a->H, a->D);
}

static void test_attention(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_SHAPES; i++) {
        struct att a;
        struct kern *k;
        make(&a, &shapes[i]);
        forward(kernels_ref(), &a, a.out, a.prob);
        for (size_t j = 0; (k = kernels_backend(j)) != NULL; j++) {
            float *out = kernels_zeros(a.Nq * a.H * a.D), *prob = kernels_zeros(a.n_prob);
            forward(k, &a, out, prob);
            kernels_close(shapes[i].what, out, a.out, a.Nq * a.H * a.D, shapes[i].abs, 1e-5);
            kernels_close(shapes[i].what, prob, a.prob, a.n_prob, 1e-6, 1e-5);
            float *again = kernels_zeros(a.Nq * a.H * a.D);
            forward(k, &a, again, NULL); /* probabilities are optional, and change nothing */
            assert_memory_equal(again, out, a.Nq * a.H * a.D * sizeof *out);
        }
        kernels_reset();
    }
}

static void test_probabilities_sum_to_one(void **state)
{
    (void)state;
    struct att a;
    make(&a, &shapes[4]);
    for (size_t i = 0; i < a.Nq * a.ldq; i++) a.q[i] *= 30.0f; /* scores far apart */
    struct kern *k = kernels_ref();
    for (size_t j = 0; k != NULL; k = kernels_backend(j++)) {
        forward(k, &a, a.out, a.prob);
        for (size_t i = 0; i < a.n_prob; i += 22) {
            double s = 0.0;
            for (size_t n = 0; n < 22; n++) s += a.prob[i + n];
            assert_true(fabs(s - 1.0) < 1e-5);
        }
    }
    kernels_reset();
}

struct att_grads {
    float *dq, *dk, *dv, *dpk, *dpv;
    size_t nq, nk, np;
};

static size_t prefix_rows(const struct att *a)
{
    return a->seg.groups > 0 ? (size_t)a->p_off[a->seg.groups] : 0;
}

/* All starting from the same values, not zero. */
static struct att_grads backward(struct kern *k, struct att *a, float start)
{
    struct att_grads g = {.nq = a->Nq * a->ldq, .nk = a->Nk * a->ldk, .np = prefix_rows(a) * a->ldp};
    float **all[] = {&g.dq, &g.dk, &g.dv, &g.dpk, &g.dpv};
    const size_t n[] = {g.nq, g.nk, g.nk, g.np, g.np};
    for (size_t i = 0; i < 5; i++) {
        *all[i] = kernels_zeros(n[i]);
        for (size_t x = 0; x < n[i]; x++) (*all[i])[x] = start;
    }
    k->ops->attention_backward(k, g.dq, a->ldq, g.dk, g.dv, a->ldk, g.dpk, g.dpv, a->ldp, a->dout, a->prob, a->q,
                               a->ldq, a->k, a->v, a->ldk, a->pk, a->pv, a->ldp, &a->seg, a->H, a->D);
    return g;
}

static void grads_close(const struct att_grads *got, const struct att_grads *want, double abs, double rel)
{
    kernels_close("dq", got->dq, want->dq, want->nq, abs, rel);
    kernels_close("dk", got->dk, want->dk, want->nk, abs, rel);
    kernels_close("dv", got->dv, want->dv, want->nk, abs, rel);
    kernels_close("dpk", got->dpk, want->dpk, want->np, abs, rel);
    kernels_close("dpv", got->dpv, want->dpv, want->np, abs, rel);
}

static void test_attention_gradients_agree(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_SHAPES; i++) {
        struct att a;
        struct kern *k;
        make(&a, &shapes[i]);
        forward(kernels_ref(), &a, a.out, a.prob);
        const struct att_grads want = backward(kernels_ref(), &a, 0.5f);
        for (size_t j = 0; (k = kernels_backend(j)) != NULL; j++) {
            const struct att_grads got = backward(k, &a, 0.5f);
            grads_close(&got, &want, 2 * shapes[i].abs, 1e-5); /* sums over D, then over queries */
        }
        kernels_reset();
    }
}

static double att_loss(void *user)
{
    struct att *a = user;
    forward(kernels_ref(), a, a->out, a->prob);
    return kernels_weigh(a->out, a->dout, a->Nq * a->H * a->D);
}

/* Heads of groups are shared among workers; each has the same bits. */
static void test_threads_do_not_change_bits(void **state)
{
    (void)state;
    struct pool *pool = kernels_pool();
    struct kern *k;
    for (size_t i = 0; i < N_SHAPES; i++)
        for (size_t j = 0; (k = kernels_backend(j)) != NULL; j++) {
            struct att a;
            make(&a, &shapes[i]);
            float *out = kernels_zeros(a.Nq * a.H * a.D), *prob = kernels_zeros(a.n_prob);
            forward(k, &a, a.out, a.prob);
            const struct att_grads alone = backward(k, &a, 0.5f);
            kern_use_pool(k, pool);
            forward(k, &a, out, prob);
            const struct att_grads shared = backward(k, &a, 0.5f);
            kern_use_pool(k, NULL);
            kernels_close("out", out, a.out, a.Nq * a.H * a.D, 0.0, 0.0);
            kernels_close("prob", prob, a.prob, a.n_prob, 0.0, 0.0);
            grads_close(&shared, &alone, 0.0, 0.0);
            kernels_reset();
        }
    pool_free(pool);
}

static void test_attention_gradients_are_slopes(void **state)
{
    (void)state;
    static const struct att_shape small[] = {{"mixed", 4, 1, 1, 3, 2, 3, false, 0, 0},
                                             {"plain", 2, 3, 3, 0, 2, 2, true, 0, 0},
                                             {"groups", 5, 1, 1, 7, 2, 3, false, 0, 2}};
    for (size_t i = 0; i < 3; i++) {
        struct att a;
        make(&a, &small[i]);
        (void)att_loss(&a);
        const struct att_grads g = backward(kernels_ref(), &a, 3.0f);
        kernels_slope("q", att_loss, &a, a.q, g.nq, g.dq, 3.0f, 3e-4);
        kernels_slope("k", att_loss, &a, a.k, g.nk, g.dk, 3.0f, 3e-4);
        kernels_slope("v", att_loss, &a, a.v, g.nk, g.dv, 3.0f, 3e-4);
        kernels_slope("pk", att_loss, &a, a.pk, g.np, g.dpk, 3.0f, 3e-4);
        kernels_slope("pv", att_loss, &a, a.pv, g.np, g.dpv, 3.0f, 3e-4);
        kernels_reset();
    }
}

/* A list's rows see their own group's prefix alone: as if each group were a call of its own. */
static void test_groups_are_calls_of_their_own(void **state)
{
    (void)state;
    const struct att_shape *lists = &shapes[N_SHAPES - 2];
    struct kern *k = kernels_ref();
    for (size_t j = 0; k != NULL; k = kernels_backend(j++)) {
        struct att a;
        make(&a, lists);
        forward(k, &a, a.out, a.prob);
        float *apart = kernels_zeros(a.Nq * a.H * a.D);
        for (size_t g = 0; g < a.seg.groups; g++) {
            const int32_t s = a.s_off[g], n = a.s_off[g + 1] - s, p = a.p_off[g + 1] - a.p_off[g];
            const int32_t s_off[] = {0, n}, p_off[] = {0, p};
            const struct kern_segments one = {(size_t)n, a.q_off + s, a.k_off + s, 1, s_off, p_off, KERN_F32};
            const size_t at = (size_t)a.p_off[g] * a.ldp;
            k->ops->attention(k, apart, NULL, a.q, a.ldq, a.k, a.v, a.ldk, a.pk + at, a.pv + at, a.ldp, &one, a.H, a.D);
        }
        assert_memory_equal(apart, a.out, a.Nq * a.H * a.D * sizeof *apart);
        kernels_reset();
    }
}

/* A candidate's result is its own: alone or among forty, the same bits. */
static void test_segments_do_not_touch_each_other(void **state)
{
    (void)state;
    struct att a;
    struct kern *k;
    make(&a, &shapes[4]);
    for (size_t j = 0; (k = kernels_backend(j)) != NULL; j++) {
        if (!k->ops->rows_alone) continue;
        float *alone = kernels_zeros(a.H * a.D);
        forward(k, &a, a.out, NULL);
        const int32_t off[2] = {0, 1};
        const struct kern_segments one = {1, off, off, 1, off, a.p_off, KERN_F32};
        k->ops->attention(k, alone, NULL, a.q + 17 * a.ldq, a.ldq, a.k + 17 * a.ldk, a.v + 17 * a.ldk, a.ldk, a.pk,
                          a.pv, a.ldp, &one, a.H, a.D);
        assert_memory_equal(alone, a.out + 17 * a.H * a.D, a.H * a.D * sizeof *alone);
    }
    kernels_reset();
}

static void test_rounded_operands(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ROUNDED; i++) {
        struct att a;
        struct kern *k;
        make(&a, &rounded[i]);
        forward(kernels_ref(), &a, a.out, a.prob);
        const struct att_grads want = backward(kernels_ref(), &a, 0.5f);
        a.seg.prec = KERN_BF16;
        for (size_t j = 0; (k = kernels_backend(j)) != NULL; j++) {
            float *out = kernels_zeros(a.Nq * a.H * a.D), *alone = kernels_zeros(a.Nq * a.H * a.D);
            forward(k, &a, out, a.prob);
            const struct att_grads got = backward(k, &a, 0.5f);
            kernels_close("out", out, a.out, a.Nq * a.H * a.D, rounded[i].abs, 2e-2);
            grads_close(&got, &want, rounded[i].abs, 2e-2);
            forward(k, &a, alone, NULL);
            assert_memory_equal(alone, out, a.Nq * a.H * a.D * sizeof *out);
        }
        kernels_reset();
    }
}

static int done(void **state)
{
    (void)state;
    kernels_close_all();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_probabilities_sum_to_one),
        cmocka_unit_test(test_attention_gradients_agree),
        cmocka_unit_test(test_threads_do_not_change_bits),
        cmocka_unit_test(test_attention_gradients_are_slopes),
        cmocka_unit_test(test_groups_are_calls_of_their_own),
        cmocka_unit_test(test_segments_do_not_touch_each_other),
        cmocka_unit_test(test_rounded_operands),
    };
    return cmocka_run_group_tests(tests, NULL, done);
}

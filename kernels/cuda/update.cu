/* update.cu - optimiser steps, sparse rows, and sums over a whole block.
 *
 * AdamW: 28 bytes a parameter, 30 where the packed form is made new as well; AdaGrad 20; sums 4.
 */
#include "kernels/cuda/act.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/reduce.h"
#include <stdlib.h>
#include <string.h>

struct adamw_numbers {
    float lr, beta1, beta2, eps, decay, grad_scale, correct1, correct2;
};
struct adamw {
    float *w, *m, *v;
    const float *g;
    uint16_t *packed; /* NULL: none */
    const struct adamw_numbers *numbers;
    size_t n;
};

KERNEL(k_adamw, struct adamw)
{
    if (THREAD >= a.n) return;
    const struct adamw_numbers o = *a.numbers;
    const float d = a.g[THREAD] * o.grad_scale, w = a.w[THREAD];
    const float m = o.beta1 * a.m[THREAD] + (1.0f - o.beta1) * d, v = o.beta2 * a.v[THREAD] + (1.0f - o.beta2) * d * d;
    const float now = w - o.lr * (m * o.correct1 / (sqrtf(v * o.correct2) + o.eps) + o.decay * w);
    a.m[THREAD] = m;
    a.v[THREAD] = v;
    a.w[THREAD] = now;
    if (a.packed != NULL) a.packed[THREAD] = bf16_round(now);
}

/* What changes from step to step lies in device memory, so that steps are alike (queue.h); said once for all tensors of a list that
 * share it. */
#define SAID 8
struct cuda_said {
    struct adamw_numbers *there; /* (SAID) device memory */
    uint64_t turn;               /* of the list that they were said in */
    size_t n;
    struct adamw_numbers here[SAID]; /* the last of n */
};

static const struct adamw_numbers *say(struct kern *k, const struct adamw_numbers *o)
{
    struct cuda *c = cuda_of(k);
    if (c->said == NULL) c->said = (struct cuda_said *)calloc(1, sizeof *c->said);
    if (c->said != NULL && c->said->there == NULL)
        c->said->there = (struct adamw_numbers *)cuda_memory_take(SAID * sizeof *c->said->there);
    if (c->said == NULL || c->said->there == NULL) {
        cuda_fail(c, "AdamW", "no memory for its numbers");
        return NULL;
    }
    struct cuda_said *s = c->said;
    if (s->turn != cuda_turn(c)) s->n = 0;
    s->turn = cuda_turn(c);
    for (size_t i = s->n > SAID ? s->n - SAID : 0; i < s->n; i++)
        if (memcmp(&s->here[i % SAID], o, sizeof *o) == 0) return &s->there[i % SAID];
    const size_t at = s->n++ % SAID;
    s->here[at] = *o;
    cuda_put_upload(c, &s->there[at], o, sizeof *o);
    return &s->there[at];
}

void cuda_said_close(struct cuda *c)
{
    if (c->said != NULL) cuda_memory_give(c->said->there);
    free(c->said);
    c->said = NULL;
}

static void adamw(struct kern *k, float *w, float *m, float *v, const float *g, uint16_t *packed, size_t n,
                  const struct kern_adamw *o)
{
    const double c1 = 1.0 - pow((double)o->beta1, (double)o->t), c2 = 1.0 - pow((double)o->beta2, (double)o->t);
    const struct adamw_numbers numbers = {o->lr, o->beta1, o->beta2, o->eps, o->weight_decay, o->grad_scale, (float)(1.0 / c1),
                                          (float)(1.0 / c2)};
    const struct adamw a = {w, m, v, g, packed, n > 0 ? say(k, &numbers) : NULL, n};
    if (a.numbers != NULL) LAUNCH(cuda_of(k), k_adamw, launch_blocks(n, BLOCK), BLOCK, &a);
}

void cuda_adamw(struct kern *k, float *w, float *m, float *v, const float *g, size_t n, const struct kern_adamw *o)
{
    adamw(k, w, m, v, g, NULL, n, o);
}

void cuda_adamw_matrix(struct kern *k, const struct kern_matrix *w, float *m, float *v, const float *g,
                       const struct kern_adamw *o)
{
    adamw(k, (float *)(uintptr_t)w->w, m, v, g, (uint16_t *)w->packed, w->out * w->in, o);
}

struct adagrad {
    float *w, *acc;
    const float *g, *to; /* to: of pull */
    const uint32_t *idx; /* NULL: dense */
    double lr;
    size_t n, C;
};

/* Duchi, Hazan and Singer 2011. */
KERNEL(k_adagrad, struct adagrad)
{
    if (THREAD >= a.n) return;
    const size_t i = a.idx != NULL ? a.idx[THREAD] : THREAD;
    const float g = a.g[THREAD], sum = a.acc[i] + g * g;
    a.acc[i] = sum;
    a.w[i] -= (float)a.lr * g / sqrtf(sum);
}

void cuda_adagrad(struct kern *k, float *w, float *acc, const float *g, float lr, size_t n)
{
    const struct adagrad a = {w, acc, g, NULL, NULL, (double)lr, n, 1};
    if (n > 0) LAUNCH(cuda_of(k), k_adagrad, launch_blocks(n, BLOCK), BLOCK, &a);
}

/* A warp a row. */
KERNEL_TOGETHER(k_adagrad_rows, struct adagrad)
{
    const size_t n = WARP_INDEX;
    if (n >= a.n) return;
    const size_t row = a.idx[n];
    double squares = 0.0;
    for (size_t c = LANE; c < a.C; c += WARP) squares += (double)a.g[n * a.C + c] * (double)a.g[n * a.C + c];
    const float sum = a.acc[row] + (float)warp_sum(squares), root = sqrtf(sum);
    for (size_t c = LANE; c < a.C; c += WARP) a.w[row * a.C + c] -= (float)a.lr * a.g[n * a.C + c] / root;
    WARP_WAIT(); /* all lanes have read it */
    if (LANE == 0) a.acc[row] = sum;
}

void cuda_sparse_adagrad(struct kern *k, float *w, float *acc, const uint32_t *idx, const float *g, float lr, size_t N,
                         size_t C)
{
    const struct adagrad a = {w, acc, g, NULL, idx, (double)lr, N, C};
    if (N == 0) return;
    if (C == 1)
        LAUNCH(cuda_of(k), k_adagrad, launch_blocks(N, BLOCK), BLOCK, &a);
    else
        LAUNCH(cuda_of(k), k_adagrad_rows, launch_blocks(N, WARPS), BLOCK, &a);
}

KERNEL(k_pull, struct adagrad)
{
    if (THREAD < a.n) a.w[THREAD] -= (float)a.lr * (a.w[THREAD] - a.to[THREAD]);
}

void cuda_pull(struct kern *k, float *w, const float *to, float share, size_t n)
{
    const struct adagrad a = {w, NULL, NULL, to, NULL, (double)share, n, 1};
    if (n > 0) LAUNCH(cuda_of(k), k_pull, launch_blocks(n, BLOCK), BLOCK, &a);
}

struct sparse {
    float *z;
    const float *w, *val;
    const uint32_t *off, *idx;
    size_t n;
};

/* A warp a row. */
KERNEL_TOGETHER(k_sparse_forward, struct sparse)
{
    const size_t i = WARP_INDEX;
    if (i >= a.n) return;
    double sum = 0.0;
    for (size_t j = a.off[i] + LANE; j < a.off[i + 1]; j += WARP) sum += (double)a.w[a.idx[j]] * (double)a.val[j];
    sum = warp_sum(sum);
    if (LANE == 0) a.z[i] = (float)((double)a.z[i] + sum);
}

void cuda_sparse_forward(struct kern *k, float *z, const float *w, const uint32_t *off, const uint32_t *idx,
                         const float *val, size_t n)
{
    const struct sparse a = {z, w, val, off, idx, n};
    if (n > 0) LAUNCH(cuda_of(k), k_sparse_forward, launch_blocks(n, WARPS), BLOCK, &a);
}

#define SUM_BLOCKS ((size_t)256) /* at most */

struct whole {
    double *parts; /* (blocks) */
    float *out;
    const float *x;
    size_t n, blocks;
};

KERNEL_TOGETHER(k_square_parts, struct whole)
{
    SHARED double room[WARP];
    double sum = 0.0;
    for (size_t i = THREAD; i < a.n; i += a.blocks * BLOCK) sum += (double)a.x[i] * (double)a.x[i];
    sum = block_sum(sum, room);
    if (threadIdx.x == 0) a.parts[blockIdx.x] = sum;
}

/* How many are not finite. */
KERNEL_TOGETHER(k_finite_parts, struct whole)
{
    SHARED double room[WARP];
    double bad = 0.0;
    for (size_t i = THREAD; i < a.n; i += a.blocks * BLOCK)
        if (!(fabsf(a.x[i]) < INFINITY)) bad += 1.0;
    bad = block_sum(bad, room);
    if (threadIdx.x == 0) a.parts[blockIdx.x] = bad;
}

KERNEL(k_add_parts, struct whole)
{
    double sum = (double)a.out[0];
    if (THREAD > 0) return;
    for (size_t i = 0; i < a.blocks; i++) sum += a.parts[i];
    a.out[0] = (float)sum;
}

KERNEL(k_all_good, struct whole)
{
    double bad = 0.0;
    if (THREAD > 0) return;
    for (size_t i = 0; i < a.blocks; i++) bad += a.parts[i];
    a.out[0] = bad > 0.0 ? 0.0f : 1.0f;
}

static bool whole_of(struct cuda *c, struct whole *a, float *out, const float *x, size_t n)
{
    const size_t blocks = launch_blocks(n, BLOCK);
    const struct whole made = {(double *)cuda_scratch(c, SUM_BLOCKS * sizeof(double)), out, x, n,
                               blocks < SUM_BLOCKS ? blocks : SUM_BLOCKS};
    *a = made;
    return a->parts != NULL;
}

void cuda_sum_squares(struct kern *k, float *out, const float *x, size_t n)
{
    struct whole a;
    if (n == 0 || !whole_of(cuda_of(k), &a, out, x, n)) return;
    LAUNCH(cuda_of(k), k_square_parts, a.blocks, BLOCK, &a);
    LAUNCH(cuda_of(k), k_add_parts, 1, WARP, &a);
}

void cuda_all_finite(struct kern *k, float *out, const float *x, size_t n)
{
    struct whole a;
    if (!whole_of(cuda_of(k), &a, out, x, n)) return;
    if (a.blocks > 0) LAUNCH(cuda_of(k), k_finite_parts, a.blocks, BLOCK, &a);
    LAUNCH(cuda_of(k), k_all_good, 1, WARP, &a);
}

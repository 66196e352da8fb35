/* stack.cu - frozen layers in bfloat16 from end to end: products that write bfloat16, and two kernels between them.
 *
 * Of one layer of width C a token moves about 50*C bytes instead of the 120*C of the operations one by one: biases and
 * GELU (its tanh form) are in the products' epilogues, or in the LayerNorm that follows.  A product goes to cuBLASLt or the
 * whole stack is refused; what a row gets does not depend on the others (`steady`).
 *
 * Few rows take as long as the host takes to launch them.  So their count is rounded up, how many there really are stands in
 * device memory, and the launches of a size are the same list again (queue.h).
 */
#include "kernels/cuda/act.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/narrow.h"
#include <string.h>

#define LAYERS_MAX 32
#define ROUNDED_ROWS 2048 /* more keep the device busy for longer than the host needs to launch them */

/* Where things stand in the caller's room and in scratch. */
struct stack_room {
    uint16_t *x, *qkv, *ctx, *sum, *h, *up; /* (N, C), but (N, 3C) and (N, F) */
    uint16_t *bias;                         /* layer by layer: of qkv (3C), of up (F) */
    int32_t *off, *tile;                    /* (n+1) each */
};
struct stack_call {
    const struct kern_stack *s;
    struct stack_room r;
    float *x;
    size_t n, N, tiles; /* sentences, rows, tiles: as many, or rounded up; off[n] says how many rows */
};

struct biases {
    uint16_t *to;
    const float *from[2 * LAYERS_MAX];
    size_t n, first, second; /* numbers of a layer's two */
};

KERNEL(k_biases, struct biases)
{
    const size_t each = a.first + a.second, l = THREAD / each, i = THREAD % each;
    if (l >= a.n) return;
    a.to[THREAD] = bf16_round(i < a.first ? a.from[2 * l][i] : a.from[2 * l + 1][i - a.first]);
}

static void round_biases(struct cuda *c, uint16_t *to, const struct kern_stack *s)
{
    struct biases a;
    memset(&a, 0, sizeof a);
    a.to = to, a.n = s->n, a.first = 3 * s->C, a.second = s->F;
    for (size_t l = 0; l < s->n; l++) {
        a.from[2 * l] = s->layers[l].qkv_b;
        a.from[2 * l + 1] = s->layers[l].up_b;
    }
    LAUNCH(c, k_biases, launch_blocks(a.n * (a.first + a.second), BLOCK), BLOCK, &a);
}

static enum kern_act epilogue_act(enum kern_act act)
{
    return act == KERN_ACT_GELU ? KERN_ACT_GELU_NEW : act;
}

/* y = act(x w^T + b), all in bfloat16. */
static struct cuda_product product(uint16_t *y, const uint16_t *x, const struct kern_matrix *w, const uint16_t *b,
                                   enum kern_act act, size_t N)
{
    const struct cuda_product p = {CUDA_NT, y, x, w->packed, w->out, w->in, w->in, N, w->out, w->in, 0.0f, true, b, act, NULL, true,
                                   true};
    return p;
}

/* Whether all layers can be done: the same four products again and again. */
static bool fits(struct cuda *c, const struct kern_stack *s, const struct stack_room *r, size_t N)
{
    const struct kern_layer *w = &s->layers[0];
    if (s->n > LAYERS_MAX || s->C % 8 != 0 || s->F % 8 != 0 || s->C > NARROW_C_MAX || !narrow_attends(s->C, s->H)) return false;
    for (size_t l = 0; l < s->n; l++) {
        const struct kern_matrix *all[] = {&s->layers[l].qkv, &s->layers[l].o, &s->layers[l].up, &s->layers[l].down};
        for (size_t i = 0; i < 4; i++)
            if (all[i]->prec != KERN_BF16 || all[i]->packed == NULL) return false;
    }
    const struct cuda_product all[] = {product(r->qkv, r->x, &w->qkv, r->bias, KERN_ACT_NONE, N),
                                       product(r->sum, r->ctx, &w->o, NULL, KERN_ACT_NONE, N),
                                       product(r->up, r->h, &w->up, r->bias, epilogue_act(s->act), N),
                                       product(r->sum, r->up, &w->down, NULL, KERN_ACT_NONE, N)};
    for (size_t i = 0; i < 4; i++)
        if (!cuda_lt_knows(c, &all[i])) return false;
    return true;
}

/* Offsets and tiles of the sentences; those that only fill up are empty. */
static bool put_sentences(struct kern *k, const struct stack_call *call, const struct kern_segments *seg)
{
    const size_t n = call->n;
    int32_t *off = (int32_t *)cuda_host_room(cuda_of(k), 2 * (n + 1) * sizeof *off);
    if (off == NULL) return false;
    int32_t *tile = off + n + 1;
    tile[0] = off[0] = 0;
    for (size_t s = 0; s < n; s++) {
        off[s + 1] = seg->q_off[s < seg->n ? s + 1 : seg->n];
        tile[s + 1] = tile[s] + (off[s + 1] - off[s] + NARROW_ROWS_OF_TILE - 1) / NARROW_ROWS_OF_TILE;
    }
    k->ops->upload(k, call->r.off, off, 2 * (n + 1) * sizeof *off);
    return true;
}

static bool place(struct cuda *c, struct stack_call *call, void *room)
{
    const struct kern_stack *s = call->s;
    struct stack_room *r = &call->r;
    const size_t N = call->N, biases = s->n * (3 * s->C + s->F) * sizeof(uint16_t);
    char *scratch = (char *)cuda_scratch(c, biases + 2 * (call->n + 1) * sizeof(int32_t));
    if (scratch == NULL) return false;
    r->x = (uint16_t *)room;
    r->qkv = r->x + N * s->C;
    r->ctx = r->qkv + N * 3 * s->C;
    r->sum = r->ctx + N * s->C;
    r->h = r->sum + N * s->C;
    r->up = r->h + N * s->C;
    r->bias = (uint16_t *)(void *)scratch;
    r->off = (int32_t *)(void *)(scratch + biases);
    r->tile = r->off + call->n + 1;
    return true;
}

struct narrowing {
    uint16_t *y;
    const float *x;
    const int32_t *rows;
    size_t C;
};

/* 6 bytes a number. */
KERNEL(k_narrow, struct narrowing)
{
    if (THREAD < (size_t)*a.rows * a.C) a.y[THREAD] = bf16_round(a.x[THREAD]);
}

/* x: where the last layer leaves floats; NULL: there are more layers. */
static bool layer(struct cuda *c, const struct stack_call *call, size_t l, float *x)
{
    const struct kern_stack *s = call->s;
    const struct stack_room *r = &call->r;
    const struct kern_layer *w = &s->layers[l];
    const size_t N = call->N, n = call->n;
    const uint16_t *bias = r->bias + l * (3 * s->C + s->F);
    const struct cuda_product qkv = product(r->qkv, r->x, &w->qkv, bias, KERN_ACT_NONE, N);
    const struct cuda_product o = product(r->sum, r->ctx, &w->o, NULL, KERN_ACT_NONE, N);
    const struct cuda_product up = product(r->up, r->h, &w->up, bias + 3 * s->C, epilogue_act(s->act), N);
    const struct cuda_product down = product(r->sum, r->up, &w->down, NULL, KERN_ACT_NONE, N);
    const struct narrow_attention attention = {
        r->ctx, r->qkv, r->off, r->tile, n, call->tiles, s->H, s->C, (double)(1.44269504f / sqrtf((float)(s->C / s->H)))};
    const struct narrow_norm one = {r->h, NULL, NULL, r->sum, r->x, w->o_b, w->ln1_gain, w->ln1_bias, (double)s->eps, N, s->C};
    const struct narrow_norm two = {r->x, x, r->off + n, r->sum, r->h, w->down_b, w->ln2_gain, w->ln2_bias, (double)s->eps, N, s->C};
    if (!cuda_lt_product(c, &qkv)) return false;
    narrow_attention(c, &attention);
    if (!cuda_lt_product(c, &o)) return false;
    narrow_norm(c, &one);
    if (!cuda_lt_product(c, &up) || !cuda_lt_product(c, &down)) return false;
    narrow_norm(c, &two);
    return true;
}

static bool all_layers(struct cuda *c, const struct stack_call *call)
{
    const struct kern_stack *s = call->s;
    const struct narrowing in = {call->r.x, call->x, call->r.off + call->n, s->C};
    round_biases(c, call->r.bias, s);
    LAUNCH(c, k_narrow, launch_blocks(call->N * s->C, BLOCK), BLOCK, &in);
    for (size_t l = 0; l < s->n; l++)
        if (!layer(c, call, l, l + 1 == s->n ? call->x : NULL)) return false; /* x is as it was */
    return true;
}

/* 2, 3, 4, 6, 8, 12, 16, 24, …: less than half as many again, which the room is wide enough for. */
static size_t round_up(size_t n)
{
    size_t size = 2;
    while (size < n) size = (size & (size - 1)) == 0 ? size + size / 2 : size / 3 * 4;
    return size;
}

bool cuda_stack(struct kern *k, float *x, void *room, const struct kern_stack *s, const struct kern_segments *seg, size_t N)
{
    struct cuda *c = cuda_of(k);
    struct stack_call call;
    const bool few = N > 1 && N <= ROUNDED_ROWS;
    if (N == 0 || s->n == 0) return true;
    if (seg->q_off[0] != 0) return false;
    memset(&call, 0, sizeof call);
    call.s = s, call.x = x;
    call.N = few ? round_up(N) : N;
    call.n = few ? round_up(seg->n) : seg->n;
    call.tiles = call.N / NARROW_ROWS_OF_TILE + call.n; /* at most */
    if (!place(c, &call, room) || !fits(c, s, &call.r, call.N) || !put_sentences(k, &call, seg)) return false;
    return all_layers(c, &call);
}

/* narrow_attention.cu - attention of sentences in bfloat16, on tensor cores: a warp 16 queries of a head.
 *
 * Sentences are short, so a warp reads the keys and values of its own from the cache straight into the shares that
 * TENSOR_MMA wants, 16 keys at a time, with a running maximum (Milakov and Gimelshein 2018); the probabilities of one product
 * are in the places that the next one wants (Dao et al. 2022), so nothing passes through shared memory and no warp waits for
 * another.  8 bytes a token and column, read and written once; what a row gets depends on its sentence alone.
 */
#include "kernels/cuda/act.h"
#include "kernels/cuda/narrow.h"
#include "kernels/cuda/reduce.h"
#include "kernels/cuda/segment.h"

typedef uint32_t MAY_ALIAS bf16_pair;

DEVICE uint32_t pair_at(const uint16_t *p)
{
    return *(const bf16_pair *)(const void *)p; /* even columns of rows of even width */
}

DEVICE uint32_t pair_of(float low, float high)
{
    return (uint32_t)bf16_round(low) | (uint32_t)bf16_round(high) << 16;
}

DEVICE float over_quad(float v, bool sum)
{
    for (unsigned mask = 1; mask < 4; mask *= 2) {
        const float other = LANE_XOR(v, mask);
        v = sum ? v + other : fmaxf(v, other);
    }
    return v;
}

DEVICE size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* What a warp keeps of its 16 queries; each thread has rows g and g + 8. */
struct narrow_rows {
    float top[2], total[2];
};

/* Scores of 16 keys (4 each of two tiles of 8) become probabilities under the new maximum; *shrink: what earlier ones lose. */
DEVICE void narrow_soften(struct narrow_rows *rows, float score[2][4], float shrink[2], size_t base, size_t n, float scale)
{
    const unsigned t = LANE % 4;
    float top[2];
    top[0] = rows->top[0], top[1] = rows->top[1];
    UNROLL
    for (unsigned i = 0; i < 8; i++) {
        const size_t key = base + i / 4 * 8 + 2 * t + i % 2;
        float *s = &score[i / 4][i % 4];
        *s = key < n ? *s * scale : -INFINITY;
        top[i % 4 / 2] = fmaxf(top[i % 4 / 2], *s);
    }
    UNROLL
    for (unsigned r = 0; r < 2; r++) {
        top[r] = over_quad(top[r], false);
        shrink[r] = exp2f(rows->top[r] - top[r]); /* the first time exp2(-inf) = 0 */
        rows->top[r] = top[r];
        rows->total[r] *= shrink[r];
    }
    UNROLL
    for (unsigned i = 0; i < 8; i++) {
        float *s = &score[i / 4][i % 4];
        *s = exp2f(*s - top[i % 4 / 2]);
        rows->total[i % 4 / 2] += *s;
    }
}

/* eighths: D/8, known when this is compiled, so that all arrays are registers. */
DEVICE void attend(const struct narrow_attention *a, const unsigned eighths)
{
    const size_t h = WARP_INDEX % a->H, tile = WARP_INDEX / a->H, ld = 3 * a->C, D = 8 * eighths;
    if (tile >= (size_t)a->tile[a->n]) return;
    const size_t s = segment_of(a->tile, a->n, tile), first = (size_t)a->off[s], n = (size_t)a->off[s + 1] - first;
    const unsigned g = LANE / 4, t = LANE % 4, steps = (eighths + 1) / 2;
    const size_t row = (tile - (size_t)a->tile[s]) * NARROW_ROWS_OF_TILE + g;
    const uint16_t *q = a->qkv + first * ld + h * D, *k = q + a->C, *v = k + a->C;
    const uint16_t *q0 = q + least(row, n - 1) * ld + 2 * t, *q1 = q + least(row + 8, n - 1) * ld + 2 * t;
    uint32_t query[NARROW_D_MAX / 16][4];
    float sum[NARROW_D_MAX / 8][4];
    struct narrow_rows rows = {{-INFINITY, -INFINITY}, {0.0f, 0.0f}};
    UNROLL
    for (unsigned i = 0; i < steps; i++) {
        const bool whole = 16 * i + 8 < D; /* the last step may be half of one */
        query[i][0] = pair_at(q0 + 16 * i);
        query[i][1] = pair_at(q1 + 16 * i);
        query[i][2] = whole ? pair_at(q0 + 16 * i + 8) : 0;
        query[i][3] = whole ? pair_at(q1 + 16 * i + 8) : 0;
    }
    UNROLL
    for (unsigned d = 0; d < eighths; d++) sum[d][0] = sum[d][1] = sum[d][2] = sum[d][3] = 0.0f;
    for (size_t base = 0; base < n; base += 16) {
        float score[2][4] = {{0.0f, 0.0f, 0.0f, 0.0f}, {0.0f, 0.0f, 0.0f, 0.0f}}, shrink[2];
        UNROLL
        for (unsigned j = 0; j < 2; j++) {
            const uint16_t *key = k + least(base + 8 * j + g, n - 1) * ld + 2 * t;
            UNROLL
            for (unsigned i = 0; i < steps; i++) {
                const uint32_t pair[2] = {pair_at(key + 16 * i), 16 * i + 8 < D ? pair_at(key + 16 * i + 8) : 0};
                TENSOR_MMA(score[j], query[i], pair);
            }
        }
        narrow_soften(&rows, score, shrink, base, n, (float)a->scale);
        const uint32_t prob[4] = {pair_of(score[0][0], score[0][1]), pair_of(score[0][2], score[0][3]),
                                  pair_of(score[1][0], score[1][1]), pair_of(score[1][2], score[1][3])};
        const uint16_t *v0 = v + least(base + 2 * t, n - 1) * ld + g, *v1 = v + least(base + 2 * t + 1, n - 1) * ld + g;
        const uint16_t *v8 = v + least(base + 2 * t + 8, n - 1) * ld + g, *v9 = v + least(base + 2 * t + 9, n - 1) * ld + g;
        UNROLL
        for (unsigned d = 0; d < eighths; d++) {
            const uint32_t pair[2] = {(uint32_t)v0[8 * d] | (uint32_t)v1[8 * d] << 16,
                                      (uint32_t)v8[8 * d] | (uint32_t)v9[8 * d] << 16};
            sum[d][0] *= shrink[0], sum[d][1] *= shrink[0], sum[d][2] *= shrink[1], sum[d][3] *= shrink[1];
            TENSOR_MMA(sum[d], prob, pair);
        }
    }
    uint16_t *out = a->out + (first + row) * a->C + h * D + 2 * t;
    UNROLL
    for (unsigned r = 0; r < 2; r++) {
        const float total = over_quad(rows.total[r], true);
        UNROLL
        for (unsigned d = 0; d < eighths; d++)
            if (row + 8 * r < n)
                *(bf16_pair *)(void *)(out + 8 * r * a->C + 8 * d) =
                    pair_of(sum[d][2 * r] / total, sum[d][2 * r + 1] / total);
    }
}

/* Columns of a head: 8 and 16 (tests), 32 (MiniLM), 64 (BERT), 128. */
#define ATTEND(eighths)                                                                                                \
    KERNEL_TOGETHER(k_attend_##eighths, struct narrow_attention)                                                       \
    {                                                                                                                  \
        attend(&a, eighths);                                                                                           \
    }
ATTEND(1)
ATTEND(2)
ATTEND(4)
ATTEND(8)
ATTEND(16)

bool narrow_attends(size_t C, size_t H)
{
    const size_t D = H > 0 ? C / H : 0;
    return D * H == C && (D == 8 || D == 16 || D == 32 || D == 64 || D == 128);
}

void narrow_attention(struct cuda *c, const struct narrow_attention *a)
{
    const size_t blocks = launch_blocks(a->tiles * a->H, WARPS);
    switch (a->C / a->H) {
    case 8: LAUNCH(c, k_attend_1, blocks, BLOCK, a); break;
    case 16: LAUNCH(c, k_attend_2, blocks, BLOCK, a); break;
    case 32: LAUNCH(c, k_attend_4, blocks, BLOCK, a); break;
    case 64: LAUNCH(c, k_attend_8, blocks, BLOCK, a); break;
    default: LAUNCH(c, k_attend_16, blocks, BLOCK, a); break;
    }
}

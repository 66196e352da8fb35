/* attention.cu - attention on packed segments with a shared one-way prefix, and its way back.
 *
 * A warp a query and head, lanes over 32 keys at a time for scores and over columns for the weighted sum; one pass with a
 * running maximum (Milakov and Gimelshein 2018), so each key and value is read once a query: 4*D FLOPs a query, head and key,
 * 8*D bytes of keys and values, which a segment's queries share through the cache.  Backward in two kernels without
 * atomics: a warp a query for dq, then a warp a key for dk and dv, which goes through the queries that see it in order.
 * cuDNN's attention takes 16-bit operands and has no shared one-way prefix; this one keeps the contract of f32.
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/reduce.h"
#include "kernels/cuda/segment.h"
#include <string.h>

#define COLUMNS_MAX 8 /* D up to 256: columns of a lane */

/* Offsets of one call in backend memory: (S+1) each; first: where a segment's probabilities begin. */
struct segments {
    const int32_t *q_off, *k_off;
    const int64_t *first;
    size_t n, prefix, queries, keys; /* queries, keys: up to the last offset; those from the first one on count */
    size_t query0, key0;
};

struct attend {
    float *out, *prob; /* prob NULL: not kept */
    const float *q, *k, *v, *pk, *pv;
    size_t ldq, ldk, ldp, H, D;
    float scale;
    struct segments seg;
};

/* Key or value j of a segment whose own rows begin at `own`. */
DEVICE const float *attended_row(const float *prefix, size_t ldp, const float *own_rows, size_t ldk, size_t n_prefix,
                                 size_t own, size_t j)
{
    return j < n_prefix ? prefix + j * ldp : own_rows + (own + j - n_prefix) * ldk;
}

DEVICE float dot_row(const float *x, const float *y, size_t n)
{
    float sum = 0.0f;
    for (size_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

KERNEL_TOGETHER(k_attention, struct attend)
{
    const size_t h = WARP_INDEX % a.H, i = a.seg.query0 + WARP_INDEX / a.H;
    if (i >= a.seg.queries) return;
    const size_t s = segment_of(a.seg.q_off, a.seg.n, i), own = (size_t)a.seg.k_off[s];
    const size_t n = a.seg.prefix + (size_t)(a.seg.k_off[s + 1] - a.seg.k_off[s]), column = h * a.D;
    const float *q = a.q + i * a.ldq + column;
    float *prob = a.prob;
    if (prob != NULL) prob += (size_t)a.seg.first[s] + ((i - (size_t)a.seg.q_off[s]) * a.H + h) * n;
    float top = -INFINITY, total = 0.0f, sum[COLUMNS_MAX] = {0};
    for (size_t base = 0; base < n; base += WARP) {
        const size_t j = base + LANE;
        float score = -INFINITY;
        if (j < n)
            score = a.scale *
                    dot_row(q, attended_row(a.pk, a.ldp, a.k, a.ldk, a.seg.prefix, own, j) + column, a.D);
        if (prob != NULL && j < n) prob[j] = score;
        const float now = fmaxf(top, warp_max(score)), shrink = expf(top - now); /* the first time exp(-inf) = 0 */
        const float p = j < n ? expf(score - now) : 0.0f;
        total = total * shrink + (float)warp_sum((double)p);
        top = now;
        for (size_t r = 0; r * WARP < a.D; r++) sum[r] *= shrink;
        for (unsigned t = 0; t < WARP && base + t < n; t++) {
            const float pt = LANE_OF(p, t);
            const float *v = attended_row(a.pv, a.ldp, a.v, a.ldk, a.seg.prefix, own, base + t) + column;
            for (size_t r = 0; r * WARP + LANE < a.D; r++) sum[r] += pt * v[r * WARP + LANE];
        }
    }
    for (size_t r = 0; r * WARP + LANE < a.D; r++)
        a.out[i * a.H * a.D + column + r * WARP + LANE] = n > 0 ? sum[r] / total : 0.0f;
    for (size_t j = LANE; prob != NULL && j < n; j += WARP) prob[j] = expf(prob[j] - top) / total;
}

/* Offsets into scratch, behind `before` bytes of it; false: none to be had. */
static bool put_segments(struct kern *k, struct segments *out, const struct kern_segments *seg, size_t H, char **rest,
                         size_t before)
{
    struct cuda *c = cuda_of(k);
    const size_t n = seg->n, words = 2 * (n + 1) * sizeof(int32_t), at = (words + 7) / 8 * 8;
    const size_t bytes = at + (n + 1) * sizeof(int64_t);
    char *room = (char *)cuda_scratch(c, before + bytes), *host = (char *)cuda_host_room(c, bytes);
    if (room == NULL || host == NULL) return false;
    int32_t *q = (int32_t *)(void *)host, *own = q + n + 1;
    int64_t *first = (int64_t *)(void *)(host + at);
    memcpy(q, seg->q_off, (n + 1) * sizeof *q);
    memcpy(own, seg->k_off, (n + 1) * sizeof *own);
    first[0] = 0;
    for (size_t s = 0; s < n; s++)
        first[s + 1] =
            first[s] + (int64_t)((size_t)(q[s + 1] - q[s]) * H * (seg->prefix + (size_t)(own[s + 1] - own[s])));
    k->ops->upload(k, room + before, host, bytes);
    const int32_t *there = (const int32_t *)(const void *)(room + before);
    const struct segments made = {there,
                                  there + n + 1,
                                  (const int64_t *)(const void *)(room + before + at),
                                  n,
                                  seg->prefix,
                                  (size_t)q[n],
                                  (size_t)own[n],
                                  (size_t)q[0],
                                  (size_t)own[0]};
    *out = made;
    *rest = room;
    return true;
}

void cuda_attention(struct kern *k, float *out, float *prob, const float *q, size_t ldq, const float *kk, const float *vv,
                    size_t ldk, const float *pk, const float *pv, size_t ldp, const struct kern_segments *seg, size_t H,
                    size_t D)
{
    struct segments there;
    char *rest;
    if (seg->n == 0 || seg->q_off[seg->n] == seg->q_off[0]) return;
    if (D > COLUMNS_MAX * WARP) {
        cuda_fail(cuda_of(k), "attention", "heads of more than 256 columns");
        return;
    }
    if (!put_segments(k, &there, seg, H, &rest, 0)) return;
    const struct attend a = {out, prob, q, kk, vv, pk, pv, ldq, ldk, ldp, H, D, 1.0f / sqrtf((float)D), there};
    LAUNCH(cuda_of(k), k_attention, launch_blocks((there.queries - there.query0) * H, WARPS), BLOCK, &a);
}

struct attend_back {
    float *dq, *dk, *dv, *dpk, *dpv;
    float *ds; /* as prob: the scores' gradients, times the scale */
    const float *dout, *prob, *q, *k, *v, *pk, *pv;
    size_t lddq, lddk, lddp, ldq, ldk, ldp, H, D;
    float scale;
    struct segments seg;
};

/* ds_j = p_j (dout.v_j - sum_i p_i dout.v_i) * scale;  dq += sum_j ds_j k_j */
KERNEL_TOGETHER(k_attention_dq, struct attend_back)
{
    const size_t h = WARP_INDEX % a.H, i = a.seg.query0 + WARP_INDEX / a.H;
    if (i >= a.seg.queries) return;
    const size_t s = segment_of(a.seg.q_off, a.seg.n, i), own = (size_t)a.seg.k_off[s];
    const size_t n = a.seg.prefix + (size_t)(a.seg.k_off[s + 1] - a.seg.k_off[s]), column = h * a.D;
    const size_t at = (size_t)a.seg.first[s] + ((i - (size_t)a.seg.q_off[s]) * a.H + h) * n;
    const float *prob = a.prob + at, *dout = a.dout + i * a.H * a.D + column;
    float *ds = a.ds + at, *dq = a.dq + i * a.lddq + column;
    double mean = 0.0;
    for (size_t j = LANE; j < n; j += WARP) {
        ds[j] = dot_row(dout, attended_row(a.pv, a.ldp, a.v, a.ldk, a.seg.prefix, own, j) + column, a.D);
        mean += (double)prob[j] * (double)ds[j];
    }
    mean = warp_sum(mean);
    for (size_t j = LANE; j < n; j += WARP) ds[j] = (float)((double)prob[j] * ((double)ds[j] - mean) * (double)a.scale);
    WARP_WAIT(); /* every lane reads what the others wrote */
    for (size_t d = LANE; d < a.D; d += WARP) {
        double sum = (double)dq[d];
        for (size_t j = 0; j < n; j++)
            sum += (double)ds[j] *
                   (double)attended_row(a.pk, a.ldp, a.k, a.ldk, a.seg.prefix, own, j)[column + d];
        dq[d] = (float)sum;
    }
}

/* dk_j += sum_i ds_ij q_i;  dv_j += sum_i p_ij dout_i, over the queries of segments from … to-1 whose key j of n it is. */
DEVICE void key_back(const struct attend_back *a, float *dk, float *dv, size_t h, size_t from, size_t to, size_t j)
{
    for (size_t d = LANE; d < a->D; d += WARP) {
        double key = (double)dk[d], value = (double)dv[d];
        for (size_t s = from; s < to; s++) {
            const size_t q0 = (size_t)a->seg.q_off[s], queries = (size_t)a->seg.q_off[s + 1] - q0;
            const size_t n = a->seg.prefix + (size_t)(a->seg.k_off[s + 1] - a->seg.k_off[s]);
            for (size_t i = 0; i < queries; i++) {
                const size_t at = (size_t)a->seg.first[s] + (i * a->H + h) * n + j;
                key += (double)a->ds[at] * (double)a->q[(q0 + i) * a->ldq + h * a->D + d];
                value += (double)a->prob[at] * (double)a->dout[(q0 + i) * a->H * a->D + h * a->D + d];
            }
        }
        dk[d] = (float)key;
        dv[d] = (float)value;
    }
}

/* First the prefix's keys, then the segments' own. */
KERNEL(k_attention_dk, struct attend_back)
{
    const size_t h = WARP_INDEX % a.H, row = WARP_INDEX / a.H, column = h * a.D;
    if (row < a.seg.prefix) {
        key_back(&a, a.dpk + row * a.lddp + column, a.dpv + row * a.lddp + column, h, 0, a.seg.n, row);
        return;
    }
    const size_t key = a.seg.key0 + row - a.seg.prefix;
    if (key >= a.seg.keys) return;
    const size_t s = segment_of(a.seg.k_off, a.seg.n, key);
    key_back(&a, a.dk + key * a.lddk + column, a.dv + key * a.lddk + column, h, s, s + 1,
             a.seg.prefix + key - (size_t)a.seg.k_off[s]);
}

void cuda_attention_backward(struct kern *k, float *dq, size_t lddq, float *dk, float *dv, size_t lddk, float *dpk,
                             float *dpv, size_t lddp, const float *dout, const float *prob, const float *q, size_t ldq,
                             const float *kk, const float *vv, size_t ldk, const float *pk, const float *pv, size_t ldp,
                             const struct kern_segments *seg, size_t H, size_t D)
{
    struct segments there;
    char *rest;
    size_t n = 0;
    if (seg->n == 0 || seg->q_off[seg->n] == seg->q_off[0]) return;
    for (size_t s = 0; s < seg->n; s++)
        n += (size_t)(seg->q_off[s + 1] - seg->q_off[s]) * H * (seg->prefix + (size_t)(seg->k_off[s + 1] - seg->k_off[s]));
    if (!put_segments(k, &there, seg, H, &rest, (n * sizeof(float) + 255) / 256 * 256)) return;
    const struct attend_back a = {dq,  dk,  dv,   dpk,  dpv,  (float *)(void *)rest, dout, prob, q, kk, vv, pk, pv, lddq,
                                  lddk, lddp, ldq, ldk, ldp, H, D, 1.0f / sqrtf((float)D), there};
    LAUNCH(cuda_of(k), k_attention_dq, launch_blocks((there.queries - there.query0) * H, WARPS), BLOCK, &a);
    LAUNCH(cuda_of(k), k_attention_dk, launch_blocks((seg->prefix + there.keys - there.key0) * H, WARPS), BLOCK, &a);
}

/* attention.cu - attention on packed segments with a shared one-way prefix, and its way back.
 *
 * A warp a query and head, lanes over 32 keys at a time for scores and over columns for the weighted sum; one pass with a
 * running maximum (Milakov and Gimelshein 2018), so each key and value is read once a query: 4*D FLOPs a query, head and key,
 * 8*D bytes of keys and values, which a segment's queries share through the cache.  Backward in two kernels without
 * atomics: a warp a query for dq, then a warp a key for dk and dv, which goes through the queries that see it in order.
 * Where bfloat16 is allowed and there is enough to do, cuDNN's takes its place (dnn_attention.cu); this one keeps the contract
 * of f32.
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/dnn.h"
#include "kernels/cuda/reduce.h"
#include "kernels/cuda/segment.h"
#include <string.h>

#define COLUMNS_MAX 8 /* D up to 256: columns of a lane */

/* Offsets of one call in backend memory: (S+1) each, (G+1) of groups; first: where a segment's probabilities begin. */
struct segments {
    const int32_t *q_off, *k_off, *s_off, *p_off;
    const int64_t *first;
    size_t n, groups, queries, keys, prefixes; /* the last three: up to the last offset; from the first one on they count */
    size_t query0, key0, prefix0;
};

/* The rows of pk and pv that segment s sees. */
struct prefix {
    size_t first, n;
};

DEVICE struct prefix prefix_of(const struct segments *seg, size_t s)
{
    struct prefix p = {0, 0};
    if (seg->groups == 0) return p;
    const size_t g = segment_of(seg->s_off, seg->groups, s);
    p.first = (size_t)seg->p_off[g];
    p.n = (size_t)(seg->p_off[g + 1] - seg->p_off[g]);
    return p;
}

struct attend {
    float *out, *prob; /* prob NULL: not kept */
    const float *q, *k, *v, *pk, *pv;
    size_t ldq, ldk, ldp, H, D;
    double scale;
    struct segments seg;
};

/* Key or value j of a segment whose own rows begin at `own`. */
DEVICE const float *attended_row(const float *prefix, size_t ldp, const float *own_rows, size_t ldk, struct prefix p,
                                 size_t own, size_t j)
{
    return j < p.n ? prefix + (p.first + j) * ldp : own_rows + (own + j - p.n) * ldk;
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
    const struct prefix prefix = prefix_of(&a.seg, s);
    const size_t n = prefix.n + (size_t)(a.seg.k_off[s + 1] - a.seg.k_off[s]), column = h * a.D;
    const float *q = a.q + i * a.ldq + column;
    float *prob = a.prob;
    if (prob != NULL) prob += (size_t)a.seg.first[s] + ((i - (size_t)a.seg.q_off[s]) * a.H + h) * n;
    float top = -INFINITY, total = 0.0f, sum[COLUMNS_MAX] = {0};
    for (size_t base = 0; base < n; base += WARP) {
        const size_t j = base + LANE;
        float score = -INFINITY;
        if (j < n)
            score = (float)a.scale *
                    dot_row(q, attended_row(a.pk, a.ldp, a.k, a.ldk, prefix, own, j) + column, a.D);
        if (prob != NULL && j < n) prob[j] = score;
        const float now = fmaxf(top, warp_max(score)), shrink = expf(top - now); /* the first time exp(-inf) = 0 */
        const float p = j < n ? expf(score - now) : 0.0f;
        total = total * shrink + (float)warp_sum((double)p);
        top = now;
        for (size_t r = 0; r * WARP < a.D; r++) sum[r] *= shrink;
        for (unsigned t = 0; t < WARP && base + t < n; t++) {
            const float pt = LANE_OF(p, t);
            const float *v = attended_row(a.pv, a.ldp, a.v, a.ldk, prefix, own, base + t) + column;
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
    const size_t n = seg->n, G = seg->groups, words = (2 * (n + 1) + 2 * (G + 1)) * sizeof(int32_t), at = (words + 7) / 8 * 8;
    const size_t bytes = at + (n + 1) * sizeof(int64_t);
    char *room = (char *)cuda_scratch(c, before + bytes), *host = (char *)cuda_host_room(c, bytes);
    if (room == NULL || host == NULL) return false;
    int32_t *q = (int32_t *)(void *)host, *own = q + n + 1, *groups = own + n + 1;
    int64_t *first = (int64_t *)(void *)(host + at);
    memcpy(q, seg->q_off, (n + 1) * sizeof *q);
    memcpy(own, seg->k_off, (n + 1) * sizeof *own);
    if (G > 0) memcpy(groups, seg->s_off, (G + 1) * sizeof *groups);
    if (G > 0) memcpy(groups + G + 1, seg->p_off, (G + 1) * sizeof *groups);
    first[0] = 0;
    for (size_t g = 0, s = 0; g < kern_groups(seg); g++) {
        const struct kern_group of = kern_group(seg, g);
        for (const size_t end = s + of.n; s < end; s++)
            first[s + 1] = first[s] + (int64_t)((size_t)(q[s + 1] - q[s]) * H * (of.prefix + (size_t)(own[s + 1] - own[s])));
    }
    k->ops->upload(k, room + before, host, bytes);
    const int32_t *there = (const int32_t *)(const void *)(room + before), *of_groups = there + 2 * (n + 1);
    struct segments made;
    made.q_off = there;
    made.k_off = there + n + 1;
    made.s_off = of_groups;
    made.p_off = of_groups + G + 1;
    made.first = (const int64_t *)(const void *)(room + before + at);
    made.n = n;
    made.groups = G;
    made.queries = (size_t)q[n];
    made.query0 = (size_t)q[0];
    made.keys = (size_t)own[n];
    made.key0 = (size_t)own[0];
    made.prefixes = G > 0 ? (size_t)seg->p_off[G] : 0;
    made.prefix0 = G > 0 ? (size_t)seg->p_off[0] : 0;
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
    const struct dnn_call call = {q, kk, vv, pk, pv, ldq, ldk, ldp, H, D, seg};
    if (seg->n == 0 || seg->q_off[seg->n] == seg->q_off[0] || dnn_attention(k, out, &call)) return;
    if (D > COLUMNS_MAX * WARP) {
        cuda_fail(cuda_of(k), "attention", "heads of more than 256 columns");
        return;
    }
    if (!put_segments(k, &there, seg, H, &rest, 0)) return;
    const struct attend a = {out, prob, q, kk, vv, pk, pv, ldq, ldk, ldp, H, D, (double)(1.0f / sqrtf((float)D)), there};
    LAUNCH(cuda_of(k), k_attention, launch_blocks((there.queries - there.query0) * H, WARPS), BLOCK, &a);
}

struct attend_back {
    float *dq, *dk, *dv, *dpk, *dpv;
    float *ds; /* as prob: the scores' gradients, times the scale */
    const float *dout, *prob, *q, *k, *v, *pk, *pv;
    size_t lddq, lddk, lddp, ldq, ldk, ldp, H, D;
    double scale;
    struct segments seg;
};

/* ds_j = p_j (dout.v_j - sum_i p_i dout.v_i) * scale;  dq += sum_j ds_j k_j */
KERNEL_TOGETHER(k_attention_dq, struct attend_back)
{
    const size_t h = WARP_INDEX % a.H, i = a.seg.query0 + WARP_INDEX / a.H;
    if (i >= a.seg.queries) return;
    const size_t s = segment_of(a.seg.q_off, a.seg.n, i), own = (size_t)a.seg.k_off[s];
    const struct prefix prefix = prefix_of(&a.seg, s);
    const size_t n = prefix.n + (size_t)(a.seg.k_off[s + 1] - a.seg.k_off[s]), column = h * a.D;
    const size_t at = (size_t)a.seg.first[s] + ((i - (size_t)a.seg.q_off[s]) * a.H + h) * n;
    const float *prob = a.prob + at, *dout = a.dout + i * a.H * a.D + column;
    float *ds = a.ds + at, *dq = a.dq + i * a.lddq + column;
    double mean = 0.0;
    for (size_t j = LANE; j < n; j += WARP) {
        ds[j] = dot_row(dout, attended_row(a.pv, a.ldp, a.v, a.ldk, prefix, own, j) + column, a.D);
        mean += (double)prob[j] * (double)ds[j];
    }
    mean = warp_sum(mean);
    for (size_t j = LANE; j < n; j += WARP) ds[j] = (float)((double)prob[j] * ((double)ds[j] - mean) * a.scale);
    WARP_WAIT(); /* every lane reads what the others wrote */
    for (size_t d = LANE; d < a.D; d += WARP) {
        double sum = (double)dq[d];
        for (size_t j = 0; j < n; j++)
            sum += (double)ds[j] *
                   (double)attended_row(a.pk, a.ldp, a.k, a.ldk, prefix, own, j)[column + d];
        dq[d] = (float)sum;
    }
}

/* dk_j += sum_i ds_ij q_i;  dv_j += sum_i p_ij dout_i, over the queries of segments from … to-1, of one group with n_prefix
 * rows before their own, whose key j it is. */
DEVICE void key_back(const struct attend_back *a, float *dk, float *dv, size_t h, size_t from, size_t to, size_t n_prefix,
                     size_t j)
{
    for (size_t d = LANE; d < a->D; d += WARP) {
        double key = (double)dk[d], value = (double)dv[d];
        for (size_t s = from; s < to; s++) {
            const size_t q0 = (size_t)a->seg.q_off[s], queries = (size_t)a->seg.q_off[s + 1] - q0;
            const size_t n = n_prefix + (size_t)(a->seg.k_off[s + 1] - a->seg.k_off[s]);
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

/* First the prefixes' keys, then the segments' own. */
KERNEL(k_attention_dk, struct attend_back)
{
    const size_t h = WARP_INDEX % a.H, row = WARP_INDEX / a.H, column = h * a.D, shared = a.seg.prefixes - a.seg.prefix0;
    if (row < shared) {
        const size_t at = a.seg.prefix0 + row, g = segment_of(a.seg.p_off, a.seg.groups, at);
        const size_t first = (size_t)a.seg.p_off[g];
        key_back(&a, a.dpk + at * a.lddp + column, a.dpv + at * a.lddp + column, h, (size_t)a.seg.s_off[g],
                 (size_t)a.seg.s_off[g + 1], (size_t)a.seg.p_off[g + 1] - first, at - first);
        return;
    }
    const size_t key = a.seg.key0 + row - shared;
    if (key >= a.seg.keys) return;
    const size_t s = segment_of(a.seg.k_off, a.seg.n, key), n = prefix_of(&a.seg, s).n;
    key_back(&a, a.dk + key * a.lddk + column, a.dv + key * a.lddk + column, h, s, s + 1, n,
             n + key - (size_t)a.seg.k_off[s]);
}

void cuda_attention_backward(struct kern *k, float *dq, size_t lddq, float *dk, float *dv, size_t lddk, float *dpk,
                             float *dpv, size_t lddp, const float *dout, const float *prob, const float *q, size_t ldq,
                             const float *kk, const float *vv, size_t ldk, const float *pk, const float *pv, size_t ldp,
                             const struct kern_segments *seg, size_t H, size_t D)
{
    struct segments there;
    char *rest;
    const struct dnn_call call = {q, kk, vv, pk, pv, ldq, ldk, ldp, H, D, seg};
    const struct dnn_back back = {dq, dk, dv, dpk, dpv, lddq, lddk, lddp, dout};
    if (seg->n == 0 || seg->q_off[seg->n] == seg->q_off[0] || dnn_attention_backward(k, &back, &call)) return;
    const size_t n = kern_attention_probs(seg, H);
    if (!put_segments(k, &there, seg, H, &rest, (n * sizeof(float) + 255) / 256 * 256)) return;
    const struct attend_back a = {dq,  dk,  dv,   dpk,  dpv,  (float *)(void *)rest, dout, prob, q, kk, vv, pk, pv, lddq,
                                  lddk, lddp, ldq, ldk, ldp, H, D, (double)(1.0f / sqrtf((float)D)), there};
    LAUNCH(cuda_of(k), k_attention_dq, launch_blocks((there.queries - there.query0) * H, WARPS), BLOCK, &a);
    LAUNCH(cuda_of(k), k_attention_dk, launch_blocks((there.prefixes - there.prefix0 + there.keys - there.key0) * H, WARPS), BLOCK, &a);
}

/* ref_attention.c - multi-head attention on packed segments, one query and head at a time.
 *
 * The keys of a query are numbered through: 0 … prefix-1 are the shared prefix, then the segment's own.  Scores are
 * computed again in each pass, so no scratch is needed.
 */
#include "kernels/kern_backend.h"
#include "kernels/ref/ref.h"
#include <math.h>

/* One query's keys and values at head h. */
struct keys {
    const float *pk, *pv, *k, *v; /* at column h*D; k and v at the segment's first own row */
    size_t ldp, ldk, prefix, n;   /* n = prefix + own */
    size_t D;
};

static const float *key_row(const struct keys *s, size_t j)
{
    return j < s->prefix ? s->pk + j * s->ldp : s->k + (j - s->prefix) * s->ldk;
}

static const float *value_row(const struct keys *s, size_t j)
{
    return j < s->prefix ? s->pv + j * s->ldp : s->v + (j - s->prefix) * s->ldk;
}

static double dot(const float *a, const float *b, size_t n)
{
    double s = 0.0;
    for (size_t i = 0; i < n; i++) s += (double)a[i] * b[i];
    return s;
}

static double score(const struct keys *s, const float *q, size_t j)
{
    return dot(q, key_row(s, j), s->D) / sqrt((double)s->D);
}

static struct keys keys_of(const float *kk, const float *vv, size_t ldk, const float *pk, const float *pv, size_t ldp,
                           const struct kern_group *g, size_t s, size_t h, size_t D)
{
    const size_t first = (size_t)g->k_off[s], own = (size_t)(g->k_off[s + 1] - g->k_off[s]), at = g->first * ldp;
    struct keys r = {.ldp = ldp, .ldk = ldk, .prefix = g->prefix, .n = g->prefix + own, .D = D};
    if (g->prefix > 0) r.pk = pk + at + h * D, r.pv = pv + at + h * D;
    if (own > 0) r.k = kk + first * ldk + h * D, r.v = vv + first * ldk + h * D;
    return r;
}

static void attend(float *out, float *prob, const float *q, const struct keys *s)
{
    double top = -INFINITY, total = 0.0;
    for (size_t j = 0; j < s->n; j++) top = fmax(top, score(s, q, j));
    for (size_t j = 0; j < s->n; j++) total += exp(score(s, q, j) - top);
    for (size_t d = 0; d < s->D; d++) {
        double o = 0.0;
        for (size_t j = 0; j < s->n; j++) o += exp(score(s, q, j) - top) / total * value_row(s, j)[d];
        out[d] = (float)o;
    }
    for (size_t j = 0; prob != NULL && j < s->n; j++) prob[j] = (float)(exp(score(s, q, j) - top) / total);
}

void kern_ref_attention(struct kern *k, float *out, float *prob, const float *q, size_t ldq, const float *kk,
                        const float *vv, size_t ldk, const float *pk, const float *pv, size_t ldp,
                        const struct kern_segments *seg, size_t H, size_t D)
{
    (void)k;
    for (size_t g = 0; g < kern_groups(seg); g++) {
        const struct kern_group of = kern_group(seg, g);
        for (size_t s = 0; s < of.n; s++)
            for (size_t i = (size_t)of.q_off[s]; i < (size_t)of.q_off[s + 1]; i++)
                for (size_t h = 0; h < H; h++) {
                    const struct keys keys = keys_of(kk, vv, ldk, pk, pv, ldp, &of, s, h, D);
                    attend(out + i * H * D + h * D, prob, q + i * ldq + h * D, &keys);
                    if (prob != NULL) prob += keys.n;
                }
    }
}

/* Where a key's gradients go; the same rows as struct keys. */
struct key_grads {
    float *dpk, *dpv, *dk, *dv;
    size_t lddp, lddk;
};

/* dp_j = dout·v_j;  ds_j = p_j (dp_j - sum_i p_i dp_i) / sqrt(D);
 * dq += ds_j k_j;  dk_j += ds_j q;  dv_j += p_j dout */
static void attend_backward(float *dq, const struct key_grads *g, const float *dout, const float *prob, const float *q,
                            const struct keys *s)
{
    const double scale = 1.0 / sqrt((double)s->D);
    double mean = 0.0;
    for (size_t j = 0; j < s->n; j++) mean += prob[j] * dot(dout, value_row(s, j), s->D);
    for (size_t j = 0; j < s->n; j++) {
        const double ds = prob[j] * (dot(dout, value_row(s, j), s->D) - mean) * scale;
        const float *key = key_row(s, j);
        float *dk = j < s->prefix ? g->dpk + j * g->lddp : g->dk + (j - s->prefix) * g->lddk;
        float *dv = j < s->prefix ? g->dpv + j * g->lddp : g->dv + (j - s->prefix) * g->lddk;
        for (size_t d = 0; d < s->D; d++) {
            dq[d] = (float)(dq[d] + ds * key[d]);
            dk[d] = (float)(dk[d] + ds * q[d]);
            dv[d] = (float)(dv[d] + (double)prob[j] * dout[d]);
        }
    }
}

void kern_ref_attention_backward(struct kern *k, float *dq, size_t lddq, float *dk, float *dv, size_t lddk, float *dpk,
                                 float *dpv, size_t lddp, const float *dout, const float *prob, const float *q,
                                 size_t ldq, const float *kk, const float *vv, size_t ldk, const float *pk,
                                 const float *pv, size_t ldp, const struct kern_segments *seg, size_t H, size_t D)
{
    (void)k;
    for (size_t g = 0; g < kern_groups(seg); g++) {
        const struct kern_group of = kern_group(seg, g);
        for (size_t s = 0; s < of.n; s++)
            for (size_t i = (size_t)of.q_off[s]; i < (size_t)of.q_off[s + 1]; i++)
                for (size_t h = 0; h < H; h++) {
                    const struct keys keys = keys_of(kk, vv, ldk, pk, pv, ldp, &of, s, h, D);
                    const size_t own = (size_t)of.k_off[s] * lddk + h * D, prefix = of.first * lddp + h * D;
                    struct key_grads to = {.lddp = lddp, .lddk = lddk};
                    if (keys.prefix > 0) to.dpk = dpk + prefix, to.dpv = dpv + prefix;
                    if (keys.n > keys.prefix) to.dk = dk + own, to.dv = dv + own;
                    attend_backward(dq + i * lddq + h * D, &to, dout + i * H * D + h * D, prob, q + i * ldq + h * D,
                                    &keys);
                    prob += keys.n;
                }
    }
}

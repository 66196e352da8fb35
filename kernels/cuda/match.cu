/* match.cu - late interaction: a warp a candidate and pooling (m, then a_tau), lanes over the user's events; 8*E bytes each.
 *
 * On the way back ds is the candidate's own; db and dtau are sums over candidates, made by one thread each in order.
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/reduce.h"

struct matching {
    float *feat, *keep;
    struct kern_match m;
};

/* Pooling t = 0: all events, tau 0; t > 0: those that are not the candidate, tau[t-1]. */
KERNEL_TOGETHER(k_match, struct matching)
{
    const size_t E = a.m.E, T = a.m.T, c = WARP_INDEX / (T + 1), t = WARP_INDEX % (T + 1);
    if (c >= a.m.K) return;
    const float *s = a.m.s + c * E;
    const uint8_t *self = a.m.self + c * E;
    float *r = a.keep + (c * (T + 1) + t) * E, *feat = a.feat + c * (T + 2);
    const double tau = t > 0 ? (double)a.m.tau[t - 1] : 0.0;
    double total = 0.0, sum = 0.0, others = 0.0;
    float top = -INFINITY;
    for (size_t e = LANE; e < E; e += WARP) {
        if (t > 0 && self[e]) continue;
        top = fmaxf(top, (float)((double)a.m.b[e] + tau * (double)s[e]));
        others += 1.0;
    }
    top = warp_max(top);
    others = warp_sum(others);
    for (size_t e = LANE; e < E; e += WARP) {
        const bool out = t > 0 && self[e];
        if (!out) total += exp((double)a.m.b[e] + tau * (double)s[e] - (double)top);
    }
    total = warp_sum(total);
    for (size_t e = LANE; e < E; e += WARP) {
        const bool out = t > 0 && self[e];
        r[e] = out ? 0.0f : (float)(exp((double)a.m.b[e] + tau * (double)s[e] - (double)top) / total);
        sum += (double)r[e] * (double)s[e];
    }
    sum = warp_sum(sum);
    if (LANE > 0) return;
    feat[t] = (float)sum;
    if (t == T) feat[T + 1] = t > 0 && others > 0.0 ? 1.0f : 0.0f;
}

struct others {
    float *feat;
    struct kern_match m;
};

/* has_others where there is no tau whose warp would count them. */
KERNEL(k_match_others, struct others)
{
    if (THREAD >= a.m.K) return;
    bool any = false;
    for (size_t e = 0; e < a.m.E; e++) any = any || !a.m.self[THREAD * a.m.E + e];
    a.feat[THREAD * (a.m.T + 2) + a.m.T + 1] = any ? 1.0f : 0.0f;
}

void cuda_match(struct kern *k, float *feat, float *keep, const struct kern_match *m)
{
    const struct matching a = {feat, keep, *m};
    const struct others b = {feat, *m};
    if (m->K == 0) return;
    LAUNCH(cuda_of(k), k_match, launch_blocks(m->K * (m->T + 1), WARPS), BLOCK, &a);
    if (m->T == 0) LAUNCH(cuda_of(k), k_match_others, launch_blocks(m->K, BLOCK), BLOCK, &b);
}

struct match_back {
    float *ds, *db, *dtau;
    double *pooled, *pull; /* (K,T+1) each: a of every pooling; sum of r (s - a) s */
    const float *dfeat, *keep;
    struct kern_match m;
};

/* a = sum r s, v_e = r_e (s_e - a):  da/ds_e = r_e + tau v_e;  da/db_e = v_e;  da/dtau = sum v_e s_e.  A warp a candidate. */
KERNEL_TOGETHER(k_match_ds, struct match_back)
{
    const size_t E = a.m.E, T = a.m.T, c = WARP_INDEX;
    if (c >= a.m.K) return;
    const float *s = a.m.s + c * E;
    for (size_t t = 0; t <= T; t++) {
        const float *r = a.keep + (c * (T + 1) + t) * E;
        const double tau = t > 0 ? (double)a.m.tau[t - 1] : 0.0, d = (double)a.dfeat[c * (T + 2) + t];
        double pooled = 0.0, pull = 0.0;
        for (size_t e = LANE; e < E; e += WARP) pooled += (double)r[e] * (double)s[e];
        pooled = warp_sum(pooled);
        for (size_t e = LANE; e < E; e += WARP) {
            const double v = (double)r[e] * ((double)s[e] - pooled);
            a.ds[c * E + e] = (float)((double)a.ds[c * E + e] + d * ((double)r[e] + tau * v));
            pull += v * (double)s[e];
        }
        pull = warp_sum(pull);
        if (LANE == 0) {
            a.pooled[c * (T + 1) + t] = pooled;
            a.pull[c * (T + 1) + t] = pull;
        }
    }
}

/* A thread an event, then a thread a tau. */
KERNEL(k_match_sums, struct match_back)
{
    const size_t E = a.m.E, T = a.m.T;
    if (THREAD >= E + T) return;
    const bool event = THREAD < E;
    const size_t e = THREAD, tau = event ? 0 : THREAD - E;
    double sum = event ? (double)a.db[e] : (double)a.dtau[tau];
    for (size_t c = 0; c < a.m.K; c++)
        for (size_t t = event ? 0 : tau + 1; t < (event ? T + 1 : tau + 2); t++) {
            const size_t at = c * (T + 1) + t;
            const double d = (double)a.dfeat[c * (T + 2) + t];
            sum += d * (event ? (double)a.keep[at * E + e] * ((double)a.m.s[c * E + e] - a.pooled[at]) : a.pull[at]);
        }
    if (event)
        a.db[e] = (float)sum;
    else
        a.dtau[tau] = (float)sum;
}

void cuda_match_backward(struct kern *k, float *ds, float *db, float *dtau, const float *dfeat, const float *keep,
                         const struct kern_match *m)
{
    const size_t n = m->K * (m->T + 1);
    if (m->K == 0 || m->E + m->T == 0) return;
    double *room = (double *)cuda_scratch(cuda_of(k), 2 * n * sizeof *room);
    if (room == NULL) return;
    const struct match_back a = {ds, db, dtau, room, room + n, dfeat, keep, *m};
    LAUNCH(cuda_of(k), k_match_ds, launch_blocks(m->K, WARPS), BLOCK, &a);
    LAUNCH(cuda_of(k), k_match_sums, launch_blocks(m->E + m->T, BLOCK), BLOCK, &a);
}

struct match_fixed {
    float *out;
    const float *taste, *cos;
    const uint8_t *self;
    size_t K, E;
};

/* A thread a candidate: the first event that is left begins, so that what is not a number stays, as in `ref`. */
KERNEL(k_match_fixed, struct match_fixed)
{
    if (THREAD >= a.K) return;
    const float *cos = a.cos + THREAD * a.E;
    const uint8_t *self = a.self + THREAD * a.E;
    bool any = false;
    float best = 0.0f;
    for (size_t e = 0; e < a.E; e++) {
        if (self[e] || (any && cos[e] <= best)) continue;
        best = cos[e];
        any = true;
    }
    a.out[3 * THREAD] = a.taste[THREAD];
    a.out[3 * THREAD + 1] = best;
    a.out[3 * THREAD + 2] = a.E > 0 ? 1.0f : 0.0f;
}

void cuda_match_fixed(struct kern *k, float *out, const float *taste, const float *cos, const uint8_t *self, size_t K, size_t E)
{
    const struct match_fixed a = {out, taste, cos, self, K, E};
    if (K > 0) LAUNCH(cuda_of(k), k_match_fixed, launch_blocks(K, BLOCK), BLOCK, &a);
}

/* ref_loss.c - binary cross-entropy, softmax over a slate, and late interaction (`match`). */
#include "kernels/ref/ref.h"
#include <math.h>

void kern_ref_bce(struct kern *k, float *loss, float *dz, const float *z, const float *y, const float *w, float scale,
                  size_t n)
{
    (void)k;
    double sum = loss[0];
    for (size_t i = 0; i < n; i++) {
        const double x = z[i], small = exp(-fabs(x));
        const double p = x >= 0.0 ? 1.0 / (1.0 + small) : small / (1.0 + small);
        sum += w[i] * (fmax(x, 0.0) - x * y[i] + log1p(small));
        dz[i] = (float)(dz[i] + (double)scale * w[i] * (p - y[i]));
    }
    loss[0] = (float)sum;
}

/* log(sum over negatives of w*exp(z)); -INFINITY: no negative weighs anything.  *all, *positive: sums of weights. */
static double log_negatives(const float *z, const float *y, const float *w, size_t n, double *all, double *positive)
{
    double top = -INFINITY, sum = 0.0;
    *all = *positive = 0.0;
    for (size_t i = 0; i < n; i++) {
        *all += w[i];
        if (y[i] > 0.5f)
            *positive += w[i];
        else if (w[i] > 0.0f)
            top = fmax(top, z[i]);
    }
    if (top == -INFINITY) return -INFINITY;
    for (size_t i = 0; i < n; i++)
        if (!(y[i] > 0.5f)) sum += w[i] * exp(z[i] - top);
    return top + log(sum);
}

void kern_ref_slate_softmax(struct kern *k, float *loss, float *dz, const float *z, const float *y, const float *w,
                            float scale, size_t n)
{
    (void)k;
    double all, positive, sum = 0.0, pull = 0.0;
    const double others = log_negatives(z, y, w, n, &all, &positive);
    if (!(positive > 0.0) || others == -INFINITY) return;
    for (size_t i = 0; i < n; i++) {
        if (!(y[i] > 0.5f)) continue;
        const double d = others - z[i], small = exp(-fabs(d)), p = (d >= 0.0 ? 1.0 : small) / (1.0 + small);
        sum += w[i] * (fmax(d, 0.0) + log1p(small));
        dz[i] = (float)(dz[i] - scale * (all / positive) * w[i] * p);
        pull += w[i] * p;
    }
    for (size_t i = 0; i < n; i++)
        if (!(y[i] > 0.5f)) dz[i] = (float)(dz[i] + scale * (all / positive) * pull * w[i] * exp(z[i] - others));
    loss[0] = (float)(loss[0] + all / positive * sum);
}

static double softplus(double x)
{
    return fmax(x, 0.0) + log1p(exp(-fabs(x)));
}

/* log(exp(-a) + exp(-b) + exp(-a-b)) = -logit(sigmoid(a)*sigmoid(b)) */
static double product_odds(double a, double b)
{
    const double top = fmax(fmax(-a, -b), -a - b);
    return top + log(exp(-a - top) + exp(-b - top) + exp(-a - b - top));
}

/* With P = sigmoid(a)*sigmoid(b): dBCE/da = (P - y)*(1 - sigmoid(a))/(1 - P), which is sigmoid(a) - 1 for y = 1 and
 * exp(-softplus(a) - log(1 - P))*P for y = 0; and log(1 - P) = odds - softplus(odds). */
static double product_bce(double a, double b, double y, double *da, double *db)
{
    const double odds = product_odds(a, b), log_p = -softplus(odds), log_not = odds + log_p;
    *da = y * -exp(-softplus(a)) + (1.0 - y) * exp(log_p - softplus(a) - log_not);
    *db = y * -exp(-softplus(b)) + (1.0 - y) * exp(log_p - softplus(b) - log_not);
    return -y * log_p - (1.0 - y) * log_not;
}

void kern_ref_task_bce(struct kern *k, float *loss, float *ds, float *dh, const float *s, const float *h,
                       const float *y, const uint8_t *chained, size_t K, size_t T)
{
    (void)k;
    double sum = loss[0];
    for (size_t i = 0; i < K; i++) {
        double pull = 0.0;
        for (size_t t = 0; t < T; t++) {
            const double b = h[i * T + t], label = y[i * T + t];
            double da = 0.0, db;
            if (chained[t]) {
                sum += product_bce(s[i], b, label, &da, &db);
            } else {
                sum += softplus(b) - label * b;
                db = exp(-softplus(-b)) - label;
            }
            pull += da;
            dh[i * T + t] = (float)(dh[i * T + t] + db);
        }
        ds[i] = (float)(ds[i] + pull);
    }
    loss[0] = (float)sum;
}

/* r[e] = softmax over e of b[e] + tau*s[e]; `self`, when not NULL, leaves the marked events out (weight 0).
 * Returns how many events are in. */
static size_t softmax(float *r, const float *b, const float *s, double tau, const uint8_t *self, size_t E)
{
    double top = -INFINITY, total = 0.0;
    size_t n = 0;
    for (size_t e = 0; e < E; e++) {
        if (self != NULL && self[e]) continue;
        top = fmax(top, b[e] + tau * s[e]);
        n++;
    }
    for (size_t e = 0; e < E; e++)
        if (self == NULL || !self[e]) total += exp(b[e] + tau * s[e] - top);
    for (size_t e = 0; e < E; e++)
        r[e] = self != NULL && self[e] ? 0.0f : (float)(exp(b[e] + tau * s[e] - top) / total);
    return n;
}

static double weighted(const float *r, const float *s, size_t E)
{
    double sum = 0.0;
    for (size_t e = 0; e < E; e++) sum += (double)r[e] * s[e];
    return sum;
}

void kern_ref_match(struct kern *k, float *feat, float *keep, const struct kern_match *m)
{
    (void)k;
    const size_t E = m->E, T = m->T;
    for (size_t c = 0; c < m->K; c++) {
        const float *s = m->s + c * E;
        const uint8_t *self = m->self + c * E;
        float *f = feat + c * (T + 2), *r = keep + c * (T + 1) * E;
        size_t others = 0;
        softmax(r, m->b, s, 0.0, NULL, E);
        f[0] = (float)weighted(r, s, E);
        for (size_t e = 0; e < E; e++) others += !self[e];
        for (size_t t = 0; t < T; t++) {
            softmax(r + (t + 1) * E, m->b, s, m->tau[t], self, E);
            f[1 + t] = (float)weighted(r + (t + 1) * E, s, E);
        }
        f[T + 1] = others > 0 ? 1.0f : 0.0f;
    }
}

/* a = sum r_e s_e, r = softmax(b + tau s):  da/ds_e = r_e + tau r_e (s_e - a);  da/db_e = r_e (s_e - a);
 * da/dtau = sum r_e (s_e - a) s_e */
static double pull(float *ds, float *db, double d, const float *r, const float *s, double tau, size_t E)
{
    const double a = weighted(r, s, E);
    double dtau = 0.0;
    for (size_t e = 0; e < E; e++) {
        const double v = r[e] * (s[e] - a);
        ds[e] = (float)(ds[e] + d * (r[e] + tau * v));
        db[e] = (float)(db[e] + d * v);
        dtau += v * s[e];
    }
    return d * dtau;
}

void kern_ref_match_backward(struct kern *k, float *ds, float *db, float *dtau, const float *dfeat, const float *keep,
                             const struct kern_match *m)
{
    (void)k;
    const size_t E = m->E, T = m->T;
    for (size_t c = 0; c < m->K; c++) {
        const float *s = m->s + c * E, *r = keep + c * (T + 1) * E, *d = dfeat + c * (T + 2);
        pull(ds + c * E, db, d[0], r, s, 0.0, E);
        for (size_t t = 0; t < T; t++)
            dtau[t] = (float)(dtau[t] + pull(ds + c * E, db, d[1 + t], r + (t + 1) * E, s, m->tau[t], E));
    }
}

/* The first that is left begins, so that what is not a number stays. */
static float greatest(const float *cos, const uint8_t *self, size_t E)
{
    bool any = false;
    float best = 0.0f;
    for (size_t e = 0; e < E; e++) {
        if (self[e] || (any && cos[e] <= best)) continue;
        best = cos[e];
        any = true;
    }
    return best;
}

void kern_ref_match_fixed(struct kern *k, float *out, const float *taste, const float *cos, const uint8_t *self,
                          size_t K, size_t E)
{
    (void)k;
    for (size_t c = 0; c < K; c++, out += 3) {
        out[0] = taste[c];
        out[1] = greatest(cos + c * E, self + c * E, E);
        out[2] = E > 0 ? 1.0f : 0.0f;
    }
}

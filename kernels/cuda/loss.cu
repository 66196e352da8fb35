/* loss.cu - the losses of one slate, each by one block: at most thousands of candidates, so latency is all there is. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/reduce.h"

struct slate_loss {
    float *loss, *dz;
    const float *z, *y, *w;
    double scale;
    size_t n;
};

KERNEL_TOGETHER(k_bce, struct slate_loss)
{
    SHARED double room[WARP];
    double sum = 0.0;
    for (size_t i = threadIdx.x; i < a.n; i += blockDim.x) {
        const double x = (double)a.z[i], small = exp(-fabs(x));
        const double p = x >= 0.0 ? 1.0 / (1.0 + small) : small / (1.0 + small);
        sum += (double)a.w[i] * (fmax(x, 0.0) - x * (double)a.y[i] + log1p(small));
        a.dz[i] = (float)((double)a.dz[i] + a.scale * (double)a.w[i] * (p - (double)a.y[i]));
    }
    sum = block_sum(sum, room);
    if (threadIdx.x == 0) a.loss[0] = (float)((double)a.loss[0] + sum);
}

void cuda_bce(struct kern *k, float *loss, float *dz, const float *z, const float *y, const float *w, float scale, size_t n)
{
    const struct slate_loss a = {loss, dz, z, y, w, (double)scale, n};
    if (n > 0) LAUNCH(cuda_of(k), k_bce, 1, BLOCK, &a);
}

/* kern.h has the formula: N = others; the positives' pull on the negatives is summed before it is handed out. */
KERNEL_TOGETHER(k_slate_softmax, struct slate_loss)
{
    SHARED double room[WARP];
    double all = 0.0, positive = 0.0, sum = 0.0, pull = 0.0;
    float top = -INFINITY;
    for (size_t i = threadIdx.x; i < a.n; i += blockDim.x) {
        all += (double)a.w[i];
        if (a.y[i] > 0.5f)
            positive += (double)a.w[i];
        else if (a.w[i] > 0.0f)
            top = fmaxf(top, a.z[i]);
    }
    all = block_sum(all, room);
    positive = block_sum(positive, room);
    const double most = block_max(top, room);
    if (!(positive > 0.0) || most == -INFINITY) return; /* the whole block */
    for (size_t i = threadIdx.x; i < a.n; i += blockDim.x)
        if (!(a.y[i] > 0.5f)) sum += (double)a.w[i] * exp((double)a.z[i] - most);
    const double others = most + log(block_sum(sum, room)), share = all / positive;
    sum = 0.0;
    for (size_t i = threadIdx.x; i < a.n; i += blockDim.x) {
        if (!(a.y[i] > 0.5f)) continue;
        const double d = others - (double)a.z[i], small = exp(-fabs(d)), p = (d >= 0.0 ? 1.0 : small) / (1.0 + small);
        sum += (double)a.w[i] * (fmax(d, 0.0) + log1p(small));
        a.dz[i] = (float)((double)a.dz[i] - a.scale * share * (double)a.w[i] * p);
        pull += (double)a.w[i] * p;
    }
    sum = block_sum(sum, room);
    pull = block_sum(pull, room);
    for (size_t i = threadIdx.x; i < a.n; i += blockDim.x)
        if (!(a.y[i] > 0.5f))
            a.dz[i] = (float)((double)a.dz[i] +
                              a.scale * share * pull * (double)a.w[i] * exp((double)a.z[i] - others));
    if (threadIdx.x == 0) a.loss[0] = (float)((double)a.loss[0] + share * sum);
}

void cuda_slate_softmax(struct kern *k, float *loss, float *dz, const float *z, const float *y, const float *w, float scale,
                        size_t n)
{
    const struct slate_loss a = {loss, dz, z, y, w, (double)scale, n};
    if (n > 0) LAUNCH(cuda_of(k), k_slate_softmax, 1, BLOCK, &a);
}

DEVICE double softplus(double x)
{
    return fmax(x, 0.0) + log1p(exp(-fabs(x)));
}

/* BCE of P = sigmoid(s)*sigmoid(h), and its derivatives (kernels/ref/ref_loss.c derives them). */
DEVICE double product_bce(double s, double h, double y, double *ds, double *dh)
{
    const double top = fmax(fmax(-s, -h), -s - h);
    const double odds = top + log(exp(-s - top) + exp(-h - top) + exp(-s - h - top));
    const double log_p = -softplus(odds), log_not = odds + log_p;
    *ds = y * -exp(-softplus(s)) + (1.0 - y) * exp(log_p - softplus(s) - log_not);
    *dh = y * -exp(-softplus(h)) + (1.0 - y) * exp(log_p - softplus(h) - log_not);
    return -y * log_p - (1.0 - y) * log_not;
}

struct task_loss {
    float *loss, *ds, *dh;
    const float *s, *h, *y;
    const uint8_t *chained;
    size_t K, T;
};

KERNEL_TOGETHER(k_task_bce, struct task_loss)
{
    SHARED double room[WARP];
    double sum = 0.0;
    for (size_t i = threadIdx.x; i < a.K; i += blockDim.x) {
        double pull = 0.0;
        for (size_t t = 0; t < a.T; t++) {
            const double b = (double)a.h[i * a.T + t], label = (double)a.y[i * a.T + t];
            double ds = 0.0, dh;
            if (a.chained[t]) {
                sum += product_bce((double)a.s[i], b, label, &ds, &dh);
            } else {
                sum += softplus(b) - label * b;
                dh = exp(-softplus(-b)) - label;
            }
            pull += ds;
            a.dh[i * a.T + t] = (float)((double)a.dh[i * a.T + t] + dh);
        }
        a.ds[i] = (float)((double)a.ds[i] + pull);
    }
    sum = block_sum(sum, room);
    if (threadIdx.x == 0) a.loss[0] = (float)((double)a.loss[0] + sum);
}

void cuda_task_bce(struct kern *k, float *loss, float *ds, float *dh, const float *s, const float *h, const float *y,
                   const uint8_t *chained, size_t K, size_t T)
{
    const struct task_loss a = {loss, ds, dh, s, h, y, chained, K, T};
    if (K * T > 0) LAUNCH(cuda_of(k), k_task_bce, 1, BLOCK, &a);
}

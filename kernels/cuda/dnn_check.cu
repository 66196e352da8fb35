/* dnn_check.cu - is cuDNN's attention to be trusted here: a small problem, by it and by our own kernels.
 *
 * The library comes with the machine, in versions that nobody tested this program with; so what it gives is compared once,
 * before anything is learnt from it.
 */
#include "kernels/cuda/dnn.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LISTS = 2, ITEMS = 80, USER = 120, H = 4, D = 32, C = H * D, ROWS = LISTS * ITEMS, USERS = LISTS * USER };

#define ABS 0.02 /* of numbers of size 1 whose operands have 8 bits */
#define REL 0.02

/* Floats of device memory, one behind the other; what is from `out` on is a result. */
struct problem {
    float *q, *kv, *shared, *dout, *prob; /* (ROWS,C) (ROWS,2C) (USERS,2C) (ROWS,C) */
    float *out, *dq, *dkv, *dshared;      /* as what they belong to */
};
enum { GIVEN = 4 * ROWS * C + 2 * USERS * C, RESULTS = 4 * ROWS * C + 2 * USERS * C };

/* In [-1, 1), from its place alone (Steele et al. 2014, "SplitMix"). */
static float number(uint64_t i)
{
    uint64_t x = (i + 1) * 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return (float)((double)(x >> 11) / 4503599627370496.0 - 1.0);
}

static struct problem lay(float *at, size_t n_prob)
{
    struct problem p;
    p.q = at;
    p.kv = p.q + ROWS * C;
    p.shared = p.kv + 2 * ROWS * C;
    p.dout = p.shared + 2 * USERS * C;
    p.out = p.dout + ROWS * C;
    p.dq = p.out + ROWS * C;
    p.dkv = p.dq + ROWS * C;
    p.dshared = p.dkv + 2 * ROWS * C;
    p.prob = n_prob > 0 ? p.dshared + 2 * USERS * C : NULL;
    return p;
}

/* There and back; results (RESULTS). */
static void solve(struct kern *k, const struct problem *p, const struct kern_segments *seg, float *results)
{
    k->ops->zero(k, p->out, RESULTS);
    k->ops->attention(k, p->out, p->prob, p->q, C, p->kv, p->kv + C, 2 * C, p->shared, p->shared + C, 2 * C, seg, H, D);
    k->ops->attention_backward(k, p->dq, C, p->dkv, p->dkv + C, 2 * C, p->dshared, p->dshared + C, 2 * C, p->dout,
                               p->prob, p->q, C, p->kv, p->kv + C, 2 * C, p->shared, p->shared + C, 2 * C, seg, H, D);
    k->ops->download(k, results, p->out, RESULTS * sizeof *results);
}

static bool close_enough(const float *got, const float *want)
{
    for (size_t i = 0; i < RESULTS; i++)
        if (!(fabs((double)got[i] - (double)want[i]) <= ABS + REL * fabs((double)want[i]))) return false;
    return true;
}

static bool agrees(struct kern *k, float *device, float *host, size_t n_prob, struct kern_segments *seg)
{
    const struct problem p = lay(device, n_prob);
    float *ours = host, *theirs = host + RESULTS;
    for (size_t i = 0; i < GIVEN; i++) host[i] = number(i);
    k->ops->upload(k, p.q, host, GIVEN * sizeof *host);
    seg->prec = KERN_F32;
    solve(k, &p, seg, ours);
    seg->prec = KERN_BF16;
    solve(k, &p, seg, theirs);
    return close_enough(theirs, ours);
}

static bool tried(struct kern *k)
{
    int32_t rows[ROWS + 1], lists[LISTS + 1], shared[LISTS + 1];
    for (int32_t i = 0; i <= ROWS; i++) rows[i] = i;
    for (int32_t i = 0; i <= LISTS; i++) {
        lists[i] = i * ITEMS;
        shared[i] = i * USER;
    }
    struct kern_segments seg;
    memset(&seg, 0, sizeof seg);
    seg.n = ROWS;
    seg.q_off = seg.k_off = rows;
    seg.groups = LISTS;
    seg.s_off = lists;
    seg.p_off = shared;
    const size_t n_prob = kern_attention_probs(&seg, H);
    float *device = (float *)cuda_memory_take((GIVEN + RESULTS + n_prob) * sizeof(float));
    float *host = (float *)malloc(2 * (size_t)RESULTS * sizeof *host);
    const bool ok = device != NULL && host != NULL && agrees(k, device, host, n_prob, &seg);
    cuda_wait(cuda_of(k), "cuDNN");
    cuda_memory_give(device);
    free(host);
    return ok;
}

bool dnn_agrees(struct kern *k)
{
    struct cuda *c = cuda_of(k);
    if (c->dnn->trust != DNN_UNTRIED) return true;
    if (!dnn_start(c)) return false;
    c->dnn->trust = DNN_TRYING;
    if (!tried(k) && !c->failed) {
        (void)fprintf(stderr,
                      "freshet: cuda: attention of cuDNN %zu differs from freshet's own on this device and is not "
                      "used; kernels.cudnn=off saves the try\n",
                      c->dnn->version);
        cuda_dnn_close(c);
        return false;
    }
    c->dnn->trust = DNN_AGREES;
    return true;
}

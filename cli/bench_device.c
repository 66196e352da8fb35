/* bench_device.c - the limits of a backend whose memory is apart: what its device reaches in one large product of each precision.
 *
 * A GPU's data sheet says more than a product of 4096 x 4096 x 4096 reaches; shares are of what was reached in the same run.
 */
#include "base/mem.h"
#include "cli/bench.h"
#include "model/encoder.h"

#define SIDE ((size_t)4096)
#define SIDE_QUICK ((size_t)256)
#define CALLS 8 /* between two waits */

struct product {
    struct kern *kern;
    struct kern_matrix w;
    float *x, *y;
    size_t side;
};

static enum status open_product(struct product *p, struct err *e)
{
    const struct kern_ops *o = p->kern->ops;
    const size_t bytes = p->side * p->side * sizeof(float);
    float *w = o->alloc(p->kern, bytes);
    p->w.w = w;
    p->x = o->alloc(p->kern, bytes);
    p->y = o->alloc(p->kern, bytes);
    if (w == NULL || p->x == NULL || p->y == NULL)
        return ERR_SET(e, STATUS_OOM, "no device memory for a product of %zu x %zu", p->side, p->side);
    p->w.in = p->w.out = p->side;
    return o->pack(p->kern, &p->w, e);
}

static void close_product(struct product *p)
{
    const struct kern_ops *o = p->kern->ops;
    o->unpack(p->kern, &p->w);
    o->release(p->kern, (void *)(uintptr_t)p->w.w);
    o->release(p->kern, p->x);
    o->release(p->kern, p->y);
}

/* Operations a second of CALLS products. */
static double rate_of(const struct product *p)
{
    float any;
    const double start = cmd_bench_now_s();
    for (int i = 0; i < CALLS; i++)
        p->kern->ops->linear(p->kern, p->y, NULL, p->x, &p->w, NULL, KERN_ACT_NONE, p->side);
    p->kern->ops->download(p->kern, &any, p->y, sizeof any);
    const double side = (double)p->side;
    return 2.0 * CALLS * side * side * side / (cmd_bench_now_s() - start);
}

static enum status measure(struct kern *k, enum kern_precision prec, bool quick, double *out, struct err *e)
{
    struct product p = {.kern = k, .w = {.prec = prec}, .side = quick ? SIDE_QUICK : SIDE};
    enum status st = open_product(&p, e);
    if (st == STATUS_OK) (void)rate_of(&p); /* plans, clocks */
    *out = 0.0;
    for (int i = 0; i < 5 && st == STATUS_OK; i++) {
        const double rate = rate_of(&p);
        if (rate > *out) *out = rate;
    }
    close_product(&p);
    return st;
}

enum status cmd_bench_device(struct cmd_bench_machine *m, struct kern *k, bool quick, struct err *e)
{
    static const enum kern_precision precisions[] = {KERN_F32, KERN_BF16};
    for (int i = 0; i < 2; i++) {
        const enum cmd_bench_limit limit = i == 0 ? CMD_BENCH_F32 : CMD_BENCH_BF16;
        TRY(measure(k, precisions[i], quick, &m->limit[CMD_BENCH_ONE][limit], e));
        m->limit[CMD_BENCH_ALL][limit] = m->limit[CMD_BENCH_ONE][limit];
        m->by[limit] = "a large product";
    }
    m->device = true;
    return STATUS_OK;
}

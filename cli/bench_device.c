/* bench_device.c - the limits of a backend whose memory is apart: what its device reaches in one large product of each precision.
 *
 * A GPU's data sheet says more than a product of 4096 x 4096 x 4096 reaches; shares are of what was reached in the same run.
 * Devices that are no GPU (those of tests) are slower by five orders, so the product grows only while it stays short.
 */
#include "base/mem.h"
#include "cli/bench.h"
#include "model/encoder.h"

#define SIDE ((size_t)4096) /* at most */
#define SIDE_LEAST ((size_t)256)
#define SHORT_S 0.02 /* CALLS products that take less may be twice as wide */
#define CALLS 8      /* between two waits */
#define ROUNDS 5

struct product {
    struct kern *kern;
    struct kern_matrix w;
    float *x, *y; /* and w.w: room for SIDE x SIDE each */
};

static enum status open_product(struct product *p, struct err *e)
{
    const struct kern_ops *o = p->kern->ops;
    const size_t bytes = SIDE * SIDE * sizeof(float);
    float *w = o->alloc(p->kern, bytes);
    p->w.w = w;
    p->x = o->alloc(p->kern, bytes);
    p->y = o->alloc(p->kern, bytes);
    if (w == NULL || p->x == NULL || p->y == NULL)
        return ERR_SET(e, STATUS_OOM, "no device memory for a product of %zu x %zu", SIDE, SIDE);
    return STATUS_OK;
}

static void close_product(struct product *p)
{
    const struct kern_ops *o = p->kern->ops;
    o->unpack(p->kern, &p->w);
    o->release(p->kern, (void *)(uintptr_t)p->w.w);
    o->release(p->kern, p->x);
    o->release(p->kern, p->y);
}

/* CALLS products of this side. */
static enum status time_products(struct product *p, size_t side, double *seconds, struct err *e)
{
    const struct kern_ops *o = p->kern->ops;
    float any;
    if (p->w.in != side) {
        o->unpack(p->kern, &p->w);
        p->w.in = p->w.out = side;
        TRY(o->pack(p->kern, &p->w, e));
    }
    const double start = cmd_bench_now_s();
    for (int i = 0; i < CALLS; i++) o->linear(p->kern, p->y, NULL, p->x, &p->w, NULL, KERN_ACT_NONE, side);
    o->download(p->kern, &any, p->y, sizeof any);
    *seconds = cmd_bench_now_s() - start;
    return STATUS_OK;
}

/* Operations a second, of the best round at the largest side that is short. */
static enum status find_rate(struct product *p, double *out, struct err *e)
{
    double least, seconds;
    size_t side = SIDE_LEAST;
    TRY(time_products(p, side, &least, e)); /* plans, clocks */
    for (;; side *= 2) {
        for (int i = 0; i < ROUNDS && (i == 0 || least < SHORT_S * ROUNDS); i++) {
            TRY(time_products(p, side, &seconds, e));
            least = i == 0 || seconds < least ? seconds : least;
        }
        if (side == SIDE || least > SHORT_S) break;
    }
    *out = 2.0 * CALLS * (double)side * (double)side * (double)side / least;
    return STATUS_OK;
}

static enum status measure(struct kern *k, enum kern_precision prec, double *out, struct err *e)
{
    struct product p = {.kern = k, .w = {.prec = prec}};
    enum status st = open_product(&p, e);
    if (st == STATUS_OK) st = find_rate(&p, out, e);
    close_product(&p);
    return st;
}

enum status cmd_bench_device(struct cmd_bench_machine *m, struct kern *k, struct err *e)
{
    static const enum kern_precision precisions[] = {KERN_F32, KERN_BF16};
    for (int i = 0; i < 2; i++) {
        const enum cmd_bench_limit limit = i == 0 ? CMD_BENCH_F32 : CMD_BENCH_BF16;
        TRY(measure(k, precisions[i], &m->limit[CMD_BENCH_ONE][limit], e));
        m->limit[CMD_BENCH_ALL][limit] = m->limit[CMD_BENCH_ONE][limit];
        m->by[limit] = "a large product";
    }
    m->device = true;
    return STATUS_OK;
}

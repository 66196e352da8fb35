/* kernels.c - see kernels.h */
#include "tests/support/kernels.h"
#include "base/pool.h"
#include "base/rand.h"
#include "kernels/kern_plugin.h"
#include "tests/support/check.h"
#include "tests/support/kern_bridge.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BUFFERS_MAX 256

static void *buffers[BUFFERS_MAX];
static size_t n_buffers;
static struct kern *ref, *others[8];
static size_t n_others;
static bool tf32; /* operands of f32 products may have lost 13 bits */

struct kern *kernels_ref(void)
{
    struct err e = {0};
    if (ref == NULL) assert_ok(kern_new(&ref, "ref", &e), &e);
    return ref;
}

static void add_backend(struct kern *made)
{
    print_message("backend %s\n", kern_describe(made));
    others[n_others++] = made;
}

/* The plug-in that the environment names, behind a bridge, and nothing else: the processor's have their own run. */
static void add_plugged(void)
{
    struct kern *made;
    struct err e = {0};
    const enum status st = kern_new(&made, tf32 ? "cuda:memory=200,tf32=1" : "cuda:memory=200", &e);
    if (st == STATUS_OK) {
        add_backend(kern_bridge(made));
        return;
    }
    print_message("skipped: %s\n", e.text);
    if (getenv("FRESHET_GPU_MUST") != NULL) fail_msg("%s", e.text);
    exit(77);
}

static void add_processors(void)
{
    static const char *const names[] = {"cpu-avx512bf16", "cpu-avx512", "cpu-avx2",
                                        "cpu-base"}; /* "cpu" is one of them */
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        struct kern *made;
        struct err e = {0};
        const enum status st = kern_new(&made, names[k], &e);
        if (st == STATUS_UNSUPPORTED) continue; /* not on this machine */
        if (st != STATUS_OK) fail_msg("%s: %s", names[k], e.text);
        add_backend(made);
    }
}

struct kern *kernels_backend(size_t i)
{
    if (n_others == 0) {
        tf32 = getenv("FRESHET_TF32") != NULL;
        if (getenv(KERN_PLUGIN_ENV) != NULL)
            add_plugged();
        else
            add_processors();
    }
    return i < n_others ? others[i] : NULL;
}

void kernels_close_all(void)
{
    kernels_reset();
    kern_free(ref);
    ref = NULL;
    while (n_others > 0) kern_free(others[--n_others]);
}

static void *keep(void *p)
{
    assert_non_null(p);
    assert_true(n_buffers < BUFFERS_MAX);
    return buffers[n_buffers++] = p;
}

float *kernels_zeros(size_t n)
{
    return keep(mem_calloc(n, sizeof(float))); /* not aligned on purpose; sanitizers see one element too far */
}

float *kernels_random(size_t n, uint64_t seed)
{
    struct rand r;
    float *x = kernels_zeros(n);
    rand_init(&r, (struct rand_key){.seed = seed, .purpose = RAND_TEST});
    for (size_t i = 0; i < n; i++) x[i] = (float)rand_normal(&r);
    return x;
}

float *kernels_copy(const float *x, size_t n)
{
    float *y = kernels_zeros(n);
    if (n > 0) memcpy(y, x, n * sizeof *y);
    return y;
}

int32_t *kernels_ids(size_t n, int32_t below, uint64_t seed)
{
    struct rand r;
    int32_t *x = keep(mem_calloc(n, sizeof *x));
    rand_init(&r, (struct rand_key){.seed = seed, .purpose = RAND_TEST});
    for (size_t i = 0; i < n; i++) x[i] = (int32_t)rand_below(&r, (uint64_t)below);
    return x;
}

void kernels_reset(void)
{
    while (n_buffers > 0) mem_free(buffers[--n_buffers]);
}

void kernels_close(const char *what, const float *got, const float *want, size_t n, double abs, double rel)
{
    for (size_t i = 0; i < n; i++) {
        const double g = got[i], w = want[i];
        if (fabs(g - w) <= (tf32 ? fmax(abs, 2e-2) + fmax(rel, 2e-3) * fabs(w) : abs + rel * fabs(w))) continue;
        if ((isnan(g) && isnan(w)) || g == w) continue;
        fail_msg("%s[%zu of %zu] is %.9g, ref says %.9g", what, i, n, g, w);
    }
}

void kernels_slope(const char *what, double (*loss)(void *user), void *user, float *x, size_t n, const float *grad,
                   float start, double abs)
{
    for (size_t i = 0; i < n; i++) {
        const float was = x[i], h = 0.01f;
        x[i] = was + h;
        const double up = loss(user), step_up = (double)x[i] - was;
        x[i] = was - h;
        const double down = loss(user), step_down = (double)was - x[i];
        x[i] = was;
        const double slope = (up - down) / (step_up + step_down), got = (double)grad[i] - start;
        if (!(fabs(slope - got) <= abs + 2e-3 * fabs(slope)))
            fail_msg("d%s[%zu of %zu] is %.7g, central differences say %.7g", what, i, n, got, slope);
    }
}

double kernels_weigh(const float *x, const float *w, size_t n)
{
    double s = 0.0;
    for (size_t i = 0; i < n; i++) s += (double)x[i] * w[i];
    return s;
}

struct pool *kernels_pool(void)
{
    struct err e = {0};
    struct pool *p = NULL;
    assert_ok(pool_new(&p, 3, false, &e), &e);
    return p;
}

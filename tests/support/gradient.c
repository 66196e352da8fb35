/* gradient.c - see gradient.h. */
#include "tests/support/gradient.h"
#include "tests/support/check.h"
#include <math.h>
#include <stdbool.h>

#define START 7.0f

float gradient_number(size_t i)
{
    const double v = sin((double)i * 12.9898 + 4.1) * 43758.5453;
    return (float)(2.0 * (v - floor(v)) - 1.0);
}

struct check {
    struct kern *kern;
    struct tape_value in[GRADIENT_INPUTS_MAX];
    size_t n;
    gradient_fn *fn;
    void *user;
};

/* A tape whose memory is full of NaN, so that what should have been written or zeroed shows. */
static void dirty_tape(struct tape *t, struct kern *k, bool record)
{
    enum { N = 1 << 14 };
    tape_init(t, k, record);
    float *x = tape_floats(t, N);
    assert_non_null(x);
    for (size_t i = 0; i < N; i++) x[i] = NAN;
    tape_reset(t);
}

/* The scalar, without recording. */
static double scalar(struct check *c)
{
    struct tape t;
    dirty_tape(&t, c->kern, false);
    const struct tape_value y = c->fn(&t, c->in, c->user);
    assert_false(t.oom);
    double sum = 0;
    for (size_t i = 0; i < y.n * y.c; i++) sum += (double)y.x[i] * (double)gradient_number(1000 + i);
    tape_fini(&t);
    return sum;
}

static double slope(struct check *c, float *at, double h)
{
    const float x = *at;
    double f[4];
    const double steps[4] = {-2 * h, -h, h, 2 * h};
    for (int i = 0; i < 4; i++) {
        *at = (float)((double)x + steps[i]);
        f[i] = scalar(c);
    }
    *at = x;
    return (8.0 * (f[2] - f[1]) - (f[3] - f[0])) / (12.0 * h);
}

static void walk_back(struct check *c)
{
    struct tape t;
    dirty_tape(&t, c->kern, true);
    const struct tape_value y = c->fn(&t, c->in, c->user);
    assert_false(t.oom);
    assert_non_null(y.dx);
    for (size_t i = 0; i < y.n * y.c; i++) y.dx[i] = gradient_number(1000 + i);
    tape_backward(&t);
    assert_false(t.oom);
    tape_fini(&t);
}

static void make_inputs(struct check *c, const struct gradient_input *in, size_t n)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t size = in[i].n * in[i].c;
        c->in[i] = (struct tape_value){mem_aligned(size + 1, sizeof(float)), NULL, in[i].n, in[i].c};
        assert_non_null(c->in[i].x);
        for (size_t j = 0; j < size; j++) c->in[i].x[j] = in[i].centre + in[i].spread * gradient_number(at++);
        if (in[i].constant) continue;
        c->in[i].dx = mem_aligned(size + 1, sizeof(float));
        assert_non_null(c->in[i].dx);
        for (size_t j = 0; j < size; j++) c->in[i].dx[j] = START;
    }
}

void gradient_check(const char *backend, const struct gradient_input *in, size_t n, gradient_fn *fn, void *user,
                    double step, double tolerance)
{
    struct check c = {.n = n, .fn = fn, .user = user};
    assert_true(n <= GRADIENT_INPUTS_MAX);
    assert_int_equal(kern_new(&c.kern, backend, NULL), STATUS_OK);
    make_inputs(&c, in, n);
    walk_back(&c);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; !in[i].constant && j < in[i].n * in[i].c; j++) {
            const double want = slope(&c, &c.in[i].x[j], step), got = (double)c.in[i].dx[j] - (double)START;
            if (!(fabs(want - got) <= tolerance * (1.0 + fabs(want))))
                fail_msg("%s: d%s[%zu] is %g, differences say %g", backend, in[i].name, j, got, want);
        }
    }
    for (size_t i = 0; i < n; i++) {
        mem_free(c.in[i].x);
        mem_free(c.in[i].dx);
    }
    kern_free(c.kern);
}

void gradient_check_all(const struct gradient_input *in, size_t n, gradient_fn *fn, void *user, double step,
                        double tolerance)
{
    gradient_check("ref", in, n, fn, user, step, tolerance);
    gradient_check("cpu", in, n, fn, user, step, tolerance);
}

/* part_newton.c - see part_newton.h.  Lower triangles by rows: element (i,j), j <= i, at i*(i+1)/2 + j. */
#include "model/part_newton.h"
#include "base/mem.h"
#include <assert.h>
#include <math.h>
#include <string.h>

struct part_newton {
    size_t n, cells; /* cells = n(n+1)/2 */
    double ridge;
    double *a, *fresh;  /* (cells) curvature; of the batch under way */
    double *g;          /* (n) gradient of the batch */
    double *factor, *d; /* (cells), (n) scratch of a step */
    bool any;
};

enum status part_newton_new(struct part_newton **out, size_t n, double ridge, struct err *e)
{
    *out = NULL;
    assert(n > 0 && n <= PART_NEWTON_MAX && ridge > 0);
    const size_t cells = n * (n + 1) / 2;
    struct part_newton *q = mem_calloc(1, sizeof *q);
    double *numbers = mem_calloc(3 * cells + 2 * n, sizeof *numbers);
    if (q == NULL || numbers == NULL) {
        mem_free(q);
        mem_free(numbers);
        return ERR_SET(e, STATUS_OOM, "second-order step: %zu x %zu numbers", n, n);
    }
    *q = (struct part_newton){.n = n, .cells = cells, .ridge = ridge, .a = numbers};
    q->fresh = q->a + cells;
    q->factor = q->fresh + cells;
    q->g = q->factor + cells;
    q->d = q->g + n;
    *out = q;
    return STATUS_OK;
}

void part_newton_free(struct part_newton *q)
{
    if (q != NULL) mem_free(q->a);
    mem_free(q);
}

void part_newton_add(struct part_newton *q, const float *x, double curvature, double gradient)
{
    if (!isfinite(curvature) || !isfinite(gradient)) return;
    for (size_t i = 0; i < q->n; i++)
        if (!isfinite(x[i])) return;
    double *row = q->fresh;
    for (size_t i = 0; i < q->n; i++) {
        const double cx = curvature * (double)x[i];
        q->g[i] += gradient * (double)x[i];
        for (size_t j = 0; j <= i; j++) row[j] += cx * (double)x[j];
        row += i + 1;
    }
    q->any = true;
}

/* factor = lower Cholesky factor of a + ridge*I. */
static bool factorise(struct part_newton *q)
{
    double *row = q->factor;
    const double *a = q->a;
    for (size_t i = 0; i < q->n; i++) {
        const double *other = q->factor;
        for (size_t j = 0; j <= i; j++) {
            double s = a[j] + (i == j ? q->ridge : 0.0);
            for (size_t k = 0; k < j; k++) s -= row[k] * other[k];
            if (i == j && !(s > 0)) return false;
            row[j] = i == j ? sqrt(s) : s / other[j];
            other += j + 1;
        }
        row += i + 1;
        a += i + 1;
    }
    return true;
}

/* d = (L L')^-1 d */
static void solve(const struct part_newton *q, double *d)
{
    const double *row = q->factor;
    for (size_t i = 0; i < q->n; i++) {
        for (size_t k = 0; k < i; k++) d[i] -= row[k] * d[k];
        d[i] /= row[i];
        row += i + 1;
    }
    for (size_t i = q->n; i-- > 0;) {
        row -= i + 1;
        d[i] /= row[i];
        for (size_t k = 0; k < i; k++) d[k] -= row[k] * d[i];
    }
}

void part_newton_drop(struct part_newton *q)
{
    memset(q->fresh, 0, q->cells * sizeof *q->fresh);
    memset(q->g, 0, q->n * sizeof *q->g);
    q->any = false;
}

/* The batch joins what was before it. */
static void join_batch(struct part_newton *q, double keep)
{
    for (size_t i = 0; i < q->cells; i++) q->a[i] = keep * q->a[i] + q->fresh[i];
    memcpy(q->d, q->g, q->n * sizeof *q->d);
    part_newton_drop(q);
}

bool part_newton_step(struct part_newton *q, double keep, float *w)
{
    if (!q->any) return false;
    join_batch(q, keep);
    if (!factorise(q)) return false;
    solve(q, q->d);
    for (size_t i = 0; i < q->n; i++)
        if (!isfinite((float)((double)w[i] - q->d[i]))) return false;
    for (size_t i = 0; i < q->n; i++) w[i] = (float)((double)w[i] - q->d[i]);
    return true;
}

void part_newton_precision(const struct part_newton *q, float *out)
{
    const double *row = q->a;
    for (size_t i = 0; i < q->n; i++) {
        for (size_t j = 0; j <= i; j++)
            out[i * q->n + j] = out[j * q->n + i] = (float)(row[j] + (i == j ? q->ridge : 0.0));
        row += i + 1;
    }
}

void part_newton_encode(struct buf *b, const struct part_newton *q)
{
    buf_varint(b, q->n);
    for (size_t i = 0; i < q->cells; i++) buf_f64(b, q->a[i]);
}

enum status part_newton_decode(struct part_newton *q, struct buf_reader *r, struct err *e)
{
    const size_t n = buf_get_count(r, sizeof(double));
    if (r->bad || n != q->n)
        return ERR_SET(e, STATUS_CORRUPT, "second-order matrix: %zu weights, the model has %zu", n, q->n);
    for (size_t i = 0, k = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++, k++) {
            q->a[k] = buf_get_f64(r);
            if (!isfinite(q->a[k]) || (i == j && q->a[k] < 0))
                return ERR_SET(e, STATUS_CORRUPT, "second-order matrix: element (%zu, %zu) is %g", i, j, q->a[k]);
        }
    return r->bad ? ERR_SET(e, STATUS_CORRUPT, "second-order matrix: cut short") : STATUS_OK;
}

/* ref.c - the reference backend's table, its host memory, and the vector operations of one line. */
#include "kernels/ref/ref.h"
#include "base/mem.h"
#include "kernels/kern_backend.h"
#include <string.h>

static enum status ref_open(struct kern *k, struct err *e)
{
    struct kern_state *s = mem_calloc(1, sizeof *s);
    if (s == NULL) return ERR_SET(e, STATUS_OOM, "kernels: no memory for backend ref");
    memcpy(s->about, "ref (plain loops, double sums)", sizeof "ref (plain loops, double sums)");
    k->state = s;
    return STATUS_OK;
}

static void ref_close(struct kern *k)
{
    mem_free(k->state);
    k->state = NULL;
}

static enum status ref_pack(struct kern *k, struct kern_matrix *m, struct err *e)
{
    (void)k, (void)e;
    m->packed = NULL; /* w as it is serves */
    return STATUS_OK;
}

static void ref_unpack(struct kern *k, struct kern_matrix *m)
{
    (void)k;
    m->packed = NULL;
}

void *kern_ref_alloc(struct kern *k, size_t bytes)
{
    (void)k;
    return mem_aligned(bytes, 1);
}

void kern_ref_release(struct kern *k, void *p)
{
    (void)k;
    mem_free(p);
}

void kern_ref_upload(struct kern *k, void *dst, const void *host, size_t bytes)
{
    (void)k;
    if (bytes > 0) memcpy(dst, host, bytes);
}

void kern_ref_download(struct kern *k, void *host, const void *src, size_t bytes)
{
    (void)k;
    if (bytes > 0) memcpy(host, src, bytes);
}

void kern_ref_begin(struct kern *k)
{
    (void)k;
}

void kern_ref_end(struct kern *k)
{
    (void)k;
}

void kern_ref_zero(struct kern *k, float *x, size_t n)
{
    (void)k;
    if (n > 0) memset(x, 0, n * sizeof *x);
}

void kern_ref_copy(struct kern *k, float *y, const float *x, size_t n)
{
    (void)k;
    if (n > 0) memcpy(y, x, n * sizeof *y);
}

void kern_ref_axpy(struct kern *k, float *y, float a, const float *x, size_t n)
{
    (void)k;
    for (size_t i = 0; i < n; i++) y[i] = (float)((double)y[i] + (double)a * x[i]);
}

const struct kern_ops kern_ref_ops = {
    .name = "ref",
    .host_visible = true,
    .rows_alone = true,
    .open = ref_open,
    .close = ref_close,
    .alloc = kern_ref_alloc,
    .release = kern_ref_release,
    .upload = kern_ref_upload,
    .download = kern_ref_download,
    .begin = kern_ref_begin,
    .end = kern_ref_end,
    .pack = ref_pack,
    .unpack = ref_unpack,
    .zero = kern_ref_zero,
    .copy = kern_ref_copy,
    .axpy = kern_ref_axpy,
    .linear = kern_ref_linear,
    .linear_dx = kern_ref_linear_dx,
    .linear_dw = kern_ref_linear_dw,
    .gemm_nt = kern_ref_gemm_nt,
    .gemm_nn = kern_ref_gemm_nn,
    .gemm_tn = kern_ref_gemm_tn,
    .act = kern_ref_act,
    .act_backward = kern_ref_act_backward,
    .layernorm = kern_ref_layernorm,
    .layernorm_backward = kern_ref_layernorm_backward,
    .attention = kern_ref_attention,
    .attention_backward = kern_ref_attention_backward,
    .gather = kern_ref_gather,
    .scatter_add = kern_ref_scatter_add,
    .widen = kern_ref_widen,
    .put_rows = kern_ref_put_rows,
    .embed = kern_ref_embed,
    .mean_rows = kern_ref_mean_rows,
    .unit_rows = kern_ref_unit_rows,
    .unit_rows_backward = kern_ref_unit_rows_backward,
    .dropout = kern_ref_dropout,
    .bce = kern_ref_bce,
    .slate_softmax = kern_ref_slate_softmax,
    .task_bce = kern_ref_task_bce,
    .match = kern_ref_match,
    .match_backward = kern_ref_match_backward,
    .match_fixed = kern_ref_match_fixed,
    .sparse_forward = kern_ref_sparse_forward,
    .sparse_adagrad = kern_ref_sparse_adagrad,
    .adamw = kern_ref_adamw,
    .adamw_matrix = kern_ref_adamw_matrix,
    .adagrad = kern_ref_adagrad,
    .pull = kern_ref_pull,
    .sum_squares = kern_ref_sum_squares,
    .all_finite = kern_ref_all_finite,
};

/* plugin.cu - what the plug-in shows: its one symbol, the table, opening and closing, copies between host and device. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/queue.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void close_state(struct cuda *c)
{
    cuda_kept_close(c);
    cuda_nccl_close(c);
    cuda_dnn_close(c);
    cuda_lt_close(c);
    cuda_queue_close(c);
    cuda_said_close(c);
    cuda_memory_give(c->scratch);
    if (c->bounce != NULL) (void)cudaFreeHost(c->bounce);
    if (c->stream != NULL) (void)cudaStreamDestroy(c->stream);
    free(c->host);
    free(c);
    cuda_memory_close();
}

static bool make_stream(struct cuda *c)
{
    return cudaStreamCreateWithFlags(&c->stream, cudaStreamNonBlocking) == cudaSuccess && cuda_queue_open(c) &&
           cudaMallocHost((void **)&c->bounce, CUDA_STAGING) == cudaSuccess;
}

static enum status cuda_open(struct kern *k, struct err *e)
{
    const struct kern_plugin_settings settings = *(const struct kern_plugin_settings *)k->state;
    char about[sizeof ((struct kern_state *)0)->about];
    k->state = NULL;
    const enum status st = cuda_memory_open(&settings, about, sizeof about, e);
    if (st != STATUS_OK) return st;
    struct cuda *c = (struct cuda *)calloc(1, sizeof *c);
    if (c == NULL) {
        cuda_memory_close();
        return ERR_SET(e, STATUS_OOM, "cuda: no host memory");
    }
    memcpy(c->head.about, about, sizeof about);
    c->tf32 = settings.tf32;
    c->kept_mb = settings.kept_mb;
    enum status made = STATUS_OK;
    if (!make_stream(c))
        made = ERR_SET(e, STATUS_UNSUPPORTED, "cuda: no stream or pinned memory: %s", cudaGetErrorString(cudaGetLastError()));
    if (made == STATUS_OK) made = cuda_lt_open(c, e);
    if (made != STATUS_OK) {
        close_state(c);
        return made;
    }
    if (settings.cudnn) cuda_dnn_open(c, settings.plans);
    cuda_dnn_about(c, c->head.about, sizeof c->head.about);
    k->state = c;
    return STATUS_OK;
}

static void cuda_close(struct kern *k)
{
    close_state(cuda_of(k));
    k->state = NULL;
}

static void *cuda_alloc(struct kern *k, size_t bytes)
{
    cuda_memory_here();
    void *p = cuda_memory_take(bytes);
    if (p != NULL) cuda_put_zero(cuda_of(k), p, bytes);
    return p;
}

static void cuda_release(struct kern *k, void *p)
{
    if (p == NULL) return;
    cuda_memory_here();
    cuda_wait(cuda_of(k), "releasing memory");
    cuda_memory_give(p);
}

/* In order with what was put before, since the target may still be read by it. */
static void cuda_upload(struct kern *k, void *dst, const void *host, size_t bytes)
{
    cuda_memory_here();
    cuda_put_upload(cuda_of(k), dst, host, bytes);
}

static void cuda_download(struct kern *k, void *host, const void *src, size_t bytes)
{
    struct cuda *c = cuda_of(k);
    cuda_memory_here();
    cuda_flush(c);
    for (size_t at = 0, n; at < bytes; at += n) {
        n = bytes - at < CUDA_STAGING ? bytes - at : CUDA_STAGING;
        cuda_check(c, cudaMemcpyAsync(c->bounce, (const char *)src + at, n, cudaMemcpyDeviceToHost, c->stream), "download");
        cuda_wait(c, "download");
        memcpy((char *)host + at, c->bounce, n);
    }
    if (c->failed) memset(host, 0xff, bytes); /* NaN in every float */
}

/* The calling thread may be another one than that which opened. */
static void cuda_begin(struct kern *k)
{
    cuda_memory_here();
    cuda_queue_begin(cuda_of(k));
}

static void cuda_end(struct kern *k)
{
    cuda_queue_end(cuda_of(k));
}

static const struct kern_ops ops = {
    .name = "cuda",
    .host_visible = false,
    .together = &cuda_together,
    .kept = &cuda_kept,
    .rows_alone = true,
    .open = cuda_open,
    .close = cuda_close,
    .alloc = cuda_alloc,
    .release = cuda_release,
    .upload = cuda_upload,
    .download = cuda_download,
    .begin = cuda_begin,
    .end = cuda_end,
    .pack = cuda_pack,
    .unpack = cuda_unpack,
    .zero = cuda_zero,
    .copy = cuda_copy,
    .axpy = cuda_axpy,
    .linear = cuda_linear,
    .linear_dx = cuda_linear_dx,
    .linear_dw = cuda_linear_dw,
    .gemm_nt = cuda_gemm_nt,
    .gemm_nn = cuda_gemm_nn,
    .gemm_tn = cuda_gemm_tn,
    .act = cuda_act,
    .act_backward = cuda_act_backward,
    .layernorm = cuda_layernorm,
    .layernorm_backward = cuda_layernorm_backward,
    .attention = cuda_attention,
    .attention_backward = cuda_attention_backward,
    .stack = cuda_stack,
    .gather = cuda_gather,
    .scatter_add = cuda_scatter_add,
    .embed = cuda_embed,
    .widen = cuda_widen,
    .put_rows = cuda_put_rows,
    .mean_rows = cuda_mean_rows,
    .unit_rows = cuda_unit_rows,
    .unit_rows_backward = cuda_unit_rows_backward,
    .dropout = cuda_dropout,
    .bce = cuda_bce,
    .slate_softmax = cuda_slate_softmax,
    .task_bce = cuda_task_bce,
    .match = cuda_match,
    .match_backward = cuda_match_backward,
    .match_fixed = cuda_match_fixed,
    .sparse_forward = cuda_sparse_forward,
    .sparse_adagrad = cuda_sparse_adagrad,
    .adamw = cuda_adamw,
    .adamw_matrix = cuda_adamw_matrix,
    .adagrad = cuda_adagrad,
    .pull = cuda_pull,
    .sum_squares = cuda_sum_squares,
    .all_finite = cuda_all_finite,
};

#ifdef __cplusplus
extern "C" {
#endif
__attribute__((visibility("default"))) const struct kern_plugin *freshet_kern_plugin(void);
const struct kern_plugin *freshet_kern_plugin(void)
{
    static const struct kern_plugin self = {KERN_PLUGIN_ABI, (uint32_t)sizeof(struct kern_ops), KERN_PLUGIN_ARGS, &ops};
    return &self;
}
#ifdef __cplusplus
}
#endif

/* plugin.cu - what the plug-in shows: its one symbol, the table, opening and closing, copies between host and device. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/graph.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void close_state(struct cuda *c)
{
    cuda_nccl_close(c);
    cuda_dnn_close(c);
    cuda_lt_close(c);
    cuda_graphs_close(c);
    if (c->stream != NULL) (void)cudaStreamSynchronize(c->stream);
    cuda_memory_give(c->scratch);
    for (int i = 0; i < 2; i++)
        if (c->copied[i] != NULL) (void)cudaEventDestroy(c->copied[i]);
    if (c->staging != NULL) (void)cudaFreeHost(c->staging);
    if (c->bounce != NULL) (void)cudaFreeHost(c->bounce);
    if (c->stream != NULL) (void)cudaStreamDestroy(c->stream);
    free(c->host);
    free(c);
    cuda_memory_close();
}

static bool make_stream(struct cuda *c)
{
    return cudaStreamCreateWithFlags(&c->stream, cudaStreamNonBlocking) == cudaSuccess &&
           cudaEventCreateWithFlags(&c->copied[0], cudaEventDisableTiming) == cudaSuccess &&
           cudaEventCreateWithFlags(&c->copied[1], cudaEventDisableTiming) == cudaSuccess &&
           cudaMallocHost((void **)&c->staging, CUDA_STAGING) == cudaSuccess &&
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
    if (p != NULL) cuda_check(cuda_of(k), cudaMemsetAsync(p, 0, bytes, cuda_of(k)->stream), "clearing memory");
    return p;
}

static void cuda_release(struct kern *k, void *p)
{
    if (p == NULL) return;
    cuda_memory_here();
    cuda_check(cuda_of(k), cudaStreamSynchronize(cuda_of(k)->stream), "releasing memory");
    cuda_memory_give(p);
}

/* Room for `bytes` in pinned memory, after what was in that half before has left it. */
static char *stage(struct cuda *c, size_t bytes)
{
    if (c->staged + bytes > CUDA_STAGING / 2) {
        cuda_check(c, cudaEventRecord(c->copied[c->half], c->stream), "upload");
        c->half = 1 - c->half;
        c->staged = 0;
        cuda_check(c, cudaEventSynchronize(c->copied[c->half]), "upload");
    }
    char *at = c->staging + (size_t)c->half * (CUDA_STAGING / 2) + c->staged;
    c->staged += (bytes + 63) / 64 * 64;
    return at;
}

/* In order with what was queued before, since the target may still be read by it.  host may be changed afterwards. */
static void cuda_upload(struct kern *k, void *dst, const void *host, size_t bytes)
{
    struct cuda *c = cuda_of(k);
    cuda_memory_here();
    for (size_t at = 0, n; at < bytes; at += n) {
        n = bytes - at < CUDA_STAGING / 4 ? bytes - at : CUDA_STAGING / 4;
        char *from = stage(c, n);
        memcpy(from, (const char *)host + at, n);
        cuda_check(c, cudaMemcpyAsync((char *)dst + at, from, n, cudaMemcpyHostToDevice, c->stream), "upload");
    }
}

static void cuda_download(struct kern *k, void *host, const void *src, size_t bytes)
{
    struct cuda *c = cuda_of(k);
    cuda_memory_here();
    for (size_t at = 0, n; at < bytes; at += n) {
        n = bytes - at < CUDA_STAGING ? bytes - at : CUDA_STAGING;
        cuda_check(c, cudaMemcpyAsync(c->bounce, (const char *)src + at, n, cudaMemcpyDeviceToHost, c->stream), "download");
        cuda_check(c, cudaStreamSynchronize(c->stream), "download");
        memcpy((char *)host + at, c->bounce, n);
    }
    if (c->failed) memset(host, 0xff, bytes); /* NaN in every float */
}

/* The calling thread may be another one than that which opened.  Nothing is captured between begin and end: callers download
 * in the middle (cosines of match, gradients of sparse rows), which no CUDA graph can hold. */
static void cuda_begin(struct kern *k)
{
    (void)k;
    cuda_memory_here();
}

static void cuda_end(struct kern *k)
{
    (void)k;
}

static const struct kern_ops ops = {
    .name = "cuda",
    .host_visible = false,
    .together = &cuda_together,
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

/* cuda.h - inside the plug-in: the state of a struct kern, its device's memory, and the functions behind the table.
 *
 * One device and one block of its memory for the process (memory.cu); each struct kern has a stream, on which everything
 * that it does is put in order (queue.h), pinned memory for copies, scratch for the operation under way, and plans for products.
 * A fault of the device is sticky: it is said once on stderr, and what is downloaded afterwards is not a number, so that no
 * loss or score made of it passes for one.
 */
#ifndef KERNELS_CUDA_CUDA_H
#define KERNELS_CUDA_CUDA_H
#ifdef __cplusplus
extern "C" {
#endif
#include "kernels/kern_backend.h"
#include "kernels/kern_plugin.h"
#ifdef __cplusplus
}
#endif
#include "kernels/cuda/launch.h"

#define CUDA_STAGING ((size_t)8 << 20) /* bytes of pinned memory for uploads at first, and as many for downloads */

struct cuda_lt;
struct cuda_queue;
struct cuda_said;
struct cuda_nccl;
struct cuda_dnn;
struct cuda_kept;
struct cuda { /* k->state */
    struct kern_state head;
    cudaStream_t stream;
    struct cuda_queue *queue; /* what is put on the stream (queue.h) */
    char *bounce;             /* pinned, for downloads */
    char *scratch;            /* of the operation under way */
    size_t scratch_bytes;
    char *host; /* likewise, host memory */
    size_t host_bytes;
    struct cuda_lt *lt;
    struct cuda_said *said; /* update.cu */
    struct cuda_nccl *nccl; /* NULL: it has joined nobody */
    struct cuda_dnn *dnn;   /* dnn.h; NULL: not there, not wanted, or not to be trusted */
    struct cuda_kept *kept; /* kept.cu; NULL: nothing was asked for yet */
    size_t kept_mb;         /* 0: nothing is kept */
    bool tf32, failed;
};

static inline struct cuda *cuda_of(const struct kern *k)
{
    return (struct cuda *)k->state;
}

/* queue.cu: what goes on the stream goes through here, in order, now or with the next flush.  `issue` puts a command on the stream and
 * is all that knows what its bytes say (every one counts: what is not a value is 0); false: it was refused, and nothing was done,
 * which cuda_put returns the first time it happens. */
typedef bool cuda_issue_fn(struct cuda *c, const void *what);
bool cuda_put(struct cuda *c, cuda_issue_fn *issue, const void *head, size_t n_head, const void *rest, size_t n_rest);
void cuda_put_kernel(struct cuda *c, const void *of, size_t grid, size_t block, const void *args, size_t bytes, const char *what);
void cuda_launch(struct cuda *c, const void *of, size_t grid, size_t block, const void *args, const char *what); /* at once */
void cuda_put_zero(struct cuda *c, void *p, size_t bytes);
void cuda_put_copy(struct cuda *c, void *to, const void *from, size_t bytes);
void cuda_put_upload(struct cuda *c, void *to, const void *host, size_t bytes); /* host may be changed afterwards */
void cuda_flush(struct cuda *c); /* all that was put is on the stream; who uses the stream itself calls it before */
void cuda_wait(struct cuda *c, const char *what); /* and done */
void cuda_forget(struct cuda *c);                 /* waits, and no recording is left */
uint64_t cuda_turn(const struct cuda *c);         /* grows with every flush */

/* kept.cu */
extern const struct kern_kept cuda_kept;
void cuda_kept_close(struct cuda *c);
void cuda_kept_waited(struct cuda *c); /* all that was put is done */

/* update.cu */
void cuda_said_close(struct cuda *c);

/* memory.cu */
enum status cuda_memory_open(const struct kern_plugin_settings *s, char *about, size_t about_bytes, struct err *e);
void cuda_memory_close(void);
const char *cuda_memory_device(void); /* "NVIDIA H200" */
size_t cuda_memory_bytes(void);       /* of the block */
void cuda_memory_here(void);          /* the calling thread uses the process's device from now on */
void *cuda_memory_take(size_t bytes); /* 256-byte aligned; NULL: none left */
void cuda_memory_give(void *p);       /* whoever used it has waited for its stream */
/* Scratch for one operation, 256-byte aligned; the next call may give the same.  NULL: no memory, and c has failed. */
void *cuda_scratch(struct cuda *c, size_t bytes);
void *cuda_host_room(struct cuda *c, size_t bytes); /* host memory for one operation; NULL as above */
void cuda_check(struct cuda *c, cudaError_t code, const char *what);
void cuda_fail(struct cuda *c, const char *what, const char *why);

/* library.cu: the first of these that can be opened (NULL ones are passed over); it stays loaded, as other struct kern use it.
 * NULL: none, and dlerror says why. */
void *cuda_library(const char *own, const char *versioned, const char *plain);

/* gemm.cu: c (M,N) = op(a) op(b) + beta*c on rows; forms as the three operations of the table. */
enum cuda_form { CUDA_NT, CUDA_NN, CUDA_TN };
struct cuda_product {
    enum cuda_form form;
    void *c;           /* float, or bfloat16 with `narrow` */
    const void *a, *b; /* float, or bfloat16 with `bf16` */
    size_t ldc, lda, ldb, M, N, K;
    float beta;
    bool bf16;
    const void *bias;  /* (N), added to each row; with beta 0 only; of c's type */
    enum kern_act act; /* NONE, RELU or GELU_NEW, after the bias */
    float *aux;        /* what act was applied to (GELU_NEW alone), or NULL */
    bool steady;       /* the algorithm does not depend on M */
    bool narrow;       /* for cuBLASLt alone */
};
enum status cuda_lt_open(struct cuda *c, struct err *e);
void cuda_lt_close(struct cuda *c);
bool cuda_lt_product(struct cuda *c, const struct cuda_product *p); /* false: not for cuBLASLt; nothing was done */
bool cuda_lt_knows(struct cuda *c, const struct cuda_product *p);   /* it has a plan for that */
/* The same by a kernel of our own, for any shape and alignment; bf16: float operands, rounded as they are read. */
void cuda_plain_product(struct cuda *c, const struct cuda_product *p);
void cuda_to_bf16(struct cuda *c, uint16_t *out, const float *x, size_t n);
/* out (C) += sums of columns of d (N,C) times, where x is not NULL, (x - mean)*rstd. */
void cuda_column_sums(struct cuda *c, float *out, const float *d, const float *x, const float *mean, const float *rstd,
                      size_t N, size_t C);

/* dnn.cu */
void cuda_dnn_open(struct cuda *c, const char *plans); /* plans: folder, "" for none */
void cuda_dnn_close(struct cuda *c);
void cuda_dnn_about(const struct cuda *c, char *about, size_t bytes); /* puts its version into what kern_describe says */

/* nccl.cu: sums over processes. */
extern const struct kern_together cuda_together;
void cuda_nccl_close(struct cuda *c);

/* The table's entries, by file. */
enum status cuda_pack(struct kern *k, struct kern_matrix *m, struct err *e);
void cuda_unpack(struct kern *k, struct kern_matrix *m);
void cuda_zero(struct kern *k, float *x, size_t n);
void cuda_copy(struct kern *k, float *y, const float *x, size_t n);
void cuda_axpy(struct kern *k, float *y, float a, const float *x, size_t n);
void cuda_linear(struct kern *k, float *y, float *pre, const float *x, const struct kern_matrix *w, const float *b,
                 enum kern_act act, size_t N);
void cuda_linear_dx(struct kern *k, float *dx, const float *dy, const struct kern_matrix *w, size_t N);
void cuda_linear_dw(struct kern *k, float *dw, float *db, const float *dy, const float *x, size_t N, size_t O, size_t I,
                    enum kern_precision prec, bool add);
void cuda_gemm_nt(struct kern *k, float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb,
                  size_t M, size_t N, size_t K, float beta);
void cuda_gemm_nn(struct kern *k, float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb,
                  size_t M, size_t N, size_t K, float beta);
void cuda_gemm_tn(struct kern *k, float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb,
                  size_t M, size_t N, size_t K, float beta);
void cuda_act(struct kern *k, float *y, const float *x, enum kern_act act, size_t n);
void cuda_act_backward(struct kern *k, float *dx, const float *dy, const float *x, enum kern_act act, size_t n);
void cuda_dropout(struct kern *k, float *y, const float *x, const uint8_t *keep, float p, size_t n);
void cuda_layernorm(struct kern *k, float *out, float *mean, float *rstd, float *sum, const float *x, const float *res,
                    const float *gain, const float *bias, float eps, size_t N, size_t C);
void cuda_layernorm_backward(struct kern *k, float *dx, float *dgain, float *dbias, const float *dout, const float *x,
                             const float *gain, const float *mean, const float *rstd, size_t N, size_t C);
void cuda_attention(struct kern *k, float *out, float *prob, const float *q, size_t ldq, const float *kk,
                    const float *vv, size_t ldk, const float *pk, const float *pv, size_t ldp,
                    const struct kern_segments *seg, size_t H, size_t D);
void cuda_attention_backward(struct kern *k, float *dq, size_t lddq, float *dk, float *dv, size_t lddk, float *dpk,
                             float *dpv, size_t lddp, const float *dout, const float *prob, const float *q, size_t ldq,
                             const float *kk, const float *vv, size_t ldk, const float *pk, const float *pv, size_t ldp,
                             const struct kern_segments *seg, size_t H, size_t D);
bool cuda_stack(struct kern *k, float *x, void *room, const struct kern_stack *s, const struct kern_segments *seg, size_t N);
void cuda_gather(struct kern *k, float *out, const float *table, const int32_t *idx, size_t N, size_t C);
void cuda_scatter_add(struct kern *k, float *dtable, const float *d, const int32_t *idx, size_t N, size_t C);
void cuda_widen(struct kern *k, float *y, const uint16_t *x, size_t n);
void cuda_put_rows(struct kern *k, float *table, const float *d, const int32_t *idx, size_t N, size_t C);
void cuda_embed(struct kern *k, float *x, const float *word, const float *position, const float *type,
                const int32_t *id, const int32_t *pos, const int32_t *typ, size_t N, size_t C);
void cuda_mean_rows(struct kern *k, float *out, const float *x, const int32_t *off, size_t S, size_t C);
void cuda_unit_rows(struct kern *k, float *out, float *norm, const float *x, float scale, size_t N, size_t C);
void cuda_unit_rows_backward(struct kern *k, float *dx, const float *dout, const float *out, const float *norm,
                             float scale, size_t N, size_t C);
void cuda_bce(struct kern *k, float *loss, float *dz, const float *z, const float *y, const float *w, float scale,
              size_t n);
void cuda_slate_softmax(struct kern *k, float *loss, float *dz, const float *z, const float *y, const float *w,
                        float scale, size_t n);
void cuda_task_bce(struct kern *k, float *loss, float *ds, float *dh, const float *s, const float *h, const float *y,
                   const uint8_t *chained, size_t K, size_t T);
void cuda_match(struct kern *k, float *feat, float *keep, const struct kern_match *m);
void cuda_match_backward(struct kern *k, float *ds, float *db, float *dtau, const float *dfeat, const float *keep,
                         const struct kern_match *m);
void cuda_match_fixed(struct kern *k, float *out, const float *taste, const float *cos, const uint8_t *self, size_t K,
                      size_t E);
void cuda_sparse_forward(struct kern *k, float *z, const float *w, const uint32_t *off, const uint32_t *idx,
                         const float *val, size_t n);
void cuda_sparse_adagrad(struct kern *k, float *w, float *acc, const uint32_t *idx, const float *g, float lr, size_t N,
                         size_t C);
void cuda_adamw(struct kern *k, float *w, float *m, float *v, const float *g, size_t n, const struct kern_adamw *o);
void cuda_adamw_matrix(struct kern *k, const struct kern_matrix *w, float *m, float *v, const float *g,
                       const struct kern_adamw *o);
void cuda_adagrad(struct kern *k, float *w, float *acc, const float *g, float lr, size_t n);
void cuda_pull(struct kern *k, float *w, const float *to, float share, size_t n);
void cuda_sum_squares(struct kern *k, float *out, const float *x, size_t n);
void cuda_all_finite(struct kern *k, float *out, const float *x, size_t n);
#endif

/* dnn.h - graphs of cuDNN: described operation by operation, made a plan once, run often.
 *
 * cuDNN is opened at run time where it is; without it, or where none of its engines takes a graph, c->dnn or a plan is missing and
 * the caller has kernels of ours.  Engines whose results change from run to run are passed over.
 */
#ifndef KERNELS_CUDA_DNN_H
#define KERNELS_CUDA_DNN_H
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/dnn_calls.h"

#define DNN_MADE_MAX 80 /* descriptors of a graph */
#define DNN_OPS_MAX 20
#define DNN_GIVEN_MAX 16 /* tensors of a graph that the caller brings */

struct dnn_plans;                                       /* dnn_attention.cu */
enum dnn_trust { DNN_UNTRIED, DNN_TRYING, DNN_AGREES }; /* dnn_check.cu */
struct cuda_dnn {
    struct dnn_calls call;
    void *handle; /* NULL: not started, as most struct kern never want it (workers of frozen states) */
    size_t version; /* 91501: 9.15.1 */
    struct dnn_plans *plans;
    char folder[320]; /* of kept plans; "": none */
    enum dnn_trust trust;
    bool declined; /* some shape had no engine, which was said */
};

enum dnn_kind {
    DNN_OF_CALLER, /* in device memory, brought to each run */
    DNN_NUMBER,    /* one float in host memory, brought to each run */
    DNN_WITHIN     /* between operations, never in memory */
};
struct dnn_shape {
    int64_t dim[4], stride[4]; /* elements */
};

/* A graph that is being described; a call that fails shows when it is made a plan. */
struct dnn_graph {
    struct cuda_dnn *dnn;
    void *made[DNN_MADE_MAX], *ops[DNN_OPS_MAX];
    size_t n_made, n_ops;
    bool failed;
};
void *dnn_tensor(struct dnn_graph *g, int64_t id, int type, const struct dnn_shape *s, enum dnn_kind kind);
void dnn_pointwise(struct dnn_graph *g, int mode, void *y, void *x,
                   void *b);                                     /* y = x <mode> b; b NULL: of one operand */
void dnn_reduce(struct dnn_graph *g, int how, void *y, void *x); /* over the dimensions where y has 1 */
void dnn_matmul(struct dnn_graph *g, void *c, void *a, void *b); /* of the last two dimensions */
void dnn_reshape(struct dnn_graph *g, void *y, void *x);         /* the same numbers by y's strides */

struct dnn_plan {
    void *plan, *config; /* NULL: there is none */
    size_t workspace;    /* bytes */
};
/* Ends the description: its descriptors are gone, whether there is a plan or not.  name says all that the graph depends on: a plan that
 * was kept under it for this device and version is taken in the place of compiling one. */
struct dnn_plan dnn_plan(struct dnn_graph *g, const char *name);
void dnn_plan_drop(struct cuda_dnn *dnn, struct dnn_plan *p);
bool dnn_plan_measure(struct cuda_dnn *dnn, struct dnn_plan *p); /* its workspace, of a finished one */
/* dnn_keep.cu: plans in dnn->folder.  No plan there, or a damaged one, is no fault: it is compiled, and kept. */
struct dnn_plan dnn_kept(struct cuda_dnn *dnn, const char *name);
void dnn_keep(struct cuda_dnn *dnn, const struct dnn_plan *p, const char *name);
/* Puts it on c's stream; ids and pointers (n) of what the caller brings, of which the last n_numbers are numbers instead. */
void dnn_run(struct cuda *c, const struct dnn_plan *p, size_t n, const int64_t *ids, void *const *pointers,
             size_t n_numbers, const float *numbers, void *workspace);

/* Does what cuda_attention and cuda_attention_backward do, in bfloat16 products, where seg->prec allows it, the shape suits and there
 * is a plan; false: nothing was done.  What one says for a call's arguments the other says as well; with cuDNN `prob` is neither
 * written nor read.  */
struct dnn_call {
    const float *q, *k, *v, *pk, *pv; /* as the operations' arguments; prefix rows may be NULL */
    size_t ldq, ldk, ldp, H, D;
    const struct kern_segments *seg;
};
struct dnn_back {
    float *dq, *dk, *dv, *dpk, *dpv;
    size_t lddq, lddk, lddp;
    const float *dout;
};
bool dnn_attention(struct kern *k, float *out, const struct dnn_call *call);
bool dnn_attention_backward(struct kern *k, const struct dnn_back *back, const struct dnn_call *call);
void dnn_plans_drop(struct cuda_dnn *dnn);
bool dnn_start(struct cuda *c); /* false: it does not, which was said, and c->dnn is gone */
/* Whether cuDNN's attention gives what our own does on a small problem.  Tried once; where it does not, that is said, and c->dnn
 * is gone. */
bool dnn_agrees(struct kern *k);
#endif

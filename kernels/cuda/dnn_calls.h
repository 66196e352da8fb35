/* dnn_calls.h - what dnn.cu uses of cuDNN's backend interface (cuDNN 9; "Backend API" of its documentation).
 *
 * Written out, since toolkits come without the library's header, and the library is opened at run time alone.  Values are those of
 * cudnn_graph.h from 9.0 to 9.28, with its enumerations as int; handles and descriptors are pointers.
 */
#ifndef KERNELS_CUDA_DNN_CALLS_H
#define KERNELS_CUDA_DNN_CALLS_H
#include <cuda_runtime.h>
#include <stddef.h>
#include <stdint.h>

#define DNN_LEAST 90000 /* cudnnGetVersion */

enum { DNN_SUCCESS = 0 };

/* cudnnDataType_t, cudnnPointwiseMode_t, cudnnReduceTensorOp_t, and others of few names */
enum { DNN_FLOAT = 0, DNN_BFLOAT16 = 9 };
enum { DNN_ADD = 0, DNN_MUL = 1, DNN_DIV = 6, DNN_SUB = 9, DNN_EXP = 13, DNN_LOG = 15 };
enum { DNN_REDUCE_ADD = 0, DNN_REDUCE_MAX = 3 };
enum { DNN_HEUR_FALLBACK = 2, DNN_HEUR_A = 3 };
enum { DNN_NOTE_NONDETERMINISTIC = 4, DNN_NOTES = 32 };

/* cudnnBackendAttributeType_t */
enum {
    DNN_TYPE_HANDLE = 0,
    DNN_TYPE_DATA_TYPE = 1,
    DNN_TYPE_BOOLEAN = 2,
    DNN_TYPE_INT64 = 3,
    DNN_TYPE_VOID_PTR = 6,
    DNN_TYPE_HEUR_MODE = 8,
    DNN_TYPE_NUMERICAL_NOTE = 11,
    DNN_TYPE_POINTWISE_MODE = 14,
    DNN_TYPE_DESCRIPTOR = 15,
    DNN_TYPE_REDUCTION = 18,
    DNN_TYPE_CHAR = 24
};

/* cudnnBackendDescriptorType_t */
enum {
    DNN_POINTWISE = 0,
    DNN_ENGINE = 2,
    DNN_ENGINECFG = 3,
    DNN_ENGINEHEUR = 4,
    DNN_PLAN = 5,
    DNN_OP_POINTWISE = 13,
    DNN_GRAPH = 15,
    DNN_VARIANT_PACK = 16,
    DNN_TENSOR = 17,
    DNN_MATMUL = 18,
    DNN_OP_MATMUL = 19,
    DNN_REDUCTION = 21,
    DNN_OP_REDUCTION = 22,
    DNN_OP_RESHAPE = 31
};

/* cudnnBackendAttributeName_t */
enum {
    DNN_POINTWISE_MODE = 0,
    DNN_POINTWISE_PREC = 1,
    DNN_HEUR_MODE = 200,
    DNN_HEUR_GRAPH = 201,
    DNN_HEUR_RESULTS = 202,
    DNN_CFG_ENGINE = 300,
    DNN_PLAN_HANDLE = 400,
    DNN_PLAN_CFG = 401,
    DNN_PLAN_WORKSPACE = 402,
    DNN_PLAN_JSON = 405,
    DNN_OP_POINTWISE_HOW = 750,
    DNN_OP_POINTWISE_X = 751,
    DNN_OP_POINTWISE_B = 752,
    DNN_OP_POINTWISE_Y = 753,
    DNN_GRAPH_HANDLE = 800,
    DNN_GRAPH_OPS = 801,
    DNN_TENSOR_ALIGNMENT = 900,
    DNN_TENSOR_DATA_TYPE = 901,
    DNN_TENSOR_DIMENSIONS = 902,
    DNN_TENSOR_STRIDES = 903,
    DNN_TENSOR_ID = 906,
    DNN_TENSOR_VIRTUAL = 907,
    DNN_TENSOR_BY_VALUE = 908,
    DNN_PACK_IDS = 1000,
    DNN_PACK_POINTERS = 1001,
    DNN_PACK_WORKSPACE = 1003,
    DNN_ENGINE_NOTES = 1303,
    DNN_MATMUL_PREC = 1500,
    DNN_OP_MATMUL_A = 1520,
    DNN_OP_MATMUL_B = 1521,
    DNN_OP_MATMUL_C = 1522,
    DNN_OP_MATMUL_HOW = 1523,
    DNN_REDUCTION_HOW = 1600,
    DNN_REDUCTION_PREC = 1601,
    DNN_OP_REDUCTION_X = 1610,
    DNN_OP_REDUCTION_Y = 1611,
    DNN_OP_REDUCTION_HOW = 1612,
    DNN_OP_RESHAPE_X = 2200,
    DNN_OP_RESHAPE_Y = 2201
};

#define DNN_CALLS(X)                                                                                                   \
    X(size_t, GetVersion, (void))                                                                                      \
    X(int, Create, (void **))                                                                                          \
    X(int, Destroy, (void *))                                                                                          \
    X(int, SetStream, (void *, cudaStream_t))                                                                          \
    X(const char *, GetErrorString, (int))                                                                             \
    X(int, BackendCreateDescriptor, (int, void **))                                                                    \
    X(int, BackendDestroyDescriptor, (void *))                                                                         \
    X(int, BackendFinalize, (void *))                                                                                  \
    X(int, BackendSetAttribute, (void *, int, int, int64_t, const void *))                                             \
    X(int, BackendGetAttribute, (void *, int, int, int64_t, int64_t *, void *))                                        \
    X(int, BackendExecute, (void *, void *, void *))

struct dnn_calls {
#define X(type, f, args) type(*f) args;
    DNN_CALLS(X)
#undef X
};
#endif

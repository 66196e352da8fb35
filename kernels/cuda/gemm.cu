/* gemm.cu - products by cuBLASLt, opened at run time; plans kept by shape.
 *
 * cuBLASLt counts by columns: C = A B^T on rows is C^T = B A^T on columns, so the operands change places.  A plan is made
 * once for each kind of product and bucket of rows (powers of two), and holds descriptors and the algorithm that the
 * heuristics put first; only row counts change at a call.  Of a `steady` product the plan is one for all row counts, and
 * no algorithm splits the inner sum, so that a row's bits are the same in any company.  Elsewhere splitting is allowed
 * where the parts are summed in a fixed order (never in place): the same bits from run to run.
 */
#include "kernels/cuda/cuda.h"
#include <cublasLt.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORKSPACE ((size_t)32 << 20) /* what cuBLASLt advises for Hopper */
#define STEADY_ROWS 1024             /* the algorithm of a steady product is the one for so many */
#define NARROW_ROWS 8192             /* likewise, between frozen layers, where many sentences come at once */
#define LEAST_WORK 32768             /* multiply-adds; smaller products are a kernel of ours */
#define SLOTS 256
#define NAME_OF(x) #x
#define NAME(x) NAME_OF(x)

#define LT_CALLS(X)                                                                                                    \
    X(Create) X(Destroy) X(MatmulDescCreate) X(MatmulDescDestroy) X(MatmulDescSetAttribute) X(MatrixLayoutCreate)      \
    X(MatrixLayoutDestroy) X(MatrixLayoutSetAttribute) X(MatmulPreferenceCreate) X(MatmulPreferenceDestroy)            \
    X(MatmulPreferenceSetAttribute) X(MatmulAlgoGetHeuristic) X(Matmul)

struct lt_calls {
#define X(f) __typeof__(&cublasLt##f) f;
    LT_CALLS(X)
#undef X
};

/* What a plan is for; compared as bytes, so it is cleared before it is filled. */
struct lt_key {
    size_t rows, N, K, lda, ldb, ldc; /* rows: of the bucket */
    int form, act;
    int beta, bf16, bias, aux, steady;
    int narrow;
};

struct lt_plan {
    struct lt_plan *next;
    struct lt_key key;
    cublasLtMatmulDesc_t how;
    cublasLtMatrixLayout_t first, second, result;
    cublasLtMatmulAlgo_t algo;
    bool usable;
};

struct cuda_lt {
    struct lt_calls call;
    cublasLtHandle_t handle;
    void *workspace;
    struct lt_plan *slots[SLOTS];
};

static enum status load(struct lt_calls *call, struct err *e)
{
    void *library = cuda_library(getenv("FRESHET_CUBLASLT"), "libcublasLt.so." NAME(CUBLAS_VER_MAJOR), "libcublasLt.so");
    if (library == NULL)
        return ERR_SET(e, STATUS_UNSUPPORTED,
                       "cuda: libcublasLt.so." NAME(CUBLAS_VER_MAJOR) " is not to be found (%s); put it into LD_LIBRARY_PATH, "
                       "or name it in FRESHET_CUBLASLT", dlerror());
    bool whole = true;
#define X(f)                                                                                                           \
    *(void **)&call->f = dlsym(library, "cublasLt" #f);                                                                \
    whole = whole && call->f != NULL;
    LT_CALLS(X)
#undef X
    return whole ? STATUS_OK : ERR_SET(e, STATUS_UNSUPPORTED, "cuda: the cuBLASLt found is too old for this plug-in");
}

enum status cuda_lt_open(struct cuda *c, struct err *e)
{
    struct cuda_lt *lt = (struct cuda_lt *)calloc(1, sizeof *lt);
    if (lt == NULL) return ERR_SET(e, STATUS_OOM, "cuda: no host memory");
    enum status st = load(&lt->call, e);
    if (st == STATUS_OK && lt->call.Create(&lt->handle) != CUBLAS_STATUS_SUCCESS)
        st = ERR_SET(e, STATUS_UNSUPPORTED, "cuda: cuBLASLt does not start on this device");
    if (st == STATUS_OK && (lt->workspace = cuda_memory_take(WORKSPACE)) == NULL)
        st = ERR_SET(e, STATUS_OOM, "cuda: no %zu MiB of device memory for products; raise kernels.device_mb", WORKSPACE >> 20);
    c->lt = lt;
    return st;
}

static void drop(struct cuda_lt *lt, struct lt_plan *p)
{
    if (p->how != NULL) (void)lt->call.MatmulDescDestroy(p->how);
    if (p->first != NULL) (void)lt->call.MatrixLayoutDestroy(p->first);
    if (p->second != NULL) (void)lt->call.MatrixLayoutDestroy(p->second);
    if (p->result != NULL) (void)lt->call.MatrixLayoutDestroy(p->result);
    free(p);
}

void cuda_lt_close(struct cuda *c)
{
    struct cuda_lt *lt = c->lt;
    if (lt == NULL) return;
    cuda_forget(c);
    for (size_t i = 0; i < SLOTS; i++)
        for (struct lt_plan *p = lt->slots[i], *next; p != NULL; p = next) {
            next = p->next;
            drop(lt, p);
        }
    if (lt->handle != NULL) (void)lt->call.Destroy(lt->handle);
    cuda_memory_give(lt->workspace);
    free(lt);
    c->lt = NULL;
}

static bool aligned(const void *p, size_t ld, size_t size)
{
    return (uintptr_t)p % 16 == 0 && ld * size % 16 == 0;
}

static bool suits(const struct cuda_product *p)
{
    const size_t size = p->bf16 ? sizeof(uint16_t) : sizeof(float);
    if (!p->narrow && (p->steady ? 16 : p->M) * p->N * p->K < LEAST_WORK) return false; /* steady: whatever M is */
    return aligned(p->a, p->lda, size) && aligned(p->b, p->ldb, size) &&
           aligned(p->c, p->ldc, p->narrow ? sizeof(uint16_t) : sizeof(float)) &&
           (p->bias == NULL || (uintptr_t)p->bias % 16 == 0) && (p->aux == NULL || (uintptr_t)p->aux % 16 == 0);
}

static size_t bucket(size_t rows)
{
    size_t n = 16;
    while (n < rows) n *= 2;
    return n;
}

/* Rows are what changes from call to call: M, or with TN the inner K. */
static struct lt_key key_of(const struct cuda_product *p)
{
    struct lt_key key;
    memset(&key, 0, sizeof key);
    const size_t rows = p->form == CUDA_TN ? p->K : p->M;
    key.rows = !p->steady ? bucket(rows) : p->narrow ? NARROW_ROWS : STEADY_ROWS;
    key.N = p->N;
    key.K = p->form == CUDA_TN ? p->M : p->K;
    key.lda = p->lda, key.ldb = p->ldb, key.ldc = p->ldc;
    key.form = (int)p->form, key.act = (int)p->act;
    key.beta = p->beta != 0.0f, key.bf16 = p->bf16, key.bias = p->bias != NULL, key.aux = p->aux != NULL;
    key.steady = p->steady, key.narrow = p->narrow;
    return key;
}

static cublasLtEpilogue_t epilogue_of(const struct lt_key *key)
{
    switch ((enum kern_act)key->act) {
    case KERN_ACT_RELU: return key->bias ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_RELU;
    case KERN_ACT_GELU_NEW:
        if (key->aux) return key->bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX;
        return key->bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
    default: return key->bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
    }
}

#define SET(lt, what, on, name, value)                                                                                 \
    ((lt)->call.what##SetAttribute((on), (name), &(value), sizeof(value)) == CUBLAS_STATUS_SUCCESS)

static bool describe(struct cuda_lt *lt, struct lt_plan *p, bool tf32)
{
    const struct lt_key *key = &p->key;
    const cudaDataType_t type = key->bf16 ? CUDA_R_16BF : CUDA_R_32F;
    const cublasComputeType_t compute = !key->bf16 && tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    const cublasOperation_t first = key->form == CUDA_NT ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t second = key->form == CUDA_TN ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasLtEpilogue_t epilogue = epilogue_of(key);
    if (lt->call.MatmulDescCreate(&p->how, compute, CUDA_R_32F) != CUBLAS_STATUS_SUCCESS) return false;
    bool ok = SET(lt, MatmulDesc, p->how, CUBLASLT_MATMUL_DESC_TRANSA, first) &&
              SET(lt, MatmulDesc, p->how, CUBLASLT_MATMUL_DESC_TRANSB, second) &&
              SET(lt, MatmulDesc, p->how, CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
    if (ok && key->aux) {
        const int64_t ld = (int64_t)key->ldc;
        ok = SET(lt, MatmulDesc, p->how, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, ld);
    }
    const size_t rows = key->rows, N = key->N, K = key->K;
    const size_t inner = key->form == CUDA_TN ? rows : K, across = key->form == CUDA_TN ? K : rows;
    const int64_t ldb = (int64_t)key->ldb, lda = (int64_t)key->lda, ldc = (int64_t)key->ldc;
    ok = ok && lt->call.MatrixLayoutCreate(&p->first, type, key->form == CUDA_NT ? inner : N, key->form == CUDA_NT ? N : inner,
                                           ldb) == CUBLAS_STATUS_SUCCESS;
    ok = ok && lt->call.MatrixLayoutCreate(&p->second, type, key->form == CUDA_TN ? across : inner,
                                           key->form == CUDA_TN ? inner : across, lda) == CUBLAS_STATUS_SUCCESS;
    return ok && lt->call.MatrixLayoutCreate(&p->result, key->narrow ? CUDA_R_16BF : CUDA_R_32F, N, across, ldc) ==
                     CUBLAS_STATUS_SUCCESS;
}

/* The algorithm that the heuristics like best within the rules of the file's head. */
static bool choose(struct cuda_lt *lt, struct lt_plan *p)
{
    cublasLtMatmulPreference_t wish = NULL;
    cublasLtMatmulHeuristicResult_t found;
    int n = 0;
    const size_t workspace = WORKSPACE;
    const uint32_t sixteen = 16;
    const uint32_t sums = p->key.steady ? (uint32_t)CUBLASLT_REDUCTION_SCHEME_NONE
                                        : (uint32_t)CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE |
                                              (uint32_t)CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE;
    memset(&found, 0, sizeof found);
    if (lt->call.MatmulPreferenceCreate(&wish) != CUBLAS_STATUS_SUCCESS) return false;
    const bool ok = SET(lt, MatmulPreference, wish, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace) &&
                    SET(lt, MatmulPreference, wish, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, sums) &&
                    SET(lt, MatmulPreference, wish, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, sixteen) &&
                    SET(lt, MatmulPreference, wish, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, sixteen) &&
                    SET(lt, MatmulPreference, wish, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, sixteen) &&
                    SET(lt, MatmulPreference, wish, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, sixteen) &&
                    lt->call.MatmulAlgoGetHeuristic(lt->handle, p->how, p->first, p->second, p->result, p->result, wish, 1,
                                                    &found, &n) == CUBLAS_STATUS_SUCCESS;
    (void)lt->call.MatmulPreferenceDestroy(wish);
    p->algo = found.algo;
    return ok && n > 0;
}

/* The plan of a kind of product, made at its first use; NULL: no host memory. */
static struct lt_plan *plan_of(struct cuda_lt *lt, const struct lt_key *key, bool tf32)
{
    const size_t at = (key->N * 31 + key->K * 131 + key->rows * 7 + (size_t)key->form * 3 + (size_t)key->act) % SLOTS;
    struct lt_plan *p = lt->slots[at];
    while (p != NULL && memcmp(&p->key, key, sizeof *key) != 0) p = p->next;
    if (p != NULL) return p;
    p = (struct lt_plan *)calloc(1, sizeof *p);
    if (p == NULL) return NULL;
    p->key = *key;
    p->usable = describe(lt, p, tf32) && choose(lt, p);
    p->next = lt->slots[at];
    return lt->slots[at] = p;
}

/* This call's rows and pointers into the plan. */
static bool aim(struct cuda_lt *lt, struct lt_plan *p, const struct cuda_product *x)
{
    const uint64_t rows = x->form == CUDA_TN ? x->K : x->M;
    bool ok = true;
    if (x->bias != NULL) ok = ok && SET(lt, MatmulDesc, p->how, CUBLASLT_MATMUL_DESC_BIAS_POINTER, x->bias);
    if (x->aux != NULL) ok = ok && SET(lt, MatmulDesc, p->how, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, x->aux);
    if (x->form == CUDA_TN)
        return ok && SET(lt, MatrixLayout, p->first, CUBLASLT_MATRIX_LAYOUT_COLS, rows) &&
               SET(lt, MatrixLayout, p->second, CUBLASLT_MATRIX_LAYOUT_COLS, rows);
    return ok && SET(lt, MatrixLayout, p->second, CUBLASLT_MATRIX_LAYOUT_COLS, rows) &&
           SET(lt, MatrixLayout, p->result, CUBLASLT_MATRIX_LAYOUT_COLS, rows);
}

static struct lt_plan *usable_plan(struct cuda *c, const struct cuda_product *x)
{
    if (!suits(x)) return NULL;
    const struct lt_key key = key_of(x);
    struct lt_plan *p = plan_of(c->lt, &key, c->tf32);
    return p != NULL && p->usable ? p : NULL;
}

bool cuda_lt_knows(struct cuda *c, const struct cuda_product *p)
{
    return usable_plan(c, p) != NULL;
}

/* A product as it stands in a list of commands: what a plan does not say by itself. */
struct lt_call {
    struct lt_plan *plan;
    struct cuda_product x;
};

static bool issue_product(struct cuda *c, const void *what)
{
    const struct lt_call *call = (const struct lt_call *)what;
    const struct cuda_product *x = &call->x;
    struct cuda_lt *lt = c->lt;
    struct lt_plan *p = call->plan;
    const float one = 1.0f;
    if (!aim(lt, p, x)) return false;
    const cublasStatus_t st = lt->call.Matmul(lt->handle, p->how, &one, x->b, p->first, x->a, p->second, &x->beta, x->c,
                                              p->result, x->c, p->result, &p->algo, lt->workspace, WORKSPACE, c->stream);
    if (st != CUBLAS_STATUS_SUCCESS) p->usable = false; /* refused before anything ran: from now on it is ours */
    return st == CUBLAS_STATUS_SUCCESS;
}

bool cuda_lt_product(struct cuda *c, const struct cuda_product *x)
{
    struct lt_call call;
    memset(&call, 0, sizeof call); /* lists are compared as bytes, and copied structs may have holes */
    call.plan = usable_plan(c, x);
    if (call.plan == NULL) return false;
    call.x.c = x->c, call.x.a = x->a, call.x.b = x->b, call.x.bias = x->bias, call.x.aux = x->aux;
    call.x.M = x->M, call.x.K = x->K, call.x.beta = x->beta, call.x.form = x->form;
    return cuda_put(c, issue_product, &call, sizeof call, NULL, 0);
}

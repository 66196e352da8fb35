/* fake_cublaslt.c - a cuBLASLt of plain loops, for the emulated plug-in: column-major products with layouts, transposition,
 * bfloat16 operands and epilogues honoured, and descriptions that contradict each other refused.
 */
#include <cublasLt.h>
#include <stdlib.h>
#include <string.h>

struct fake_handle {
    int any;
};
struct fake_preference {
    int any;
};
struct fake_desc {
    cublasOperation_t ta, tb;
    cublasLtEpilogue_t epilogue;
    const void *bias; /* of the result's type */
    float *aux;
    int64_t aux_ld;
};
struct fake_layout {
    cudaDataType_t type;
    uint64_t rows, cols;
    int64_t ld;
};

#define MAKE(out)                                                                                                      \
    do {                                                                                                               \
        *(out) = calloc(1, sizeof **(out));                                                                            \
        if (*(out) == NULL) return CUBLAS_STATUS_NOT_SUPPORTED;                                                        \
    } while (0)

cublasStatus_t cublasLtCreate(cublasLtHandle_t *h)
{
    MAKE(h);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t h)
{
    free(h);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *d, cublasComputeType_t compute, cudaDataType_t scale)
{
    (void)compute;
    MAKE(d);
    return scale == CUDA_R_32F ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d)
{
    free(d);
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t put(void *to, size_t want, const void *value, size_t bytes)
{
    if (bytes != want) return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(to, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t name,
                                              const void *value, size_t bytes)
{
    switch (name) {
    case CUBLASLT_MATMUL_DESC_TRANSA: return put(&d->ta, sizeof d->ta, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB: return put(&d->tb, sizeof d->tb, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE: return put(&d->epilogue, sizeof d->epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER: return put(&d->bias, sizeof d->bias, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER: return put(&d->aux, sizeof d->aux, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD: return put(&d->aux_ld, sizeof d->aux_ld, value, bytes);
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *l, cudaDataType_t type, uint64_t rows, uint64_t cols,
                                          int64_t ld)
{
    MAKE(l);
    **l = (struct fake_layout){type, rows, cols, ld};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l)
{
    free(l);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t l, cublasLtMatrixLayoutAttribute_t name,
                                                const void *value, size_t bytes)
{
    return put(name == CUBLASLT_MATRIX_LAYOUT_ROWS ? &l->rows : &l->cols, sizeof l->rows, value, bytes);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *p)
{
    MAKE(p);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p)
{
    free(p);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p,
                                                    cublasLtMatmulPreferenceAttributes_t name, const void *value,
                                                    size_t bytes)
{
    (void)p, (void)value;
    const size_t want = name == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES ? sizeof(size_t) : sizeof(uint32_t);
    return bytes == want ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

/* How many products of each kind were made: for a test that wants to know that they came here at all. */
static size_t made[2][2][2], with_epilogue[CUBLASLT_EPILOGUE_GELU_AUX_BIAS + 1];

size_t fake_cublaslt_made(int trans_a, int trans_b, int bf16);
size_t fake_cublaslt_made(int trans_a, int trans_b, int bf16)
{
    return made[trans_a][trans_b][bf16];
}

size_t fake_cublaslt_with(int epilogue);
size_t fake_cublaslt_with(int epilogue)
{
    return with_epilogue[epilogue];
}

static uint64_t after(const struct fake_layout *l, cublasOperation_t t, bool rows)
{
    return rows == (t == CUBLAS_OP_N) ? l->rows : l->cols;
}

static bool agree(const struct fake_desc *d, const struct fake_layout *a, const struct fake_layout *b,
                  const struct fake_layout *c)
{
    return after(a, d->ta, true) == c->rows && after(b, d->tb, false) == c->cols &&
           after(a, d->ta, false) == after(b, d->tb, true) && a->type == b->type &&
           (c->type == CUDA_R_32F || a->type == CUDA_R_16BF) && (uint64_t)a->ld >= a->rows &&
           (uint64_t)b->ld >= b->rows && (uint64_t)c->ld >= c->rows;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t h, cublasLtMatmulDesc_t d, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                                              cublasLtMatrixLayout_t result, cublasLtMatmulPreference_t p, int wanted,
                                              cublasLtMatmulHeuristicResult_t *found, int *n)
{
    (void)h, (void)p, (void)result;
    *n = wanted > 0 && agree(d, a, b, c);
    memset(found, 0, sizeof *found);
    return CUBLAS_STATUS_SUCCESS;
}

static double number(const void *x, cudaDataType_t type, size_t at)
{
    if (type == CUDA_R_32F) return (double)((const float *)x)[at];
    const uint32_t bits = (uint32_t)((const uint16_t *)x)[at] << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return (double)f;
}

static double element(const void *x, const struct fake_layout *l, uint64_t row, uint64_t col)
{
    return number(x, l->type, (size_t)(col * (uint64_t)l->ld + row));
}

static void put_number(void *x, cudaDataType_t type, size_t at, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    if (type == CUDA_R_32F)
        ((float *)x)[at] = v;
    else
        ((uint16_t *)x)[at] = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static double gelu(double x)
{
    return 0.5 * x * (1.0 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
}

static float finish(const struct fake_desc *d, cudaDataType_t type, double v, uint64_t row, uint64_t col)
{
    const cublasLtEpilogue_t e = d->epilogue;
    if (e == CUBLASLT_EPILOGUE_BIAS || e == CUBLASLT_EPILOGUE_RELU_BIAS || e == CUBLASLT_EPILOGUE_GELU_BIAS ||
        e == CUBLASLT_EPILOGUE_GELU_AUX_BIAS)
        v += number(d->bias, type, row);
    if (e == CUBLASLT_EPILOGUE_GELU_AUX || e == CUBLASLT_EPILOGUE_GELU_AUX_BIAS)
        d->aux[col * (uint64_t)d->aux_ld + row] = (float)v;
    if (e == CUBLASLT_EPILOGUE_RELU || e == CUBLASLT_EPILOGUE_RELU_BIAS) return v > 0.0 ? (float)v : 0.0f;
    return e >= CUBLASLT_EPILOGUE_GELU ? (float)gelu(v) : (float)v;
}

/* A product with all that it is described by, since descriptions change from call to call. */
struct product {
    struct fake_desc d;
    struct fake_layout la, lb, lc;
    float up, keep;
    const void *a, *b;
    void *result;
    cudaStream_t s;
};
static size_t replayed;

size_t fake_cublaslt_replayed(void);
size_t fake_cublaslt_replayed(void)
{
    return replayed;
}

static void multiply(const struct product *p)
{
    const struct fake_layout *la = &p->la, *lb = &p->lb, *lc = &p->lc;
    const bool na = p->d.ta == CUBLAS_OP_N, nb = p->d.tb == CUBLAS_OP_N;
    const uint64_t inner = after(la, p->d.ta, false);
    p->s->open();
    for (uint64_t col = 0; col < lc->cols; col++)
        for (uint64_t row = 0; row < lc->rows; row++) {
            double sum = 0.0;
            for (uint64_t i = 0; i < inner; i++)
                sum += (na ? element(p->a, la, row, i) : element(p->a, la, i, row)) *
                       (nb ? element(p->b, lb, i, col) : element(p->b, lb, col, i));
            const size_t to = (size_t)(col * (uint64_t)lc->ld + row);
            sum *= (double)p->up;
            if (p->keep != 0.0f) sum += (double)p->keep * number(p->result, lc->type, to);
            put_number(p->result, lc->type, to, finish(&p->d, lc->type, sum, row, col));
        }
    p->s->close();
}

static void multiply_queued(const void *what)
{
    const struct product *p = what;
    replayed += p->s->playing;
    multiply(p);
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t h, cublasLtMatmulDesc_t d, const void *alpha, const void *a,
                              cublasLtMatrixLayout_t la, const void *b, cublasLtMatrixLayout_t lb, const void *beta,
                              const void *c, cublasLtMatrixLayout_t lc, void *result, cublasLtMatrixLayout_t lresult,
                              const cublasLtMatmulAlgo_t *algo, void *workspace, size_t workspace_bytes, cudaStream_t s)
{
    (void)h, (void)algo, (void)workspace, (void)workspace_bytes;
    if (!agree(d, la, lb, lc) || lresult != lc || c != result) return CUBLAS_STATUS_INVALID_VALUE;
    const struct product p = {*d, *la, *lb, *lc, *(const float *)alpha, *(const float *)beta, a, b, result, s};
    made[d->ta][d->tb][la->type == CUDA_R_16BF]++;
    with_epilogue[d->epilogue]++;
    s->queue(s, multiply_queued, &p, sizeof p);
    return CUBLAS_STATUS_SUCCESS;
}

/* fake_cudnn.c - a cuDNN of plain loops, for the emulated plug-in: graphs of its backend interface are computed operation by
 * operation by their dimensions and strides, and those that contradict themselves are refused.
 *
 * Its heuristics put an engine first whose results change from run to run, and which it refuses to run.  FAKE_CUDNN=wrong: results
 * are off by a tenth; FAKE_CUDNN=declines: no engine takes any graph.
 */
#include "kernels/cuda/dnn_calls.h"
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ATTRIBUTES_MAX 12
#define KEPT_MAX 64
#define KEPT "kept plan %020zu" /* what stands in the place of JSON: which of those of this process it is */
#define KEPT_BYTES 30
#define REFUSED 2000

#define X(type, f, args) __attribute__((visibility("default"))) type cudnn##f args;
DNN_CALLS(X)
#undef X

struct attribute {
    int name, type;
    int64_t n;
    void *values;
};
struct descriptor {
    int kind;
    bool ready;
    struct attribute attributes[ATTRIBUTES_MAX];
    size_t n;
    int owners;               /* whoever made it, and what it is part of */
    struct descriptor *graph; /* of a configuration: not the caller's to set */
    bool steady;
    /* of a tensor */
    int64_t dim[4], stride[4];
    int type;
    bool within;
    void *at; /* while a plan runs: what the caller brought, or doubles of its own */
};
struct handle {
    cudaStream_t stream;
};

extern size_t fake_cudnn_runs, fake_cudnn_compiled;
size_t fake_cudnn_compiled = 0; /* plans made of a configuration, not of what was kept of one */
size_t fake_cudnn_runs = 0;     /* of plans: for a test that wants to know that they came here at all */

static struct descriptor *keeping[KEPT_MAX]; /* configurations */
static size_t n_kept;
static bool mode_is_wrong;

static bool mode_is(const char *mode)
{
    const char *set = getenv("FAKE_CUDNN");
    return set != NULL && strcmp(set, mode) == 0;
}

size_t cudnnGetVersion(void)
{
    return 91501;
}

int cudnnCreate(void **h)
{
    *h = calloc(1, sizeof(struct handle));
    return *h != NULL ? DNN_SUCCESS : REFUSED;
}

int cudnnDestroy(void *h)
{
    free(h);
    return DNN_SUCCESS;
}

int cudnnSetStream(void *h, cudaStream_t s)
{
    ((struct handle *)h)->stream = s;
    return DNN_SUCCESS;
}

const char *cudnnGetErrorString(int code)
{
    return code == DNN_SUCCESS ? "success" : "refused by the fake";
}

/* --- descriptors ------------------------------------------------------------------------------------------------------ */

int cudnnBackendCreateDescriptor(int kind, void **d)
{
    struct descriptor *made = calloc(1, sizeof *made);
    *d = made;
    if (made == NULL) return REFUSED;
    made->kind = kind;
    made->owners = 1;
    return DNN_SUCCESS;
}

int cudnnBackendDestroyDescriptor(void *of)
{
    struct descriptor *d = of;
    if (--d->owners > 0) return DNN_SUCCESS;
    for (size_t i = 0; i < d->n; i++) {
        struct attribute *a = &d->attributes[i];
        for (int64_t p = 0; a->type == DNN_TYPE_DESCRIPTOR && p < a->n; p++)
            (void)cudnnBackendDestroyDescriptor(((void **)a->values)[p]);
        free(a->values);
    }
    if (d->graph != NULL) (void)cudnnBackendDestroyDescriptor(d->graph);
    free(d);
    return DNN_SUCCESS;
}

static size_t size_of(int type)
{
    switch (type) {
    case DNN_TYPE_BOOLEAN: return sizeof(bool);
    case DNN_TYPE_HANDLE:
    case DNN_TYPE_INT64:
    case DNN_TYPE_VOID_PTR:
    case DNN_TYPE_DESCRIPTOR: return 8;
    case DNN_TYPE_CHAR: return 1;
    default: return sizeof(int);
    }
}

static const struct attribute *find(const struct descriptor *d, int name)
{
    for (size_t i = 0; d != NULL && i < d->n; i++)
        if (d->attributes[i].name == name) return &d->attributes[i];
    return NULL;
}

int cudnnBackendSetAttribute(void *of, int name, int type, int64_t n, const void *values)
{
    struct descriptor *d = of, *const *parts = values;
    if (d->ready || d->n == ATTRIBUTES_MAX || find(d, name) != NULL || n <= 0) return REFUSED;
    for (int64_t i = 0; type == DNN_TYPE_DESCRIPTOR && i < n; i++) /* a part is finished before the whole */
        if (parts[i] == NULL || !parts[i]->ready) return REFUSED;
    const size_t bytes = (size_t)n * size_of(type);
    void *copy = malloc(bytes);
    if (copy == NULL) return REFUSED;
    memcpy(copy, values, bytes);
    d->attributes[d->n++] = (struct attribute){name, type, n, copy};
    for (int64_t i = 0; type == DNN_TYPE_DESCRIPTOR && i < n; i++) parts[i]->owners++;
    return DNN_SUCCESS;
}

static int number(const struct descriptor *d, int name)
{
    const struct attribute *a = find(d, name);
    return a != NULL ? *(const int *)a->values : -1;
}

static bool flag(const struct descriptor *d, int name)
{
    const struct attribute *a = find(d, name);
    return a != NULL && *(const bool *)a->values;
}

static struct descriptor *part(const struct descriptor *d, int name)
{
    const struct attribute *a = find(d, name);
    return a != NULL && a->type == DNN_TYPE_DESCRIPTOR ? *(struct descriptor *const *)a->values : NULL;
}

/* --- what an operation asks of its tensors ---------------------------------------------------------------------------- */

static bool take_four(int64_t out[4], const struct descriptor *t, int name)
{
    const struct attribute *a = find(t, name);
    if (a == NULL || a->n != 4 || a->type != DNN_TYPE_INT64) return false;
    memcpy(out, a->values, 4 * sizeof *out);
    return true;
}

static bool tensor_fits(struct descriptor *t)
{
    t->type = number(t, DNN_TENSOR_DATA_TYPE);
    t->within = flag(t, DNN_TENSOR_VIRTUAL);
    return take_four(t->dim, t, DNN_TENSOR_DIMENSIONS) && take_four(t->stride, t, DNN_TENSOR_STRIDES) &&
           find(t, DNN_TENSOR_ID) != NULL && find(t, DNN_TENSOR_ALIGNMENT) != NULL &&
           (t->type == DNN_FLOAT || t->type == DNN_BFLOAT16);
}

static bool is_tensor(const struct descriptor *t)
{
    return t != NULL && t->kind == DNN_TENSOR;
}

static size_t cells(const struct descriptor *t)
{
    return (size_t)(t->dim[0] * t->dim[1] * t->dim[2] * t->dim[3]);
}

/* b's dimensions are a's, or 1. */
static bool spreads(const struct descriptor *a, const struct descriptor *b)
{
    for (int i = 0; i < 4; i++)
        if (b->dim[i] != a->dim[i] && b->dim[i] != 1) return false;
    return true;
}

static bool pointwise_fits(const struct descriptor *op)
{
    const struct descriptor *x = part(op, DNN_OP_POINTWISE_X), *b = part(op, DNN_OP_POINTWISE_B),
                            *y = part(op, DNN_OP_POINTWISE_Y);
    const int mode = number(part(op, DNN_OP_POINTWISE_HOW), DNN_POINTWISE_MODE);
    const bool alone = mode == DNN_EXP || mode == DNN_LOG;
    if (!is_tensor(x) || !is_tensor(y) || alone != (b == NULL) || (b != NULL && !is_tensor(b))) return false;
    return cells(x) == cells(y) && spreads(y, x) && (b == NULL || spreads(y, b));
}

static bool reduction_fits(const struct descriptor *op)
{
    const struct descriptor *x = part(op, DNN_OP_REDUCTION_X), *y = part(op, DNN_OP_REDUCTION_Y);
    return is_tensor(x) && is_tensor(y) && spreads(x, y) && y->dim[3] == 1 && y->dim[2] == x->dim[2];
}

static bool matmul_fits(const struct descriptor *op)
{
    const struct descriptor *a = part(op, DNN_OP_MATMUL_A), *b = part(op, DNN_OP_MATMUL_B),
                            *c = part(op, DNN_OP_MATMUL_C);
    if (!is_tensor(a) || !is_tensor(b) || !is_tensor(c)) return false;
    for (int i = 0; i < 2; i++)
        if (a->dim[i] != c->dim[i] || b->dim[i] != c->dim[i]) return false;
    return a->dim[2] == c->dim[2] && b->dim[3] == c->dim[3] && a->dim[3] == b->dim[2];
}

static bool reshape_fits(const struct descriptor *op)
{
    const struct descriptor *x = part(op, DNN_OP_RESHAPE_X), *y = part(op, DNN_OP_RESHAPE_Y);
    return is_tensor(x) && is_tensor(y) && cells(x) == cells(y);
}

/* A plan's configuration: its part, or what was kept of one. */
static struct descriptor *config_of(const struct descriptor *plan)
{
    const struct attribute *text = find(plan, DNN_PLAN_JSON);
    char copy[KEPT_BYTES + 1] = "";
    size_t i = 0;
    if (text == NULL) return part(plan, DNN_PLAN_CFG);
    if (text->n == KEPT_BYTES) memcpy(copy, text->values, KEPT_BYTES);
    return sscanf(copy, "kept plan %zu", &i) == 1 && i < n_kept ? keeping[i] : NULL;
}

/* Without room (0 bytes) only how many there would be. */
static int tell(const struct descriptor *plan, int64_t most, int64_t *n, char *text)
{
    char said[KEPT_BYTES + 1];
    *n = KEPT_BYTES;
    if (most == 0) return DNN_SUCCESS;
    if (most < KEPT_BYTES || n_kept == KEPT_MAX) return REFUSED;
    (void)snprintf(said, sizeof said, KEPT, n_kept);
    keeping[n_kept] = config_of(plan);
    keeping[n_kept++]->owners++;
    memcpy(text, said, KEPT_BYTES);
    return DNN_SUCCESS;
}

static bool fits(struct descriptor *d)
{
    switch (d->kind) {
    case DNN_TENSOR: return tensor_fits(d);
    case DNN_OP_POINTWISE: return pointwise_fits(d);
    case DNN_OP_REDUCTION: return reduction_fits(d);
    case DNN_OP_MATMUL: return matmul_fits(d);
    case DNN_OP_RESHAPE: return reshape_fits(d);
    case DNN_GRAPH: return find(d, DNN_GRAPH_HANDLE) != NULL && find(d, DNN_GRAPH_OPS) != NULL;
    case DNN_ENGINEHEUR: return part(d, DNN_HEUR_GRAPH) != NULL && number(d, DNN_HEUR_MODE) >= 0;
    case DNN_PLAN: return find(d, DNN_PLAN_HANDLE) != NULL && config_of(d) != NULL;
    default: return true;
    }
}

int cudnnBackendFinalize(void *of)
{
    struct descriptor *d = of;
    if (d->ready || !fits(d)) return REFUSED;
    fake_cudnn_compiled += d->kind == DNN_PLAN && find(d, DNN_PLAN_JSON) == NULL;
    d->ready = true;
    return DNN_SUCCESS;
}

int cudnnBackendGetAttribute(void *of, int name, int type, int64_t most, int64_t *n, void *values)
{
    struct descriptor *d = of;
    (void)type;
    *n = 0;
    if (!d->ready) return REFUSED;
    if (d->kind == DNN_ENGINEHEUR && name == DNN_HEUR_RESULTS) {
        for (; *n < 2 && *n < most && !mode_is("declines"); (*n)++) {
            struct descriptor *config = ((struct descriptor **)values)[*n];
            config->ready = true;
            config->graph = part(d, DNN_HEUR_GRAPH);
            config->graph->owners++;
            config->steady = *n == 1;
        }
        return DNN_SUCCESS;
    }
    if (d->kind == DNN_ENGINECFG && name == DNN_CFG_ENGINE) {
        (*(struct descriptor **)values)->ready = true;
        (*(struct descriptor **)values)->steady = d->steady;
        return DNN_SUCCESS;
    }
    if (d->kind == DNN_ENGINE && name == DNN_ENGINE_NOTES) {
        if (!d->steady) ((int *)values)[(*n)++] = DNN_NOTE_NONDETERMINISTIC;
        return DNN_SUCCESS;
    }
    if (d->kind == DNN_PLAN && name == DNN_PLAN_JSON) return tell(d, most, n, values);
    if (d->kind != DNN_PLAN || name != DNN_PLAN_WORKSPACE) return REFUSED;
    *(int64_t *)values = 4096;
    return DNN_SUCCESS;
}

/* --- running ---------------------------------------------------------------------------------------------------------- */

static float from_bf16(uint16_t x)
{
    const uint32_t u = (uint32_t)x << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static uint16_t to_bf16(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

static size_t place(const struct descriptor *t, const int64_t at[4])
{
    int64_t to = 0;
    for (int i = 0; i < 4; i++) to += (t->dim[i] > 1 ? at[i] : 0) * t->stride[i];
    return (size_t)to;
}

static double memory_at(const struct descriptor *t, size_t offset)
{
    if (t->within) return ((const double *)t->at)[offset];
    return t->type == DNN_FLOAT ? ((const float *)t->at)[offset] : from_bf16(((const uint16_t *)t->at)[offset]);
}

static double value(const struct descriptor *t, const int64_t at[4])
{
    return memory_at(t, place(t, at));
}

static void put(struct descriptor *t, const int64_t at[4], double x)
{
    const size_t offset = place(t, at);
    const float f = (float)(!t->within && mode_is_wrong ? x + 0.1 : x),
                kept = t->type == DNN_FLOAT ? f : from_bf16(to_bf16(f));
    if (t->within)
        ((double *)t->at)[offset] = (double)kept;
    else if (t->type == DNN_FLOAT)
        ((float *)t->at)[offset] = kept;
    else
        ((uint16_t *)t->at)[offset] = to_bf16(kept);
}

#define EACH(t, at)                                                                                                    \
    for (int64_t at[4] = {0}; at[0] < t->dim[0]; at[0]++)                                                              \
        for (at[1] = 0; at[1] < t->dim[1]; at[1]++)                                                                    \
            for (at[2] = 0; at[2] < t->dim[2]; at[2]++)                                                                \
                for (at[3] = 0; at[3] < t->dim[3]; at[3]++)

static double combined(int mode, double x, double b)
{
    switch (mode) {
    case DNN_ADD: return x + b;
    case DNN_MUL: return x * b;
    case DNN_DIV: return x / b;
    case DNN_SUB: return x - b;
    case DNN_EXP: return exp(x);
    default: return log(x);
    }
}

static void pointwise(const struct descriptor *op)
{
    const struct descriptor *x = part(op, DNN_OP_POINTWISE_X), *b = part(op, DNN_OP_POINTWISE_B);
    struct descriptor *y = part(op, DNN_OP_POINTWISE_Y);
    const int mode = number(part(op, DNN_OP_POINTWISE_HOW), DNN_POINTWISE_MODE);
    EACH(y, at) put(y, at, combined(mode, value(x, at), b != NULL ? value(b, at) : 0.0));
}

static void reduce(const struct descriptor *op)
{
    const struct descriptor *x = part(op, DNN_OP_REDUCTION_X);
    struct descriptor *y = part(op, DNN_OP_REDUCTION_Y);
    const bool top = number(part(op, DNN_OP_REDUCTION_HOW), DNN_REDUCTION_HOW) == DNN_REDUCE_MAX;
    EACH(y, at)
    {
        double all = top ? -INFINITY : 0.0;
        for (int64_t j = 0; j < x->dim[3]; j++) {
            const double v = value(x, (const int64_t[]){at[0], at[1], at[2], j});
            all = top ? fmax(all, v) : all + v;
        }
        put(y, at, all);
    }
}

/* The last two dimensions of t at a place of the first two, one row behind the other. */
static double *dense(const struct descriptor *t, int64_t b, int64_t h)
{
    const size_t rows = (size_t)t->dim[2], columns = (size_t)t->dim[3];
    double *out = malloc(rows * columns * sizeof *out);
    for (size_t i = 0; out != NULL && i < rows * columns; i++)
        out[i] = value(t, (const int64_t[]){b, h, (int64_t)(i / columns), (int64_t)(i % columns)});
    return out;
}

static void matmul_rows(struct descriptor *c, int64_t at0, int64_t at1, const double *a, const double *b, size_t inner)
{
    const size_t n = (size_t)c->dim[3];
    double *sum = malloc(n * sizeof *sum);
    for (size_t i = 0; sum != NULL && i < (size_t)c->dim[2]; i++) {
        for (size_t j = 0; j < n; j++) sum[j] = 0.0;
        for (size_t x = 0; x < inner; x++)
            for (size_t j = 0; j < n; j++) sum[j] += a[i * inner + x] * b[x * n + j];
        for (size_t j = 0; j < n; j++) put(c, (const int64_t[]){at0, at1, (int64_t)i, (int64_t)j}, sum[j]);
    }
    free(sum);
}

static void matmul(const struct descriptor *op)
{
    const struct descriptor *a = part(op, DNN_OP_MATMUL_A), *b = part(op, DNN_OP_MATMUL_B);
    struct descriptor *c = part(op, DNN_OP_MATMUL_C);
    for (int64_t i = 0; i < c->dim[0]; i++)
        for (int64_t h = 0; h < c->dim[1]; h++) {
            double *left = dense(a, i, h), *right = dense(b, i, h);
            if (left != NULL && right != NULL) matmul_rows(c, i, h, left, right, (size_t)a->dim[3]);
            free(left);
            free(right);
        }
}

static void reshape(const struct descriptor *op)
{
    const struct descriptor *x = part(op, DNN_OP_RESHAPE_X);
    struct descriptor *y = part(op, DNN_OP_RESHAPE_Y);
    EACH(y, at) put(y, at, memory_at(x, place(y, at)));
}

#define BROUGHT_MAX 16
/* What a plan runs with: pointers as they were brought, but for numbers, which are the caller's no longer once he has come back. */
struct execution {
    const struct attribute *ops; /* of the plan's graph, which outlives it */
    cudaStream_t stream;
    bool wrong;
    int64_t n, ids[BROUGHT_MAX];
    void *pointers[BROUGHT_MAX];
    float numbers[BROUGHT_MAX];
};

static void *brought(struct execution *x, const struct descriptor *t)
{
    const int64_t id = *(const int64_t *)find(t, DNN_TENSOR_ID)->values;
    for (int64_t i = 0; i < x->n; i++)
        if (x->ids[i] == id) return *(const bool *)find(t, DNN_TENSOR_BY_VALUE)->values ? &x->numbers[i] : x->pointers[i];
    return NULL;
}

/* Tensors get their memory, or lose what was their own (x NULL); false: one has none. */
static bool memory(const struct descriptor *op, struct execution *x)
{
    bool ok = true;
    for (size_t i = 0; i < op->n; i++) {
        struct descriptor *t =
            op->attributes[i].type == DNN_TYPE_DESCRIPTOR ? *(struct descriptor **)op->attributes[i].values : NULL;
        if (!is_tensor(t)) continue;
        if (x == NULL && t->within) free(t->at);
        if (x == NULL)
            t->at = NULL;
        else if (t->at == NULL)
            t->at = t->within ? calloc(cells(t), sizeof(double)) : brought(x, t);
        ok = ok && (x == NULL || t->at != NULL);
    }
    return ok;
}

static void compute(const struct descriptor *op)
{
    if (op->kind == DNN_OP_POINTWISE) pointwise(op);
    if (op->kind == DNN_OP_REDUCTION) reduce(op);
    if (op->kind == DNN_OP_MATMUL) matmul(op);
    if (op->kind == DNN_OP_RESHAPE) reshape(op);
}

static void execute(const void *what)
{
    struct execution x = *(const struct execution *)what;
    struct descriptor *const *ops = x.ops->values;
    mode_is_wrong = x.wrong;
    for (int64_t i = 0; i < x.ops->n; i++)
        if (!memory(ops[i], &x)) abort();
    x.stream->open();
    for (int64_t i = 0; i < x.ops->n; i++) compute(ops[i]);
    x.stream->close();
    for (int64_t i = 0; i < x.ops->n; i++) (void)memory(ops[i], NULL);
}

/* Numbers are host memory, and of all that is brought nothing else is. */
static void take_numbers(struct execution *x)
{
    struct descriptor *const *ops = x->ops->values;
    for (int64_t o = 0; o < x->ops->n; o++)
        for (size_t i = 0; i < ops[o]->n; i++) {
            const struct attribute *a = &ops[o]->attributes[i];
            const struct descriptor *t = a->type == DNN_TYPE_DESCRIPTOR ? *(struct descriptor **)a->values : NULL;
            if (!is_tensor(t) || !*(const bool *)find(t, DNN_TENSOR_BY_VALUE)->values) continue;
            for (int64_t k = 0; k < x->n; k++)
                if (x->ids[k] == *(const int64_t *)find(t, DNN_TENSOR_ID)->values) x->numbers[k] = *(float *)x->pointers[k];
        }
}

int cudnnBackendExecute(void *handle, void *plan, void *pack)
{
    const struct handle *h = handle;
    const struct descriptor *config = config_of(plan), *given = pack;
    const struct attribute *ids = find(given, DNN_PACK_IDS), *pointers = find(given, DNN_PACK_POINTERS);
    if (!((struct descriptor *)plan)->ready || !given->ready || !config->steady ||
        find(given, DNN_PACK_WORKSPACE) == NULL || ids == NULL || pointers == NULL || ids->n != pointers->n ||
        ids->n > BROUGHT_MAX)
        return REFUSED;
    struct execution x = {find(config->graph, DNN_GRAPH_OPS), h->stream, mode_is("wrong"), ids->n, {0}, {NULL}, {0}};
    memcpy(x.ids, ids->values, (size_t)ids->n * sizeof *x.ids);
    memcpy(x.pointers, pointers->values, (size_t)ids->n * sizeof *x.pointers);
    take_numbers(&x);
    h->stream->queue(h->stream, execute, &x, sizeof x);
    fake_cudnn_runs++;
    return DNN_SUCCESS;
}

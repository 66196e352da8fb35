/* dnn.cu - cuDNN's library, and graphs of its backend interface.
 *
 * A graph is a list of operations between tensors; the heuristics put the engines for it in order, and the first that can be
 * finalised becomes the plan (cuDNN, "Backend API").
 */
#include "kernels/cuda/dnn.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONFIGS_MAX 16
#define ALIGNMENT 16

/* --- the library ------------------------------------------------------------------------------------------------------ */

static bool load(struct dnn_calls *call)
{
    void *library = cuda_library(getenv("FRESHET_CUDNN"), "libcudnn.so.9", "libcudnn.so");
    if (library == NULL) return false;
    bool whole = true;
#define X(type, f, args)                                                                                               \
    *(void **)&call->f = dlsym(library, "cudnn" #f);                                                                   \
    whole = whole && call->f != NULL;
    DNN_CALLS(X)
#undef X
    return whole && call->GetVersion() >= DNN_LEAST;
}

void cuda_dnn_open(struct cuda *c, const char *plans)
{
    struct cuda_dnn *dnn = (struct cuda_dnn *)calloc(1, sizeof *dnn);
    if (dnn == NULL) return;
    if (!load(&dnn->call)) {
        free(dnn);
        return;
    }
    c->dnn = dnn;
    dnn->version = dnn->call.GetVersion();
    (void)snprintf(dnn->folder, sizeof dnn->folder, "%s", plans);
}

bool dnn_start(struct cuda *c)
{
    struct cuda_dnn *dnn = c->dnn;
    int code = dnn->call.Create(&dnn->handle);
    if (code == DNN_SUCCESS) code = dnn->call.SetStream(dnn->handle, c->stream);
    if (code == DNN_SUCCESS) return true;
    (void)fprintf(stderr, "freshet: cuda: cuDNN %zu does not start on this device: %s; it is not used\n", dnn->version,
                  dnn->call.GetErrorString(code));
    cuda_dnn_close(c);
    return false;
}

void cuda_dnn_close(struct cuda *c)
{
    if (c->dnn == NULL) return;
    cuda_forget(c); /* recordings with its kernels */
    dnn_plans_drop(c->dnn);
    if (c->dnn->handle != NULL) (void)c->dnn->call.Destroy(c->dnn->handle);
    free(c->dnn);
    c->dnn = NULL;
}

void cuda_dnn_about(const struct cuda *c, char *about, size_t bytes)
{
    const size_t at = strlen(about), v = c->dnn != NULL ? c->dnn->version : 0;
    if (v == 0 || at == 0 || about[at - 1] != ')') return;
    (void)snprintf(about + at - 1, bytes - at + 1, ", cuDNN %zu.%zu.%zu)", v / 10000, v / 100 % 100, v % 100);
}

/* --- description ------------------------------------------------------------------------------------------------------ */

static void *make(struct dnn_graph *g, int type)
{
    void *d = NULL;
    if (g->failed) return NULL;
    if (g->n_made == DNN_MADE_MAX || g->dnn->call.BackendCreateDescriptor(type, &d) != DNN_SUCCESS) {
        g->failed = true;
        return NULL;
    }
    return g->made[g->n_made++] = d;
}

static void set(struct dnn_graph *g, void *on, int name, int type, int64_t n, const void *values)
{
    if (!g->failed) g->failed = g->dnn->call.BackendSetAttribute(on, name, type, n, values) != DNN_SUCCESS;
}

static void set_int(struct dnn_graph *g, void *on, int name, int type, int value)
{
    set(g, on, name, type, 1, &value);
}

static void set_made(struct dnn_graph *g, void *on, int name, void *made)
{
    set(g, on, name, DNN_TYPE_DESCRIPTOR, 1, &made);
}

static void finalise(struct dnn_graph *g, void *d)
{
    if (!g->failed) g->failed = g->dnn->call.BackendFinalize(d) != DNN_SUCCESS;
}

void *dnn_tensor(struct dnn_graph *g, int64_t id, int type, const struct dnn_shape *s, enum dnn_kind kind)
{
    void *t = make(g, DNN_TENSOR);
    const int64_t alignment = ALIGNMENT;
    const bool within = kind == DNN_WITHIN, number = kind == DNN_NUMBER;
    set_int(g, t, DNN_TENSOR_DATA_TYPE, DNN_TYPE_DATA_TYPE, type);
    set(g, t, DNN_TENSOR_DIMENSIONS, DNN_TYPE_INT64, 4, s->dim);
    set(g, t, DNN_TENSOR_STRIDES, DNN_TYPE_INT64, 4, s->stride);
    set(g, t, DNN_TENSOR_ID, DNN_TYPE_INT64, 1, &id);
    set(g, t, DNN_TENSOR_ALIGNMENT, DNN_TYPE_INT64, 1, &alignment);
    set(g, t, DNN_TENSOR_VIRTUAL, DNN_TYPE_BOOLEAN, 1, &within);
    set(g, t, DNN_TENSOR_BY_VALUE, DNN_TYPE_BOOLEAN, 1, &number);
    finalise(g, t);
    return t;
}

static void add(struct dnn_graph *g, void *op)
{
    finalise(g, op);
    if (g->n_ops == DNN_OPS_MAX) g->failed = true;
    if (!g->failed) g->ops[g->n_ops++] = op;
}

/* What an operation does beside its tensors; sums in float32. */
static void *manner(struct dnn_graph *g, int type, int how_name, int how_type, int how, int precision_name)
{
    void *d = make(g, type);
    if (how_type >= 0) set_int(g, d, how_name, how_type, how);
    set_int(g, d, precision_name, DNN_TYPE_DATA_TYPE, DNN_FLOAT);
    finalise(g, d);
    return d;
}

void dnn_pointwise(struct dnn_graph *g, int mode, void *y, void *x, void *b)
{
    void *how = manner(g, DNN_POINTWISE, DNN_POINTWISE_MODE, DNN_TYPE_POINTWISE_MODE, mode, DNN_POINTWISE_PREC);
    void *op = make(g, DNN_OP_POINTWISE);
    set_made(g, op, DNN_OP_POINTWISE_HOW, how);
    set_made(g, op, DNN_OP_POINTWISE_X, x);
    if (b != NULL) set_made(g, op, DNN_OP_POINTWISE_B, b);
    set_made(g, op, DNN_OP_POINTWISE_Y, y);
    add(g, op);
}

void dnn_reduce(struct dnn_graph *g, int how, void *y, void *x)
{
    void *manner_of = manner(g, DNN_REDUCTION, DNN_REDUCTION_HOW, DNN_TYPE_REDUCTION, how, DNN_REDUCTION_PREC);
    void *op = make(g, DNN_OP_REDUCTION);
    set_made(g, op, DNN_OP_REDUCTION_HOW, manner_of);
    set_made(g, op, DNN_OP_REDUCTION_X, x);
    set_made(g, op, DNN_OP_REDUCTION_Y, y);
    add(g, op);
}

void dnn_matmul(struct dnn_graph *g, void *c, void *a, void *b)
{
    void *how = manner(g, DNN_MATMUL, 0, -1, 0, DNN_MATMUL_PREC);
    void *op = make(g, DNN_OP_MATMUL);
    set_made(g, op, DNN_OP_MATMUL_HOW, how);
    set_made(g, op, DNN_OP_MATMUL_A, a);
    set_made(g, op, DNN_OP_MATMUL_B, b);
    set_made(g, op, DNN_OP_MATMUL_C, c);
    add(g, op);
}

void dnn_reshape(struct dnn_graph *g, void *y, void *x)
{
    void *op = make(g, DNN_OP_RESHAPE);
    set_made(g, op, DNN_OP_RESHAPE_X, x);
    set_made(g, op, DNN_OP_RESHAPE_Y, y);
    add(g, op);
}

/* --- plans ------------------------------------------------------------------------------------------------------------ */

/* False as well where the engine does not say. */
static bool steady(struct cuda_dnn *dnn, void *config)
{
    void *engine = NULL;
    int notes[DNN_NOTES];
    int64_t n = 0;
    bool ok =
        dnn->call.BackendCreateDescriptor(DNN_ENGINE, &engine) == DNN_SUCCESS &&
        dnn->call.BackendGetAttribute(config, DNN_CFG_ENGINE, DNN_TYPE_DESCRIPTOR, 1, &n, &engine) == DNN_SUCCESS &&
        dnn->call.BackendGetAttribute(engine, DNN_ENGINE_NOTES, DNN_TYPE_NUMERICAL_NOTE, DNN_NOTES, &n, notes) ==
            DNN_SUCCESS;
    for (int64_t i = 0; ok && i < n && i < DNN_NOTES; i++) ok = notes[i] != DNN_NOTE_NONDETERMINISTIC;
    if (engine != NULL) (void)dnn->call.BackendDestroyDescriptor(engine);
    return ok;
}

bool dnn_plan_measure(struct cuda_dnn *dnn, struct dnn_plan *p)
{
    int64_t bytes = 0, n = 0;
    const int code = dnn->call.BackendGetAttribute(p->plan, DNN_PLAN_WORKSPACE, DNN_TYPE_INT64, 1, &n, &bytes);
    p->workspace = (size_t)bytes;
    return code == DNN_SUCCESS && bytes >= 0;
}

static struct dnn_plan plan_of(struct cuda_dnn *dnn, void *config)
{
    struct dnn_plan p = {NULL, NULL, 0};
    if (dnn->call.BackendCreateDescriptor(DNN_PLAN, &p.plan) != DNN_SUCCESS) return p;
    if (dnn->call.BackendSetAttribute(p.plan, DNN_PLAN_HANDLE, DNN_TYPE_HANDLE, 1, &dnn->handle) == DNN_SUCCESS &&
        dnn->call.BackendSetAttribute(p.plan, DNN_PLAN_CFG, DNN_TYPE_DESCRIPTOR, 1, &config) == DNN_SUCCESS &&
        dnn->call.BackendFinalize(p.plan) == DNN_SUCCESS && dnn_plan_measure(dnn, &p)) {
        p.config = config; /* the plan's from now on */
        return p;
    }
    dnn_plan_drop(dnn, &p);
    return p;
}

/* The first of the engine configurations that this way of asking puts forward. */
static struct dnn_plan best(struct dnn_graph *g, void *graph, int mode)
{
    struct cuda_dnn *dnn = g->dnn;
    struct dnn_plan found = {NULL, NULL, 0};
    void *configs[CONFIGS_MAX] = {NULL}, *asked = make(g, DNN_ENGINEHEUR);
    int64_t n = 0, made = 0;
    set_made(g, asked, DNN_HEUR_GRAPH, graph);
    set_int(g, asked, DNN_HEUR_MODE, DNN_TYPE_HEUR_MODE, mode);
    finalise(g, asked);
    if (g->failed) return found;
    while (made < CONFIGS_MAX && dnn->call.BackendCreateDescriptor(DNN_ENGINECFG, &configs[made]) == DNN_SUCCESS)
        made++;
    if (dnn->call.BackendGetAttribute(asked, DNN_HEUR_RESULTS, DNN_TYPE_DESCRIPTOR, made, &n, configs) == DNN_SUCCESS)
        for (int64_t i = 0; i < n && i < made && found.plan == NULL; i++)
            if (steady(dnn, configs[i])) found = plan_of(dnn, configs[i]);
    for (int64_t i = 0; i < made; i++)
        if (configs[i] != found.config) (void)dnn->call.BackendDestroyDescriptor(configs[i]);
    return found;
}

static struct dnn_plan compiled(struct dnn_graph *g)
{
    struct dnn_plan p = {NULL, NULL, 0};
    void *graph = make(g, DNN_GRAPH);
    set(g, graph, DNN_GRAPH_HANDLE, DNN_TYPE_HANDLE, 1, &g->dnn->handle);
    set(g, graph, DNN_GRAPH_OPS, DNN_TYPE_DESCRIPTOR, (int64_t)g->n_ops, g->ops);
    finalise(g, graph);
    if (!g->failed) p = best(g, graph, DNN_HEUR_A);
    if (!g->failed && p.plan == NULL) p = best(g, graph, DNN_HEUR_FALLBACK);
    return p;
}

struct dnn_plan dnn_plan(struct dnn_graph *g, const char *name)
{
    struct dnn_plan p = dnn_kept(g->dnn, name);
    if (p.plan == NULL) {
        p = compiled(g);
        if (p.plan != NULL) dnn_keep(g->dnn, &p, name);
    }
    while (g->n_made > 0) (void)g->dnn->call.BackendDestroyDescriptor(g->made[--g->n_made]);
    return p;
}

void dnn_plan_drop(struct cuda_dnn *dnn, struct dnn_plan *p)
{
    if (p->plan != NULL) (void)dnn->call.BackendDestroyDescriptor(p->plan);
    if (p->config != NULL) (void)dnn->call.BackendDestroyDescriptor(p->config);
    p->plan = p->config = NULL;
}

/* A run as it stands in a list of commands. */
struct running {
    void *plan, *workspace;
    size_t n, n_numbers;
    int64_t ids[DNN_GIVEN_MAX];
    void *pointers[DNN_GIVEN_MAX];
    float numbers[DNN_GIVEN_MAX];
};

static bool issue_run(struct cuda *c, const void *what)
{
    struct running r = *(const struct running *)what;
    const struct dnn_calls *call = &c->dnn->call;
    void *pack = NULL;
    for (size_t i = 0; i < r.n_numbers; i++) r.pointers[r.n - r.n_numbers + i] = &r.numbers[i]; /* read during the call */
    int code = call->BackendCreateDescriptor(DNN_VARIANT_PACK, &pack);
    if (code == DNN_SUCCESS) code = call->BackendSetAttribute(pack, DNN_PACK_IDS, DNN_TYPE_INT64, (int64_t)r.n, r.ids);
    if (code == DNN_SUCCESS)
        code = call->BackendSetAttribute(pack, DNN_PACK_POINTERS, DNN_TYPE_VOID_PTR, (int64_t)r.n, r.pointers);
    if (code == DNN_SUCCESS)
        code = call->BackendSetAttribute(pack, DNN_PACK_WORKSPACE, DNN_TYPE_VOID_PTR, 1, &r.workspace);
    if (code == DNN_SUCCESS) code = call->BackendFinalize(pack);
    if (code == DNN_SUCCESS) code = call->BackendExecute(c->dnn->handle, r.plan, pack);
    if (pack != NULL) (void)call->BackendDestroyDescriptor(pack);
    if (code != DNN_SUCCESS) cuda_fail(c, "cuDNN", call->GetErrorString(code));
    return code == DNN_SUCCESS;
}

void dnn_run(struct cuda *c, const struct dnn_plan *p, size_t n, const int64_t *ids, void *const *pointers,
             size_t n_numbers, const float *numbers, void *workspace)
{
    struct running r;
    memset(&r, 0, sizeof r);
    r.plan = p->plan;
    r.workspace = workspace;
    r.n = n;
    r.n_numbers = n_numbers;
    memcpy(r.ids, ids, n * sizeof *ids);
    memcpy(r.pointers, pointers, (n - n_numbers) * sizeof *pointers);
    memcpy(r.numbers, numbers, n_numbers * sizeof *numbers);
    (void)cuda_put(c, issue_run, &r, sizeof r, NULL, 0);
}

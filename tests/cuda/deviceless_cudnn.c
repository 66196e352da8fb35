/* deviceless_cudnn.c - the real cuDNN where there is no GPU: every graph is described to it and made a plan for an H200, as its
 * "deviceless ahead-of-time compilation" has it, and is computed by fake_cudnn.c beside it.
 *
 * So tests of the emulated plug-in (FRESHET_CUDNN=deviceless_cudnn.so) show whether the library's engines take the graphs.
 * DEVICELESS_CUDNN names the library, DEVICELESS_FAKE fake_cudnn.so; each plan is said on stderr, and why there is none.
 * tests/gpu/plans.sh fetches and sets all that.
 */
#include "kernels/cuda/dnn_calls.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define X(type, f, args) __attribute__((visibility("default"))) type cudnn##f args;
DNN_CALLS(X)
#undef X

enum {
    DEVICEPROP = 38,
    HEUR_DEVICEPROP = 204,
    PLAN_DEVICEPROP = 407,
    DEVICEPROP_JSON = 2702,
    LIST_MAX = 32,
    FAKE_BYTES = 30 /* of a plan that the fake keeps */
};
#define FAILED 3000

/* What cudaGetDeviceProperties says of an H200 SXM, in cuDNN's words. */
static const char h200[] =
    "{\"maxGridSize\":[2147483647,65535,65535],\"maxBlockSize\":[1024,1024,64],\"regsPerBlock\":65536,"
    "\"multiProcessorCount\":132,\"smCountOrigin\":0,\"smClockRateKHz\":1980000,\"memClockRateKHz\":3201000,"
    "\"memoryBusWidth\":6144,\"l2CacheSize\":62914560,\"warpSize\":32,\"maxSharedMemoryPerBlock\":49152,"
    "\"maxSharedMemoryPerBlockOptin\":232448,\"oversizedSharedMemoryPerBlock\":0,\"reservedSharedMemoryPerBlock\":1024,"
    "\"maxRegistersPerSM\":65536,\"pciDeviceId\":0,\"maxCtasPerSM\":32,\"maxThreadsPerBlock\":1024,\"maxThreadsPerSM\":"
    "2048,"
    "\"isTccDriver\":0,\"supportCoopLaunch\":1,\"deviceVer\":900,\"driverVer\":13000,\"cudaDeviceId\":0,"
    "\"totalGlobalMem\":150754820096,\"deviceName\":\"NVIDIA H200\"}";

struct pair {
    void *real, *fake;
    int kind;
};

static struct dnn_calls real, fake;
static void (*last_error)(char *, size_t);
static void *device; /* described to the real one */

static int open_both(void)
{
    void *const libraries[2] = {dlopen(getenv("DEVICELESS_CUDNN"), RTLD_NOW | RTLD_GLOBAL),
                                dlopen(getenv("DEVICELESS_FAKE"), RTLD_NOW)};
    struct dnn_calls *const calls[2] = {&real, &fake};
    for (int i = 0; i < 2; i++) {
        if (libraries[i] == NULL) return fprintf(stderr, "deviceless: %s\n", dlerror()), FAILED;
#define X(type, f, args) *(void **)&calls[i]->f = dlsym(libraries[i], "cudnn" #f);
        DNN_CALLS(X)
#undef X
    }
    *(void **)&last_error = dlsym(libraries[0], "cudnnGetLastErrorString");
    int code = real.BackendCreateDescriptor(DEVICEPROP, &device);
    if (code == 0) code = real.BackendSetAttribute(device, DEVICEPROP_JSON, DNN_TYPE_CHAR, (int64_t)strlen(h200), h200);
    return code == 0 ? real.BackendFinalize(device) : code;
}

static int said(int code, const char *what)
{
    char why[1024] = "";
    if (code == DNN_SUCCESS) return code;
    last_error(why, sizeof why);
    fprintf(stderr, "deviceless: %s: %d %s\n", what, code, why);
    return code;
}

size_t cudnnGetVersion(void)
{
    if (device == NULL && said(open_both(), "opening") != DNN_SUCCESS) return 0;
    return real.GetVersion();
}

int cudnnCreate(void **h)
{
    return fake.Create(h);
}

int cudnnDestroy(void *h)
{
    return fake.Destroy(h);
}

int cudnnSetStream(void *h, cudaStream_t s)
{
    return fake.SetStream(h, s);
}

const char *cudnnGetErrorString(int code)
{
    return real.GetErrorString(code);
}

int cudnnBackendCreateDescriptor(int kind, void **d)
{
    struct pair *p = calloc(1, sizeof *p);
    *d = p;
    if (p == NULL) return FAILED;
    p->kind = kind;
    const int code = fake.BackendCreateDescriptor(kind, &p->fake);
    return code != DNN_SUCCESS ? code : said(real.BackendCreateDescriptor(kind, &p->real), "creating");
}

int cudnnBackendDestroyDescriptor(void *of)
{
    struct pair *p = of;
    (void)fake.BackendDestroyDescriptor(p->fake);
    (void)real.BackendDestroyDescriptor(p->real);
    free(p);
    return DNN_SUCCESS;
}

int cudnnBackendFinalize(void *of)
{
    const struct pair *p = of;
    const int code = fake.BackendFinalize(p->fake);
    if (code != DNN_SUCCESS) return code;
    if (p->kind == DNN_VARIANT_PACK) return DNN_SUCCESS;
    return said(real.BackendFinalize(p->real), p->kind == DNN_PLAN ? "an engine's plan" : "finalising");
}

/* The real one knows a described device in the place of a handle. */
static int set_real(const struct pair *p, int name, int type, int64_t n, const void *values)
{
    if (name == DNN_GRAPH_HANDLE) return DNN_SUCCESS;
    if (name == DNN_PLAN_HANDLE)
        return real.BackendSetAttribute(p->real, PLAN_DEVICEPROP, DNN_TYPE_DESCRIPTOR, 1, &device);
    const int code = real.BackendSetAttribute(p->real, name, type, n, values);
    if (code != DNN_SUCCESS || name != DNN_HEUR_GRAPH) return code;
    return real.BackendSetAttribute(p->real, HEUR_DEVICEPROP, DNN_TYPE_DESCRIPTOR, 1, &device);
}

/* A kept plan is what the fake tells of it and then what the real one does. */
static int tell(const struct pair *p, int64_t most, int64_t *n, char *text)
{
    int64_t fakes = 0, reals = 0;
    (void)fake.BackendGetAttribute(p->fake, DNN_PLAN_JSON, DNN_TYPE_CHAR, most > 0 ? FAKE_BYTES : 0, &fakes, text);
    const int64_t left = most > FAKE_BYTES ? most - FAKE_BYTES : 0;
    const int code = real.BackendGetAttribute(p->real, DNN_PLAN_JSON, DNN_TYPE_CHAR, left, &reals,
                                              most > 0 ? text + FAKE_BYTES : NULL);
    *n = FAKE_BYTES + reals;
    return said(code, "keeping");
}

static int take_kept(const struct pair *p, int64_t n, const char *text)
{
    const int code = fake.BackendSetAttribute(p->fake, DNN_PLAN_JSON, DNN_TYPE_CHAR, FAKE_BYTES, text);
    fprintf(stderr, "deviceless: a kept plan of %lld bytes\n", (long long)n);
    if (code != DNN_SUCCESS || n <= FAKE_BYTES) return FAILED;
    return said(real.BackendSetAttribute(p->real, DNN_PLAN_JSON, DNN_TYPE_CHAR, n - FAKE_BYTES, text + FAKE_BYTES),
                "a kept plan");
}

int cudnnBackendSetAttribute(void *of, int name, int type, int64_t n, const void *values)
{
    const struct pair *p = of, *const *parts = values;
    void *reals[LIST_MAX], *fakes[LIST_MAX];
    if (name == DNN_PLAN_JSON) return take_kept(p, n, values);
    if (p->kind == DNN_VARIANT_PACK) return fake.BackendSetAttribute(p->fake, name, type, n, values);
    if (type != DNN_TYPE_DESCRIPTOR) {
        const int code = fake.BackendSetAttribute(p->fake, name, type, n, values);
        return code != DNN_SUCCESS ? code : said(set_real(p, name, type, n, values), "an attribute");
    }
    for (int64_t i = 0; i < n && i < LIST_MAX; i++) {
        reals[i] = parts[i]->real;
        fakes[i] = parts[i]->fake;
    }
    const int code = fake.BackendSetAttribute(p->fake, name, type, n, fakes);
    return code != DNN_SUCCESS ? code : said(set_real(p, name, type, n, reals), "a part");
}

/* Each of the real one's configurations goes with the fake's steady one, its second. */
static int results(const struct pair *p, int64_t most, int64_t *n, struct pair *const *out)
{
    void *reals[LIST_MAX], *unsteady = NULL;
    for (int64_t i = 0; i < most && i < LIST_MAX; i++) reals[i] = out[i]->real;
    const int code =
        said(real.BackendGetAttribute(p->real, DNN_HEUR_RESULTS, DNN_TYPE_DESCRIPTOR, most, n, reals), "heuristics");
    for (int64_t i = 0; code == DNN_SUCCESS && i < *n && i < most; i++) {
        int64_t got;
        (void)fake.BackendCreateDescriptor(DNN_ENGINECFG, &unsteady);
        void *both[2] = {unsteady, out[i]->fake};
        (void)fake.BackendGetAttribute(p->fake, DNN_HEUR_RESULTS, DNN_TYPE_DESCRIPTOR, 2, &got, both);
        (void)fake.BackendDestroyDescriptor(unsteady);
    }
    return code;
}

int cudnnBackendGetAttribute(void *of, int name, int type, int64_t most, int64_t *n, void *values)
{
    const struct pair *p = of;
    if (name == DNN_HEUR_RESULTS) return results(p, most, n, values);
    if (name == DNN_PLAN_JSON) return tell(p, most, n, values);
    if (type != DNN_TYPE_DESCRIPTOR) {
        const int code = said(real.BackendGetAttribute(p->real, name, type, most, n, values), "asking");
        if (name == DNN_PLAN_WORKSPACE && code == DNN_SUCCESS)
            fprintf(stderr, "deviceless: a plan of cuDNN %zu, %lld bytes of workspace\n", real.GetVersion(),
                    (long long)*(int64_t *)values);
        return code;
    }
    struct pair *part = *(struct pair **)values;
    (void)fake.BackendGetAttribute(p->fake, name, type, 1, n, &part->fake);
    return said(real.BackendGetAttribute(p->real, name, type, 1, n, &part->real), "a part");
}

int cudnnBackendExecute(void *h, void *plan, void *pack)
{
    return fake.BackendExecute(h, ((struct pair *)plan)->fake, ((struct pair *)pack)->fake);
}

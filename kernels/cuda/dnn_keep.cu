/* dnn_keep.cu - plans of cuDNN on disk, so that a start need not compile them again.
 *
 * A plan tells itself as JSON with its compiled kernels in it (cuDNN, "CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION"), for one
 * device and version of the library, which a file's name says; it ends with a sum over its bytes.  Files are written beside
 * their place and renamed, so several processes may share a folder.
 */
#include "kernels/cuda/dnn.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST ((size_t)16 << 20) /* bytes of a file that is read */

/* FNV-1a, 64 bits (Fowler, Noll and Vo): this library links no other. */
static uint64_t sum_of(const char *p, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)p[i]) * 0x100000001b3u;
    return h;
}

static bool file_name(const struct cuda_dnn *dnn, const char *name, char out[700])
{
    const char *device = cuda_memory_device();
    if (dnn->folder[0] == 0) return false;
    const int n = snprintf(out, 700, "%s/%s.cudnn%zu.%016llx.json", dnn->folder, name, dnn->version,
                           (unsigned long long)sum_of(device, strlen(device)));
    return n > 0 && n < 700;
}

/* What file holds before its sum, NUL-ended and the caller's to free; NULL: none, or damaged. */
static char *read_whole(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    uint64_t sum = 0;
    struct stat about;
    if (f == NULL) return NULL;
    char *text = NULL;
    if (fstat(fileno(f), &about) == 0 && about.st_size > (off_t)sizeof sum && (size_t)about.st_size <= MOST) {
        *n = (size_t)about.st_size - sizeof sum;
        text = (char *)malloc(*n + 1);
    }
    const bool ok =
        text != NULL && fread(text, 1, *n, f) == *n && fread(&sum, sizeof sum, 1, f) == 1 && sum == sum_of(text, *n);
    (void)fclose(f);
    if (ok) {
        text[*n] = 0;
        return text;
    }
    free(text);
    return NULL;
}

struct dnn_plan dnn_kept(struct cuda_dnn *dnn, const char *name)
{
    struct dnn_plan p = {NULL, NULL, 0};
    char path[700];
    size_t n = 0;
    char *text = file_name(dnn, name, path) ? read_whole(path, &n) : NULL;
    if (text == NULL) return p;
    const bool ok =
        dnn->call.BackendCreateDescriptor(DNN_PLAN, &p.plan) == DNN_SUCCESS &&
        dnn->call.BackendSetAttribute(p.plan, DNN_PLAN_HANDLE, DNN_TYPE_HANDLE, 1, &dnn->handle) == DNN_SUCCESS &&
        dnn->call.BackendSetAttribute(p.plan, DNN_PLAN_JSON, DNN_TYPE_CHAR, (int64_t)n, text) == DNN_SUCCESS &&
        dnn->call.BackendFinalize(p.plan) == DNN_SUCCESS && dnn_plan_measure(dnn, &p);
    free(text);
    if (!ok) dnn_plan_drop(dnn, &p);
    return p;
}

static bool write_whole(const char *path, const char *text, size_t n)
{
    char beside[740];
    const uint64_t sum = sum_of(text, n);
    (void)snprintf(beside, sizeof beside, "%s.%ld", path, (long)getpid());
    FILE *f = fopen(beside, "wb");
    if (f == NULL) return false;
    const bool written = fwrite(text, 1, n, f) == n && fwrite(&sum, sizeof sum, 1, f) == 1;
    if (fclose(f) == 0 && written && rename(beside, path) == 0) return true;
    (void)remove(beside);
    return false;
}

void dnn_keep(struct cuda_dnn *dnn, const struct dnn_plan *p, const char *name)
{
    char path[700];
    int64_t n = 0, got = 0;
    if (!file_name(dnn, name, path)) return;
    if (dnn->call.BackendGetAttribute(p->plan, DNN_PLAN_JSON, DNN_TYPE_CHAR, 0, &n, NULL) != DNN_SUCCESS || n <= 0)
        return;
    char *text = (char *)malloc((size_t)n + 1);
    if (text == NULL) return;
    (void)mkdir(dnn->folder, 0777);
    if (dnn->call.BackendGetAttribute(p->plan, DNN_PLAN_JSON, DNN_TYPE_CHAR, n, &got, text) == DNN_SUCCESS && got > 0 &&
        got <= n && (size_t)got < MOST && !write_whole(path, text, (size_t)got)) {
        (void)fprintf(stderr, "freshet: cuda: %s: %s; cuDNN's plans are not kept (kernels.plans_dir)\n", path,
                      strerror(errno));
        dnn->folder[0] = 0; /* said once */
    }
    free(text);
}

/* fake_nccl.c - an NCCL of plain loops for the emulated plug-in: processes on one machine, sums in the order of ranks through sockets.
 *
 * Rank 0 listens on the abstract socket that the id names.  With FRESHET_FAKE_NCCL_FAULT=sum in a process's environment its third
 * sum fails, and the others' with it; with =join it cannot join.
 */
#include "kernels/cuda/nccl_calls.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { RANKS = 8, GONE = 6, TRIES = 500 };
struct ncclComm {
    int rank, n, sums;
    int fd[RANKS];
};

int ncclGetUniqueId(ncclUniqueId *id);
int ncclCommInitRank(struct ncclComm **out, int n, ncclUniqueId id, int rank);
int ncclCommGetAsyncError(struct ncclComm *c, int *code);
int ncclCommAbort(struct ncclComm *c);
int ncclAllReduce(const void *from, void *to, size_t n, int type, int op, struct ncclComm *c, cudaStream_t s);
const char *ncclGetErrorString(int code);

int ncclGetUniqueId(ncclUniqueId *id)
{
    static int made;
    (void)snprintf(id->internal, sizeof id->internal, "fake-nccl-%d-%d", (int)getpid(), made++);
    return NCCL_SUCCESS;
}

static struct sockaddr_un place(const ncclUniqueId *id, socklen_t *n)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    const size_t length = strlen(id->internal);
    memcpy(a.sun_path + 1, id->internal, length); /* abstract: no file is left */
    *n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
    return a;
}

static int all_of(int fd, void *p, size_t n, int sending)
{
    for (size_t at = 0; at < n;) {
        const ssize_t k =
            sending ? send(fd, (char *)p + at, n - at, MSG_NOSIGNAL) : recv(fd, (char *)p + at, n - at, 0);
        if (k <= 0) return GONE;
        at += (size_t)k;
    }
    return NCCL_SUCCESS;
}

static int meet(struct ncclComm *c, const ncclUniqueId *id)
{
    socklen_t n;
    const struct sockaddr_un a = place(id, &n);
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (c->rank > 0) {
        for (int i = 0; connect(fd, (const struct sockaddr *)&a, n) != 0; i++) {
            if (i == TRIES) return GONE;
            (void)nanosleep(&(struct timespec){0, 10000000}, NULL);
        }
        c->fd[0] = fd;
        return all_of(fd, &c->rank, sizeof c->rank, 1);
    }
    if (bind(fd, (const struct sockaddr *)&a, n) != 0 || listen(fd, RANKS) != 0) return GONE;
    for (int i = 1; i < c->n; i++) {
        int who;
        const int other = accept(fd, NULL, NULL);
        if (all_of(other, &who, sizeof who, 0) != NCCL_SUCCESS || who <= 0 || who >= c->n) return GONE;
        c->fd[who] = other;
    }
    (void)close(fd);
    return NCCL_SUCCESS;
}

static int is_fault(const char *which)
{
    const char *fault = getenv("FRESHET_FAKE_NCCL_FAULT");
    return fault != NULL && strcmp(fault, which) == 0;
}

int ncclCommInitRank(struct ncclComm **out, int n, ncclUniqueId id, int rank)
{
    struct ncclComm *c = calloc(1, sizeof *c);
    if (c == NULL || n > RANKS) return GONE;
    c->rank = rank;
    c->n = n;
    *out = c;
    const int code = meet(c, &id);
    return is_fault("join") ? GONE : code;
}

int ncclCommGetAsyncError(struct ncclComm *c, int *code)
{
    (void)c;
    *code = NCCL_SUCCESS;
    return NCCL_SUCCESS;
}

int ncclCommAbort(struct ncclComm *c)
{
    for (int i = 0; i < RANKS; i++)
        if (c->fd[i] > 0) (void)close(c->fd[i]);
    free(c);
    return NCCL_SUCCESS;
}

static int sum(struct ncclComm *c, float *x, float *other, size_t n)
{
    int code = NCCL_SUCCESS;
    if (c->rank > 0) {
        code = all_of(c->fd[0], x, n * sizeof *x, 1);
        return code == NCCL_SUCCESS ? all_of(c->fd[0], x, n * sizeof *x, 0) : code;
    }
    for (int k = 1; k < c->n && code == NCCL_SUCCESS; k++) {
        code = all_of(c->fd[k], other, n * sizeof *x, 0);
        for (size_t i = 0; i < n; i++) x[i] += other[i];
    }
    for (int k = 1; k < c->n && code == NCCL_SUCCESS; k++) code = all_of(c->fd[k], x, n * sizeof *x, 1);
    return code;
}

int ncclAllReduce(const void *from, void *to, size_t n, int type, int op, struct ncclComm *c, cudaStream_t s)
{
    if (type != NCCL_FLOAT32 || op != NCCL_SUM) return GONE;
    if (++c->sums == 3 && is_fault("sum")) return GONE;
    float *x = malloc(2 * n * sizeof *x);
    if (x == NULL) return GONE;
    s->finish(s); /* a sum is as early as it may be, and what is summed must be there */
    s->open();
    memcpy(x, from, n * sizeof *x);
    s->close();
    const int code = sum(c, x, x + n, n);
    s->open();
    memcpy(to, x, n * sizeof *x);
    s->close();
    free(x);
    return code;
}

const char *ncclGetErrorString(int code)
{
    return code == GONE ? "remote process exited or there was a network error" : "no error";
}

/* cpu.c - the cpu backend's choice of instruction set, and its state. */
#include "kernels/cpu/cpu.h"
#include "base/mem.h"
#include "kernels/cpu/blas.h"
#include "kernels/kern_backend.h"
#include <stdio.h>
#include <string.h>

static bool has_avx2(void)
{
#if defined(__x86_64__)
    return kern_cpu_ops_avx2.name != NULL && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return false;
#endif
}

static bool has_avx512(void)
{
#if defined(__x86_64__)
    return kern_cpu_ops_avx512.name != NULL && has_avx2() && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
#else
    return false;
#endif
}

const struct kern_ops *kern_cpu_ops(const char *isa)
{
    if (isa == NULL) return has_avx512() ? &kern_cpu_ops_avx512 : has_avx2() ? &kern_cpu_ops_avx2 : &kern_cpu_ops_base;
    if (strcmp(isa, "avx512") == 0) return has_avx512() ? &kern_cpu_ops_avx512 : NULL;
    if (strcmp(isa, "avx2") == 0) return has_avx2() ? &kern_cpu_ops_avx2 : NULL;
    return strcmp(isa, "base") == 0 ? &kern_cpu_ops_base : NULL;
}

enum status kern_cpu_open(struct kern *k, const char *isa, bool tiles, struct err *e)
{
    char blas[64] = "register tiles";
    struct kern_state *s = mem_calloc(1, sizeof *s);
    if (s == NULL) return ERR_SET(e, STATUS_OOM, "kernels: no memory for backend cpu");
    if (!tiles) kern_blas_open(blas, sizeof blas);
    (void)snprintf(s->about, sizeof s->about, "cpu (%s, %s, 1 thread)", isa, blas);
    k->state = s;
    return STATUS_OK;
}

void kern_cpu_close(struct kern *k)
{
    mem_free(k->state);
    k->state = NULL;
}

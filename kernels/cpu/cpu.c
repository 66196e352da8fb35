/* cpu.c - the cpu backend's choice of instruction set, its state, and its matrix products. */
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

enum status kern_cpu_open(struct kern *k, const char *isa, struct err *e)
{
    char blas[64];
    struct kern_state *s = mem_calloc(1, sizeof *s);
    if (s == NULL) return ERR_SET(e, STATUS_OOM, "kernels: no memory for backend cpu");
    kern_blas_open(blas, sizeof blas);
    (void)snprintf(s->about, sizeof s->about, "cpu (%s, %s loops, 1 thread)", blas, isa);
    k->state = s;
    return STATUS_OK;
}

void kern_cpu_close(struct kern *k)
{
    mem_free(k->state);
    k->state = NULL;
}

enum status kern_cpu_pack(struct kern *k, struct kern_matrix *m, struct err *e)
{
    (void)k, (void)e;
    m->packed = NULL; /* OpenBLAS packs at each call */
    return STATUS_OK;
}

void kern_cpu_unpack(struct kern *k, struct kern_matrix *m)
{
    (void)k;
    m->packed = NULL;
}

void kern_cpu_gemm_nt(struct kern *k, float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb,
                      size_t M, size_t N, size_t K, float beta)
{
    (void)k;
    kern_blas_gemm(false, true, M, N, K, a, lda, b, ldb, beta, c, ldc);
}

void kern_cpu_gemm_nn(struct kern *k, float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb,
                      size_t M, size_t N, size_t K, float beta)
{
    (void)k;
    kern_blas_gemm(false, false, M, N, K, a, lda, b, ldb, beta, c, ldc);
}

void kern_cpu_gemm_tn(struct kern *k, float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb,
                      size_t M, size_t N, size_t K, float beta)
{
    (void)k;
    kern_blas_gemm(true, false, M, N, K, a, lda, b, ldb, beta, c, ldc);
}

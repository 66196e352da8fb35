/* cpu.h - what the cpu backend's files share: its tables, one per instruction set, and its opening and closing. */
#ifndef KERNELS_CPU_CPU_H
#define KERNELS_CPU_CPU_H
#include "kernels/kern.h"

/* A table whose name is NULL was not compiled for its instruction set. */
extern const struct kern_ops kern_cpu_ops_avx512, kern_cpu_ops_avx2, kern_cpu_ops_base;

enum status kern_cpu_open(struct kern *k, const char *isa, struct err *e);
void kern_cpu_close(struct kern *k);
enum status kern_cpu_pack(struct kern *k, struct kern_matrix *m, struct err *e);
void kern_cpu_unpack(struct kern *k, struct kern_matrix *m);
void kern_cpu_gemm_nt(struct kern *k, float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb,
                      size_t M, size_t N, size_t K, float beta);
void kern_cpu_gemm_nn(struct kern *k, float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb,
                      size_t M, size_t N, size_t K, float beta);
void kern_cpu_gemm_tn(struct kern *k, float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t ldb,
                      size_t M, size_t N, size_t K, float beta);
#endif

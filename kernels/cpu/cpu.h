/* cpu.h - what the cpu backend's files share: its tables, its state, and how it opens and closes.
 *
 * There is one table per instruction set: the same loops (table.inc), each compiled with its own flags.
 */
#ifndef KERNELS_CPU_CPU_H
#define KERNELS_CPU_CPU_H
#include "base/pool.h"
#include "kernels/kern.h"

#define KERN_CPU_SCRATCH ((size_t)1 << 20) /* bytes for operands put in order: about what a second cache holds */

/* A table whose name is NULL was not compiled for its instruction set. */
extern const struct kern_ops kern_cpu_ops_avx512bf16, kern_cpu_ops_avx512, kern_cpu_ops_avx2, kern_cpu_ops_base;

enum status kern_cpu_open(struct kern *k, const char *isa, bool tiles, struct err *e); /* tiles: products are our own */
void kern_cpu_close(struct kern *k);
void *kern_cpu_scratch(const struct kern *k); /* KERN_CPU_SCRATCH bytes, 64-byte aligned, of the operation under way */
#endif

/* loops_avx2.c - the cpu backend's loops for avx2; compiled with that instruction set's flags, chosen by CPUID. */
#include "kernels/cpu/cpu.h"
#ifdef __AVX2__
#define KERN_CPU_TABLE kern_cpu_ops_avx2
#define KERN_CPU_ISA "avx2"
#include "kernels/cpu/table.inc"
#else
const struct kern_ops kern_cpu_ops_avx2 = {0}; /* not compiled for it */
#endif

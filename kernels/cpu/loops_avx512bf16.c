/* loops_avx512bf16.c - the cpu backend's loops for avx512 with vdpbf16ps and vpdpbusd; compiled with those flags, chosen by
 * CPUID. */
#include "kernels/cpu/cpu.h"
#ifdef __AVX512BF16__
#define KERN_CPU_TABLE kern_cpu_ops_avx512bf16
#define KERN_CPU_ISA "avx512bf16"
#include "kernels/cpu/table.inc"
#else
const struct kern_ops kern_cpu_ops_avx512bf16 = {0}; /* not compiled for it */
#endif

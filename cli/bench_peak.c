/* bench_peak.c - how many operations a core can do: loops of independent multiply-adds in registers, by precision.
 *
 * The widest instructions that CPUID offers are chosen, so a peak leans on no library and no compiler's taste: the one
 * instruction that counts is written out (gcc 12 moves the accumulators of vpdpbusd's intrinsic through memory).  A
 * processor without instructions for bf16 does them as f32, one without any for int8 takes the f32 peak too.
 */
#include "cli/bench.h"

enum { STEPS = 1 << 14, CHAINS = 12 }; /* latency times throughput asks for 10 at most */
static volatile float sink;            /* keeps results alive */

/* 12 accumulators, each with its register, x and y added into it STEPS times.  `t` is scratch of the three-step forms. */
#define EACH(STEP) STEP(0) STEP(1) STEP(2) STEP(3) STEP(4) STEP(5) STEP(6) STEP(7) STEP(8) STEP(9) STEP(10) STEP(11)
#define DECLARE(i) vector a##i = zero;
#define FOLD(i) zero += a##i;
#define PEAK(NAME, BYTES, TYPE, TARGET, STEP, X, OPERATIONS)                                                           \
    __attribute__((target(TARGET))) static double NAME(void)                                                           \
    {                                                                                                                  \
        typedef TYPE vector __attribute__((vector_size(BYTES)));                                                       \
        vector zero = {0}, t = zero;                                                                                   \
        const vector x = zero + (X), y = x;                                                                            \
        EACH(DECLARE)                                                                                                  \
        for (int s = 0; s < STEPS; s++) {                                                                              \
            EACH(STEP)                                                                                                 \
        }                                                                                                              \
        EACH(FOLD)                                                                                                     \
        sink += (float)(zero[0] + t[0]);                                                                               \
        return (double)(OPERATIONS)*STEPS * CHAINS * (BYTES / 4);                                                      \
    }

#if defined(__x86_64__)
#define FMA(i) __asm__("vfmadd231ps %2, %1, %0" : "+v"(a##i) : "v"(x), "v"(y));
#define DPBF16(i) __asm__("vdpbf16ps %2, %1, %0" : "+v"(a##i) : "v"(x), "v"(y));
#define DPBUSD(i) __asm__("vpdpbusd %2, %1, %0" : "+v"(a##i) : "v"(x), "v"(y));
/* bytes to pairs, pairs to fours, fours added: vpdpbusd as older processors have it */
#define MADDUBS(i)                                                                                                     \
    __asm__("vpmaddubsw %3, %2, %1\n\tvpmaddwd %3, %1, %1\n\tvpaddd %1, %0, %0"                                        \
            : "+v"(a##i), "=&v"(t)                                                                                     \
            : "v"(x), "v"(y));
PEAK(f32_avx512, 64, float, "avx512f", FMA, 0.999f, 2)
PEAK(f32_avx2, 32, float, "avx2,fma", FMA, 0.999f, 2)
PEAK(bf16_avx512, 64, float, "avx512f,avx512bf16", DPBF16, 1.0f, 4) /* 1.0f is the pair (0, 1.0) */
PEAK(int8_avx512, 64, int, "avx512f,avx512vnni", DPBUSD, 0x01020304, 8)
PEAK(int8_avx2, 32, int, "avx2", MADDUBS, 0x01020304, 8)
#endif

/* What the compiler makes of plain loops where nothing is known of the processor.  x*a + y stays near 1. */
static double f32_base(void)
{
    float a[CHAINS];
    for (int i = 0; i < CHAINS; i++) a[i] = 1.0f + 0.01f * (float)i;
    for (int s = 0; s < STEPS; s++)
        for (int i = 0; i < CHAINS; i++) a[i] = a[i] * 0.999f + 0.001f;
    for (int i = 0; i < CHAINS; i++) sink += a[i];
    return 2.0 * STEPS * CHAINS;
}

static struct cmd_bench_peak choose_f32(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) return (struct cmd_bench_peak){f32_avx512, "avx512f"};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return (struct cmd_bench_peak){f32_avx2, "avx2"};
#endif
    return (struct cmd_bench_peak){f32_base, "plain code"};
}

struct cmd_bench_peak cmd_bench_peak(enum cmd_bench_limit limit)
{
#if defined(__x86_64__)
    if (limit == CMD_BENCH_BF16 && __builtin_cpu_supports("avx512bf16"))
        return (struct cmd_bench_peak){bf16_avx512, "vdpbf16ps"};
    if (limit == CMD_BENCH_INT8 && __builtin_cpu_supports("avx512vnni"))
        return (struct cmd_bench_peak){int8_avx512, "vpdpbusd"};
    if (limit == CMD_BENCH_INT8 && __builtin_cpu_supports("avx2"))
        return (struct cmd_bench_peak){int8_avx2, "vpmaddubsw"};
#endif
    struct cmd_bench_peak p = choose_f32();
    if (limit != CMD_BENCH_F32) p.by = "as f32";
    return p;
}

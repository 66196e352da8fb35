/* bench_machine.c - what this machine can do, measured in the same run: f32 multiply-adds, memory, disk; one core.
 *
 * The peak is a loop of independent fused multiply-adds in registers, by the widest instruction set that CPUID offers, so
 * it leans on no library.  Memory is the triad a = b + s*c over arrays beyond the caches (McCalpin 1995), counted as three
 * streams.  The disk is a plain file, written and synced.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "cli/bench.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { CHAINS = 16, STEPS = 1 << 16 };
#define TRIAD_FLOATS ((size_t)1 << 24) /* 64 MiB an array */
#define TRIAD_PIECE ((size_t)1 << 19)
#define TRY_S 0.001
#define DISK_BYTES ((size_t)16 << 20)

static volatile float sink; /* keeps results alive */

/* Each runs STEPS rounds of CHAINS multiply-adds and returns the FLOP done.  x*a + y stays near 1. */
static double fma_base(void)
{
    float a[CHAINS];
    for (int i = 0; i < CHAINS; i++) a[i] = 1.0f + 0.01f * (float)i;
    for (int s = 0; s < STEPS; s++)
        for (int i = 0; i < CHAINS; i++) a[i] = a[i] * 0.999f + 0.001f;
    for (int i = 0; i < CHAINS; i++) sink += a[i];
    return 2.0 * STEPS * CHAINS;
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) static double fma_avx2(void)
{
    const __m256 x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(0.001f);
    /* chains that began alike would be one chain to a compiler */
    __m256 a0 = _mm256_set1_ps(1.01f), a1 = _mm256_set1_ps(1.02f), a2 = _mm256_set1_ps(1.03f),
           a3 = _mm256_set1_ps(1.04f), a4 = _mm256_set1_ps(1.05f), a5 = _mm256_set1_ps(1.06f),
           a6 = _mm256_set1_ps(1.07f), a7 = _mm256_set1_ps(1.08f), a8 = _mm256_set1_ps(1.09f),
           a9 = _mm256_set1_ps(1.10f), a10 = _mm256_set1_ps(1.11f), a11 = _mm256_set1_ps(1.12f);
    for (int s = 0; s < STEPS; s++) {
        a0 = _mm256_fmadd_ps(a0, x, y), a1 = _mm256_fmadd_ps(a1, x, y), a2 = _mm256_fmadd_ps(a2, x, y);
        a3 = _mm256_fmadd_ps(a3, x, y), a4 = _mm256_fmadd_ps(a4, x, y), a5 = _mm256_fmadd_ps(a5, x, y);
        a6 = _mm256_fmadd_ps(a6, x, y), a7 = _mm256_fmadd_ps(a7, x, y), a8 = _mm256_fmadd_ps(a8, x, y);
        a9 = _mm256_fmadd_ps(a9, x, y), a10 = _mm256_fmadd_ps(a10, x, y), a11 = _mm256_fmadd_ps(a11, x, y);
    }
    a0 = _mm256_add_ps(_mm256_add_ps(_mm256_add_ps(a0, a1), _mm256_add_ps(a2, a3)),
                       _mm256_add_ps(_mm256_add_ps(a4, a5), _mm256_add_ps(a6, a7)));
    a8 = _mm256_add_ps(_mm256_add_ps(a8, a9), _mm256_add_ps(a10, a11));
    sink += _mm256_cvtss_f32(_mm256_add_ps(a0, a8));
    return 2.0 * STEPS * 12 * 8;
}

__attribute__((target("avx512f"))) static double fma_avx512(void)
{
    const __m512 x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(0.001f);
    /* chains that began alike would be one chain to a compiler */
    __m512 a0 = _mm512_set1_ps(1.01f), a1 = _mm512_set1_ps(1.02f), a2 = _mm512_set1_ps(1.03f),
           a3 = _mm512_set1_ps(1.04f), a4 = _mm512_set1_ps(1.05f), a5 = _mm512_set1_ps(1.06f),
           a6 = _mm512_set1_ps(1.07f), a7 = _mm512_set1_ps(1.08f), a8 = _mm512_set1_ps(1.09f),
           a9 = _mm512_set1_ps(1.10f), a10 = _mm512_set1_ps(1.11f), a11 = _mm512_set1_ps(1.12f);
    for (int s = 0; s < STEPS; s++) {
        a0 = _mm512_fmadd_ps(a0, x, y), a1 = _mm512_fmadd_ps(a1, x, y), a2 = _mm512_fmadd_ps(a2, x, y);
        a3 = _mm512_fmadd_ps(a3, x, y), a4 = _mm512_fmadd_ps(a4, x, y), a5 = _mm512_fmadd_ps(a5, x, y);
        a6 = _mm512_fmadd_ps(a6, x, y), a7 = _mm512_fmadd_ps(a7, x, y), a8 = _mm512_fmadd_ps(a8, x, y);
        a9 = _mm512_fmadd_ps(a9, x, y), a10 = _mm512_fmadd_ps(a10, x, y), a11 = _mm512_fmadd_ps(a11, x, y);
    }
    a0 = _mm512_add_ps(_mm512_add_ps(_mm512_add_ps(a0, a1), _mm512_add_ps(a2, a3)),
                       _mm512_add_ps(_mm512_add_ps(a4, a5), _mm512_add_ps(a6, a7)));
    a8 = _mm512_add_ps(_mm512_add_ps(a8, a9), _mm512_add_ps(a10, a11));
    sink += _mm512_cvtss_f32(_mm512_add_ps(a0, a8));
    return 2.0 * STEPS * 12 * 16;
}
#endif

static double now_s(void)
{
    return (double)clock_system()->mono_us(clock_system()) * 1e-6;
}

/* The best of many short tries: a limit is what the machine can do when nobody disturbs it. */
static double best_flops(double (*loop)(void), double seconds)
{
    double best = 0.0;
    for (const double end = now_s() + seconds; now_s() < end;) {
        double done = 0.0;
        const double start = now_s();
        while (now_s() - start < TRY_S) done += loop();
        const double rate = done / (now_s() - start);
        if (rate > best) best = rate;
    }
    return best;
}

static void measure_flops(struct cmd_bench_machine *m, double seconds)
{
    double (*loop)(void) = fma_base;
    (void)snprintf(m->isa, sizeof m->isa, "base");
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) {
        loop = fma_avx512;
        (void)snprintf(m->isa, sizeof m->isa, "avx512");
    } else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        loop = fma_avx2;
        (void)snprintf(m->isa, sizeof m->isa, "avx2");
    }
#endif
    m->limit[CMD_BENCH_FLOP] = best_flops(loop, seconds);
}

/* A pass over the arrays, piece by piece: the best piece, so that a time slice taken by others spoils only one. */
static double triad(float *restrict a, const float *restrict b, const float *restrict c)
{
    double best = 0.0;
    for (size_t from = 0; from < TRIAD_FLOATS; from += TRIAD_PIECE) {
        const double start = now_s();
        for (size_t k = from; k < from + TRIAD_PIECE; k++) a[k] = b[k] + 0.5f * c[k];
        const double rate = 3.0 * sizeof *a * TRIAD_PIECE / (now_s() - start);
        sink += a[from];
        if (rate > best) best = rate;
    }
    return best;
}

static enum status measure_memory(struct cmd_bench_machine *m, double seconds, struct err *e)
{
    float *x = mem_aligned(3 * TRIAD_FLOATS, sizeof *x);
    if (x == NULL) return ERR_SET(e, STATUS_OOM, "no memory for arrays of %zu MiB", 3 * TRIAD_FLOATS * sizeof *x >> 20);
    for (size_t i = 0; i < 3 * TRIAD_FLOATS; i += 1024) x[i] = 1.0f; /* the pages are there */
    const double end = now_s() + seconds;
    do {
        const double rate = triad(x, x + TRIAD_FLOATS, x + 2 * TRIAD_FLOATS);
        if (rate > m->limit[CMD_BENCH_MEMORY]) m->limit[CMD_BENCH_MEMORY] = rate;
    } while (now_s() < end);
    mem_free(x);
    return STATUS_OK;
}

static enum status write_once(const char *path, const void *p, double *rate, struct err *e)
{
    const int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0) return ERR_SET(e, STATUS_IO, "%s: %s", path, strerror(errno));
    const double start = now_s();
    const bool written = write(fd, p, DISK_BYTES) == (ssize_t)DISK_BYTES && fsync(fd) == 0;
    *rate = (double)DISK_BYTES / (now_s() - start);
    const int why = errno;
    (void)close(fd);
    (void)unlink(path);
    return written ? STATUS_OK : ERR_SET(e, STATUS_IO, "%s: %s", path, strerror(why));
}

static enum status measure_disk(struct cmd_bench_machine *m, const char *dir, double seconds, struct err *e)
{
    char path[CMD_BENCH_PATH + 16];
    enum status st = STATUS_OK;
    unsigned char *p = mem_calloc(DISK_BYTES, 1);
    if (p == NULL) return ERR_SET(e, STATUS_OOM, "no memory for a file of %zu bytes", DISK_BYTES);
    for (size_t i = 0; i < DISK_BYTES; i++) p[i] = (unsigned char)(i * 2654435761u >> 13);
    (void)snprintf(path, sizeof path, "%s/bench", dir);
    const double end = now_s() + seconds;
    for (int i = 0; st == STATUS_OK && (i < 2 || now_s() < end); i++) {
        double rate = 0.0;
        st = write_once(path, p, &rate, e);
        if (rate > m->limit[CMD_BENCH_DISK]) m->limit[CMD_BENCH_DISK] = rate;
    }
    mem_free(p);
    return st;
}

enum status cmd_bench_measure(struct cmd_bench_machine *m, const char *dir, double seconds, struct err *e)
{
    *m = (struct cmd_bench_machine){0};
    measure_flops(m, seconds);
    TRY(measure_memory(m, seconds, e));
    return measure_disk(m, dir, seconds, e);
}

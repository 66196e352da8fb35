/* mem.c - malloc and its kin, counted and failable.  The counters are atomics: any thread may allocate. */
#include "base/mem.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MEM_ALIGN 64
#define MEM_LARGE_PAGE ((uintptr_t)2 << 20)

static atomic_long fail_after = -1;
static atomic_long live = 0;
static atomic_long total = 0;

/* Out of line on purpose: put a breakpoint here to stop at the injected failure. */
__attribute__((noinline)) static bool injected_failure(void)
{
    if (atomic_load_explicit(&fail_after, memory_order_relaxed) < 0) return false;
    return atomic_fetch_sub(&fail_after, 1) == 0;
}

static void *counted(void *p)
{
    if (p == NULL) return NULL;
    atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&total, 1, memory_order_relaxed);
    return p;
}

/* Product in bytes, at least 1; false on overflow (PTRDIFF_MAX is the largest object there can be). */
static bool bytes_of(size_t n, size_t size, size_t *bytes)
{
    if (__builtin_mul_overflow(n, size, bytes) || *bytes > PTRDIFF_MAX) return false;
    if (*bytes == 0) *bytes = 1;
    return true;
}

void *mem_calloc(size_t n, size_t size)
{
    size_t bytes;
    if (!bytes_of(n, size, &bytes) || injected_failure()) return NULL;
    return counted(calloc(1, bytes));
}

void *mem_realloc(void *p, size_t n, size_t size)
{
    size_t bytes;
    if (!bytes_of(n, size, &bytes) || injected_failure()) return NULL;
    void *q = realloc(p, bytes);
    if (q == NULL) return NULL;
    if (p == NULL) return counted(q);
    atomic_fetch_add_explicit(&total, 1, memory_order_relaxed);
    return q;
}

void *mem_aligned(size_t n, size_t size)
{
    size_t bytes;
    void *p = NULL;
    if (!bytes_of(n, size, &bytes) || injected_failure()) return NULL;
    if (posix_memalign(&p, bytes < MEM_LARGE_PAGE ? MEM_ALIGN : MEM_LARGE_PAGE, bytes) != 0) return NULL;
    mem_expect_random(p, bytes);
    memset(p, 0, bytes);
    return counted(p);
}

char *mem_strndup(const char *s, size_t n)
{
    if (n == SIZE_MAX) return NULL;
    char *p = mem_calloc(n + 1, 1);
    if (p != NULL && n > 0) memcpy(p, s, n);
    return p;
}

char *mem_strdup(const char *s)
{
    return mem_strndup(s, strlen(s));
}

void mem_free(void *p)
{
    if (p != NULL) atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
    free(p);
}

int mem_grow(void **p, size_t *cap, size_t need, size_t size)
{
    if (need <= *cap) return 0;
    size_t more = *cap > SIZE_MAX / 2 ? need : *cap * 2;
    if (more < 8) more = 8;
    if (more < need) more = need;
    void *q = mem_realloc(*p, more, size);
    if (q == NULL) return -1;
    *p = q;
    *cap = more;
    return 0;
}

void *mem_grown(void *p, size_t *cap, size_t need, size_t size)
{
    (void)mem_grow(&p, cap, need, size);
    return p;
}

void mem_expect_random(void *p, size_t bytes)
{
    const uintptr_t from = ((uintptr_t)p + MEM_LARGE_PAGE - 1) & ~(MEM_LARGE_PAGE - 1);
    const uintptr_t to = ((uintptr_t)p + bytes) & ~(MEM_LARGE_PAGE - 1);
    if (p != NULL && from < to) (void)madvise((void *)from, to - from, MADV_HUGEPAGE);
}

void mem_fail_after(long n)
{
    atomic_store(&fail_after, n);
}

long mem_live(void)
{
    return atomic_load(&live);
}

long mem_total(void)
{
    return atomic_load(&total);
}

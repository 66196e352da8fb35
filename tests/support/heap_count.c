/* heap_count.c - callers in an open-addressed table by return address; names are looked up when they are asked for. */
#include "tests/support/heap_count.h"
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALLERS = 1024 };
static _Atomic(uintptr_t) callers[CALLERS];
static atomic_long counts[CALLERS];
static atomic_bool counting;

static void count(const void *caller)
{
    const uintptr_t at = (uintptr_t)caller;
    if (!atomic_load_explicit(&counting, memory_order_relaxed)) return;
    for (size_t i = (at >> 2) % CALLERS, tries = 0; tries < CALLERS; tries++, i = (i + 1) % CALLERS) {
        uintptr_t none = 0;
        if (atomic_load(&callers[i]) != at && !atomic_compare_exchange_strong(&callers[i], &none, at) && none != at)
            continue;
        (void)atomic_fetch_add(&counts[i], 1);
        return;
    }
    abort(); /* more callers than a test of ours has */
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
bool heap_count_works(void)
{
    (void)count;
    return false;
}
#else
bool heap_count_works(void)
{
    return true;
}

#define CALLER __builtin_return_address(0)
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);

void *malloc(size_t n)
{
    count(CALLER);
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    count(CALLER);
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    count(CALLER);
    return __libc_realloc(p, n);
}

void *memalign(size_t align, size_t n)
{
    count(CALLER);
    return __libc_memalign(align, n);
}

void *aligned_alloc(size_t align, size_t n)
{
    count(CALLER);
    return __libc_memalign(align, n);
}

int posix_memalign(void **out, size_t align, size_t n)
{
    count(CALLER);
    *out = __libc_memalign(align, n);
    return *out != NULL ? 0 : ENOMEM;
}
#endif

void heap_count_begin(void)
{
    for (size_t i = 0; i < CALLERS; i++) atomic_store(&counts[i], 0);
    atomic_store(&counting, true);
}

void heap_count_end(void)
{
    atomic_store(&counting, false);
}

/* The file that the caller is of; info.dli_sname may be NULL. */
static bool where(size_t i, Dl_info *info)
{
    return atomic_load(&counts[i]) > 0 && dladdr((const void *)atomic_load(&callers[i]), info) != 0;
}

long heap_count_of(const char *library)
{
    long sum = 0;
    for (size_t i = 0; i < CALLERS; i++) {
        Dl_info info;
        if (library == NULL || (where(i, &info) && strstr(info.dli_fname, library) != NULL))
            sum += atomic_load(&counts[i]);
    }
    return sum;
}

void heap_count_print(void)
{
    for (size_t i = 0; i < CALLERS; i++) {
        Dl_info info;
        if (!where(i, &info)) continue;
        (void)fprintf(stderr, "%8ld %s %s+0x%zx\n", atomic_load(&counts[i]), info.dli_fname,
                      info.dli_sname ? info.dli_sname : "",
                      (size_t)(atomic_load(&callers[i]) - (uintptr_t)info.dli_fbase));
    }
}

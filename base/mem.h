/* mem.h - the only door to the heap.
 *
 * Every allocation of ours goes through here, so that it is overflow-checked, counted, and can be made to fail by a
 * test.  All sizes are counts or bytes; NULL means out of memory.  Thread: any.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H
#include <stddef.h>

void *mem_calloc(size_t n, size_t size);           /* zeroed; n or size 0 gives a freeable block */
void *mem_realloc(void *p, size_t n, size_t size); /* p stays valid on NULL; new bytes are not zeroed */
void *mem_aligned(size_t n, size_t size);          /* zeroed, 64-byte aligned (vector loads, cache lines); large pages */
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t n); /* copies exactly n bytes and adds a NUL */
void mem_free(void *p);                     /* any of the above; NULL is a no-op */

/* Makes sure *p has room for `need` elements of `size` bytes; grows by doubling.  *cap is in elements.
 * Returns 0, or -1 (then *p and *cap are as before). */
int mem_grow(void **p, size_t *cap, size_t need, size_t size);
/* The same of a typed pointer p, which no void ** may point to; the arguments are evaluated more than once. */
#define MEM_GROW(p, cap, need) ((p) = mem_grown((p), (cap), (need), sizeof *(p)), *(cap) >= (size_t)(need) ? 0 : -1)
void *mem_grown(void *p, size_t *cap, size_t need, size_t size); /* p, grown or as it was */

/* This block will be read here and there: the system may back it with large pages, so that a table of many MiB costs no
 * page walk per look-up.  A hint; of no effect on small blocks. */
void mem_expect_random(void *p, size_t bytes);

/* Test hooks.  fail_after(n): the (n+1)-th next allocation returns NULL, later ones succeed; n < 0 disarms. */
void mem_fail_after(long n);
long mem_live(void);  /* blocks not yet freed */
long mem_total(void); /* allocations ever made, reallocations counted: flat in the steady state */
#endif

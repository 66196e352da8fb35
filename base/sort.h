/* sort.h - a stable merge sort in memory that the caller gives.
 *
 * The C library's qsort takes its own from the heap where things take more than a kilobyte, and keeps no order among equals.
 */
#ifndef BASE_SORT_H
#define BASE_SORT_H
#include <stddef.h>

/* p (n of size bytes) ascending by cmp, equals as they came; scratch has room for n / 2 of them.  n may be 0.  Thread: any. */
void sort_stable(void *p, size_t n, size_t size, int (*cmp)(const void *a, const void *b), void *scratch);
#endif

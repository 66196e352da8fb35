/* heap_count.h - every heap call of the whole process, whoever makes it: a program that includes this has a malloc family of
 * its own over the C library's.
 *
 * Shared libraries find the program's names first, so what they allocate inside is seen too, and named by who called.
 * Allocations alone are counted (malloc, calloc, realloc and the aligned ones), frees are not.  Not counted: memory from
 * mmap itself, and what the C library takes for itself without its public names.  Thread: any.
 */
#ifndef TESTS_SUPPORT_HEAP_COUNT_H
#define TESTS_SUPPORT_HEAP_COUNT_H
#include <stdbool.h>

bool heap_count_works(void); /* false: under a sanitizer, which has the names for itself */
void heap_count_begin(void); /* counts anew from 0 */
void heap_count_end(void);
long heap_count_of(const char *library); /* calls from files whose name has this in it; NULL: from all */
void heap_count_print(void);             /* on stderr: count, function where known, file; for a failing test */
#endif

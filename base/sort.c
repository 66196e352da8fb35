/* sort.c - halves sorted each, the left one set aside, both merged back. */
#include "base/sort.h"
#include <string.h>

/* Left (n_left, set aside in `left`) and right (n_right, at the end of `out`) into out. */
static void merge(unsigned char *out, const unsigned char *left, size_t n_left, size_t n_right, size_t size,
                  int (*cmp)(const void *, const void *))
{
    const unsigned char *right = out + n_left * size;
    while (n_left > 0 && n_right > 0) {
        const int from_left = cmp(left, right) <= 0;
        memcpy(out, from_left ? left : right, size);
        out += size;
        left += from_left ? size : 0;
        right += from_left ? 0 : size;
        n_left -= (size_t)from_left;
        n_right -= (size_t)!from_left;
    }
    memcpy(out, left, n_left * size); /* what is left of the right half lies there already */
}

void sort_stable(void *p, size_t n, size_t size, int (*cmp)(const void *a, const void *b), void *scratch)
{
    unsigned char *at = p;
    const size_t half = n / 2;
    if (n < 2) return;
    sort_stable(at, half, size, cmp, scratch);
    sort_stable(at + half * size, n - half, size, cmp, scratch);
    if (cmp(at + (half - 1) * size, at + half * size) <= 0) return;
    memcpy(scratch, at, half * size);
    merge(at, scratch, half, n - half, size, cmp);
}

/* arena.h - memory that is freed all at once.
 *
 * A chain of blocks from mem_*; allocations are bumped, 64-byte aligned when asked, and never freed singly.  save and
 * rewind give temporaries; reset keeps the blocks, so that a loop that resets allocates nothing once it is warm.
 * Zeroed struct arena is a valid empty arena.  Not for sharing between threads without a lock.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H
#include "base/str.h"
#include <stdbool.h>
#include <stddef.h>

struct arena_block;
struct arena {
    struct arena_block *first, *current;
    size_t block_bytes; /* least size of a new block; 0 means 64 KiB */
    size_t held;        /* bytes from the heap */
};
struct arena_mark {
    struct arena_block *block;
    size_t used;
};

void arena_init(struct arena *a, size_t block_bytes);
void arena_fini(struct arena *a);
void *arena_alloc(struct arena *a, size_t n, size_t size);   /* zeroed, 16-byte aligned; NULL on overflow or OOM */
void *arena_aligned(struct arena *a, size_t n, size_t size); /* zeroed, 64-byte aligned */
void *arena_raw(struct arena *a, size_t n, size_t size);     /* 64-byte aligned, contents undefined: for big buffers */
void *arena_small(struct arena *a, size_t n, size_t size);   /* 16-byte aligned, contents undefined: for many small things */
struct str arena_str(struct arena *a, struct str s);         /* a copy, NUL after it; .p == NULL when out of memory */
struct arena_mark arena_save(const struct arena *a);
void arena_rewind(struct arena *a, struct arena_mark m);
void arena_reset(struct arena *a);         /* empty, blocks kept */
bool arena_used(const struct arena *a);    /* something was allocated since it was made or reset */
size_t arena_bytes(const struct arena *a); /* held from the heap */
#endif

/* arena.c - a chain of blocks; `current` is the one being bumped, those after it are kept empties.
 *
 * Blocks come from mem_calloc and are aligned by hand, so that a big block's pages are touched only when used.
 */
#include "base/arena.h"
#include "base/mem.h"
#include <stdbool.h>
#include <stdint.h>

#define ARENA_ALIGN 64
#define ARENA_BLOCK 65536

struct arena_block {
    struct arena_block *next;
    unsigned char *data; /* 64-byte aligned, inside this allocation */
    size_t cap, used;
};

void arena_init(struct arena *a, size_t block_bytes)
{
    *a = (struct arena){.block_bytes = block_bytes};
}

void arena_fini(struct arena *a)
{
    struct arena_block *b = a->first;
    while (b != NULL) {
        struct arena_block *next = b->next;
        mem_free(b);
        b = next;
    }
    a->first = a->current = NULL;
    a->held = 0;
}

static struct arena_block *block_new(size_t cap)
{
    if (cap > SIZE_MAX - sizeof(struct arena_block) - ARENA_ALIGN) return NULL;
    struct arena_block *b = mem_calloc(1, sizeof *b + ARENA_ALIGN + cap);
    if (b == NULL) return NULL;
    const uintptr_t raw = (uintptr_t)(b + 1);
    b->data = (unsigned char *)(b + 1) + (ARENA_ALIGN - raw % ARENA_ALIGN) % ARENA_ALIGN;
    b->cap = cap;
    return b;
}

/* Bumps inside b; NULL when it does not fit.  align is a power of two. */
static void *bump(struct arena_block *b, size_t bytes, size_t align)
{
    const size_t at = (b->used + align - 1) & ~(align - 1);
    if (at > b->cap || bytes > b->cap - at) return NULL;
    b->used = at + bytes;
    return b->data + at;
}

/* Makes a block with room for `bytes` the current one: a kept empty if one is large enough, else a new one. */
static bool advance(struct arena *a, size_t bytes)
{
    struct arena_block *b = a->current ? a->current->next : a->first;
    while (b != NULL && b->cap < bytes) {
        b->used = 0;
        b = b->next;
    }
    if (b == NULL) {
        const size_t least = a->block_bytes ? a->block_bytes : ARENA_BLOCK;
        b = block_new(bytes > least ? bytes : least);
        if (b == NULL) return false;
        struct arena_block **at = a->current ? &a->current->next : &a->first;
        b->next = *at;
        *at = b;
        a->held += sizeof *b + ARENA_ALIGN + b->cap;
    }
    b->used = 0;
    a->current = b;
    return true;
}

static void *take(struct arena *a, size_t n, size_t size, size_t align)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) return NULL;
    if (bytes == 0) bytes = 1;
    void *p = a->current ? bump(a->current, bytes, align) : NULL;
    if (p != NULL) return p;
    return advance(a, bytes) ? bump(a->current, bytes, align) : NULL;
}

void *arena_raw(struct arena *a, size_t n, size_t size)
{
    return take(a, n, size, ARENA_ALIGN);
}

void *arena_small(struct arena *a, size_t n, size_t size)
{
    return take(a, n, size, 16);
}

void *arena_alloc(struct arena *a, size_t n, size_t size)
{
    void *p = take(a, n, size, 16);
    if (p != NULL) memset(p, 0, n * size);
    return p;
}

void *arena_aligned(struct arena *a, size_t n, size_t size)
{
    void *p = take(a, n, size, ARENA_ALIGN);
    if (p != NULL) memset(p, 0, n * size);
    return p;
}

struct str arena_str(struct arena *a, struct str s)
{
    if (s.n == SIZE_MAX) return (struct str){NULL, 0};
    char *p = take(a, s.n + 1, 1, 1);
    if (p == NULL) return (struct str){NULL, 0};
    if (s.n > 0) memcpy(p, s.p, s.n);
    p[s.n] = 0;
    return (struct str){p, s.n};
}

struct arena_mark arena_save(const struct arena *a)
{
    return (struct arena_mark){a->current, a->current ? a->current->used : 0};
}

void arena_rewind(struct arena *a, struct arena_mark m)
{
    a->current = m.block;
    if (m.block != NULL) m.block->used = m.used;
}

void arena_reset(struct arena *a)
{
    a->current = NULL; /* the next allocation starts again at the first block */
}

bool arena_used(const struct arena *a)
{
    return a->current != NULL;
}

size_t arena_bytes(const struct arena *a)
{
    return a->held;
}

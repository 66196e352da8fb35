/* join_heap.h - what is due when: a binary heap of (time, slate), for the joiner alone.
 *
 * An entry carries its own key, so a slate that goes early leaves its entry behind: whoever takes it looks whether the slate
 * is still there.  Zeroed is a valid empty heap.
 */
#ifndef INGEST_JOIN_HEAP_H
#define INGEST_JOIN_HEAP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct join_due {
    int64_t ms;
    uint64_t slate; /* ties: the earlier slate first */
    uint32_t index; /* in the joiner's pool */
};
struct join_heap {
    struct join_due *at;
    size_t n, cap;
};
void join_heap_fini(struct join_heap *h);
bool join_heap_reserve(struct join_heap *h, size_t n); /* so that pushes up to n entries can't fail */
void join_heap_push(struct join_heap *h, struct join_due d);
struct join_due join_heap_pop(struct join_heap *h); /* the first; n > 0 */
bool join_due_before(const struct join_due *a, const struct join_due *b);
#endif

/* join_heap.c - see join_heap.h. */
#include "ingest/join_heap.h"
#include "base/mem.h"

void join_heap_fini(struct join_heap *h)
{
    mem_free(h->at);
    *h = (struct join_heap){0};
}

bool join_heap_reserve(struct join_heap *h, size_t n)
{
    return MEM_GROW(h->at, &h->cap, n) == 0;
}

bool join_due_before(const struct join_due *a, const struct join_due *b)
{
    return a->ms != b->ms ? a->ms < b->ms : a->slate < b->slate;
}

void join_heap_push(struct join_heap *h, struct join_due d)
{
    size_t at = h->n++;
    for (; at > 0 && join_due_before(&d, &h->at[(at - 1) / 2]); at = (at - 1) / 2) h->at[at] = h->at[(at - 1) / 2];
    h->at[at] = d;
}

struct join_due join_heap_pop(struct join_heap *h)
{
    const struct join_due top = h->at[0], last = h->at[--h->n];
    size_t at = 0;
    while (2 * at + 1 < h->n) {
        size_t child = 2 * at + 1;
        if (child + 1 < h->n && join_due_before(&h->at[child + 1], &h->at[child])) child++;
        if (!join_due_before(&h->at[child], &last)) break;
        h->at[at] = h->at[child];
        at = child;
    }
    h->at[at] = last; /* within: a heap that was reserved has a place more than it holds now */
    return top;
}

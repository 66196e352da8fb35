/* slate_private.h - a slate's holder, for slate.c and slate_pack.c alone: the struct, its arena and the index of its sentences. */
#ifndef SCHEMAS_SLATE_PRIVATE_H
#define SCHEMAS_SLATE_PRIVATE_H
#include "schemas/slate.h"

#define SLATE_NO_INDEX UINT32_MAX

struct slate_holder {
    struct slate s; /* first: a slate is its holder */
    struct arena arena;
    uint32_t cap_sentences, cap_tokens;
    uint32_t *index;  /* open addressing over sentences; SLATE_NO_INDEX: free */
    uint32_t n_index; /* slots, a power of two; at least twice cap_sentences */
};

static inline struct slate_holder *slate_holder_of(struct slate *s)
{
    return (struct slate_holder *)(void *)s;
}

uint64_t slate_ids_hash(const int32_t *ids, uint32_t n);
/* Room for `need` sentences, with the index rebuilt for the new size, or tokens; false: out of memory.  The old arrays stay in the
 * arena until reset. */
bool slate_grow_sentences(struct slate_holder *h, uint32_t need);
bool slate_grow_tokens(struct slate_holder *h, uint64_t need);
void slate_index_put(struct slate_holder *h, uint32_t sentence); /* a new one, for which there is room */
/* SLATE_NO_INDEX: it is not there. */
uint32_t slate_find_sentence(const struct slate_holder *h, const int32_t *ids, uint32_t n, uint64_t hash);
#endif

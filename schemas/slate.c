/* slate.c - building slates; slate_pack.c has them as bytes. */
#include "base/hash.h"
#include "base/mem.h"
#include "schemas/slate_private.h"
#include <math.h>
#include <string.h>

#define SLATE_ARENA_BYTES 65536

const double slate_age_below[SLATE_AGES] = {1, 3, 7, 14, 28, 56, 112, INFINITY};

size_t slate_age_group(double days)
{
    size_t i = 0;
    while (i + 1 < SLATE_AGES && !(days < slate_age_below[i])) i++;
    return i;
}

enum status slate_new(struct slate **out, struct err *e)
{
    *out = NULL;
    struct slate_holder *h = mem_calloc(1, sizeof *h);
    if (h == NULL) return ERR_SET(e, STATUS_OOM, "slate: out of memory for an empty slate");
    arena_init(&h->arena, SLATE_ARENA_BYTES);
    h->s.arena = &h->arena;
    *out = &h->s;
    return STATUS_OK;
}

void slate_free(struct slate *s)
{
    if (s == NULL) return;
    struct slate_holder *h = slate_holder_of(s);
    arena_fini(&h->arena);
    mem_free(h);
}

void slate_reset(struct slate *s)
{
    struct slate_holder *h = slate_holder_of(s);
    arena_reset(&h->arena);
    h->s = (struct slate){.arena = &h->arena};
    h->cap_sentences = h->cap_tokens = h->n_index = 0;
    h->index = NULL;
}

/* ---- sentences ---- */

uint64_t slate_ids_hash(const int32_t *ids, uint32_t n)
{
    return hash_bytes(ids, (size_t)n * sizeof *ids);
}

void slate_index_put(struct slate_holder *h, uint32_t sentence)
{
    uint32_t at = (uint32_t)h->s.sentences[sentence].hash & (h->n_index - 1);
    while (h->index[at] != SLATE_NO_INDEX) at = (at + 1) & (h->n_index - 1);
    h->index[at] = sentence;
}

bool slate_grow_sentences(struct slate_holder *h, uint32_t need)
{
    if (need <= h->cap_sentences) return true;
    uint32_t cap = h->cap_sentences ? h->cap_sentences : 16;
    while (cap < need) {
        if (cap > UINT32_MAX / 8) return false;
        cap *= 2;
    }
    struct slate_sentence *sentences = arena_alloc(&h->arena, cap, sizeof *sentences);
    uint32_t *index = arena_alloc(&h->arena, (size_t)cap * 2, sizeof *index);
    if (sentences == NULL || index == NULL) return false;
    if (h->s.n_sentences > 0) memcpy(sentences, h->s.sentences, h->s.n_sentences * sizeof *sentences);
    memset(index, 0xff, (size_t)cap * 2 * sizeof *index);
    h->s.sentences = sentences;
    h->index = index;
    h->n_index = cap * 2;
    h->cap_sentences = cap;
    for (uint32_t i = 0; i < h->s.n_sentences; i++) slate_index_put(h, i);
    return true;
}

bool slate_grow_tokens(struct slate_holder *h, uint64_t need)
{
    if (need <= h->cap_tokens) return true;
    uint64_t cap = h->cap_tokens ? h->cap_tokens : 256;
    while (cap < need) cap *= 2;
    if (cap > UINT32_MAX) return false;
    int32_t *tokens = arena_alloc(&h->arena, cap, sizeof *tokens);
    if (tokens == NULL) return false;
    if (h->s.n_tokens > 0) memcpy(tokens, h->s.tokens, h->s.n_tokens * sizeof *tokens);
    h->s.tokens = tokens;
    h->cap_tokens = (uint32_t)cap;
    return true;
}

uint32_t slate_find_sentence(const struct slate_holder *h, const int32_t *ids, uint32_t n, uint64_t hash)
{
    if (h->n_index == 0) return SLATE_NO_INDEX;
    uint32_t at = (uint32_t)hash & (h->n_index - 1);
    for (; h->index[at] != SLATE_NO_INDEX; at = (at + 1) & (h->n_index - 1)) {
        const struct slate_sentence *s = &h->s.sentences[h->index[at]];
        if (s->hash != hash || s->n != n) continue;
        if (n == 0 || memcmp(h->s.tokens + s->first, ids, n * sizeof *ids) == 0) return h->index[at];
    }
    return SLATE_NO_INDEX;
}

uint32_t slate_add_sentence(struct slate *s, const int32_t *ids, uint32_t n)
{
    struct slate_holder *h = slate_holder_of(s);
    const uint64_t hash = slate_ids_hash(ids, n);
    const uint32_t there = slate_find_sentence(h, ids, n, hash);
    if (there != SLATE_NO_INDEX) return there;
    if (!slate_grow_sentences(h, s->n_sentences + 1) || !slate_grow_tokens(h, (uint64_t)s->n_tokens + n))
        return UINT32_MAX;
    if (n > 0) memcpy(s->tokens + s->n_tokens, ids, n * sizeof *ids);
    s->sentences[s->n_sentences] = (struct slate_sentence){.hash = hash, .first = s->n_tokens, .n = n};
    s->n_tokens += n;
    slate_index_put(h, s->n_sentences);
    return s->n_sentences++;
}

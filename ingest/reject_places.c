/* reject_places.c - open addressing, at most three quarters full. */
#include "ingest/reject_places.h"
#include "base/hash.h"
#include "base/mem.h"

#define FIRST_SLOTS 64
#define FORMAT 1

uint64_t reject_place(struct str topic, uint32_t partition, uint64_t offset)
{
    const uint64_t h = hash_mix(hash_mix(hash_str(topic), partition), offset);
    return h != 0 ? h : 1;
}

void reject_places_fini(struct reject_places *s)
{
    mem_free(s->slots);
    *s = (struct reject_places){0};
}

/* Where the place is, or would be. */
static size_t slot_of(const uint64_t *slots, size_t n_slots, uint64_t place)
{
    size_t at = (size_t)place & (n_slots - 1);
    while (slots[at] != 0 && slots[at] != place) at = (at + 1) & (n_slots - 1);
    return at;
}

bool reject_places_has(const struct reject_places *s, uint64_t place)
{
    return s->n > 0 && place != 0 && s->slots[slot_of(s->slots, s->n_slots, place)] == place;
}

static enum status grow(struct reject_places *s, struct err *e)
{
    const size_t n_slots = s->n_slots > 0 ? 2 * s->n_slots : FIRST_SLOTS;
    uint64_t *slots = mem_calloc(n_slots, sizeof *slots);
    if (slots == NULL) return ERR_SET(e, STATUS_OOM, "dead letters: no memory for %zu places", n_slots);
    for (size_t i = 0; i < s->n_slots; i++)
        if (s->slots[i] != 0) slots[slot_of(slots, n_slots, s->slots[i])] = s->slots[i];
    mem_free(s->slots);
    s->slots = slots;
    s->n_slots = n_slots;
    return STATUS_OK;
}

enum status reject_places_add(struct reject_places *s, uint64_t place, struct err *e)
{
    if (place == 0 || reject_places_has(s, place)) return STATUS_OK;
    if (s->n == REJECT_PLACES_MAX)
        return ERR_SET(e, STATUS_FULL, "dead letters: %d places are remembered at most", REJECT_PLACES_MAX);
    if (s->n + 1 > s->n_slots / 4 * 3) TRY(grow(s, e));
    s->slots[slot_of(s->slots, s->n_slots, place)] = place;
    s->n++;
    return STATUS_OK;
}

void reject_places_encode(struct buf *b, const struct reject_places *s)
{
    buf_u8(b, FORMAT);
    buf_varint(b, s->n);
    for (size_t i = 0; i < s->n_slots; i++)
        if (s->slots[i] != 0) buf_u64(b, s->slots[i]);
}

enum status reject_places_decode(struct reject_places *s, struct buf_reader *r, struct err *e)
{
    if (buf_get_u8(r) != FORMAT) r->bad = true;
    const size_t n = buf_get_count(r, sizeof(uint64_t));
    for (size_t i = 0; i < n && !r->bad; i++) TRY(reject_places_add(s, buf_get_u64(r), e));
    return r->bad ? ERR_SET(e, STATUS_CORRUPT, "dead letters: the places that were tried again can't be read")
                  : STATUS_OK;
}

/* slate_features.c - the hash of what a model reads of a candidate: the same in scorer and learner where they agree. */
#include "base/hash.h"
#include "schemas/slate.h"

/* The user's side, which all candidates share: which sentences the history holds, in their order. */
static uint64_t user_side(const struct slate *s)
{
    uint64_t h = s->n_events;
    for (uint32_t i = 0; i < s->n_events; i++) h = hash_mix(h, s->sentences[s->events[i].sentence].hash);
    return h;
}

static uint64_t item_side(const struct slate *s, uint32_t i)
{
    const struct slate_item *it = &s->items[i];
    const uint32_t from = s->hashed_off[i], n = s->hashed_off[i + 1] - from;
    uint64_t h = hash_bytes(s->numeric + (size_t)i * s->n_numeric, s->n_numeric * sizeof *s->numeric);
    h = hash_mix(h, hash_bytes(it->cooccur, sizeof it->cooccur));
    h = hash_mix(h, hash_bytes(s->hashed_idx + from, n * sizeof *s->hashed_idx));
    h = hash_mix(h, hash_bytes(s->hashed_val + from, n * sizeof *s->hashed_val));
    return it->sentence < s->n_sentences ? hash_mix(h, s->sentences[it->sentence].hash) : h;
}

void slate_features(const struct slate *s, uint32_t *out)
{
    const uint64_t user = user_side(s);
    for (uint32_t i = 0; i < s->n_items; i++) out[i] = (uint32_t)hash_mix(user, item_side(s, i));
}

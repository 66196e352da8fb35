/* feat_hashed.c - hashed indicator features: ids and crosses as 32-bit indices with values above 0.
 *
 * Each family has a salt, so that user 7 and item 7 are different features; an index names it in its upper bits, and the
 * part masks the lower ones to its table.  Where a family brings n features their values are 1/sqrt(n): at first a family
 * weighs the same however many there are.
 */
#include "base/hash.h"
#include "base/mem.h"
#include "featurize/feat_private.h"
#include <assert.h>
#include <math.h>

#define RECENT 8     /* newest events crossed with the item */
#define WORDS_MAX 24 /* tokens of the item's sentence */
#define CONTEXT_MAX 8
#define ATTRS_MAX 8

enum salt {
    ITEM = 1,
    USER,
    USER_ITEM,
    RECENT_ITEM,
    WORD,
    USER_WORD,
    USER_CATEGORY,
    USER_BRAND,
    USER_TAG,
    CONTEXT_ITEM,
    CONTEXT_CATEGORY,
    ATTR_ITEM,
    ATTR_CATEGORY,
    N_SALTS
};
static_assert(N_SALTS <= SLATE_HASH_FAMILIES, "an index has no room for so many families");

static uint32_t index_of(enum salt salt, uint64_t a, uint64_t b)
{
    const uint64_t h = hash_mix(hash_mix((uint64_t)salt, a), b);
    const uint32_t lower = ((uint32_t)1 << SLATE_HASH_BITS) - 1;
    return (uint32_t)salt << SLATE_HASH_BITS | ((uint32_t)(h ^ h >> 32) & lower);
}

/* Room for one candidate's worst case was made before. */
static void put(struct feat *f, enum salt salt, uint64_t a, uint64_t b, double value)
{
    f->hashed_idx[f->n_hashed] = index_of(salt, a, b);
    f->hashed_val[f->n_hashed++] = (float)value;
}

static void put_recent(const struct feat_view *v)
{
    const uint32_t n = v->s->n_events < RECENT ? v->s->n_events : RECENT;
    for (uint32_t i = 0; i < n; i++) put(v->f, RECENT_ITEM, v->s->events[i].item, v->item_hash, 1 / sqrt((double)n));
}

/* Tokens of the sentence without [CLS] and [SEP], as the words of the title; alone and for this user. */
static void put_words(const struct feat_view *v)
{
    if (v->n_ids <= 2) return;
    const uint32_t n = v->n_ids - 2 < WORDS_MAX ? v->n_ids - 2 : WORDS_MAX;
    const double share = 1 / sqrt((double)n);
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t word = (uint32_t)v->ids[i + 1];
        put(v->f, WORD, word, 0, share);
        if (v->user_hash != 0) put(v->f, USER_WORD, v->user_hash, word, share);
    }
}

static void put_user_crosses(const struct feat_view *v)
{
    uint32_t tags[HISTORY_TAGS_MAX];
    const struct record_item *i = v->item;
    if (v->user_hash == 0) return;
    put(v->f, USER, v->user_hash, 0, 1);
    put(v->f, USER_ITEM, v->user_hash, v->item_hash, 1);
    if (i == NULL) return;
    if (i->category != 0) put(v->f, USER_CATEGORY, v->user_hash, i->category, 1);
    if (i->brand != 0) put(v->f, USER_BRAND, v->user_hash, i->brand, 1);
    const uint32_t n = catalogue_tags(i, tags);
    for (uint32_t t = 0; t < n; t++) put(v->f, USER_TAG, v->user_hash, tags[t], 1 / sqrt((double)n));
}

static void put_context(const struct feat_view *v)
{
    const uint32_t n = v->n_context < CONTEXT_MAX ? v->n_context : CONTEXT_MAX;
    for (uint32_t i = 0; i < n; i++) {
        const struct event_attr *a = &v->context[i];
        if (a->kind != EVENT_ATTR_TEXT || a->text.n == 0) continue;
        const uint64_t h = hash_mix(hash_str(a->name), hash_str(a->text));
        put(v->f, CONTEXT_ITEM, h, v->item_hash, 1 / sqrt((double)n));
        if (v->item != NULL && v->item->category != 0)
            put(v->f, CONTEXT_CATEGORY, h, v->item->category, 1 / sqrt((double)n));
    }
}

static void put_attrs(const struct feat_view *v)
{
    const uint32_t n = v->user == NULL ? 0 : v->user->n_attrs < ATTRS_MAX ? v->user->n_attrs : ATTRS_MAX;
    for (uint32_t i = 0; i < n; i++) {
        const struct record_attr *a = &v->user->attrs[i];
        if (a->text.n == 0) continue;
        const uint64_t h = hash_mix(hash_str(a->name), hash_str(a->text));
        put(v->f, ATTR_ITEM, h, v->item_hash, 1 / sqrt((double)n));
        if (v->item != NULL && v->item->category != 0)
            put(v->f, ATTR_CATEGORY, h, v->item->category, 1 / sqrt((double)n));
    }
}

enum status feat_hashed_add(const struct feat_view *v, struct err *e)
{
    struct feat *f = v->f;
    size_t cap = f->cap_hashed; /* the two arrays grow in step */
    if (MEM_GROW(f->hashed_idx, &cap, f->n_hashed + FEAT_HASHED_MAX) != 0 ||
        MEM_GROW(f->hashed_val, &f->cap_hashed, f->n_hashed + FEAT_HASHED_MAX) != 0)
        return ERR_SET(e, STATUS_OOM, "feat: out of memory for hashed features");
    put(f, ITEM, v->item_hash, 0, 1);
    put_user_crosses(v);
    put_recent(v);
    put_words(v);
    put_context(v);
    put_attrs(v);
    return STATUS_OK;
}

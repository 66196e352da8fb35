/* token_vocab.h - the inside of struct token_vocab: entries, look-up table, rules.
 *
 * All texts lie in one block, each followed by a NUL.  The table is open-addressed and holds each entry under its own
 * text and, if that begins with "##", once more as a continuation, without the "##".  Only token_*.c includes this.
 */
#ifndef FEATURIZE_TOKEN_VOCAB_H
#define FEATURIZE_TOKEN_VOCAB_H
#include "featurize/token.h"
#include "featurize/token_normalise.h"

#define TOKEN_ADDED_MAX 1024
#define TOKEN_PREFIX "##"
#define TOKEN_PREFIX_BYTES 2

struct token_entry {
    uint32_t offset, n; /* bytes in text; offset UINT32_MAX: a hole, no such id */
};
struct token_slot {
    uint32_t hash; /* lowest bit: 1 for a continuation */
    int32_t id;    /* -1: empty */
};
/* A token found in the raw text, before anything else. */
struct token_added {
    int32_t id;
    bool special;
};
struct token_vocab {
    char *text;
    size_t text_bytes, text_cap;
    struct token_entry *entries; /* (size) by id */
    size_t size, entries_cap;
    struct token_slot *slots; /* (slot_mask + 1) */
    size_t slot_mask;
    size_t longest[2]; /* bytes of the longest entry, of the longest continuation without its prefix */
    struct token_added added[TOKEN_ADDED_MAX]; /* longest text first */
    size_t n_added;
    bool added_first[256]; /* first bytes of those */
    uint8_t ascii_flags[128];
    struct token_rules rules;
    size_t word_chars, max_length;
    int32_t special[TOKEN_SPECIALS]; /* -1: the folder has none */
    uint64_t fingerprint;
};

/* The id of a text, as a word's first piece or as a continuation (p without "##"); -1 when there is none. */
int32_t token_vocab_find(const struct token_vocab *v, const void *p, size_t n, bool continuation);
static inline struct str token_vocab_text(const struct token_vocab *v, int32_t id)
{
    const struct token_entry *t = &v->entries[id];
    return (struct str){v->text + t->offset, t->n};
}
#endif

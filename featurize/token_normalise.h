/* token_normalise.h - the BertNormalizer as a stream: raw code points in, normalised ones out.
 *
 * clean_text, Chinese characters, NFD and accents, lower case, in the library's order.  NFD wants marks sorted by
 * their class; a run of them waits in `held` until a starter comes.  A run longer than that leaves unsorted: it lies
 * in a word of more characters than any word may have, which is [UNK] in every order.  Only token_*.c includes this.
 */
#ifndef FEATURIZE_TOKEN_NORMALISE_H
#define FEATURIZE_TOKEN_NORMALISE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOKEN_WORD_CHARS_MAX 256 /* characters of a word that can be looked up; the library's default is 100 */

struct token_rules {
    bool clean, han, strip, lower;
};
struct token_normaliser {
    struct token_rules rules;
    void (*emit)(void *user, uint32_t c, unsigned flags); /* flags: enum token_char_flag of c */
    void *user;
    const uint8_t *ascii_flags; /* (128) token_char_flags, kept by the vocabulary */
    size_t n_held;
    uint32_t held[TOKEN_WORD_CHARS_MAX];
    uint8_t held_class[TOKEN_WORD_CHARS_MAX];
};

void token_normaliser_feed(struct token_normaliser *s, uint32_t c); /* c ≤ 0x10FFFF, no surrogate */
void token_normaliser_flush(struct token_normaliser *s);            /* end of a text: what is held goes out */

/* One code point of p[0 … end), end > p; its bytes.  A maximal subpart of an ill-formed sequence gives U+FFFD. */
size_t token_decode_utf8(const unsigned char *p, const unsigned char *end, uint32_t *c);
size_t token_encode_utf8(uint32_t c, unsigned char out[4]);
#endif

/* token_chars.h - what one code point is and becomes, as the tokenizers library sees it.
 *
 * utf8proc answers for most; token_exceptions.inc (made by tests/fixtures/make_token_exceptions.py, which scans every
 * code point) says where the library's tables are older or newer.  Only token_*.c includes this.  Thread: any.
 */
#ifndef FEATURIZE_TOKEN_CHARS_H
#define FEATURIZE_TOKEN_CHARS_H
#include <stddef.h>
#include <stdint.h>

enum token_char_flag {
    TOKEN_CHAR_DROP = 1 << 0,  /* control and the like: removed by clean_text */
    TOKEN_CHAR_PUNCT = 1 << 1, /* a word of its own */
    TOKEN_CHAR_MARK = 1 << 2,  /* Mn: removed with the accents; only asked of what NFD leaves as it is */
    TOKEN_CHAR_SPACE = 1 << 3, /* White_Space: ends a word; goes before DROP only for tab, newline, carriage return */
    TOKEN_CHAR_HAN = 1 << 4,   /* Chinese character: set apart by spaces */
};
#define TOKEN_CHAR_MAX 4 /* code points that one becomes at most */

unsigned token_char_flags(uint32_t c);                                 /* c ≤ 0x10FFFF, no surrogate */
unsigned token_char_class(uint32_t c);                                 /* canonical combining class, 0: starter */
size_t token_char_decompose(uint32_t c, uint32_t out[TOKEN_CHAR_MAX]); /* NFD of one; ≥ 1 written */
size_t token_char_lower(uint32_t c, uint32_t out[TOKEN_CHAR_MAX]);     /* full lower case, no context; ≥ 1 written */
#endif
